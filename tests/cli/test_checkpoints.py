"""``show --checkpoints`` tells what checkpoints cost, and why there are no more of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flor_trace.cli.checkpoints import brief, show_checkpoints, size

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """\
import os, sys, time
state, step = bytearray(os.urandom(int(sys.argv[1]))), 0
for epoch in range(int(sys.argv[2])):
    state = bytearray(os.urandom(len(state)))
    time.sleep(0.02)
    step += 1
    if "kill" in sys.argv and epoch == 5:
        os.kill(os.getpid(), 9)
"""


def run(folder: Path, *arguments: str, status: int = 0) -> Any:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FLOR_TRACE")}
    done = subprocess.run(
        (sys.executable, "-m", "flor_trace", *arguments),
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "train.py").write_text(PROGRAM)
    run(folder, "--name", "all", "--overhead", "10000%", "train.py", "1000", "6")
    run(folder, "--name", "few", "--overhead", "0.001%", "train.py", "30000000", "8")
    run(folder, "--name", "none", "--overhead", "0", "train.py", "1000", "4")
    run(folder, "--name", "tiny", "--overhead", "10000%", "--disk", "5MB", "train.py", "1000000",
        "30")  # fmt: skip
    run(folder, "--name", "killed", "--overhead", "10000%", "train.py", "1000", "9", "kill",
        status=-9)  # fmt: skip
    return folder


def facts(folder: Path, name: str) -> Any:
    return json.loads(run(folder, "show", name, "--checkpoints", "--json").stdout)


def test_each_checkpoint_says_what_it_cost(recorded: Path) -> None:
    found = facts(recorded, "all")
    assert [each["boundary"] for each in found["checkpoints"]] == list(range(7))
    for each in found["checkpoints"]:
        assert each["loop"] == "epoch"
        assert 0 < each["seconds"] < each["at"] < found["seconds"]
        assert each["beside"] > 0
        assert each["bytes"] > 1000
        assert each["new"] > 1000  # random bytes cannot be compressed
    budget = found["budget"]
    assert budget["written"] == sum(each["new"] for each in found["checkpoints"])
    spent = sum(each["seconds"] for each in found["checkpoints"])
    assert budget["checkpoint_seconds"] >= spent
    assert found["loops"] == [{**found["loops"][0], "iterations": 6, "longest": 1}]


def test_the_disk_that_a_run_may_fill_is_kept_and_logs_go_on(recorded: Path) -> None:
    found = facts(recorded, "tiny")
    assert found["budget"]["disk"] == 5_000_000
    assert 0 < found["budget"]["written"] <= 5_000_000
    assert 2 <= len(found["checkpoints"]) <= 5
    assert found["budget"]["bound_by"] == "disk"
    rows = json.loads(run(recorded, "pivot", "epoch", "step", "--json").stdout)
    tiny = next(each["run"] for each in json.loads(run(recorded, "ls", "--json").stdout)
                if each["name"] == "tiny")  # fmt: skip
    assert [row["step"] for row in rows if row["runid"] == tiny] == list(range(1, 31))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("all", "room for another one"),
        ("few", "--overhead brings them closer together"),
        ("none", "there would have been no other: --overhead is 0"),
        ("tiny", "of 5.0 MB that a run may write"),
        ("killed", "the run has not ended, or was killed"),
    ],
)
def test_words_say_why_there_are_no_more(recorded, name, said, terminal, monkeypatch):
    monkeypatch.chdir(recorded)
    stream = terminal()
    show_checkpoints(name, store=None, as_json=False)
    assert said in stream.getvalue()
    if name != "none":
        assert "a replay executes at most" in stream.getvalue()


def test_in_a_pipe_it_is_a_plain_table(recorded: Path) -> None:
    lines = run(recorded, "show", "all", "--checkpoints").stdout.splitlines()
    assert lines[0].split("\t")[:3] == ["loop", "before", "at"]
    assert len(lines) == 8


def test_sizes_and_times_are_for_people() -> None:
    assert [size(n) for n in (0, 999, 1500, 2.5e6, 3e9, 4e12, 5e15)] == [
        "0 B", "999 B", "1.5 kB", "2.5 MB", "3.0 GB", "4.0 TB", "5000.0 TB",
    ]  # fmt: skip
    assert brief(0.0123) == "12 ms"
    assert brief(2.5) == "2.5 s"
