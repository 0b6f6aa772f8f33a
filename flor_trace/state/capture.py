"""Walks everything that some named objects reach and writes it down as a state graph."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from flor_trace._speedups import Packer, Walker
from flor_trace.errors import CaptureError
from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Packing
from flor_trace.state.codecs.classes import has_state
from flor_trace.state.codecs.containers import EMPTY
from flor_trace.state.codecs.instances import INSTANCE, has_plain_dict
from flor_trace.state.codecs.registry import load_libraries, plan_for
from flor_trace.state.codecs.values import LONG
from flor_trace.state.graph import Graph, Leaf, Node, NodeId, Ref, node_ids
from flor_trace.state.packmemory import PackMemory

_PARTS: Final[dict[str, Any]] = {
    "node": Node,
    "pool": node_ids(0),
    "more_ids": node_ids,
    "empty": EMPTY,
}

#: How C describes what is of exactly these types, as far as it is small and plain; see walk.h.
_BY_CODEC: Final = 0
_BY_NAMES: Final = 1
_WAYS: Final[dict[type, int]] = {dict: 2, list: 3, tuple: 4, OrderedDict: 5, set: 6}


def capture(
    roots: Mapping[str, object],
    *,
    relocate: Sequence[tuple[str, str]] = (),
    max_nodes: int = 2_000_000,
    is_project_file: Callable[[str], bool] | None = None,
    ignore: frozenset[str] = frozenset(),
    memory: PackMemory | None = None,
) -> Graph:
    """Return the graph of everything that the roots reach.

    Nothing is copied: the leaves are views of live memory, to be read before the program goes on.
    Strings and paths that begin with a prefix of `relocate` are saved with its token instead.
    Functions and classes whose file `is_project_file` accepts have their variables captured too.
    What digests are to `ignore` is kept apart from other values. A `memory` that is given again
    saves packing anew the large containers that did not change.
    Raises `CaptureError` when there are more than `max_nodes` objects.
    """
    load_libraries()
    walk = _Walk(relocate, max_nodes, is_project_file or _outside_of_libraries)
    walk.pack_with(ignore, PackMemory() if memory is None else memory)
    found: dict[str, Ref] = {}
    collecting = gc.isenabled()
    # A collection in the middle of the walk would run finalizers, which may change what is read.
    gc.disable()
    try:
        for name, value in roots.items():
            found[name] = walk.ref(value)
            walk.drain(name)
        if memory is not None:
            memory.settle()
        walk.cut_leaves()
    finally:
        if collecting:
            gc.enable()
    return Graph(found, walk.nodes, walk.leaves)


def _outside_of_libraries(filename: str) -> bool:
    return not filename.startswith(_library_paths())


@cache
def _library_paths() -> tuple[str, ...]:
    import sysconfig  # noqa: PLC0415

    parts = ("stdlib", "platstdlib", "purelib", "platlib")
    return ("<frozen", *(sysconfig.get_path(part) for part in parts))


class _Walk:
    """Objects in the order of their first meeting; the list of them is also the queue."""

    def __init__(
        self,
        relocate: Sequence[tuple[str, str]],
        max_nodes: int,
        is_project_file: Callable[[str], bool],
    ) -> None:
        self.relocate = sorted(relocate, key=lambda pair: len(pair[0]), reverse=True)
        self.is_project_file = is_project_file
        self.nodes: list[Node] = []
        self.leaves: list[Leaf] = []
        self._max = max_nodes
        self._ids: dict[int, NodeId] = {}
        self._leaf_keys: dict[object, int] = {}
        self.shown: dict[int, int] = {}
        self._stateful: dict[type, bool] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._owners: list[NodeId] = []
        #: codec's capture, plan, how it is described without that, type name, names of an instance
        self._captures: dict[type, list[Any]] = {}
        prefixes = tuple(prefix for prefix, _ in self.relocate)
        self.ref = Walker(_PARTS, prefixes, self._ids, self._owners, LONG)
        self.objects: list[Any] = self.ref.objects

    def pack_with(self, ignore: frozenset[str], memory: PackMemory) -> None:
        """Prepare for packing: values under names in `ignore` are not to be packed."""
        prefixes = tuple(prefix for prefix, _ in self.relocate)
        self._packer = Packer(self._ids, prefixes, ignore)
        self._memory = memory
        memory.begin(ignore)

    def pack(self, obj: Any) -> Packing | None:
        """Return a plain list, dict or tuple of many objects as bytes; None for others."""
        found = self._memory.pack(self._packer, obj)
        if found is not None:
            self._owners.append(self._ids[id(obj)])
        return found

    def part(self, obj: Any) -> tuple[NodeId, int] | None:
        """Return (packed container, number of the part) of a part of what was packed, or None."""
        if not self._owners:
            return None
        found = self._packer.find(obj)
        return None if found is None else (self._owners[found[0]], found[1])

    def names(self, space: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Return the keys if all are plain strings, else None; equal ones are one object."""
        keys = tuple(space)
        known = self._names.get(keys)
        if known is None and set(map(type, keys)) <= {str}:
            known = self._names[keys] = keys
        return known

    def known(self, obj: Any) -> NodeId | None:
        """Return the id of the object's node if it was met before."""
        return self._ids.get(id(obj))

    def has_state(self, cls: type) -> bool:
        """Say whether the class is the program's own and holds data beside its methods."""
        known = self._stateful.get(cls)
        if known is None:
            known = self._stateful[cls] = has_state(cls, self.is_project_file)
        return known

    def leaf(self, buffer: memoryview, key: object = None) -> int:
        """Return the position of a new leaf; others find it again by `key`."""
        if key is not None:
            self._leaf_keys[key] = len(self.leaves)
        self.leaves.append(buffer)
        return len(self.leaves) - 1

    def cut_leaves(self) -> None:
        """Leave out the memory that nothing shows: what stands there is nobody's."""
        for leaf, end in self.shown.items():
            buffer = self.leaves[leaf]
            assert isinstance(buffer, memoryview)
            self.leaves[leaf] = buffer[:end]

    def known_leaf(self, key: object) -> int | None:
        """Return the position of the leaf added under this key, if there is one."""
        return self._leaf_keys.get(key)

    def drain(self, root: str) -> None:
        """Describe every object met so far, and those met on the way."""
        if not self.ref.drain(self, self.nodes, self._captures, self._prepare, self._max):
            raise CaptureError(
                f"the state has more than {self._max:,} objects; the walk stopped in {root!r}. "
                "Keep large collections in arrays or tensors, or raise the limit."
            )

    def _prepare(self, cls: type) -> list[Any]:
        plan = plan_for(cls)
        way = _WAYS.get(cls, _BY_CODEC)
        if plan.codec is INSTANCE and has_plain_dict(cls, plan) and not self.has_state(cls):
            way = _BY_NAMES
        return [plan.codec.capture, plan, way, plan.type_name, None]
