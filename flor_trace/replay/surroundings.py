"""What stands around a statement: its block, loop and function, and what follows on it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from flor_trace.replay.bindings import bound_by
from flor_trace.replay.trees import Tree
from flor_trace.types import Span

LOOPS = ("For", "While", "AsyncFor")
FUNCTIONS = ("FunctionDef", "AsyncFunctionDef", "Lambda")
SCOPES = (*FUNCTIONS, "ClassDef", "Module")

#: Calls that change nothing that a probe could read.
HARMLESS = frozenset(
    {"abs", "add_scalar", "append", "debug", "float", "flush", "format", "info", "int", "item"}
    | {"len", "log", "max", "min", "perf_counter", "print", "repr", "round", "set_description"}
    | {"set_postfix", "sorted", "str", "sum", "time", "warning", "write"}
)


def scope_of(tree: Tree) -> Tree:
    """Return the function, class or module that a node stands in."""
    return next(above for above in tree.above() if above.kind in SCOPES)


def block_of(tree: Tree) -> list[Tree]:
    """The statements of the block that a statement stands in, itself included."""
    assert tree.parent is not None
    node = tree.parent.node
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list) and tree.node in block:
            return [each for each in tree.parent.children if each.node in block]
    return [tree]


def before(top: Tree) -> Iterator[Tree]:
    """The statements before one in its block, then in the blocks around it, in its function."""
    tree = top
    while tree.kind not in SCOPES:
        if tree.is_statement:
            block = block_of(tree)
            yield from block[: block.index(tree)]
        assert tree.parent is not None
        tree = tree.parent


def same_loop(tree: Tree, top: Tree) -> bool:
    """Whether a statement before another one runs in the same iterations."""
    return loop_of(tree) is loop_of(top)


def loop_of(tree: Tree) -> Tree | None:
    """Return the innermost loop around a node in its function, if there is one."""
    for above in tree.above():
        if above.kind in SCOPES:
            return None
        if above.kind in LOOPS:
            return above
    return None


def has_history(tree: Tree) -> bool:
    """Whether running a statement again may give something else: no import, function, constant."""
    if tree.kind in ("Import", "ImportFrom", "ClassDef", *FUNCTIONS):
        return False
    return any(isinstance(each, ast.Call | ast.Await) for each in ast.walk(tree.node))


def statements_in(tree: Tree) -> Iterator[Tree]:
    """The statement and those in it, but for the insides of functions and classes."""
    yield tree
    if tree.kind not in SCOPES:
        for child in tree.children:
            yield from statements_in(child)


def binds(tree: Tree, name: str) -> bool:
    """Whether a statement, or one in it, binds a name."""
    return any(name in bound_by(each.node) for each in statements_in(tree))


def line_of(tree: Tree) -> int:
    """Return the line on which a node begins, 0 for those without."""
    return int(getattr(tree.node, "lineno", 0))


def span_of(tree: Tree) -> Span:
    """Return where a statement stands."""
    node = tree.node
    assert isinstance(node, ast.stmt)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)


def head_of(tree: Tree) -> str:
    """The first line of a statement, as a person knows it."""
    if tree.kind == "Module":
        return "the module"
    return ast.unparse(tree.node).splitlines()[0]


def shown_at_end(anchor: Tree, before: bool, reads: set[str]) -> bool:
    """Whether nothing that follows on the place in its loop's iteration changes what is read."""
    tree, first = anchor, not before
    while tree.kind not in SCOPES:
        if tree.is_statement:
            block = block_of(tree)
            for each in block[block.index(tree) + first :]:
                if not is_harmless(each, reads):
                    return False
            first = True
        if tree.parent is not None and tree.parent.kind in LOOPS:
            return True
        assert tree.parent is not None
        tree = tree.parent
    return False


def is_harmless(tree: Tree, reads: set[str]) -> bool:
    """Whether a statement rebinds nothing that is read, and calls nothing that could change it."""
    for each in ast.walk(tree.node):
        if isinstance(each, ast.Call):
            called = each.func
            name = getattr(called, "id", None) or getattr(called, "attr", "")
            if name not in HARMLESS:
                return False
        if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load) and each.id in reads:
            return False
        if isinstance(each, ast.Attribute | ast.Subscript) and not isinstance(each.ctx, ast.Load):
            return False
        if isinstance(each, ast.Break | ast.Continue | ast.Return | ast.Yield | ast.Await):
            return False
    return True
