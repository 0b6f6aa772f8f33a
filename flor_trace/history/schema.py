"""The tables of the catalog, and opening a database that has exactly them."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Raised with every change to the tables or to what is written in them.
VERSION = 1
_APPLICATION = 0x666C7472  # "fltr"
_BUSY_SECONDS = 5.0

_TABLES = """
CREATE TABLE journals (
    path TEXT PRIMARY KEY,      -- below the store's "runs"
    runid TEXT NOT NULL,
    identity TEXT NOT NULL,     -- of the file, to see when it was replaced
    seen TEXT NOT NULL,         -- its size and time, to see when it was written
    offset INTEGER NOT NULL,    -- read up to here
    broken TEXT,                -- why it cannot be read
    records INTEGER NOT NULL,   -- values in it
    problems TEXT NOT NULL      -- JSON list: frames that made no sense
);
CREATE INDEX journals_of_run ON journals (runid);
CREATE TABLE runs (
    runid TEXT PRIMARY KEY,
    frame TEXT NOT NULL,        -- the run frame, as JSON
    exit TEXT,                  -- the exit frame, as JSON
    last TEXT                   -- [dimension, iteration, value] of the outermost loop
);
CREATE TABLE loops (
    journal TEXT NOT NULL,
    id INTEGER NOT NULL,
    key TEXT NOT NULL,
    dim TEXT NOT NULL,
    PRIMARY KEY (journal, id)
) WITHOUT ROWID;
CREATE TABLE paths (
    id INTEGER PRIMARY KEY,
    keys TEXT NOT NULL,         -- JSON list of loop identities, outermost first
    dims TEXT NOT NULL,         -- JSON list of dimensions
    UNIQUE (keys, dims)
);
CREATE TABLE spans (            -- consecutive iterations of one loop instance
    id INTEGER PRIMARY KEY,
    runid TEXT NOT NULL,
    path INTEGER NOT NULL REFERENCES paths (id),
    outer TEXT NOT NULL,        -- JSON list of [iteration, value] of the loops around it
    first INTEGER NOT NULL,
    targets TEXT NOT NULL,      -- JSON list: what the loop's target held
    source INTEGER NOT NULL,    -- 0: recorded, else the number of the replay
    verdict TEXT                -- of a replayed value
);
CREATE INDEX spans_of_run ON spans (runid);
CREATE TABLE cells (            -- one column of a span
    id INTEGER PRIMARY KEY,
    span INTEGER NOT NULL REFERENCES spans (id),
    name TEXT NOT NULL,
    data TEXT NOT NULL          -- JSON list, null where the name was not set
);
CREATE INDEX cells_of_span ON cells (span);
CREATE INDEX cells_of_name ON cells (name, span);
CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY,
    runid TEXT NOT NULL,
    loop TEXT NOT NULL,
    dims TEXT NOT NULL,         -- JSON list of dimensions, the loop's own last
    frame TEXT NOT NULL
);
CREATE INDEX checkpoints_of_run ON checkpoints (runid);
"""


def open_database(file: Path) -> sqlite3.Connection:
    """Open the catalog at `file`, made anew when it is missing, damaged or of another version.

    Where the file cannot be used at all (a read-only or network file system), the catalog is one
    in memory.

    Raises:
        sqlite3.Error: never for the file; only if SQLite itself does not work.

    """
    for _ in range(2):
        try:
            return _prepared(str(file))
        except sqlite3.OperationalError:
            break
        except sqlite3.DatabaseError:
            remove(file)
    return open_in_memory()


def open_in_memory() -> sqlite3.Connection:
    """An empty catalog that lives as long as its connection."""
    return _prepared(":memory:")


def remove(file: Path) -> None:
    """Delete a catalog, which is only a cache; those who have it open keep what they have."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        # Whoever cannot delete it cannot write it either, and gets one in memory.
        with suppress(OSError):
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def _prepared(place: str) -> sqlite3.Connection:
    # Any thread may close it: the garbage collector runs on the one it likes.
    database = sqlite3.connect(
        place, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA journal_mode = WAL").fetchone()
        database.execute("PRAGMA synchronous = OFF")  # a torn catalog is rebuilt from the journals
        _make_tables(database)
    except BaseException:
        database.close()
        raise
    return database


def _make_tables(database: sqlite3.Connection) -> None:
    if _is_ours(database):
        return
    database.execute("BEGIN IMMEDIATE")
    if not _is_ours(database):
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            database.execute("ROLLBACK")
            raise sqlite3.DatabaseError("tables of another version")
        for statement in _TABLES.split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {VERSION}")
    database.execute("COMMIT")


def _is_ours(database: sqlite3.Connection) -> bool:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return (application, version) == (_APPLICATION, VERSION)


def encode(value: Any) -> str:
    """JSON that SQLite, too, can read: NaN and the infinities become tagged texts."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_tagged(value), separators=(",", ":"))


def decode(text: str) -> Any:
    """The inverse of `encode`."""
    return json.loads(text, object_hook=_untagged) if '{"$":"float"' in text else json.loads(text)


def _tagged(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$": "float", "text": repr(value)}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    return value


def _untagged(value: dict[str, Any]) -> Any:
    return float(value["text"]) if value.get("$") == "float" else value
