"""Find the counter that the body of a ``while`` advances."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def while_counter(node: ast.While) -> str | None:
    """Return the name that counts the iterations of a ``while``, None where there is none.

    Looked for among the statements of the body itself: ``x += 1``, ``x = x + y`` and the same
    with minus, for a name or an attribute of ``self``.  One that the condition reads wins, then
    one that advances by a number, then the first.
    """
    found = list(_advanced(node))
    read = {name for part in ast.walk(node.test) if (name := _plain(part)) is not None}
    found.sort(key=lambda step: (step[0] not in read, not step[1]))
    return found[0][0] if found else None


def _advanced(node: ast.While) -> Iterator[tuple[str, bool]]:
    """Yield the names that the body advances, and whether by a literal number."""
    for statement in node.body:
        name, step = _advance(statement)
        if name is not None and step is not None and name.strip("_"):
            yield name, _is_number(step)


def _advance(statement: ast.stmt) -> tuple[str | None, ast.expr | None]:
    if isinstance(statement, ast.AugAssign) and _steps(statement.op):
        by_number = _is_number(statement.value)
        return _plain(statement.target) if by_number else None, statement.value
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.BinOp):
        name, total = _plain(statement.targets[0]), statement.value
        if _steps(total.op) and _plain(total.left) == name:
            return name, total.right
    return None, None


def _steps(op: ast.operator) -> bool:
    return isinstance(op, ast.Add | ast.Sub)


def _is_number(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    )


def _plain(node: ast.AST) -> str | None:
    """Return ``x`` for the name ``x`` and for ``self.x``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if node.value.id == "self" else None
    return None
