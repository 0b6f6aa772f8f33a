"""What a recorded loop changed between two of its checkpoints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flor_trace.errors import NothingMatched, StoreFormatError, UsageError
from flor_trace.replay.recorded import OutermostRun, RecordedRun, SavedState
from flor_trace.state.changes import Change, changes
from flor_trace.state.codecs.base import Unbuildable
from flor_trace.state.encode import decode
from flor_trace.state.graph import Graph, display_root, first_paths
from flor_trace.state.inflating import inflate
from flor_trace.store.framing import digest_of, key_of
from flor_trace.types import Address, Digest

Load = Callable[[Address], bytes]

#: Changed arrays are read, to tell by how much they changed, up to so many bytes.
MAX_READ = 1 << 30

_GROUP = re.compile(r"rng\.[^.\[]+|[^.\[]*(?:\.py::[^.\[]+)?")


@dataclass(frozen=True, slots=True)
class Between:
    """What differs between two checkpoints of one loop."""

    dimension: str
    first: int  #: boundary of the earlier checkpoint: so many iterations were over
    last: int
    changes: tuple[Change, ...]
    places: dict[str, int]  #: how many arrays and containers of bytes each variable has
    changed_bytes: int
    nbytes: int
    unchanged: tuple[str, ...]  #: variables in which nothing changed
    opaque: tuple[str, ...]
    kept: tuple[str, ...]
    detached: tuple[str, ...]
    clocks: tuple[str, ...]  #: names that are not compared


def group_of(path: str) -> str:
    """Return the variable in which a path begins."""
    found = _GROUP.match(path)
    return found[0] if found and found[0] else path


def changed_between(
    run: RecordedRun, load: Load, *, dimension: str | None = None, value: str | None = None
) -> list[Between]:
    """Return what each outermost loop changed from its first to its last checkpoint.

    With a dimension, only that loop; with a value of its target too, only that iteration, as
    nearly as checkpoints enclose it.

    Raises:
        UsageError: if the run has no such loop, or the loop no such iteration.
        NothingMatched: if there are no two checkpoints to compare.
        ChunkMissing, ChunkDamaged, StoreFormatError: if one cannot be read.

    """
    loops = [each for each in run.outermost.values() if len(each.states) > 1]
    if dimension is not None:
        loops = _named(run, dimension)
    if not loops:
        raise NothingMatched(
            f"run {run.label} has no loop with two checkpoints, so nothing can be compared; record "
            "it with a larger --overhead, or let it run for longer"
        )
    return [_between(run, each, load, value) for each in loops]


def _named(run: RecordedRun, dimension: str) -> list[OutermostRun]:
    found = [each for each in run.outermost.values() if each.loop.dimension == dimension]
    if not found:
        names = sorted({each.loop.dimension for each in run.outermost.values()})
        raise UsageError(
            f"run {run.label} has no checkpoints of a loop {dimension!r}; those of its loops that "
            f"can have them are {', '.join(names) or 'none'}"
        )
    usable = [each for each in found if len(each.states) > 1]
    if not usable:
        raise NothingMatched(
            f"the loop {dimension} of run {run.label} has {len(found[0].states)} checkpoint(s); "
            "two are needed. Record with a larger --overhead, or let it run for longer"
        )
    return usable


def _between(run: RecordedRun, loop: OutermostRun, load: Load, value: str | None) -> Between:
    boundaries = sorted(loop.states)
    if value is None:
        first, last = boundaries[0], boundaries[-1]
    else:
        first, last = _around(boundaries, _iteration(run, loop, value), run, loop)
    return _Comparison(run, load).between(loop, loop.states[first], loop.states[last])


def _iteration(run: RecordedRun, loop: OutermostRun, value: str) -> int:
    targets = {
        path[0][1]: target
        for path, target in run.targets.items()
        if len(path) == 1 and path[0][0] == loop.loop.number
    }
    for iteration, target in sorted(targets.items()):
        if target is not None and str(target) == value:
            return iteration
    unnamed = all(target is None for target in targets.values())
    if unnamed and value.isdigit() and int(value) < loop.iterations:
        return int(value)
    known = [str(t) for _, t in sorted(targets.items()) if t is not None]
    shown = f"from {known[0]} to {known[-1]}" if known else f"{loop.iterations} iterations"
    raise UsageError(
        f"the loop {loop.loop.dimension} of run {run.label} has no iteration {value!r}; it went "
        f"{shown}"
    )


def _around(
    boundaries: Sequence[int], iteration: int, run: RecordedRun, loop: OutermostRun
) -> tuple[int, int]:
    before = [each for each in boundaries if each <= iteration]
    after = [each for each in boundaries if each > iteration]
    if not before or not after:
        raise NothingMatched(
            f"there is no checkpoint {'after' if before else 'before'} that iteration of "
            f"{loop.loop.dimension} in run {run.label}; there are some before iterations "
            f"{', '.join(map(str, boundaries))} (the first is 0)"
        )
    return before[-1], after[0]


class _Comparison:
    """Reads two checkpoints of a run and sets them side by side."""

    def __init__(self, run: RecordedRun, load: Load) -> None:
        self._clocks = frozenset(run.clocks)
        self._load = load

    def between(self, loop: OutermostRun, one: SavedState, other: SavedState) -> Between:
        graphs = [decode(self._load(each.manifest)) for each in (one, other)]
        sizes = [_sizes(graph) for graph in graphs]
        new = {address: n for address, n in sizes[1].items() if address not in sizes[0]}
        (before, old), (after, young) = map(self._inflated, graphs)
        self._read_changed(before, old, after, young)
        found = changes(before, after, old, young, self._clocks)
        places = _places(after)
        touched = {group_of(each.path) for each in found}
        return Between(
            loop.loop.dimension,
            one.boundary,
            other.boundary,
            tuple(found),
            places,
            sum(new.values()),
            sum(sizes[1].values()),
            tuple(sorted(_variables(after) - touched)),
            tuple(after.opaque),
            tuple(after.kept),
            tuple(after.detached),
            tuple(sorted(self._clocks)),
        )

    def _inflated(self, graph: Graph) -> tuple[Graph, list[Digest]]:
        digests = [digest_of(key_of(leaf)) for leaf in graph.leaves if isinstance(leaf, str)]
        try:
            return inflate(graph, digests, self._load)
        except Unbuildable as error:
            raise StoreFormatError(f"a checkpoint cannot be read: {error}") from error

    def _read_changed(self, one: Graph, old: list[Digest], other: Graph, new: list[Digest]) -> None:
        """Put the bytes of what changed in place of their addresses."""
        left = MAX_READ
        for graph, digests, others in ((one, old, set(new)), (other, new, set(old))):
            for at, (leaf, digest) in enumerate(zip(graph.leaves, digests, strict=True)):
                if isinstance(leaf, str) and digest not in others:
                    left -= _length(leaf)
                    if left >= 0:
                        graph.leaves[at] = memoryview(self._load(leaf))


def _length(address: Address) -> int:
    return int(address.partition("-")[0])


def _sizes(graph: Graph) -> dict[str, int]:
    return {leaf: _length(leaf) for leaf in graph.leaves if isinstance(leaf, str)}


def _places(graph: Graph) -> dict[str, int]:
    held = {n for n, node in enumerate(graph.nodes) if node.leaf >= 0}
    return dict(Counter(group_of(path) for path in first_paths(graph, held).values()))


def _variables(graph: Graph) -> set[str]:
    return {display_root(root) for root in graph.roots}


def summary(between: Between) -> Iterator[tuple[str, str, str]]:
    """Give (variable, what, detail) for each variable that changed: one line each."""
    groups: dict[str, list[Change]] = {}
    for each in between.changes:
        groups.setdefault(group_of(each.path), []).append(each)
    for name, found in groups.items():
        if len(found) == 1:
            yield found[0].path, found[0].what, found[0].detail
            continue
        kinds = Counter(each.what for each in found)
        said = ", ".join(f"{count:,} {what}" for what, count in kinds.items())
        count = between.places.get(name, 0)
        of = f" in {count:,} arrays and all else it holds" if count > 1 else ""
        yield name, "changed", f"{said}{of}, such as {found[0].path} {found[0].detail}".rstrip()
