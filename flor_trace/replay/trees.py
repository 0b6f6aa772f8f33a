"""Syntax trees as the matching of versions sees them: labelled nodes with sizes and digests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from flor_trace._speedups import digest

#: Fields of nodes that say what a person wrote there, apart from what is nested in it.
_TELLING = ("id", "arg", "attr", "name", "names", "value", "module", "level", "asname", "kind")


@dataclass(slots=True, eq=False)
class Tree:
    """One node of a syntax tree and all below it."""

    node: ast.AST
    kind: str  #: class of the node
    label: str  #: what it says itself: a name, a constant; empty for most
    parent: Tree | None = None
    children: list[Tree] = field(default_factory=list)
    size: int = 1  #: nodes, itself included
    height: int = 1
    exact: bytes = b""  #: equal for subtrees that are the same text, but for layout

    def below(self) -> Iterator[Tree]:
        """Give every node below it, the deepest first."""
        for child in self.children:
            yield from child.below()
            yield child

    def above(self) -> Iterator[Tree]:
        """Give its parent, that one's parent and so on."""
        found = self.parent
        while found is not None:
            yield found
            found = found.parent

    @property
    def is_statement(self) -> bool:
        """Whether it is a statement of its own."""
        return isinstance(self.node, ast.stmt)


def tree_of(source: str) -> Tree:
    """Return the tree of a module; raises SyntaxError."""
    return _build(ast.parse(source), None)


def _build(node: ast.AST, parent: Tree | None) -> Tree:
    tree = Tree(node, type(node).__name__, _label(node), parent)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr_context):
            tree.children.append(_build(child, tree))
    tree.size += sum(child.size for child in tree.children)
    tree.height += max((child.height for child in tree.children), default=0)
    parts = [f"{tree.kind} {tree.label}".encode("utf-8", "surrogatepass")]
    parts += [child.exact for child in tree.children]
    tree.exact = digest(b"".join(digest(part) for part in parts))
    return tree


def _label(node: ast.AST) -> str:
    said = [getattr(node, name) for name in _TELLING if hasattr(node, name)]
    return " ".join(repr(each) for each in said if not _is_nested(each))


def _is_nested(value: object) -> bool:
    """Whether it is told by the children of its node."""
    if isinstance(value, list):
        return any(isinstance(each, ast.AST) for each in value)
    return isinstance(value, ast.AST)
