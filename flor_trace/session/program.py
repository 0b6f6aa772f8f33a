"""Run a program as plain ``python`` would: its arguments, its ``__main__``, its path."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal

from flor_trace import pyfacts
from flor_trace._speedups import run_main
from flor_trace.errors import ScriptNotFound
from flor_trace.records import dataclass

Mode = Literal["script", "module", "command"]
OnError = Callable[[BaseException], None]


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: a script, ``-m module`` or ``-c command``, and its arguments."""

    mode: Mode
    target: str
    arguments: tuple[str, ...] = ()

    @property
    def path(self) -> Path | None:
        """Where the script is, or for a module or command None."""
        return Path(_absolute(self.target)) if self.mode == "script" else None

    def check(self) -> None:
        """Raise `ScriptNotFound` when there is nothing to run."""
        if self.path is not None and not self.path.is_file():
            what = "is a directory" if self.path.is_dir() else "does not exist"
            raise ScriptNotFound(
                f"cannot record {self.target!r}: it {what} (looked at {self.path}); give the path "
                "of a Python file, or -m MODULE"
            )


def _absolute(path: str) -> str:
    """As python makes a script's ``__file__`` absolute: joined to the directory, not normalised."""
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def _show_in_tracebacks(command: str) -> None:
    """From 3.13 on, tracebacks show the lines of ``-c`` programs."""
    linecache = sys.modules.get("linecache")
    register = getattr(linecache, "_register_code", None)
    if register is not None:
        register("<string>", command, "<string>")


class Main:
    """The program's ``__main__`` and how to start it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.module = ModuleType("__main__")
        self.namespace: dict[str, Any] = self.module.__dict__

    def install(self) -> None:
        """Put arguments, path and ``__main__`` in place; nothing of the program runs yet."""
        program = self.program
        names = self.namespace
        names["__builtins__"] = sys.modules["builtins"]
        if pyfacts.MAIN_HAS_ANNOTATIONS:
            names["__annotations__"] = {}
        first = program.target
        if program.mode == "script":
            path = _absolute(program.target)
            names["__file__"] = path
            names["__cached__"] = None
            names["__loader__"] = importlib.machinery.SourceFileLoader("__main__", path)
            self._set_path(os.path.dirname(os.path.realpath(path)))
        else:
            names["__loader__"] = importlib.machinery.BuiltinImporter
            first = "-m" if program.mode == "module" else "-c"
            self._set_path(os.getcwd() if program.mode == "module" else "")
        sys.argv[:] = [first, *program.arguments]
        sys.modules["__main__"] = self.module

    def _set_path(self, first: str) -> None:
        if not sys.flags.safe_path:
            sys.path[0] = first

    def run(self, compile_main: Callable[[bytes, str], CodeType], on_error: OnError) -> int:
        """Run the program; return its exit status unless it ends the process itself."""
        if self.program.mode == "module":
            import runpy  # noqa: PLC0415 - only what the program needs is imported

            start = runpy._run_module_as_main  # type: ignore[attr-defined]
            return run_main(start, (self.program.target,), on_error)
        if self.program.mode == "script":
            filename = self.namespace["__file__"]
            source = Path(filename).read_bytes()
        else:
            filename, source = "<string>", self.program.target.encode()
            _show_in_tracebacks(self.program.target)
        try:
            code = compile_main(source, filename)
        except (SyntaxError, ValueError) as error:  # ValueError: source with null bytes
            on_error(error)
            sys.excepthook(type(error), error.with_traceback(None), None)
            return 1
        return run_main(code, self.namespace, on_error)
