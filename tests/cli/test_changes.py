"""``show --changes`` names what a loop changed, and says clearly when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flor_trace import api, errors

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """\
import time
history, fixed, total = {"loss": []}, [1, 2], 0.0
for epoch in range(3, 7):
    time.sleep(0.03)
    total += epoch
    history["loss"].append(total)
"""


def run(folder: Path, *arguments: str) -> Any:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FLOR_TRACE")}
    return subprocess.run(
        (sys.executable, "-m", "flor_trace", *arguments),
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "train.py").write_text(PROGRAM)
    assert run(folder, "--name", "a", "--overhead", "10000%", "train.py").returncode == 0
    return folder


def test_one_iteration_is_told_by_the_checkpoints_around_it(recorded: Path) -> None:
    done = run(recorded, "show", "a", "--changes", "epoch=5")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["loop", "boundaries", "path", "what", "detail"]
    found = {line[2]: line[4] for line in lines[1:]}
    assert found["train.py::total"] == "7.0 -> 12.0"
    assert "2 -> 3 elements" in found["train.py::history['loss']"]
    assert "train.py::fixed" not in found


def test_json_tells_what_never_changed(recorded: Path) -> None:
    (document,) = json.loads(run(recorded, "show", "a", "--changes", "--json").stdout)
    assert (document["dimension"], document["first"]) == ("epoch", 0)
    assert "train.py::fixed" in document["unchanged"]
    assert document["summary"]


def test_python_gives_a_table(recorded: Path) -> None:
    table = api.changes("a", epoch=4, store=recorded / ".flor_trace")
    row = table[table["path"] == "train.py::total"].iloc[0]
    assert (row["loop"], row["first"], row["last"], row["detail"]) == ("epoch", 1, 2, "3.0 -> 7.0")


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("epoch=99", 2, "it went from 3 to 6"),
        ("batch", 2, "those of its loops that can have them are epoch"),
        ("epoch=", 2, "is not a place in a run"),
    ],
)
def test_a_place_that_does_not_exist_is_an_error(
    recorded: Path, text: str, status: int, said: str
) -> None:
    done = run(recorded, "show", "a", "--changes", text)
    assert done.returncode == status
    assert said in done.stderr


def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    assert run(tmp_path, "--name", "b", "--overhead", "0", "train.py").returncode == 0
    store = tmp_path / ".flor_trace"
    with pytest.raises(errors.NothingMatched, match="two checkpoints"):
        api.changes("b", store=store)


def test_a_damaged_checkpoint_is_named(recorded: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(recorded / ".flor_trace", tmp_path / "store")
    for pack in (tmp_path / "store" / "packs").glob("*.pack"):
        data = bytearray(pack.read_bytes())
        data[len(data) // 4 :] = bytes(len(data) - len(data) // 4)
        pack.write_bytes(data)
    with pytest.raises((errors.ChunkDamaged, errors.ChunkMissing), match="chunk"):
        api.changes("a", store=tmp_path / "store")
