"""Content digests of the roots of a state graph, the same in every process."""

from __future__ import annotations

import marshal
from collections.abc import Sequence

from flor_trace._speedups import Describer, digest
from flor_trace.hints import Any, Final
from flor_trace.state.graph import (
    LISTED,
    PACKED_GRAPH,
    PACKED_VALUE,
    PAIRED_KINDS,
    Graph,
    Node,
    NodeId,
    Ref,
    variable_name,
)
from flor_trace.types import Digest

#: Under an ignored name, objects of these kinds count by their type alone.
_LOSES_CONTENT: Final = frozenset(
    {
        "deque", "list", "numpy scalar", "packed list", "packed tuple", "text", "tuple", "value",
        LISTED + "deque", PACKED_GRAPH, PACKED_VALUE,
    }
)  # fmt: skip
#: Nothing can tell two equal ones apart, so whether they are one object is not part of the state.
_BY_VALUE: Final = frozenset(
    {
        "builtin", "class", "dtype", "enum", "frozenset", "function", "kept", "module",
        "moved text", "numpy scalar", "packed tuple", "path", "range", "text", "torch device",
        "torch name", "torch size", "tuple", "value", PACKED_VALUE,
    }
)  # fmt: skip
#: Autograd history is not part of the state, so whether there was one does not count.
_COUNTS_AS: Final = {"detached tensor": "tensor"}
#: Values nested deeper than this are told apart like other objects.
_DEPTH: Final = 8
#: Version 2 of marshal writes no references and no interning: equal values give equal bytes.
_PLAIN: Final = 2


def leaf_bytes(graph: Graph) -> list[memoryview]:
    """Return the live buffers of a captured graph; raise `TypeError` if some are only addresses."""
    found = []
    for leaf in graph.leaves:
        if not isinstance(leaf, memoryview):
            raise TypeError("this graph was decoded: its leaves are addresses, not buffers")
        found.append(leaf)
    return found


def digest_roots(
    graph: Graph, leaf_digests: Sequence[Digest], ignore: frozenset[str] = frozenset()
) -> dict[str, Digest]:
    """Return the digest of everything each root reaches.

    An object that an earlier root reaches too counts there; here it is its path from that root.
    Values under a name in `ignore` (a variable, attribute or key) count by their type only.
    """
    pass_ = _Pass(graph, leaf_digests, ignore)
    describer = pass_.describer()
    return {name: pass_.root(describer, name, ref) for name, ref in graph.roots.items()}


def digest_state(
    graph: Graph, leaf_digests: Sequence[Digest], ignore: frozenset[str] = frozenset()
) -> Digest:
    """Return one digest of all roots: their names, order and contents."""
    return combine(digest_roots(graph, leaf_digests, ignore))


def combine(root_digests: dict[str, Digest]) -> Digest:
    """Return one digest of the digests of all roots, their names and their order."""
    return _digest(list(root_digests.items()))


def _digest(value: Any) -> Digest:
    return Digest(digest(marshal.dumps(value, _PLAIN)))


