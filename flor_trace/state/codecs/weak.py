"""Weak dicts and sets: what they hold and what still lives is state."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Walk, known_keys
from flor_trace.state.codecs.containers import in_stable_order
from flor_trace.state.codecs.setorder import fill_in_order
from flor_trace.state.graph import Node, NodeId


def _entries(obj: Any) -> list[tuple[Any, Any]]:
    """Return the living (key, value) pairs, in order, without waking the container's own code."""
    held = list(dict.items(obj.data))
    if isinstance(obj, WeakKeyDictionary):
        return [(key, value) for weak, value in held if (key := weak()) is not None]
    return [(key, value) for key, weak in held if (value := weak()) is not None]


class _WeakDict(Codec):
    """Dicts with weak keys or weak values."""

    kind = "weak dict"
    exact = (WeakKeyDictionary, WeakValueDictionary)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        children = [walk.ref(part) for pair in _entries(obj) for part in pair]
        return Node("weak dict", plan.type_name, None, children)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for key, value in known_keys(pairing, node, node.children, obj):
            if key in obj:
                pairing.pair(value, obj[key])

    def make(self, build: Build, node: Node) -> Any:
        return build.lookup(node.type_name)()

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        obj.data.clear()
        for key, value in build.pairs(node.children):
            obj[key] = value


class _WeakSet(Codec):
    """Sets of weak references."""

    kind = "weak set"
    exact = (WeakSet,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        items = [item for weak in list(set.__iter__(obj.data)) if (item := weak()) is not None]
        children = [walk.ref(item) for item in in_stable_order(walk, items)]
        return Node("weak set", plan.type_name, None, children)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        if not pairing.again:
            pairing.defer(node, obj)
            return
        taken = {id(pairing.live[r]) for r in _nodes(node) if r in pairing.live}
        free = [item for item in obj if id(item) not in taken]
        for wanted in _nodes(node):
            for item in free:
                if wanted not in pairing.live:
                    pairing.pair(wanted, item)

    def make(self, build: Build, node: Node) -> Any:
        return WeakSet()

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        items = build.values(node.children)
        by_address: Any = object.__hash__
        ordered = not any(type(item).__hash__ is by_address for item in items)
        fill_in_order(obj.data, [ref(item, obj._remove) for item in items], check=ordered)


def _nodes(node: Node) -> Iterable[NodeId]:
    return [child for child in node.children if type(child) is NodeId]


CODECS: tuple[Codec, ...] = (_WeakDict(), _WeakSet())
