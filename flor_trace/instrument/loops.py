"""Find the loops of a module, name each, and list what its iterations store."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib.util import decode_source

from flor_trace.instrument import names
from flor_trace.instrument.counters import while_counter
from flor_trace.records import dataclass, field
from flor_trace.types import LoopInfo, LoopKind, Span

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(slots=True, eq=False)
class Scope:
    """One code object that can hold loop statements."""

    qualname: str
    line: int  #: its ``co_firstlineno``
    kind: str  #: ``"module"``, ``"class"`` or ``"function"``
    cls: str | None = None  #: the innermost class around it, for private names
    declared: dict[str, str] = field(default_factory=dict)  #: global and nonlocal statements
    bound: dict[str, str] = field(default_factory=dict)  #: name as compiled -> as written

    def assignable(self) -> dict[str, str]:
        """Return the local names a function can assign; nothing for other scopes."""
        if self.kind != "function":
            return {}
        return {name: raw for name, raw in self.bound.items() if raw not in self.declared}


@dataclass(slots=True, eq=False)
class FoundLoop:
    """One ``for`` or ``while`` statement with where it stands in the tree."""

    node: ast.For | ast.While
    siblings: list[ast.stmt]  #: the statement list that holds it
    at: int  #: its index in there
    scope: Scope
    ordinal: int
    stores: dict[str, None] = field(default_factory=dict)
    own_stores: dict[str, None] = field(default_factory=dict)
    left_alone: str | None = None

    @property
    def span(self) -> Span:
        """The place of the whole statement."""
        return span(self.node)


def span(node: ast.stmt | ast.expr) -> Span:
    """Return first line, last line, first column, end column of a parsed node."""
    return (node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0)


@dataclass(slots=True)
class _Visit:
    """A statement still to be looked at, with the loops around it in its own scope."""

    siblings: list[ast.stmt]
    at: int
    scope: Scope
    around: tuple[FoundLoop, ...]


class _Finder:
    """Walks statements only, with a stack of its own: ``elif`` chains nest without limit."""

    def __init__(self, walrus: bool) -> None:
        self.walrus = walrus
        self.loops: list[FoundLoop] = []
        self.pending: list[_Visit] = []
        self.counts: dict[str, int] = {}

    def run(self, tree: ast.Module) -> list[FoundLoop]:
        self._push(tree.body, Scope("<module>", 1, "module"), ())
        while self.pending:
            visit = self.pending.pop()
            node = visit.siblings[visit.at]
            if isinstance(node, ast.Global | ast.Nonlocal):
                kind = "global" if isinstance(node, ast.Global) else "nonlocal"
                visit.scope.declared.update(dict.fromkeys(node.names, kind))
            else:
                self._visit(node, visit)
        return self.loops

    def _push(self, body: list[ast.stmt], scope: Scope, around: tuple[FoundLoop, ...]) -> None:
        self.pending.extend(_Visit(body, k, scope, around) for k in range(len(body) - 1, -1, -1))

    def _visit(self, node: ast.stmt, visit: _Visit) -> None:
        inside = visit.around
        if isinstance(node, ast.For | ast.While):
            inside = (*inside, self._loop(node, visit))
        self._note(names.bound_names(node, walrus=self.walrus), visit.scope, inside)
        if self.walrus and isinstance(node, ast.For):
            self._note(names.walrus_names([node.iter]), visit.scope, visit.around)
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            self._push(node.body, _enter(node, visit.scope), ())
            return
        for body, is_loop_body in reversed(list(_bodies(node))):
            self._push(body, visit.scope, inside if is_loop_body else visit.around)

    def _loop(self, node: ast.For | ast.While, visit: _Visit) -> FoundLoop:
        ordinal = self.counts.get(visit.scope.qualname, 0)
        self.counts[visit.scope.qualname] = ordinal + 1
        loop = FoundLoop(node, visit.siblings, visit.at, visit.scope, ordinal)
        self.loops.append(loop)
        return loop

    @staticmethod
    def _note(bound: Iterable[str], scope: Scope, around: tuple[FoundLoop, ...]) -> None:
        for raw in bound:
            name = names.mangled(raw, scope.cls)
            scope.bound.setdefault(name, raw)
            for loop in around:
                loop.stores.setdefault(name)
            if around:
                around[-1].own_stores.setdefault(name)


def _bodies(node: ast.stmt) -> Iterator[tuple[list[ast.stmt], bool]]:
    """Yield the statement lists of a statement in source order; True for what a loop repeats."""
    yield getattr(node, "body", []), True
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield part.body, True
    repeats = not isinstance(node, ast.For | ast.While)
    yield getattr(node, "orelse", []), repeats
    yield getattr(node, "finalbody", []), True


def _enter(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, outer: Scope) -> Scope:
    line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    qualname = _qualname(node.name, outer)
    if isinstance(node, ast.ClassDef):
        return Scope(qualname, line, "class", node.name)
    scope = Scope(qualname, line, "function", outer.cls)
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    every += [arg for arg in (given.vararg, given.kwarg) if arg is not None]
    for arg in every:
        scope.bound[names.mangled(arg.arg, outer.cls)] = arg.arg
    return scope


def _qualname(name: str, outer: Scope) -> str:
    """Name a definition as the compiler does: a ``global`` statement makes it a module's own."""
    if outer.kind == "module" or outer.declared.get(name) == "global":
        return name
    return (
        f"{outer.qualname}.<locals>.{name}"
        if outer.kind == "function"
        else (f"{outer.qualname}.{name}")
    )


def find_loops(tree: ast.Module, *, walrus: bool = True) -> list[FoundLoop]:
    """Return the ``for`` and ``while`` statements of a module in source order.

    ``async for`` and comprehensions are not loops of this kind.  Loops are numbered per
    qualified name; where a name is defined twice the numbers go on, so that keys stay unique.
    """
    return _Finder(walrus).run(tree)


def dimension_of(node: ast.For | ast.While) -> str:
    """Return the pivot column of a loop, before it is made unique in its nest."""
    if isinstance(node, ast.While):
        return while_counter(node) or f"loop@{node.lineno}"
    readable = (name for name in names.target_names(node.target) if name.strip("_"))
    return next(readable, f"loop@{node.lineno}")


def source_lines(source: bytes) -> list[str]:
    """Return the lines of a module's source, numbered as the compiler numbers them."""
    return decode_source(source).split("\n")


def describe(loop: FoundLoop, module: str, lines: list[str]) -> LoopInfo:
    """Return what the rest of the product knows about a loop."""
    node, scope = loop.node, loop.scope
    kind: LoopKind = "for" if isinstance(node, ast.For) else "while"
    targets = names.target_names(node.target) if isinstance(node, ast.For) else ()
    return LoopInfo(
        module=module,
        qualname=scope.qualname,
        ordinal=loop.ordinal,
        kind=kind,
        span=loop.span,
        header=lines[node.lineno - 1].strip() if node.lineno <= len(lines) else "",
        targets=tuple(dict.fromkeys(names.mangled(name, scope.cls) for name in targets)),
        dimension=dimension_of(node),
        stores=tuple(loop.stores),
        own_stores=tuple(loop.own_stores),
        left_alone=loop.left_alone,
    )
