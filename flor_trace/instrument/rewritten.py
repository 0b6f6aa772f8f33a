"""The result of rewriting a module, in memory and as plain data that `marshal` can write."""

from __future__ import annotations

from types import CodeType

from flor_trace.hints import Any
from flor_trace.instrument.markers import Marks
from flor_trace.instrument.places import Places, find_places
from flor_trace.records import dataclass
from flor_trace.types import Digest, LoopInfo, ModuleInfo


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A compiled module that can be marshalled, and is to be bound before it runs."""

    code: CodeType
    info: ModuleInfo
    places: Places | None = None  #: of the markers, where they are known


def to_plain(rewritten: Rewritten) -> tuple[Any, ...]:
    """Return the same as tuples, strings, numbers and code objects, with the places found."""
    info = rewritten.info
    places = find_places(rewritten.code, Marks(info.digest))
    loops = tuple(
        tuple(getattr(loop, name) for name in LoopInfo.__match_args__) for loop in info.loops
    )
    clocks = tuple(sorted(info.clocks))
    return (rewritten.code, info.module, info.digest, loops, info.left_alone, clocks, places)


def from_plain(data: tuple[Any, ...]) -> Rewritten:
    """Return what `to_plain` was given; raises `TypeError` or `ValueError` for anything else."""
    code, module, digest, loops, left_alone, clocks, places = data
    if not isinstance(code, CodeType):
        raise TypeError("a cached module does not begin with a code object")
    infos = tuple(LoopInfo(*loop) for loop in loops)
    info = ModuleInfo(module, Digest(digest), infos, left_alone, frozenset(clocks))
    return Rewritten(code, info, places)


def columns_are_kept() -> bool:
    """Tell whether code objects have column positions: not with ``-X no_debug_ranges``."""
    return next(iter(to_plain.__code__.co_positions()))[2] is not None
