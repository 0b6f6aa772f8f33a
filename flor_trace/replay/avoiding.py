"""Go without the checkpoints of a run that turn out to be unusable."""

from __future__ import annotations

from collections.abc import Callable, Collection

from flor_trace.replay.plan import Plan
from flor_trace.replay.recorded import OutermostRun
from flor_trace.state.closure import Soundness
from flor_trace.store.layout import Store
from flor_trace.store.reader import PackReader
from flor_trace.types import Address

#: After so many checkpoints that can be read but do not fit, none is tried any more.
MOST_MISFITS = 5

Planning = Callable[[Collection[int]], Plan]


class Unusable:
    """What is known of the checkpoints of one loop that cannot be restored."""

    def __init__(self, store: Store, stage: OutermostRun) -> None:
        self._store = store
        self._stage = stage
        self._sound: Soundness | None = None
        self._misfits = 0
        self.found: dict[int, str] = {}  #: by boundary, why

    def plan_without(self, boundary: int, why: str, planning: Planning) -> Plan:
        """Note one, and return a plan that restores none that cannot be read.

        Where one is damaged others often are, so those of the plan are read before it is tried.
        """
        self._note(boundary, why)
        while True:
            plan = planning(self.found)
            more = self._unreadable(plan)
            if not more:
                return plan
            self.found |= more

    def _note(self, boundary: int, why: str) -> None:
        self.found[boundary] = why
        readable = not self._lacking(boundary)
        self._misfits += readable
        if self._misfits == MOST_MISFITS:
            others = {k: "it was not tried" for k in self._stage.states if k not in self.found}
            self.found |= others

    def _unreadable(self, plan: Plan) -> dict[int, str]:
        restored = [step.first for step in plan.steps if step.kind == "restore"]
        return {k: next(iter(why.values())) for k in restored if (why := self._lacking(k))}

    def _lacking(self, boundary: int) -> dict[Address, str]:
        self._sound = self._sound or Soundness(PackReader(self._store))
        return self._sound.lacking(self._stage.states[boundary].manifest)

    def notes(self) -> list[str]:
        """What to tell people, if there is anything."""
        if not self.found:
            return []
        one = len(self.found) == 1
        names = ", ".join(map(str, sorted(self.found)))
        which = f"checkpoint at boundary {names}" if one else f"checkpoints at boundaries {names}"
        return [
            f"the {which} of {self._stage.loop.key} {'is' if one else 'are'} not usable "
            f"({next(iter(self.found.values()))}); what was executed instead began at "
            f"{'an earlier one' if one else 'earlier ones'} or at the program's start; flor_trace "
            "repair stores again what cannot be read"
        ]
