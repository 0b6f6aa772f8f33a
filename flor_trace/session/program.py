"""Run a program as plain ``python`` would: its arguments, its ``__main__``, its path."""

from __future__ import annotations

import importlib.machinery
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType

from flor_trace import pyfacts
from flor_trace._speedups import run_main
from flor_trace.errors import ScriptNotFound, ScriptNotRunnable
from flor_trace.hints import Any, Literal
from flor_trace.records import dataclass, replace
from flor_trace.shadows import give_way

Mode = Literal["script", "directory", "zip", "stdin", "module", "command"]
OnError = Callable[[BaseException], None]
Compile = Callable[[bytes, str], CodeType]

#: What there is of a compiled file before its code, see `importlib.util.MAGIC_NUMBER`.
_PYC_HEADER = 16


class PlainInstead(Exception):
    """The program ends before its first line: plain python is to tell why, in its own words."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and its arguments."""

    mode: Mode
    target: str
    arguments: tuple[str, ...] = ()
    source: bytes | None = None  #: the program itself, where it can be read but once

    @classmethod
    def at(cls, path: str, arguments: tuple[str, ...]) -> Program:
        """The program that ``python path`` runs: a file, a directory or a zip file."""
        importer = _importer(_absolute(path))
        if importer is None:
            return cls("script", path, arguments)
        found = type(importer) is importlib.machinery.FileFinder
        return cls("directory" if found else "zip", path, arguments)

    @property
    def path(self) -> Path | None:
        """The file or directory that was named; None for a module, a command and stdin."""
        named = self.mode in ("script", "directory", "zip")
        return Path(_absolute(self.target)) if named else None

    @property
    def main_file(self) -> Path | None:
        """The file that the program begins in, if its name is known before it runs."""
        if self.mode == "directory":
            return Path(_absolute(self.target)) / "__main__.py"
        return self.path if self.source is None else None

    @property
    def place(self) -> Path:
        """A file, there or not, in the directory whose project the program belongs to.

        Installed commands, such as pytest, are at work on the project they are called in.
        """
        file = self.main_file
        if file is None or file.parent == Path(sys.executable).parent:
            return Path.cwd() / "-"
        return file

    @property
    def modules(self) -> frozenset[str]:
        """The names under which ``runpy`` looks for the main module; none if it does not run it."""
        if self.mode == "directory":
            return frozenset({"__main__"})
        names = {self.target, f"{self.target}.__main__"} if self.mode == "module" else ()
        return frozenset(names)

    @property
    def left_alone(self) -> str | None:
        """Why the loops of the main program are not rewritten, None where they are."""
        if self.mode == "zip":
            return "Python's own importer gives the code of a zip file; unpack it to record these"
        if self.mode == "script" and self.target.endswith(".pyc"):
            return "the program is compiled already; record its source"
        return None

    def check(self) -> None:
        """Raise `ScriptNotFound` or `ScriptNotRunnable` when there is nothing to run."""
        path = self.path
        if path is None:
            return
        advice = "give the path of a Python file, -m MODULE or -c CODE"
        if not path.exists():
            raise ScriptNotFound(
                f"cannot record {self.target!r}: it does not exist (looked at {path}); {advice}"
            )
        why = self._not_runnable(path)
        if why is not None:
            raise ScriptNotRunnable(f"cannot record {self.target!r}: {why}; {advice}")

    def _not_runnable(self, path: Path) -> str | None:
        if not os.access(path, os.R_OK):
            return "it may not be read"
        if self.mode == "script":
            return None
        importer = _importer(str(path))
        if importer is not None and importer.find_spec("__main__") is None:
            kind = "directory" if self.mode == "directory" else "zip file"
            return f"it is a {kind} without a __main__.py"
        return None

    def with_source(self) -> Program:
        """The program with what can be read but once: standard input, or a pipe."""
        if self.mode == "stdin":
            return replace(self, source=_read_all(0))
        if self.mode == "script" and not stat.S_ISREG(os.stat(self.target).st_mode):
            return replace(self, source=Path(self.target).read_bytes())
        return self


def _read_all(fd: int) -> bytes:
    """What is left of a stream; not through ``sys.stdin``, which the program gets as it is."""
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def _absolute(path: str) -> str:
    """As python makes a script's ``__file__`` absolute: joined to the directory, not normalised."""
    if path in ("", "."):
        return os.getcwd()
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def _importer(path: str) -> Any:
    """What imports from a directory or an archive; None for other files.  Kept as python does."""
    cache: dict[str, Any] = sys.path_importer_cache
    if path not in cache:
        cache[path] = None
        for hook in sys.path_hooks:
            try:
                cache[path] = hook(path)
                break
            except ImportError:
                continue
    return cache[path]


