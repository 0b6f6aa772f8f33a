"""Tell from unmodified code where its instructions stand in its loops."""

from __future__ import annotations

import ast
import dis
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import Literal

from flor_trace.instrument.loops import FoundLoop, span
from flor_trace.instrument.mark import for_location
from flor_trace.instrument.verify import ALWAYS_JUMPS, FINAL, JUMPS, effect
from flor_trace.records import dataclass, field
from flor_trace.state.instructions import exception_table
from flor_trace.types import Span

NOTHING_LEFT = "the compiler leaves nothing of its body by which a tracer could tell its iterations"

#: Where an instruction belongs in a ``while``: to its test, to its body, or to the statement as a
#: whole, as the jumps of Python 3.11 do and much that merely follows the loop.
Part = Literal["test", "body", "header"]

#: The ``while`` loops that an instruction lies in, outermost first.
Path = tuple[tuple[int, Part], ...]

_ENDS_HANDLER = ("RERAISE", "POP_EXCEPT")

_Place = tuple[int, int, int, int]  #: first line, first column, last line, last column
_Held = tuple[tuple[int, int], ...]  #: (stack position, loop) of iterators


@dataclass(frozen=True, slots=True)
class ForStep:
    """The FOR_ITER of a ``for``."""

    loop: int
    begins_after: int  #: offset of its GET_ITER
    item: int  #: offset of what runs with an item
    ends: frozenset[int]  #: offsets one of which runs when there is no item


@dataclass(slots=True)
class Flow:
    """What a tracer has to know about one code object; offsets are those of whole instructions."""

    code: CodeType
    whole: dict[int, int] = field(default_factory=dict)  #: offset of a prefix -> its instruction's
    steps: dict[int, ForStep] = field(default_factory=dict)
    held: dict[int, frozenset[int]] = field(default_factory=dict)  #: ``for`` loops on the stack
    paths: dict[int, Path] = field(default_factory=dict)
    breaks: dict[int, int] = field(default_factory=dict)  #: instruction of a break -> its loop
    returns: set[int] = field(default_factory=set)  #: the ends of return statements
    handlers: frozenset[int] = frozenset()
    endless: set[int] = field(default_factory=set)  #: loops whose test is no code


def analyse(code: CodeType, loops: Mapping[int, FoundLoop]) -> Flow | None:
    """Return how the code object runs through these loops of its own; None if through none.

    Sets `left_alone` of those whose iterations could not be told.
    """
    flow = _Reader(code, loops).flow
    return flow if flow.steps or any(flow.paths.values()) else None


