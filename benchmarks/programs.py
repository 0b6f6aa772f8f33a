"""Measure whole programs, recorded and plain in turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measuring import Process, Row, environment, processes_in_turns

#: The test suite that is run, at this version.
SUITE = "more-itertools==10.7.0"

TIGHT = """\
import sys, time

def short(n):
    rows = [[1, 2, 3]] * 100
    total = 0
    for _ in range(n // 300):
        for row in rows:
            for value in row:
                total += value
    return total

def inner(row):
    total = 0
    for value in row:
        total += value
    return total

def called(n):
    row = [1, 2, 3, 4, 5]
    return sum([inner(row) for _ in range(n // 10)])

def long_for(n):
    total = 0
    for k in range(n):
        total ^= k
    return total

def long_while(n):
    total = i = 0
    while i < n:
        i += 1
        total += i & 3
    return total

n = int(sys.argv[1])
for work in (short, called, long_for, long_while):
    began = time.process_time()
    work(n)
    print(work.__name__, time.process_time() - began)
"""

#: Slow at first, so that the loop is watched; later fast enough to take a million values.
#: Prints the CPU time of its fastest slice, which other work on the machine disturbs least.
VALUES = """\
import sys, time

def main(n, slice, burn):
    times, began = [], 0.0
    for step in range(n):
        if step < 40:
            time.sleep(0.002)
        elif (step - 40) % slice == 0:
            times.append(-began + (began := time.process_time()))
        x = 0.0
        for k in burn:
            x += k
        loss = x / (step + 1)
    print("slice", min(times[1:]))

main(int(sys.argv[1]), int(sys.argv[2]), [0.5] * 1600)
"""

#: Nineteen more values an iteration than `step`, `x` and `began`.
MANY = VALUES.replace(
    "        loss = x / (step + 1)\n", "".join(f"        v{k} = x * {k}\n" for k in range(19))
).replace("* 1600", "* 3000")


@dataclass(frozen=True)
class Setting:
    """An interpreter, a directory for programs, and how often each is run."""

    python: str
    directory: Path
    rounds: int

    def plain(self, *words: str) -> Process:
        return Process((self.python, *words), self.directory, environment())

    def recorded(self, *words: str, options: tuple[str, ...] = ()) -> Process:
        command = (self.python, "-m", "flor_trace", *options, *words)
        return Process(command, self.directory, environment())

    def write(self, name: str, text: str) -> str:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / name).write_text(text)
        return name


def prepare(setting: Setting) -> None:
    """Make the directory a git repository, as most projects are."""
    setting.write(".gitignore", ".flor_trace/\n__pycache__/\n")
    setting.write("empty.py", "")
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "start")):
        subprocess.run(("git", *words), cwd=setting.directory, check=True, capture_output=True)


def start_up(setting: Setting) -> Row:
    """CPU of recording a program without a line, over that of running it."""
    given = {"plain": setting.plain("empty.py"), "recorded": setting.recorded("empty.py")}
    times, _ = processes_in_turns(given, setting.rounds)
    pairs = zip(times["recorded"], times["plain"], strict=True)
    return {
        "subject": "start-up",
        "way": "empty.py",
        "median_ms": statistics.median(a - b for a, b in pairs) * 1e3,
        "min_ms": (min(times["recorded"]) - min(times["plain"])) * 1e3,
        "plain_ms": min(times["plain"]) * 1e3,
    }


def tight(setting: Setting, n: int) -> Iterator[Row]:
    """Tight loops over their whole life, by the program's own clock."""
    script = setting.write("tight.py", TIGHT)
    given = {
        "plain": setting.plain(script, str(n)),
        "recorded": setting.recorded(script, str(n)),
    }
    _, outputs = processes_in_turns(given, setting.rounds)
    said = {how: [_times(text) for text in texts] for how, texts in outputs.items()}
    for work in said["plain"][0]:
        plain = [times[work] for times in said["plain"]]
        recorded = [times[work] for times in said["recorded"]]
        yield {
            "subject": "tight loops",
            "way": work,
            "ratio": statistics.median(a / b for a, b in zip(recorded, plain, strict=True)),
            "ratio_of_min": min(recorded) / min(plain),
            "plain_seconds": min(plain),
        }


def _times(output: bytes) -> dict[str, float]:
    lines = (line.split() for line in output.decode().splitlines())
    return {name: float(seconds) for name, seconds in lines}


def values(setting: Setting, name: str, program: str, n: int, each: int) -> Row:
    """What a logged value costs, journal included: the fastest slice, of many with many rows."""
    script = setting.write(f"{name}.py", program)
    options = ("--overhead", "0", "--name", name)
    slices = n // 30
    words = (script, str(n + 40), str(slices))
    given = {"plain": setting.plain(*words), "recorded": setting.recorded(*words, options=options)}
    _, outputs = processes_in_turns(given, setting.rounds)
    least = {how: min(_times(text)["slice"] for text in texts) for how, texts in outputs.items()}
    more, base = least["recorded"], least["plain"]
    return {
        "subject": "values",
        "way": f"{each} an iteration",
        "us_per_value": (more - base) / (slices * each) * 1e6,
        "values": n * each,
        "plain_us_per_iteration": base / slices * 1e6,
        "rows": _logged(setting, name),
    }


#: Says how many rows the journals of runs with a name have at most.
_COUNT = """\
import sys
from pathlib import Path
from flor_trace.history.journal import read_journal
most = 0
for journal in Path(sys.argv[1]).glob("*/journal"):
    frames = [frame for _, frame in read_journal(journal)]
    if frames[0]["name"] == sys.argv[2]:
        most = max(most, sum(len(f["value"]) for f in frames if f["t"] == "rows"))
print(most)
"""


def _logged(setting: Setting, name: str) -> int:
    """How many rows the runs of that name really have."""
    runs = setting.directory / ".flor_trace" / "runs"
    return int(setting.plain("-c", _COUNT, str(runs), name).cpu()[1])


def suite(setting: Setting, source: Path | None, quick: bool) -> Row:
    """A test suite with every loop of package and tests recorded under the default policy."""
    folder = source or _download(setting)
    words: tuple[str, ...] = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
    words += ("tests/test_recipes.py",) if quick else ("tests",)
    store = ("--store", str(setting.directory / "suite-store"))
    given = {
        "plain": Process((setting.python, *words), folder, environment()),
        "recorded": Process(
            (setting.python, "-m", "flor_trace", *store, *words), folder, environment()
        ),
    }
    times, outputs = processes_in_turns(given, max(setting.rounds // 3, 1))
    pairs = list(zip(times["recorded"], times["plain"], strict=True))
    return {
        "subject": "test suite",
        "way": SUITE if source is None else source.name,
        "ratio": statistics.median(a / b for a, b in pairs),
        "ratio_of_min": min(times["recorded"]) / min(times["plain"]),
        "more_seconds": min(times["recorded"]) - min(times["plain"]),
        "plain_seconds": min(times["plain"]),
        "said": outputs["recorded"][-1].decode().strip().splitlines()[-1],
    }


def _download(setting: Setting) -> Path:
    """The source distribution of `SUITE`; it is kept nowhere else."""
    target = setting.directory / "suite"
    if not target.exists():
        pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:")
        subprocess.run((*pip, SUITE, "-d", str(target)), check=True, capture_output=True)
        with tarfile.open(next(target.glob("*.tar.gz"))) as archive:
            archive.extractall(target, filter="data")
    return next(path for path in target.iterdir() if path.is_dir())


def measure(setting: Setting, quick: bool, wanted: set[str], source: Path | None) -> Iterator[Row]:
    """Yield a row for each program that is wanted."""
    prepare(setting)
    if "start-up" in wanted:
        yield start_up(setting)
    if "tight" in wanted:
        yield from tight(setting, 300_000 if quick else 20_000_000)
    if "values" in wanted:
        few = Setting(setting.python, setting.directory, max(setting.rounds // 3, 1))
        yield values(few, "one", VALUES, 5_000 if quick else 400_000, 4)
        yield values(few, "many", MANY, 600 if quick else 150_000, 22)
    if "suite" in wanted:
        yield suite(setting, source, quick)
