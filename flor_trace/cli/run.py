"""``flor_trace run``: record a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from flor_trace import pyfacts
from flor_trace import settings as environment
from flor_trace.errors import UsageError
from flor_trace.hints import NoReturn
from flor_trace.session.program import PlainInstead, Program
from flor_trace.settings import Settings

#: Option to the setting it gives; a None value is taken from the next argument.
_OPTIONS: dict[str, tuple[str, str | None]] = {
    "--name": ("name", None),
    "--store": ("store", None),
    "--overhead": ("overhead", None),
    "--disk": ("disk", None),
    "--include": ("include", None),
    "--log": ("log", None),
    "--branch": ("branch", None),
    "--engine": ("engine", None),
    "--no-auto-log": ("auto_log", "0"),
    "--summary": ("summary", None),
    "--quiet": ("quiet", "1"),
    "-q": ("quiet", "1"),
}

USAGE = """\
usage: flor_trace [run] [OPTIONS] SCRIPT.py [ARGUMENTS]
       flor_trace [run] [OPTIONS] -m MODULE [ARGUMENTS]
       flor_trace [run] [OPTIONS] -c CODE [ARGUMENTS]

A directory or zip file with a __main__.py is a program, too, and - is one on standard input.

Run a program exactly as python does, and record its loops.  Everything after the
program belongs to the program.

  --name NAME        call the run NAME
  --store DIR        keep records and checkpoints in DIR (default: .flor_trace in the project)
  --overhead SHARE   time that checkpoints may cost, e.g. 1% (the default)
  --disk SIZE        space that checkpoints may take: 20GB, or 10% of what is free (the default)
  --include LIBRARY  record the loops of a library too (repeat, or separate by commas)
  --log NAME,...     log only these names
  --no-auto-log      log no values at all
  --engine ENGINE    how loops are seen: auto (the default), bytecode, ast or trace
  --branch NAME      git branch for the code of the runs (default: flor.shadow)
  --summary off      do not show the run on the page of a CI job (auto: where there is one)
  -q, --quiet        say nothing at the end

Settings may also stand in [tool.flor_trace] of pyproject.toml and in FLOR_TRACE_NAME and
its like.  FLOR_TRACE=0 switches recording off.  The exit status is the program's.
"""


def main(arguments: Sequence[str]) -> int:
    """Record the program; return its exit status."""
    options, rest = _split(list(arguments))
    if options is None:
        print(USAGE, end="")
        return 0
    program = _target(rest)
    settings = environment.load(program.place.absolute().parent, options)
    plain = [*_interpreter(), *rest]
    if not settings.enabled:
        _run_plainly(plain)
    if pyfacts.FREE_THREADED:
        print(
            "flor_trace: recording is off: this interpreter is free-threaded (it has no global "
            "lock), which flor_trace cannot record; the program runs as under python alone",
            file=sys.stderr,
        )
        _run_plainly(plain)
    seed = environment.take_drawn_hash_seed()
    if seed is None:
        seed = environment.hash_seed()
    program.check()
    if program.mode == "stdin" and os.isatty(0):
        print("flor_trace: a dialogue is not recorded; this is python alone", file=sys.stderr)
        _run_plainly(plain)
    return _record(program.with_source(), settings, seed, plain)


def _record(program: Program, settings: Settings, seed: int | None, plain: list[str]) -> int:
    from flor_trace.session.record import RecordSession  # noqa: PLC0415

    session = RecordSession(program, settings, seed)
    # A program that starts itself anew by these words is then the same under both, too.
    sys.orig_argv[1:] = plain[1:]
    try:
        return session.run()
    except PlainInstead:
        session.close()
        if program.source is not None:
            _give_back(program.source)
        _run_plainly(plain)


def _split(arguments: list[str]) -> tuple[dict[str, str] | None, list[str]]:
    """Our options, and the rest from the program on; None for the options when help is wanted."""
    options: dict[str, str] = {}
    while arguments:
        word = arguments[0]
        if word in ("-h", "--help"):
            return None, []
        if word == "--":
            return options, arguments[1:]
        name, _, value = word.partition("=")
        if not word.startswith("-") or word in ("-m", "-c", "-"):
            return options, arguments
        if name not in _OPTIONS:
            from difflib import get_close_matches  # noqa: PLC0415 - only for the message

            near = get_close_matches(name, _OPTIONS, 1)
            hint = f"did you mean {near[0]}?" if near else "flor_trace run --help lists them"
            raise UsageError(f"there is no option {name}: {hint}")
        setting, fixed = _OPTIONS[name]
        if fixed is not None and "=" in word:
            raise UsageError(f"{name} takes no value; flor_trace run --help tells which do")
        if fixed is None and "=" not in word:
            if len(arguments) < 2:
                raise UsageError(f"{name} needs a value; flor_trace run --help tells which")
            value = arguments.pop(1)
        _add(options, setting, fixed if fixed is not None else value)
        arguments.pop(0)
    return options, arguments


def _add(options: dict[str, str], setting: str, value: str) -> None:
    if setting in ("include", "log") and setting in options:
        value = f"{options[setting]},{value}"
    options[setting] = value


def _target(rest: list[str]) -> Program:
    if not rest:
        raise UsageError("there is no program to record; give SCRIPT.py, -m MODULE or -c CODE")
    if rest[0] in ("-m", "-c"):
        if len(rest) < 2:
            raise UsageError(f"{rest[0]} needs what to run after it")
        return Program("module" if rest[0] == "-m" else "command", rest[1], tuple(rest[2:]))
    if rest[0] == "-":
        return Program("stdin", "-", tuple(rest[1:]))
    return Program.at(rest[0], tuple(rest[1:]))


def _interpreter() -> list[str]:
    """The interpreter and its own options, as this process was started."""
    ours = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    # what is left ends in "-m flor_trace" or in the path of the flor_trace command
    if len(ours) > 2 and ours[-2] == "-m":
        return [sys.executable, *ours[1:-2]]
    return [sys.executable, *ours[1:-1]]


def _run_plainly(command: list[str]) -> NoReturn:
    """Replace this process by the program under plain python."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os.execve(sys.executable, command, environment.environment_for_plain_run())


def _give_back(source: bytes) -> None:
    """Make a program that was read from standard input be there again."""
    fd = os.memfd_create("stdin")
    os.write(fd, source)
    os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, 0)
