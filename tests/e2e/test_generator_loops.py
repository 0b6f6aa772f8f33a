"""Main loops that draw from generators of the program: restored with their variables."""

from __future__ import annotations

import pytest
from harness import Project

PROGRAM = """
import itertools, random, time

import numpy as np


def batches(x, size):
    rng = np.random.default_rng(1)
    while True:
        order = rng.permutation(len(x))
        for i in range(0, len(x), size):
            noise = random.random() + np.random.rand()
            yield x[order[i : i + size]] * noise


def main():
    x, total = np.arange(40.0), 0.0
    for step, batch in DRAW:
        total += float(batch.sum()) * random.random()
        time.sleep(0.01)
        TRUTH
        if step == 30:
            break
    print(total)


main()
"""
DRAW = {
    "enumerated": "enumerate(batches(x, 7))",
    "sliced": "enumerate(itertools.islice(batches(x, 7), 60))",
    "zipped": "zip(range(99), batches(x, 7))",
    "itself": "((n, b) for n, b in enumerate(batches(x, 7)))",
}


@pytest.mark.native
@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
@pytest.mark.parametrize("overhead", ["1000%", "20%"])
def test_a_loop_over_a_generator_goes_on_from_a_checkpoint(
    project: Project, draw: str, overhead: str
) -> None:
    project.pin(torch=False)
    program = PROGRAM.replace("DRAW", draw)
    asked = program.replace("TRUTH", "print('TRUTH', (float(batch.max()) + total).hex())")
    project.write("asked.py", asked)
    out = project.plain("asked.py").stdout.splitlines()
    truth = [line.split()[1] for line in out if line.startswith("TRUTH")]
    (project.path / "asked.py").unlink()
    project.write("program.py", program.replace("TRUTH", ""))
    project.record("--overhead", overhead, "program.py")

    (document,) = project.replay("found=float(batch.max()) + total", "--where", "step > 20")

    (result,) = document["results"]
    assert (result["failure"], result["diverged"]) == (None, 0)
    assert result["plan"] in ("restore", "re-execute")
    found = [row["found"].hex() for row in project.pivot("found")]
    assert found == truth[21:]
