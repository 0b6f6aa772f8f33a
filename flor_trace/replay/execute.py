"""Prepare an old version in a scratch directory and run a worker there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from flor_trace import settings
from flor_trace.errors import ReplayError
from flor_trace.history.journal import read_journal
from flor_trace.history.worktree import link_inputs, materialise
from flor_trace.replay.avoiding import Unusable
from flor_trace.replay.plan import Plan, make_plan
from flor_trace.replay.recorded import RecordedRun
from flor_trace.replay.resolve import Place
from flor_trace.replay.verdicts import Verdict
from flor_trace.replay.worker import Task
from flor_trace.store.layout import Store
from flor_trace.types import RunId

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
_START = (
    "import sys; sys.path.insert(1, {parent!r}); from flor_trace.replay.{module} import main; "
    "sys.path.remove({parent!r}); main({task!r})"
)


@dataclass(slots=True)
class Outcome:
    """How the replay of one run went."""

    run: RecordedRun
    place: Place
    plan: Plan
    wanted: frozenset[int]
    seconds: float = 0.0
    verdicts: dict[str, Verdict] = field(default_factory=dict)  #: by coordinates, as JSON
    difference: str | None = None  #: the first divergence, if any
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many values have each verdict."""
        return dict(Counter(self.verdicts.values()))

    def absorb(self, end: Mapping[str, Any]) -> set[int]:
        """Add what a worker found; return the iterations of the stage that have good values."""
        good = set()
        for frame in end["values"]:
            key, verdict = json.dumps(frame["coords"]), frame["verdict"]
            if verdict != "diverged":
                self.verdicts[key] = verdict
                good.add(frame["coords"][0][1])
            else:
                self.verdicts.setdefault(key, verdict)
        self.difference = self.difference or end["difference"]
        return good


def carry_out(store: Store, repository: Path, outcome: Outcome) -> None:
    """Replay one run; the values go to a journal of their own beside the run's.

    A checkpoint that turns out to be unusable is avoided in another attempt.  Where execution did
    not follow the recorded run, what can be had by restoring alone is had in another one.
    """
    scratch = Path(tempfile.mkdtemp(prefix="flor_trace-"))
    try:
        setup = outcome.plan.setup_seconds
        not_linked = prepare(store, repository, outcome.run, scratch, setup_seconds=setup)
        unusable = Unusable(store, outcome.place.stage)
        end = _attempts(store, outcome, scratch, unusable)
        outcome.error = end["error"]
        outcome.notes += [*unusable.notes(), *(not_linked if end["error"] else [])]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _attempts(
    store: Store, outcome: Outcome, scratch: Path, unusable: Unusable
) -> Mapping[str, Any]:
    """Carry out the plan, and others where it cannot be; return how the last attempt ended."""
    remaining, prove = set(outcome.wanted), True

    def planning(avoid: Collection[int]) -> Plan:
        return plan_for(outcome.place, remaining, avoid, prove=prove)

    while True:
        end = _attempt(store, outcome, scratch, remaining)
        remaining -= outcome.absorb(end)
        boundary = end["boundary"] if end["how"] == "damaged" else None
        if boundary is not None and boundary not in unusable.found and remaining:
            outcome.plan = unusable.plan_without(boundary, end["error"], planning)
        elif (
            prove
            and outcome.difference
            and (left := _restorable(outcome, remaining, unusable.found))
        ):
            remaining, prove = left, False
            outcome.notes += _unconfirmed(outcome, left)
            outcome.plan = planning(unusable.found)
        else:
            return end


def _restorable(outcome: Outcome, remaining: set[int], avoid: Collection[int]) -> set[int]:
    """The iterations whose values can be had without executing anything."""
    if outcome.place.inner or outcome.place.probe.start:
        return set()
    states = outcome.place.stage.states
    return {
        i for i in remaining if i + 1 in states and not states[i + 1].opaque and i + 1 not in avoid
    }


def _unconfirmed(outcome: Outcome, wanted: set[int]) -> list[str]:
    """A note if what is restored for the `wanted` iterations rests on what was never confirmed."""
    stage = outcome.place.stage
    used = sorted(i + 1 for i in wanted if not stage.states[i + 1].confirmed)
    if not used:
        return []
    names = ", ".join(sorted({each.what for each in outcome.run.constants.values()}))
    return [
        f"the checkpoints of {stage.loop.key} at the boundaries {', '.join(map(str, used))} hold "
        f"{names} as it was when it was last looked at, and nobody could look again afterwards: "
        "values from them are not called exact"
    ]


def plan_for(place: Place, wanted: set[int], avoid: Collection[int], *, prove: bool = True) -> Plan:
    """The plan for asking at `place` in `wanted` iterations of its stage.

    Checkpoints that are not confirmed are the last resort: where execution has diverged.
    """
    return make_plan(
        place.stage,
        wanted,
        inner=place.inner,
        start=place.probe.start,
        avoid=avoid,
        prove=prove,
        unconfirmed=not prove,
    )


