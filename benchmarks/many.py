"""What commands cost on a store of very many runs, beside the same on a store of a few.

    python benchmarks/many.py [--runs 10000] [--chunks 100] [--few 100] [--store DIR]

The stores are made of real journals, packs and indexes; nothing in them is synced.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flor_trace.history.catalog import Catalog
from flor_trace.history.journal import JournalWriter
from flor_trace.store.framing import RAW, address_of, header_for, key_for
from flor_trace.store.index import PACK_HEADER, Entry, Index, write_index
from flor_trace.store.known import note_finished
from flor_trace.store.layout import Store, open_store
from flor_trace.store.packs import PackWriter
from flor_trace.store.reader import PackReader
from flor_trace.types import Address, RunId

ROUNDS = 3
RECORDS = 10


def make(path: Path, runs: int, chunks: int) -> Store:
    """Make a store of so many runs, each with its own pack of so many chunks."""
    store = open_store(path, create=True)
    for number in range(runs):
        runid = RunId(f"26{number // 86400 % 12 + 1:02d}01-{number % 86400:06d}-k3f9q")
        _pack(store, runid, number, chunks)
        _journal(store, runid, number)
    return store


def _contents(number: int, chunk: int) -> bytes:
    return b"chunk %d of run %d" % (chunk, number)


def _pack(store: Store, runid: RunId, number: int, chunks: int) -> None:
    parts, entries, end = [PACK_HEADER], [], len(PACK_HEADER)
    for chunk in range(chunks):
        body = _contents(number, chunk)
        key = key_for(memoryview(body))
        parts += [header_for(RAW, key, len(body)), body]
        entries.append(Entry(key, end, len(body)))
        end = entries[-1].end
    (store.packs / f"{runid}.pack").write_bytes(b"".join(parts))
    write_index(store.packs, runid, Index(end, tuple(entries)))
    note_finished(store.packs, runid)


def _journal(store: Store, runid: RunId, number: int) -> None:
    directory = store.run_dir(runid)
    directory.mkdir()
    journal = JournalWriter(directory / "journal")
    facts = {"mode": "script", "argv": [], "cwd": ".", "root": "/p", "python": "3.11.7"}
    people = {"host": "h", "pid": 1, "vid": None, "name": None, "projid": "p"}
    stamp = f"2026-01-01T{number % 24:02d}:00:00.000000+00:00"
    frames = [
        {"t": "run", "format": 1, "runid": runid, "tstamp": stamp, "filename": "train.py"},
        {"t": "loop", "id": 0, "key": "train.py:<module>:0", "dim": "epoch", "line": 3},
        {"t": "enter", "loop": 0, "outer": [], "at": 0.1},
        {"t": "config", "values": {"lr": 0.1 / (number + 1)}},
        {
            "t": "rows",
            "loop": 0,
            "outer": [],
            "first": 0,
            "value": list(range(RECORDS)),
            "cols": {"loss": [1 / (k + 1) for k in range(RECORDS)]},
        },
        {
            "t": "checkpoint",
            "loop": 0,
            "outer": [],
            "boundary": RECORDS - 1,
            "manifest": address(number, 0),
            "digest": "00" * 16,
            "opaque": [],
            "seconds": 0.1,
            "bytes": 10,
            "new": 10,
        },
        {"t": "exit", "status": 0, "how": "exit", "seconds": 3.0},
    ]
    frames[0].update(facts, **people)
    for each in frames:
        journal.append(each)
    journal.close()


def address(number: int, chunk: int) -> Address:
    """The address of a chunk of the store."""
    return address_of(key_for(memoryview(_contents(number, chunk))))


def seconds(action: Callable[[], object]) -> float:
    """The least CPU time of a few rounds."""
    taken = []
    for _ in range(ROUNDS):
        before = time.process_time()
        action()
        taken.append(time.process_time() - before)
    return min(taken)


def command(store: Store, *arguments: str) -> float:
    """The least CPU time of a command of its own process."""
    taken = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "flor_trace", *arguments, "--store", str(store.path)],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def _first_put(store: Store) -> Callable[[], object]:
    numbers = iter(range(1 << 30))

    def put() -> None:
        writer = PackWriter(store, "new")
        for _ in range(20):
            writer.put(b"new %d" % next(numbers) * 20)

    return put


def _open(store: Store, wanted: Address, runid: str = "") -> Callable[[], object]:
    def read() -> None:
        with PackReader(store) as reader:
            reader.prefer(runid)
            reader.get(wanted)

    return read


def _sync(store: Store) -> None:
    for suffix in ("", "-wal", "-shm"):
        store.catalog.with_name(store.catalog.name + suffix).unlink(missing_ok=True)
    with Catalog(store.path) as catalog:
        catalog.sync()


def _every(store: Store, runs: int) -> Callable[[], object]:
    wanted = [address(number, 1) for number in range(0, runs, max(1, runs // 100))]

    def read() -> None:
        with PackReader(store) as reader:
            for each in wanted:
                reader.get(each)

    return read


def measure(store: Store, runs: int) -> dict[str, float]:
    """CPU seconds of everything."""
    run = sorted(os.listdir(store.runs))[runs // 2]
    middle = address(runs // 2, 1)
    made = {"catalog from nothing": seconds(lambda: _sync(store))}
    made["ls"] = command(store, "ls")
    made["show RUN"] = command(store, "show", run)
    made["pivot loss"] = command(store, "pivot", "loss")
    made["open a chunk of a known run"] = seconds(_open(store, middle, run))
    made["open a chunk of any run"] = seconds(_open(store, middle))
    made["open 100 chunks of 100 runs"] = seconds(_every(store, runs))
    missing = Address("5-" + "ab" * 16)
    made["look for a chunk that is nowhere"] = seconds(lambda: PackReader(store).has(missing))
    made["first 20 chunks of a new run"] = seconds(_first_put(store))
    return made


def main() -> None:
    """Print a table of the costs, and what the large store costs more."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--runs", type=int, default=10_000)
    options.add_argument("--chunks", type=int, default=100)
    options.add_argument("--few", type=int, default=100)
    options.add_argument("--store", type=Path, help="where the large store is kept, or already is")
    asked = options.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="flor_trace-many-"))
    try:
        few = make(scratch / "few", asked.few, asked.chunks)
        path = asked.store or scratch / "many"
        there = (path / "store.json").is_file()
        many = open_store(path, create=False) if there else make(path, asked.runs, asked.chunks)
        small, large = measure(few, asked.few), measure(many, asked.runs)
        print(f"CPU ms, {asked.few} runs | {asked.runs} runs | ratio")
        for what, taken in large.items():
            ratio = taken / max(small[what], 1e-6)
            print(f"{what:34s} {small[what] * 1e3:9.2f} {taken * 1e3:9.2f} {ratio:8.1f}")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
