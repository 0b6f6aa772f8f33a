"""The index over all journals of a store: a cache that is brought up to date when asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from flor_trace.errors import NothingMatched
from flor_trace.history.amendments import amendments, replacements
from flor_trace.history.ingest import Frame, JournalFile, bring_up_to_date, journals_of
from flor_trace.history.journal import read_journal
from flor_trace.history.runs import RunRow, read_runs
from flor_trace.history.schema import decode, open_database, open_in_memory, remove
from flor_trace.history.spans import DIVERGED, Span, records, scalar, without_duplicates
from flor_trace.types import (
    Address,
    CheckpointInfo,
    Coordinate,
    Digest,
    LoopKey,
    Names,
    Record,
)

__all__ = ["Catalog", "RunRow"]

_Answer = TypeVar("_Answer")


class Catalog:
    """What the journals of a store say, indexed.

    Readers and writers may use one store at once, from any number of processes; one object serves
    one thread.  The first question brings it up to date; `sync` does so again.

    Args:
        store_root: the store's directory.

    """

    def __init__(self, store_root: Path) -> None:
        self.store_root = store_root
        self._runs_dir = store_root / "runs"
        self._file = store_root / "catalog.sqlite"
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the next question opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def sync(self) -> None:
        """Read what the journals have gained; forget the runs that are gone."""
        if self._database is None:
            self._ask(lambda database: None)  # opening it does that
        else:
            self._ask(lambda database: bring_up_to_date(database, self._runs_dir))

    def runs(self) -> list[RunRow]:
        """All runs, oldest first."""
        return self._ask(lambda database: read_runs(database, self._runs_dir))

    def run(self, runid: str) -> RunRow:
        """One run.

        Raises:
            NothingMatched: if there is none of that id.

        """
        for row in self.runs():
            if row.runid == runid:
                return row
        raise _no_run(runid)

    def records(self, names: Names | None = None, runids: Names | None = None) -> Iterator[Record]:
        """The logged values, run by run, each cell once (see `spans.without_duplicates`).

        Values of replays that diverged are not among them.
        """
        for span in self.spans(names, runids):
            if span.verdict != DIVERGED:
                yield from records(span)

    def spans(
        self, names: Names | None = None, runids: Names | None = None, *, bare: bool = False
    ) -> list[Span]:
        """The logged values in columns, run by run (oldest first), each cell once.

        Args:
            names: what was logged; None for everything.
            runids: of which runs; None for all.
            bare: give iterations that have none of the names, too.

        """
        wanted = None if runids is None else frozenset(runids)
        found: list[Span] = []
        for run in self.runs():
            if wanted is None or run.runid in wanted:
                ask = partial(_spans, runid=run.runid, names=names, bare=bare)
                found += without_duplicates(self._ask(ask))
        return found

    def checkpoints(self, runid: str) -> list[CheckpointInfo]:
        """The saved states of a run, in the order of saving, each boundary once."""
        rows = self._ask(
            lambda database: database.execute(
                "SELECT loop, dims, frame FROM checkpoints WHERE runid = ? ORDER BY id", (runid,)
            ).fetchall()
        )
        repaired = replacements(self._amendments(runid))
        places = {}
        for info in (_checkpoint(repaired, *row) for row in rows):
            outer = tuple(step.iteration for step in info.outer)
            places[info.loop, outer, info.boundary] = info
        return list(places.values())

    def frames(self, runid: str, *types: str) -> list[Frame]:
        """The frames of a run's own journal, as they were written; of some types, or all.

        What became known of the run later comes last.

        Raises:
            NothingMatched: if there is no such run.
            JournalDamaged: if its journal cannot be read.

        """
        journals = self._journals(runid)
        if not journals:
            raise _no_run(runid)
        found = [
            frame for journal in journals if not journal.replay for frame in _read(journal, types)
        ]
        return found + [
            frame for frame in self._amendments(runid) if not types or frame["t"] in types
        ]

    def replay_frames(self, runid: str, *types: str) -> list[Frame]:
        """The frames of all replays of a run, the oldest replay first.

        Raises:
            JournalDamaged: if one of their journals cannot be read.

        """
        replays = (journal for journal in self._journals(runid) if journal.replay)
        return [frame for journal in replays for frame in _read(journal, types)]

    def names(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every logged name with the dimensions it was logged under, each pair once."""
        rows = self._ask(
            lambda database: database.execute(
                "SELECT DISTINCT cells.name, paths.dims FROM cells JOIN spans ON span = spans.id "
                "JOIN paths ON path = paths.id JOIN runs USING (runid)"
            ).fetchall()
        )
        return sorted((name, tuple(json.loads(dims))) for name, dims in rows)

    def dimensions(self) -> list[str]:
        """The dimensions of all loops that were watched, also of those that logged nothing."""
        rows = self._ask(
            lambda database: database.execute("SELECT DISTINCT dims FROM paths").fetchall()
        )
        return sorted({dim for (dims,) in rows for dim in json.loads(dims)})

    def problems(self) -> list[str]:
        """Why journals could not be read, and which frames made no sense."""
        rows = self._ask(
            lambda database: database.execute(
                "SELECT broken FROM journals WHERE broken IS NOT NULL ORDER BY path"
            ).fetchall()
        )
        found = [str(text) for (text,) in rows]
        return found + [f"run {row.runid}: {text}" for row in self.runs() for text in row.problems]

    def _amendments(self, runid: str) -> list[Frame]:
        """What became known of a run after its journal was written."""
        try:
            return list(amendments(self._runs_dir / runid))
        except OSError:
            return []  # the run was removed a moment ago

    def _journals(self, runid: str) -> list[JournalFile]:
        """The journals of one run, without a look at the others."""
        known = self._ask(
            lambda database: database.execute(
                "SELECT 1 FROM journals WHERE runid = ?", (runid,)
            ).fetchone()
        )
        return journals_of(self._runs_dir / runid) if known else []

    def _ask(self, question: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        """Ask the database; where it turns out to be damaged or unusable, a fresh one."""
        try:
            return question(self._open())
        except sqlite3.OperationalError:
            self.close()
            self._database = open_in_memory()
        except sqlite3.DatabaseError:
            self.close()
            remove(self._file)
            self._database = open_database(self._file)
        bring_up_to_date(self._database, self._runs_dir)
        return question(self._database)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = open_database(self._file)
            bring_up_to_date(self._database, self._runs_dir)
        return self._database


def _read(journal: JournalFile, types: tuple[str, ...]) -> Iterator[Frame]:
    for _, frame in read_journal(journal.file):
        if not types or frame.get("t") in types:
            yield frame


def _no_run(runid: str) -> NothingMatched:
    return NothingMatched(f"there is no run {runid!r}; flor_trace ls shows those there are")


def _spans(database: sqlite3.Connection, runid: str, names: Names | None, bare: bool) -> list[Span]:
    # Not a plain join: the run's spans come first, however few runs have the name.
    join = "LEFT JOIN" if bare else "CROSS JOIN"
    chosen = "" if names is None else " AND name IN (SELECT value FROM json_each(:names))"
    rows = database.execute(
        "SELECT spans.id, keys, dims, outer, first, targets, source, verdict, name, data "
        f"FROM spans JOIN paths ON path = paths.id {join} cells ON span = spans.id{chosen} "
        "WHERE runid = :runid ORDER BY source, spans.id, cells.id",
        {"names": json.dumps(list(names or ())), "runid": runid},
    )
    found: dict[int, Span] = {}
    for number, *facts, name, data in rows:
        span = found.get(number)
        if span is None:
            span = found[number] = _span(runid, *facts)
        if name is not None:
            span.columns[name] = decode(data)
    return list(found.values())


def _span(  # noqa: PLR0913 - these are the columns of the query
    runid: str,
    keys: str,
    dims: str,
    outer: str,
    first: int,
    targets: str,
    source: int,
    verdict: str | None,
) -> Span:
    return Span(
        runid,
        tuple(json.loads(keys)),
        tuple(json.loads(dims)),
        tuple((at, value) for at, value in decode(outer)),
        first,
        decode(targets),
        {},
        source,
        verdict,
    )


def _checkpoint(repaired: Mapping[str, str], loop: str, dims: str, text: str) -> CheckpointInfo:
    frame: Frame = decode(text)
    outer = tuple(
        Coordinate(dim, at, scalar(value))
        for dim, (_, at, value) in zip(json.loads(dims), frame["outer"], strict=False)
    )
    return CheckpointInfo(
        LoopKey(loop),
        outer,
        int(frame["boundary"]),
        Address(repaired.get(frame["manifest"], frame["manifest"])),
        Digest(bytes.fromhex(frame["digest"])),
        tuple(frame.get("opaque", ())),
        float(frame.get("seconds", 0.0)),
    )
