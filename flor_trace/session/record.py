"""One recorded run from install to close."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from time import perf_counter, time
from types import CodeType, ModuleType

from flor_trace import settings as environment
from flor_trace._speedups import NATIVE, REASON, Site, Unseen, native_wanted, set_handler
from flor_trace.errors import SnapshotError
from flor_trace.hints import TYPE_CHECKING, Any
from flor_trace.history.journal import JournalWriter
from flor_trace.history.processes import host_name, process_start
from flor_trace.history.runid import claim_run_dir, timestamp
from flor_trace.history.snapshot import project_root, take_snapshot
from flor_trace.instrument.engines import choose
from flor_trace.instrument.hook import Installed, install, program_code
from flor_trace.instrument.select import Project
from flor_trace.runtime.checkpoints import Checkpointer
from flor_trace.runtime.guard import Guard
from flor_trace.runtime.nest import Loop, Nest, ask_for_running
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.recorder import Recorder, Shared
from flor_trace.runtime.scope import Modules
from flor_trace.runtime.strands import Strands
from flor_trace.session import seeds
from flor_trace.session.program import Main, Program
from flor_trace.settings import Settings
from flor_trace.store.layout import Store, open_store
from flor_trace.store.space import allowance
from flor_trace.store.writer import BackgroundWriter
from flor_trace.types import LoopInfo, ModuleInfo, Spot

if TYPE_CHECKING:  # few runs use it
    from flor_trace.instrument.tracing import TraceEngine

#: Token that stands for the project's directory in saved state: a replay runs in another one.
ROOT_TOKEN = "\0root"

#: Checkpoints that wait to be written may keep a quarter of the memory, and at least this much.
MIN_QUEUE_BYTES = 512 << 20

#: How long the end of a program may wait for checkpoints to reach the disk.
DRAIN_SECONDS = 600.0

#: What a journal says of a loop: its fields, which are as JSON has them.
_LOOP = LoopInfo.__match_args__
_facts = attrgetter(*_LOOP)


class RecordSession:
    """Records one program.  Everything but `_saved` frames happens on the thread that made it."""

    def __init__(self, program: Program, settings: Settings, hash_seed: int | None) -> None:
        self._program = program
        self._settings = settings
        self._engine = choose(settings.engine)
        self._tracer: TraceEngine | None = None
        self._pid = os.getpid()
        self._began = perf_counter()
        self.status: int | None = None
        self.root, _ = project_root(program.place)
        store_path = settings.store or self.root / ".flor_trace"
        self.store: Store = open_store(store_path.absolute(), create=True)
        self.runid, directory = claim_run_dir(self.store)
        self._journal = _DurableJournal(JournalWriter(directory / "journal", alone=True))
        self._guard = Guard(self._failed)
        self._writer = BackgroundWriter(
            self.store,
            self.runid,
            on_error=self._writer_failed,
            guard=lambda job: self._guarded("writing a checkpoint", job),
            max_bytes=max(MIN_QUEUE_BYTES, seeds.memory_bytes() // 4),
            spent=lambda seconds: self._checkpointer.spent(seconds),
        )
        self._modules = Modules()
        self._clocks: frozenset[str] = frozenset()
        self._project = Project(self.root, include=settings.include)
        self._checkpointer = Checkpointer(
            modules=self._modules,
            clocks=lambda: self._clocks,
            relocate=((str(self.root), ROOT_TOKEN),),
            background=self._writer,
            budget=Budget(settings.overhead, disk=allowance(self.store.path, settings.disk)),
            is_project_file=lambda name: self._project.module_of(name) is not None,
            tell=self._journal.append,
        )
        self._recording = Shared(self._journal, self._modules, self._guard)
        self._strands = self._make_strands()
        self._main = Main(program)
        self._write_header(hash_seed)

    def _make_strands(self) -> Strands:
        return Strands(
            Nest(Recorder(self._recording, self._checkpointer)),
            lambda thread: Nest(Recorder(self._recording, None, thread=thread)),
            self._guard,
            before=self._writer.resume,
            stop=self._hear_no_more,
        )

    # -- the run ------------------------------------------------------------------------------

    def run(self) -> int:
        """Run the program and return its exit status, unless it ends the process itself."""
        if not NATIVE and native_wanted():
            print(  # noqa: T201 - promised: nothing is slower or different without a word
                f"flor_trace: recording without the C extension ({REASON}): loops are slower, and "
                "tracebacks may show frames of flor_trace",
                file=sys.stderr,
            )
        if self._engine.notice:
            print(f"flor_trace: {self._engine.notice}", file=sys.stderr)  # noqa: T201 - see above
        self._main.install()
        atexit.register(Unseen(self.close))
        self._guard.call("saving the random states", self._seed, "random", sys)
        installed = install(
            self._project,
            self,
            cache_dir=self.store.cache,
            after_import=seeds.watched_imports(self._seed),
            on_failure=self._not_recorded,
            engine=self._tracing() or self._engine.engine,
        )
        self._mind_forks(installed)
        installed.mains = self._program.modules
        self._strands.start()
        if self._program.left_alone is not None:
            self._recording.lost("loops of the main program", self._program.left_alone)
        if self._tracer is not None:
            self._tracer.start()
        ended = Unseen(self._ended)  # a debugger may still be stepping
        try:
            ended(self._main.run(self._compile_main, self._note_error))
        except SystemExit as leaving:
            ended(leaving)
            raise
        assert self.status is not None
        return self.status

    def _mind_forks(self, installed: Installed) -> None:
        os.register_at_fork(
            before=Unseen(lambda: self._journal.let_go(self._writer.before_fork)),
            after_in_parent=Unseen(self._writer.after_fork),
            after_in_child=Unseen(self._in_child),
        )
        os.register_at_fork(after_in_child=Unseen(installed.stop))

    def _ended(self, by: int | SystemExit) -> None:
        self.status = seeds.exit_status(by) if isinstance(by, SystemExit) else by
        self._main.release()

    def _compile_main(self, source: bytes, path: str) -> CodeType:
        module = self._project.module_of(path) or "-c"
        self._modules.add(path, module, self._main.namespace)
        engine = self._tracer or self._engine.engine
        return program_code(
            source,
            path,
            module,
            self,
            cache_dir=self.store.cache,
            on_failure=self._not_recorded,
            engine=engine,
        )

    def _not_recorded(self, module: str, error: BaseException) -> None:
        self._guard.failed(f"recording the loops of {module}", error)

    def _tracing(self) -> TraceEngine | None:
        """Make the engine that traces, if that is the one."""
        if self._engine.engine == "trace":
            from flor_trace.instrument.tracing import TraceEngine  # noqa: PLC0415 - rarely used

            self._tracer = TraceEngine(
                self._strands.boundary, self._strands.leave, self._tracing_ended
            )
            ask_for_running(self._tracer.running)
        return self._tracer

    def _tracing_ended(self, why: str) -> None:
        self._recording.lost("loops from here on", why)
        if sys.stderr is not None:
            print(  # noqa: T201 - whoever reads the record should know where it ends
                f"flor_trace: loops are recorded no longer: {why}; record with --engine bytecode",
                file=sys.stderr,
            )

    def _note_error(self, error: BaseException) -> None:
        if not isinstance(error, SystemExit):  # its status is asked for once, as without us
            self.status = seeds.exit_status(error)

    def _seed(self, library: str, module: ModuleType) -> None:
        frame = seeds.initial_state(library, module)
        self._writer.submit(lambda store: self._journal.append(frame.stored(store)), frame.nbytes)

    # -- Hooks --------------------------------------------------------------------------------

    def module(self, info: ModuleInfo, path: str) -> None:
        """See `Hooks`."""
        self._modules.add(path, info.module)
        self._clocks |= info.clocks
        for loop in info.loops:
            self._recording.varying.update(loop.stores)
        self._journal.append(
            {
                "t": "module",
                "module": info.module,
                "digest": info.digest.hex(),
                "loops": [dict(zip(_LOOP, _facts(loop), strict=True)) for loop in info.loops],
                "left_alone": info.left_alone,
                "clocks": sorted(info.clocks),
            }
        )

    def site(self, loop: LoopInfo) -> object:
        """See `Hooks`."""
        return Site(Loop(loop, self._logged(loop)), 0 if loop.kind == "for" else 1)

    def _logged(self, loop: LoopInfo) -> tuple[str, ...]:
        if self._settings.log is not None:
            return tuple(name for name in loop.own_stores if name in self._settings.log)
        if not self._settings.auto_log:
            return ()
        return tuple(name for name in loop.own_stores if not name.startswith("_"))

    def control(self, loop: LoopInfo) -> None:
        """See `Hooks`: nothing is steered while a run is recorded."""

    def spot(self, spot: Spot) -> Callable[[], None]:
        """See `Hooks`: nothing is asked while a run is recorded."""
        raise NotImplementedError

    def _hear_no_more(self) -> None:
        set_handler(None, None)
        if self._tracer is not None:
            self._tracer.forget()

    def _in_child(self) -> None:
        self._hear_no_more()
        self._pid = -1

    # -- beginning and end --------------------------------------------------------------------

    def _write_header(self, hash_seed: int | None) -> None:
        program, settings = self._program, self._settings
        vid, left_out, problem = self._snapshot()
        self._journal.append(
            {
                "t": "run",
                "format": 1,
                "runid": self.runid,
                "projid": self.root.name,
                "name": settings.name,
                "tstamp": timestamp(time()),
                "filename": self._main_file(),
                "mode": program.mode,
                "target": program.target,
                "argv": list(program.arguments),
                "source": _text(program.source),
                "cwd": _relative(Path.cwd(), self.root),
                "root": str(self.root),
                "python": sys.version.partition(" ")[0],
                "implementation": sys.implementation.cache_tag,
                "executable": sys.executable,
                "optimize": sys.flags.optimize,
                "host": host_name(),
                "pid": self._pid,
                "pidstart": process_start(self._pid),
                "vid": vid,
                "hashseed": hash_seed,
                "env": environment.recorded_environment(),
                "launch": environment.launch(),
                "engine": self._engine.engine,
                "native": NATIVE,
                "overhead": settings.overhead,
                "include": list(settings.include),
                "left_out": left_out,
            }
        )
        if problem is not None:
            self._guard.failed("saving the code: this run cannot be replayed", problem)
        self._journal.flush()

    def _main_file(self) -> str:
        path = self._program.main_file
        if path is not None:
            return _relative(path.resolve(), self.root)
        return "-c" if self._program.mode == "command" else self._program.target

    def _snapshot(self) -> tuple[str | None, list[list[str]], SnapshotError | None]:
        script = self._program.main_file
        try:
            snapshot = take_snapshot(
                self.root,
                self.store.code,
                message=f"flor_trace run {self.runid}",
                branch=self._settings.branch,
                cache=self.store.snapshot_stat,
                extra=(script.resolve(),) if script is not None else (),
            )
        except SnapshotError as error:
            return None, [], error
        return snapshot.vid, [[str(i.path), i.reason] for i in snapshot.left_out], None

    def _failed(self, what: str, error: BaseException) -> None:
        self._recording.lost(what, f"{type(error).__name__}: {error}")

    def _guarded(self, what: str, job: Callable[[], None]) -> None:
        if not self._guard.call(what, job):
            self._checkpointer.forget()

    def _writer_failed(self, error: BaseException) -> None:
        self._checkpointer.forget()
        self._guard.failed("writing a checkpoint", error)

    def close(self) -> None:
        """Finish the record; further calls do nothing."""
        if os.getpid() != self._pid:
            return
        self._pid = -1
        if self._tracer is not None:
            self._tracer.stop()
        set_handler(None, None)
        self._guard.call("looking at constants again", self._checkpointer.confirm)
        self._guard.call("finishing the record", self._recording.flush)
        if not self._guard.call("finishing the record", self._finish):
            self._guard.call("closing the record", self._journal.close)
        self._modules.forget()

    def _finish(self) -> None:
        self._writer.drain(DRAIN_SECONDS)
        self._writer.close()
        self._checkpointer.close()
        budget = self._checkpointer.budget
        self._journal.append(
            {
                "t": "exit",
                "status": self.status,
                "how": "exit",
                "seconds": perf_counter() - self._began,
                **self._checkpointer.summary(),
                "failures": self._guard.failures,
            }
        )
        self._journal.close()
        self._say_goodbye(budget.taken)
        self._summarise()

    def _summarise(self) -> None:
        page = environment.summary_file()
        if page is None or self._settings.summary == "off":
            return
        from flor_trace.session import summary  # noqa: PLC0415 - only CI jobs have such a page

        summary.write(Path(page), self.store.run_dir(self.runid) / "journal")

    def _say_goodbye(self, checkpoints: int) -> None:
        error = sys.stderr
        if self._settings.quiet or error is None or not error.isatty():
            return
        name = f" ({self._settings.name})" if self._settings.name else ""
        print(
            f"flor_trace: recorded run {self.runid}{name}, {self._recording.iterations} "
            f"iterations, {checkpoints} checkpoints; see flor_trace ls",
            file=error,
        )


class _DurableJournal:
    """A journal that makes what is listed in it durable at once; any thread may append."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self.flush, self.close, self.let_go = journal.flush, journal.close, journal.let_go

    def append(self, frame: Mapping[str, Any]) -> None:
        self._journal.append(frame)
        if frame["t"] in ("checkpoint", "exit"):
            self._journal.sync()


def _text(source: bytes | None) -> str | None:
    """A program that is in no file, as the journal holds it: any bytes have a form."""
    return None if source is None else source.decode("utf-8", "surrogateescape")


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
