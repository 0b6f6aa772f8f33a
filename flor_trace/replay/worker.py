"""Run one plan over one old version, in a process of its own."""

from __future__ import annotations

import json
import os
import random
import sys
from _thread import get_ident
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NoReturn

from flor_trace._speedups import LoopIter, Site, set_handler
from flor_trace.errors import ChunkDamaged, ChunkMissing, FlorTraceError, RestoreError
from flor_trace.history.journal import JournalWriter, read_journal
from flor_trace.instrument.hook import install, program_code
from flor_trace.instrument.select import Project
from flor_trace.replay.asking import Asker
from flor_trace.replay.contain import Containment
from flor_trace.replay.follower import Follower
from flor_trace.replay.importing import lead_imports
from flor_trace.replay.plan import Plan, Step
from flor_trace.replay.probes import Probe
from flor_trace.replay.recorded import RecordedRun
from flor_trace.replay.resolve import Place
from flor_trace.replay.restoring import StateKeeper
from flor_trace.replay.verdicts import Verdicts
from flor_trace.runtime.nest import Instance, Loop, Nest
from flor_trace.runtime.scope import Modules
from flor_trace.session import seeds
from flor_trace.session.program import Main, Mode, PlainInstead, Program
from flor_trace.session.record import ROOT_TOKEN
from flor_trace.startup import leave_first_path
from flor_trace.state.encode import decode
from flor_trace.state.restore import restore
from flor_trace.state.rng import rng_roots
from flor_trace.store.layout import open_store
from flor_trace.store.packs import PackWriter
from flor_trace.store.reader import PackReader
from flor_trace.types import Address, Leaving, LoopInfo, LoopKey, ModuleInfo


@dataclass(frozen=True, slots=True)
class Task:
    """What the parent process asks a worker to do; written to a file as JSON."""

    store: str
    runid: str
    scratch: str
    journal: str  #: of this replay
    probe: Mapping[str, Any]
    loop: LoopKey
    stage: int
    wanted: tuple[int, ...]
    steps: tuple[Mapping[str, Any], ...]
    include: tuple[str, ...] = ()


