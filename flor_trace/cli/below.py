"""Record a program that ``flor_trace_exec`` has come across below ``flor_trace exec``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from flor_trace import settings as environment
from flor_trace.cli import restart
from flor_trace.errors import FlorTraceError


def main(program: Sequence[str]) -> int:
    """Record the program; if that cannot even begin, say so and let it run by itself.

    Raises `FlorTraceError` only once the program runs.
    """
    restart.with_known_hash_seed()
    environment.forget_restart()
    from flor_trace.cli import run  # noqa: PLC0415 - after the restart

    ours = sys.modules["__main__"]
    try:
        return run.main(["--", *program])
    except FlorTraceError as error:
        if sys.modules["__main__"] is not ours:
            raise
        print(
            f"flor_trace: {program[0]} is not recorded: {error}; it runs by itself",
            file=sys.stderr,
            flush=True,
        )
    return _run_plainly(program)


def _run_plainly(program: Sequence[str]) -> NoReturn:
    interpreter = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv)]
    environ = environment.environment_for_plain_run()
    os.execve(sys.executable, [sys.executable, *interpreter[1:], *program], environ)
