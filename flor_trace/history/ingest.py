"""Bring what journals have gained into the tables of the catalog."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flor_trace.errors import JournalDamaged
from flor_trace.history.journal import read_journal
from flor_trace.history.schema import decode, encode

Frame = dict[str, Any]

_REPLAY = re.compile(r"replay-(\d+)\.journal")
_MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class JournalFile:
    """A journal of the store."""

    path: str  #: below the store's ``runs``
    file: Path
    runid: str
    replay: int  #: 0 for the run's own
    identity: str  #: changes when the file is replaced
    seen: str  #: changes when the file is written


def find_journals(runs: Path) -> Iterator[JournalFile]:
    """The journals below `runs`, each run's own before those of its replays, in order."""
    try:
        names = sorted(name for name in os.listdir(runs) if name.isascii())
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        yield from journals_of(runs / name)


def journals_of(directory: Path) -> list[JournalFile]:
    """The journals in a run's directory, its own first, then those of its replays in order."""
    try:
        with os.scandir(directory) as entries:
            found = [_journal(directory, entry) for entry in entries if "journal" in entry.name]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return sorted((each for each in found if each is not None), key=lambda each: each.replay)


def _journal(directory: Path, entry: os.DirEntry[str]) -> JournalFile | None:
    match = _REPLAY.fullmatch(entry.name)
    if match is None and entry.name != "journal":
        return None
    try:
        # Not that of the entry, which on some systems is older than the file.
        seen = os.lstat(entry.path)
    except OSError:
        return None  # removed between the listing and now
    if not stat.S_ISREG(seen.st_mode):
        return None
    replay = int(match[1]) if match else 0
    runid = directory.name
    return JournalFile(
        path=f"{runid}/{entry.name}",
        file=directory / entry.name,
        runid=runid,
        replay=replay,
        identity=f"{seen.st_dev}:{seen.st_ino}",
        seen=f"{seen.st_size}:{seen.st_mtime_ns}",
    )


def bring_up_to_date(database: sqlite3.Connection, runs: Path) -> None:
    """Read what the journals below `runs` have gained; forget the runs that are gone.

    Raises:
        sqlite3.Error: if the database is damaged, locked for too long, or cannot be written.

    """
    journals = list(find_journals(runs))
    known = _known(database)
    if {each.path: (each.identity, each.seen) for each in journals} == {
        path: (each.identity, each.seen) for path, each in known.items()
    }:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        # Looked at again: another process may just have read further than we saw.
        _update(database, list(find_journals(runs)))
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class _Known:
    """A journal as the catalog last saw it."""

    runid: str
    identity: str
    seen: str
    offset: int
    records: int
    problems: tuple[str, ...]


def _known(database: sqlite3.Connection) -> dict[str, _Known]:
    rows = database.execute(
        "SELECT path, runid, identity, seen, offset, records, problems FROM journals"
    )
    return {
        path: _Known(runid, identity, seen, offset, records, tuple(decode(problems)))
        for path, runid, identity, seen, offset, records, problems in rows
    }


def _update(database: sqlite3.Connection, journals: list[JournalFile]) -> None:
    there = {journal.path: journal for journal in journals}
    for path, known in _known(database).items():
        journal = there.get(path)
        if journal is None or journal.identity != known.identity or _shrank(journal, known):
            _forget_run(database, known.runid)
    known_now = _known(database)
    for journal in journals:
        seen = known_now.get(journal.path)
        if seen is None or seen.seen != journal.seen:
            _read_new_frames(database, journal, seen)


def _shrank(journal: JournalFile, known: _Known) -> bool:
    return int(journal.seen.partition(":")[0]) < known.offset


def _forget_run(database: sqlite3.Connection, runid: str) -> None:
    """Remove everything that came from the journals of a run."""
    paths = "SELECT path FROM journals WHERE runid = ?"
    spans = "SELECT id FROM spans WHERE runid = ?"
    database.execute(f"DELETE FROM loops WHERE journal IN ({paths})", (runid,))
    database.execute(f"DELETE FROM cells WHERE span IN ({spans})", (runid,))
    for table in ("spans", "checkpoints", "runs", "journals"):
        database.execute(f"DELETE FROM {table} WHERE runid = ?", (runid,))


def _read_new_frames(
    database: sqlite3.Connection, journal: JournalFile, known: _Known | None
) -> None:
    """Bring the frames of `journal` that the catalog does not know into the tables."""
    reading = _Reading(database, journal)
    offset = 0
    if known is not None:
        offset, reading.records, reading.problems = (
            known.offset,
            known.records,
            list(known.problems),
        )
    broken = None
    try:
        for end, frame in read_journal(journal.file, offset):
            reading.take(frame)
            offset = end
    except JournalDamaged as error:
        broken = str(error)
    facts = (journal.path, journal.runid, journal.identity, journal.seen, offset, broken)
    database.execute(
        "INSERT OR REPLACE INTO journals VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*facts, reading.records, encode(reading.problems[:_MAX_PROBLEMS])),
    )
    if reading.last is not None:
        database.execute(
            "UPDATE runs SET last = ? WHERE runid = ?", (encode(reading.last), journal.runid)
        )


