"""One recorded execution, as a listing shows it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flor_trace.history.ingest import Frame
from flor_trace.history.processes import is_alive
from flor_trace.history.schema import decode
from flor_trace.history.spans import scalar
from flor_trace.types import Coordinate, RunId


@dataclass(frozen=True, slots=True)
class RunRow:
    """What is known about one run."""

    runid: RunId
    name: str | None
    projid: str
    tstamp: str  #: ISO 8601 with the offset from UTC
    vid: str | None
    filename: str
    argv: tuple[str, ...]
    status: str  #: finished, failed(STATUS), running, died, or unknown (recorded on another host)
    last: Coordinate | None  #: how far the outermost loop got
    records: int
    checkpoints: int
    seconds: float | None  #: of the whole run, or until its journal was last written
    problems: tuple[str, ...]  #: frames that made no sense
    frame: Frame  #: the run frame with all its facts


def read_runs(database: sqlite3.Connection, runs: Path) -> list[RunRow]:
    """All runs, oldest first."""
    rows = database.execute(
        "SELECT runid, frame, exit, last, (SELECT count(*) FROM checkpoints "
        "WHERE checkpoints.runid = runs.runid) FROM runs"
    ).fetchall()
    sums = _sums(database)
    found = [
        _row(runs / runid / "journal", runid, *facts, sums=sums[runid]) for runid, *facts in rows
    ]
    return sorted(found, key=lambda row: (row.tstamp, row.runid))


def _sums(database: sqlite3.Connection) -> dict[str, tuple[int, tuple[str, ...]]]:
    """The number of values, and the frames that made no sense, of each run with its replays."""
    sums: dict[str, tuple[int, tuple[str, ...]]] = {}
    for runid, records, problems in database.execute(
        "SELECT runid, records, problems FROM journals ORDER BY path"
    ):
        before = sums.get(runid, (0, ()))
        sums[runid] = before[0] + records, before[1] + tuple(decode(problems))
    return sums


def _row(
    journal: Path,
    runid: str,
    frame_text: str,
    exit_text: str | None,
    last_text: str | None,
    checkpoints: int,
    *,
    sums: tuple[int, tuple[str, ...]],
) -> RunRow:
    frame: Frame = decode(frame_text)
    end: Frame | None = decode(exit_text) if exit_text else None
    tstamp = str(frame.get("tstamp", ""))
    records, problems = sums
    return RunRow(
        runid=RunId(runid),
        name=_text(frame.get("name")),
        projid=str(frame.get("projid", "")),
        tstamp=tstamp,
        vid=_text(frame.get("vid")),
        filename=str(frame.get("filename", "")),
        argv=_texts(frame.get("argv")),
        status=_status(frame, end),
        last=_coordinate(last_text),
        records=records,
        checkpoints=checkpoints,
        seconds=_seconds(end, tstamp, journal),
        problems=problems,
        frame=frame,
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _coordinate(text: str | None) -> Coordinate | None:
    if text is None:
        return None
    dimension, iteration, value = decode(text)
    return Coordinate(dimension, iteration, scalar(value))


def _status(frame: Frame, end: Frame | None) -> str:
    if end is not None:
        status = end.get("status")
        if status == 0:
            return "finished"
        return f"failed({end.get('how') if status is None else status})"
    pid, started = frame.get("pid"), frame.get("pidstart")
    if not isinstance(pid, int) or pid <= 0:
        return "unknown"
    alive = is_alive(str(frame.get("host")), pid, started if isinstance(started, int) else None)
    return {True: "running", False: "died", None: "unknown"}[alive]


def _seconds(end: Frame | None, tstamp: str, journal: Path) -> float | None:
    if end is not None and isinstance(end.get("seconds"), int | float):
        return float(end["seconds"])
    try:
        began = datetime.fromisoformat(tstamp).timestamp()
        return max(0.0, journal.stat().st_mtime - began)
    except (ValueError, OSError):
        return None  # no time in the run frame, or the journal went away a moment ago
