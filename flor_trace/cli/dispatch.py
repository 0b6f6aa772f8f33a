"""Tell a program to record from a command, and run either."""

from __future__ import annotations

import importlib
import os
import sys

from flor_trace.errors import FlorTraceError

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command to one line of help; each has a module of this package with ``main(arguments) -> int``.
COMMANDS = {
    "run": "record a program (also without the word: flor_trace main.py)",
    "exec": "run any command, and record the Python programs that it starts",
    "ls": "list the recorded runs",
    "show": "show one run: configuration, loops, checkpoints, what was lost",
    "replay": "ask recorded runs a new question",
    "pivot": "print logged and replayed values as a table",
    "push": "bring runs with their checkpoints to a URL",
    "pull": "bring runs with their checkpoints from a URL",
    "fsck": "look whether everything that a store lists is there",
    "repair": "store again what was damaged or lost, by executing old code up to it",
    "doctor": "say what works here, what does not, and why",
}


def main(arguments: Sequence[str]) -> int:
    """Run `arguments`; return the exit status.  Errors of ours become one message."""
    try:
        return _dispatch(list(arguments))
    except FlorTraceError as error:
        print(f"flor_trace: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help", "help"):
        _print_help()
        return 0
    if first in ("-V", "--version"):
        from flor_trace import __version__  # noqa: PLC0415

        print(f"flor_trace {__version__}")
        return 0
    if first == "--below-exec":
        from flor_trace.cli import below  # noqa: PLC0415

        return below.main(arguments[1:])
    command = first if first in COMMANDS and not os.path.isfile(first) else "run"
    if command == "run":
        from flor_trace.cli import restart  # noqa: PLC0415 - no other command needs it

        restart.with_known_hash_seed()
    if command == first:
        module = importlib.import_module(f"flor_trace.cli.{first}")
        return int(module.main(arguments[1:]))
    from flor_trace.cli import run  # noqa: PLC0415

    return run.main(arguments)


def _print_help() -> None:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    print(
        "usage: flor_trace [run] [OPTIONS] SCRIPT.py|-m MODULE|-c CODE [ARGUMENTS]\n"
        "       flor_trace COMMAND [OPTIONS]\n\n"
        "Record unmodified training scripts; ask them new questions afterwards.\n\n"
        "commands:\n" + "\n".join(lines) + "\n\n"
        "flor_trace COMMAND --help tells more about each."
    )
