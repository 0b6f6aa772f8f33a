"""What does recording a training cost?  Whole programs, taken in turns with plain Python.

    python benchmarks/overhead.py [--quick] [--json] [--workload NAME ...] [--threads N ...]
        [--rounds N] [--scale X] [--way NAME ...] [--flordb PATH ...]

Each round runs every way of every workload once at full length, and once without a single epoch.
The latter is the start; what is left of the former without it is the training. Overheads of the
training are in per cent of plain Python's in the same round: the median and, in brackets, the
quartiles. CPU is user and system time of the process and all it started; wall time is of no use
on a machine that does other work.

Ways: recorded (default settings); torch.save, async_save: the program saves model and optimizer at
the end of each epoch, at once or by torch.distributed.checkpoint. Each --flordb is an interpreter
that can import FlorDB (3.4.12 or 4.0.1, the latter beside torch.save): the program edited for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from measuring import Row, environment

from flor_trace.history.journal import read_journal

SOURCES = Path(__file__).with_name("workloads")

#: Epochs at full length: some ten seconds each on one core of 2025.
EPOCHS = {"mlp": 20, "gpt": 8, "cnn": 24, "finetune": 12}
WAYS = ("recorded", "torch.save", "async_save")

#: Where each way leaves what it stores.
_PRODUCE = (".flor_trace", ".flor", "home")


@dataclass(frozen=True)
class Life:
    """What one process took from the machine, in seconds and MB."""

    cpu: float
    wall: float
    memory: float


@dataclass(frozen=True)
class Way:
    """How a workload is run: the command before its arguments, and what it is told to save."""

    name: str
    command: tuple[str, ...]
    script: str
    saving: str = "none"


def live(command: tuple[str, ...], directory: Path) -> Life:
    """Run a command that must succeed and return what it took."""
    environ = environment(HOME=str(directory / "home"))
    with tempfile.TemporaryFile() as output:
        began = perf_counter()
        # The exact amounts are known only to who waits for the process itself.
        process = subprocess.Popen(
            command, cwd=directory, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{command} failed:\n{output.read().decode()[-3000:]}")
    return Life(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


class Project:
    """A repository with the workloads in it, as a person would have one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copytree(SOURCES, directory, ignore=shutil.ignore_patterns("__pycache__"))
        (directory / ".gitignore").write_text("home\n*.pt\nepoch*\n__pycache__\n")
        who = ("-c", "user.name=someone", "-c", "user.email=someone@example.com")
        for command in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "programs")):
            subprocess.run(("git", *command), cwd=directory, check=True, capture_output=True)
        subprocess.run(("git", "config", "user.name", "someone"), cwd=directory, check=True)
        subprocess.run(
            ("git", "config", "user.email", "someone@example.com"), cwd=directory, check=True
        )

    def run(self, way: Way, epochs: int, threads: int) -> tuple[Life, Row]:
        """Run a workload once; return what it took, and what it left."""
        self._clean()
        size = ("--epochs", str(epochs), "--threads", str(threads), "--save", way.saving)
        life = live((*way.command, way.script, *size), self.directory)
        left: Row = {"stored MB": round(self._produced() / 1e6, 1)}
        for journal in self.directory.glob(".flor_trace/runs/*/journal"):
            left |= _of_journal(journal)
        return life, left

    def _clean(self) -> None:
        (self.directory / "home").mkdir(exist_ok=True)
        for place in (*_PRODUCE, *(path.name for path in self.directory.glob("epoch*"))):
            path = self.directory / place
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (self.directory / "home").mkdir()

    def _produced(self) -> int:
        places = [self.directory / name for name in _PRODUCE]
        places += self.directory.glob("epoch*")
        files = [each for place in places for each in (place, *place.rglob("*")) if each.is_file()]
        return sum(each.stat().st_blocks * 512 for each in files)


def _of_journal(journal: Path) -> Row:
    """Checkpoints in a journal, and what could not be recorded."""
    frames = [frame for _, frame in read_journal(journal)]
    taken = [frame for frame in frames if frame["t"] == "checkpoint"]
    (over,) = [frame for frame in frames if frame["t"] == "exit"]
    return {
        "checkpoints": len(taken),
        "skipped": int(over["skipped"]),
        "lost": sum(frame["t"] == "lost" for frame in frames),
        "state MB": round(sum(frame["bytes"] for frame in taken) / 1e6, 1),
        "stall ms": round(over["checkpoint_seconds"] * 1e3, 1),
    }


def ways_of(workload: str, wanted: set[str], flordb: list[str]) -> list[Way]:
    """Plain Python first, then the others."""
    script, python = f"{workload}.py", (sys.executable,)
    known = [
        Way("recorded", (*python, "-m", "flor_trace", "run"), script),
        Way("torch.save", python, script, "torch"),
        Way("async_save", python, script, "async"),
    ]
    found = [Way("plain", python, script), *(way for way in known if way.name in wanted)]
    for other in flordb:
        version = _version_of(other)
        saving = "none" if version.startswith("3.") else "torch"
        found.append(Way(f"FlorDB {version}", (other,), f"{workload}_flor.py", saving))
    return found


