"""How much does recording cost, and how much does a replay save?  Ratios, side by side in one run.

    python benchmarks/run.py [--rounds 3] [--only digits]

Every example is run plainly and recorded, in turns, and measured in CPU seconds (user and system,
children included), which other work on the machine disturbs least.  Then one recorded run is
asked for a value at the end of every iteration, and the replay's time is set beside that of
running the program again with the question in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Example:
    """A program of examples/ and what is asked of it."""

    script: str
    arguments: tuple[str, ...]
    probe: str


EXAMPLES = {
    "digits": Example(
        "digits.py",
        ("--epochs", "30"),
        "cf=confusion_matrix(test_labels, predict(model, test_x))",
    ),
    "charlm": Example("charlm.py", ("--max-iters", "300"), "w=model.head.weight.sum().item()"),
    "scratch": Example("scratch.py", ("3000",), "w=float(weights.sum())"),
    "partial_fit": Example(
        "partial_fit.py", ("--epochs", "40"), "c=float(np.abs(experiment.model.coef_).sum())"
    ),
}


def cpu_seconds(command: list[str], directory: Path) -> tuple[float, float]:
    """CPU and wall seconds of a command that must succeed."""
    began, before = perf_counter(), os.times()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr.decode()}")
    after = os.times()
    cpu = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return cpu, perf_counter() - began


def measure(name: str, rounds: int) -> None:
    """Print one line about recording and one about replaying an example."""
    example = EXAMPLES[name]
    directory = Path(tempfile.mkdtemp(prefix="flor_trace-bench-"))
    shutil.copy(ROOT / "examples" / example.script, directory)
    plain = [sys.executable, example.script, *example.arguments]
    record = [sys.executable, "-m", "flor_trace", *plain[1:]]
    ratios, walls, plains, last = [], [], [], []
    for number in range(rounds + 1):
        pair = [cpu_seconds(command, directory) for command in (plain, record)]
        if number == 0:
            continue  # the first pair warms caches, ours of rewritten code among them
        ratios.append(pair[1][0] / pair[0][0])
        walls.append(pair[1][1] / pair[0][1])
        plains.append(pair[0][0])
        last = pair
    size = sum(f.stat().st_size for f in (directory / ".flor_trace").rglob("*") if f.is_file())
    print(
        f"{name}: recorded / plain CPU {statistics.median(ratios):.3f} "
        f"[{min(ratios):.3f}, {max(ratios):.3f}], wall {statistics.median(walls):.3f}; "
        f"plain {statistics.median(plains):.2f} s CPU; store {size / 1e6:.1f} MB "
        f"for {rounds + 1} runs"
    )
    newest = sorted((directory / ".flor_trace" / "runs").iterdir())[-1].name
    replay = [sys.executable, "-m", "flor_trace", "replay", "--yes", "--run", newest]
    cpu, wall = cpu_seconds([*replay, "--probe", example.probe], directory)
    print(
        f"{name}: replay / rerun CPU {cpu / last[0][0]:.3f}, wall {wall / last[0][1]:.3f} "
        f"(replay {cpu:.2f} s CPU, default checkpoint budget)"
    )
    shutil.rmtree(directory)


def main() -> None:
    """Measure the chosen examples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=EXAMPLES, action="append")
    options = parser.parse_args()
    for name in options.only or EXAMPLES:
        measure(name, options.rounds)


if __name__ == "__main__":
    main()
