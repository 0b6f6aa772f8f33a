"""Choose, for the wanted iterations of a run, what is restored and what is executed: arithmetic."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from flor_trace.replay.recorded import OutermostRun, RecordedRun, SavedState

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
    run: RecordedRun,
    stage: OutermostRun,
    wanted: Collection[int],
    *,
    inner: bool,
    start: bool = False,
    avoid: Collection[int] = (),
    prove: bool = True,
) -> Plan:
    """Plan for asking at iterations `wanted` of the loop `stage`.

    Asking at the end of iteration *i* needs the state at boundary *i* + 1, at its start that at
    boundary *i*; asking inside of it needs the iteration to be executed.  Checkpoints with opaque
    values, and those to `avoid` because they are damaged, are not used.

    To `prove` an executed stretch, the iteration that leads from it to a wanted checkpoint is
    executed too, so that the state that it reaches can be compared with the saved one.
    """
    usable = {
        boundary: state
        for boundary, state in stage.states.items()
        if not state.opaque and boundary not in avoid
    }
    plan = Plan(stage.loop.number, setup_seconds=stage.entered_at)
    reached: int | None = None  # the boundary at which the live state is right; None: not begun
    unproven = False  # something was executed since a state was compared
    for iteration in sorted(wanted):
        boundary = iteration if start else iteration + 1
        if boundary == 0 and not inner:  # the loop is entered in that state
            reached = 0
            continue
        spared = not inner and boundary != reached and boundary in usable
        if spared and not (prove and unproven and reached == boundary - 1):
            plan.steps.append(_restore(usable[boundary]))
            reached, unproven = boundary, False
            continue
        target = iteration + 1 if inner else boundary
        if reached is not None and reached >= target:
            continue
        source = max((b for b in usable if b <= (iteration if inner else target)), default=None)
        if spared:
            source = None
        if source is not None and (reached is None or source > reached):
            plan.steps.append(_restore(usable[source]))
            reached = source
        begin = reached or 0
        if begin < target:
            _execute(plan, begin, target - 1, stage.seconds_each)
            unproven = target not in usable
        reached = target
    return plan


def _restore(state: SavedState) -> Step:
    seconds = RESTORE_SECONDS + state.nbytes / RESTORE_RATE
    return Step("restore", state.boundary, state.boundary, seconds)


def _execute(plan: Plan, first: int, last: int, seconds_each: float) -> None:
    previous = plan.steps[-1] if plan.steps else None
    if previous is not None and previous.kind == "execute" and previous.last == first - 1:
        plan.steps.pop()
        first = previous.first
    plan.steps.append(Step("execute", first, last, (last - first + 1) * seconds_each))
