"""What is done about the checkpoints of a run later: frames in journals beside its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flor_trace.errors import JournalDamaged, StoreError
from flor_trace.history.journal import JournalWriter, read_journal

Frame = dict[str, Any]

#: A file is named after the type of its frames; writers that find the name taken add a number.
_NAME = re.compile(r"(dropped|repaired)(?:-([1-9][0-9]{0,5}))?")


def run_frames(directory: Path) -> Iterator[Frame]:
    """Give the frames of the run in a directory, and then those that were added to it later.

    Raises `JournalDamaged` if the run's own journal cannot be read.
    """
    for _, frame in read_journal(directory / "journal"):
        yield frame
    yield from amendments(directory)


def amendments(directory: Path) -> Iterator[Frame]:
    """Give the frames that were added later, type by type, in the order of their files.

    A file that cannot be read is left out: then the checkpoints it tells of cannot be read, which
    every reader of checkpoints deals with.
    """
    for file in _files(directory):
        with suppress(JournalDamaged):
            for _, frame in read_journal(file):
                if _NAME.fullmatch(file.name)[1] == frame.get("t"):  # type: ignore[index]
                    yield frame


def replacements(frames: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return, for manifests that were lost, what ``repaired`` frames put in their place."""
    found: dict[str, str] = {}
    for frame in frames:
        if frame["t"] == "repaired":
            lost, by = frame["manifest"], frame["by"]
            found = {old: by if new == lost else new for old, new in found.items()}
            found[lost] = by
    return found


def amend(directory: Path, kind: str, frames: Sequence[Mapping[str, Any]]) -> None:
    """Add frames of one type to what is known of a run; they are durable on return.

    Raises `StoreError` if they cannot be written.
    """
    journal = _new(directory, kind)
    try:
        for frame in frames:
            journal.append({"t": kind, **frame})
        journal.sync()
    finally:
        journal.close()


def _files(directory: Path) -> list[Path]:
    found = [(m, file) for file in directory.iterdir() if (m := _NAME.fullmatch(file.name))]
    return [file for _, file in sorted(found, key=lambda each: (each[0][1], int(each[0][2] or 0)))]


def _new(directory: Path, kind: str) -> JournalWriter:
    number = 0
    while True:
        try:
            return JournalWriter(directory / (f"{kind}-{number}" if number else kind))
        except StoreError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            number += 1