class _Reader:
    def __init__(self, code: CodeType, loops: Mapping[int, FoundLoop]) -> None:
        self.flow = Flow(code)
        self.loops = loops
        self.instructions: list[dis.Instruction] = []
        self.index: dict[int, int] = {}
        self._read()
        self._find_whiles()
        self._find_fors()

    def _read(self) -> None:
        prefixes: list[int] = []
        for step in dis.get_instructions(self.flow.code):
            if step.opname == "CACHE":
                continue
            if step.opname == "EXTENDED_ARG":
                prefixes.append(step.offset)
                continue
            for offset in (*prefixes, step.offset):
                self.index[offset] = len(self.instructions)
                self.flow.whole[offset] = step.offset
            prefixes.clear()
            self.instructions.append(step)

    # -- while: by the places in the source ------------------------------------------------------

    def _find_whiles(self) -> None:
        whiles = {k: x.node for k, x in self.loops.items() if isinstance(x.node, ast.While)}
        if not whiles:
            return
        places = {k: _Places(node) for k, node in whiles.items()}
        for step in self.instructions:
            at = _place(step)
            if at is not None:
                self._locate(step, at, places)
        seen = {part for path in self.flow.paths.values() for part in path}
        for k in whiles:
            if (k, "body") not in seen:
                self.loops[k].left_alone = NOTHING_LEFT
            elif (k, "test") not in seen or places[k].endless:
                self.flow.endless.add(k)
        self.flow.paths = {
            offset: tuple(x for x in path if self.loops[x[0]].left_alone is None)
            for offset, path in self.flow.paths.items()
        }

    def _locate(self, step: dis.Instruction, at: _Place, places: Mapping[int, _Places]) -> None:
        path, offset = [], step.offset
        for k, place in places.items():
            part = place.part(at)
            # The end of a handler around a loop takes the place of what it comes after.
            if step.opname in _ENDS_HANDLER and part != "body":
                part = None
            if step.opname == "RERAISE" and at in place.breaks:
                part = None
            if part is not None:
                path.append((k, part))
                if at in place.breaks:
                    self.flow.breaks[offset] = k
                if place.is_return(at):
                    self.flow.returns.add(offset)
        self.flow.paths[offset] = tuple(path)

    # -- for: by the iterators on the stack -------------------------------------------------------

    def _find_fors(self) -> None:
        sites = {
            for_location(loop.node): k
            for k, loop in self.loops.items()
            if isinstance(loop.node, ast.For)
        }
        begins: dict[int, int] = {}
        for k in range(1, len(self.instructions)):
            before, step = self.instructions[k - 1], self.instructions[k]
            if (before.opname, step.opname) == ("GET_ITER", "FOR_ITER"):
                loop = sites.get(_span(step))  # type: ignore[arg-type]
                if loop is not None:
                    begins[k - 1] = loop
                    self.flow.steps[step.offset] = self._for_step(k, loop)
        self._follow_stack(begins)

    def _for_step(self, k: int, loop: int) -> ForStep:
        end = self.index[self.instructions[k].argval]
        ends = frozenset(step.offset for step in self.instructions[end : end + 3])
        before, after = self.instructions[k - 1], self.instructions[k + 1]
        return ForStep(loop, before.offset, after.offset, ends)

    def _follow_stack(self, begins: Mapping[int, int]) -> None:
        handlers = list(exception_table(self.flow.code))
        self.flow.handlers = frozenset(self.flow.whole[h.target] for h in handlers)
        if not begins:
            return
        offsets = [step.offset for step in self.instructions]
        covering: list[tuple[int, int, bool] | None] = [None] * len(offsets)
        for h in handlers:
            first, last = bisect_left(offsets, h.start), bisect_left(offsets, h.end)
            covering[first:last] = [(self.index[h.target], h.depth, h.lasti)] * (last - first)
        held: dict[int, _Held] = {0: ()}
        depths, pending = {0: 0}, [0]
        while pending:
            k = pending.pop()
            for to, depth, now in self._after(k, depths[k], held[k], begins, covering[k]):
                if to not in held:
                    held[to] = tuple(x for x in now if x[0] < depth)
                    depths[to] = depth
                    pending.append(to)
        for k, at in held.items():
            self.flow.held[offsets[k]] = frozenset(loop for _, loop in at)

    def _after(
        self,
        k: int,
        depth: int,
        held: _Held,
        begins: Mapping[int, int],
        handler: tuple[int, int, bool] | None,
    ) -> Iterator[tuple[int, int, _Held]]:
        """Yield (instruction, depth, iterators) of all that can run after instruction `k`."""
        step = self.instructions[k]
        if handler is not None:
            target, base, lasti = handler
            yield target, base + 1 + lasti, tuple(x for x in held if x[0] < base)
        if step.opcode in JUMPS:
            left = held
            if step.opname == "FOR_ITER":
                left = tuple(x for x in held if x[0] != depth - 1)
            moved = depth + dis.stack_effect(step.opcode, step.arg, jump=True)
            yield self.index[step.argval], moved, left
            if step.opname in ALWAYS_JUMPS:
                return
        if step.opname in FINAL:
            return
        if k in begins:
            held = (*held, (depth - 1, begins[k]))
        elif step.opname == "SWAP":
            held = _swapped(held, depth - 1, depth - (step.arg or 0))
        yield k + 1, depth + effect(step), held


def _swapped(held: _Held, one: int, other: int) -> _Held:
    places = {one: other, other: one}
    return tuple(sorted((places.get(place, place), loop) for place, loop in held))


class _Places:
    """Where the parts of one ``while`` statement lie in the source."""

    def __init__(self, node: ast.While) -> None:
        self.all = _of_node(node)
        self.test = _of_node(node.test)
        last = _of_node(node.body[-1])
        self.body = (*self.test[2:], *last[2:])
        self.endless = isinstance(node.test, ast.Constant)
        inner = list(_statements(node.body))
        self.breaks = {_of_node(x) for x in _own_breaks(node.body)}
        self.returns = [x for x in inner if isinstance(x, ast.Return)]

    def part(self, at: _Place) -> Part | None:
        if at == self.all:
            return "header"
        if _within(at, self.test):
            return "test"
        return "body" if _within(at, self.body) else None

    def is_return(self, at: _Place) -> bool:
        """Tell whether this may run when the loops that the return leaves are left already."""
        for node in self.returns:
            whole = _of_node(node)
            if at == whole or (isinstance(node.value, ast.Constant) and _within(at, whole)):
                return True
        return False


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield all statements in there that belong to the same code object."""
    pending = list(body)
    while pending:
        node = pending.pop()
        yield node
        pending.extend(_inside(node))


def _own_breaks(body: Sequence[ast.stmt]) -> Iterator[ast.Break]:
    """Yield the ``break`` statements that leave the loop with this body."""
    pending = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Break):
            yield node
        elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
            pending.extend(node.orelse)
        else:
            pending.extend(_inside(node))


def _inside(node: ast.stmt) -> Iterator[ast.stmt]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for part in (node, *getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        for name in ("body", "orelse", "finalbody"):
            yield from getattr(part, name, ())


def _of_node(node: ast.stmt | ast.expr) -> _Place:
    line, end_line, column, end_column = span(node)
    return line, column, end_line, end_column


def _within(at: _Place, region: tuple[int, ...]) -> bool:
    return at[:2] >= region[:2] and at[2:] <= region[2:]


def _place(step: dis.Instruction) -> _Place | None:
    found = _span(step)
    return None if found is None else (found[0], found[2], found[1], found[3])


def _span(step: dis.Instruction) -> Span | None:
    at = step.positions
    if at is None:
        return None
    line, end_line, column, end_column = at
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return line, end_line, column, end_column