@dataclass(slots=True)
class _Reading:
    """One pass over the new frames of a journal."""

    database: sqlite3.Connection
    journal: JournalFile
    loops: dict[int, tuple[str, str]] = field(default_factory=dict)
    paths: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = field(default_factory=dict)
    records: int = 0
    last: list[Any] | None = None
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows = self.database.execute(
            "SELECT id, key, dim FROM loops WHERE journal = ?", (self.journal.path,)
        )
        self.loops = {number: (key, dim) for number, key, dim in rows}

    def take(self, frame: Frame) -> None:
        """Bring one frame into the tables; one that makes no sense is named in the run."""
        kind = str(frame.get("t"))
        handler = _HANDLERS.get(kind)
        if handler is None or (self.journal.replay and kind not in _IN_REPLAYS):
            return  # facts that only `Catalog.frames` gives
        try:
            handler(self, frame)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            self.problems.append(f"{kind} frame: {type(error).__name__}: {error}")

    def run(self, frame: Frame) -> None:
        if frame["runid"] != self.journal.runid:
            self.problems.append(f"the journal says it is of run {frame['runid']}")
        self.database.execute(
            "INSERT OR IGNORE INTO runs VALUES (?, ?, NULL, NULL)",
            (self.journal.runid, encode(frame)),
        )

    def loop(self, frame: Frame) -> None:
        nth = int(frame.get("nth", 0))
        key = str(frame["key"]) + (f"#{nth}" if nth else "")
        if frame.get("thread"):
            key += f"@{frame['thread']}"
        self.loops[int(frame["id"])] = (key, str(frame["dim"]))
        self.database.execute(
            "INSERT OR REPLACE INTO loops VALUES (?, ?, ?, ?)",
            (self.journal.path, int(frame["id"]), key, str(frame["dim"])),
        )

    def config(self, frame: Frame) -> None:
        columns = {str(name): [value] for name, value in frame["values"].items()}
        self._span([], [], 0, [None], columns, None)

    def rows(self, frame: Frame) -> None:
        outer = [(int(loop), int(at), value) for loop, at, value in frame["outer"]]
        targets, first = list(frame["value"]), int(frame["first"])
        columns = {str(name): list(column) for name, column in frame["cols"].items()}
        if not targets or any(len(column) != len(targets) for column in columns.values()):
            raise ValueError("its columns are not all as long as its iterations")
        loops = [loop for loop, _, _ in outer] + [int(frame["loop"])]
        self._span(loops, [[at, value] for _, at, value in outer], first, targets, columns, None)
        self._got_to(
            loops[0],
            *(outer[0][1:] if outer else (first + len(targets) - 1, targets[-1])),
        )

    def value(self, frame: Frame) -> None:
        coords = [(int(loop), int(at), value) for loop, at, value in frame["coords"]]
        outer = [[at, value] for _, at, value in coords[:-1]]
        first, target = coords[-1][1:] if coords else (0, None)
        columns = {str(frame["name"]): [frame["value"]]}
        verdict = frame.get("verdict")
        self._span([loop for loop, _, _ in coords], outer, first, [target], columns, verdict)

    def checkpoint(self, frame: Frame) -> None:
        outer = [int(loop) for loop, _, _ in frame["outer"]]
        keys, dims = self._names([*outer, int(frame["loop"])])
        bytes.fromhex(frame["digest"])
        self.database.execute(
            "INSERT INTO checkpoints (runid, loop, dims, frame) VALUES (?, ?, ?, ?)",
            (self.journal.runid, keys[-1], encode(list(dims)), encode(frame)),
        )

    def exit(self, frame: Frame) -> None:
        self.database.execute(
            "UPDATE runs SET exit = ? WHERE runid = ?", (encode(frame), self.journal.runid)
        )

    def _span(
        self,
        loops: list[int],
        outer: list[list[Any]],
        first: int,
        targets: list[Any],
        columns: dict[str, list[Any]],
        verdict: str | None,
    ) -> None:
        cursor = self.database.execute(
            "INSERT INTO spans (runid, path, outer, first, targets, source, verdict) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self.journal.runid,
                self._path(loops),
                encode(outer),
                first,
                encode(targets),
                self.journal.replay,
                verdict,
            ),
        )
        self.database.executemany(
            "INSERT INTO cells (span, name, data) VALUES (?, ?, ?)",
            [(cursor.lastrowid, name, encode(column)) for name, column in columns.items()],
        )
        self.records += sum(len(column) - column.count(None) for column in columns.values())

    def _names(self, loops: list[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        unknown = [number for number in loops if number not in self.loops]
        if unknown:
            raise ValueError(f"no frame says which loop {unknown[0]} is")
        pairs = [self.loops[number] for number in loops]
        return tuple(key for key, _ in pairs), tuple(dim for _, dim in pairs)

    def _path(self, loops: list[int]) -> int:
        names = self._names(loops)
        known = self.paths.get(names)
        if known is None:
            texts = encode(list(names[0])), encode(list(names[1]))
            self.database.execute("INSERT OR IGNORE INTO paths (keys, dims) VALUES (?, ?)", texts)
            (known,) = self.database.execute(
                "SELECT id FROM paths WHERE keys = ? AND dims = ?", texts
            ).fetchone()
            self.paths[names] = known
        return int(known)

    def _got_to(self, loop: int, iteration: int, value: Any) -> None:
        self.last = [self.loops[loop][1], iteration, value]


_IN_REPLAYS = ("loop", "value")
_HANDLERS = {
    name: getattr(_Reading, name)
    for name in ("run", "loop", "config", "rows", "value", "checkpoint", "exit")
}
