"""Make loops report by changing the syntax tree alone, for interpreters of unknown bytecode."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from types import CodeType

from flor_trace.instrument.loops import FoundLoop
from flor_trace.instrument.mark import NOWHERE, with_controls
from flor_trace.instrument.markers import Marks

#: What an expression that the compiler folds to a constant can be made of.
_FOLDED = (
    *(ast.Constant, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.Subscript, ast.Set),
    *(ast.unaryop, ast.operator, ast.expr_context),
)


def mark_in_source(
    loops: Sequence[FoundLoop], controlled: frozenset[int], marks: Marks, path: str
) -> None:
    """Put the site of each loop into the tree, in place; the compiler does all the rest.

    `controlled` holds indices into `loops`.  Loops with a reason to be left alone stay as they
    are.  Later loops are marked first, so that recorded statement indices stay right.
    """
    for index, loop in with_controls(loops, controlled, marks):
        if isinstance(loop.node, ast.For):
            loop.node.iter = _reported(index, loop.node.iter, marks, path)
        else:
            loop.siblings[loop.at] = _guarded(index, loop.node, marks)


def _reported(index: int, iterable: ast.expr, marks: Marks, path: str) -> ast.expr:
    """Return ``<site>[iterable]``.

    The site stands in ``(<site> if True else None)``, of which the compiler leaves the constant:
    it would warn of a string with such an index, and would fold a string with a number.
    """
    if isinstance(iterable, ast.Constant) and not isinstance(iterable.value, str | bytes):
        return iterable  # it cannot be iterated, and Python is to say so
    site = ast.IfExp(
        ast.Constant(True), ast.Constant(marks.write("site", index)), ast.Constant(None)
    )
    made = ast.Subscript(site, _as_folded(iterable, path), ast.Load())
    for node in (site, site.test, site.body, site.orelse, made, made.slice):
        ast.copy_location(node, iterable)
    return made


def _as_folded(iterable: ast.expr, path: str) -> ast.expr:
    """Return what the compiler makes of a display that is only iterated."""
    if isinstance(iterable, ast.List):
        starred = any(isinstance(each, ast.Starred) for each in iterable.elts)
        return iterable if starred else ast.Tuple(iterable.elts, ast.Load())
    if isinstance(iterable, ast.Set) and all(isinstance(x, _FOLDED) for x in ast.walk(iterable)):
        constant = _folded_set(iterable, path)
        return iterable if constant is None else ast.Constant(constant)  # type: ignore[arg-type]
    return iterable


def _folded_set(display: ast.Set, path: str) -> frozenset[object] | None:
    """Return the constant that this compiler puts in the place of an iterated set display."""
    loop = ast.For(ast.Tuple([], ast.Store()), display, [ast.Pass()], [])
    tree = ast.fix_missing_locations(ast.Module([loop], []))
    made = compile(tree, path, "exec", dont_inherit=True)
    assert isinstance(made, CodeType)
    found = [constant for constant in made.co_consts if isinstance(constant, frozenset)]
    return found[0] if len(found) == 1 else None


def _guarded(index: int, node: ast.While, marks: Marks) -> ast.For:
    """Wrap a ``while`` so that the compiler keeps the loop's sentinel on the stack.

    ::

        for () in <site>:
            while test:
                ~<site>
                ...
            else:
                -<site>
                ...
            break

    The one pass of the ``for`` is the whole loop; the sentinel dies when it is left, in whatever
    way.  The signs find the sentinel by the frame that they are given in.
    """
    node.body.insert(0, _sign(ast.Invert(), index, marks))
    node.orelse.insert(0, _sign(ast.USub(), index, marks))
    guard = ast.For(
        target=ast.Tuple([], ast.Store()),
        iter=ast.Constant(marks.write("site", index)),
        body=[node, ast.Break(**NOWHERE)],
        orelse=[],
        type_comment=None,
    )
    # On the line of the test they show debuggers no line of their own.
    for part in (guard, guard.target, guard.iter, *ast.walk(node.orelse[0])):
        ast.copy_location(part, node.test)
    return guard


def _sign(sign: ast.unaryop, index: int, marks: Marks) -> ast.Expr:
    site = ast.Constant(marks.write("site", index), **NOWHERE)
    return ast.Expr(ast.UnaryOp(sign, site, **NOWHERE), **NOWHERE)
