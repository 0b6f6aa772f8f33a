"""Have the loops of test modules report although pytest compiles these modules itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from flor_trace._speedups import Before, Unseen
from flor_trace.instrument.change import TreeChange
from flor_trace.instrument.failures import OUR_FAILURES

if TYPE_CHECKING:
    import ast

#: Gives the code of a file of the project; None for a foreign file, and where there is none.
CodeOf = Callable[[str, TreeChange], CodeType | None]

_OnFailure = Callable[[str, BaseException], None]

_STEPS = ("_read_pyc", "_rewrite_test", "_write_pyc")


class _Standins:
    """Stands in for three functions that pytest's loader calls, for files of the project.

    Their code is made before the loader begins, and its functions are exchanged only when there
    is such code: a test module with a syntax error has the traceback that it has without us.
    """

    def __init__(self, rewriter: ModuleType, code_of: CodeOf, on_failure: _OnFailure) -> None:
        self._rewriter = rewriter
        self._code_of = code_of
        self._on_failure = on_failure
        self._original: dict[str, Callable[..., Any]] = {
            name: getattr(rewriter, name) for name in _STEPS
        }
        self._ready: dict[str, CodeType] = {}
        self._ours: set[str] = set()

    def place(self) -> None:
        """Be told of every module that pytest's loader is about to execute."""
        loader = self._rewriter.AssertionRewritingHook
        loader.exec_module = Before(loader.exec_module, Unseen(self._prepare))

    def _prepare(self, loader: Any, module: ModuleType) -> None:
        name = module.__name__
        try:
            path = str(_origin(module))
            code = self._code_of(path, self._change(loader.config))
        except OUR_FAILURES as failure:
            self._on_failure(name, failure)
            code = None
        if code is not None:
            self._ready[path] = code
            self._ours.add(path)
        for step in _STEPS:
            mine: Callable[..., Any] = getattr(self, step)
            setattr(self._rewriter, step, self._original[step] if code is None else mine)

    def _change(self, config: Any) -> TreeChange:
        rewriter = self._rewriter

        def rewrite_asserts(tree: ast.Module, source: bytes, path: str) -> None:
            rewriter.rewrite_asserts(tree, source, path, config)

        hooked = config.getini("enable_assertion_pass_hook")
        return TreeChange(f"pytest {rewriter.version} {hooked}", rewrite_asserts)

    # -- what the loader calls, one after the other --------------------------------------------

    def _read_pyc(self, source: Path, *args: Any, **kwargs: Any) -> CodeType | None:
        """Pass over the copy that pytest keeps of a module: its loops report nothing."""
        if str(source) in self._ready:
            return None
        kept: CodeType | None = self._original["_read_pyc"](source, *args, **kwargs)
        return kept

    def _rewrite_test(self, fn: Path, config: Any) -> tuple[Any, CodeType]:
        code = self._ready.pop(str(fn), None)
        if code is not None:
            return None, code
        made: tuple[Any, CodeType] = self._original["_rewrite_test"](fn, config)
        return made

    def _write_pyc(self, state: Any, co: CodeType, *args: Any, **kwargs: Any) -> bool:
        """Keep our code out of pytest's copies: runs without us read them."""
        if co.co_filename in self._ours:
            return False
        return bool(self._original["_write_pyc"](state, co, *args, **kwargs))


def _origin(module: ModuleType) -> Path:
    assert module.__spec__ is not None
    return Path(module.__spec__.origin or "")


def teach_pytest(rewriter: ModuleType, code_of: CodeOf, on_failure: _OnFailure) -> None:
    """Have pytest run code with reporting loops, with its own assertions in it.

    Raises `AttributeError` for a pytest whose loader has other parts.
    """
    _Standins(rewriter, code_of, on_failure).place()
