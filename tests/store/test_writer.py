from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flor_trace.errors import StoreError, StoreNotWritable
from flor_trace.store import writer as writer_module
from flor_trace.store.layout import Store, open_store
from flor_trace.store.packs import PackReader, PackWriter
from flor_trace.store.writer import BackgroundWriter, Commit, Failure, Job
from flor_trace.types import Address

ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


@pytest.fixture
def failures() -> list[Failure]:
    return []


@pytest.fixture
def writer(store: Store, failures: list[Failure]) -> Iterator[BackgroundWriter]:
    made = BackgroundWriter(store, "run", on_error=failures.append, max_bytes=1000)
    yield made
    assert made.close(timeout=10)


def os_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def nothing(packs: PackWriter) -> None:
    pass


class Gate:
    """A job that says when it has begun and waits until it may end."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, packs: PackWriter) -> None:
        self.begun.set()
        assert self.may_end.wait(10)


def test_jobs_are_done_in_the_order_they_were_given(writer: BackgroundWriter) -> None:
    done: list[int] = []
    for n in range(200):
        assert writer.submit(lambda packs, n=n: done.append(n), 0)

    assert writer.drain(timeout=10)
    assert done == list(range(200))


def test_bytes_are_stored_and_their_address_is_told(writer: BackgroundWriter, store: Store) -> None:
    told: list[Address] = []

    assert writer.put(b"weights" * 10, told.append)

    assert writer.drain(timeout=10)
    assert PackReader(store).get(told[0]) == b"weights" * 10


def test_the_thread_is_not_among_the_threads_of_the_program(writer: BackgroundWriter) -> None:
    before = threading.enumerate()
    gate = Gate()
    writer.submit(gate, 0)
    assert gate.begun.wait(10)

    assert threading.enumerate() == before
    assert threading.active_count() == len(before)
    gate.may_end.set()
    writer.drain()
    assert threading.enumerate() == before


def test_there_is_no_thread_before_the_first_job_and_some_time_after_the_last(
    writer: BackgroundWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_LINGER", 0.02)
    before = os_threads()
    writer.submit(nothing, 0)
    writer.drain()

    deadline = time.monotonic() + 10
    while os_threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os_threads() == before
    done = threading.Event()
    writer.submit(lambda packs: done.set(), 0)
    assert done.wait(10)


def test_what_would_exceed_the_bound_is_refused_until_there_is_room(
    writer: BackgroundWriter,
) -> None:
    gate = Gate()
    assert writer.submit(gate, 600)
    assert not writer.submit(nothing, 401)
    assert writer.submit(nothing, 400)
    assert not writer.submit(nothing, 1)
    assert writer.queued_bytes == 1000

    gate.may_end.set()
    assert writer.drain(timeout=10)
    assert writer.queued_bytes == 0
    assert writer.submit(nothing, 1000)
    assert not writer.put(bytes(1001), print)


def test_memory_of_a_finished_job_is_given_back(writer: BackgroundWriter) -> None:
    import weakref

    class Staging:
        pass

    staging = Staging()
    alive = weakref.ref(staging)
    writer.submit(lambda packs, held=staging: None, 100)
    del staging
    writer.drain()

    assert alive() is None


def test_jobs_given_together_are_taken_or_refused_together(writer: BackgroundWriter) -> None:
    done: list[str] = []
    steps = [lambda packs, n=n: done.append(n) for n in "abc"]
    gate = Gate()
    writer.submit(gate, 900)

    assert not writer.submit(steps, 200)
    assert writer.submit(steps, 100)
    assert writer.submit([], 0)
    gate.may_end.set()
    writer.drain()
    assert done == ["a", "b", "c"]


FAILURES = [OSError(errno.ENOSPC, "full"), StoreNotWritable("full"), MemoryError()]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_failure_is_told_once_and_drops_only_what_depends_on_it(
    writer: BackgroundWriter, failures: list[Failure], failure: Failure
) -> None:
    done: list[str] = []

    def fail(packs: PackWriter) -> None:
        raise failure

    writer.submit([fail, lambda packs: done.append("manifest of what failed")], 10)
    writer.submit(lambda packs: done.append("other"), 10)

    assert writer.drain(timeout=10)
    assert failures == [failure]
    assert done == ["other"]
    assert writer.queued_bytes == 0


def test_the_guard_deals_with_every_other_exception(store: Store, failures: list[Failure]) -> None:
    caught: list[BaseException] = []

    def guard(job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            caught.append(error)

    def fail(packs: PackWriter) -> None:
        raise ZeroDivisionError

    done: list[str] = []
    writer = BackgroundWriter(store, "run", on_error=failures.append, guard=guard)
    writer.submit([fail, lambda packs: done.append("dropped")], 1)
    writer.submit(lambda packs: done.append("other"), 1)

    assert writer.close(timeout=10)
    assert [type(error) for error in caught] == [ZeroDivisionError]
    assert (done, failures) == (["other"], [])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_a_guard_an_unexpected_exception_ends_the_thread_but_not_the_work(
    writer: BackgroundWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: seen.append(info.exc_type))

    def fail(packs: PackWriter) -> None:
        raise ZeroDivisionError

    done: list[str] = []
    writer.submit(fail, 500)
    writer.submit(lambda packs: done.append("other"), 500)

    assert writer.drain(timeout=10)
    assert done == ["other"]
    assert seen == [ZeroDivisionError]


def test_drain_says_when_the_time_was_too_short(writer: BackgroundWriter) -> None:
    gate = Gate()
    writer.submit(gate, 1)

    assert not writer.drain(timeout=0.01)
    assert not writer.close(timeout=0.01)
    gate.may_end.set()
    assert writer.drain()


def test_close_makes_everything_durable_and_ends_the_thread(
    store: Store, failures: list[Failure]
) -> None:
    before = os_threads()
    writer = BackgroundWriter(store, "run", on_error=failures.append)
    writer.put(b"abc" * 50, lambda address: None)

    assert writer.close()
    assert os_threads() == before
    assert (store.packs / "run.idx").exists()
    assert not writer.submit(nothing, 0)
    assert writer.close()
    assert failures == []


def test_a_failure_to_close_is_told(
    store: Store, failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flor_trace.store import files

    def sync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "sync_data", sync)
    writer = BackgroundWriter(store, "run", on_error=failures.append)
    writer.put(b"abc" * 50, lambda address: None)
    writer.close()

    assert [type(failure) for failure in failures] == [StoreNotWritable]


def test_work_is_done_in_the_caller_when_python_starts_no_thread_any_more(
    store: Store, failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(writer_module._thread, "start_new_thread", refuse)
    writer = BackgroundWriter(store, "run", on_error=failures.append)
    done: list[int] = []

    assert writer.submit(lambda packs: done.append(threading.get_ident()), 1)
    assert done == []
    assert writer.close()
    assert done == [threading.get_ident()]
    assert failures == []


def test_signals_find_the_threads_of_the_program(writer: BackgroundWriter) -> None:
    masks: list[set[int]] = []
    writer.submit(lambda packs: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, [])), 0)
    writer.drain()

    assert {signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD} <= masks[0]
    assert signal.SIGSEGV not in masks[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_signal_handler_may_submit_while_submit_runs(writer: BackgroundWriter) -> None:
    done: list[str] = []
    with writer._changed:  # as if the handler had interrupted the critical section
        assert writer.submit(lambda packs: done.append("handler"), 0)
    writer.drain()

    assert done == ["handler"]


def test_before_fork_waits_for_the_job_under_way_and_keeps_the_others(
    writer: BackgroundWriter,
) -> None:
    before = os_threads()
    done: list[str] = []
    gate = Gate()
    writer.submit([gate, lambda packs: done.append("second step")], 10)
    writer.submit(lambda packs: done.append("second task"), 10)
    assert gate.begun.wait(10)
    threading.Timer(0.05, gate.may_end.set).start()

    writer.before_fork()

    assert gate.may_end.is_set()
    assert done == []
    deadline = time.monotonic() + 5
    while os_threads() > before and time.monotonic() < deadline:
        time.sleep(0.001)  # for the timer's own thread
    assert os_threads() == before
    writer.after_fork()
    assert writer.drain(timeout=10)
    assert done == ["second step", "second task"]


def test_after_before_fork_the_system_counts_no_thread_of_ours(writer: BackgroundWriter) -> None:
    before = os_threads()
    counts = set()
    for _ in range(300):
        writer.submit(nothing, 0)
        writer.before_fork()
        counts.add(os_threads())
        writer.after_fork()

    assert counts == {before}


def test_no_thread_is_started_while_a_fork_is_under_way(writer: BackgroundWriter) -> None:
    before = os_threads()
    done: list[int] = []
    writer.before_fork()
    writer.before_fork()  # of another thread

    assert writer.submit(lambda packs: done.append(1), 0)
    writer.resume()
    writer.after_fork()
    writer.resume()

    assert (os_threads(), done) == (before, [])
    writer.after_fork()
    assert writer.drain(10)
    assert done == [1]


def test_after_a_fork_the_next_call_goes_on_with_what_is_left(writer: BackgroundWriter) -> None:
    before = os_threads()
    gate = Gate()
    writer.before_fork()
    writer.submit(gate, 0)
    writer.after_fork()
    assert os_threads() == before  # Python counts the threads after the last of its callbacks

    writer.resume()

    assert gate.begun.wait(10)
    gate.may_end.set()


def test_a_fork_does_not_wait_for_ever_for_a_job_that_waits_for_the_forking_thread(
    writer: BackgroundWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flor_trace.store.writer._PATIENCE", 0.05)
    done: list[int] = []
    lock = threading.Lock()

    def wait_for_lock(packs: object) -> None:
        with lock:
            done.append(1)

    with lock:  # as by a frame that a signal handler has interrupted, which forks
        writer.submit(wait_for_lock, 0)
        writer.before_fork()
        writer.after_fork()
        assert done == []

    assert writer.drain(10)
    assert done == [1]


def test_a_thread_that_drains_while_another_forks_gets_what_it_waits_for(
    writer: BackgroundWriter,
) -> None:
    done: list[int] = []
    writer.before_fork()
    writer.submit(lambda packs: done.append(1), 0)
    threading.Timer(0.05, writer.after_fork).start()

    assert writer.drain(10)

    assert done == [1]


FORKING = """
import os, sys, threading, time, warnings
from pathlib import Path
from flor_trace.store.layout import open_store
from flor_trace.store.packs import PackReader
from flor_trace.store.writer import BackgroundWriter

