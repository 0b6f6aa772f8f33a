"""The state graph as plain data: nodes that hold atoms, references to other nodes, and buffers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from types import EllipsisType

from flor_trace.hints import Any, TypeAlias
from flor_trace.records import dataclass, field
from flor_trace.types import Address


class NodeId(int):
    """The position of a node in its graph; a type of its own so that it is never taken for data."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"#{int(self)}"


Atom: TypeAlias = bool | int | float | complex | str | bytes | EllipsisType | None
Ref: TypeAlias = Atom | NodeId
Payload: TypeAlias = "Atom | tuple[Payload, ...]"
Leaf: TypeAlias = memoryview | Address

ATOM_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes, EllipsisType})

#: Those that are never anything but themselves: no NaN, no length, no path that may move.
FREE_ATOMS = ATOM_TYPES - {float, complex, str, bytes}

#: Kinds whose children come in pairs of key and value, before the named ones.
PAIRED_KINDS = frozenset({"dict"})

#: A list or dict whose plain contents are one leaf; children are what else it holds, and the
#: payload is (objects, parts, paths of the children).
PACKED_GRAPH = "packed graph"
#: A tuple of plain values all the way down, as one leaf.
PACKED_VALUE = "packed value"
#: A list or dict inside a packed graph, its only child, where something else refers to it too.
PACKED_PART = "packed part"

#: Begins the kind of a large dict, set or deque of a type that is not packed by itself: its first
#: child is a plain list or dict with the same contents.
LISTED = "listed "

_POOL: list[NodeId] = []


def node_ids(count: int) -> list[NodeId]:
    """Return a shared list that holds at least the first `count` node ids, in order."""
    if len(_POOL) < count:
        _POOL.extend(NodeId(n) for n in range(len(_POOL), max(count, 2 * len(_POOL), 4096)))
    return _POOL


@dataclass(slots=True)
class Node:
    """One object: its kind, its type by name, its plain data, what it refers to, its buffer."""

    kind: str
    type_name: str  #: ``"module:qualname"``
    payload: Payload = None
    children: list[Ref] = field(default_factory=list)
    names: tuple[str, ...] = ()  #: of the last ``len(names)`` children
    leaf: int = -1  #: position in `Graph.leaves`; objects that share memory share it

    @property
    def items(self) -> list[Ref]:
        """The children without a name: elements, or keys and values in turn."""
        return self.children[: len(self.children) - len(self.names)]

    @property
    def named(self) -> dict[str, Ref]:
        """The children with a name: attributes, most often."""
        start = len(self.children) - len(self.names)
        return dict(zip(self.names, self.children[start:], strict=True))


@dataclass(slots=True)
class Graph:
    """Everything the roots reach; nodes in the order in which they were first met."""

    roots: dict[str, Ref]
    nodes: list[Node]
    leaves: list[Leaf]

    @property
    def opaque(self) -> list[str]:
        """Paths of what could not be captured, each with the reason in brackets."""
        found = {n for n, node in enumerate(self.nodes) if node.kind == "opaque"}
        places = first_paths(self, found)
        return [f"{places[n]} ({self.nodes[n].payload!s})" for n in sorted(places)]

    @property
    def kept(self) -> list[str]:
        """Paths of what a restore takes from the live program on purpose."""
        kinds = ("kept", "function", "class", "project class", "module")
        places = first_paths(self, {n for n, node in enumerate(self.nodes) if node.kind in kinds})
        return [places[n] for n in sorted(places)]

    @property
    def detached(self) -> list[str]:
        """Paths of tensors whose autograd history is not part of the state."""
        found = {n for n, node in enumerate(self.nodes) if node.kind == "detached tensor"}
        places = first_paths(self, found)
        return [places[n] for n in sorted(places)]


def display_root(name: str) -> str:
    """Return what a person would call the root: ``"local:epoch"`` is ``epoch``."""
    scope, _, rest = name.partition(":")
    if scope == "global":
        module, _, variable = rest.rpartition(":")
        return f"{module}::{variable}" if module else variable
    if scope == "rng":
        return f"rng.{rest}"
    return rest.rpartition(":")[2] if rest else name


def variable_name(root: str) -> str:
    """Return the last part of a root's name: the variable it was read from."""
    return root.rpartition(":")[2]


class Steps(tuple[Atom, ...]):
    """The indices and keys that lead to a child of a packed graph, as one step."""

    __slots__ = ()


def labelled(node: Node) -> Iterator[tuple[str | None, Ref | Steps, Ref]]:
    """Give (attribute name or None, key, child) for each child; the key of an element is its index.

    A child that is itself the key of a dict comes as ``(None, "key", child)``.
    """
    items = node.items
    if node.kind.startswith(LISTED):
        yield None, Steps(), items[0]
    elif node.kind == PACKED_GRAPH and isinstance(node.payload, tuple):
        paths: Any = node.payload[2]
        for path, item in zip(paths, items, strict=True):
            yield None, Steps(path), item
    elif node.kind in PAIRED_KINDS:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is NodeId:
                yield None, "key", key
            yield None, key, value
    else:
        for index, item in enumerate(items):
            yield None, index, item
    for name, value in node.named.items():
        yield name, None, value


_WRAPPED = re.compile(r"\._(?:modules|parameters|buffers)\['(\w+)'\]")


def readable(path: str) -> str:
    """Return a path as a program would write it: ``model._modules['fc1']`` is ``model.fc1``."""
    return _WRAPPED.sub(r".\1", path)


def first_paths(graph: Graph, wanted: Collection[int]) -> dict[int, str]:
    """Return, for each wanted node that the roots reach, the path by which it is first met."""
    if not wanted:
        return {}
    paths: dict[int, str] = {}
    for root, ref in graph.roots.items():
        if type(ref) is NodeId and ref not in paths:
            paths[ref] = display_root(root)
            _walk_paths(graph, ref, paths)
    return {n: readable(paths[n]) for n in wanted if n in paths}


def _walk_paths(graph: Graph, start: NodeId, paths: dict[int, str]) -> None:
    queue = [start]
    for at in queue:
        for name, key, child in labelled(graph.nodes[at]):
            if type(child) is NodeId and child not in paths:
                paths[child] = paths[at] + step(name, key, paths)
                queue.append(child)


def step(name: str | None, key: Ref | Steps, paths: dict[int, str]) -> str:
    """Return what one step adds to a path."""
    if isinstance(key, Steps):
        return "".join(f"[{each!r}]" for each in key)
    if name is not None:
        return f".{name}"
    if type(key) is NodeId:
        return f"[{paths.get(key, '...')}]"
    return f"[{key!r}]"
