"""Record a program of the zoo, go on from its checkpoints, and say how each came out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flor_trace.history.journal import read_journal
from flor_trace.replay.continuing import (
    Continuation,
    can_continue,
    continue_from,
    disagreement,
    try_out,
)
from flor_trace.replay.recorded import OutermostRun, RecordedRun, SavedState
from flor_trace.store.layout import Store, open_store

PACKAGE = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"

#: exact: it prints the same and ends in the same state; opaque: the checkpoint says that it lacks
#: something; leaving: the loop was being left there; diverged: it claims to be whole and is not.
EXACT, OPAQUE, LEAVING, DIVERGED = "exact", "opaque", "leaving", "diverged"


@dataclass
class Specimen:
    """A recorded program of the zoo."""

    path: Path
    output: bytes
    error: bytes
    status: int
    store: Store = field(init=False)
    run: RecordedRun = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(self.path / ".flor_trace", create=False)
        (directory,) = self.store.runs.iterdir()
        self.run = RecordedRun(frame for _, frame in read_journal(directory / "journal"))

    @property
    def checkpoints(self) -> list[tuple[OutermostRun, SavedState]]:
        """Every checkpoint that is listed, in the order of the program."""
        return [
            (stage, state)
            for stage in self.run.outermost.values()
            for _, state in sorted(stage.states.items())
        ]

    def from_start(self) -> Continuation:
        """The program executed again from its start; checked to do what was recorded."""
        stage = self.run.main
        assert stage is not None
        whole = continue_from(self.store, self.run, stage, None)
        assert whole.failure is None, whole.failure
        assert (whole.status, whole.output) == (self.status, self.output), whole.error.decode()
        assert whole.divergence is None, whole.divergence
        return whole

    def tried(
        self, whole: Continuation, chosen: list[tuple[OutermostRun, SavedState]]
    ) -> Iterator[tuple[str, str, str]]:
        """For each checkpoint its place, how it came out, and the difference or the reason."""
        for stage, state in chosen:
            place = f"{stage.loop.number}:{state.boundary}"
            if state.opaque:
                yield place, OPAQUE, "; ".join(state.opaque)
            elif not can_continue(stage, state):
                yield place, LEAVING, self._when_left(stage, state)
            else:
                part = continue_from(self.store, self.run, stage, state.boundary)
                what = disagreement(whole, part, place)
                yield place, DIVERGED if what else EXACT, what or ""

    def _when_left(self, stage: OutermostRun, state: SavedState) -> str:
        return "; ".join(try_out(self.store, self.run, stage, [state.boundary])[state.boundary])


def record(name: str, at: Path, *, threads: int = 1, options: tuple[str, ...] = ()) -> Specimen:
    """Record a program of the zoo with a checkpoint at every boundary."""
    source = PROGRAMS / name
    if source.is_dir():
        shutil.copytree(source, at)
    else:
        at.mkdir()
        shutil.copy(source, at / "main.py")
    done = subprocess.run(
        [sys.executable, "-m", "flor_trace", "--overhead", "10000%", *options, "main.py"],
        cwd=at,
        env=_environment(threads),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    return Specimen(at, done.stdout, done.stderr, done.returncode)


def _environment(threads: int) -> dict[str, str]:
    ours = ("FLOR_TRACE", "GIT_", "PYTEST_", "GITHUB_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    kept.pop("PYTHONHASHSEED", None)
    native = os.environ.get("FLOR_TRACE_NATIVE")
    return {
        **kept,
        **({"FLOR_TRACE_NATIVE": native} if native else {}),
        "PYTHONPATH": str(PACKAGE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": str(threads),
    }


def sample(
    checkpoints: list[tuple[OutermostRun, SavedState]], count: int
) -> list[tuple[OutermostRun, SavedState]]:
    """The first, the last, and some between them, evenly; if only one, that in the middle."""
    if len(checkpoints) <= count:
        return checkpoints
    last = len(checkpoints) - 1
    if count == 1:
        return [checkpoints[last // 2]]
    return [checkpoints[round(n * last / (count - 1))] for n in range(count)]
