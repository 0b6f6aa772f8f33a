"""Go on from a checkpoint in a fresh process, to the program's end, and see how it comes out."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flor_trace.errors import ReplayError
from flor_trace.history.worktree import find_repository
from flor_trace.replay.execute import prepare, run_worker, starting
from flor_trace.replay.leading import Errand
from flor_trace.replay.onward import Journey
from flor_trace.replay.recorded import OutermostRun, RecordedRun, SavedState
from flor_trace.store.layout import Store

#: The scratch directory, the exit status and the report of a process that was sent out.
Returned = tuple[Path, int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Printed:
    """What a program wrote to one of its streams, and how much of that at which boundary."""

    data: bytes
    relocate: tuple[bytes, bytes]  #: the replay's directory and the project's
    positions: Mapping[str, int] = field(default_factory=dict)

    def after(self, position: int = 0) -> bytes:
        """What came after a position, with the project's directory for the replay's."""
        return self.data[position:].replace(*self.relocate)


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a program did that went on from a checkpoint, or from its start."""

    output: bytes  #: what it printed from there on
    error: bytes  #: the same of its standard error stream
    status: int
    final: Mapping[str, str] | None  #: digest of each global and generator; None: it was killed
    passed: Mapping[str, str]  #: digests of the states at recorded boundaries and ends of loops
    compared: int  #: recorded states that were compared
    divergence: str | None  #: the first difference to the recorded run
    failure: str | None  #: why it could not go on from there
    printed: Printed

    def output_after(self, place: str) -> bytes | None:
        """What it printed after a `place` (see `passed`), None if it did not come there."""
        position = self.printed.positions.get(place)
        return None if position is None else self.printed.after(position)


def can_continue(stage: OutermostRun, state: SavedState) -> bool:
    """Whether the program can go on from the state.

    It cannot where a ``break`` or ``return`` was leaving the loop: where to, nobody noted.
    """
    return not (stage.how == "left" and state.boundary == stage.iterations)


def why_not(stage: OutermostRun, boundary: int) -> str | None:
    """Why no program is to go on from the checkpoint at a boundary, or None."""
    if boundary in stage.doubtful:
        return "data that was taken for constant changed, so that it may hold what never was"
    state = stage.states.get(boundary)
    if state is None:
        return "there is none"
    if state.opaque:
        return f"it lacks {state.opaque[0]}, which could not be captured"
    if not state.confirmed:
        return "it holds data that was taken for constant, and nobody could look at it afterwards"
    if not can_continue(stage, state):
        return "the loop was being left there, and nobody noted where to"
    return None


def last_good(stage: OutermostRun, boundary: int) -> int | None:
    """The last boundary, up to this one, that a program can go on from; None: only its start."""
    return max((k for k in stage.states if k <= boundary and not why_not(stage, k)), default=None)


def continue_from(
    store: Store, run: RecordedRun, stage: OutermostRun, boundary: int | None
) -> Continuation:
    """Restore the checkpoint in a new process, and execute the program from there to its end.

    Nothing of the user's is changed: as in a replay, it all happens in a directory that is
    removed afterwards.  With `boundary` None the program is executed from its start, which gives
    the `Continuation` that all others are to be compared with.

    Raises:
        ReplayError: if the process could not be started or told nothing, or the checkpoint is one
            that nothing is to go on from; the message names one that is better.
        SnapshotError: if the code of the run is not there any more.

    """
    if boundary is not None and (reason := why_not(stage, boundary)) is not None:
        better = last_good(stage, boundary)
        instead = "the program's start" if better is None else f"the checkpoint {better}"
        raise ReplayError(
            f"nothing can go on from the checkpoint {boundary} of {stage.loop.dimension} in run "
            f"{run.label}: {reason}; go on from {instead}"
        )
    boundaries = () if boundary is None else (boundary,)
    with _journey(store, run, stage, boundaries, go_on=True) as (scratch, status, report):
        relocate = str(scratch / "tree").encode(), str(run.header["root"]).encode()
        streams = [(scratch / name).read_bytes() for name in ("stdout", "stderr")]
        began = report["began_at"] or [0, 0]
        failed = report["how"] in ("failed", "damaged")
        positions = {name: each[0] for name, each in report["positions"].items()}
        return Continuation(
            output=Printed(streams[0], relocate).after(began[0]),
            error=Printed(streams[1], relocate).after(began[1]),
            status=status,
            final=report["final"],
            passed=report["passed"],
            compared=report["compared"],
            divergence=report["difference"],
            failure=report["error"] if failed else None,
            printed=Printed(streams[0], relocate, positions),
        )


