"""Names of runs: making one that nobody else has, and finding a run by part of its name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flor_trace.errors import NothingMatched, StoreNotWritable, UsageError
from flor_trace.hints import Protocol
from flor_trace.types import RunId

#: Without i, l, o and u, which are read as other characters.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TAIL = 5
_ATTEMPTS = 100
_MOST_SHOWN = 8


class RunDirectories(Protocol):
    """Knows where the directory of a run goes; a `flor_trace.store.layout.Store` does."""

    def run_dir(self, runid: RunId) -> Path:
        """Return the path of the run's directory."""


def new_runid(now: float) -> RunId:
    """Return a name such as ``261123-154501-k3f9q``: UTC date and time, then chance.

    `now` is in seconds since the epoch. The chance comes from the operating system: the program's
    own random numbers stay as they are, and two runs with the same seed get different names.
    """
    tail = "".join(_ALPHABET[byte & 31] for byte in os.urandom(_TAIL))
    return RunId(time.strftime(f"%y%m%d-%H%M%S-{tail}", time.gmtime(now)))


def timestamp(now: float) -> str:
    """Return a time in seconds since the epoch as runs have it: ISO 8601, in UTC."""
    whole, fraction = divmod(now, 1)
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{seconds}.{int(fraction * 1e6):06d}+00:00"


def claim_run_dir(
    store: RunDirectories, name: Callable[[float], RunId] = new_runid
) -> tuple[RunId, Path]:
    """Make the directory of a new run and return its name and path.

    No two callers get the same one, on one machine or several. Raises `StoreNotWritable`.
    """
    for _ in range(_ATTEMPTS):
        runid = name(time.time())
        path = store.run_dir(runid)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise StoreNotWritable(
                f"The directory {path} for this run cannot be made: {error.strerror or error}. "
                f"Make its parent writable, or choose another place with `--store DIR`."
            ) from error
        return runid, path
    raise StoreNotWritable(
        f"None of {_ATTEMPTS} random names for a run was free beside {path}. Something is wrong "
        f"with the drive or its clock; choose another place with `--store DIR`."
    )


def resolve_run(text: str, candidates: Mapping[RunId, str | None]) -> RunId:
    """Return the one run that is meant by an id, a name, or a unique beginning or end of an id.

    `candidates` maps ids to names. An exact id wins over a name, a name over a beginning, that
    over an end. Raises `NothingMatched` with near matches if there is none, and `UsageError` with
    the ids if there are several.
    """
    for fits in (_by_id, _by_name, _by_beginning, _by_end):
        found = sorted(run for run, name in candidates.items() if fits(text, run, name))
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"{text!r} could be any of {len(found)} runs: "
                f"{_shown(reversed(found), candidates)}. Give more of the id."
            )
    raise NothingMatched(f"No run is called {text!r}. {_hint(text, candidates)}")


def _by_id(text: str, run: RunId, name: str | None) -> bool:
    return run == text


def _by_name(text: str, run: RunId, name: str | None) -> bool:
    return name == text


def _by_beginning(text: str, run: RunId, name: str | None) -> bool:
    return bool(text) and run.startswith(text)


def _by_end(text: str, run: RunId, name: str | None) -> bool:
    return bool(text) and run.endswith(text)


def _hint(text: str, candidates: Mapping[RunId, str | None]) -> str:
    """Return what could be tried instead."""
    if not candidates:
        return "The store has no runs yet: record one with `python -m flor_trace script.py`."
    spellings: dict[str, RunId] = {}
    for run, name in candidates.items():
        for spelling in (run, run[-_TAIL:], name):
            if spelling:
                spellings[spelling] = run
    from difflib import get_close_matches  # noqa: PLC0415 - not while recording

    near = get_close_matches(text, spellings, n=3, cutoff=0.6)
    runs = list(dict.fromkeys(spellings[spelling] for spelling in near))
    if runs:
        return f"Close to it: {_shown(runs, candidates)}."
    return f"The latest are {_shown(sorted(candidates, reverse=True)[:3], candidates)}."


def _shown(runs: Iterable[RunId], candidates: Mapping[RunId, str | None]) -> str:
    """Return ids, with names, as part of a sentence."""
    listed = list(runs)
    texts = [
        f"{run} ({candidates[run]})" if candidates[run] else run for run in listed[:_MOST_SHOWN]
    ]
    return ", ".join(texts) + (", …" if len(listed) > _MOST_SHOWN else "")
