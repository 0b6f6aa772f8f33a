"""Write what the loops of a recorded run do to its journal."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Mapping
from time import perf_counter

from flor_trace._speedups import LoopIter, frames
from flor_trace.hints import Any, Protocol
from flor_trace.runtime.checkpoints import Checkpointer, Taken
from flor_trace.runtime.config import configuration
from flor_trace.runtime.guard import Guard
from flor_trace.runtime.nest import JUDGE_EVERY, Instance
from flor_trace.runtime.rows import Rows
from flor_trace.runtime.scope import Modules
from flor_trace.runtime.tracers import torch_intercepts
from flor_trace.runtime.values import read
from flor_trace.types import Leaving, LoopKey, Scalar

#: Rows wait in memory for no longer than this after others were written.
FLUSH_SECONDS = 0.5

#: Checkpoints that are held back until a loop has shown that it is worth watching.
MAX_PENDING = 2


class Journal(Protocol):
    """Takes frames in order; may be called from the training thread and from the writer's."""

    def append(self, frame: Mapping[str, Any]) -> None:
        """Add a frame."""


class Shared:
    """What the recorders of all threads of a run have in common."""

    def __init__(self, journal: Journal, modules: Modules, guard: Guard) -> None:
        self.journal = journal
        self.modules = modules
        self.guard = guard
        self.began = perf_counter()
        self.config: Mapping[str, Scalar] | None = None
        self.configured = False
        self.iterations = 0  #: of outermost watched loops
        self.varying: set[str] = set()  #: names that some loop of the program stores
        self.open: dict[Instance, Recorder] = {}  #: instances that may have rows to be written
        self._ids: dict[tuple[LoopKey, str, int, str], int] = {}
        self._lock = allocate_lock()

    def read(self, value: Any) -> Any:
        """The scalar of a value, as `Columns` wants it; a type that we fail at has none."""
        return self.guard.value("reading a value", read, value, NotImplemented)

    def lost(self, what: str, why: str) -> None:
        """Write down that something could not be recorded."""
        self.journal.append({"t": "lost", "what": what, "why": why})

    def identify(self, instance: Instance, thread: str) -> int:
        """The number under which the journal knows the loop of `instance`."""
        key = (instance.loop.info.key, instance.dimension, instance.nth, thread)
        number = self._ids.get(key)
        if number is not None:
            return number
        with self._lock:  # the journal tells of each number once, and in order
            number = self._ids[key] = len(self._ids)
            frame = {
                "t": "loop",
                "id": number,
                "key": key[0],
                "dim": instance.dimension,
                "line": instance.loop.info.span[0],
                "nth": instance.nth,
            }
            self.journal.append({**frame, "thread": thread} if thread else frame)
        return number

    def flush(self) -> None:
        """Write the rows of loops that still run."""
        for instance, recorder in list(self.open.items()):
            recorder.flush(instance)


