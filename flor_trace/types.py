"""Names and protocols that every package shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import CodeType

from flor_trace.hints import Any, Literal, NamedTuple, NewType, Protocol
from flor_trace.records import dataclass

#: 16 bytes: the XXH3-128 hash of some bytes, in canonical (big-endian) order.
Digest = NewType("Digest", bytes)

#: Where a chunk lives: its raw length and digest, written ``"<length>-<32 hex digits>"``.
Address = NewType("Address", str)

#: Time-sortable name of one recorded execution.
RunId = NewType("RunId", str)

#: ``"<module path>:<qualname>:<ordinal>"``: a loop statement, the same in every run of a commit.
LoopKey = NewType("LoopKey", str)

LoopKind = Literal["for", "while"]

#: How a loop instance ended: its iterator ran out or its condition turned false; ``break``,
#: ``return`` or a closed generator; an exception.
Leaving = Literal["exhausted", "left", "raised"]

#: First line, last line, first column, end column, as in ``ast`` (lines from 1, columns in bytes).
Span = tuple[int, int, int, int]

#: A running frame: its code, its module's globals, its locals, its cells by name.
StackFrame = tuple[CodeType, dict[str, Any], dict[str, Any], dict[str, Any]]

#: Scalars that are logged and stored exactly.
Scalar = bool | int | float | str


class Spot(NamedTuple):
    """A place in a module next to one of its statements."""

    module: str  #: as in `LoopInfo.module`
    span: Span  #: of the statement
    before: bool  #: the place is before the statement; else after it


class Controls(NamedTuple):
    """What rewritten code asks for besides reporting its loops: only replays do."""

    loops: frozenset[LoopKey] = frozenset()  #: those that are steered
    spots: frozenset[Spot] = frozenset()  #: those that are told when the program comes there


NO_CONTROLS = Controls()


@dataclass(frozen=True, slots=True)
class LoopInfo:
    """What the source says about one ``for`` or ``while`` statement."""

    module: str  #: path of the file in the project, with forward slashes: ``"src/train.py"``
    qualname: str  #: of the code object: ``"<module>"``, ``"main"``, ``"Trainer.run"``
    ordinal: int  #: position among the loops of that code object, in source order, from 0
    kind: LoopKind
    span: Span
    header: str  #: the first line of the statement, stripped
    targets: tuple[str, ...]  #: names the ``for`` target binds, in order; empty for ``while``
    dimension: str  #: the pivot column this loop gives, before it is made unique in its nest
    stores: tuple[str, ...]  #: every name the target and the body bind, nested statements included
    own_stores: tuple[str, ...]  #: those bound outside of loops nested in this one
    left_alone: str | None = None  #: why this loop is not instrumented, if it is not

    @property
    def key(self) -> LoopKey:
        """The identity of the loop within its commit."""
        return LoopKey(f"{self.module}:{self.qualname}:{self.ordinal}")


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """One module of the project as it was compiled."""

    module: str  #: path in the project, as in `LoopInfo.module`
    digest: Digest  #: of the source bytes that were compiled
    loops: tuple[LoopInfo, ...]
    left_alone: tuple[tuple[str, str], ...]  #: (qualname, reason) of code objects not rewritten
    clocks: frozenset[str]  #: names, attributes and keys that hold readings of a clock


class Hooks(Protocol):
    """What rewritten code is bound to: the code side's only view of the running side."""

    def module(self, info: ModuleInfo, path: str) -> None:
        """Hear of a module, before any of its code runs; `path` is its ``co_filename``."""

    def site(self, loop: LoopInfo) -> object:
        """Give the constant that reports this loop (a `flor_trace._speedups.Site`)."""

    def control(self, loop: LoopInfo) -> Control | None:
        """Give the object that steers this loop's iterations in a replay, or None to leave it."""

    def spot(self, spot: Spot) -> Callable[[], None]:
        """Give what is called whenever the program comes to one of the `Controls.spots`."""


class Control(Protocol):
    """Steers the iterations of one loop while a replay runs.

    The body of a controlled loop begins with::

        if control.due():                     # once per iteration, before the body
            if control.unbound("x"): del x    # for each assignable local name
            else: x = control.value("x")
            if control.skip(): continue
    """

    def due(self) -> bool:
        """Whether anything is to be done before the body."""

    def unbound(self, name: str) -> bool:
        """Whether the local is to have no value."""

    def value(self, name: str) -> Any:
        """The value that the local is to have."""

    def skip(self) -> bool:
        """Whether the body is to be jumped over."""


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One step of the path from the outermost running loop inwards."""

    dimension: str
    iteration: int
    value: Scalar | None  #: what the loop's target held, when that was a scalar


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """A logged value that is too large or too structured for a table cell."""

    kind: str  #: ``"ndarray"`` or ``"error"``
    address: Address | None  #: of the chunk with the bytes; None for errors
    meta: Mapping[str, Any]  #: for ndarray: ``dtype`` and ``shape``; for error: ``text``


@dataclass(frozen=True, slots=True)
class Record:
    """One logged value."""

    runid: RunId
    coordinates: tuple[Coordinate, ...]
    name: str
    value: Scalar | ArtifactRef | None
    source: Literal["forward", "replay"]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A saved state that can be restored."""

    loop: LoopKey
    outer: tuple[Coordinate, ...]  #: the loops around the loop instance; empty when outermost
    boundary: int  #: the state is that before this iteration, that is, after `boundary` iterations
    manifest: Address
    digest: Digest  #: of the whole captured state
    opaque: tuple[str, ...]  #: paths of values that could not be captured
    seconds: float  #: what taking it cost the training thread


class ChunkReader(Protocol):
    """Reads immutable bytes by address, verifying them."""

    def get(self, address: Address) -> bytes:
        """Return the bytes; raise `ChunkMissing` or `ChunkDamaged`."""


class ChunkWriter(Protocol):
    """Adds immutable bytes under the address that their contents give."""

    def put(self, data: bytes | bytearray | memoryview) -> Address:
        """Store the bytes unless they are there already; durable after `flush`."""

    def has(self, address: Address) -> bool:
        """Whether the bytes are stored, or put and not refused since."""

    def flush(self) -> None:
        """Return when everything put so far will survive a power loss."""


Names = Sequence[str]