def fail(error):
    os.write(2, repr(error).encode())

store = open_store(Path(sys.argv[1]), create=True)
writer = BackgroundWriter(store, "run", on_error=fail)
os.register_at_fork(before=writer.before_fork, after_in_parent=writer.after_fork)
told = []
for n in range(60):
    for m in range(3):
        assert writer.put(os.urandom(30_000), told.append)
    child = os.fork()
    if child == 0:
        assert writer.submit(lambda packs: fail("child works"), 0) is False
        assert writer.drain() is True and writer.close() is True
        writer.before_fork()
        grandchild = os.fork()
        if grandchild:
            assert os.waitpid(grandchild, 0)[1] == 0
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
assert writer.close(10)
assert len(told) == 180
reader = PackReader(store)
assert all(reader.get(address) for address in told)
print("well")
"""


def test_forks_with_the_writer_at_work_warn_of_nothing_and_leave_the_child_alone(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", FORKING, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": ROOT},
        check=False,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)


AT_EXIT = """
import atexit, sys
from pathlib import Path
from flor_trace.store.layout import open_store
from flor_trace.store.writer import BackgroundWriter

writer = BackgroundWriter(open_store(Path(sys.argv[1]), create=True), "run", on_error=print)
def close():
    assert writer.put(b"last words" * 10, print)
    assert writer.close()
