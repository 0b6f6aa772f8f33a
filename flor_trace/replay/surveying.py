"""Find what is listed in a store and cannot be read any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flor_trace.history.catalog import Catalog
from flor_trace.replay.recorded import OutermostRun, RecordedRun, SavedState
from flor_trace.state.closure import Soundness
from flor_trace.store.layout import Store
from flor_trace.types import Address, RunId

#: copied: whole copies were found behind damage in a pack; executed: the program was run again.
How = Literal["copied", "executed"]


@dataclass(slots=True)
class Broken:
    """A checkpoint, or something else that a run lists, of which chunks cannot be read."""

    run: RecordedRun
    what: str  #: for people
    chunk: Address  #: the manifest, or the only chunk
    lacking: dict[Address, str]  #: what cannot be read, with the reason
    stage: OutermostRun | None = None  #: None: it is no checkpoint
    state: SavedState | None = None
    how: How | None = None  #: in which way it was repaired; None: it was not
    why: str | None = None  #: why it cannot be repaired
    is_graph: bool = True  #: the chunk names others

    def look(self, sound: Soundness) -> dict[Address, str]:
        """Return what cannot be read of it."""
        if self.is_graph:
            return sound.lacking(self.chunk)
        why = sound.trouble(self.chunk)
        return {} if why is None else {self.chunk: why}


@dataclass(slots=True)
class Survey:
    """What is listed, and what of it cannot be read."""

    checkpoints: int = 0
    broken: list[Broken] = field(default_factory=list)


def survey(store: Store, runids: Collection[RunId], sound: Soundness) -> Survey:
    """Look at every chunk that the runs list, each once, and tell what cannot be read.

    Raises:
        JournalDamaged: if the journal of a run cannot be read.

    """
    found = Survey()
    with Catalog(store.path) as catalog:
        for runid in runids:
            run = RecordedRun(catalog.frames(runid))
            for stage in run.outermost.values():
                for boundary, state in sorted({**stage.states, **stage.doubtful}.items()):
                    found.checkpoints += 1
                    if lacking := sound.lacking(state.manifest):
                        what = f"{stage.loop.dimension} {boundary}"
                        found.broken.append(
                            Broken(run, what, state.manifest, lacking, stage, state)
                        )
            found.broken += _others(run, catalog.replay_frames(runid), sound)
    return found


def _others(
    run: RecordedRun, replays: Collection[Mapping[str, Any]], sound: Soundness
) -> Iterator[Broken]:
    """Give what is no checkpoint: states of generators at the start, and values that are arrays."""
    for frame in run.seeds:
        manifest = Address(frame["state"])
        if lacking := sound.lacking(manifest):
            yield Broken(
                run, f"the state of {frame['library']} at the start", manifest, lacking,
                why="nothing else tells what it was; replays do without it, and say so where the "
                "program does not set it itself",
            )  # fmt: skip
    for frame in replays:
        value = frame.get("value")
        if frame.get("t") == "value" and isinstance(value, dict) and value.get("$") == "ndarray":
            address = Address(value["at"])
            if why := sound.trouble(address):
                yield Broken(
                    run, f"the replayed value {frame['name']}", address, {address: why},
                    why="it is no part of a checkpoint; ask for it again with: flor_trace replay "
                    "--force", is_graph=False,
                )  # fmt: skip
