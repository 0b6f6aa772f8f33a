"""Compile a module so that its loops report, and hand back what its source says about them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from types import CodeType

from flor_trace import pyfacts
from flor_trace._speedups import digest
from flor_trace.errors import RewriteError
from flor_trace.instrument.change import TreeChange, compile_plain
from flor_trace.instrument.clocks import clock_names
from flor_trace.instrument.failures import OUR_FAILURES
from flor_trace.instrument.loops import FoundLoop, describe, find_loops, source_lines
from flor_trace.instrument.mark import ELSE_JUMPS_OUT, for_location, jumps_out, mark
from flor_trace.instrument.markers import Marks
from flor_trace.instrument.rewrite import Finisher, ScopeKey
from flor_trace.instrument.rewritten import Rewritten, columns_are_kept
from flor_trace.records import dataclass
from flor_trace.types import Digest, LoopInfo, LoopKey, ModuleInfo

_UNKNOWN_PYTHON = "the rewriter does not know the bytecode of this Python version"
_NO_COLUMNS = "Python runs without column positions (-X no_debug_ranges)"


@dataclass(frozen=True, slots=True)
class _Request:
    source: bytes
    path: str
    module: str
    optimize: int
    controls: frozenset[LoopKey]
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


def compile_module(
    source: bytes,
    path: str,
    module: str,
    *,
    optimize: int = -1,
    controls: frozenset[LoopKey] = frozenset(),
    flags: int = 0,
    change: TreeChange | None = None,
) -> Rewritten:
    """Return the module compiled with reporting loops.

    `path` becomes ``co_filename``; `module` is the path in the project.  Loops whose key is in
    `controls` also ask a control (see `flor_trace.types.Control`).  `change` is made to the tree
    before our marks, and the loops are described as the source has them.  Whatever cannot be
    rewritten with proof is compiled as it is and named in ``info.left_alone``.

    Raises `SyntaxError` (or `ValueError` for null bytes) exactly as ``compile`` does.
    """
    request = _Request(
        source, path, module, optimize, controls, flags, Digest(digest(source)), change
    )
    reason = _unsupported()
    if reason is None:
        try:
            return _rewritten(request)
        except OUR_FAILURES as failure:
            reason = f"{type(failure).__name__}: {failure}"
    # Compiled outside of the handler: an error of the program's own must not mention ours.
    return _left_alone(request, request.plain(), reason)


def _unsupported() -> str | None:
    if not pyfacts.REWRITER_KNOWS:
        return _UNKNOWN_PYTHON
    return None if columns_are_kept() else _NO_COLUMNS


def _rewritten(request: _Request) -> Rewritten:
    avoid: dict[ScopeKey, str] = {}
    while True:
        tree = request.parse()
        walrus = b":=" in request.source
        loops = find_loops(tree, walrus=walrus)
        _leave_alone(loops, avoid)
        clocks = _clocks(request, tree)
        infos = _describe(request, loops)
        if request.change is not None:
            request.change.apply(tree, request.source, request.path)
            loops = _found_again(loops, find_loops(tree, walrus=walrus))
        marks = Marks(request.digest)
        sites = {
            for_location(loop.node): k
            for k, loop in enumerate(loops)
            if isinstance(loop.node, ast.For) and loop.left_alone is None
        }
        mark(loops, _controlled(infos, request.controls), marks)
        finisher = Finisher(marks, sites, avoid)
        code = finisher.finish(request.compile(tree))
        if not finisher.failed:
            left = tuple((qualname, reason) for (qualname, _), reason in avoid.items())
            info = ModuleInfo(request.module, request.digest, infos, left, clocks)
            return Rewritten(code, info)
        # Each round avoids at least one more code object, so this ends.
        avoid |= finisher.failed


def _found_again(before: Sequence[FoundLoop], after: list[FoundLoop]) -> list[FoundLoop]:
    """Return the loops where they stand in a changed tree; what was decided on them stays."""
    if [loop.span for loop in before] != [loop.span for loop in after]:
        raise RewriteError("another tool changed the loops of this module: they are left alone")
    for old, new in zip(before, after, strict=True):
        new.left_alone = old.left_alone
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
