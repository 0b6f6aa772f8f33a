"""Ways in which programs of other people are written, each of which once went wrong."""

from __future__ import annotations

from harness import PACKAGE, Project

BATCHES = """
import time


def batches(items):
    for start in items:
        stop = start + 2
        yield start


def main():
    for epoch in range(3):
        for batch in batches([10, 20, 30]):
            time.sleep(0.0005)
            double = batch * 2


main()
"""


def test_what_a_generator_stores_lies_beside_the_item_it_gave(project: Project) -> None:
    project.write("main.py", BATCHES)

    project.record("main.py")

    rows = project.pivot("start", "stop", "double")
    assert [(r["epoch"], r["start"], r["stop"], r["double"]) for r in rows] == [
        (epoch, start, start + 2, start * 2) for epoch in range(3) for start in (10, 20, 30)
    ]


TRAINER = """
import time


def train():
    total = 0.0
    for epoch in range(4):
        total += 0.5
        time.sleep(0.002)
    return total
"""


def test_modules_found_by_an_absolute_path_come_from_the_old_commit(project: Project) -> None:
    project.write("package/__init__.py", "")
    project.write("package/trainer.py", TRAINER)
    project.write("scripts/run.py", "from package.trainer import train\nprint(train())\n")
    project.env["PYTHONPATH"] = f"{project.path}:{PACKAGE}"
    project.record("run.py", cwd=project.path / "scripts")
    project.write("package/trainer.py", "raise SystemExit('not this one')\n")

    (document,) = project.replay("twice=total * 2")

    assert document["results"][0]["exact"] == 4, document
    rows = project.pivot("epoch", "twice")
    assert [row["twice"] for row in rows] == [1.0, 2.0, 3.0, 4.0]
