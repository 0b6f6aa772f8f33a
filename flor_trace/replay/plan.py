"""Choose, for the wanted iterations of a run, what is restored and what is executed: arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from flor_trace.replay.recorded import OutermostRun, SavedState

StepKind = Literal["restore", "execute"]

#: Bytes a second that reading and restoring a checkpoint is thought to give.
RESTORE_RATE = 200e6
RESTORE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Step:
    """Restore the state at boundary `first`, or execute iterations `first` to `last`."""

    kind: StepKind
    first: int
    last: int
    seconds: float


@dataclass(slots=True)
class Plan:
    """What one worker does with one run."""

    loop: int  #: number of the loop that is stepped through
    steps: list[Step] = field(default_factory=list)
    setup_seconds: float = 0.0  #: until the loop is reached

    @property
    def kind(self) -> str:
        """``restore`` if no body of the loop runs, ``re-execute`` if some do, else ``rerun``."""
        executed = [step for step in self.steps if step.kind == "execute"]
        if not executed:
            return "restore"
        return "re-execute" if any(s.kind == "restore" for s in self.steps) else "rerun"

    @property
    def seconds(self) -> float:
        """Estimated time."""
        return self.setup_seconds + sum(step.seconds for step in self.steps)

    @property
    def executed(self) -> int:
        """How many iterations are executed again."""
        return sum(step.last - step.first + 1 for step in self.steps if step.kind == "execute")

    @property
    def restored(self) -> int:
        """How many checkpoints are restored."""
        return sum(step.kind == "restore" for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Plain data, for the worker and for ``--json``."""
        return {"kind": self.kind, "seconds": self.seconds, **asdict(self)}


def make_plan(
    stage: OutermostRun,
    wanted: Collection[int],
    *,
    inner: bool,
    start: bool = False,
    avoid: Collection[int] = (),
    prove: bool = True,
    unconfirmed: bool = False,
) -> Plan:
    """Plan for asking at iterations `wanted` of the loop `stage`.

    Asking at the end of iteration *i* needs the state at boundary *i* + 1, at its start that at
    boundary *i*; asking inside of it needs the iteration to be executed.  Checkpoints with opaque
    values, and those to `avoid` because they are damaged, are not used; those that rest on an
    assumption which is `unconfirmed` only if that is wanted.

    To `prove` an executed stretch, the iteration that leads from it to a wanted checkpoint is
    executed too, so that the state that it reaches can be compared with the saved one.
    """
    usable = {
        boundary: state
        for boundary, state in stage.states.items()
        if not state.opaque and boundary not in avoid and (state.confirmed or unconfirmed)
    }
    making = _Making(stage, usable, prove=prove)
    for iteration in sorted(wanted):
        if inner:
            making.reach(iteration + 1, source_up_to=iteration)
        elif start and iteration == 0:
            making.reached = 0  # the loop is entered in that state
        else:
            making.restore_or_reach(iteration if start else iteration + 1)
    return making.plan


class _Making:
    """A plan while it grows, from the first wanted boundary to the last."""

    def __init__(
        self, stage: OutermostRun, usable: Mapping[int, SavedState], *, prove: bool
    ) -> None:
        self.plan = Plan(stage.loop.number, setup_seconds=stage.entered_at)
        self.reached: int | None = None  #: where the live state is right; None: not begun
        self._unproven = False  #: something was executed since a state was compared
        self._prove = prove
        self._seconds_each = stage.seconds_each
        self._usable = usable

    def restore_or_reach(self, boundary: int) -> None:
        """Have the state at `boundary`, executing no more than is needed or proves something."""
        if boundary not in self._usable:
            self.reach(boundary, source_up_to=boundary)
        elif self._prove and self._unproven and self.reached == boundary - 1:
            self._execute(boundary)
        elif self.reached != boundary:
            self._restore(boundary)

    def reach(self, boundary: int, *, source_up_to: int) -> None:
        """Execute up to `boundary`, from the best state that is not beyond `source_up_to`."""
        if self.reached is not None and self.reached >= boundary:
            return
        source = max((b for b in self._usable if b <= source_up_to), default=None)
        if source is not None and (self.reached is None or source > self.reached):
            self._restore(source)
        self._execute(boundary)

    def _restore(self, boundary: int) -> None:
        seconds = RESTORE_SECONDS + self._usable[boundary].nbytes / RESTORE_RATE
        self.plan.steps.append(Step("restore", boundary, boundary, seconds))
        self.reached, self._unproven = boundary, False

    def _execute(self, boundary: int) -> None:
        """Execute from where we are to `boundary`, as one step with what was executed before."""
        first = self.reached or 0
        previous = self.plan.steps[-1] if self.plan.steps else None
        if previous is not None and previous.kind == "execute" and previous.last == first - 1:
            self.plan.steps.pop()
            first = previous.first
        seconds = (boundary - first) * self._seconds_each
        self.plan.steps.append(Step("execute", first, boundary - 1, seconds))
        self.reached, self._unproven = boundary, boundary not in self._usable
