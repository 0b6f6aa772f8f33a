"""A recorded run as its journal tells it: loops, iterations, checkpoints, logged values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flor_trace.history.amendments import replacements
from flor_trace.types import Address, LoopInfo, LoopKey, RunId, Scalar

#: Loop number and iteration, from the outermost loop inwards.
Path = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class WatchedLoop:
    """A loop as it was watched in this run."""

    number: int
    key: LoopKey
    dimension: str
    nth: int  #: which execution under the same outer iteration, from 0
    thread: str = ""  #: that it ran on, unless that was the main one


@dataclass(frozen=True, slots=True)
class SavedState:
    """A checkpoint of an outermost loop."""

    boundary: int
    manifest: Address
    opaque: tuple[str, ...]
    nbytes: int
    digest: str = ""  #: of the whole state, hex; the first thing to compare
    assumed: int = 0  #: bytes that were taken for constant and not read at that boundary
    confirmed: bool = True  #: whether what was assumed turned out to be so, or nothing was


@dataclass(slots=True)
class OutermostRun:
    """One execution of a loop that lies in no other watched loop."""

    loop: WatchedLoop
    entered_at: float  #: seconds after the start of the recording
    iterations: int = 0  #: iterations begun
    complete: int = 0  #: iterations known to be over
    seconds: float = 0.0
    how: str = "unfinished"
    states: dict[int, SavedState] = field(default_factory=dict)
    #: Those that may hold what was not there: never restored, never compared with.
    doubtful: dict[int, SavedState] = field(default_factory=dict)

    @property
    def seconds_each(self) -> float:
        """Mean time of an iteration."""
        return self.seconds / max(self.iterations, 1)


@dataclass(frozen=True, slots=True)
class Constant:
    """A large buffer that was the same so often that it was not read at every boundary."""

    path: str
    nbytes: int

    @property
    def what(self) -> str:
        """The buffer, for people."""
        return self.path or f"a buffer of {self.nbytes / 1e6:.1f} MB"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Takes between two others that relied on a constant, and should not have."""

    constant: int  #: its number
    doubtful: bool  #: it was not constant; else nobody could look
    after: int
    before: int
    nbytes: int


