"""Turns packed containers into ordinary nodes, for whoever compares or shows what they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flor_trace._speedups import digest, pack_numbers
from flor_trace.records import replace
from flor_trace.state.codecs.packing import PACK_FROM, Tree, read_tree
from flor_trace.state.graph import (
    LISTED,
    PACKED_GRAPH,
    PACKED_PART,
    PACKED_VALUE,
    Graph,
    Leaf,
    Node,
    NodeId,
    Ref,
    node_ids,
)
from flor_trace.types import Address, Digest


def inflate(
    graph: Graph, digests: Sequence[Digest], load: Callable[[Address], bytes]
) -> tuple[Graph, list[Digest]]:
    """Return the graph without packed nodes, and the digests of its leaves.

    Nodes keep their numbers; those that were packed come after them. `load` gives the bytes of
    leaves that are only addresses. Raises what `load` raises, and `Unbuildable` for damaged bytes.
    """
    pump = _Pump(graph, digests, load)
    for at, node in enumerate(graph.nodes):
        if node.kind in (PACKED_GRAPH, PACKED_VALUE):
            pump.expand(at, node)
    for at, node in enumerate(graph.nodes):
        if node.kind.startswith(LISTED):
            pump.unlist(at, node)
    parts = {at: pump.part(node) for at, node in enumerate(graph.nodes) if node.kind == PACKED_PART}
    if parts:
        pump.redirect(parts)
    return Graph(dict(pump.roots), pump.nodes, pump.leaves), pump.digests


class _Pump:
    def __init__(
        self, graph: Graph, digests: Sequence[Digest], load: Callable[[Address], bytes]
    ) -> None:
        self.roots = graph.roots
        self.nodes = list(graph.nodes)
        self.leaves: list[Leaf] = list(graph.leaves)
        self.digests = list(digests)
        self._load = load
        self._parts: dict[int, list[NodeId]] = {}  #: by the node of their container

    def expand(self, at: int, node: Node) -> None:
        """Replace a packed node by that of a plain container, and add what it holds."""
        held = self.leaves[node.leaf]
        data = held if isinstance(held, memoryview) else memoryview(self._load(held))
        tree = read_tree(data, _new, _fill)
        known = {id(part): self._reserve() for part in tree.parts}
        self._parts[at] = [known[id(part)] for part in tree.parts]
        fill = _Unpacking(self, known, _holes(tree, node))
        for part in tree.parts:
            self.nodes[known[id(part)]] = fill.node(part)
        self.nodes[at] = fill.node(tree.root)

    def unlist(self, at: int, node: Node) -> None:
        """Give a listed container the contents of its list or dict."""
        first, *attributes = node.children
        contents = self.nodes[first] if type(first) is NodeId else None
        if contents is not None and contents.leaf < 0:
            kind, children = node.kind.removeprefix(LISTED), [*contents.children, *attributes]
            self.nodes[at] = Node(kind, node.type_name, node.payload, children, node.names)

    def part(self, node: Node) -> NodeId:
        """Return the node of a part that something else refers to."""
        (owner,) = node.children
        assert type(owner) is NodeId
        assert isinstance(node.payload, int)
        return self._parts[owner][node.payload]

    def redirect(self, targets: dict[int, NodeId]) -> None:
        """Let every reference to one of these nodes be one to its target."""

        def to(ref: Ref) -> Ref:
            return targets.get(ref, ref) if type(ref) is NodeId else ref

        for at, node in enumerate(self.nodes):
            if any(type(child) is NodeId and child in targets for child in node.children):
                self.nodes[at] = replace(node, children=list(map(to, node.children)))
        self.roots = {name: to(ref) for name, ref in self.roots.items()}

    def add(self, node: Node) -> NodeId:
        """Append a node."""
        number = self._reserve()
        self.nodes[number] = node
        return number

    def numbers(self, data: bytes) -> int:
        """Append a leaf."""
        self.leaves.append(memoryview(data))
        self.digests.append(Digest(digest(data)))
        return len(self.leaves) - 1

    def _reserve(self) -> NodeId:
        number = len(self.nodes)
        self.nodes.append(Node("", ""))
        return node_ids(number + 1)[number]


class _Unpacking:
    """Makes nodes of what one packed node holds."""

    def __init__(
        self, pump: _Pump, known: dict[int, NodeId], holes: dict[tuple[int, Any], Ref]
    ) -> None:
        self._pump = pump
        self._known = known
        self._holes = holes

    def node(self, value: Any) -> Node:
        """Return the node of a list, dict or tuple."""
        cls = type(value)
        name = f"builtins:{cls.__name__}"
        if cls is dict:
            children: list[Ref] = []
            for key, item in value.items():
                children += [self._ref(key), self._holes.get((id(value), key), self._ref(item))]
            return Node("dict", name, None, children)
        numbers = pack_numbers(value) if len(value) >= PACK_FROM else None
        if numbers is not None:
            code, data = numbers
            kind = f"packed {cls.__name__}"
            return Node(kind, name, (code, len(value)), leaf=self._pump.numbers(data))
        items = [self._holes.get((id(value), n), self._ref(item)) for n, item in enumerate(value)]
        return Node(cls.__name__, name, None, items)

    def _ref(self, value: Any) -> Ref:
        if type(value) is tuple:
            return self._pump.add(self.node(value))
        if type(value) in (list, dict):
            return self._known[id(value)]
        atom: Ref = value
        return atom


def _holes(tree: Tree, node: Node) -> dict[tuple[int, Any], Ref]:
    return {(id(where), key): node.children[child] for where, key, child in tree.holes}


def _new(cls: type, live: Any) -> Any:
    return cls()


def _fill(container: Any, items: list[Any]) -> None:
    if type(container) is list:
        container[:] = items
    else:
        container.update(items)
