"""Run the command line as ``python -m flor_trace``."""

from __future__ import annotations

import sys
from types import ModuleType, TracebackType

from flor_trace import startup

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import NoReturn

#: What a shell says of a program that SIGINT has ended.
_INTERRUPTED = 130

_script: ModuleType | None = None


def main() -> int:
    """Run the command that ``sys.argv`` asks for and return its exit status."""
    startup.leave_first_path()
    from flor_trace.cli import dispatch  # noqa: PLC0415 - imports nothing but what is asked for

    return dispatch.main(sys.argv[1:])


def console() -> int:
    """Be the ``flor_trace`` command: as `main`, and an interrupted program dies of the signal.

    The interpreter sees to that for ``python -m``; of a script, it must see the interrupt itself.
    """
    # The interpreter goes on with the script's module, but lets go of it when an exception ends it.
    global _script
    _script = sys.modules["__main__"]
    status = main()
    if status == _INTERRUPTED:
        _die_of_interrupt()
    return status


def _die_of_interrupt() -> NoReturn:
    """Raise a KeyboardInterrupt that nobody prints: the program's own has been."""
    before = {name: value for name, value in vars(sys).items() if name.startswith("last_")}
    hook = sys.excepthook

    def be_silent(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        sys.excepthook = hook
        vars(sys).update(before)

    sys.excepthook = be_silent
    raise KeyboardInterrupt


if __name__ == "__main__":
    _status = main()
    if not sys.flags.inspect:  # with -i there is a dialogue now
        sys.exit(_status)
