"""A recorded program may have child processes: they are as without us, and so is it."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Project

from flor_trace.history.journal import is_torn, read_journal
from flor_trace.store.check import fsck
from flor_trace.store.layout import open_store

FLAGS = pytest.mark.parametrize("flags", [(), ("-W", "error"), ("-X", "dev")], ids=" ".join)

#: Something to checkpoint, so that the writer is at work whenever the program forks.
BALLAST = """
import os, sys, time
ballast = [bytearray(os.urandom(1 << 18)) for _ in range(8)]
"""

FORKS = (
    BALLAST
    + """
def work(n):
    total = 0
    for i in range(n):
        total += i
    while total % 7:
        total += 1
    return total

for epoch in range(40):
    ballast[epoch % 8] = bytearray(os.urandom(1 << 18))
    pid = os.fork()
    if pid == 0:
        for again in range(3):
            value = work(20)
        import helper
        helper.run()
        os._exit(value % 5)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    x = work(epoch) + status
print("done", x)
"""
)

EXITS = (
    BALLAST
    + """
import atexit
atexit.register(lambda: print("bye", "child" if os.getpid() != parent else "parent", flush=True))
parent = os.getpid()
for epoch in range(6):
    ballast[epoch] = bytearray(os.urandom(1 << 18))
    pid = os.fork()
    if pid == 0:
        for i in range(4):
            seen = i
        if epoch == 4:
            raise ValueError("in the child")
        sys.exit(epoch)
    x = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("child ended", x, flush=True)
"""
)

THREADS = (
    BALLAST
    + """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # the program's own threads are its own doing
statuses = []
def fork_often():
    for turn in range(12):
        pid = os.fork()
        if pid == 0:
            for i in range(5):
                x = i
            os._exit(x)
        statuses.append(os.waitpid(pid, 0)[1] >> 8)
threads = [threading.Thread(target=fork_often) for _ in range(3)]
for thread in threads:
    thread.start()
for epoch in range(30):
    ballast[epoch % 8] = bytearray(os.urandom(1 << 18))
    time.sleep(0.004)
for thread in threads:
    thread.join()
print(statuses == [4] * 36)
"""
)

SIGNALS = (
    BALLAST
    + """
import random, signal
forks = 0
def fork(number, frame):
    global forks
    pid = os.fork()
    if pid == 0:
        for i in range(3):
            x = i
        os._exit(0)
    os.waitpid(pid, 0)
    forks += 1
    signal.setitimer(signal.ITIMER_REAL, random.random() * 0.004)
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.002)
for epoch in range(40):
    ballast[epoch % 8] = bytearray(os.urandom(1 << 18))
    time.sleep(0.004)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print("done", forks > 3)
"""
)

EXECS = (
    BALLAST
    + """
for epoch in range(4):
    ballast[epoch] = bytearray(os.urandom(1 << 18))
    pid = os.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "other.py", str(epoch)])
    x = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("last", x)
"""
)

SUBPROCESS = """
import subprocess, sys
for epoch in range(3):
    done = subprocess.run([sys.executable, "other.py", str(epoch)], capture_output=True, text=True)
    x = done.returncode
    print(done.stdout, done.stderr, x)
    ready = subprocess.run(["true"], preexec_fn=lambda: None).returncode
"""

OTHER = """
import sys, threading
total = 0
for i in range(5):
    total += i
print("other", total, sys.argv, threading.active_count(), "flor_trace" in sys.modules)
sys.exit(int(sys.argv[1]))
"""

HELPER = """
def run():
    total = 0
    for i in range(5):
        total += i
    return total
"""

MULTIPROCESSING = """
import multiprocessing as mp, os, pickle, sys, warnings

# Pools and queues have threads of their own, which may or may not have ended at the next fork.
warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)

class Job:
    def __init__(self, n):
        self.n = n
    def run(self):
        total = 0
        for i in range(self.n):
            total += i
        return total

def run(job):
    return job.run()

def produce(queue, event, n):
    for i in range(n):
        queue.put(Job(i))
    queue.put(None)
    event.wait()

def fail():
    for i in range(3):
        x = i
    raise SystemExit(7)

def main(method):
    context = mp.get_context(method)
    for epoch in range(2):
        with context.Pool(2) as pool:
            sums = pool.map(run, [Job(n) for n in range(6)])
        last = sums[-1]
    print(sums)
    queue, event = context.Queue(), context.Event()
    process = context.Process(target=produce, args=(queue, event, 4))
    process.start()
    results = []
    for job in iter(queue.get, None):
        results.append(job.run())
    event.set()
    process.join()
    print(results, process.exitcode)
    process = context.Process(target=fail)
    process.start()
    process.join()
    print(process.exitcode)
    with context.Manager() as manager:
        shared = manager.dict()
        for key in range(3):
            shared[key] = key
        print(dict(shared))

if __name__ == "__main__":
    main(sys.argv[1])
    print(pickle.loads(pickle.dumps(Job(3))).run(), Job.__module__)
"""

FUTURES = """
import sys
from concurrent.futures import ProcessPoolExecutor
import multiprocessing as mp

def square(n):
    total = 0
    for _ in range(n):
        total += n
    return total

def bad(n):
    raise KeyError(n)

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=mp.get_context(sys.argv[1])) as pool:
        for n, value in enumerate(pool.map(square, range(6))):
            print(n, value)
        print(repr(pool.submit(bad, 3).exception()))
"""

JOBLIB = """
import sys
from joblib import Parallel, delayed

