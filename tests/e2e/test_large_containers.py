"""Programs with long lists, records and queues in scope: replays find them as they were."""

from __future__ import annotations

import pytest
from harness import Project

PROGRAM = """
import random, sys, time
from collections import Counter, defaultdict, deque


def load():
    rng = random.Random(3)
    rows = [(n, rng.random(), f"row {n}") for n in range(40_000)]
    records = [{"id": n, "tags": [n % 7, n % 3], "at": (n, n + 1)} for n in range(4_000)]
    return rows, records


def main():
    rows, records = load()
    seen, queue, words, log = set(), deque(maxlen=500), Counter(), []
    by_tag = defaultdict(list)
    total = 0.0
    for epoch in range(8):
        for n in range(epoch * 100, epoch * 100 + 100):
            sample = records[n]
            total += rows[n][1]
            seen.add(sample["id"] * 7)
            queue.append((n, rows[n][1], sample))
            words[rows[n][2]] += 1
            by_tag[sample["tags"][0]].append(sample)
            sample["tags"].append(epoch)
        log.append({"epoch": epoch, "seconds": time.perf_counter(), "words": len(words)})
        rows[epoch] = (epoch, total, "changed")
        summary = random.Random(repr((total, len(seen)))).random()
        time.sleep(0.05)
        TRUTH
        print(epoch, summary)


main()
"""

QUESTION = (
    "sum(map(hash, (sum(r[1] for r in rows), repr(records[:900]), repr(sorted(seen)), repr(queue),"
    " repr(words), repr(by_tag), len(log)))) % 2 ** 40"
)


@pytest.mark.parametrize("where", ["late", "everywhere"])
def test_what_containers_hold_is_what_they_held(project: Project, where: str) -> None:
    project.env["PYTHONHASHSEED"] = "5"
    project.write("asked.py", PROGRAM.replace("TRUTH", f"print('TRUTH', {QUESTION})"))
    out = project.plain("asked.py").stdout.splitlines()
    truth = [int(line.split()[1]) for line in out if line.startswith("TRUTH")]
    (project.path / "asked.py").unlink()
    project.write("program.py", PROGRAM.replace("TRUTH", ""))
    project.record("--overhead", "1000%", "program.py")

    reach = ("--where", "epoch >= 6") if where == "late" else ()
    probe = f"found={QUESTION}"
    (document,) = project.replay(probe, *reach)

    (result,) = document["results"]
    assert result["failure"] is None
    assert (result["plan"], result["diverged"]) == ("restore", 0)
    assert result["exact"] == (2 if reach else 8)
    found = [row["found"] for row in project.pivot("found")]
    assert found[-2:] == truth[-2:]
    assert reach or found == truth


def test_identity_with_parts_survives_a_restore(project: Project) -> None:
    project.env["PYTHONHASHSEED"] = "5"
    project.write("program.py", PROGRAM.replace("TRUTH", ""))
    project.record("--overhead", "1000%", "program.py")
    probe = "one=int(all(s is records[n] for n, _, s in queue) and by_tag[3][0] is records[3])"
    (document,) = project.replay(probe)
    assert document["results"][0]["exact"] == 8
    assert [row["one"] for row in project.pivot("one")] == [1] * 8
