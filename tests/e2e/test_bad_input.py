"""Bad input gets a clear error, a status that is not zero, and loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import Project

PROGRAM = """
import time
weights = [0.0]
for epoch in range(6):
    weights = [w + 0.5 for w in weights] + [float(epoch)]
    total = sum(weights)
    time.sleep(0.002)
"""


@pytest.fixture
def recorded(project: Project) -> Project:
    project.write("main.py", PROGRAM)
    project.record("--name", "base", "main.py")
    return project


def failing(project: Project, *arguments: str, status: int) -> str:
    done = project.flor(*arguments, check=False)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return str(done.stderr)


def test_no_such_script(project: Project) -> None:
    message = failing(project, "nowhere.py", status=127)

    assert "nowhere.py" in message and "does not exist" in message
    assert not (project.path / ".flor_trace").exists()


def test_a_script_with_a_syntax_error_fails_as_under_python(project: Project) -> None:
    project.write("main.py", "for i in range(3)\n    pass\n")
    plain = project.plain("main.py", check=False)

    done = project.flor("main.py", check=False)

    assert (done.stderr, done.returncode) == (plain.stderr, 1)
    assert project.ls()[0]["status"] == "failed(1)"


def test_an_unknown_option_names_the_near_one(project: Project) -> None:
    assert "--overhead" in failing(project, "--overhaed", "1%", "main.py", status=2)


def test_a_probe_with_a_syntax_error_points_at_it(recorded: Project) -> None:
    message = failing(recorded, "replay", "-y", "--probe", "x=total +* 2", status=2)

    assert "total +* 2" in message and "^" in message


def test_an_unknown_name_lists_near_names_and_the_place(recorded: Project) -> None:
    message = failing(recorded, "replay", "-y", "--probe", "x=totl * 2", status=2)

    assert "'totl'" in message and "total" in message
    assert "for epoch in range(6):" in message and "main.py:4" in message


def test_an_unknown_variable_lists_near_names(recorded: Project) -> None:
    message = failing(recorded, "replay", "-y", "--probe", "weigths", status=2)

    assert "weights" in message


def test_an_unknown_dimension_lists_near_ones(recorded: Project) -> None:
    message = failing(recorded, "replay", "-y", "--probe", "x=total", "--at", "epohc", status=2)

    assert "'epoch'" in message


def test_no_run_matches(recorded: Project) -> None:
    assert "no iteration" in failing(
        recorded, "replay", "-y", "--probe", "x=total", "--where", "total > 1e9", status=3
    )
    assert "base" in failing(recorded, "show", "bsae", status=3)


def test_a_bad_where_names_the_known_columns(recorded: Project) -> None:
    message = failing(
        recorded, "replay", "-y", "--probe", "x=total", "--where", "total >", status=2
    )

    assert "total >" in message


def test_no_store_here(project: Project) -> None:
    assert "nothing is recorded" in failing(project, "ls", status=1)


def test_a_store_that_cannot_be_written_stops_before_the_program(project: Project) -> None:
    project.write("main.py", "print('ran')")
    project.write("file", "")
    done = project.flor("--store", "file/store", "main.py", check=False)

    assert done.returncode == 125
    assert done.stdout == ""
    assert "--store" in done.stderr


def test_a_probe_that_raises_is_that_cells_error(recorded: Project) -> None:
    done = recorded.flor("replay", "-y", "--json", "--probe", "x=1 / (epoch - 2)", check=False)

    assert done.returncode == 1
    (document,) = json.loads(done.stdout)
    assert (document["results"][0]["exact"], document["results"][0]["error"]) == (5, 1)
    values = {row["epoch"]: row["x"] for row in recorded.pivot("epoch", "x")}
    assert values[0] == -0.5 and values[5] == 1 / 3
    assert values[2] is None or "ZeroDivisionError" in str(values[2])


def test_a_damaged_chunk_is_named_and_an_earlier_checkpoint_is_used(recorded: Project) -> None:
    (run,) = recorded.ls()
    shown = json.loads(recorded.flor("show", "base", "--json").stdout)
    assert shown["loops"][0]["checkpoints"] == [0, 1, 2, 3, 4, 5, 6]
    pack = next((recorded.path / ".flor_trace" / "packs").glob(f"{run['run']}*.pack"))
    _damage_manifest(recorded.path / ".flor_trace", pack, run["run"], boundary=4)

    done = recorded.flor("replay", "-y", "--json", "--probe", "x=total * 1.0", check=False)

    (document,) = json.loads(done.stdout)
    (result,) = document["results"]
    assert (result["failure"], result["exact"]) == (None, 6)
    assert "boundary 4" in result["notes"][0]
    rows = recorded.pivot("epoch", "total", "x")
    assert [row["x"] for row in rows] == [row["total"] for row in rows]
    assert failing(recorded, "doctor", "--data", status=1) is not None


def test_a_stretch_that_is_executed_again_is_proven_at_the_checkpoint_after_it(
    recorded: Project,
) -> None:
    """And so is the value at that checkpoint, which needed no execution."""
    (run,) = recorded.ls()
    pack = next((recorded.path / ".flor_trace" / "packs").glob(f"{run['run']}*.pack"))
    _damage_manifest(recorded.path / ".flor_trace", pack, run["run"], boundary=2)

    (document,) = recorded.replay("x=total * 1.0", "--where", "epoch == 1 or epoch == 2")

    (result,) = document["results"]
    assert (result["exact"], result["plan"]) == (2, "re-execute")


def test_what_execution_gets_wrong_is_restored_where_that_is_possible(project: Project) -> None:
    project.write(
        "main.py",
        "import os, time\nstate = [0]\nfor epoch in range(5):\n"
        "    state[0] += len(os.environ['OUTSIDE'])\n    time.sleep(0.002)\n",
    )
    project.record("main.py", env={"OUTSIDE": "a"})
    (run,) = project.ls()
    pack = next((project.path / ".flor_trace" / "packs").glob(f"{run['run']}*.pack"))
    _damage_manifest(project.path / ".flor_trace", pack, run["run"], boundary=2)

    done = project.flor(
        "replay", "-y", "--json", "--probe", "s=state[0]", check=False, env={"OUTSIDE": "bbb"}
    )

    assert done.returncode == 4
    (document,) = json.loads(done.stdout)
    (result,) = document["results"]
    assert (result["exact"], result["diverged"]) == (4, 1)
    values = {row["epoch"]: row["s"] for row in project.pivot("epoch", "s")}
    assert values == {0: 1, 1: None, 2: 3, 3: 4, 4: 5}


def _damage_manifest(store: Path, pack: Path, runid: str, boundary: int) -> None:
    """Flip a bit in the middle of the manifest chunk of one checkpoint."""
    from flor_trace.history.journal import read_journal
    from flor_trace.store.framing import HEADER_SIZE, key_of
    from flor_trace.store.layout import open_store
    from flor_trace.store.reader import PackReader

    journal = store / "runs" / runid / "journal"
    (frame,) = (
        f for _, f in read_journal(journal) if f["t"] == "checkpoint" and f["boundary"] == boundary
    )
    reader = PackReader(open_store(store, create=False))
    (place,) = reader._lookup.candidates(key_of(frame["manifest"]))
    assert place.pack == pack.stem
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(place.offset + HEADER_SIZE + 40)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