def square(n):
    total = 0
    for _ in range(n):
        total += n
    return total

if __name__ == "__main__":
    for epoch in range(2):
        values = Parallel(n_jobs=2, backend=sys.argv[1])(delayed(square)(n) for n in range(6))
        last = values[-1]
    print(values)
    if sys.argv[1] == "loky":
        print(Parallel(n_jobs=2)(delayed(lambda n: n + 1)(n) for n in range(3)))
"""

LOADERS = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

class Numbers(Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, index):
        total = 0
        for i in range(index):
            total += i
        return torch.tensor([float(total), float(get_worker_info().id)])

def main(method, persistent):
    torch.manual_seed(3)
    loader = DataLoader(
        Numbers(), batch_size=3, shuffle=True, num_workers=2,
        multiprocessing_context=method, persistent_workers=persistent,
    )
    weight = torch.zeros(2)
    for epoch in range(3):
        for batch in loader:
            weight += batch.sum(0)
            loss = float(weight.sum())
        print(epoch, loss)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "persistent")
"""


def journal(project: Project) -> list[dict[str, Any]]:
    """The frames of the only run, which is whole."""
    (path,) = project.path.glob(".flor_trace/runs/*/journal")
    assert not is_torn(path)
    return [frame for _, frame in read_journal(path)]


def compare(project: Project, *arguments: str, **options: Any) -> list[dict[str, Any]]:
    """Run plainly and recorded: the same in every byte, and one whole run; return its frames."""
    plain = project.plain(*arguments, check=False, **options)
    words = list(arguments)
    at = next(n for n, word in enumerate(words) if word.endswith(".py"))
    recorded = project.plain(
        *words[:at], "-m", "flor_trace", "--overhead", "10000%", *words[at:], check=False, **options
    )

    assert recorded.stdout == plain.stdout
    assert recorded.stderr == plain.stderr
    assert recorded.returncode == plain.returncode
    frames = journal(project)
    assert [frame["status"] for frame in frames if frame["t"] == "exit"] == [plain.returncode]
    assert [frame for frame in frames if frame["t"] == "lost"] == []
    return frames


def checkpoints(frames: list[dict[str, Any]]) -> int:
    return sum(frame["t"] == "checkpoint" for frame in frames)


@FLAGS
def test_forking_while_checkpoints_are_written_disturbs_nobody(
    bare: Project, flags: tuple[str, ...]
) -> None:
    bare.write("forks.py", FORKS)
    bare.write("helper.py", HELPER)

    frames = compare(bare, *flags, "forks.py")

    assert checkpoints(frames) == 41
    # The children have imported it; neither they nor the parent have instrumented it.
    assert {frame["module"] for frame in frames if frame["t"] == "module"} == {"forks.py"}
    cached = [p for p in bare.path.glob(".flor_trace/cache/**/*") if p.is_file()]
    assert len([p for p in cached if p.name != "finished-packs"]) == 1
    assert list(fsck(open_store(bare.path / ".flor_trace", create=False), data=True)) == []


def test_a_child_that_ends_through_atexit_writes_nothing(bare: Project) -> None:
    bare.write("exits.py", EXITS)

    frames = compare(bare, "exits.py")

    assert sum(frame["t"] == "exit" for frame in frames) == 1
    assert checkpoints(frames) == 7


def test_threads_may_fork_while_checkpoints_are_written(bare: Project) -> None:
    bare.write("threads.py", THREADS)

    frames = compare(bare, "threads.py")

    assert checkpoints(frames) >= 31


def test_a_signal_handler_may_fork_wherever_it_interrupts(bare: Project) -> None:
    bare.write("signals.py", SIGNALS)

    frames = compare(bare, "signals.py")

    assert checkpoints(frames) == 41


@pytest.mark.parametrize("program", [EXECS, SUBPROCESS], ids=["exec", "subprocess"])
def test_python_programs_started_by_the_program_are_plain(bare: Project, program: str) -> None:
    bare.write("starts.py", program)
    bare.write("other.py", OTHER)

    compare(bare, "starts.py")

    assert len(bare.ls()) == 1


@FLAGS
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_as_without_us(
    bare: Project, method: str, flags: tuple[str, ...]
) -> None:
    bare.write("many.py", MULTIPROCESSING)

    frames = compare(bare, *flags, "many.py", method)

    assert checkpoints(frames) > 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_find_the_classes_of_a_program_that_is_run_as_a_module(
    bare: Project, method: str
) -> None:
    bare.write("pack/__init__.py", "")
    bare.write("pack/many.py", MULTIPROCESSING)
    plain = bare.plain("-m", "pack.many", method)

    recorded = bare.record("-m", "pack.many", method)

    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_pools_work_as_without_us(bare: Project, method: str) -> None:
    bare.write("futures.py", FUTURES)

    compare(bare, "-W", "error", "futures.py", method)


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib_works_as_without_us(bare: Project, backend: str) -> None:
    pytest.importorskip("joblib")
    bare.write("jobs.py", JOBLIB)

    compare(bare, "jobs.py", backend)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("method", "persistent"),
    [
        ("fork", "made anew"),
        ("fork", "persistent"),
        pytest.param("spawn", "persistent", marks=pytest.mark.slow),
    ],
)
def test_the_workers_of_a_data_loader_are_as_without_us(
    bare: Project, method: str, persistent: str
) -> None:
    pytest.importorskip("torch")
    bare.write("loaders.py", LOADERS)

    frames = compare(bare, "loaders.py", method, persistent)

    assert checkpoints(frames) > 0
