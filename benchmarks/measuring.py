"""CPU times of alternatives taken in turns, and what they amount to."""

from __future__ import annotations

import gc
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Way:
    """One way to do the same work: `run` is timed, between `begin` and `end`."""

    name: str
    run: Callable[[], object]
    begin: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None


def in_turns(ways: Sequence[Way], rounds: int) -> dict[str, list[float]]:
    """Thread CPU seconds of each way, round by round, after some that warm up and are dropped."""
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for number in range(-(rounds // 3) - 1, rounds):
            for way in ways:
                seconds = _once(way)
                if number >= 0:
                    times[way.name].append(seconds)
    finally:
        gc.enable()
        gc.unfreeze()
    return times


def _once(way: Way) -> float:
    way.begin()
    try:
        before = time.thread_time()
        way.run()
        return time.thread_time() - before
    finally:
        way.end()


def over(times: Sequence[float], base: Sequence[float], scale: float) -> dict[str, float]:
    """What is added to a base: median of the differences of a round, difference of the minima."""
    pairs = list(zip(times, base, strict=True))
    return {
        "median": statistics.median(a - b for a, b in pairs) * scale,
        "min": (min(times) - min(base)) * scale,
        "ratio": statistics.median(a / b for a, b in pairs),
    }


@dataclass(frozen=True)
class Process:
    """A command that must succeed, and the environment it is given."""

    command: tuple[str, ...]
    directory: Path
    environ: Mapping[str, str]

    def cpu(self) -> tuple[float, bytes]:
        """Run it; return CPU seconds of it and of all it started, and its output."""
        before = _children()
        done = subprocess.run(
            self.command, cwd=self.directory, env=dict(self.environ), capture_output=True
        )
        seconds = _children() - before
        if done.returncode:
            raise SystemExit(
                f"{self.command} failed:\n{done.stdout.decode()[-2000:]}\n"
                f"{done.stderr.decode()[-2000:]}"
            )
        return seconds, done.stdout


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def environment(**more: str) -> dict[str, str]:
    """The environment for a measured process: this one's, with the package on its path."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHASHSEED", "FLOR_TRACE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def processes_in_turns(
    given: Mapping[str, Process], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[bytes]]]:
    """CPU seconds and outputs of each process, round by round, without a first round."""
    times: dict[str, list[float]] = {name: [] for name in given}
    outputs: dict[str, list[bytes]] = {name: [] for name in given}
    for number in range(rounds + 1):
        for name, process in given.items():
            seconds, output = process.cpu()
            if number:
                times[name].append(seconds)
                outputs[name].append(output)
    return times, outputs


Row = dict[str, Any]