atexit.register(close)
if len(sys.argv) > 2:
    writer.put(b"earlier", lambda address: None)
"""


@pytest.mark.parametrize("extra", [[], ["thread is there already"]], ids=["no thread", "thread"])
def test_work_given_while_python_shuts_down_is_done(tmp_path: Path, extra: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_EXIT, str(tmp_path / "s"), *extra],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": ROOT},
        check=False,
    )

    assert (done.stderr, done.returncode) == ("", 0)
    address = Address(done.stdout.strip())
    store = open_store(tmp_path / "s", create=False)
    assert PackReader(store).get(address) == b"last words" * 10


def test_a_writer_with_a_bad_name_is_refused_at_once(store: Store) -> None:
    with pytest.raises(StoreError):
        BackgroundWriter(store, "../run", on_error=print)


class Checkpoint:
    """Of which the parts note that they were done, and wait if they are told to."""

    def __init__(self, name: str, done: list[str], first: Gate | None = None) -> None:
        self.name, self.done, self.first = name, done, first
        self.fails = ""

    def part(self, what: str) -> Job:
        def job(packs: PackWriter) -> None:
            if what == "chunk 0" and self.first is not None:
                self.first(packs)
            if what == self.fails:
                raise StoreError(f"no {what}")
            if what == "manifest":
                packs.put(f"{self.name}".encode() * 20)
            self.done.append(f"{self.name} {what}")

        return job

    @property
    def commit(self) -> Commit:
        chunks = [self.part(f"chunk {n}") for n in range(2)]
        return Commit(chunks, self.part("manifest"), self.part("listed"))


@pytest.fixture
def noted(writer: BackgroundWriter, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, the flushes among it."""
    done: list[str] = []
    flush = PackWriter.flush

    def noting(packs: PackWriter) -> None:
        done.append("flush")
        flush(packs)

    monkeypatch.setattr(PackWriter, "flush", noting)
    return done


def test_checkpoints_that_wait_are_made_durable_together(
    writer: BackgroundWriter, noted: list[str]
) -> None:
    gate = Gate()
    assert writer.commit(Checkpoint("a", noted, gate).commit, 10)
    assert gate.begun.wait(10)
    for name in "bc":
        assert writer.commit(Checkpoint(name, noted).commit, 10)
    gate.may_end.set()
    assert writer.drain(timeout=10)

    chunks = [f"{name} chunk {n}" for name in "abc" for n in range(2)]
    manifests, listed = ([f"{name} {what}" for name in "abc"] for what in ("manifest", "listed"))
    assert noted == [*chunks, "flush", *manifests, "flush", *listed]
    assert writer.queued_bytes == 0


