"""Names, for people, what differs between two state graphs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from flor_trace.state.graph import (
    PAIRED_KINDS,
    Graph,
    Node,
    NodeId,
    Ref,
    display_root,
    first_paths,
    readable,
    step,
    variable_name,
)
from flor_trace.state.magnitudes import difference, size
from flor_trace.types import Digest

What = Literal["changed", "added", "removed"]

_SEQUENCES: Final = frozenset({"list", "tuple", "deque", "object array"})
_PACKED: Final = frozenset({"packed list", "packed tuple"})
_BY_TYPE: Final = _SEQUENCES | _PACKED | {"value", "numpy scalar", "text"}
_ABSENT: Final = object()
_HUGE: Final = 10**50


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, at the place where a person would look for it."""

    path: str  #: ``model.fc1.weight``, ``history['loss']``, ``train.py::best``
    what: What
    detail: str  #: values, sizes or magnitudes; may be empty


def changes(
    before: Graph,
    after: Graph,
    before_digests: Sequence[Digest],
    after_digests: Sequence[Digest],
    ignore: frozenset[str] = frozenset(),
) -> list[Change]:
    """Return what differs between the graphs, whose leaves have these digests.

    Plain values and sequences under a name in `ignore` are not compared. The magnitude of a
    difference between arrays is given when both graphs hold their bytes.
    """
    return list(_Comparison(before, after, before_digests, after_digests, ignore).run())


