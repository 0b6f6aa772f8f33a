"""A run is the same run, whichever engine sees its loops."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import Project

PROGRAM = """\
import random
import time

def batches(n):
    k = 0
    while k < n:
        k += 1
        yield k

def main():
    weight = 0.5
    for epoch in range(4):
        for batch in batches(3):
            loss = weight * batch + random.random()
            weight -= loss / 100
            time.sleep(0.002)
        step = 0
        while step < 2:
            step += 1
            norm = weight * step
            time.sleep(0.002)
        accuracy = 1 / (1 + weight)
    print('weight', weight)

random.seed(5)
main()
"""
ENGINES = ("bytecode", "ast", "trace")


def frames(project: Project, kind: str) -> list[dict[str, Any]]:
    (run,) = project.ls()
    journal = project.path / ".flor_trace" / "runs" / run["run"] / "journal"
    from flor_trace.history.journal import read_journal

    return [dict(frame) for _, frame in read_journal(Path(journal)) if frame["t"] == kind]


def recorded(project: Project, engine: str, *options: str) -> tuple[str, list[dict[str, Any]]]:
    project.write("train.py", PROGRAM)
    done = project.run(
        sys.executable, *options, "-m", "flor_trace", "run", "--overhead", "10000%",
        "--engine", engine, "train.py",
    )  # fmt: skip
    rows = [{k: v for k, v in row.items() if k != "runid"} for row in project.pivot()]
    return done.stdout + done.stderr, rows


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_the_same_values_are_recorded_and_replayed(tmp_path: Path, engine: str) -> None:
    outcomes = []
    for name in ("bytecode", engine):
        project = Project(tmp_path / name)
        project.path.mkdir()
        output, rows = recorded(project, name)
        keys = {(frame["key"], frame["dim"], frame["nth"]) for frame in frames(project, "loop")}
        marks = [(f["boundary"], f["digest"]) for f in frames(project, "checkpoint")]
        (header,) = frames(project, "run")
        replayed = project.replay("twice=weight * 2")
        values = json.dumps(replayed, sort_keys=True)
        assert header["engine"] == name
        assert '"exact": 4' in values
        assert '"diverged": 0' in values
        outcomes.append((output, rows, keys, marks, project.pivot("twice")))
    first, second = outcomes
    assert first[0] == second[0]
    assert len(first[1]) > 12
    assert first[1:3] == second[1:3]
    assert set(second[3]) <= set(first[3])
    assert [row["twice"] for row in first[4]] == [row["twice"] for row in second[4]]


def test_without_columns_another_engine_takes_over_and_says_so(bare: Project) -> None:
    output, rows = recorded(bare, "auto", "-X", "no_debug_ranges")
    (header,) = frames(bare, "run")
    assert header["engine"] == "ast"
    assert output.count("flor_trace: Python runs without column positions") == 1
    assert {row["epoch"] for row in rows} == {0, 1, 2, 3}


def test_an_engine_that_cannot_work_is_a_usage_error(bare: Project) -> None:
    bare.write("train.py", PROGRAM)
    command = [sys.executable, "-X", "no_debug_ranges", "-m", "flor_trace", "run"]
    done = bare.run(*command, "--engine", "trace", "train.py", check=False)
    assert done.returncode == 2
    assert "use --engine ast" in done.stderr
    done = bare.flor("run", "--engine", "magic", "train.py", check=False)
    assert done.returncode == 2
    assert "magic" in done.stderr


def test_a_free_threaded_interpreter_runs_the_program_plainly(bare: Project) -> None:
    bare.write("train.py", "import sys\nfor i in range(2): print(i, sys.argv)\nsys.exit(3)\n")
    pretend = (
        "import sys\nfrom flor_trace import pyfacts\npyfacts.FREE_THREADED = True\n"
        "from flor_trace.cli.run import main\nmain(sys.argv[1:])\n"
    )
    bare.write("pretend.py", pretend)
    done = bare.run(sys.executable, "pretend.py", "train.py", "x", check=False)
    assert done.returncode == 3
    assert done.stdout == "0 ['train.py', 'x']\n1 ['train.py', 'x']\n"
    assert done.stderr.count("free-threaded") == 1
    assert done.stderr.startswith("flor_trace: recording is off")
    assert not (bare.path / ".flor_trace").exists()


def test_a_program_that_traces_itself_is_recorded_up_to_there(bare: Project) -> None:
    bare.write(
        "train.py",
        "import sys, time\nfor epoch in range(4):\n    x = epoch\n    time.sleep(0.01)\n"
        "sys.settrace(None)\nfor late in range(3):\n    time.sleep(0.01)\nprint('end')\n",
    )
    done = bare.record("--engine", "trace", "train.py")
    assert done.stdout == "end\n"
    assert done.stderr.count("loops are recorded no longer") == 1
    assert [f["why"] for f in frames(bare, "lost")] == [
        "the program set a trace function of its own"
    ]
    rows = bare.pivot()
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert "late" not in rows[0]
