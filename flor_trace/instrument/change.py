"""What another tool does to the syntax tree of a module before Python compiles it."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType

from flor_trace.hints import TYPE_CHECKING

if TYPE_CHECKING:  # needed only by whoever compiles, and the rewriter's cache saves that
    import ast


class TreeChange:
    """A change that is made in place, such as that of pytest to ``assert`` statements."""

    __slots__ = ("apply", "name")

    def __init__(self, name: str, apply: Callable[[ast.Module, bytes, str], None]) -> None:
        #: Names the tool, its version and its settings: the cache keeps them apart.
        self.name = name
        #: Gets the tree, the source and its path.
        self.apply = apply


def compile_plain(
    source: bytes, path: str, flags: int, optimize: int, change: TreeChange | None
) -> CodeType:
    """Return the code of a module as it is without us, with the other tool's change.

    Raises what ``compile`` and the other tool raise.
    """
    what: bytes | ast.Module = source
    if change is not None:
        import ast  # noqa: PLC0415

        tree = compile(source, path, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        assert isinstance(tree, ast.Module)
        change.apply(tree, source, path)
        what = tree
    made = compile(what, path, "exec", flags, dont_inherit=True, optimize=optimize)
    assert isinstance(made, CodeType)
    return made
