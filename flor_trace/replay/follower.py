"""Lead a re-run of the program along a plan: skip, restore, execute, ask, compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flor_trace._speedups import LoopIter, running
from flor_trace.replay.asking import Asker
from flor_trace.replay.plan import Plan, Step
from flor_trace.replay.recorded import OutermostRun, RecordedRun, SavedState
from flor_trace.replay.restoring import StateKeeper
from flor_trace.replay.verdicts import Verdicts
from flor_trace.runtime.nest import Instance
from flor_trace.types import Leaving, StackFrame


class Finish(Protocol):
    """Ends the replay; does not return."""

    def __call__(self, *, complete: bool) -> None:
        """End it; `complete` when the whole plan was carried out."""


class Follower:
    """The `Observer` of a replay, and the `Control` of the loop that the plan steps through.

    A `for` loop is stepped through: its items are consumed as they were, the bodies of iterations
    that are not to be executed are jumped over, and the state at boundary *k* is restored where
    the skipped body of iteration *k* - 1 would have ended.  A `while` loop has nothing to
    consume: its first iteration becomes whichever is wanted.
    """

    def __init__(
        self,
        run: RecordedRun,
        plan: Plan,
        keeper: StateKeeper,
        asker: Asker,
        verdicts: Verdicts,
        finish: Finish,
    ) -> None:
        self._stage: OutermostRun = run.outermost[plan.loop]
        self._is_while = run.infos[self._stage.loop.key].kind == "while"
        self._targets = run.infos[self._stage.loop.key].targets
        self._steps = list(plan.steps)
        self._next = 0
        self._keeper = keeper
        self._asker = asker
        self._verdicts = verdicts
        self._finish = finish
        self._instance: Instance | None = None
        self._valid = True  #: the live state is the recorded one, as far as we know
        self._executing = False
        self._values: Mapping[str, Any] = {}
        self._restored: int | None = None
        self._entry_pending = False
        self._fresh = False  #: nothing was executed since a state was put in place

    @property
    def restoring(self) -> int | None:
        """The boundary whose state was last to be restored."""
        done = [step.first for step in self._steps[: self._next + 1] if step.kind == "restore"]
        return done[-1] if done else None

    # -- Observer -----------------------------------------------------------------------------

    def entered(self, instance: Instance, li: LoopIter) -> None:
        """See `Observer`."""
        if self._is_stage(instance):
            self._instance = instance

    def watching(self, instance: Instance) -> None:
        """See `Observer`: all loops of a replay are watched from the start."""

    def gave_up(self, instance: Instance, why: str) -> None:
        """See `Observer`: cannot happen, as replays do not judge loops."""

    def iteration_over(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        """See `Observer`."""
        if not self._in_play(instance):
            return
        self._verdicts.compare_row(instance, iteration, li.lookup(instance.loop.names))
        self._asker.at_end(instance, li, iteration)

    def boundary(self, instance: Instance, li: LoopIter, k: int) -> None:
        """See `Observer`."""
        if instance is not self._instance:
            return
        if k == 0:
            self._at_entry()
        elif self._executing:
            self._after_execution(k)

    def left(self, instance: Instance, li: LoopIter, how: Leaving) -> None:
        """See `Observer`."""
        if instance is self._instance and how != "raised":
            if self._executing:
                self._after_execution(li.n)
            self._finish(complete=self._step is None)

    def at_spot(self, frame: StackFrame) -> None:
        """The program came to the place that is asked at, in `frame`."""
        for li in reversed(running()):
            instance = li.tag
            if isinstance(instance, Instance):
                if self._in_play(instance):
                    self._asker.at_spot(instance, li, frame)
                return

    def _is_stage(self, instance: Instance) -> bool:
        loop = self._stage.loop
        return not instance.outer and (instance.loop.info.key, instance.nth) == (loop.key, loop.nth)

    def _in_play(self, instance: Instance) -> bool:
        """Whether what this loop does now is part of an executed iteration of the stage."""
        outermost = instance.outer[0] if instance.outer else instance
        return self._executing and outermost is self._instance

    # -- the plan -----------------------------------------------------------------------------

    @property
    def _step(self) -> Step | None:
        return self._steps[self._next] if self._next < len(self._steps) else None

    def _at_entry(self) -> None:
        """Restore the entry of a `for` loop, before its first item is fetched.

        Only what needs no assignment is restored here; `due` sees to the locals.
        """
        step = self._step
        if self._is_while or step is None or (step.kind, step.first) != ("restore", 0):
            return
        state = self._stage.states[0]
        names = self._keeper.restore(state)
        self._restored_as(state, self._keeper.differences(state, but_locals=True))
        self._values = {k: v for k, v in names.items() if k not in self._targets}
        self._entry_pending = True
        self._next += 1

    def _after_execution(self, k: int) -> None:
        """Iteration `k` - 1 was executed: compare, and stop or go on."""
        if k in self._stage.states:
            self._compare(self._stage.states[k])
        step = self._step
        if step is not None and step.kind == "execute" and step.last == k - 1:
            self._next += 1
            self._executing = False
        if self._done(k):
            self._finish(complete=True)

    def _restored_as(self, state: SavedState, differences: Sequence[str]) -> None:
        self._verdicts.restored(state.boundary, differences)
        if not state.confirmed:
            self._verdicts.unconfirmed()

    def _compare(self, state: SavedState) -> None:
        """Compare with a saved state; one that may itself be wrong can only agree."""
        differences = self._keeper.differences(state)
        if state.confirmed or not differences:
            self._verdicts.compare_state(state.boundary, differences)

    def _done(self, k: int) -> bool:
        """Whether nothing is left to do at boundary `k`."""
        return self._step is None and not self._asker.wants_start(k)

    # -- Control ------------------------------------------------------------------------------

    def due(self) -> bool:
        """See `Control`: whether the iteration that begins now is anything but executed."""
        assert self._instance is not None
        if self._entry_pending:
            live = self._stage_loop().locals() or {}  # the item that was just fetched is kept
            kept = {name: live[name] for name in self._targets if name in live}
            self._values = {**self._values, **kept}
            return True
        j = self._instance.iteration
        if self._valid:
            self._ask_start(j)
        step = self._step
        if step is not None and step.kind == "execute" and step.first <= j:
            self._executing, self._fresh = True, False
            return False
        self._prepare(step, j)
        return True

    def _prepare(self, step: Step | None, j: int) -> None:
        """Restore what follows on iteration `j`, or nothing if that is not wanted yet."""
        if step is not None and (self._is_while or step.first == j + 1):
            self._values = self._keeper.restore(self._stage.states[step.first])
            self._restored = step.first
            self._next += 1
            return
        self._valid = False
        self._values = self._stage_loop().locals() or {}

    def unbound(self, name: str) -> bool:
        """See `Control`."""
        return name not in self._values

    def value(self, name: str) -> Any:
        """See `Control`."""
        return self._values[name]

    def skip(self) -> bool:
        """See `Control`: the locals have their values; ask, then go where the plan goes."""
        self._values = {}
        if self._entry_pending:
            self._entry_pending, self._executing = False, True
            self._ask_start(0)
            return False
        boundary, self._restored = self._restored, None
        if boundary is None:
            return True
        assert self._instance is not None
        self._valid = self._fresh = True
        state = self._stage.states[boundary]
        self._restored_as(state, self._keeper.differences(state))
        self._asker.at_end(self._instance, self._stage_loop(), boundary - 1)
        self._verdicts.at_once()
        if self._done(boundary):
            self._finish(complete=True)
        return self._teleport(boundary) if self._is_while else True

    def _teleport(self, boundary: int) -> bool:
        """Make the `while` iteration that begins now that of `boundary`; True to begin another."""
        assert self._instance is not None
        li, step = self._stage_loop(), self._step
        self._instance.iteration = boundary
        self._ask_start(boundary)
        if step is not None and step.kind == "execute" and step.first == boundary:
            li.n = boundary + 1
            self._executing, self._fresh = True, False
            return False
        li.n = boundary
        return True

    def _ask_start(self, j: int) -> None:
        if not self._asker.wants_start(j):
            return
        assert self._instance is not None
        self._asker.at_start(self._instance, self._stage_loop(), j)
        if self._fresh:
            self._verdicts.at_once()
        if self._step is None:
            self._finish(complete=True)

    def _stage_loop(self) -> LoopIter:
        return next(li for li in running() if li.tag is self._instance)
