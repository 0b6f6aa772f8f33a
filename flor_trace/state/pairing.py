"""Finds, for each node of a saved graph, the live object that stands at its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flor_trace.state.codecs.base import Plan
from flor_trace.state.codecs.registry import codec_of_kind, plan_for
from flor_trace.state.graph import Graph, Node, NodeId, Ref

_UNKNOWN_KEY = KeyError("the live object for this key is not known")


class Paired:
    """A breadth-first walk over the saved and the live roots at once."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.live: dict[int, Any] = {}
        self.types: dict[str, type] = {}
        self.again = False
        self._taken: set[int] = set()
        self._queue: list[NodeId] = []
        self._deferred: list[tuple[Node, Any]] = []
        self._plans: dict[type, Plan] = {}

    def pair(self, ref: Ref, obj: Any) -> None:
        """Let the live object stand for the node, if it is of the same type and still free."""
        if type(ref) is not NodeId or ref in self.live or id(obj) in self._taken:
            return
        node = self.nodes[ref]
        cls = type(obj)
        plan = self._plans.get(cls)
        if plan is None:
            plan = self._plans[cls] = plan_for(cls)
            self.types[plan.type_name] = cls
        if plan.type_name != node.type_name or not codec_of_kind(node.kind).accepts(node, obj):
            return
        self.live[ref] = obj
        self._taken.add(id(obj))
        self._queue.append(ref)

    def defer(self, node: Node, obj: Any) -> None:
        """Look at this container again when all else is paired: its keys may be known then."""
        self._deferred.append((node, obj))

    def key(self, ref: Ref) -> Any:
        """Return the live object that is this key; raise `KeyError` when it is not known."""
        if type(ref) is not NodeId:
            return ref
        if ref in self.live:
            return self.live[ref]
        node = self.nodes[ref]
        if node.kind == "tuple" and node.type_name == "builtins:tuple":
            return tuple(self.key(child) for child in node.children)
        raise _UNKNOWN_KEY

    def run(self) -> None:
        """Pair everything that can be reached from what was paired so far."""
        self._drain()
        while self._deferred:
            before = len(self.live)
            deferred, self._deferred = self._deferred, []
            self.again = True
            for node, obj in deferred:
                codec_of_kind(node.kind).pair(self, node, obj)
            self.again = False
            self._drain()
            if len(self.live) > before:
                self._deferred += deferred

    def _drain(self) -> None:
        while self._queue:
            queue, self._queue = self._queue, []
            for ref in queue:
                node = self.nodes[ref]
                codec_of_kind(node.kind).pair(self, node, self.live[ref])


def pair_graph(graph: Graph, live: Mapping[str, object]) -> Paired:
    """Return which live object stands for which saved node."""
    paired = Paired(graph)
    for name, ref in graph.roots.items():
        if name in live:
            paired.pair(ref, live[name])
    paired.run()
    return paired