def _version_of(python: str) -> str:
    code = "import importlib.metadata as m; print(m.version('flordb'))"
    done = subprocess.run((python, "-c", code), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """The rows of every workload and number of threads."""
    for workload in options.workload:
        epochs = max(1, round(EPOCHS[workload] * options.scale))
        ways = ways_of(workload, set(options.way), options.flordb)
        for threads in options.threads:
            with tempfile.TemporaryDirectory(prefix="flor_trace-bench-") as folder:
                found = _rounds(Project(Path(folder) / "project"), ways, epochs, threads, options)
            for row in _rows(found, options.rounds):
                yield {"workload": workload, "threads": threads, "epochs": epochs, **row}


Lives = dict[str, list[tuple[Life, Life, Row]]]


def _rounds(
    project: Project, ways: list[Way], epochs: int, threads: int, options: argparse.Namespace
) -> Lives:
    """Of each way and round: the full length, the start alone, what was left."""
    found: Lives = {way.name: [] for way in ways}
    for number in range(options.rounds):
        # What comes after what is not always the same.
        for way in ways if number % 2 == 0 else ways[::-1]:
            start, _ = project.run(way, 0, threads)
            full, left = project.run(way, epochs, threads)
            found[way.name].append((full, start, left))
    return found


def _rows(found: Lives, rounds: int) -> Iterator[Row]:
    plain = found.pop("plain")
    starts = [start.cpu for _, start, _ in plain]
    yield {
        "way": "plain",
        "cpu s": statistics.median(full.cpu - start.cpu for full, start, _ in plain),
        "wall s": statistics.median(full.wall - start.wall for full, start, _ in plain),
        "start s": statistics.median(starts),
        "memory MB": statistics.median(full.memory for full, _, _ in plain),
    }
    for name, lives in found.items():
        row: Row = {"way": name}
        for what in ("cpu", "wall"):
            # One number for the start of each way: differences of single ones are mostly noise.
            ours = statistics.median(getattr(start, what) for _, start, _ in lives)
            theirs = statistics.median(getattr(start, what) for _, start, _ in plain)
            shares = [
                100 * ((getattr(a, what) - ours) / (getattr(b, what) - theirs) - 1)
                for (a, _, _), (b, _, _) in zip(lives, plain, strict=True)
            ]
            row |= {f"{what} %": statistics.median(shares)}
            if rounds > 1:
                low, _, high = statistics.quantiles(shares, n=4, method="inclusive")
                row |= {f"{what} low": low, f"{what} high": high}
            row |= {f"{what} start ms": 1e3 * (ours - theirs)}
        memory = statistics.median(
            a.memory - b.memory for (a, *_), (b, *_) in zip(lives, plain, strict=True)
        )
        yield {**row, "memory MB": memory, **lives[-1][2]}


def line(row: Row) -> str:
    """What a person reads of a row."""
    head = f"{row['workload']:<9} {row['threads']} threads  {row['way']:<13}"
    if row["way"] == "plain":
        numbers = (f"{key} {row[key]:.2f}" for key in ("cpu s", "wall s", "start s", "memory MB"))
        return f"{head} {'  '.join(numbers)}"
    times = "  ".join(_share(row, what) for what in ("cpu", "wall"))
    start = f"start {row['cpu start ms']:+.0f} ms (wall {row['wall start ms']:+.0f})"
    rest = "  ".join(f"{key} {row[key]}" for key in list(row)[_after_memory(row) :])
    return f"{head} {times}  {start}  memory {row['memory MB']:+.0f} MB  {rest}"


def over_all(rows: list[Row]) -> Iterator[str]:
    """The median and the worst over all workloads of each way."""
    for way in dict.fromkeys(row["way"] for row in rows if row["way"] != "plain"):
        shares = [row["cpu %"] for row in rows if row["way"] == way]
        yield (
            f"{way}: CPU over plain, median {statistics.median(shares):+.2f} %, "
            f"worst {max(shares):+.2f} % of {len(shares)}"
        )


def _share(row: Row, what: str) -> str:
    spread = (
        f" [{row[f'{what} low']:+.2f} {row[f'{what} high']:+.2f}]" if f"{what} low" in row else ""
    )
    return f"{what} {row[f'{what} %']:+.2f} %{spread}"


def _after_memory(row: Row) -> int:
    return list(row).index("memory MB") + 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one epoch, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--workload", action="append", choices=sorted(EPOCHS))
    parser.add_argument("--threads", action="append", type=int, help="of torch; 1 and 2")
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scale", type=float, help="how much longer than usual")
    parser.add_argument("--flordb", action="append", default=[], metavar="PATH")
    options = parser.parse_args()
    options.workload = options.workload or list(EPOCHS)
    options.threads = options.threads or ([1] if options.quick else [1, 2])
    options.way = options.way or list(WAYS)
    options.rounds = options.rounds or (1 if options.quick else 7)
    options.scale = options.scale or (1e-3 if options.quick else 1.0)
    rows = []
    for row in measure(options):
        rows.append(row)
        if not options.json:
            print(line(row), flush=True)  # the whole of it takes an hour
    print(json.dumps(rows, indent=1) if options.json else "\n".join(over_all(rows)))


if __name__ == "__main__":
    main()
