from __future__ import annotations

import json
import random
from typing import Any

from flor_trace.history.journal import JournalWriter, read_journal
from flor_trace.remote.drive import Drive
from flor_trace.remote.listings import listed_runs
from flor_trace.remote.pull import Pulled, pull
from flor_trace.remote.push import Pushed, push
from flor_trace.remote.reach import needed_by
from flor_trace.store.framing import Base, key_for
from flor_trace.store.layout import Store
from flor_trace.store.packs import PackWriter
from flor_trace.store.reader import PackReader
from flor_trace.types import Address, RunId

FIRST, SECOND = RunId("261101-000000-aaaaa"), RunId("261101-000001-bbbbb")


def record(
    store: Store, runid: RunId, *, seed: int = 0, checkpoints: int = 3, vid: str | None = None
) -> list[Address]:
    """Make a run like a real one: a frozen buffer, one that changes slowly, a seed, an array."""
    generator = random.Random(seed)
    writer = PackWriter(store, runid)
    frozen = random.Random(1).randbytes(5000)
    moving = bytearray(generator.randbytes(40_000))
    directory = store.run_dir(runid)
    directory.mkdir()
    journal = JournalWriter(directory / "journal")
    stamp = "2026-11-01T00:00:00+00:00"
    about = {"runid": runid, "tstamp": stamp, "name": f"run {seed}", "vid": vid}
    journal.append({"t": "run", "format": 1, **about})
    seeds = writer.put(manifest([writer.put(generator.randbytes(2500))], "seed"))
    journal.append({"t": "seed", "library": "random", "state": seeds})
    journal.append({"t": "loop", "id": 0, "key": "train.py:<module>:0", "dim": "epoch"})
    made, before = [], None
    for boundary in range(checkpoints):
        moving[boundary * 100] ^= 1
        data = bytes(moving)
        leaves = [writer.put(frozen), writer.put(data, base=before)]
        before = Base(key_for(memoryview(data)), memoryview(data))
        made.append(writer.put(manifest(leaves, f"{seed} {boundary}")))
        writer.flush()
        journal.append(
            {
                "t": "checkpoint",
                "loop": 0,
                "outer": [],
                "boundary": boundary,
                "manifest": made[-1],
                "digest": "00" * 16,
            }
        )
    array = {"$": "ndarray", "at": writer.put(generator.randbytes(800)), "dtype": "<f8"}
    rows = {"loop": 0, "outer": [], "first": 0, "value": [0], "cols": {"m": [array]}}
    writer.flush()
    journal.append({"t": "rows", **rows})
    journal.close()
    writer.close()
    return made


def manifest(leaves: list[Address], note: str) -> bytes:
    return json.dumps({"format": "flor_trace state", "note": note, "leaves": leaves}).encode()


def replayed(store: Store, runid: RunId, value: float, number: int = 1) -> None:
    """Add the journal of a replay."""
    writer = PackWriter(store, f"{runid}-replay")
    at = writer.put(str(value).encode() * 50)
    writer.close()
    journal = JournalWriter(store.run_dir(runid) / f"replay-{number}.journal")
    journal.append({"t": "replay", "format": 1, "runid": runid, "probe": {"name": str(value)}})
    cell = {"$": "ndarray", "at": at, "dtype": "<f8", "shape": [1]}
    journal.append({"t": "value", "coords": [], "name": "x", "value": cell, "verdict": "exact"})
    journal.close()


def frames(store: Store, runid: RunId) -> list[dict[str, Any]]:
    """All frames of all journals of a run."""
    found = sorted(store.run_dir(runid).glob("*journal*"))
    return [frame for file in found for _, frame in read_journal(file)]


def is_whole(store: Store, runid: RunId) -> bool:
    """Whether all that a run names is there and sound; fails if it is not."""
    with PackReader(store) as reader:
        for key in needed_by(frames(store, runid), reader):
            reader.stored(key)
    return True


def push_all(store: Store, drive: Drive, **options: bool) -> list[Pushed]:
    return list(push(store, drive, runs_of(store), **options))


def pull_all(store: Store, drive: Drive, **options: bool) -> list[Pulled]:
    return list(pull(store, drive, listed_runs(drive), "flor.shadow", **options))


def runs_of(store: Store) -> list[RunId]:
    return sorted(RunId(path.name) for path in store.runs.iterdir())