class Recorder:
    """The `Observer` of one thread of a recorded run."""

    def __init__(
        self, shared: Shared, checkpointer: Checkpointer | None, *, thread: str = ""
    ) -> None:
        self._shared = shared
        self._journal = shared.journal
        self._checkpointer = checkpointer  #: None for other threads than the main one
        self._thread = thread
        self._flushed = shared.began

    def entered(self, instance: Instance, li: LoopIter) -> None:
        """See `Observer`."""
        shared = self._shared
        instance.tag = _Notes()
        if not instance.outer and not shared.configured:
            shared.config = configuration(frames(shared.modules.filenames), shared.varying)
        if instance.watched and not instance.outer:
            self._write_enter(instance)

    def watching(self, instance: Instance) -> None:
        """See `Observer`."""
        shared = self._shared
        if not shared.configured:
            shared.configured = True
            self._journal.append({"t": "config", "values": dict(shared.config or {})})
        if not instance.outer:
            self._write_enter(instance)
        pending, instance.tag.pending = instance.tag.pending, {}
        for boundary, taken in pending.items():
            self._save(instance, boundary, taken)

    def iteration_over(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        """See `Observer`."""
        notes = instance.tag
        rows = notes.rows
        if rows is None:
            rows = notes.rows = Rows(instance, li, self._shared.read)
            self._shared.open[instance] = self
        if not rows.has(iteration):
            if not rows.fits(instance, iteration):
                self.flush(instance)
            rows.add(instance, li, iteration)
        if not instance.outer:
            self._shared.iterations += iteration + 1 - notes.counted
            notes.counted = iteration + 1
        if instance.watched:
            # Not by the age of the rows: the one row of a slow loop must not wait for the next.
            if rows.full() or perf_counter() - self._flushed > FLUSH_SECONDS:
                self.flush(instance)
            if instance.outer:
                rows.fill(li, li.n + JUDGE_EVERY, self._flushed + FLUSH_SECONDS)

    def boundary(self, instance: Instance, li: LoopIter, k: int) -> None:
        """See `Observer`."""
        if self._checkpointer is not None and self._is_due(self._checkpointer, instance, li, k):
            taken = self._take(self._checkpointer)
            if taken is None:
                pass
            elif instance.watched:
                self._save(instance, k, taken)
            else:
                instance.tag.pending[k] = taken
        if instance.watched and instance.tag.rows is not None:
            instance.tag.rows.fill(li, *self._until(instance, li))

    def _take(self, checkpointer: Checkpointer) -> Taken | None:
        """Take a checkpoint; after one that cannot be taken there are no more, but all else."""
        taken: list[Taken] = []
        if self._shared.guard.call("taking checkpoints", lambda: taken.append(checkpointer.take())):
            return taken[0]
        self._checkpointer = None
        return None

    def _is_due(self, checkpointer: Checkpointer, instance: Instance, li: LoopIter, k: int) -> bool:
        if k < instance.tag.not_before or len(instance.tag.pending) == MAX_PENDING:
            return False
        last = li.expected == k and k > 0
        return checkpointer.allowed() or (last and self._cheap(checkpointer, instance))

    def _until(self, instance: Instance, li: LoopIter) -> tuple[int, float]:
        """The iteration and the time at which an outermost loop is to be heard of again."""
        until, deadline = li.n + JUDGE_EVERY, self._flushed + FLUSH_SECONDS
        if self._checkpointer is not None:
            if li.expected > li.n:
                until = min(until, li.expected)
            if instance.tag.not_before > li.n:
                until = min(until, instance.tag.not_before)
            else:
                deadline = min(deadline, self._checkpointer.due())
        return until, deadline

    def left(self, instance: Instance, li: LoopIter, how: Leaving) -> None:
        """See `Observer`."""
        self._count(instance, li.n if how != "raised" else li.n - 1)
        self.flush(instance)
        self._shared.open.pop(instance, None)
        if instance.outer or not instance.watched:
            return
        checkpointer = self._checkpointer
        if how == "left" and checkpointer and self._worth_exit(checkpointer, instance, li):
            taken = self._take(checkpointer)
            if taken is not None:
                self._save(instance, li.n, taken)
        if checkpointer is not None and instance.tag.saved >= 0:
            self._shared.guard.call("looking at constants again", checkpointer.confirm)
        self._journal.append(
            {
                "t": "leave",
                "loop": self._identify(instance),
                "outer": [],
                "iterations": li.n,
                "how": how,
                "seconds": instance.seconds,
            }
        )

    def gave_up(self, instance: Instance, why: str) -> None:
        """See `Observer`."""
        if instance.tag is not None:
            self.flush(instance)
        self._shared.open.pop(instance, None)
        self._shared.lost(
            f"iterations of loop {instance.loop.info.key} from {instance.iteration} on", why
        )

    def _identify(self, instance: Instance) -> int:
        return self._shared.identify(instance, self._thread)

    def _count(self, instance: Instance, iterations: int) -> None:
        if not instance.outer and instance.watched:
            self._shared.iterations += max(iterations - instance.tag.counted, 0)
            instance.tag.counted = iterations

    def _write_enter(self, instance: Instance) -> None:
        number = self._identify(instance)
        at = instance.started - self._shared.began
        self._journal.append({"t": "enter", "loop": number, "outer": [], "at": at})

    def flush(self, instance: Instance) -> None:
        """Write the rows of `instance` that are not in the journal yet."""
        rows = instance.tag.rows
        if rows is None or not rows.count:
            return
        if not instance.watched:
            rows.discard()
            return
        frame = rows.frame(instance, self._identify)
        if not (frame["cols"] or not instance.outer):
            return
        self._flushed = perf_counter()
        if not instance.outer:  # how long the loop has run, should the program be killed in it
            frame["at"] = self._flushed - self._shared.began
        self._journal.append(frame)

    @staticmethod
    def _cheap(checkpointer: Checkpointer, instance: Instance) -> bool:
        """Whether a checkpoint of the exit may go a little over the budget, if there is one."""
        budget, elapsed = checkpointer.budget, perf_counter() - instance.started
        is_cheap = budget.share > 0 and budget.estimate < 0.05 * elapsed
        return is_cheap and not torch_intercepts()

    def _worth_exit(self, checkpointer: Checkpointer, instance: Instance, li: LoopIter) -> bool:
        if instance.tag.saved >= li.n or instance.tag.not_before:
            return False
        return checkpointer.allowed() or self._cheap(checkpointer, instance)

    def _save(self, instance: Instance, boundary: int, taken: Taken) -> None:
        checkpointer = self._checkpointer
        assert checkpointer is not None
        number = self._identify(instance)
        at = perf_counter() - self._shared.began

        def saved(done: Taken) -> None:
            assert done.manifest is not None
            assert done.digest is not None
            frame = {
                "t": "checkpoint",
                "loop": number,
                "outer": [],
                "boundary": boundary,
                "manifest": done.manifest,
                "digest": done.digest.hex(),
                "opaque": list(done.graph.opaque),
                "seconds": done.seconds,
                "bytes": done.nbytes,
                "new": done.stored,
                "beside": done.beside,
                "at": at,
            }
            if done.assumed:
                frame |= {"take": done.number, "assumed": done.assumed}
            self._journal.append(frame)

        instance.tag.saved = boundary
        if taken.graph.opaque:  # of no use to a replay, and the next will hardly be better
            instance.tag.not_before = 2 * boundary + 1
        checkpointer.save(taken, saved)


class _Notes:
    """What the recorder remembers about one loop instance."""

    __slots__ = ("counted", "not_before", "pending", "rows", "saved")

    def __init__(self) -> None:
        self.rows: Rows | None = None
        self.counted = 0  #: iterations, of an outermost loop
        self.pending: dict[int, Taken] = {}  #: by boundary, of a loop that is not watched yet
        self.saved = -1
        self.not_before = 0  #: the boundary from which on another checkpoint may be tried
