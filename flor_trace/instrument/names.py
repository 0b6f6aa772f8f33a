"""Tell which names one statement binds in its own scope."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator

#: Statements that hold other statements or start a scope: only their heads are read here.
_HEADS: dict[type, tuple[str, ...]] = {
    ast.For: (),  # what it iterates over is evaluated once, outside of the loop
    ast.AsyncFor: ("iter",),
    ast.While: ("test",),
    ast.If: ("test",),
    ast.With: ("items",),
    ast.AsyncWith: ("items",),
    ast.Match: ("subject",),
    ast.FunctionDef: ("decorator_list", "args", "returns"),
    ast.AsyncFunctionDef: ("decorator_list", "args", "returns"),
    ast.ClassDef: ("decorator_list", "bases", "keywords"),
    ast.Try: (),
    ast.TryStar: (),
}


def target_names(target: ast.expr | None) -> Iterator[str]:
    """Yield the plain names of an assignment target, from left to right."""
    pending = [target]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Starred):
            pending.append(node.value)
        elif isinstance(node, ast.Tuple | ast.List):
            pending.extend(reversed(node.elts))


def pattern_names(pattern: ast.pattern) -> Iterator[str]:
    """Yield the names that a ``case`` pattern captures."""
    for node in ast.walk(pattern):
        name = node.rest if isinstance(node, ast.MatchMapping) else getattr(node, "name", None)
        if isinstance(name, str):
            yield name


def walrus_names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names bound by ``:=`` in these expressions, lambda bodies left out."""
    pending = list(nodes)[::-1]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.NamedExpr):
            yield node.target.id
        if isinstance(node, ast.Lambda):
            pending.append(node.args)
        else:
            pending.extend(list(ast.iter_child_nodes(node))[::-1])


def head_expressions(statement: ast.stmt) -> list[ast.AST]:
    """Return what a statement evaluates in its own scope, nested statements left out."""
    fields = _HEADS.get(type(statement))
    if fields is None:
        return list(ast.iter_child_nodes(statement))
    found: list[ast.AST] = []
    for field in fields:
        value = getattr(statement, field)
        found.extend(value if isinstance(value, list) else [value] if value is not None else [])
    return found


def _assign(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        yield from target_names(target)


def _one_target(node: ast.AugAssign | ast.For | ast.AsyncFor) -> Iterator[str]:
    yield from target_names(node.target)


def _annotated(node: ast.AnnAssign) -> Iterator[str]:
    if node.value is not None:
        yield from target_names(node.target)


def _delete(node: ast.Delete) -> Iterator[str]:
    for target in node.targets:
        yield from target_names(target)


def _with(node: ast.With | ast.AsyncWith) -> Iterator[str]:
    for item in node.items:
        yield from target_names(item.optional_vars)


def _import(node: ast.Import) -> Iterator[str]:
    for alias in node.names:
        yield alias.asname or alias.name.partition(".")[0]


def _import_from(node: ast.ImportFrom) -> Iterator[str]:
    for alias in node.names:
        if alias.name != "*":
            yield alias.asname or alias.name


def _definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[str]:
    yield node.name


def _try(node: ast.Try | ast.TryStar) -> Iterator[str]:
    for handler in node.handlers:
        if handler.name is not None:
            yield handler.name


def _match(node: ast.Match) -> Iterator[str]:
    for case in node.cases:
        yield from pattern_names(case.pattern)


def _type_alias(node: ast.AST) -> Iterator[str]:
    yield from target_names(getattr(node, "name", None))


_BINDERS: dict[type, Callable[..., Iterator[str]]] = {
    ast.Assign: _assign,
    ast.AugAssign: _one_target,
    ast.AnnAssign: _annotated,
    ast.For: _one_target,
    ast.AsyncFor: _one_target,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.FunctionDef: _definition,
    ast.AsyncFunctionDef: _definition,
    ast.ClassDef: _definition,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.Match: _match,
    ast.Delete: _delete,
}
if hasattr(ast, "TypeAlias"):
    _BINDERS[ast.TypeAlias] = _type_alias


def bound_names(statement: ast.stmt, *, walrus: bool = True) -> Iterator[str]:
    """Yield the names a statement binds or unbinds itself, nested statements left out.

    Loop targets count for the loop.  Pass ``walrus=False`` for a source without ``:=``: the
    search for it is the only part that looks into expressions.
    """
    binder = _BINDERS.get(type(statement))
    if binder is not None:
        yield from binder(statement)
    if walrus:
        yield from walrus_names(head_expressions(statement))
        if isinstance(statement, ast.Match):
            yield from walrus_names(case.guard for case in statement.cases if case.guard)
        elif isinstance(statement, ast.Try | ast.TryStar):
            yield from walrus_names(h.type for h in statement.handlers if h.type)


def mangled(name: str, cls: str | None) -> str:
    """Return the name the compiler uses for a name written inside a class body."""
    if cls is None or not name.startswith("__") or name.endswith("__") or "." in name:
        return name
    stripped = cls.lstrip("_")
    return f"_{stripped}{name}" if stripped else name
