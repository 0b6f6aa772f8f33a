"""Turn any failure of ours into one line and a program that goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from flor_trace import settings
from flor_trace.hints import Any

_HOME = str(Path(__file__).resolve().parent.parent) + os.sep


class Guard:
    """Runs our code inside the user's program.

    An exception of ours is noted once, on stderr and through `on_failure`, and never reaches the
    program.  What the program's own signal handlers raise while we run is not ours: it passes.
    """

    def __init__(self, on_failure: Callable[[str, BaseException], None]) -> None:
        self._on_failure = on_failure
        self._strict = settings.strict()
        self.failures = 0

    def call(self, what: str, action: Callable[..., object], *arguments: object) -> bool:
        """Run `action`; return whether it went well."""
        try:
            action(*arguments)
        except Exception as error:
            if self._strict or not _is_ours(error.__traceback__):
                raise
            self.failed(what, error)
            return False
        return True

    def value(self, what: str, action: Callable[[Any], Any], argument: Any, otherwise: Any) -> Any:
        """Return what `action` gives, or `otherwise` when it fails."""
        try:
            return action(argument)
        except Exception as error:
            if self._strict or not _is_ours(error.__traceback__):
                raise
            self.failed(what, error)
            return otherwise

    def failed(self, what: str, error: BaseException) -> None:
        """Note a failure of ours: the first one also on stderr."""
        self.failures += 1
        try:
            if self.failures == 1 and sys.stderr is not None:
                print(  # noqa: T201 - the one line that a user sees of our failures
                    f"flor_trace: {what} failed ({type(error).__name__}: {error}); the program is "
                    "not affected, but this run's record is incomplete: see flor_trace show",
                    file=sys.stderr,
                )
        except Exception:  # noqa: BLE001, S110 - the program may have put anything there
            pass
        try:
            self._on_failure(what, error)
        except Exception:  # what broke the record may break the note about it, too
            if self._strict:
                raise


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether no frame of the user's program lies above ours in the traceback.

    A signal handler of the user's program runs on top of our frames: its exception belongs to
    the program.  Frames of libraries that we called come last as well, but are not the program's
    main module or a function of it; the handler's frame is told by its globals' ``__main__`` or
    by lying outside of installed code.
    """
    seen_ours = False
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename.startswith(_HOME):
            seen_ours = True
        elif seen_ours and _is_program(code.co_filename):
            return False
        traceback = traceback.tb_next
    return True


def _is_program(filename: str) -> bool:
    library = ("site-packages", "dist-packages", "<frozen", f"{sys.base_prefix}/lib")
    return not any(mark in filename for mark in library)