class RecordedRun:
    """Everything a replay needs to know about a run."""

    def __init__(self, frames: Iterable[Mapping[str, Any]]) -> None:
        self.header: Mapping[str, Any] = {}
        self.loops: dict[int, WatchedLoop] = {}
        self.infos: dict[LoopKey, LoopInfo] = {}
        self.sources: dict[str, str] = {}  # module -> digest of its source, hex
        self.clocks: set[str] = set()
        self.config: dict[str, Scalar] = {}
        self.seeds: list[Mapping[str, Any]] = []
        self.outermost: dict[int, OutermostRun] = {}
        self.values: dict[Path, dict[str, Scalar]] = {}
        self.targets: dict[Path, Scalar | None] = {}
        self.exit: Mapping[str, Any] | None = None
        self.constants: dict[int, Constant] = {}
        self.stretches: list[Stretch] = []
        self._confirmed = -1  #: the last take by which no other stretch can be found
        self._takes: dict[tuple[int, int], int] = {}  #: by loop and boundary, if it assumed a thing
        self._repaired: list[Mapping[str, Any]] = []
        for frame in frames:
            reader = getattr(self, f"_read_{frame['t']}", None)
            if reader is not None:
                reader(frame)
        self._judge_states()
        self._replace_lost()

    @property
    def runid(self) -> RunId:
        """The run's identity."""
        return RunId(self.header["runid"])

    @property
    def label(self) -> str:
        """The run's name if it has one, else its id."""
        return str(self.header.get("name") or self.runid)

    @property
    def main(self) -> OutermostRun | None:
        """The outermost loop that took the most time: the training loop."""
        return max(self.outermost.values(), key=lambda run: run.seconds, default=None)

    def _read_run(self, frame: Mapping[str, Any]) -> None:
        self.header = frame

    def _read_exit(self, frame: Mapping[str, Any]) -> None:
        self.exit = frame

    def _read_seed(self, frame: Mapping[str, Any]) -> None:
        self.seeds.append(frame)

    def _read_config(self, frame: Mapping[str, Any]) -> None:
        self.config.update(frame["values"])

    def _read_module(self, frame: Mapping[str, Any]) -> None:
        self.sources[frame["module"]] = frame["digest"]
        self.clocks.update(frame.get("clocks", ()))
        for fields in frame["loops"]:
            info = _loop_info(fields)
            self.infos[info.key] = info

    def _read_loop(self, frame: Mapping[str, Any]) -> None:
        self.loops[frame["id"]] = WatchedLoop(
            frame["id"],
            LoopKey(frame["key"]),
            frame["dim"],
            frame.get("nth", 0),
            frame.get("thread", ""),
        )

    def _read_enter(self, frame: Mapping[str, Any]) -> None:
        loop = self.loops[frame["loop"]]
        if not loop.thread:  # a replay leads the main thread alone
            self.outermost[loop.number] = OutermostRun(loop, frame["at"])

    def _read_leave(self, frame: Mapping[str, Any]) -> None:
        run = self.outermost.get(frame["loop"])
        if run is None:
            return
        run.iterations = frame["iterations"]
        run.complete = run.iterations - (frame["how"] == "raised")
        run.seconds, run.how = frame["seconds"], frame["how"]

    def _read_checkpoint(self, frame: Mapping[str, Any]) -> None:
        run = self.outermost[frame["loop"]]
        run.states[frame["boundary"]] = SavedState(
            frame["boundary"],
            frame["manifest"],
            tuple(frame["opaque"]),
            frame["bytes"],
            frame["digest"],
            frame.get("assumed", 0),
        )
        place = run.loop.number, frame["boundary"]
        self._takes.pop(place, None)
        if frame.get("assumed"):
            self._takes[place] = frame["take"]

    def _read_constant(self, frame: Mapping[str, Any]) -> None:
        self.constants[frame["id"]] = Constant(frame["path"], frame["bytes"])

    def _read_confirmed(self, frame: Mapping[str, Any]) -> None:
        self._confirmed = max(self._confirmed, frame["take"])

    def _read_doubtful(self, frame: Mapping[str, Any]) -> None:
        self.stretches.append(
            Stretch(
                frame["id"],
                frame["t"] == "doubtful",
                frame["after"],
                frame["before"],
                frame["bytes"],
            )
        )

    _read_unconfirmed = _read_doubtful

    def _judge_states(self) -> None:
        """Take the doubtful checkpoints away, and mark the unconfirmed ones."""
        for each in self.stretches:  # the name is found in the background, and may be missing
            self.constants.setdefault(each.constant, Constant("", each.nbytes))
        for (number, boundary), take in self._takes.items():
            run = self.outermost[number]
            bad = [each for each in self.stretches if each.after < take < each.before]
            if any(each.doubtful for each in bad):
                run.doubtful[boundary] = run.states.pop(boundary)
            elif bad or take > self._confirmed:
                run.states[boundary] = replace(run.states[boundary], confirmed=False)

    def _read_repaired(self, frame: Mapping[str, Any]) -> None:
        self._repaired.append(frame)

    def _replace_lost(self) -> None:
        """Where a manifest was lost, take the one that a repair has made of the same state."""
        found = replacements(self._repaired)
        for run in self.outermost.values() if found else ():
            for states in (run.states, run.doubtful):
                for boundary, state in states.items():
                    by = found.get(state.manifest, state.manifest)
                    states[boundary] = replace(state, manifest=Address(by))

    def _read_rows(self, frame: Mapping[str, Any]) -> None:
        outer = tuple((number, iteration) for number, iteration, _ in frame["outer"])
        for offset, target in enumerate(frame["value"]):
            path = (*outer, (frame["loop"], frame["first"] + offset))
            self.targets[path] = target
            self.values[path] = {
                name: column[offset]
                for name, column in frame["cols"].items()
                if column[offset] is not None
            }
        for number, _, target in frame["outer"]:
            outer_path = _up_to(outer, number)
            self.targets.setdefault(outer_path, target)
        run = self.outermost.get(frame["loop"])
        if run is not None and not outer:
            run.complete = max(run.complete, frame["first"] + len(frame["value"]))
            run.iterations = max(run.iterations, run.complete)
            run.seconds = max(run.seconds, frame.get("at", 0.0) - run.entered_at)


def _up_to(path: Path, number: int) -> Path:
    for position, (loop, _) in enumerate(path):
        if loop == number:
            return path[: position + 1]
    return path


def _loop_info(fields: Mapping[str, Any]) -> LoopInfo:
    tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return LoopInfo(**tuples)
