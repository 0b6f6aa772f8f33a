from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from harness import Project

pytest.importorskip("fsspec")

PROGRAM = """
import random, time
weights = [0.0] * 200
for epoch in range(5):
    weights[epoch] = random.random()
    loss = sum(weights)
    time.sleep(0.01)  # shorter loops may be left alone
"""


@pytest.fixture(params=["in git", "not in git"])
def pushed(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A project whose run was pushed, and that is gone since, but for what it had in the loop."""
    project = Project(tmp_path / "here")
    project.path.mkdir()
    (project.path / "train.py").write_text(PROGRAM)
    if request.param == "in git":
        project.run("git", "init", "-q")
    project.record("--name", "first", "train.py")
    project.flor("push", str(tmp_path / "far"))
    shutil.rmtree(project.path)
    there = Project(tmp_path / "there")
    there.path.mkdir()
    return there


def test_a_run_can_be_replayed_where_only_the_place_is_known(
    pushed: Project, tmp_path: Path
) -> None:
    said = pushed.flor("pull", str(tmp_path / "far"))
    assert "1 runs pulled, 0 were there already" in said.stdout
    assert said.stderr == ""
    pushed.flor("replay", "--probe", "largest=max(weights)", "-y")
    table = pushed.flor("pivot", "loss", "largest", "--json")
    rows = json.loads(table.stdout)
    assert [row["largest"] is not None for row in rows] == [True] * 5
    again = pushed.flor("pull", str(tmp_path / "far"), "first", "--json")
    (document,) = json.loads(again.stdout)
    assert not document["new"] and document["problem"] is None


def test_what_is_wrong_with_the_command_is_told(tmp_path: Path) -> None:
    project = Project(tmp_path / "here")
    project.path.mkdir()
    (project.path / "train.py").write_text(PROGRAM)
    project.flor("train.py")
    said = project.flor("pull", str(tmp_path / "nowhere"), check=False)
    assert said.returncode == 1 and "holds no runs" in said.stderr
    said = project.flor("push", str(tmp_path / "far"), "no such run", check=False)
    assert said.returncode == 3 and "No run is called" in said.stderr
    said = project.flor("push", "nonsense://x", check=False)
    assert said.returncode == 2 and "cannot be opened" in said.stderr
    said = project.flor("push", check=False)
    assert said.returncode == 2
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "fsspec.py").write_text("raise ImportError('not here')")
    without = {"PYTHONPATH": f"{tmp_path / 'without'}:{Path(__file__).resolve().parents[2]}"}
    said = project.flor("push", str(tmp_path / "far"), check=False, env=without)
    assert said.returncode == 2 and "pip install 'flor_trace[remote]'" in said.stderr
    assert not (tmp_path / "far").exists()
