"""Run one plan over one old version, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from _thread import get_ident
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flor_trace._speedups import frames
from flor_trace.errors import ChunkDamaged, ChunkMissing, RestoreError
from flor_trace.history.journal import JournalWriter
from flor_trace.replay.asking import Asker
from flor_trace.replay.carrying import Carried
from flor_trace.replay.contain import Containment
from flor_trace.replay.follower import Follower
from flor_trace.replay.leading import Errand, Leader
from flor_trace.replay.plan import Plan, Step
from flor_trace.replay.probes import Probe
from flor_trace.replay.resolve import Place
from flor_trace.replay.verdicts import Verdicts
from flor_trace.runtime.nest import Instance
from flor_trace.session.program import Main, PlainInstead
from flor_trace.startup import leave_first_path
from flor_trace.store.packs import PackWriter
from flor_trace.types import LoopKey, Spot


@dataclass(frozen=True, slots=True)
class Task(Errand):
    """What the parent process asks a worker to do; written to a file as JSON."""

    journal: str  #: of this replay
    probe: Mapping[str, Any]
    loop: LoopKey
    wanted: tuple[int, ...]
    steps: tuple[Mapping[str, Any], ...]
    spot: Spot | None = None
    carried: Mapping[str, Any] | None = None


class Worker(Leader):
    """Leads the old program along the plan."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._watched.add(task.loop)
        if task.spot is not None:
            self._controls = self._controls._replace(spots=frozenset({task.spot}))
        self._journal = JournalWriter(Path(task.journal))
        self._packs = PackWriter(self._store, f"replay-{self._scratch.name}")
        self._build(task)

    def _build(self, task: Task) -> None:
        run = self.run
        place = Place(
            Probe(**task.probe),
            run.infos[task.loop],
            self._stage,
            task.spot,
            Carried(**task.carried) if task.carried is not None else None,
        )
        plan = Plan(task.stage, [Step(**step) for step in task.steps])
        self._verdicts = verdicts = Verdicts(run, self._numbers, self._journal.append)
        keeper = self._keeper
        asker = Asker(
            place, task.wanted, self._identify, self._packs, keeper.fingerprint, verdicts.hold
        )
        self._follow(Follower(run, plan, keeper, asker, verdicts, self._finish))
        self._journal.append({"t": "replay", "format": 1, "runid": run.runid, "probe": task.probe})
        for loop in run.loops.values():
            if loop.thread:
                continue
            self._write_loop(loop.number, loop.key, loop.dimension, loop.nth)

    def spot(self, spot: Spot) -> Callable[[], None]:
        """See `Hooks`."""

        def ask() -> None:
            if not self._busy and get_ident() == self._thread:
                self.do(self._follower.at_spot, frames(self._modules.filenames)[0])

        return ask

    def _identify(self, instance: Instance) -> int:
        key = (instance.loop.info.key, instance.dimension, instance.nth)
        number = self._numbers.get(key)
        if number is None:
            taken = {*self.run.loops, *self._numbers.values()}
            number = self._numbers[key] = max(taken, default=-1) + 1
            self._write_loop(number, *key)
        return number

    def _write_loop(self, number: int, key: LoopKey, dimension: str, nth: int) -> None:
        line = self.run.infos[key].span[0] if key in self.run.infos else 0
        self._journal.append(
            {"t": "loop", "id": number, "key": key, "dim": dimension, "line": line, "nth": nth}
        )

    def _lead(self, main: Main) -> NoReturn:
        with suppress(PlainInstead):  # the program does not compile, which `_note` has heard
            main.run(self._compile_main, self._note)
        self._finish(complete=False)

    def _note(self, error: BaseException) -> None:
        if isinstance(error, RestoreError | ChunkDamaged | ChunkMissing):
            self._stop(error)
        if not isinstance(error, SystemExit) or error.code:
            self._error = f"{type(error).__name__}: {error}"

    def _finish(self, *, complete: bool) -> NoReturn:
        if not complete and self._error is None:
            self._error = "the program did not come to all the iterations that were asked for"
        self._end("done" if complete else "failed")

    def _end(self, how: str) -> NoReturn:
        """Write what is left and end the process at once: the program is not to go on."""
        self._verdicts.close()
        self._packs.flush()
        self._packs.close()
        self._journal.append(
            {
                "t": "end",
                "how": how,
                "error": self._error,
                "boundary": self._follower.restoring,
                "counts": self._verdicts.counts,
                "difference": self._verdicts.first_difference,
            }
        )
        self._journal.sync()
        self._journal.close()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(0)


def main(path: str) -> NoReturn:
    """Do the task that the file at `path` describes."""
    fields = json.loads(Path(path).read_text("utf-8"))
    for name in ("wanted", "steps", "include"):
        fields[name] = tuple(fields[name])
    if fields["spot"] is not None:
        module, at, before = fields["spot"]
        fields["spot"] = Spot(module, tuple(at), before)
    task = Task(**fields)
    leave_first_path()
    worker = Worker(task)
    store = Path(task.store)
    containment = Containment(Path(task.scratch), (store / "packs", store / "runs" / task.runid))
    containment.begin()
    worker.start()


if __name__ == "__main__":
    main(sys.argv[1])
