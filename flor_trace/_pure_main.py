"""Run a program from Python with as little of ours to be seen as Python allows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any

from flor_trace import pyfacts

Arguments = dict[str, Any] | tuple[Any, ...]


def run_main(
    what: CodeType | Callable[..., object],
    arguments: Arguments,
    on_error: Callable[[BaseException], object],
    /,
) -> int:
    """Evaluate code with globals, or call a callable with a tuple, as the program of this process.

    Returns 0, or 1 when an exception ended it, which has then been printed, 130 when that was a
    KeyboardInterrupt.  Raises SystemExit where the program does, with the same status; what the
    program wants to say by it has been said.
    """
    _check(what, arguments, on_error)
    try:
        _evaluate(what, arguments)
    except BaseException as error:  # noqa: BLE001 - the program's own, of whatever kind
        error.__traceback__ = _without_ours(error.__traceback__)
        _flush_after(what)
        _Telling(on_error, error)
        if isinstance(error, SystemExit) and not sys.flags.inspect:
            status = _told_exit(error)
        else:
            _print(error)
            if type(error) is not KeyboardInterrupt:
                return 1
            _note_interrupt()
            return 130
        _drop(error)
    else:
        _flush_after(what)
        return 0
    raise SystemExit(status)


def _told_exit(error: SystemExit) -> object:
    """What a program gives to ``sys.exit``, told as the interpreter tells it; the exit status."""
    code: object = getattr(error, "code", error)
    if code is None or isinstance(code, int) or not pyfacts.EXIT_TELLS_FIRST:
        return code
    stream = sys.stderr
    if stream is not None:
        try:
            stream.write(str(code))
            stream.write("\n")
        except (OSError, ValueError, AttributeError, TypeError):
            return 1  # as the interpreter does: nobody can be told
    return 1


def _drop(error: BaseException) -> None:
    """Let the frames of the program go before those of ours."""
    error.__traceback__ = error.__context__ = None


def _check(what: object, arguments: object, on_error: object) -> None:
    if isinstance(what, CodeType):
        if not isinstance(arguments, dict):
            raise TypeError("run_main() of code needs a dict of globals")
        if what.co_freevars:
            raise TypeError("run_main() of code with free variables")
    elif not callable(what) or not isinstance(arguments, tuple):
        raise TypeError("run_main() needs code and a dict, or a callable and a tuple")
    if not callable(on_error):
        raise TypeError("run_main() needs a callable to tell of an exception")


def _evaluate(what: CodeType | Callable[..., object], arguments: Arguments) -> None:
    if isinstance(what, CodeType):
        exec(what, arguments)  # type: ignore[arg-type]  # checked to be a dict
    else:
        what(*arguments)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return traceback


def _flush_after(what: object) -> None:
    """As the interpreter does after a script, but not after ``-c`` and ``-m``."""
    if isinstance(what, CodeType) and what.co_filename != "<string>":
        for stream in (sys.stderr, sys.stdout):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue  # it is said again at exit, if it lasts


class _Telling:
    """Calls `on_error` when it is dropped: the interpreter then reports what is raised."""

    __slots__ = ("_call",)

    def __init__(self, on_error: Callable[[BaseException], object], error: BaseException) -> None:
        self._call = (on_error, error)

    def __del__(self) -> None:
        on_error, error = self._call
        on_error(error)


def _print(error: BaseException) -> None:
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    sys.excepthook(type(error), error, error.__traceback__)


def _note_interrupt() -> None:
    """Make the interpreter end by SIGINT, as `native/run_main.c` explains."""
    import ctypes  # noqa: PLC0415 - only an interrupted program needs it

    file_input = 257
    names: dict[str, Any] = {}
    run = ctypes.pythonapi.PyRun_String
    run.restype = ctypes.py_object
    run.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]
    try:
        run(b"raise KeyboardInterrupt", file_input, names, names)
    except KeyboardInterrupt:
        return