class Worker:
    """Leads the old program along the plan; the `Hooks` of its rewritten code."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._store = open_store(Path(task.store), create=False)
        journal = self._store.run_dir(task.runid) / "journal"  # type: ignore[arg-type]
        self.run = RecordedRun(frame for _, frame in read_journal(journal))
        self._scratch = Path(task.scratch)
        self._root = self._scratch / "tree"
        self._project = Project(self._root, include=task.include)
        self._modules = Modules()
        self._journal = JournalWriter(Path(task.journal))
        self._reader = PackReader(self._store)
        self._packs = PackWriter(self._store, f"replay-{Path(task.scratch).name}")
        self._numbers = {
            (w.key, w.dimension, w.nth): w.number for w in self.run.loops.values() if not w.thread
        }
        self._watched = {loop.key for loop in self.run.loops.values()} | {task.loop}
        self._relocate = ((str(self._root), ROOT_TOKEN),)
        self._error: str | None = None
        self._main: Main | None = None
        self._busy = False
        self._thread = get_ident()
        self._build()

    def _build(self) -> None:
        task, run = self._task, self.run
        stage = run.outermost[task.stage]
        self._stage_key = stage.loop.key
        place = Place(Probe(**task.probe), run.infos[task.loop], stage)
        plan = Plan(task.stage, [Step(**step) for step in task.steps])
        keeper = StateKeeper(
            self._modules,
            self._reader,
            self._relocate,
            frozenset(run.clocks),
            lambda name: self._project.module_of(name) is not None,
        )
        self._verdicts = Verdicts(run, self._numbers, self._journal.append)
        asker = Asker(
            place, task.wanted, self._identify, self._packs, keeper.fingerprint, self._verdicts.hold
        )
        self._follower = Follower(run, plan, keeper, asker, self._verdicts, self._finish)
        self._nest = Nest(self._follower, probing=False)
        self._journal.append({"t": "replay", "format": 1, "runid": run.runid, "probe": task.probe})
        for loop in run.loops.values():
            if loop.thread:
                continue
            self._write_loop(loop.number, loop.key, loop.dimension, loop.nth)

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

    # -- Hooks --------------------------------------------------------------------------------

    def module(self, info: ModuleInfo, path: str) -> None:
        """See `Hooks`: the source must be the one that was recorded."""
        self._modules.add(path, info.module)
        recorded = self.run.sources.get(info.module)
        if recorded is not None and recorded != info.digest.hex():
            self._verdicts.differs_from_start(
                f"the source of {info.module} is not the recorded one"
            )

    def site(self, loop: LoopInfo) -> object:
        """See `Hooks`."""
        site = Site(Loop(loop, loop.own_stores, watched=True), 0 if loop.kind == "for" else 1)
        if loop.key not in self._watched:
            site.mode = 1
        return site

    def control(self, loop: LoopInfo) -> Steering | None:
        """See `Hooks`."""
        return Steering(self, self._follower) if loop.key == self._stage_key else None

    # -- running ------------------------------------------------------------------------------

    def start(self) -> NoReturn:
        """Run the program; ends the process."""
        header = self.run.header
        program = self._program(header["mode"])
        self._main = Main(program)
        self._main.install()
        lead_imports(str(self.run.header["root"]), str(self._root))
        if program.path is not None:
            sys.argv[0] = header["target"]
        self._seed("random", random)
        install(
            self._project,
            self,
            cache_dir=None,
            controls=frozenset({self._stage_key}),
            after_import=seeds.watched_imports(self._seed),
            on_failure=self._failed,
        )
        set_handler(self._boundary, self._leave)
        with suppress(PlainInstead):  # the program does not compile, which `_note` has heard
            self._main.run(self._compile_main, self._note)
        self._finish(complete=False)

    def _program(self, mode: Mode) -> Program:
        header = self.run.header
        source, arguments = header.get("source"), tuple(header["argv"])
        if source is not None:
            source = source.encode("utf-8", "surrogateescape")
        program = Program(mode, header["target"], arguments, source)
        return program if program.main_file is None else Program(mode, self._script(), arguments)

    def _script(self) -> str:
        target = str(self.run.header["target"])
        root = self.run.header["root"]
        if os.path.isabs(target) and Path(target).is_relative_to(root):
            return str(self._root / Path(target).relative_to(root))
        return target

    def _compile_main(self, source: bytes, path: str) -> CodeType:
        module = self._project.module_of(path) or "-c"
        assert self._main is not None
        self._modules.add(path, module, self._main.namespace)
        controls = frozenset({self._stage_key})
        return program_code(source, path, module, self, cache_dir=None, controls=controls)

    def _seed(self, library: str, module: ModuleType) -> None:
        """Start the library's generator as in the recorded run."""
        for frame in self.run.seeds:
            if frame["library"] == library:
                graph = decode(self._reader.get(Address(frame["state"])))
                restore(graph, rng_roots(), self._reader.get)
                if frame.get("threads") and module.get_num_threads() != frame["threads"]:
                    module.set_num_threads(frame["threads"])

    def _boundary(self, li: LoopIter) -> None:
        if not self._busy and get_ident() == self._thread:
            self.do(self._nest.boundary, li)

    def _leave(self, li: LoopIter, how: Leaving) -> None:
        if not self._busy and get_ident() == self._thread:
            self.do(self._nest.leave, li, how)

    def do(self, action: Callable[..., Any], *arguments: object) -> Any:
        """Do something of ours; loops of the program that run meanwhile are not reported."""
        self._busy = True
        try:
            return action(*arguments)
        except FlorTraceError as error:
            self._stop(error)
        finally:
            self._busy = False

    def _note(self, error: BaseException) -> None:
        if isinstance(error, RestoreError | ChunkDamaged | ChunkMissing):
            self._stop(error)
        if not isinstance(error, SystemExit) or error.code:
            self._error = f"{type(error).__name__}: {error}"

    def _failed(self, what: str, error: BaseException) -> None:
        self._error = f"{what}: {type(error).__name__}: {error}"

    def _stop(self, error: BaseException) -> NoReturn:
        self._error = f"{type(error).__name__}: {error}"
        damaged = isinstance(error, RestoreError | ChunkDamaged | ChunkMissing)
        self._end("damaged" if damaged else "failed")

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


class Steering:
    """The `Control` of the stage: the follower's, with our failures ending the replay at once."""

    def __init__(self, worker: Worker, follower: Follower) -> None:
        self._worker = worker
        self._follower = follower

    def due(self) -> bool:
        """See `Control`."""
        return bool(self._worker.do(self._follower.due))

    def unbound(self, name: str) -> bool:
        """See `Control`."""
        return self._follower.unbound(name)

    def value(self, name: str) -> Any:
        """See `Control`."""
        return self._follower.value(name)

    def skip(self) -> bool:
        """See `Control`."""
        return bool(self._worker.do(self._follower.skip))


def main(path: str) -> NoReturn:
    """Do the task that the file at `path` describes."""
    fields = json.loads(Path(path).read_text("utf-8"))
    for name in ("wanted", "steps", "include"):
        fields[name] = tuple(fields[name])
    task = Task(**fields)
    leave_first_path()
    worker = Worker(task)
    store = Path(task.store)
    containment = Containment(Path(task.scratch), (store / "packs", store / "runs" / task.runid))
    containment.begin()
    worker.start()


if __name__ == "__main__":
    main(sys.argv[1])
