"""Whatever checkpoints are lost, a replayed value that is called exact is the true one."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from damage import Packs, digests_of, leaves_of, recorded_digests, run_of, states_of
from dropping_programs import Program, program
from harness import Project

from flor_trace.history.catalog import Catalog
from flor_trace.history.journal import JournalWriter, read_journal
from flor_trace.replay.engine import carry_out_all, prepare, read_probe
from flor_trace.replay.execute import Outcome
from flor_trace.replay.repairing import repair
from flor_trace.replay.surveying import survey
from flor_trace.state.closure import Soundness
from flor_trace.store.reader import PackReader

#: How many random programs, beginning with which; and ways of losing checkpoints for each.
PROGRAMS = int(os.environ.get("DROPPED_PROGRAMS", "4"))
FIRST = int(os.environ.get("DROPPED_FIRST", "0"))
WAYS = int(os.environ.get("DROPPED_WAYS", "3"))


def truth(project: Project, made: Program) -> list[str]:
    """What the program with the probe written in prints there."""
    project.write("truth.py", made.truth)
    lines = project.plain("truth.py").stdout.splitlines()
    (project.path / "truth.py").unlink()
    return [line.removeprefix("PROBE ") for line in lines if line.startswith("PROBE ")]


def lose(packs: Packs, draw: random.Random) -> str:
    """Lose some checkpoints in some way; return how."""
    states = states_of(packs.store)
    some = sorted(draw.sample(sorted(states), draw.randint(1, len(states))))
    how = draw.choice(["flip", "delete", "delete", "drop", "drop", "cut", "nothing"])
    if how in ("flip", "delete"):
        chunks = [states[boundary].manifest for boundary in some]
        if draw.random() < 0.6:
            chunks = [draw.choice(leaves_of(packs.store, states[b])) for b in some]
        getattr(packs, how)(chunks)
    elif how == "drop":
        drop(packs.store.runs, set(some))
    elif how == "cut":
        packs.truncate(draw.random())
    return f"{how} {some}"


def drop(runs: Path, boundaries: set[int]) -> None:
    """Write the journal without the frames of some checkpoints."""
    (journal,) = runs.glob("*/journal")
    frames = [frame for _, frame in read_journal(journal)]
    journal.unlink()
    writer = JournalWriter(journal)
    for frame in frames:
        if frame["t"] != "checkpoint" or frame["boundary"] not in boundaries:
            writer.append(frame)
    writer.close()


def asked(packs: Packs, made: Program, wanted: str) -> tuple[Outcome, dict[int, Any]]:
    """Ask at every iteration; the value frames by iteration, the last of each."""
    probe = read_probe(packs.store, f"seen={made.probe}", at=wanted)
    prepared = prepare(packs.store, probe, force=True)
    carry_out_all(packs.store, prepared, lambda line: None)
    (outcome,) = prepared.outcomes
    with Catalog(packs.store.path) as catalog:
        frames = catalog.replay_frames(run_of(packs.store).runid, "value")
    found: dict[int, Any] = {}
    for frame in frames:
        if frame["verdict"] != "diverged" or frame["coords"][0][1] not in found:
            found[frame["coords"][0][1]] = frame
    return outcome, found


@pytest.mark.parametrize("seed", range(FIRST, FIRST + PROGRAMS))
def test_what_is_called_exact_is_true_whatever_was_lost(project: Project, seed: int) -> None:
    made = program(seed)
    project.write("main.py", made.text)
    expected = truth(project, made)
    assert len(expected) == made.iterations, made.told
    project.record("main.py")
    packs = Packs(project.path)
    digests = recorded_digests(packs.store)
    (journal,) = packs.store.runs.glob("*/journal")
    whole = journal.read_bytes()
    draw = random.Random(seed)
    for _ in range(WAYS):
        told = f"{made.told}; {lose(packs, draw)}"
        outcome, found = asked(packs, made, "epoch")
        assert outcome.error is None, f"{told}: {outcome.error}"
        assert outcome.difference is None, f"{told}: {outcome.difference}"
        assert sorted(found) == list(range(made.iterations)), told
        for iteration, frame in found.items():
            assert frame["value"] == expected[iteration], f"{told}: {iteration} {frame}"
        if "drop" not in told:
            assert {frame["verdict"] for frame in found.values()} == {"exact"}, told
            sound = Soundness(PackReader(packs.store))
            broken = survey(packs.store, [run_of(packs.store).runid], sound)
            repair(packs.store, broken, lambda line: None)
            assert [each.why for each in broken.broken if each.how is None] == [], told
            assert digests_of(packs.store) == digests, told
        packs.restore()
        journal.write_bytes(whole)