def _show_in_tracebacks(command: str) -> None:
    if pyfacts.TRACEBACKS_SHOW_COMMANDS:
        import linecache  # noqa: PLC0415 - imported by python itself, too

        linecache._register_code("<string>", command, "<string>")  # type: ignore[attr-defined]


class Main:
    """The program's ``__main__`` and how to start it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.module = ModuleType("__main__")
        self.namespace: dict[str, Any] = self.module.__dict__

    def install(self) -> None:
        """Put arguments, path and ``__main__`` in place; nothing of the program runs yet."""
        program, names = self.program, self.namespace
        if pyfacts.MAIN_HAS_ANNOTATIONS:
            names["__annotations__"] = {}
        names["__builtins__"] = sys.modules["builtins"]
        names["__loader__"] = importlib.machinery.BuiltinImporter
        first = {"module": "-m", "command": "-c"}.get(program.mode, program.target)
        sys.argv[:] = [first, *program.arguments]
        if program.mode == "script":
            self._install_script(_absolute(program.target))
        elif program.mode == "stdin":
            names["__file__"], names["__cached__"] = "<stdin>", None
        folder = self._first_path()
        if folder is not None:
            sys.path.insert(0, folder)
            give_way(folder)
        sys.modules["__main__"] = self.module

    def _install_script(self, path: str) -> None:
        names = self.namespace
        names["__file__"], names["__cached__"] = path, None
        kind = importlib.machinery.SourceFileLoader
        if path.endswith(".pyc"):
            kind = importlib.machinery.SourcelessFileLoader  # type: ignore[assignment]
        names["__loader__"] = kind("__main__", path)
        _importer(path)

    def _first_path(self) -> str | None:
        """What python puts first on ``sys.path``, None for nothing."""
        mode = self.program.mode
        if mode in ("directory", "zip"):  # whatever -I and -P say
            return _absolute(self.program.target)
        if sys.flags.safe_path:
            return None
        if mode == "script":
            return os.path.dirname(os.path.realpath(_absolute(self.program.target)))
        return os.getcwd() if mode == "module" else ""

    def run(self, compile_main: Compile, on_error: OnError) -> int:
        """Run the program; return its exit status unless it ends the process itself.

        Raises `PlainInstead` for a program that cannot be compiled.
        """
        mode = self.program.mode
        if mode in ("module", "directory", "zip"):
            import runpy  # noqa: PLC0415 - only what the program needs is imported

            start = runpy._run_module_as_main  # type: ignore[attr-defined]
            arguments = (self.program.target,) if mode == "module" else ("__main__", False)
            return run_main(start, arguments, on_error)
        try:
            code = self._compiled(compile_main)
        except (SyntaxError, ValueError) as error:  # ValueError: source with null bytes
            on_error(error)
            raise PlainInstead from error
        status = run_main(code, self.namespace, on_error)
        if mode != "command":  # as the interpreter does, before whatever else is done at the end
            for name in ("__file__", "__cached__"):
                self.namespace.pop(name, None)
        return status

    def _compiled(self, compile_main: Compile) -> CodeType:
        program = self.program
        if program.mode == "command":
            _show_in_tracebacks(program.target)
            return compile_main(program.target.encode(), "<string>")
        filename = self.namespace["__file__"]
        source = program.source if program.source is not None else Path(filename).read_bytes()
        if filename.endswith(".pyc"):
            return _unmarshalled(source)
        if not _is_decodable(source):
            raise ValueError("not UTF-8, and no encoding declared")
        return compile_main(source, filename)

    def release(self) -> None:
        """Hold nothing of the program any more: the interpreter takes it apart in its order."""
        self.module = ModuleType("__main__")
        self.namespace = self.module.__dict__


def _is_decodable(source: bytes) -> bool:
    """Whether python reads a file of these bytes; ``compile`` overlooks those in comments."""
    try:
        source.decode()
    except UnicodeDecodeError:
        return any(b"coding" in line for line in source.splitlines()[:2])
    return True


def _unmarshalled(data: bytes) -> CodeType:
    """The code of a compiled file; raises ValueError where python refuses it, too."""
    import marshal  # noqa: PLC0415 - few programs are compiled files
    from importlib.util import MAGIC_NUMBER  # noqa: PLC0415

    if not data.startswith(MAGIC_NUMBER):
        raise ValueError("bad magic number")
    try:
        code = marshal.loads(data[_PYC_HEADER:])
    except (EOFError, TypeError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(code, CodeType):
        raise ValueError("no code")
    return code
