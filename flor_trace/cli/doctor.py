"""``flor_trace doctor``: say what works here, what does not, and why."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from flor_trace import __version__, _speedups, pyfacts
from flor_trace.api import find_store
from flor_trace.cli import state_check
from flor_trace.cli.options import parser
from flor_trace.cli.output import print_rows
from flor_trace.errors import FlorTraceError, SnapshotError, UsageError
from flor_trace.history.git import open_repository
from flor_trace.store.check import fsck

Check = tuple[str, bool, str]


def main(arguments: Sequence[str]) -> int:
    """Print one line per check; 1 if something that recording needs does not work."""
    command = parser("doctor", "Say what works here, what does not, and why.")
    command.add_argument("--data", action="store_true", help="also read every chunk of the store")
    command.add_argument("--state", metavar="RUN", help="try out the checkpoints of this run")
    command.add_argument(
        "--checkpoints", metavar="LIST", help="with --state: only these, as in first,last,7"
    )
    command.add_argument(
        "--continue",
        action="store_true",
        dest="go_on",
        help="with --state: also execute the program from each checkpoint to its end",
    )
    options = command.parse_args(arguments)
    if options.state is not None:
        return state_check.main(
            options.store,
            options.state,
            wanted=options.checkpoints,
            go_on=options.go_on,
            as_json=options.json,
        )
    if options.go_on or options.checkpoints is not None:
        raise UsageError("--checkpoints and --continue say what to do with --state RUN; name a run")
    checks = [*_interpreter(), *_git(), *_store(options.store, data=options.data)]
    rows = [{"check": c, "ok": "yes" if ok else "NO", "detail": text} for c, ok, text in checks]
    print_rows(rows, ("check", "ok", "detail"), as_json=options.json)
    return 0 if all(ok for _, ok, _ in checks) else 1


def _interpreter() -> Iterator[Check]:
    yield "flor_trace", True, __version__
    version = f"{platform.python_implementation()} {platform.python_version()}"
    known = pyfacts.REWRITER_KNOWS
    yield "python", known, version if known else f"{version}: its bytecode is not known"
    yield (
        "native extension",
        _speedups.NATIVE,
        "in use" if _speedups.NATIVE else f"not in use, recording is slower: {_speedups.REASON}",
    )
    for name in ("bytecode", "numpy", "pandas", "xxhash", "zstandard", "GitPython", "torch"):
        try:
            yield name, True, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, name == "torch", "not installed"
    yield "hash seed", not sys.flags.ignore_environment, "recorded by restarting the interpreter"


def _git() -> Iterator[Check]:
    try:
        version = open_repository(Path.cwd()).run("version").decode()
        yield "git", True, version.strip().removeprefix("git version ")
    except SnapshotError as error:
        yield "git", False, f"{error}"


def _store(path: str | None, *, data: bool) -> Iterator[Check]:
    try:
        store = find_store(path)
    except FlorTraceError as error:
        yield "store", True, f"none yet ({error})"
        return
    problems = fsck(store, data=data)
    what = "every chunk is readable" if data else "packs are sound; --data reads every chunk"
    yield (
        "store",
        not problems,
        f"{store.path}: {what if not problems else f'{len(problems)} problems'}",
    )
    for problem in problems:
        yield "store", False, str(problem)