class _Pass:
    """One pass over all roots; numbers of nodes are relative to the root that met them first."""

    def __init__(
        self, graph: Graph, leaf_digests: Sequence[Digest], ignore: frozenset[str]
    ) -> None:
        self._graph = graph
        self._digests = leaf_digests
        self._ignore = ignore
        self._name = ""
        self._met: dict[NodeId, tuple[NodeId, int] | str] = {}  #: (parent, child number) or root
        self._paths: dict[NodeId, Digest] = {}
        self._owners: dict[int, NodeId] = {}
        self._order: list[NodeId] = []
        self._tokens: dict[NodeId, tuple[object, ...]] = {}
        self._vague: set[int] = set()

    def describer(self) -> Describer:
        """Return what describes most nodes without Python; it is not kept here, a cycle else."""
        return Describer(
            self._graph.nodes, Node, NodeId, _BY_VALUE, PAIRED_KINDS, _COUNTS_AS, self._ignore,
            self._digests, self._met, self._owners, self._token, self._leaf, self._describe,
        )  # fmt: skip

    def root(self, describer: Describer, name: str, ref: Ref) -> Digest:
        self._name = name
        self._order, self._tokens, self._vague = [], {}, set()
        if variable_name(name) in self._ignore:
            ref = self._blurred(ref)
        first = self._token(ref, None) if type(ref) is NodeId else ref
        return Digest(digest(describer.root(first, self._tokens, self._order, self._vague)))

    def _describe(self, at: NodeId, node: Node, out: list[object]) -> None:
        children = node.children
        if self._ignore:
            if at in self._vague and node.kind in _LOSES_CONTENT:
                out.append(("vague", node.type_name))
                return
            children = self._blur(at, node)
        leaf = None if node.leaf < 0 else self._leaf(at, node.leaf)
        kind = _COUNTS_AS.get(node.kind, node.kind)
        out += (kind, node.type_name, node.payload, node.names, leaf, len(children))
        if children:
            get, token = self._tokens.get, self._token
            out += [
                c if type(c) is not NodeId else get(c) or token(c, (at, n))
                for n, c in enumerate(children)
            ]

    def _token(self, ref: NodeId, where: tuple[Any, int] | None) -> tuple[object, ...]:
        """Return what stands for a node: its number in this root, or its path in an earlier one."""
        found = self._value(ref, 0)
        if found is not None:
            pass
        elif ref in self._met:
            found = (self._path(ref),)
        else:
            self._met[ref] = where or self._name
            found = (len(self._order),)
            self._order.append(ref)
        self._tokens[ref] = found
        return found

    def _value(self, ref: NodeId, depth: int) -> tuple[object, ...] | None:
        """Return the contents of something that has no identity, or None for what has one."""
        node = self._graph.nodes[ref]
        if node.kind not in _BY_VALUE or node.names or depth > _DEPTH:
            return None
        leaf = None if node.leaf < 0 else self._digests[node.leaf]
        parts: list[object] = []
        for child in node.children:
            part = self._value(child, depth + 1) if type(child) is NodeId else child
            if part is None and child is not None:
                return None
            parts.append(part)
        return ("value", node.kind, node.type_name, node.payload, leaf, *parts)

    def _path(self, ref: NodeId) -> Digest:
        """Return a digest of the path by which an earlier root met the node first."""
        chain = [ref]
        while chain[-1] not in self._paths:
            where = self._met[chain[-1]]
            if isinstance(where, str):
                break
            chain.append(where[0])
        for at in reversed(chain):
            if at not in self._paths:
                self._paths[at] = _digest(self._step(at))
        return self._paths[ref]

    def _step(self, at: NodeId) -> Any:
        where = self._met[at]
        if isinstance(where, str):
            return (where,)
        parent, n = where
        node = self._graph.nodes[parent]
        start = len(node.children) - len(node.names)
        if n >= start:
            return (self._paths[parent], node.names[n - start])
        key = node.children[n - 1] if node.kind in PAIRED_KINDS and n % 2 else None
        return (self._paths[parent], n if key is None or type(key) is NodeId else key)

    def _leaf(self, at: NodeId, leaf: int) -> object:
        owner = self._owners.setdefault(leaf, at)
        if owner == at:
            return self._digests[leaf]
        return (self._digests[leaf], self._tokens.get(owner) or (self._path(owner),))

    def _blur(self, at: NodeId, node: Node) -> list[Any]:
        paired = node.kind in PAIRED_KINDS
        if at in self._vague:
            keys = len(node.items) if paired else 0
            return [
                child if n < keys and n % 2 == 0 else self._blurred(child)
                for n, child in enumerate(node.children)
            ]
        if not paired and self._ignore.isdisjoint(node.names):
            return node.children
        children: list[Any] = list(node.children)
        start = len(children) - len(node.names)
        if paired:
            for n in range(0, start, 2):
                if type(children[n]) is str and children[n] in self._ignore:
                    children[n + 1] = self._blurred(children[n + 1])
        for n, name in enumerate(node.names, start):
            if name in self._ignore:
                children[n] = self._blurred(children[n])
        return children

    def _blurred(self, ref: Ref) -> Any:
        if type(ref) is not NodeId:
            return ("vague", type(ref).__name__)
        node = self._graph.nodes[ref]
        if node.kind in _LOSES_CONTENT and node.kind in _BY_VALUE:
            return ("vague", node.type_name)
        if ref not in self._met:
            self._vague.add(ref)
        return ref