def disagreement(whole: Continuation, part: Continuation, place: str) -> str | None:
    """Where `part`, which went on from `place`, did not do what `whole` did from there on.

    `whole` is the continuation from the start.  None: they agree in every byte.
    """
    if part.failure is not None:
        return part.failure
    expected = whole.output_after(place)
    if expected is None:
        return f"a run from the start does not come to {place}"
    if part.output != expected:
        return _first_line(expected, part.output)
    if part.status != whole.status:
        return f"it ends with status {part.status}, not {whole.status}"
    return part.divergence or _states_differ(whole, part)


def _states_differ(whole: Continuation, part: Continuation) -> str | None:
    for name, digest in part.passed.items():
        if whole.passed.get(name) != digest:
            return f"the state at {name} is another one"
    if part.final is None or whole.final is None:
        return None if part.final == whole.final else "one of them was killed"
    differing = [
        root
        for root in {**whole.final, **part.final}
        if whole.final.get(root) != part.final.get(root)
    ]
    return f"at the end {', '.join(differing[:3])} is another one" if differing else None


def _first_line(expected: bytes, got: bytes) -> str:
    ours, theirs = got.splitlines(), expected.splitlines()
    for n, line in enumerate(theirs):
        here = ours[n] if n < len(ours) else b"nothing more"
        if here != line:
            return f"it prints {_shown(here)} where the recorded run printed {_shown(line)}"
    return f"it prints {_shown(b''.join(ours[len(theirs) :]))} at the end"


def _shown(line: bytes) -> str:
    return repr(line[:80].decode(errors="replace"))


def try_out(
    store: Store, run: RecordedRun, stage: OutermostRun, boundaries: Sequence[int]
) -> dict[int, list[str]]:
    """Restore checkpoints of one loop, one after the other, and capture the state again.

    Returns, for each, how the state that is then there differs from the saved one, by name; or
    why it could not be restored.
    """
    found: dict[int, list[str]] = {}
    remaining = sorted(boundaries)
    while remaining:
        # The first iteration always runs when the state before it was put in place.
        leg = remaining[:1] if remaining[0] == 0 else remaining
        with _journey(store, run, stage, leg, go_on=False) as (scratch, status, report):
            found |= {int(k): each for k, each in report["states"].items()}
            remaining = [k for k in remaining if k not in found]
            if any(k not in found for k in leg):
                at = report["boundary"]
                stuck = at if at in remaining else remaining[0]
                tail = (scratch / "stderr").read_text(errors="replace").splitlines()[-1:]
                why = report["error"] or f"the process ended with status {status} {' '.join(tail)}"
                found[stuck] = [why]
                remaining.remove(stuck)
    return found


def _journey(
    store: Store,
    run: RecordedRun,
    stage: OutermostRun,
    boundaries: Sequence[int],
    *,
    go_on: bool,
) -> AbstractContextManager[Returned]:
    """Make the journey; give the scratch directory, the exit status and the report."""

    def journey(errand: Errand) -> Journey:
        return Journey(**asdict(errand), boundaries=tuple(boundaries), go_on=go_on)

    return sent_out(store, run, stage, "onward", journey)


@contextmanager
def sent_out(
    store: Store,
    run: RecordedRun,
    stage: OutermostRun,
    module: str,
    make: Callable[[Errand], Errand],
) -> Iterator[Returned]:
    """Run the old program in a process led by `module`; give scratch directory, status, report.

    Raises:
        ReplayError: if it wrote no report.
        SnapshotError: if the code of the run is not there any more.

    """
    header = run.header
    repository = find_repository(header["vid"], (Path(header["root"]), store.code))
    scratch = Path(tempfile.mkdtemp(prefix="flor_trace-"))
    try:
        prepare(store, repository, run, scratch, setup_seconds=stage.entered_at)
        errand = Errand(
            store=str(store.path),
            runid=run.runid,
            scratch=str(scratch),
            stage=stage.loop.number,
            include=tuple(header["include"]),
        )
        file = scratch / "errand.json"
        file.write_text(json.dumps(asdict(make(errand))), "utf-8")
        start = starting(module, file)
        with (scratch / "stdout").open("wb") as out, (scratch / "stderr").open("wb") as err:
            status = run_worker(run, scratch, start, stdout=out, stderr=err)
        yield scratch, status, _report(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _report(scratch: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((scratch / "report.json").read_text("utf-8")))
    except (OSError, ValueError) as error:
        told = (scratch / "stderr").read_text(errors="replace").splitlines()[-3:]
        raise ReplayError(
            f"the program could not be run again: {' '.join(told) or error}; flor_trace doctor "
            "tells what works here"
        ) from error
