"""The benchmarks run; what they measure is not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "instrument.py"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rows():
    parts = ("--part", "loops", "--part", "start-up", "--part", "tight", "--part", "values")
    return json.loads(run("--json", *parts))


def test_every_row_says_what_was_measured_where_and_has_a_number(rows):
    version = ".".join(map(str, sys.version_info[:2]))
    for row in rows:
        assert row["python"] == version
        assert row["twin"] in ("native", "python")
        assert isinstance(row["subject"], str)
        assert isinstance(row["way"], str)
        assert any(isinstance(value, int | float) for value in row.values())


def test_both_twins_and_all_kinds_of_loop_are_there(rows):
    from flor_trace._speedups import NATIVE

    twins = {"native", "python"} if NATIVE else {"python"}
    subjects = {"count", "items", "while_loop", "enter_for", "enter_while"}
    ways = {"no handler", "given up", "quiet", "to Python", "to C", "settrace"}
    found = {(row["twin"], row["subject"], row["way"]) for row in rows}
    assert {(t, s, w) for t in twins for s in subjects for w in ways} <= found
    assert {(t, "import", "from the cache") for t in twins} <= found


def test_a_reported_loop_costs_more_than_a_plain_one(rows):
    """Or else nothing was rewritten and nothing reported."""
    for row in rows:
        if row["way"] == "to Python":
            assert row["ratio"] > 1.2, row


def test_the_values_that_are_paid_for_are_really_in_the_journal(rows):
    (row,) = [row for row in rows if row["way"] == "4 an iteration"]
    assert row["rows"] >= 5000


def test_without_json_there_is_a_line_for_each_row():
    lines = run("--part", "start-up").splitlines()
    assert len(lines) == 1
    assert "empty.py" in lines[0]


@pytest.mark.torch
def test_the_benchmark_of_the_state_measures_each_of_its_parts():
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "state.py"), "--quick", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    subjects = " ".join(row["subject"] for row in json.loads(done.stdout))
    assert "pieces of 64 KB" in subjects
    assert "500 tensors" in subjects
    assert "parameters, gradients and Adam" in subjects


@pytest.mark.torch
def test_the_benchmark_of_whole_trainings_runs_each_way_and_reads_what_was_recorded():
    pytest.importorskip("torch")
    script = ROOT / "benchmarks" / "overhead.py"
    quick = ("--quick", "--json", "--workload", "gpt", "--way", "recorded", "--way", "torch.save")
    done = subprocess.run(
        [sys.executable, str(script), *quick],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["way"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"plain", "recorded", "torch.save"}
    assert rows["plain"]["cpu s"] > 0
    assert rows["recorded"]["checkpoints"] >= 1
    assert rows["torch.save"]["stored MB"] > 1


@pytest.mark.torch
def test_the_benchmark_of_the_store_trains_every_kind_of_state_and_makes_it_smaller():
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "store.py"), "--quick", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    alone = [row for row in rows if "by itself" in row["subject"]]
    assert len(alone) == 5
    assert all(row["ratio"] > 1.1 and row["decode GB/s"] > 0 for row in alone)
    kept = {row["subject"]: row["torch.save / store"] for row in rows if "MB in the store" in row}
    assert len(kept) == 5
    assert kept["GPT fp32, all but the head frozen, 3 epochs"] > 2
