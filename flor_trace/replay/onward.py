"""Put one checkpoint in place and go on to the program's end, or only try out some checkpoints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flor_trace._speedups import LoopIter, set_handler
from flor_trace.replay.contain import Containment
from flor_trace.replay.follower import Finish, Follower
from flor_trace.replay.leading import Errand, Leader
from flor_trace.replay.plan import Plan, Step
from flor_trace.replay.recorded import RecordedRun
from flor_trace.replay.restoring import StateKeeper
from flor_trace.replay.verdicts import Numbers, Verdicts
from flor_trace.runtime.nest import Instance
from flor_trace.session.program import Main, PlainInstead
from flor_trace.startup import leave_first_path
from flor_trace.state.digests import combine
from flor_trace.types import Leaving

#: The last iteration of a step that has no end.
_NEVER = sys.maxsize


@dataclass(frozen=True, slots=True)
class Journey(Errand):
    """Which boundaries to restore, one after the other, and whether to go on from the last."""

    boundaries: tuple[int, ...]
    go_on: bool


class Nobody:
    """Stands where a replay has its `Asker`: nothing is asked."""

    def wants_start(self, iteration: int) -> bool:
        """Never."""
        return False

    def at_start(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        """Ask nothing."""

    at_end = at_start


class Findings(Verdicts):
    """Notes every difference: of states put in place by boundary, of all else in order."""

    def __init__(self, run: RecordedRun, numbers: Numbers) -> None:
        super().__init__(run, numbers, lambda _: None)
        self.states: dict[int, list[str]] = {}
        self.compared = 0

    def restored(self, boundary: int, differences: Sequence[str]) -> None:
        """See `Verdicts`."""
        self.states[boundary] = list(differences)
        super().restored(boundary, differences)

    def compare_state(self, boundary: int, differences: Sequence[str]) -> None:
        """See `Verdicts`."""
        self.compared += 1
        super().compare_state(boundary, differences)


class Onward(Follower):
    """Restores one checkpoint at most, and then watches the program go on to its end."""

    def __init__(
        self,
        run: RecordedRun,
        plan: Plan,
        keeper: StateKeeper,
        findings: Findings,
        finish: Finish,
        position: Callable[[], list[int]],
    ) -> None:
        super().__init__(run, plan, keeper, Nobody(), findings, finish)  # type: ignore[arg-type]
        self._run = run
        self._findings = findings
        self._position = position
        self._begun = plan.steps[0].kind == "execute"
        self.began_at: list[int] | None = position() if self._begun else None
        self.positions: dict[str, list[int]] = {}  #: in the output, by loop and boundary
        self.passed: dict[str, str] = {}  #: digests of states, by loop and boundary

    def boundary(self, instance: Instance, li: LoopIter, k: int) -> None:
        """See `Observer`."""
        if instance is self._instance and k == 0:
            self._at_entry()
        if self._begun:
            self._look(instance, k)

    def left(self, instance: Instance, li: LoopIter, how: Leaving) -> None:
        """See `Observer`."""
        if not self._begun:
            if instance is self._instance:
                self._finish(complete=False)
        elif not instance.outer and how != "raised":
            self._look(instance, li.n, left=True)

    def skip(self) -> bool:
        """See `Control`."""
        restoring = self._entry_pending or self._restored is not None
        if restoring:
            self._begun = True
            self.began_at = self._position()
        return super().skip()

    def _in_play(self, instance: Instance) -> bool:
        return self._begun

    def _done(self, k: int) -> bool:
        return False

    def _teleport(self, boundary: int) -> bool:
        """See `Follower`; where the condition was false in the end, it is to be false again."""
        if self._stage.how == "exhausted" and boundary == self._stage.iterations:
            assert self._instance is not None
            self._instance.iteration = self._stage_loop().n = boundary
            return True
        return super()._teleport(boundary)

    def _look(self, instance: Instance, k: int, *, left: bool = False) -> None:
        """Note where the program is, what it has printed, and whether that is as recorded."""
        number = self._findings.number(instance)
        stage = None if number is None else self._run.outermost.get(number)
        if stage is None or not (left or k in stage.states):
            return
        name = f"{number}:{'end' if left else k}"
        self.positions[name] = self._position()
        if k in stage.states and not (left and stage.how == "exhausted"):
            self._compare(stage.states[k])
        self.passed[name] = combine(self._keeper.digests()).hex()


class Traveller(Leader):
    """Makes one journey, and writes a report about it into the scratch directory."""

    def __init__(self, journey: Journey) -> None:
        super().__init__(journey)
        self._findings = self._verdicts = Findings(self.run, self._numbers)
        steps = [Step("restore", k, k, 0.0) for k in journey.boundaries]
        if journey.go_on:
            first = journey.boundaries[-1] if journey.boundaries else 0
            steps.append(Step("execute", first, _NEVER, 0.0))
        self._onward = self._make(Plan(journey.stage, steps), go_on=journey.go_on)
        self._follow(self._onward)
        self._final: dict[str, str] | None = None
        self._write("running")

    def _make(self, plan: Plan, *, go_on: bool) -> Any:
        run, keeper, findings = self.run, self._keeper, self._findings
        if go_on:
            return Onward(run, plan, keeper, findings, self._finish, self._position)
        return Follower(run, plan, keeper, Nobody(), findings, self._finish)  # type: ignore[arg-type]

    def _position(self) -> list[int]:
        """How much the program has printed, to each of the streams."""
        for stream in (sys.stdout, sys.__stdout__, sys.stderr, sys.__stderr__):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()  # type: ignore[union-attr]
        return [os.stat(self._scratch / name).st_size for name in ("stdout", "stderr")]

    def _lead(self, main: Main) -> NoReturn:
        try:
            status = main.run(self._compile_main, self._note)
        except SystemExit:
            self._over()
            raise
        except PlainInstead:
            self._finish(complete=False)
        self._over()
        main.release()
        sys.exit(status)

    def _over(self) -> None:
        """The program has come to its end; what follows is the interpreter's own."""
        set_handler(None, None)
        if getattr(self._onward, "began_at", None) is None:
            self._finish(complete=False)
        self._final = {root: each.hex() for root, each in self._keeper.digests().items()}
        self._write("done")

    def _note(self, error: BaseException) -> None:
        """See `Leader`: it is the program's own, and tells the user what there is to tell."""

    def _finish(self, *, complete: bool) -> NoReturn:
        if not complete and self._error is None:
            self._error = "the program did not come to the iteration whose state is to be restored"
        self._end("done" if complete else "failed")

    def _end(self, how: str) -> NoReturn:
        self._write(how)
        os._exit(0)

    def _write(self, how: str) -> None:
        onward, findings = self._onward, self._findings
        report = {
            "how": how,
            "error": self._error,
            "boundary": onward.restoring,
            "states": findings.states,
            "difference": findings.first_difference,
            "compared": findings.compared,
            "began_at": getattr(onward, "began_at", None),
            "positions": getattr(onward, "positions", {}),
            "passed": getattr(onward, "passed", {}),
            "final": self._final,
        }
        file = self._scratch / "report.json"
        file.write_text(json.dumps(report), "utf-8")


def main(path: str) -> NoReturn:
    """Make the journey that the file at `path` describes."""
    fields = json.loads(Path(path).read_text("utf-8"))
    for name in ("include", "boundaries"):
        fields[name] = tuple(fields[name])
    leave_first_path()
    traveller = Traveller(Journey(**fields))
    Containment(Path(fields["scratch"]), ()).begin()
    traveller.start()
