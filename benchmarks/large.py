"""What does a large array in scope cost a checkpoint?  Ratios of minima, in turns, in one process.

    python benchmarks/large.py [--megabytes 512] [--rounds 20]

Three checkpointers see the same scope: one that hashes everything at every boundary, one that takes
what stays the same for constant, and one whose array is small.  The last shows what is not the
array's; the hash alone of the array is the measure for all.
"""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import Any

import numpy as np

from flor_trace._speedups import digest
from flor_trace.runtime import checkpoints, constants
from flor_trace.runtime.checkpoints import Checkpointer
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules


class Hurried(Budget):
    """Nothing is looked at but what has to be."""

    def spare(self, elapsed: float) -> float:
        return 0.0


class Nowhere:
    """A store that keeps nothing."""

    max_bytes = 1 << 40
    busy = False

    def put(self, data: Any, **hints: Any) -> str:
        return f"{len(data)}-{'0' * 32}"

    def has(self, address: str) -> bool:
        return True

    def flush(self) -> None:
        pass

    def commit(self, commit: Any, nbytes: int) -> bool:
        for job in (*commit.chunks, commit.manifest, commit.listed):
            job(self)
        return True


def made(names: dict[str, Any], *, assume: bool) -> Checkpointer:
    modules = Modules()
    modules.add("/p/train.py", "train.py", names)
    found = Checkpointer(
        modules=modules,
        clocks=frozenset,
        relocate=(),
        background=Nowhere(),
        budget=Hurried(1.0),
        is_project_file=lambda name: False,
    )
    if not assume:
        sizes = constants.Sizes(smallest=1 << 62)
        found._constants = constants.Constants(checkpoints.locate, lambda count: 0, sizes)
    return found


def seconds(ways: dict[str, Any], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, run in ways.items():
            began = perf_counter()
            run()
            best[name] = min(best[name], perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    data = np.random.default_rng(0).standard_normal(options.megabytes << 17)
    weights = {"weights": np.zeros(1000), "step": 0}
    ways: dict[str, Any] = {"hash": lambda: digest(data)}
    for name, held, assume in (
        ("everything", data, False),
        ("constant", data, True),
        ("small", data[:1000].copy(), True),
    ):
        checkpointer = made({"data": held, **weights}, assume=assume)
        for _ in range(4):  # what is new is copied, and what stays the same is found out
            checkpointer.save(checkpointer.take(), lambda taken: None)
        ways[name] = checkpointer.take
    best = seconds(ways, options.rounds)
    print(f"{options.megabytes} MiB in scope; hashing them once takes {best['hash'] * 1e3:.2f} ms")
    for name in ("everything", "constant", "small"):
        print(f"checkpoint, {name}: {best[name] / best['hash']:.3f} of that")


if __name__ == "__main__":
    main()
