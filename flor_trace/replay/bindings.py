"""Which names statements bind, and which they read from outside of themselves."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator, Sequence
from types import CodeType

_CLAUSES = (ast.stmt, ast.ExceptHandler, ast.match_case)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def bound_by(node: ast.AST) -> set[str]:
    """Return the names that a statement binds, apart from those that statements in it bind."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, _DEFINITIONS):
        return {node.name}
    if not isinstance(node, ast.stmt):
        return set()
    own = [child for child in ast.iter_child_nodes(node) if not isinstance(child, _CLAUSES)]
    return {
        each.id
        for part in own
        for each in _in_scope(part)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def bound_in(node: ast.AST) -> set[str]:
    """Return the names that the scope of a node binds, arguments included."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        found |= bound_by(child)
        if isinstance(child, ast.arguments):
            found |= {each.arg for each in ast.walk(child) if isinstance(each, ast.arg)}
        elif isinstance(child, ast.ExceptHandler) and child.name:
            found.add(child.name)
        if not isinstance(child, (*_DEFINITIONS, ast.Lambda)):
            found |= bound_in(child)
    return found


def _in_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Give the node and all below it, but for the insides of comprehensions and lambdas."""
    yield node
    if isinstance(node, ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.comprehension):
            yield from _in_scope(child)


def read_by(statements: Sequence[ast.stmt]) -> list[str]:
    """Return the names that statements read before they bind them, in order of first use."""
    body = [ast.parse(ast.unparse(each)).body[0] for each in statements]
    code = compile(ast.Module(body, []), "<statements>", "exec")
    bound: set[str] = set()
    free: dict[str, None] = {}
    later: dict[str, None] = {}
    for each in dis.get_instructions(code):
        if each.opname in ("STORE_NAME", "STORE_GLOBAL"):
            bound.add(each.argval)
        elif each.opname in ("LOAD_NAME", "LOAD_GLOBAL") and each.argval not in bound:
            free[each.argval] = None
        elif isinstance(each.argval, CodeType):
            later.update((name, None) for name in globals_of(each.argval))
    free.update((name, None) for name in later if name not in bound)
    return list(free)


def globals_of(code: CodeType) -> dict[str, None]:
    """Return the names that a function looks for in its module, nested functions included."""
    found = {
        each.argval: None
        for each in dis.get_instructions(code)
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= globals_of(constant)
    return found
