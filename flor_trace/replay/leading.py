"""Run an old program again with one of its loops steered: what all replays have in common."""

from __future__ import annotations

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
from flor_trace.history.amendments import run_frames
from flor_trace.instrument.hook import install, program_code
from flor_trace.instrument.select import Project
from flor_trace.replay.follower import Follower
from flor_trace.replay.importing import lead_imports
from flor_trace.replay.recorded import RecordedRun
from flor_trace.replay.restoring import StateKeeper
from flor_trace.replay.verdicts import Verdicts
from flor_trace.runtime.nest import Loop, Nest
from flor_trace.runtime.scope import Modules
from flor_trace.session import seeds
from flor_trace.session.program import Main, Mode, Program
from flor_trace.session.record import ROOT_TOKEN
from flor_trace.state.encode import decode
from flor_trace.state.restore import restore
from flor_trace.state.rng import rng_roots
from flor_trace.store.layout import open_store
from flor_trace.store.reader import PackReader
from flor_trace.types import Address, Controls, Leaving, LoopInfo, ModuleInfo, RunId, Spot


@dataclass(frozen=True, slots=True)
class Errand:
    """What every process that runs an old program is told."""

    store: str
    runid: str
    scratch: str
    stage: int  #: number of the loop that is steered
    include: tuple[str, ...]


class Leader:
    """Leads the old program as a `Follower` says; the `Hooks` of its rewritten code."""

    def __init__(self, errand: Errand) -> None:
        self._store = open_store(Path(errand.store), create=False)
        self.run = RecordedRun(run_frames(self._store.run_dir(RunId(errand.runid))))
        self._stage = self.run.outermost[errand.stage]
        self._stage_key = self._stage.loop.key
        self._controls = Controls(frozenset({self._stage_key}))
        self._scratch = Path(errand.scratch)
        self._root = self._scratch / "tree"
        self._project = Project(self._root, include=errand.include)
        self._modules = Modules()
        self._reader = PackReader(self._store)
        self._reader.prefer(errand.runid)
        self._numbers = {
            (w.key, w.dimension, w.nth): w.number for w in self.run.loops.values() if not w.thread
        }
        self._watched = {loop.key for loop in self.run.loops.values()}
        self._relocate = ((str(self._root), ROOT_TOKEN),)
        self._error: str | None = None
        self._main: Main | None = None
        self._busy = False
        self._thread = get_ident()
        self._keeper = StateKeeper(
            self._modules,
            self._reader,
            self._relocate,
            frozenset(self.run.clocks),
            lambda name: self._project.module_of(name) is not None,
        )
        self._verdicts: Verdicts
        self._follower: Follower

    def _follow(self, follower: Follower) -> None:
        self._follower = follower
        self._nest = Nest(follower, probing=False)

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

    def spot(self, spot: Spot) -> Callable[[], None]:
        """See `Hooks`: who asks for spots says what is done there."""
        raise NotImplementedError

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
            controls=self._controls,
            after_import=seeds.watched_imports(self._seed),
            on_failure=self._failed,
        )
        set_handler(self._boundary, self._leave)
        self._lead(self._main)

    def _lead(self, main: Main) -> NoReturn:
        """Run `main`, and end the process as befits."""
        raise NotImplementedError

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
        return program_code(source, path, module, self, cache_dir=None, controls=self._controls)

    def _seed(self, library: str, module: ModuleType) -> None:
        """Start the library's generator as in the recorded run."""
        for frame in self.run.seeds:
            if frame["library"] == library:
                # Where nobody knows the state any more, the comparisons tell whether it mattered.
                with suppress(ChunkMissing, ChunkDamaged):
                    self._set_generator(seeds.copies(frame), Address(frame["state"]))
                if frame.get("threads") and module.get_num_threads() != frame["threads"]:
                    module.set_num_threads(frame["threads"])

    def _set_generator(self, copies: Mapping[Address, bytes], state: Address) -> None:
        def load(address: Address) -> bytes:
            return copies[address] if address in copies else self._reader.get(address)

        restore(decode(load(state)), rng_roots(), load)

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
        """Hear of the exception that ends the program."""
        raise NotImplementedError

    def _failed(self, what: str, error: BaseException) -> None:
        self._error = f"{what}: {type(error).__name__}: {error}"

    def _stop(self, error: BaseException) -> NoReturn:
        self._error = f"{type(error).__name__}: {error}"
        damaged = isinstance(error, RestoreError | ChunkDamaged | ChunkMissing)
        self._end("damaged" if damaged else "failed")

    def _end(self, how: str) -> NoReturn:
        """Write what is left and end the process at once: the program is not to go on."""
        raise NotImplementedError


class Steering:
    """The `Control` of the stage: the follower's, with our failures ending the replay at once."""

    def __init__(self, leader: Leader, follower: Follower) -> None:
        self._leader = leader
        self._follower = follower

    def due(self) -> bool:
        """See `Control`."""
        return bool(self._leader.do(self._follower.due))

    def unbound(self, name: str) -> bool:
        """See `Control`."""
        return self._follower.unbound(name)

    def value(self, name: str) -> Any:
        """See `Control`."""
        return self._follower.value(name)

    def skip(self) -> bool:
        """See `Control`."""
        return bool(self._leader.do(self._follower.skip))
