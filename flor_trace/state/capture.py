"""Walks everything that some named objects reach and writes it down as a state graph."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flor_trace.errors import CaptureError
from flor_trace.state.codecs.base import Plan
from flor_trace.state.codecs.registry import load_libraries, plan_for
from flor_trace.state.codecs.values import LONG
from flor_trace.state.graph import ATOM_TYPES, Graph, Leaf, Node, NodeId, Ref, node_ids

_NAN = float("nan")
_LIBRARY_PATHS = tuple(
    {sysconfig.get_path(part) for part in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def capture(
    roots: Mapping[str, object],
    *,
    relocate: Sequence[tuple[str, str]] = (),
    max_nodes: int = 2_000_000,
    is_project_file: Callable[[str], bool] | None = None,
) -> Graph:
    """Return the graph of everything that the roots reach.

    Nothing is copied: the leaves are views of live memory, to be read before the program goes on.
    Strings and paths that begin with a prefix of `relocate` are saved with its token instead.
    Functions and classes whose file `is_project_file` accepts have their variables captured too.
    Raises `CaptureError` when there are more than `max_nodes` objects.
    """
    load_libraries()
    walk = _Walk(relocate, max_nodes, is_project_file or _outside_of_libraries)
    found: dict[str, Ref] = {}
    for name, value in roots.items():
        found[name] = walk.ref(value)
        walk.drain(name)
    return Graph(found, walk.nodes, walk.leaves)


def _outside_of_libraries(filename: str) -> bool:
    return not filename.startswith((*_LIBRARY_PATHS, "<frozen"))


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
        self.objects: list[Any] = []
        self.nodes: list[Node] = []
        self.leaves: list[Leaf] = []
        self._max = max_nodes
        self._ids: dict[int, NodeId] = {}
        self._leaf_keys: dict[object, int] = {}
        self._plans: dict[type, Plan] = {}
        self._prefixes = tuple(prefix for prefix, _ in self.relocate)
        self._pool = node_ids(1)

    def ref(self, obj: Any) -> Ref:
        """Return the object itself if it is an atom, else the id of its node."""
        cls = type(obj)
        if cls in ATOM_TYPES and (cls not in _SPECIAL_ATOMS or self._plain(cls, obj)):
            return obj  # type: ignore[no-any-return]
        if cls is float:
            return _NAN
        known = self._ids.get(id(obj))
        if known is not None:
            return known
        objects = self.objects
        at = len(objects)
        if at >= len(self._pool):
            self._pool = node_ids(at + 1)
        found = self._ids[id(obj)] = self._pool[at]
        objects.append(obj)
        return found

    def _plain(self, cls: type, obj: Any) -> bool:
        if cls is float:
            return bool(obj == obj)
        if len(obj) > LONG:
            return False
        return not (cls is str and self._prefixes and obj.startswith(self._prefixes))

    def known(self, obj: Any) -> NodeId | None:
        """Return the id of the object's node if it was met before."""
        return self._ids.get(id(obj))

    def leaf(self, buffer: memoryview, key: object = None) -> int:
        """Return the position of a new leaf; others find it again by `key`."""
        if key is not None:
            self._leaf_keys[key] = len(self.leaves)
        self.leaves.append(buffer)
        return len(self.leaves) - 1

    def known_leaf(self, key: object) -> int | None:
        """Return the position of the leaf added under this key, if there is one."""
        return self._leaf_keys.get(key)

    def drain(self, root: str) -> None:
        """Describe every object met so far, and those met on the way."""
        objects, nodes, plans = self.objects, self.nodes, self._plans
        while len(nodes) < len(objects):
            obj = objects[len(nodes)]
            cls = type(obj)
            plan = plans.get(cls)
            if plan is None:
                plan = plans[cls] = plan_for(cls)
            nodes.append(plan.codec.capture(self, obj, plan))
            if len(nodes) > self._max:
                raise CaptureError(
                    f"the state has more than {self._max:,} objects; the walk stopped in {root!r}. "
                    "Keep large collections in arrays or tensors, or raise the limit."
                )


_SPECIAL_ATOMS = frozenset({float, str, bytes})
