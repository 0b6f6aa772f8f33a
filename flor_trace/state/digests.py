"""Content digests of the roots of a state graph, the same in every process."""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any, Final

from flor_trace.state.graph import (
    PAIRED_KINDS,
    Graph,
    Node,
    NodeId,
    Ref,
    first_paths,
    variable_name,
)
from flor_trace.state.hashing import digest
from flor_trace.types import Digest

#: Under an ignored name, objects of these kinds count by their type alone.
_LOSES_CONTENT: Final = frozenset(
    {"list", "tuple", "deque", "packed list", "packed tuple", "value", "numpy scalar", "text"}
)
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
    return {name: pass_.root(name, ref) for name, ref in graph.roots.items()}


def digest_state(
    graph: Graph, leaf_digests: Sequence[Digest], ignore: frozenset[str] = frozenset()
) -> Digest:
    """Return one digest of all roots: their names, order and contents."""
    return combine(digest_roots(graph, leaf_digests, ignore))


def combine(root_digests: dict[str, Digest]) -> Digest:
    """Return one digest of the digests of all roots, their names and their order."""
    return digest(marshal.dumps(list(root_digests.items()), _PLAIN))


class _Pass:
    """One pass over all roots; numbers of nodes are relative to the root that met them first."""

    def __init__(
        self, graph: Graph, leaf_digests: Sequence[Digest], ignore: frozenset[str]
    ) -> None:
        self._graph = graph
        self._digests = leaf_digests
        self._ignore = ignore
        self._earlier: set[int] = set()
        self._paths: dict[int, str] | None = None
        self._owners: dict[int, NodeId] = {}
        self._order: list[NodeId] = []
        self._tokens: dict[NodeId, tuple[object, ...]] = {}
        self._vague: set[int] = set()

    def root(self, name: str, ref: Ref) -> Digest:
        self._order, self._tokens, self._vague = [], {}, set()
        if variable_name(name) in self._ignore:
            ref = self._blurred(ref)
        top = self._token(ref) if type(ref) is NodeId else ref
        out: list[object] = [top]
        for at in self._order:
            self._describe(at, self._graph.nodes[at], out)
        self._earlier.update(self._order)
        return digest(marshal.dumps(out, _PLAIN))

    def _describe(self, at: NodeId, node: Node, out: list[object]) -> None:
        children = node.children
        if self._ignore:
            if at in self._vague and node.kind in _LOSES_CONTENT:
                out.append(("vague", node.type_name))
                return
            children = self._blur(at, node)
        tokens, token = self._tokens, self._token
        leaf = None if node.leaf < 0 else self._leaf(at, node.leaf)
        out += (node.kind, node.type_name, node.payload, node.names, leaf, len(children))
        out += [c if type(c) is not NodeId else tokens.get(c) or token(c) for c in children]

    def _token(self, ref: NodeId) -> tuple[object, ...]:
        """Return what stands for a node: its number in this root, or its path in an earlier one."""
        found = self._tokens.get(ref)
        if found is None:
            if ref in self._earlier:
                found = (self._path(ref),)
            else:
                found = (len(self._order),)
                self._order.append(ref)
            self._tokens[ref] = found
        return found

    def _path(self, ref: int) -> str:
        if self._paths is None:
            self._paths = first_paths(self._graph, range(len(self._graph.nodes)))
        return self._paths[ref]

    def _leaf(self, at: NodeId, leaf: int) -> object:
        owner = self._owners.setdefault(leaf, at)
        if owner == at:
            return self._digests[leaf]
        return (self._digests[leaf], self._token(owner))

    def _blur(self, at: NodeId, node: Node) -> list[Ref]:
        if at in self._vague:
            return [self._blurred(child) for child in node.children]
        paired = node.kind in PAIRED_KINDS
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
        if ref not in self._tokens and ref not in self._earlier:
            self._vague.add(ref)
        return ref
