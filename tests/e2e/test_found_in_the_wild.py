"""Ways in which programs of other people are written, each of which once went wrong."""

from __future__ import annotations

import json

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

    (result,) = document["results"]
    assert (result["failure"], result["exact"] + result["agree"]) == (None, 4), document
    rows = project.pivot("epoch", "twice")
    assert [row["twice"] for row in rows] == [1.0, 2.0, 3.0, 4.0]


RATES = """
import time


class Model:
    weight = 1.0

    def rate(self, items, seconds):
        return items / seconds


model = Model()
mean_rate = -1.0
t0 = time.time()
for step in range(5):
    model.weight *= 1.5
    time.sleep(0.002)
    t1 = time.time()
    dt = t1 - t0
    t0 = t1
    rate = model.rate(64, dt)
    mean_rate = rate if mean_rate == -1.0 else 0.9 * mean_rate + 0.1 * rate
"""


def test_a_rate_made_from_a_duration_is_no_divergence(project: Project) -> None:
    project.write("main.py", RATES)
    project.flor("--overhead", "0", "main.py")

    (document,) = project.replay("w=model.weight * 1.0")

    assert document["results"][0]["diverged"] == 0, document
    assert [row["w"] for row in project.pivot("w")] == [1.5, 2.25, 3.375, 5.0625, 7.59375]


READING = """
import time

words = {}
with open("words.txt") as file:
    for line in file:
        words[line] = len(words)
        time.sleep(0.0005)
weight = 1.0
for epoch in range(6):
    weight *= 1.5
    time.sleep(0.002)
"""


def test_states_that_cannot_be_restored_are_not_saved_again_and_again(project: Project) -> None:
    project.write("main.py", READING)
    project.write("words.txt", "".join(f"word {k}\n" for k in range(100)))

    project.record("--name", "base", "main.py")

    shown = json.loads(project.flor("show", "base", "--json").stdout)
    reading, training = shown["loops"]
    assert reading["opaque"]
    assert len(reading["checkpoints"]) < 10
    assert training["checkpoints"][-5:] == [2, 3, 4, 5, 6]
