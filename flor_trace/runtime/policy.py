"""Decide which loops are watched and which boundaries are worth a checkpoint: pure arithmetic."""

from __future__ import annotations

import math

from flor_trace._speedups import NATIVE
from flor_trace.hints import Literal
from flor_trace.records import dataclass

#: What reporting costs: an execution of a loop, and each of its iterations.
ENTRY_SECONDS = 40e-6
ROW_SECONDS = 0.4e-6 if NATIVE else 8e-6

#: A loop is watched when that is no more than this share of its time.  An outermost loop may be
#: the whole of a small program, so it is allowed a larger one.
WATCH_SHARE = 0.02
WATCH_SHARE_OUTERMOST = 0.05

#: An iteration of this length makes a loop worth watching.
SURE_SECONDS = 20e-3

#: Iterations of one loop, over all its instances, after which it must have shown itself.
PROBE_ITERATIONS = 32

#: A watched loop that, over so many rows, costs this many times its share is given up.
DEMOTE_ITERATIONS = 4096
DEMOTE_FACTOR = 3

#: What a checkpoint is thought to cost before one was taken.
FIRST_ESTIMATE_SECONDS = 5e-3

#: What all checkpoints together may cost beyond their share of the run time.
GRACE_SECONDS = 25e-3

Verdict = Literal["watch", "tight", "unsure"]


def worth(entries: int, iterations: int, seconds: float, *, outermost: bool) -> bool:
    """Whether a loop whose executions took `seconds` in all is cheap enough to be watched."""
    share = WATCH_SHARE_OUTERMOST if outermost else WATCH_SHARE
    return _cost(entries, iterations) <= share * seconds


def _cost(entries: int, iterations: int) -> float:
    # The first execution is free: a program's main loop is entered once.
    return ENTRY_SECONDS * (entries - 1) + ROW_SECONDS * iterations


def judge(
    entries: int, iterations: int, seconds: float, longest: float, *, outermost: bool
) -> Verdict:
    """Whether a loop of which `iterations` took `seconds` in all is to be watched.

    The `longest` iteration does not count: it is often the first, which warms things up.  Unless
    it is so long that it cannot have been that alone.
    """
    if longest >= SURE_SECONDS:
        return "watch"
    if iterations < 2:
        return "unsure"
    if worth(entries, iterations - 1, seconds - longest, outermost=outermost):
        return "watch"
    return "tight" if iterations >= PROBE_ITERATIONS else "unsure"


def too_tight(entries: int, iterations: int, seconds: float, *, outermost: bool) -> bool:
    """Whether a watched loop should be given up, having turned out to be tight."""
    return iterations >= DEMOTE_ITERATIONS and not worth(
        entries, iterations, DEMOTE_FACTOR * seconds, outermost=outermost
    )


@dataclass(slots=True)
class Budget:
    """How much time checkpoints may cost, and have cost, the training thread."""

    share: float  #: of the run time
    grace: float = GRACE_SECONDS
    spent: float = 0.0
    taken: int = 0
    estimate: float = FIRST_ESTIMATE_SECONDS

    def allows(self, elapsed: float) -> bool:
        """Whether a checkpoint now, `elapsed` seconds into the run, keeps within the share.

        A little is allowed beyond it, less than starting us costs: a short program, too, is to
        have its entry and a few of its iterations.
        """
        return elapsed >= self.due()

    def due(self) -> float:
        """Seconds into the run from which on a checkpoint keeps within the share."""
        if self.share == 0:
            return math.inf
        return (self.spent + self.estimate - self.grace) / self.share

    def spare(self, elapsed: float) -> float:
        """Seconds that a checkpoint now may cost beyond what it has to, with as many left over.

        What checkpoints may cost beyond their share is not for this.
        """
        return max(0.0, self.share * elapsed - self.spent - self.estimate) / 2

    def charge(self, seconds: float, voluntary: float = 0.0) -> None:
        """Count a checkpoint that cost `seconds`; recent ones weigh most in the estimate.

        Of them, `voluntary` seconds were spent because there was time, and say nothing about the
        next one.
        """
        needed = max(0.0, seconds - voluntary)
        self.spent += seconds
        self.estimate = needed if self.taken == 0 else 0.5 * (self.estimate + needed)
        self.taken += 1

    def background(self, cpu_seconds: float) -> None:
        """Count processor time that writing took from the program beside it."""
        self.spent += cpu_seconds
