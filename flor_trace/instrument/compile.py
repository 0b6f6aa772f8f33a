"""Compile a module so that its loops report, and hand back what its source says about them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING

from flor_trace._speedups import digest
from flor_trace.errors import RewriteError
from flor_trace.instrument.astonly import mark_in_source
from flor_trace.instrument.change import TreeChange, compile_plain
from flor_trace.instrument.clocks import clock_names
from flor_trace.instrument.engines import choose
from flor_trace.instrument.failures import OUR_FAILURES
from flor_trace.instrument.loops import FoundLoop, describe, find_loops, source_lines
from flor_trace.instrument.mark import ELSE_JUMPS_OUT, for_location, jumps_out, mark
from flor_trace.instrument.markers import Marks
from flor_trace.instrument.rewritten import Rewritten
from flor_trace.instrument.spots import mark_spots
from flor_trace.records import dataclass
from flor_trace.types import NO_CONTROLS, Controls, Digest, LoopInfo, LoopKey, ModuleInfo, Span

if TYPE_CHECKING:  # the engines are imported when they are used
    from flor_trace.instrument.flow import Flow
    from flor_trace.instrument.rewrite import ScopeKey


@dataclass(frozen=True, slots=True)
class _Request:
    source: bytes
    path: str
    module: str
    optimize: int
    controls: Controls
    flags: int
    digest: Digest
    change: TreeChange | None

    def plain(self) -> CodeType:
        return compile_plain(self.source, self.path, self.flags, self.optimize, self.change)

    def parse(self) -> ast.Module:
        flags = self.flags | ast.PyCF_ONLY_AST
        tree = compile(self.source, self.path, "exec", flags, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        return tree

    def compile(self, tree: ast.Module) -> CodeType:
        made = compile(
            tree, self.path, "exec", self.flags, dont_inherit=True, optimize=self.optimize
        )
        assert isinstance(made, CodeType)
        return made


def compile_module(  # noqa: PLR0913 - most have defaults and go by name
    source: bytes,
    path: str,
    module: str,
    *,
    optimize: int = -1,
    controls: Controls = NO_CONTROLS,
    flags: int = 0,
    change: TreeChange | None = None,
    engine: str = "auto",
) -> Rewritten:
    """Return the module compiled with reporting loops.

    `path` becomes ``co_filename``; `module` is the path in the project.  Of `controls`, the loops
    also ask a control (see `flor_trace.types.Control`), and the spots of this module tell.
    `change` is made to the tree before our marks, and the loops are described as the source has
    them.  `engine` is one of
    `flor_trace.instrument.engines`, and not the one that rewrites nothing.  Whatever cannot be
    rewritten with proof is compiled as it is and named in ``info.left_alone``.

    Raises `SyntaxError` (or `ValueError` for null bytes) exactly as ``compile`` does.
    """
    request = _Request(
        source, path, module, optimize, controls, flags, Digest(digest(source)), change
    )
    make = _in_source if choose(engine).engine == "ast" else _rewritten
    try:
        return make(request)
    except OUR_FAILURES as failure:
        reason = f"{type(failure).__name__}: {failure}"
    # Compiled outside of the handler: an error of the program's own must not mention ours.
    return _left_alone(request, request.plain(), reason)


def analyse_module(
    source: bytes, path: str, module: str, *, change: TreeChange | None = None
) -> tuple[Rewritten, tuple[Flow, ...]]:
    """Return the module as Python compiles it, and how its code objects run through its loops.

    Raises what ``compile`` raises.
    """
    from flor_trace.instrument.flow import analyse  # noqa: PLC0415 - only one engine needs it

    request = _Request(source, path, module, -1, NO_CONTROLS, 0, Digest(digest(source)), change)
    code = request.plain()
    try:
        found = _Found(request, {})
        flows = []
        for each in _codes(code):
            flow = analyse(each, _loops_of(each, found.loops))
            flows += [flow] if flow is not None else []
        left = {(x.scope.qualname, x.left_alone) for x in found.loops if x.left_alone is not None}
        info = found.info(_describe(request, found.loops), tuple(sorted(left)))
        return Rewritten(code, info), tuple(flows)
    except OUR_FAILURES as failure:
        reason = f"{type(failure).__name__}: {failure}"
    return _left_alone(request, code, reason), ()


def _loops_of(code: CodeType, loops: Sequence[FoundLoop]) -> dict[int, FoundLoop]:
    key = (code.co_qualname, code.co_firstlineno)
    return {
        k: loop
        for k, loop in enumerate(loops)
        if loop.left_alone is None and (loop.scope.qualname, loop.scope.line) == key
    }


class _Found:
    """The tree of a module with its loops, each with a reason if it is to be left alone."""

    def __init__(self, request: _Request, avoid: dict[ScopeKey, str]) -> None:
        self.request = request
        self.tree = request.parse()
        spots = [spot for spot in request.controls.spots if spot.module == request.module]
        if spots:
            mark_spots(self.tree, spots, Marks(request.digest))
        walrus = b":=" in request.source
        self.loops = find_loops(self.tree, walrus=walrus)
        _leave_alone(self.loops, avoid)
        self.clocks = _clocks(request, self.tree)
        self.infos = _describe(request, self.loops)
        if request.change is not None:
            before = [(loop.span, loop.left_alone) for loop in self.loops]
            request.change.apply(self.tree, request.source, request.path)
            self.loops = _found_again(before, find_loops(self.tree, walrus=walrus))

    def info(
        self, infos: tuple[LoopInfo, ...], left_alone: tuple[tuple[str, str], ...]
    ) -> ModuleInfo:
        request = self.request
        return ModuleInfo(request.module, request.digest, infos, left_alone, self.clocks)


def _rewritten(request: _Request) -> Rewritten:
    from flor_trace.instrument.rewrite import Finisher  # noqa: PLC0415 - the others do without

    avoid: dict[ScopeKey, str] = {}
    while True:
        found = _Found(request, avoid)
        marks = Marks(request.digest)
        sites = {
            for_location(loop.node): k
            for k, loop in enumerate(found.loops)
            if isinstance(loop.node, ast.For) and loop.left_alone is None
        }
        mark(found.loops, _controlled(found.infos, request.controls.loops), marks)
        finisher = Finisher(marks, sites, avoid)
        code = finisher.finish(request.compile(found.tree))
        if not finisher.failed:
            left = tuple((qualname, reason) for (qualname, _), reason in avoid.items())
            return Rewritten(code, found.info(found.infos, left))
        # Each round avoids at least one more code object, so this ends.
        avoid |= finisher.failed


def _in_source(request: _Request) -> Rewritten:
    found = _Found(request, {})
    controlled = _controlled(found.infos, request.controls.loops)
    mark_in_source(found.loops, controlled, Marks(request.digest), request.path)
    return Rewritten(request.compile(found.tree), found.info(found.infos, ()))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _found_again(
    before: Sequence[tuple[Span, str | None]], after: list[FoundLoop]
) -> list[FoundLoop]:
    """Return the loops where they stand in a changed tree; what was decided on them stays."""
    if [span for span, _ in before] != [loop.span for loop in after]:
        raise RewriteError("another tool changed the loops of this module: they are left alone")
    for (_, left_alone), loop in zip(before, after, strict=True):
        loop.left_alone = left_alone
    return after


def _clocks(request: _Request, tree: ast.Module) -> frozenset[str]:
    # The names of all modules with a clock contain "time"; the search looks at every expression.
    return clock_names(tree) if b"time" in request.source else frozenset()


def _leave_alone(loops: Sequence[FoundLoop], avoid: dict[ScopeKey, str]) -> None:
    for loop in loops:
        if isinstance(loop.node, ast.While) and jumps_out(loop.node.orelse):
            loop.left_alone = ELSE_JUMPS_OUT
        loop.left_alone = avoid.get((loop.scope.qualname, loop.scope.line), loop.left_alone)


def _describe(request: _Request, loops: Sequence[FoundLoop]) -> tuple[LoopInfo, ...]:
    if not loops:
        return ()
    lines = source_lines(request.source)
    return tuple(describe(loop, request.module, lines) for loop in loops)


def _controlled(infos: Sequence[LoopInfo], controls: frozenset[LoopKey]) -> frozenset[int]:
    if not controls:
        return frozenset()
    return frozenset(k for k, info in enumerate(infos) if info.key in controls)


def _left_alone(request: _Request, code: CodeType, reason: str) -> Rewritten:
    """Describe a module that stays as Python compiled it."""
    left = (("<module>", reason),)
    try:
        tree = request.parse()
        loops = find_loops(tree)
        for loop in loops:
            loop.left_alone = reason
        info = ModuleInfo(
            request.module, request.digest, _describe(request, loops), left, _clocks(request, tree)
        )
    except OUR_FAILURES:
        info = ModuleInfo(request.module, request.digest, (), left, frozenset())
    return Rewritten(code, info)
