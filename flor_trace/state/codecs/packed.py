"""Plain lists, dicts and tuples that hold many objects: one node, and one buffer, for all of it."""

from __future__ import annotations

from collections.abc import Iterable

from flor_trace._speedups import Packer
from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.packing import Tree, read_tree
from flor_trace.state.codecs.writing import write_dict
from flor_trace.state.graph import PACKED_GRAPH, PACKED_PART, PACKED_VALUE, Node, NodeId

_EXACT: Final = (list, dict, tuple)
_ABSENT: Final = object()


def packed_node(walk: Walk, obj: Any, plan: Plan) -> Node | None:
    """Return the node of a container that is packed, or part of one that is; else None."""
    cls = type(obj)
    if cls not in _EXACT or not obj:
        return None
    part = walk.part(obj)
    if part is not None:
        owner, number = part
        return Node(PACKED_PART, plan.type_name, number, [owner])
    found = walk.pack(obj)
    if found is None:
        return None
    data, objects, parts, escapes, paths = found
    children = [walk.ref(item) for item in escapes]
    kind = PACKED_VALUE if cls is tuple else PACKED_GRAPH
    payload = (objects, parts, paths)
    return Node(kind, plan.type_name, payload, children, (), walk.leaf(memoryview(data)))


class _Packed(Codec):
    """Lists and dicts; what they hold beside plain values are the children of the node."""

    kind = PACKED_GRAPH

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for path, ref in zip(paths_of(node), node.children, strict=True):
            found = _follow(obj, path)
            if found is not _ABSENT:
                pairing.pair(ref, found)

    def make(self, build: Build, node: Node) -> Any:
        return _tree(build, build.current).root

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        tree = _tree(build, build.current)
        for container, key, child in tree.holes:
            if child >= len(node.children):
                raise Unbuildable("the packed container refers to a child that it has not")
            container[key] = build.value(node.children[child])


class _Value(Codec):
    """Tuples of plain values all the way down; the live one is kept when it is equal."""

    kind = PACKED_VALUE
    in_place = False

    def make(self, build: Build, node: Node) -> Any:
        data = build.buffer(node.leaf)
        live = build.adopted()
        if type(live) is tuple:
            found = Packer({}, (), frozenset()).pack(live)
            if found is not None and found[0] == data:
                return live
        return read_tree(data, _new, _never).root


class _Part(Codec):
    """A list or dict in a packed container, where something else refers to it too."""

    kind = PACKED_PART
    in_place = False

    def accepts(self, node: Node, obj: Any) -> bool:
        return False  # its live object is found by way of the container

    def make(self, build: Build, node: Node) -> Any:
        (owner,) = node.children
        parts = _tree(build, owner).parts if type(owner) is NodeId else []
        if not isinstance(node.payload, int) or not 0 <= node.payload < len(parts):
            raise Unbuildable("the packed container has no such part")
        return parts[node.payload]


def paths_of(node: Node) -> tuple[tuple[Any, ...], ...]:
    """Return where each child of a packed node belongs: the indices and keys on the way."""
    payload: Any = node.payload
    if not isinstance(payload, tuple) or len(payload) != 3 or len(payload[2]) != len(node.children):
        raise Unbuildable("the packed container is not described in full")
    paths: tuple[tuple[Any, ...], ...] = payload[2]
    return paths


def _follow(obj: Any, path: Iterable[Any]) -> Any:
    for step in path:
        cls = type(obj)
        if cls is dict:
            obj = obj.get(step, _ABSENT)
        elif cls is list and type(step) is int and step < len(obj):
            obj = obj[step]
        else:
            return _ABSENT
    return obj


def _new(cls: type, live: Any) -> Any:
    return cls()


def _never(container: Any, items: list[Any]) -> None:
    raise ValueError("a tuple of plain values holds a list or dict")


def _fill(container: Any, items: list[Any]) -> None:
    if type(container) is list:
        container[:] = items
    else:
        write_dict(container, items)


def _tree(build: Build, at: int) -> Tree:
    """Return the packed container at a node, read once for each restore."""
    found = build.trees.get(at)
    if found is None:
        node = build.nodes[at]
        data, live = build.buffer(node.leaf), build.live.get(at)
        found = build.trees[at] = read_tree(data, _adopter(build), _fill, live)
    return found


def _adopter(build: Build) -> Any:
    taken = build.taken

    def adopt(cls: type, live: Any) -> Any:
        if type(live) is not cls or id(live) in taken:
            return cls()
        taken.add(id(live))
        return live

    return adopt


CODECS: tuple[Codec, ...] = (_Packed(), _Value(), _Part())