def prepare(
    store: Store, repository: Path, run: RecordedRun, scratch: Path, *, setup_seconds: float
) -> list[str]:
    """Put code and inputs in place; say what of the user's files is not there.

    Files that are younger than the loop, which was reached after `setup_seconds`, are left out.
    """
    header = run.header
    materialise(repository, header["vid"], scratch / "tree")
    (scratch / "tmp").mkdir()
    root = Path(header["root"])
    if root.is_dir():
        began = datetime.fromisoformat(header["tstamp"]).timestamp()
        before = began + setup_seconds
        report = link_inputs(root, scratch / "tree", before=before, store=store.path)
        return [f"{item.path} is not in the replay: {item.reason}" for item in report.left_out[:5]]
    return [f"the project's directory {root} is gone: the replay has only what git has"]


def _attempt(store: Store, outcome: Outcome, scratch: Path, wanted: set[int]) -> dict[str, Any]:
    run, place = outcome.run, outcome.place
    journal = new_journal(store, run.runid)
    task = Task(
        store=str(store.path),
        runid=run.runid,
        scratch=str(scratch),
        journal=str(journal),
        probe=asdict(place.probe),
        loop=place.loop.key,
        stage=place.stage.loop.number,
        wanted=tuple(sorted(wanted)),
        steps=tuple(asdict(step) for step in outcome.plan.steps),
        include=tuple(run.header["include"]),
        spot=place.spot,
        carried=asdict(place.carried) if place.carried is not None else None,
    )
    file = scratch / "task.json"
    file.write_text(json.dumps(asdict(task)), "utf-8")
    with (scratch / "output.txt").open("wb") as output:
        start = starting("worker", file)
        status = run_worker(run, scratch, start, stdout=output, stderr=subprocess.STDOUT)
    return _report(journal, status, scratch / "output.txt")


def run_worker(
    run: RecordedRun, scratch: Path, start: str, *, stdout: IO[bytes], stderr: IO[bytes] | int
) -> int:
    """Run the Python code `start` where and as the recorded program ran; return its status."""
    header = run.header
    cwd = Path(header["cwd"])
    where = cwd if cwd.is_absolute() else scratch / "tree" / cwd
    where.mkdir(parents=True, exist_ok=True)
    optimize = ["-" + "O" * header["optimize"]] if header["optimize"] else []
    done = subprocess.run(
        [sys.executable, *optimize, "-c", start],
        cwd=where,
        env=_environment(run, scratch),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        check=False,
    )
    return done.returncode


def _environment(run: RecordedRun, scratch: Path) -> dict[str, str]:
    environ = settings.environment_for_replay()
    for name in settings.RECORDED_VARIABLES:
        environ.pop(name, None)
    environ.update(run.header["env"])
    seed = run.header["hashseed"]
    environ["PYTHONHASHSEED"] = "random" if seed is None else str(seed)
    environ["TMPDIR"] = str(scratch / "tmp")
    environ["WANDB_MODE"] = "disabled"  # a replay reports to no tracker
    return environ


def starting(module: str, task: Path) -> str:
    """Python code that gives `task` to the ``main`` of a module of this package."""
    return _START.format(parent=_PACKAGE_PARENT, module=module, task=str(task))


def _report(journal: Path, status: int, output: Path) -> dict[str, Any]:
    """The worker's last frame, or what can be said of one that did not come to write it."""
    frames = [frame for _, frame in read_journal(journal)] if journal.exists() else []
    values = [frame for frame in frames if frame["t"] == "value"]
    if frames and frames[-1]["t"] == "end":
        end = dict(frames[-1])
        if end["how"] == "failed":
            end["error"] = f"{end['error']}{_tail(output)}"
        return {**end, "values": values}
    error = f"the replay ended with status {status}{_tail(output)}"
    return {
        "how": "failed",
        "error": error,
        "boundary": None,
        "difference": None,
        "values": values,
    }


def _tail(output: Path, lines: int = 6) -> str:
    text = output.read_text(errors="replace").splitlines()[-lines:] if output.exists() else []
    return "".join(f"\n    | {line}" for line in text)


def new_journal(store: Store, runid: RunId) -> Path:
    """A name for the journal of another replay of the run that no other replay has."""
    directory = store.run_dir(runid)
    for number in range(1, 1_000_000):
        path = directory / f"replay-{number}.journal"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            continue
        except OSError as error:
            raise ReplayError(
                f"the results cannot be written to {directory}: {error}; make it writable"
            ) from error
        path.unlink()
        return path
    raise ReplayError(f"{directory} holds too many replays; remove some")
