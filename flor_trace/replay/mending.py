"""Execute an old program up to lost checkpoints, and store the states again if they come out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flor_trace._speedups import LoopIter
from flor_trace.replay.contain import Containment
from flor_trace.replay.follower import Finish, Follower
from flor_trace.replay.leading import Errand, Leader
from flor_trace.replay.onward import Findings, Nobody
from flor_trace.replay.plan import Plan, Step
from flor_trace.replay.recorded import RecordedRun, SavedState
from flor_trace.replay.restoring import StateKeeper
from flor_trace.runtime.nest import Instance
from flor_trace.session.program import Main, PlainInstead
from flor_trace.startup import leave_first_path
from flor_trace.state.closure import Soundness
from flor_trace.state.digests import leaf_bytes
from flor_trace.state.encode import encode
from flor_trace.store.framing import address_of, key_for, make_key
from flor_trace.store.packs import PackWriter
from flor_trace.types import Address


@dataclass(frozen=True, slots=True)
class Mending(Errand):
    """What is to be stored again: boundaries, and what of their checkpoints cannot be read."""

    steps: tuple[Mapping[str, Any], ...]
    lost: Mapping[str, Sequence[Address]]  #: by boundary, which JSON makes a string


class Refilling(Follower):
    """Carries out a plan, and stops at every boundary whose checkpoint is lost."""

    def __init__(
        self,
        run: RecordedRun,
        plan: Plan,
        keeper: StateKeeper,
        findings: Findings,
        finish: Finish,
        refill: Refill,
    ) -> None:
        super().__init__(run, plan, keeper, Nobody(), findings, finish)  # type: ignore[arg-type]
        self._refill = refill
        self._findings = findings
        self._saved = {**self._stage.doubtful, **self._stage.states}
        self.diverged: dict[int, list[str]] = {}

    def boundary(self, instance: Instance, li: LoopIter, k: int) -> None:
        """See `Observer`: the state before the first iteration may be lost, too."""
        if instance is self._instance and k == 0:
            self._stop_at(0)
        super().boundary(instance, li, k)

    def _after_execution(self, k: int) -> None:
        self._stop_at(k)
        super()._after_execution(k)

    def _stop_at(self, k: int) -> None:
        """Store the checkpoint at `k` again if it is lost and the live state is the same."""
        if k not in self._refill.lost:
            return
        self.diverged.pop(k, None)
        differences = self._keeper.differences(self._saved[k])
        if differences:
            self.diverged[k] = differences
            self._findings.compare_state(k, differences)
        else:
            self._refill.refill(self._saved[k], self._keeper)
        if not self._refill.lost:
            self._finish(complete=True)

    def _compare(self, state: SavedState) -> None:
        """See `Follower`; what was lost has been compared."""
        if state.boundary not in self.diverged and state.boundary not in self._refill.made:
            super()._compare(state)


class Refill:
    """Stores the live state in place of checkpoints that were lost."""

    def __init__(
        self, lost: Mapping[int, Sequence[Address]], packs: PackWriter, sound: Soundness
    ) -> None:
        self.lost = {boundary: set(lacking) for boundary, lacking in lost.items()}
        self.made: dict[int, Address] = {}  #: the manifests, by boundary
        self._packs = packs
        self._sound = sound

    def refill(self, state: SavedState, keeper: StateKeeper) -> None:
        """Store what is lacking of a checkpoint, given that the live state has its digest.

        Where not all of it comes out as it was, which readings of a clock do not, the whole
        state is stored under a manifest of its own.
        """
        graph, digests = keeper.capture()
        leaves = leaf_bytes(graph)
        sizes = [leaf.nbytes for leaf in leaves]
        addresses = [address_of(key) for key in map(make_key, sizes, digests)]
        document = memoryview(encode(graph, addresses))
        manifest = address_of(key_for(document))
        lacking = self.lost[state.boundary]
        if state.manifest in lacking or not lacking <= {*addresses, manifest}:
            wanted = {each for each in addresses if self._sound.trouble(each) is not None}
        else:
            wanted = lacking
        stored = self._put(wanted, addresses, leaves)
        if lacking <= {*stored, manifest} and state.manifest not in lacking:
            manifest = state.manifest
        elif self._sound.trouble(manifest) is not None:
            self._packs.put(document)
            self._packs.flush()
        self._made(state.boundary, manifest, {*stored, manifest})

    def _put(
        self, wanted: set[Address], addresses: Sequence[Address], leaves: Sequence[memoryview]
    ) -> set[Address]:
        """Store the wanted ones of the leaves, durably."""
        data = {a: leaf for a, leaf in zip(addresses, leaves, strict=True) if a in wanted}
        for leaf in data.values():
            self._packs.put(leaf)
        self._packs.flush()
        return set(data)

    def _made(self, boundary: int, manifest: Address, stored: set[Address]) -> None:
        """Take note of one, and of the others that lacked nothing else."""
        self.made[boundary] = manifest
        del self.lost[boundary]
        for lacking in self.lost.values():
            lacking -= stored
        self.lost = {k: lacking for k, lacking in self.lost.items() if lacking}


class Mender(Leader):
    """Leads the program along the plan and reports what could be stored again."""

    def __init__(self, errand: Mending) -> None:
        super().__init__(errand)
        self._packs = PackWriter(self._store, f"repair-{self._scratch.name}", dedup=0)
        lost = {int(boundary): lacking for boundary, lacking in errand.lost.items()}
        self._refill = Refill(lost, self._packs, Soundness(self._reader))
        self._findings = self._verdicts = Findings(self.run, self._numbers)
        plan = Plan(errand.stage, [Step(**step) for step in errand.steps])
        self._refilling = Refilling(
            self.run, plan, self._keeper, self._findings, self._finish, self._refill
        )
        self._follow(self._refilling)
        self._write("running")

    def _lead(self, main: Main) -> NoReturn:
        with suppress(PlainInstead):  # the program does not compile, which `_note` has heard
            main.run(self._compile_main, self._note)
        self._finish(complete=False)

    def _note(self, error: BaseException) -> None:
        if not isinstance(error, SystemExit) or error.code:
            self._error = f"{type(error).__name__}: {error}"

    def _finish(self, *, complete: bool) -> NoReturn:
        if not complete and self._error is None:
            self._error = "the program did not come to the iterations before the lost checkpoints"
        self._end("done" if complete else "failed")

    def _end(self, how: str) -> NoReturn:
        self._packs.close()
        self._write(how)
        os._exit(0)

    def _write(self, how: str) -> None:
        report = {
            "how": how,
            "error": self._error,
            "boundary": self._refilling.restoring,
            "made": self._refill.made,
            "diverged": self._refilling.diverged,
            "difference": self._findings.first_difference,
        }
        (self._scratch / "report.json").write_text(json.dumps(report), "utf-8")


def main(path: str) -> NoReturn:
    """Do the errand that the file at `path` describes."""
    fields = json.loads(Path(path).read_text("utf-8"))
    for name in ("include", "steps"):
        fields[name] = tuple(fields[name])
    leave_first_path()
    mender = Mender(Mending(**fields))
    Containment(Path(fields["scratch"]), (Path(fields["store"]) / "packs",)).begin()
    mender.start()
