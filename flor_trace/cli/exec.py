"""``flor_trace exec``: run any command, and record the Python programs that it starts."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import site
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from flor_trace import settings as environment
from flor_trace.cli.run import _split as split
from flor_trace.errors import ScriptNotFound, ScriptNotRunnable, UsageError

#: What Python runs at its start; without it nothing below the command would be recorded.
HOOK = "flor_trace_exec.pth"

USAGE = """\
usage: flor_trace exec [OPTIONS] [--] COMMAND [ARGUMENTS]

Run COMMAND as the shell does, and record every Python program that is started below it as a run
of its own: by make, a shell script, torchrun, another program.  The command needs no change.

A program is recorded if it is started by a Python that flor_trace is installed for, and belongs
to a project: its script lies below the current directory, or near a .git, pyproject.toml,
setup.py or .flor_trace; for -m, -c, - and installed commands such as pytest, the directory counts
that they are called in.  Installers, build tools, launchers and the worker processes of a program
are left alone.

The options are those of flor_trace run, see flor_trace run --help.  The exit status is that of
COMMAND; 127 if there is none, 126 if it cannot be run.
"""


def main(arguments: Sequence[str]) -> int:
    """Become the command: nothing is returned but after printing help.

    Raises:
        UsageError: for wrong options, and where programs would not be recorded.
        ScriptNotFound, ScriptNotRunnable: for the command.

    """
    options, command = split(list(arguments))
    if options is None:
        print(USAGE, end="")
        return 0
    if not command:
        raise UsageError("there is no command to run; flor_trace exec --help tells more")
    environment.load(Path.cwd(), options)
    path = _find(command[0])
    _check_hook()
    if "quiet" not in options:
        _warn_of_other_pythons()
    if "store" in options:
        options["store"] = str(Path(options["store"]).expanduser().absolute())
    return _become(path, command, environment.environment_for_exec(Path.cwd(), options))


def _find(command: str) -> str:
    path = shutil.which(command)
    if path is not None:
        return path
    folders = [""] if "/" in command else environment.environment().get("PATH", "").split(":")
    for folder in folders:
        file = Path(folder, command)
        if file.exists():
            what = "is a directory" if file.is_dir() else "is not executable"
            raise ScriptNotRunnable(
                f"cannot run {command!r}: {file} {what}; if it is a script, name its interpreter, "
                f"or allow it with chmod +x"
            )
    raise ScriptNotFound(
        f"cannot run {command!r}: there is no such command; check its name and PATH"
    )


def _check_hook() -> None:
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    if not any(Path(folder, HOOK).is_file() for folder in folders):
        raise UsageError(
            f"nothing would be recorded: {HOOK} is in none of {', '.join(folders)}, so Python does "
            "not look at its start; install flor_trace there with pip, instead of only having it "
            "on the path"
        )


def _warn_of_other_pythons() -> None:
    """Say it when the shell would not find the Python that flor_trace is installed for."""
    ours = os.path.dirname(sys.executable)
    found = [shutil.which(name) for name in ("python", "python3")]
    others = [path for path in found if path is not None]
    if others and not any(os.path.dirname(path) == ours for path in others):
        print(
            f"flor_trace: python is {others[0]} here, while flor_trace is installed in {ours}: "
            "what runs with the former is recorded only if it has flor_trace, too",
            file=sys.stderr,
            flush=True,
        )


def _become(path: str, command: list[str], environ: dict[str, str]) -> NoReturn:
    # Python ignores these; a command that inherited that would not end when nobody reads it.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, command, environ)
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without a first line, as shells take it
            os.execve("/bin/sh", ["sh", path, *command[1:]], environ)
        raise ScriptNotRunnable(
            f"cannot run {command[0]!r}: {error.strerror} ({path}); check the file and the first "
            "line of a script"
        ) from error
