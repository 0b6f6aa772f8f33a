"""Programs with large data in scope: read rarely, and never believed wrongly."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from harness import PACKAGE, Project

from flor_trace.history.journal import read_journal
from flor_trace.replay.recorded import RecordedRun

#: No time to spare: what need not be looked at at once is not.
HURRIED = """
from flor_trace.runtime.policy import Budget
Budget.spare = lambda self, elapsed: 0.0
"""

PROGRAM = """
import sys, time
import numpy as np

change_at, how, megabytes = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 0.002


def train():
    data = np.random.default_rng(3).standard_normal(megabytes << 17)
    weights = np.zeros(100)
    for epoch in range(24):
        at = epoch * 100
        weights = weights + data[at : at + 100]
        loss = float(weights.sum())
        time.sleep(seconds)
        if epoch == change_at:
            if how == "one":
                data[data.size // 3] += 1.0
            elif how == "all":
                data *= 1.5
            elif how == "raise":
                data[data.size // 3] += 1.0
                raise SystemExit(3)
            elif how == "kill":
                import os
                os.kill(os.getpid(), 9)
    print(loss, data[data.size // 3])


train()
"""

#: An element that nothing but the probe reads, far from those that the program does.
PROBE = "third=float(data[data.size // 3])"


@pytest.fixture
def hurried(project: Project) -> Project:
    project.write("large.py", PROGRAM)
    project.write("_pin/sitecustomize.py", HURRIED)
    project.env["PYTHONPATH"] = f"{project.path / '_pin'}:{PACKAGE}"
    return project


def journal(project: Project) -> list[dict[str, Any]]:
    (path,) = (project.path / ".flor_trace" / "runs").glob("*/journal")
    return [dict(frame) for _, frame in read_journal(path)]


def third(change_at: int, factor: float, added: float, megabytes: int) -> list[float]:
    """What the probe finds at the end of each epoch, where the change has not been made yet."""
    import numpy as np

    value = float(np.random.default_rng(3).standard_normal(megabytes << 17)[(megabytes << 17) // 3])
    return [value if i <= change_at - 1 else value * factor + added for i in range(24)]


def asked(project: Project, *arguments: str) -> tuple[dict[str, Any], list[float]]:
    (document,) = project.replay(PROBE, *arguments)
    (result,) = document["results"]
    return result, [row["third"] for row in project.pivot("third")]


def test_half_a_gigabyte_that_stays_the_same_is_replayed_exactly(hurried: Project) -> None:
    hurried.record("large.py", "-1", "never", "512", timeout=120)

    run = RecordedRun(journal(hurried))
    stage = run.main
    assert stage is not None
    assumed = [state.assumed for state in stage.states.values()]
    assert sum(size > 450 << 20 for size in assumed) >= 15
    assert all(state.confirmed for state in stage.states.values())
    assert not stage.doubtful
    result, values = asked(hurried, "--where", "epoch >= 21")
    assert (result["plan"], result["exact"], result["failure"]) == ("restore", 3, None)
    assert values[-3:] == third(99, 1, 0, 512)[-3:]


def test_one_element_that_changes_makes_replays_start_further_back_and_be_right(
    hurried: Project,
) -> None:
    hurried.record("large.py", "12", "one", "16")

    run = RecordedRun(journal(hurried))
    assert run.main is not None
    assert run.main.doubtful  # sixteen takes look at everything, and this is rarely the first one
    result, values = asked(hurried)
    assert result["plan"] == "re-execute"
    assert result["failure"] is None
    assert result["diverged"] == 0
    assert values == third(12, 1, 1, 16)
    shown = hurried.flor("show", result["run"]).stdout
    assert "data turned out to have changed" in shown


def test_a_change_everywhere_is_noticed_at_the_boundary_after_it(hurried: Project) -> None:
    hurried.record("large.py", "12", "all", "16")

    run = RecordedRun(journal(hurried))
    assert run.main is not None
    assert all(boundary <= 12 for boundary in run.main.doubtful)
    result, values = asked(hurried)
    assert result["diverged"] == 0
    assert values == third(12, 1.5, 0, 16)


def test_a_change_in_the_last_iteration_of_a_program_that_fails_is_noticed(
    hurried: Project,
) -> None:
    hurried.record("large.py", "12", "raise", "16", check=False)

    frames = journal(hurried)
    kinds = [frame["t"] for frame in frames]
    assert "doubtful" in kinds
    assert kinds.index("doubtful") < kinds.index("leave")
    run = RecordedRun(frames)
    assert run.main is not None
    assert all(state.confirmed for state in run.main.states.values())


def test_a_killed_run_has_checkpoints_that_are_not_confirmed_and_says_so(
    hurried: Project,
) -> None:
    done = hurried.record("large.py", "20", "kill", "16", "0.06", check=False)
    assert done.returncode == -signal.SIGKILL

    run = RecordedRun(journal(hurried))
    assert run.main is not None
    unsure = {b for b, state in run.main.states.items() if not state.confirmed}
    assert unsure
    assert 2 not in unsure
    result, values = asked(hurried)
    assert result["failure"] is None
    assert result["plan"] == "re-execute"  # rather than from a checkpoint that may be wrong
    # What was executed again and came to the very states that were saved is exact all the same.
    assert values == third(99, 1, 0, 16)[: len(values)]
    shown = hurried.flor("show", result["run"]).stdout
    assert "not confirmed" in shown
    document = json.loads(hurried.flor("show", "--json", result["run"]).stdout)
    (loop,) = document["loops"]
    assert loop["unconfirmed"] == sorted(unsure)
