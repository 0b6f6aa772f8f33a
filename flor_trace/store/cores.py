"""How much of the processor time that the background takes is taken from the program."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from flor_trace.hints import Final, NamedTuple
from flor_trace.store import files

#: A share is told by no less time than this: the system counts in hundredths of a second.
SHORTEST: Final = 0.1

_STAT = Path("/proc/stat")


class Sample(NamedTuple):
    """What had happened up to some time."""

    wall: float  #: the time, in seconds
    idle: float  #: seconds that the cores had nothing to do, in all


def idle_seconds(stat: bytes, cores: Collection[int], tick: float) -> float:
    """Return how long these cores were idle, given what Linux has in /proc/stat.

    Time that waits for a disk is idle: the cores are there for whoever wants them.
    """
    names = {b"cpu%d" % core for core in cores}
    ticks = 0
    for line in stat.splitlines():
        name, *counts = line.split()
        if name in names:
            ticks += int(counts[3]) + int(counts[4])
    return ticks * tick


def taken_share(before: Sample, after: Sample) -> float | None:
    """Return which share of a core's time was not free between two samples, None if too short.

    A thread of ours that works then takes so much of its time from others.
    """
    wall = after.wall - before.wall
    if wall < SHORTEST:
        return None
    return min(max(1 - (after.idle - before.idle) / wall, 0.0), 1.0)


class Cores:
    """Looks at the cores while the background rests, to tell what it takes when it works."""

    def __init__(self) -> None:
        self.share = 0.0  #: of our time is taken from others, as was last seen
        self._since = _look()

    @property
    def busy(self) -> bool:
        """Whether the background should do no more than it must."""
        return self.share > 0.5

    def rest(self) -> None:
        """Note that the background rests from now on."""
        self._since = _look()

    def work(self) -> None:
        """Note that it works from now on."""
        before, self._since = self._since, None
        now = _look() if before else None
        share = taken_share(before, now) if before and now else None
        if share is not None:
            self.share = share


def _look() -> Sample | None:
    """Return a sample of now; None where the system does not say."""
    try:
        tick = 1 / os.sysconf("SC_CLK_TCK")
        idle = idle_seconds(files.of_the_system(_STAT), os.sched_getaffinity(0), tick)
    except (OSError, ValueError, AttributeError, IndexError):
        return None
    return Sample(time.monotonic(), idle)
