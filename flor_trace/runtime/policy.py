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

#: So many times as long as it has run so far, a program may run on with the disk that is left.
HORIZON = 1000.0

NO_LIMIT = 1 << 63

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
    """How much time and disk checkpoints may cost, and have cost.

    Time: at any moment what was spent is at most the share of the time since the start, and the
    grace, and by how much the last checkpoint was dearer than thought; that the first one costs
    more than the share of a short time cannot be helped.  Disk: `written` never exceeds `disk`.
    Nobody knows how long a program will run.  So what is left of the disk is spread over `HORIZON`
    times the time so far: checkpoints come at moments that grow by a factor, and that factor grows
    as the disk fills.  They are never further apart than the time budget makes them, or that
    factor: between the moments `t` and `u` of two checkpoints, and one iteration of the loop.
    """

    share: float  #: of the run time
    grace: float = GRACE_SECONDS
    disk: int = NO_LIMIT  #: bytes
    spent: float = 0.0
    taken: int = 0
    estimate: float = FIRST_ESTIMATE_SECONDS  #: of what the next one holds up the program
    beside: float = 0.0  #: the same for what writing it takes from the program
    written: int = 0  #: bytes
    promised: int = 0  #: bytes that are on their way and may all have to be written
    growth: float = 0.0  #: bytes that the next one is thought to write
    last: float = 0.0  #: seconds into the run at which the last one was taken
    _lately: float = 0.0  #: what writing has taken since then

    def allows(self, elapsed: float) -> bool:
        """Whether a checkpoint now, `elapsed` seconds into the run, keeps within the budgets.

        A little is allowed beyond the share, less than starting us costs: a short program, too, is
        to have its entry and a few of its iterations.
        """
        return elapsed >= self.due()

    def due(self) -> float:
        """Seconds into the run from which on a checkpoint keeps within the budgets."""
        return max(self.due_by_time(), self.due_by_disk())

    def due_by_time(self) -> float:
        """Seconds into the run from which on a checkpoint keeps within the share."""
        if self.share == 0:
            return math.inf
        return (self.spent + self.estimate + self.beside - self.grace) / self.share

    def due_by_disk(self) -> float:
        """Seconds into the run from which on a checkpoint leaves disk for those to come."""
        if not self.growth:
            return 0.0
        left = (self.disk - self.written - self.promised) / self.growth
        return self.last * math.exp(math.log(HORIZON) / left) if left >= 1 else math.inf

    def spare(self, elapsed: float) -> float:
        """Seconds that a checkpoint now may cost beyond what it has to, with as many left over.

        What checkpoints may cost beyond their share is not for this.
        """
        needed = self.spent + self.estimate + self.beside
        return max(0.0, self.share * elapsed - needed) / 2

    def charge(self, seconds: float, voluntary: float = 0.0, *, at: float = 0.0) -> None:
        """Count a checkpoint that held up the program for `seconds`; recent ones weigh most.

        Of them, `voluntary` seconds were spent because there was time, and say nothing about the
        next one.  It was taken `at` seconds into the run.
        """
        needed = max(0.0, seconds - voluntary)
        self.spent += seconds
        self.estimate = needed if self.taken == 0 else 0.5 * (self.estimate + needed)
        self.beside = self._lately if self.taken <= 1 else 0.5 * (self.beside + self._lately)
        self._lately = 0.0
        self.taken += 1
        self.last = at

    def background(self, seconds: float) -> None:
        """Count what writing has taken from the program beside it."""
        self.spent += seconds
        self._lately += seconds

    def promise(self, nbytes: int) -> bool:
        """Set aside disk for a checkpoint that may write so many bytes; False if there is none."""
        if self.written + self.promised + nbytes > self.disk:
            return False
        self.promised += nbytes
        return True

    def stored(self, promised: int, written: int | None) -> None:
        """Count what a checkpoint has written of what was promised to it; None if it was not."""
        self.promised = max(0, self.promised - promised)
        if written is not None:
            self.written += written
            self.growth = written if self.growth == 0 else 0.5 * (self.growth + written)