class _Comparison:
    def __init__(
        self,
        before: Graph,
        after: Graph,
        before_digests: Sequence[Digest],
        after_digests: Sequence[Digest],
        ignore: frozenset[str],
    ) -> None:
        self._before, self._after = before, after
        self._digests = before_digests, after_digests
        self._ignore = ignore
        self._same: dict[NodeId, NodeId] = {}
        self._queue: deque[tuple[Ref, Ref, str, bool]] = deque()
        self._keys: dict[int, str] | None = None

    def run(self) -> Iterator[Change]:
        """Give the changes, root by root."""
        old, new = self._before.roots, self._after.roots
        for name in {**old, **new}:
            path = display_root(name)
            if name not in new:
                yield Change(path, "removed", self._say(self._before, old[name]))
            elif name not in old:
                yield Change(path, "added", self._say(self._after, new[name]))
            else:
                self._queue.append(
                    (old[name], new[name], path, variable_name(name) in self._ignore)
                )
                while self._queue:
                    yield from self._compare(*self._queue.popleft())

    def _compare(self, old: Ref, new: Ref, path: str, vague: bool) -> Iterator[Change]:
        if type(old) is not NodeId or type(new) is not NodeId:
            if vague and type(old) is type(new):
                return
            if type(old) is not type(new) or not _equal(old, new):
                yield self._change(path, old, new)
            return
        if old in self._same:
            if self._same[old] != new:
                yield Change(readable(path), "changed", "refers to another object than before")
            return
        self._same[old] = new
        one, other = self._before.nodes[old], self._after.nodes[new]
        yield from self._compare_nodes(one, other, path, vague)

    def _compare_nodes(self, one: Node, other: Node, path: str, vague: bool) -> Iterator[Change]:
        if vague and one.type_name == other.type_name and {one.kind, other.kind} <= _BY_TYPE:
            return
        if _incomparable(one, other):
            yield Change(readable(path), "changed", f"{_describe(one)} -> {_describe(other)}")
            return
        if one.leaf >= 0 and self._digests[0][one.leaf] != self._digests[1][other.leaf]:
            leaves = self._before.leaves[one.leaf], self._after.leaves[other.leaf]
            yield Change(readable(path), "changed", difference(one, other, *leaves))
        elif one.payload != other.payload:
            yield Change(readable(path), "changed", f"{_describe(one)} -> {_describe(other)}")
        if one.kind in PAIRED_KINDS:
            yield from self._dicts(one, other, path, vague)
        else:
            yield from self._sequences(one, other, path, vague)
        yield from self._named(one, other, path, vague)

    def _sequences(self, one: Node, other: Node, path: str, vague: bool) -> Iterator[Change]:
        old, new = one.items, other.items
        if len(old) != len(new):
            detail = f"{len(old)} -> {len(new)} elements"
            yield Change(readable(path), "changed", detail)
        if one.kind in ("set", "frozenset"):
            if len(old) == len(new) and list(map(repr, old)) != list(map(repr, new)):
                yield Change(readable(path), "changed", "other elements, or in another order")
            return
        for n, (a, b) in enumerate(zip(old, new, strict=False)):
            self._queue.append((a, b, f"{path}[{n}]", vague))

    def _dicts(self, one: Node, other: Node, path: str, vague: bool) -> Iterator[Change]:
        old, new = _entries(one), _entries(other)
        for key in {**old, **new}:
            first, second = old.get(key, _ABSENT), new.get(key, _ABSENT)
            label = path + self._key(key, new.get(key, old.get(key)))
            if isinstance(second, tuple) and isinstance(first, tuple):
                hazy = vague or key[1] in self._ignore
                self._queue.append((first[1], second[1], label, hazy))
            elif isinstance(second, tuple):
                yield Change(readable(label), "added", self._say(self._after, second[1]))
            elif isinstance(first, tuple):
                yield Change(readable(label), "removed", self._say(self._before, first[1]))
        if list(old) != list(new) and old.keys() == new.keys():
            yield Change(readable(path), "changed", "the same keys in another order")

    def _named(self, one: Node, other: Node, path: str, vague: bool) -> Iterator[Change]:
        old, new = one.named, other.named
        for name in {**old, **new}:
            label = f"{path}.{name}"
            if name not in new:
                yield Change(readable(label), "removed", self._say(self._before, old[name]))
            elif name not in old:
                yield Change(readable(label), "added", self._say(self._after, new[name]))
            else:
                self._queue.append((old[name], new[name], label, vague or name in self._ignore))

    def _key(self, key: tuple[str, object], pair: object) -> str:
        if key[0] != "object":
            return f"[{key[1]!r}]"
        if self._keys is None:
            self._keys = first_paths(self._after, range(len(self._after.nodes)))
        assert isinstance(pair, tuple)
        return step(None, pair[0], self._keys)

    def _change(self, path: str, old: Ref, new: Ref) -> Change:
        detail = f"{self._say(self._before, old)} -> {self._say(self._after, new)}"
        return Change(readable(path), "changed", detail)

    def _say(self, graph: Graph, ref: Ref) -> str:
        if type(ref) is NodeId:
            return _describe(graph.nodes[ref])
        if type(ref) is int and abs(ref) >= _HUGE:
            return f"an int of {ref.bit_length()} bits"  # repr refuses the largest
        text = repr(ref)
        return text if len(text) <= 60 else f"{text[:57]}..."


def _equal(old: Ref, new: Ref) -> bool:
    return old == new if type(old) is int else repr(old) == repr(new)


def _entries(node: Node) -> dict[tuple[str, object], tuple[Ref, Ref]]:
    """Return (key, value) references by key; keys that are objects go by their position."""
    items = node.items
    found: dict[tuple[str, object], tuple[Ref, Ref]] = {}
    for n, (key, value) in enumerate(zip(items[::2], items[1::2], strict=True)):
        name = ("object", n) if type(key) is NodeId else (type(key).__name__, key)
        found[name] = (key, value)
    return found


def _incomparable(one: Node, other: Node) -> bool:
    if one.type_name != other.type_name:
        return True
    return one.kind != other.kind and not {one.kind, other.kind} <= {"tensor", "detached tensor"}


def _describe(node: Node) -> str:
    short = node.type_name.partition(":")[2]
    detail = size(node)
    return f"{short} {detail}" if detail else short
