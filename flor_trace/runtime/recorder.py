"""Write what the loops of a recorded run do to its journal."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from flor_trace._speedups import LoopIter, frames
from flor_trace.hints import Any, Protocol
from flor_trace.runtime.checkpoints import Checkpointer, Taken
from flor_trace.runtime.config import configuration
from flor_trace.runtime.nest import Instance, target_value
from flor_trace.runtime.rows import Batch
from flor_trace.runtime.scope import Modules
from flor_trace.runtime.tracers import torch_intercepts
from flor_trace.runtime.values import scalar
from flor_trace.types import Leaving, LoopKey, Scalar

#: Rows wait in memory for no longer than this after others were written.
FLUSH_SECONDS = 0.5

#: Checkpoints that are held back until a loop has shown that it is worth watching.
MAX_PENDING = 2


class Journal(Protocol):
    """Takes frames in order; may be called from the training thread and from the writer's."""

    def append(self, frame: Mapping[str, Any]) -> None:
        """Add a frame."""


class Recorder:
    """The `Observer` of a recorded run."""

    def __init__(self, journal: Journal, modules: Modules, checkpointer: Checkpointer) -> None:
        self._journal = journal
        self._modules = modules
        self._checkpointer = checkpointer
        self._began = perf_counter()
        self._ids: dict[tuple[LoopKey, str, int], int] = {}
        self._config: Mapping[str, Scalar] | None = None
        self._configured = False
        self._flushed = self._began
        self.iterations = 0  #: of outermost watched loops
        self.varying: set[str] = set()  #: names that some loop of the program stores

    def entered(self, instance: Instance, li: LoopIter) -> None:
        """See `Observer`."""
        instance.tag = _Notes()
        if not instance.outer and not self._configured:
            self._config = configuration(frames(self._modules.filenames), self.varying)
        if instance.watched and not instance.outer:
            self._write_enter(instance)

    def watching(self, instance: Instance) -> None:
        """See `Observer`."""
        if not self._configured:
            self._configured = True
            self._journal.append({"t": "config", "values": dict(self._config or {})})
        if not instance.outer:
            self._write_enter(instance)
        pending, instance.tag.pending = instance.tag.pending, {}
        for boundary, taken in pending.items():
            self._save(instance, boundary, taken)

    def iteration_over(
        self, instance: Instance, li: LoopIter, iteration: int, values: tuple[Any, ...]
    ) -> None:
        """See `Observer`."""
        notes, now = instance.tag, perf_counter()
        batch = notes.batch
        if batch is None or not batch.fits(instance, iteration):
            self._flush(instance)
            batch = notes.batch = Batch(instance, iteration)
        at = instance.loop.target
        value = scalar(values[at]) if at >= 0 else target_value(instance, li)
        batch.add(value, instance.loop.names, values)
        # Not by the age of the batch: the one row of a slow loop must not wait for the next.
        if instance.watched and (batch.full() or now - self._flushed > FLUSH_SECONDS):
            self._flush(instance)
        if not instance.outer:
            self.iterations += 1

    def boundary(self, instance: Instance, li: LoopIter, k: int) -> None:
        """See `Observer`."""
        if k < instance.tag.not_before or len(instance.tag.pending) == MAX_PENDING:
            return
        last = li.expected == k and k > 0
        if not (self._checkpointer.allowed() or (last and self._cheap(instance))):
            return
        taken = self._checkpointer.take()
        if instance.watched:
            self._save(instance, k, taken)
        else:
            instance.tag.pending[k] = taken

    def left(self, instance: Instance, li: LoopIter, how: Leaving) -> None:
        """See `Observer`."""
        self._flush(instance)
        if instance.outer or not instance.watched:
            return
        if how == "left" and instance.tag.saved < li.n and self._worth_exit(instance):
            self._save(instance, li.n, self._checkpointer.take())
        self._journal.append(
            {
                "t": "leave",
                "loop": self.identify(instance),
                "outer": [],
                "iterations": li.n,
                "how": how,
                "seconds": instance.seconds,
            }
        )

    def gave_up(self, instance: Instance, why: str) -> None:
        """See `Observer`."""
        if instance.tag is not None:
            self._flush(instance)
        self.lost(f"iterations of loop {instance.loop.info.key} from {instance.iteration} on", why)

    def lost(self, what: str, why: str) -> None:
        """Write down that something could not be recorded."""
        self._journal.append({"t": "lost", "what": what, "why": why})

    def identify(self, instance: Instance) -> int:
        """The number under which the journal knows the loop of `instance`."""
        key = (instance.loop.info.key, instance.dimension, instance.nth)
        number = self._ids.get(key)
        if number is None:
            number = self._ids[key] = len(self._ids)
            self._journal.append(
                {
                    "t": "loop",
                    "id": number,
                    "key": instance.loop.info.key,
                    "dim": instance.dimension,
                    "line": instance.loop.info.span[0],
                    "nth": instance.nth,
                }
            )
        return number

    def _write_enter(self, instance: Instance) -> None:
        number = self.identify(instance)
        at = instance.started - self._began
        self._journal.append({"t": "enter", "loop": number, "outer": [], "at": at})

    def _flush(self, instance: Instance) -> None:
        batch, instance.tag.batch = instance.tag.batch, None
        if batch is not None and instance.watched and (batch.columns or not instance.outer):
            self._flushed = perf_counter()
            frame = batch.frame(instance, self.identify)
            if not instance.outer:  # how long the loop has run, should the program be killed in it
                frame["at"] = perf_counter() - self._began
            self._journal.append(frame)

    def _cheap(self, instance: Instance) -> bool:
        """Whether a checkpoint of the exit may go a little over the budget, if there is one."""
        budget, elapsed = self._checkpointer.budget, perf_counter() - instance.started
        is_cheap = budget.share > 0 and budget.estimate < 0.05 * elapsed
        return is_cheap and not torch_intercepts()

    def _worth_exit(self, instance: Instance) -> bool:
        may = self._checkpointer.allowed() or self._cheap(instance)
        return may and not instance.tag.not_before

    def _save(self, instance: Instance, boundary: int, taken: Taken) -> None:
        number = self.identify(instance)

        def saved(done: Taken) -> None:
            assert done.manifest is not None
            assert done.digest is not None
            self._journal.append(
                {
                    "t": "checkpoint",
                    "loop": number,
                    "outer": [],
                    "boundary": boundary,
                    "manifest": done.manifest,
                    "digest": done.digest.hex(),
                    "opaque": list(done.graph.opaque),
                    "seconds": done.seconds,
                    "bytes": done.nbytes,
                }
            )

        instance.tag.saved = boundary
        if taken.graph.opaque:  # of no use to a replay, and the next will hardly be better
            instance.tag.not_before = 2 * boundary + 1
        if not self._checkpointer.save(taken, saved):
            self.lost(
                f"checkpoint at boundary {boundary}", "the writer is behind; memory is bounded"
            )


class _Notes:
    """What the recorder remembers about one loop instance."""

    __slots__ = ("batch", "not_before", "pending", "saved")

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.pending: dict[int, Taken] = {}  #: by boundary, of a loop that is not watched yet
        self.saved = -1
        self.not_before = 0  #: the boundary from which on another checkpoint may be tried
