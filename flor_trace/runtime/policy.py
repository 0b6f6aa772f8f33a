"""Decide which loops are watched and which boundaries are worth a checkpoint: pure arithmetic."""

from __future__ import annotations

from flor_trace.hints import Literal
from flor_trace.records import dataclass

#: Reporting an iteration costs a microsecond or two; a loop is watched when its iterations take
#: long enough for that not to matter.  An outermost loop may be the whole of a small program, so
#: it is allowed a larger share.
WATCH_SECONDS = 100e-6
WATCH_SECONDS_OUTERMOST = 50e-6

#: An iteration of this length makes a loop worth watching.
SURE_SECONDS = 20e-3

#: Iterations of one loop, over all its instances, after which it must have shown itself.
PROBE_ITERATIONS = 32

#: A watched loop that turns out to be this tight over `DEMOTE_ITERATIONS` rows is given up.
DEMOTE_SECONDS = 40e-6
DEMOTE_SECONDS_OUTERMOST = 10e-6
DEMOTE_ITERATIONS = 4096

#: What a checkpoint is thought to cost before one was taken.
FIRST_ESTIMATE_SECONDS = 5e-3

#: What all checkpoints together may cost beyond their share of the run time.
GRACE_SECONDS = 25e-3

Verdict = Literal["watch", "tight", "unsure"]


def judge(iterations: int, seconds: float, longest: float, *, outermost: bool) -> Verdict:
    """Whether a loop of which `iterations` took `seconds` in all is to be watched.

    The `longest` iteration does not count: it is often the first, which warms things up.  Unless
    it is so long that it cannot have been that alone.
    """
    if longest >= SURE_SECONDS:
        return "watch"
    if iterations < 2:
        return "unsure"
    limit = WATCH_SECONDS_OUTERMOST if outermost else WATCH_SECONDS
    if seconds - longest >= limit * (iterations - 1):
        return "watch"
    return "tight" if iterations >= PROBE_ITERATIONS else "unsure"


def too_tight(iterations: int, seconds: float, *, outermost: bool) -> bool:
    """Whether a watched loop should be given up, having turned out to be tight."""
    limit = DEMOTE_SECONDS_OUTERMOST if outermost else DEMOTE_SECONDS
    return iterations >= DEMOTE_ITERATIONS and seconds < limit * iterations


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
        if self.share == 0:
            return False
        return self.spent + self.estimate <= self.share * elapsed + self.grace

    def charge(self, seconds: float) -> None:
        """Count a checkpoint that cost `seconds`; recent ones weigh most in the estimate."""
        self.spent += seconds
        self.estimate = seconds if self.taken == 0 else 0.5 * (self.estimate + seconds)
        self.taken += 1
