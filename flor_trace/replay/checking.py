"""Say of each checkpoint of a run what it holds, what it lacks, and whether it can be restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flor_trace.errors import ChunkDamaged, ChunkMissing, FlorTraceError, UsageError
from flor_trace.replay.continuing import (
    Continuation,
    can_continue,
    continue_from,
    disagreement,
    try_out,
    why_not,
)
from flor_trace.replay.recorded import OutermostRun, RecordedRun, SavedState
from flor_trace.state.encode import decode
from flor_trace.state.graph import Graph
from flor_trace.store.layout import Store
from flor_trace.store.reader import PackReader

#: exact: restored and captured again, it has the recorded digest (and goes on as recorded, where
#: that was tried); opaque: it lacks something, and no replay uses it; doubtful: it may hold what
#: was not there, and no replay uses it; unconfirmed: as exact, but nobody could look whether what
#: it took for constant was, so that replays prefer others; diverged: it is not what was saved, or
#: does not go on as recorded; damaged: it cannot be read.
Finding = Literal["exact", "opaque", "doubtful", "unconfirmed", "diverged", "damaged"]


@dataclass(slots=True)
class Checked:
    """One checkpoint and what is known about it."""

    stage: OutermostRun
    state: SavedState
    finding: Finding = "exact"
    difference: str | None = None  #: the first, by name, or why it could not be restored
    continued: bool = False
    opaque: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  #: taken from the live program on purpose
    detached: list[str] = field(default_factory=list)  #: tensors without their autograd history
    assumed: list[str] = field(default_factory=list)  #: taken for constant, not looked at

    @property
    def place(self) -> str:
        """The loop and the boundary, for people."""
        return f"{self.stage.loop.dimension} {self.state.boundary}"


def checkpoints(run: RecordedRun) -> list[Checked]:
    """Every checkpoint that the run lists, loop by loop."""
    return [
        Checked(stage, state, "exact" if boundary in stage.states else "doubtful")
        for stage in run.outermost.values()
        for boundary, state in sorted({**stage.states, **stage.doubtful}.items())
    ]


def choose(found: Sequence[Checked], wanted: str) -> list[Checked]:
    """Those that `wanted` names: ``first``, ``last``, or the number of a boundary, with commas.

    Raises:
        UsageError: if it is something else, or there is no such checkpoint.

    """
    chosen: dict[int, Checked] = {}
    for word in filter(None, (part.strip() for part in wanted.split(","))):
        if word in ("first", "last"):
            named = list(found[:1] if word == "first" else found[-1:])
        elif word.isdecimal():
            named = [each for each in found if each.state.boundary == int(word)]
        else:
            raise UsageError(f"{word!r} names no checkpoint; say first, last, or a number")
        if not named:
            there = ", ".join(str(each.state.boundary) for each in found[:20]) or "none"
            raise UsageError(f"there is no checkpoint {word}; there is: {there}")
        chosen.update((id(each), each) for each in named)
    return [each for each in found if id(each) in chosen]


def check(
    store: Store, run: RecordedRun, chosen: Sequence[Checked], *, go_on: bool = False
) -> Iterator[Checked]:
    """Fill in what is known about each; give them one by one.

    Every chunk is read, the state is put in place in the program run again and captured there
    once more.  With `go_on`, the program is executed from there to its end in a fresh process,
    and must print, and end, as it does when it is executed from its start.

    Raises:
        ReplayError, SnapshotError: if the run's program cannot be run at all.

    """
    reader = PackReader(store)
    for each in chosen:
        _read(reader, each)
    for number, stage in run.outermost.items():
        mine = [each for each in chosen if each.stage.loop.number == number]
        sound = [each for each in mine if each.finding == "exact"]
        differences = try_out(store, run, stage, [each.state.boundary for each in sound])
        for each in sound:
            if found := differences.get(each.state.boundary):
                each.finding, each.difference = "diverged", found[0]
            elif not each.state.confirmed:
                each.finding, each.difference = "unconfirmed", why_not(stage, each.state.boundary)
    whole: Continuation | None = None
    for each in chosen:
        if go_on and each.finding == "exact" and can_continue(each.stage, each.state):
            whole = whole or continue_from(store, run, each.stage, None)
            _go_on(store, run, each, whole)
        yield each


def _read(reader: PackReader, each: Checked) -> None:
    try:
        graph: Graph = decode(reader.get(each.state.manifest))
        for leaf in graph.leaves:
            assert isinstance(leaf, str)
            reader.get(leaf)
    except (ChunkMissing, ChunkDamaged) as error:
        each.finding, each.difference = "damaged", str(error)
        return
    each.opaque, each.kept, each.detached = list(each.state.opaque), graph.kept, graph.detached
    if each.state.assumed:
        known = "they were" if each.state.confirmed else "nobody could look afterwards"
        each.assumed = [f"{each.state.assumed / 1e6:.1f} MB of large buffers ({known})"]
    if each.finding == "doubtful":
        each.difference = "something that was assumed to be constant was not; it is never restored"
    elif each.opaque:
        each.finding, each.difference = "opaque", each.opaque[0]


def _go_on(store: Store, run: RecordedRun, each: Checked, whole: Continuation) -> None:
    place = f"{each.stage.loop.number}:{each.state.boundary}"
    try:
        part = continue_from(store, run, each.stage, each.state.boundary)
    except FlorTraceError as error:
        found: str | None = str(error)
    else:
        found = whole.divergence or disagreement(whole, part, place)
    each.continued = True
    if found is not None:
        each.finding, each.difference = "diverged", found
