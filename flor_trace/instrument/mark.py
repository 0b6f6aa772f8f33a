"""Mark loops in a syntax tree so that the finishing pass can find them in the compiled code."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TypedDict

from flor_trace.instrument.loops import FoundLoop, span
from flor_trace.instrument.markers import Marks, Part
from flor_trace.pyfacts import FOR_LOCATION_IS_STATEMENT
from flor_trace.types import Span

ELSE_JUMPS_OUT = "its else clause has a break or continue that belongs to an outer loop"


class Location(TypedDict):
    """The attributes of a tree node that say where it stands."""

    lineno: int
    end_lineno: int
    col_offset: int
    end_col_offset: int


#: "No location" for the compiler: the finishing pass gives one.
NOWHERE: Location = {"lineno": -1, "end_lineno": -1, "col_offset": -1, "end_col_offset": -1}

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def for_location(node: ast.For) -> Span:
    """Return the location that the compiler gives to the iteration opcodes of a ``for``."""
    return span(node) if FOR_LOCATION_IS_STATEMENT else span(node.iter)


def jumps_out(body: Sequence[ast.stmt]) -> bool:
    """Tell whether a ``break`` or ``continue`` in there belongs to a loop outside of it."""
    pending = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Break | ast.Continue):
            return True
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            pending.extend(node.orelse)
        elif not isinstance(node, _SCOPES):
            for part in (node, *getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                for field in ("body", "orelse", "finalbody"):
                    pending.extend(getattr(part, field, ()))
    return False


def with_controls(
    loops: Sequence[FoundLoop], controlled: frozenset[int], marks: Marks
) -> Iterator[tuple[int, FoundLoop]]:
    """Yield the loops that are not left alone, last first, each with its control block in place."""
    for index in range(len(loops) - 1, -1, -1):
        loop = loops[index]
        if loop.left_alone is None:
            if index in controlled:
                loop.node.body[:0] = control_block(index, loop, marks)
            yield index, loop


def mark(loops: Sequence[FoundLoop], controlled: frozenset[int], marks: Marks) -> None:
    """Put guards and control blocks into the tree, in place.

    `controlled` holds indices into `loops`.  Loops with a reason to be left alone stay as they
    are.  Later loops are marked first, so that recorded statement indices stay right.
    """
    for index, loop in with_controls(loops, controlled, marks):
        if isinstance(loop.node, ast.While):
            after = _location_after(loop.node, marks)  # before a mark gives it an else clause
            loop.siblings[loop.at : loop.at + 1] = [_guarded(index, loop.node, marks), *after]


def _guarded(index: int, node: ast.While, marks: Marks) -> ast.For:
    """Wrap a ``while`` so that the compiler keeps the loop's sentinel on the stack.

    ::

        for () in <site>:
            while test:
                ~<tick>
                ...
            else:
                ~<done>
                ...

    The artificial ``for`` is never run: the finishing pass takes it out and leaves the sentinel.
    """
    node.body.insert(0, _statement(_ask("tick", index, marks, NOWHERE)))
    node.orelse.insert(0, _statement(_ask("done", index, marks, NOWHERE)))
    return ast.For(
        target=ast.Tuple([], ast.Store(), **NOWHERE),
        iter=ast.Constant(marks.write("site", index), **NOWHERE),
        body=[node],
        orelse=[],
        type_comment=None,
        **NOWHERE,
    )


def _location_after(node: ast.While, marks: Marks) -> list[ast.stmt]:
    """Return what leaves the compiler on the line where the bare ``while`` would leave it.

    The compiler of Python 3.11 gives that line to instructions of its own that follow, such as the
    end of a ``finally``.  A ``global`` statement sets the line and makes no code.
    """
    if node.orelse:
        return []
    return [ast.copy_location(ast.Global([marks.prefix]), node)]


def _ask(part: Part, index: int, marks: Marks, at: Location, name: str = "") -> ast.expr:
    return ast.UnaryOp(ast.Invert(), ast.Constant(marks.write(part, index, name), **at), **at)


def _statement(value: ast.expr) -> ast.Expr:
    return ast.Expr(value, **NOWHERE)


def control_block(index: int, loop: FoundLoop, marks: Marks) -> list[ast.stmt]:
    """Return the block that `flor_trace.types.Control` describes."""
    line = loop.node.body[0].lineno
    at: Location = {"lineno": line, "end_lineno": line, "col_offset": 0, "end_col_offset": 0}
    restore: list[ast.stmt] = []
    for name, raw in loop.scope.assignable().items():
        clear: list[ast.stmt] = [
            ast.Assign([ast.Name(raw, ast.Store(), **at)], ast.Constant(None, **at), **at),
            ast.Delete([ast.Name(raw, ast.Del(), **at)], **at),
        ]
        value = _ask("value", index, marks, at, name)
        give: list[ast.stmt] = [ast.Assign([ast.Name(raw, ast.Store(), **at)], value, **at)]
        restore.append(ast.If(_ask("unbound", index, marks, at, name), clear, give, **at))
    leave = ast.If(_ask("skip", index, marks, at), [ast.Continue(**at)], [], **at)
    return [ast.If(_ask("due", index, marks, at), [*restore, leave], [], **at)]
