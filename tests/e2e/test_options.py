"""Options that change what is recorded, and questions that are put before a replay."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

from harness import PACKAGE, Project, environment

PROGRAM = """
import time
total = 0
for epoch in range(4):
    total += epoch
    time.sleep(0.002)
"""


def test_the_loops_of_an_included_library_are_recorded_and_replayed(project: Project) -> None:
    library = project.path.parent / "elsewhere"
    library.mkdir()
    (library / "trainlib.py").write_text(
        "import time\n\ndef fit(n):\n    score = 0\n    for round_ in range(n):\n"
        "        score += round_\n        time.sleep(0.002)\n    return score\n"
    )
    project.env["PYTHONPATH"] = f"{library}{os.pathsep}{PACKAGE}"
    project.write("main.py", "import trainlib\nprint(trainlib.fit(4))\n")
    project.flor("main.py")
    project.record("--include", "trainlib", "main.py")

    without, included = project.ls()

    assert (without["reached"], included["reached"]) == ("", "round_ 3")
    (document,) = project.replay("half=score / 2", "--run", included["run"])
    assert document["results"][0]["exact"] == 4
    assert [row["half"] for row in project.pivot("round_", "half") if row["half"] is not None] == [
        0.0,
        0.5,
        1.5,
        3.0,
    ]


def test_a_dry_run_tells_the_plan_and_does_nothing(project: Project) -> None:
    project.write("main.py", PROGRAM)
    project.record("main.py")

    (document,) = json.loads(
        project.flor("replay", "--dry-run", "--json", "--probe", "t=total * 2").stdout
    )

    (plan,) = document["plans"]
    assert plan["kind"] == "restore"
    assert [step["first"] for step in plan["steps"]] == [1, 2, 3, 4]
    assert "results" not in document
    assert all(row.get("t") is None for row in project.pivot())


def test_without_a_terminal_nothing_is_replayed_unasked(project: Project) -> None:
    project.write("main.py", PROGRAM)
    project.record("main.py")

    done = project.flor("replay", "--probe", "t=total * 2", check=False, input="y\n")

    assert done.returncode == 2
    assert "--yes" in done.stderr


def answer(project: Project, text: str) -> int:
    """Replay on a terminal, answering the question with `text`."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "flor_trace", "replay", "--probe", "t=total * 2"],
        cwd=project.path,
        env=environment(),
        stdin=child,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(child)
    os.write(parent, f"{text}\n".encode())
    status = process.wait(timeout=120)
    os.close(parent)
    return status


def test_on_a_terminal_the_answer_decides(project: Project) -> None:
    project.write("main.py", PROGRAM)
    project.record("main.py")

    assert answer(project, "n") == 5
    assert all(row.get("t") is None for row in project.pivot())
    assert answer(project, "y") == 0
    assert [row["t"] for row in project.pivot("epoch", "t")] == [0, 2, 6, 12]