def test_memory_of_a_checkpoint_is_free_as_soon_as_its_chunks_are_put(
    writer: BackgroundWriter, noted: list[str]
) -> None:
    gates = Gate(), Gate()
    for name, gate in zip("ab", gates, strict=True):
        writer.commit(Checkpoint(name, noted, gate).commit, 500)
    assert writer.queued_bytes == 1000
    gates[0].may_end.set()
    assert gates[1].begun.wait(10)

    assert writer.queued_bytes == 500
    assert "flush" not in noted
    gates[1].may_end.set()
    assert writer.drain(timeout=10)


def test_other_jobs_keep_their_place_among_checkpoints(
    writer: BackgroundWriter, noted: list[str]
) -> None:
    gate = Gate()
    writer.submit(gate, 0)
    writer.commit(Checkpoint("a", noted).commit, 0)
    writer.submit(lambda packs: noted.append("seed"), 0)
    writer.commit(Checkpoint("b", noted).commit, 0)
    gate.may_end.set()
    assert writer.drain(timeout=10)

    assert noted.index("a listed") < noted.index("seed") < noted.index("b chunk 0")
    assert noted.count("flush") == 4


@pytest.mark.parametrize("what", ["chunk 0", "chunk 1", "manifest", "listed"])
def test_a_checkpoint_that_fails_leaves_the_others_of_its_group_alone(
    writer: BackgroundWriter, noted: list[str], failures: list[Failure], what: str
) -> None:
    gate = Gate()
    writer.submit(gate, 0)
    checkpoints = [Checkpoint(name, noted) for name in "abc"]
    checkpoints[1].fails = what
    for each in checkpoints:
        writer.commit(each.commit, 10)
    gate.may_end.set()
    assert writer.drain(timeout=10)

    assert [each for each in noted if "listed" in each] == ["a listed", "c listed"]
    assert [str(error) for error in failures] == [f"no {what}"]
    assert writer.queued_bytes == 0
    b = [each for each in noted if each.startswith("b")]
    assert b == ["b chunk 0", "b chunk 1", "b manifest"][: ["chunk 0", "chunk 1", "manifest",
                                                           "listed"].index(what)]  # fmt: skip


@pytest.mark.parametrize("nth", [0, 1])
def test_nothing_is_listed_that_is_not_durable(
    writer: BackgroundWriter,
    failures: list[Failure],
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
) -> None:
    flushes = iter(range(9))

    def flush(packs: PackWriter) -> None:
        if next(flushes) == nth:
            raise StoreNotWritable("the disk is gone")

    monkeypatch.setattr(PackWriter, "flush", flush)
    done: list[str] = []
    gate = Gate()
    writer.submit(gate, 0)
    for name in "ab":
        writer.commit(Checkpoint(name, done).commit, 10)
    gate.may_end.set()
    assert writer.drain(timeout=10)

    assert len(failures) == 1
    assert ("a manifest" in done) == (nth == 1)
    assert not [each for each in done if "listed" in each]
    assert writer.queued_bytes == 0


def test_a_fork_stops_a_checkpoint_between_its_chunks(
    writer: BackgroundWriter, noted: list[str]
) -> None:
    gate = Gate()
    writer.commit(Checkpoint("a", noted, gate).commit, 10)
    assert gate.begun.wait(10)
    threading.Timer(0.1, gate.may_end.set).start()
    writer.before_fork()

    assert noted == ["a chunk 0"]
    writer.after_fork()
    writer.resume()
    assert writer.drain(timeout=10)
    assert noted[-1] == "a listed"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux only")
def test_the_thread_goes_after_those_of_the_program(writer: BackgroundWriter) -> None:
    found: list[int] = []
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    writer.submit(lambda packs: found.append(os.getpriority(os.PRIO_PROCESS, 0)), 0)
    writer.drain()

    assert found == [min(mine + writer_module.NICE, 19)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine


def test_the_time_that_is_taken_from_the_program_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    writer = BackgroundWriter(store, "run", on_error=print, spent=told.append)
    cores = SimpleNamespace(share=0.5, busy=False, work=nothing_to_do, rest=nothing_to_do)
    monkeypatch.setattr(writer, "_cores", cores)

    def work(packs: PackWriter) -> None:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    writer.submit(work, 0)
    assert writer.close(timeout=10)
    assert 0.025 <= sum(told) < 0.04


def nothing_to_do() -> None:
    pass
