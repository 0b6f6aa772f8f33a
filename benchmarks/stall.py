"""How long does a checkpoint stop the program, and what does writing it take?

    python benchmarks/stall.py [--quick] [--json] [--part stall|append ...]

stall: states of which all changes, against a copy of the same bytes by NumPy into memory that was
    used before, in turns; and the memory that is used beyond the state, and the time of processors
    that is spent beside the program.
append: chunks that are put raw into a pack and made durable, against writing the same bytes to a
    file in the same directory and making that durable, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
from measuring import Row

from flor_trace.runtime.checkpoints import Checkpointer
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules
from flor_trace.store import files
from flor_trace.store.framing import key_for
from flor_trace.store.layout import open_store
from flor_trace.store.packs import PackWriter
from flor_trace.store.writer import BackgroundWriter

MB = 1 << 20


class Unlimited(Budget):
    """A budget that nothing exceeds."""

    def spare(self, elapsed: float) -> float:
        return 0.0


def resident() -> int:
    """Bytes of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) << 10 for x in lines if x.startswith("RssAnon:"))


def checkpointer(names: dict[str, Any], writer: BackgroundWriter) -> Checkpointer:
    """One that takes the state in `names`."""
    modules = Modules()
    modules.add("/p/train.py", "train.py", names)
    return Checkpointer(
        modules=modules,
        clocks=frozenset,
        relocate=(),
        background=writer,
        budget=Unlimited(1.0),
        is_project_file=lambda name: False,
    )


def weights(size: int) -> list[np.ndarray[Any, Any]]:
    """Arrays of together `size` bytes, as a model with its optimizer has them."""
    generator = np.random.default_rng(0)
    count = max(4, size // (16 * MB))
    return [generator.standard_normal(size // count // 4, np.float32) for _ in range(count)]


def stall_of(size: int, rounds: int, store: Path) -> Row:
    """Take `rounds` checkpoints of a state of `size` bytes that changes between them."""
    arrays = weights(size)
    pooled = [np.empty_like(each) for each in arrays]
    spent: list[float] = []
    writer = BackgroundWriter(
        open_store(store, create=True), "run", on_error=lambda error: None, max_bytes=1 << 40
    )
    taking = checkpointer({"state": arrays}, writer)
    best = {"stall": float("inf"), "copy": float("inf"), "stall cpu": float("inf")}
    before = peak = resident() + sum(each.nbytes for each in pooled)
    for _ in range(rounds):
        for each in arrays:
            each *= np.float32(1.0001)
        began = perf_counter()
        for target, each in zip(pooled, arrays, strict=True):
            np.copyto(target, each)
        best["copy"] = min(best["copy"], perf_counter() - began)
        began, cpu = perf_counter(), thread_time()
        taken = taking.take()
        best["stall"] = min(best["stall"], perf_counter() - began)
        best["stall cpu"] = min(best["stall cpu"], thread_time() - cpu)
        done = os.times()
        assert taking.save(taken, lambda _: None)
        del taken
        while not writer.drain(0.005):
            peak = max(peak, resident())
        spent.append(sum(os.times()[:2]) - sum(done[:2]))
    writer.close()
    return {
        "subject": f"{size // MB} MB in {len(arrays)} arrays, all of it changed",
        "stall / copy": best["stall"] / best["copy"],
        "its CPU / copy": best["stall cpu"] / best["copy"],
        "memory / state": (peak - before) / size,
        "background core-ms per GB": min(spent) * 1e3 / (size / 1e9),
    }


def stall_rows(quick: bool) -> Iterator[Row]:
    """States of several sizes."""
    for size in (4,) if quick else (20, 200, 1000):
        with tempfile.TemporaryDirectory(dir=".") as directory:
            yield stall_of(size * MB, 3 if quick else 8, Path(directory) / "store")


def plain(path: Path, blocks: list[bytes]) -> float:
    """Seconds to write blocks one after the other, and to make them durable."""
    began = perf_counter()
    fd = files.create(path)
    for block in blocks:
        os.write(fd, block)
    files.sync_data(fd)
    took = perf_counter() - began
    os.close(fd)
    path.unlink()
    return took


def packed(directory: Path, blocks: list[bytes], number: int) -> float:
    """Seconds to put them into a pack, and to make that durable."""
    writer = PackWriter(open_store(directory, create=True), f"run-{number}")
    keys = [key_for(memoryview(block)) for block in blocks]
    began = perf_counter()
    for block, key in zip(blocks, keys, strict=True):
        writer.put(block, key=key, raw=True)
    writer.flush()
    took = perf_counter() - began
    writer.close()
    for pack in (directory / "packs").glob("run-*"):
        pack.unlink()
    return took


def append_rows(quick: bool) -> Iterator[Row]:
    """Raw chunks of several sizes."""
    total = (8 if quick else 512) * MB
    for size in (1 * MB, 4 * MB):
        rounds = 2 if quick else 5
        with tempfile.TemporaryDirectory(dir=".") as name:
            directory = Path(name)
            times: dict[str, list[float]] = {"plain": [], "pack": []}
            for number in range(rounds):
                blocks = [os.urandom(size) for _ in range(total // size)]
                times["plain"].append(plain(directory / "plain", blocks))
                times["pack"].append(packed(directory / "store", blocks, number))
        yield {
            "subject": f"{total // MB} MB in chunks of {size // MB} MB, appended",
            "of the disk's rate": min(times["plain"]) / min(times["pack"]),
            "MB a second": total / MB / min(times["pack"]),
        }


PARTS = {"stall": stall_rows, "append": append_rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--part", action="append", choices=PARTS)
    options = parser.parse_args()
    rows = [row for part in options.part or PARTS for row in PARTS[part](options.quick)]
    if options.json:
        print(json.dumps(rows, indent=1))
    for row in rows if not options.json else ():
        numbers = (f"{name} {value:.2f}" for name, value in row.items() if name != "subject")
        print(f"{row['subject']}: {', '.join(numbers)}")


if __name__ == "__main__":
    main()
