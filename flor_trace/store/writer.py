"""Storing chunks beside the program: one hidden thread, and a queue with a bound."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from flor_trace.errors import StoreError
from flor_trace.records import dataclass
from flor_trace.store.cores import Cores
from flor_trace.store.framing import Buffer
from flor_trace.store.layout import Store
from flor_trace.store.packs import PackWriter
from flor_trace.store.space import has_room
from flor_trace.types import Address

#: One piece of work, done in the thread with the writer of the run's pack.
Job = Callable[[PackWriter], None]
Failure = OSError | StoreError | MemoryError
Guard = Callable[[Callable[[], None]], None]

MAX_BYTES = 512 << 20

#: How much lower the thread's priority is than the program's.
NICE = 10

#: So many checkpoints are made durable together at most: the first of them waits for the last.
MOST_TOGETHER = 16

#: The thread ends after so many idle seconds: most of the time the program has no extra thread.
_LINGER = 0.05
#: How long a fork may wait for a job: it may need a lock that the forking thread itself holds.
_PATIENCE = 2.0
#: How long to wait for the system to be done with a thread that has ended.
_GONE_WITHIN = 1.0
_GONE_CHECK = 0.0001
#: Raised by the faulting thread itself; a thread that blocks them dies without a traceback.
_FAULTS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT})


@dataclass(slots=True, eq=False)
class Commit:
    """What makes one checkpoint durable: its chunks, then its manifest, then that it is listed.

    Several that wait are made durable together, for the price of one.
    """

    chunks: Sequence[Job]
    manifest: Job  #: done when the chunks are durable
    listed: Job  #: done when the manifest is durable, too


@dataclass(slots=True, eq=False)
class _Task:
    """Jobs that were accepted together: each is done only if those before it did not fail."""

    jobs: deque[Job]
    nbytes: int  #: kept in memory until the jobs are done
    commit: Commit | None = None  #: of which the jobs are the chunks


def _unguarded(job: Callable[[], None]) -> None:
    job()


class BackgroundWriter:
    """Does jobs one after the other in a thread that the program does not see.

    Any thread may call any method, signal handlers too; jobs may call none of them but `submit`.
    The thread starts with a job and ends when there has been none for a while, so it is not there
    most of the time. `before_fork` ends it at once, and until `after_fork` none is started; then
    the next call of `submit`, `drain` or `resume` starts it again where work is left. In a forked
    child every method does nothing.

    A job that raises OSError, `StoreError` or MemoryError has its exception handed to `on_error`,
    in the thread, and the writer goes on with the next task. `guard` is called with every job, to
    deal with whatever else may be raised.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        on_error: Callable[[Failure], None],
        max_bytes: int = MAX_BYTES,
        guard: Guard = _unguarded,
        spent: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._path = store.path
        self._packs = PackWriter(store, name)
        self._on_error = on_error
        self.max_bytes = max_bytes
        self._guard = guard
        self._spent = spent
        self._cores = Cores()
        self._pid = os.getpid()
        # Reentrant, so that a signal handler that interrupts us and runs recorded code, or forks,
        # does not wait for itself.
        self._changed = threading.Condition(threading.RLock())
        self._tasks: deque[_Task] = deque()
        self._queued = 0
        self._worker: object | None = None
        self._ended: set[int] = set()
        self._parked = False
        self._forks = 0  #: under way, in whatever threads
        self._closed = False

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be stored."""
        return self._queued

    @property
    def busy(self) -> bool:
        """Whether what the thread does is taken from the program: no core has nothing to do."""
        return self._cores.busy

    def has_room(self, nbytes: int) -> bool:
        """Return whether so many bytes can be written with something left free for others."""
        return has_room(self._path, nbytes)

    def submit(self, job: Job | Sequence[Job], nbytes: int) -> bool:
        """Take a job that keeps `nbytes` of memory until it is done; return whether it was taken.

        It is not when that would keep more than `max_bytes` waiting: then leave out what the job
        was for, and count it. Several jobs are taken or refused together; when one fails, the
        rest of them are dropped, and between two of them the thread can be stopped for a fork.
        """
        task = _Task(deque([job] if callable(job) else job), nbytes)
        return self._accept(task) if task.jobs else self._may_accept(nbytes)

    def commit(self, commit: Commit, nbytes: int) -> bool:
        """Take a checkpoint of which `nbytes` are kept until its chunks are put; as `submit`."""
        return self._accept(_Task(deque(commit.chunks), nbytes, commit))

    def _accept(self, task: _Task) -> bool:
        with self._changed:
            if not self._may_accept(task.nbytes):
                return False
            self._tasks.append(task)
            self._queued += task.nbytes
            self._start()
            self._changed.notify_all()
        return True

    def _may_accept(self, nbytes: int) -> bool:
        if os.getpid() != self._pid or self._closed:
            return False
        return self._queued + nbytes <= self.max_bytes

    def resume(self) -> None:
        """Go on with what a fork has interrupted; costs next to nothing when there is nothing."""
        if not self._tasks or self._worker is not None or os.getpid() != self._pid:
            return
        with self._changed:
            if self._tasks:
                self._start()

    def put(self, data: Buffer, stored: Callable[[Address], None]) -> bool:
        """Store bytes, then call `stored` with their address, in the thread; return as `submit`.

        The bytes must not change until then.
        """

        def put(packs: PackWriter) -> None:
            stored(packs.put(data))

        return self.submit(put, memoryview(data).nbytes)

    def drain(self, timeout: float | None = None) -> bool:
        """Return True when nothing is left to do, or False after `timeout` seconds."""
        if os.getpid() != self._pid:
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._tasks:
                if not self._start():
                    break
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
        # Python starts no threads any more while it shuts down: the work is then done here.
        while self._tasks:
            self._step()
        return True

    def before_fork(self) -> None:
        """Return when the thread has ended, after the job it is at; the queue stays as it is.

        Otherwise the child would inherit locks that nobody releases, and Python 3.12 would warn.
        If the job takes very long, that is what happens: the child uses none of those locks.
        """
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._forks += 1
        self._end_worker()

    def after_fork(self) -> None:
        """Allow the thread again, in the parent.

        Work that is left waits for the next call: Python counts the threads for its warning only
        after this one.
        """
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def close(self, timeout: float | None = None) -> bool:
        """Do what is left, make it durable and end the thread; return whether that was possible.

        It is not when the work takes more than `timeout` seconds: then the thread is left to it.
        """
        if os.getpid() != self._pid:
            return True
        with self._changed:
            self._closed = True
        if not self.drain(timeout):
            return False
        self._end_worker()
        self._attempt(lambda packs: packs.close())
        return True

    def _end_worker(self) -> None:
        """Return when the system counts no thread of ours, or patience is at its end."""
        deadline = time.monotonic() + _PATIENCE
        with self._changed:
            self._parked = True
            self._changed.notify_all()
            while self._worker is not None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            ended, self._ended = self._ended, set()
        _await_gone(ended)

    def _start(self) -> bool:
        """Start the thread unless it is there; return False if Python starts none any more.

        While a thread forks, nothing is started, and True returned: `after_fork` notifies.
        """
        if self._forks:
            return True
        self._parked = False
        if self._worker is None:
            # Noted before it is there: a signal handler that forks may run right after the start.
            self._worker = worker = object()
            try:
                # threading.Thread would show up in the program's threading.enumerate().
                _thread.start_new_thread(self._work, (worker,))
            except RuntimeError:
                self._worker = None
                return False
        return True

    def _work(self, worker: object) -> None:
        """Be the thread."""
        # A signal sent to the process must find the program's own threads, which may wait for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        _step_back()
        orderly = False
        try:
            while self._wait_for_task(worker):
                self._step()
            orderly = True
        finally:
            if not orderly:
                with self._changed:
                    self._retire(worker)

    def _wait_for_task(self, worker: object) -> bool:
        """Return True when there is work; return False, counting as ended, to end the thread."""
        with self._changed:
            while not self._parked:
                if self._tasks:
                    return True
                if self._closed or not (self._changed.wait(_LINGER) or self._tasks):
                    break
            self._retire(worker)
            return False

    def _retire(self, worker: object) -> None:
        """Note that a thread is about to end; a new one may have taken its place already."""
        self._ended = {*filter(_is_there, self._ended), threading.get_native_id()}
        if self._worker is worker:
            self._worker = None
            self._changed.notify_all()

    def _step(self) -> None:
        """Do the next job, and note what it took."""
        self._cores.work()
        before = time.thread_time()
        self._next_job()
        self._spent((time.thread_time() - before) * self._cores.share)
        if not self._tasks:
            self._cores.rest()

    def _next_job(self) -> None:
        with self._changed:
            group = self._group()
            task = next((task for task in group if task.jobs), None)
            job = None if task is None else task.jobs.popleft()
        if task is None or job is None:
            self._conclude(group)
        else:
            self._do(task, job)

    def _group(self) -> list[_Task]:
        """Return the first task, or with it the other checkpoints that are next."""
        group: list[_Task] = []
        for task in self._tasks:
            if group and (task.commit is None or len(group) == MOST_TOGETHER):
                break
            group.append(task)
            if task.commit is None:
                break
        return group

    def _do(self, task: _Task, job: Job) -> None:
        succeeded = False
        try:
            succeeded = self._attempt(job)
        finally:
            with self._changed:
                if not (succeeded and task.jobs):
                    self._queued -= task.nbytes
                    task.nbytes = 0
                    if not (succeeded and task.commit):
                        self._tasks.remove(task)
                    self._changed.notify_all()

    def _conclude(self, group: list[_Task]) -> None:
        """Make checkpoints durable of which all chunks were put, and then list them."""
        try:
            commits = [task.commit for task in group if task.commit is not None]
            if self._attempt(lambda packs: packs.flush()):
                commits = [each for each in commits if self._attempt(each.manifest)]
                if commits and self._attempt(lambda packs: packs.flush()):
                    for each in commits:
                        self._attempt(each.listed)
        finally:
            with self._changed:
                for task in group:
                    self._tasks.remove(task)
                    self._queued -= task.nbytes
                self._changed.notify_all()

    def _attempt(self, job: Job) -> bool:
        """Do a job under the guard, and return whether it succeeded."""
        succeeded = False

        def attempt() -> None:
            nonlocal succeeded
            try:
                job(self._packs)
                succeeded = True
            except (OSError, StoreError, MemoryError) as error:
                self._on_error(error)

        self._guard(attempt)
        return succeeded


def _step_back() -> None:
    """Let other threads go first where cores are scarce.

    Not as far as possible: then whoever waits for something that this thread has waits long.
    """
    if sys.platform == "linux":  # elsewhere that is for whole processes
        with contextlib.suppress(OSError):
            nice = min(os.getpriority(os.PRIO_PROCESS, 0) + NICE, 19)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def _is_there(thread: int) -> bool:
    """Return whether the system still counts a thread; False where it does not say."""
    return os.path.exists(f"/proc/self/task/{thread}")


def _await_gone(threads: set[int]) -> None:
    """Return when the system does not count the threads any more, or has had time enough.

    A thread that has run its last line is counted a moment longer, also by Python's own check for
    forks.
    """
    deadline = time.monotonic() + _GONE_WITHIN
    for thread in threads:
        while _is_there(thread) and time.monotonic() < deadline:
            time.sleep(_GONE_CHECK)
