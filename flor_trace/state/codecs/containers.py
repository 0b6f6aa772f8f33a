"""Lists, tuples, dicts, sets and deques, their subclasses, and numbers packed into a buffer."""

from __future__ import annotations

import gc
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable

from flor_trace._speedups import pack_numbers
from flor_trace.hints import Any, ClassVar, Final
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk, known_keys
from flor_trace.state.codecs.instances import named, pair_named, set_attributes
from flor_trace.state.codecs.packed import packed_node
from flor_trace.state.codecs.packing import PACK_FROM, unpack
from flor_trace.state.codecs.setorder import fill_in_order, frozen_in_order
from flor_trace.state.codecs.writing import same, write_dict
from flor_trace.state.graph import ATOM_TYPES, FREE_ATOMS, LISTED, Node, NodeId, Ref
from flor_trace.state.naming import type_name


class _Sequence(Codec):
    """What lists and tuples have in common."""

    copy: Any

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        names, attributes = named(walk, obj, plan)
        count = self.bases[0].__len__(obj)  # type: ignore[attr-defined]
        numbers = pack_numbers(obj) if count >= PACK_FROM else None
        if numbers is not None:
            code, data = numbers
            leaf = walk.leaf(memoryview(data))
            kind, payload = f"packed {self.kind}", (code, count)
            return Node(kind, plan.type_name, payload, attributes, names, leaf)
        packed = packed_node(walk, obj, plan)
        if packed is not None:
            return packed
        ref = walk.ref
        children = [ref(item) for item in self.copy(obj)]
        return Node(self.kind, plan.type_name, None, children + attributes, names)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for ref, item in zip(node.items, obj, strict=False):
            pairing.pair(ref, item)
        pair_named(pairing, node, obj)

    def saved(self, build: Build, node: Node) -> list[Any]:
        """Return the saved elements."""
        if node.leaf < 0:
            return build.values(node.items)
        if not isinstance(node.payload, tuple) or len(node.payload) != 2:
            raise Unbuildable("the saved numbers are not described in full")
        return unpack(node.payload[0], node.payload[1], build.buffer(node.leaf))


class _List(_Sequence):
    """Lists and their subclasses."""

    kind = "list"
    also = ("packed list",)
    bases = (list,)
    copy = staticmethod(list.copy)

    def make(self, build: Build, node: Node) -> Any:
        return list.__new__(build.lookup(node.type_name))

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        list.__setitem__(obj, slice(None), self.saved(build, node))
        set_attributes(obj, build.attributes(node.named))


class _Tuple(_Sequence):
    """Tuples, named tuples and other subclasses; the live one is kept when nothing in it moved."""

    kind = "tuple"
    also = ("packed tuple",)
    bases = (tuple,)
    in_place = False
    copy = staticmethod(lambda obj: tuple.__getitem__(obj, slice(None)))

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.items

    def make(self, build: Build, node: Node) -> Any:
        items = self.saved(build, node)
        live = build.adopted()
        if live is not None and len(live) == len(items) and all(map(same, live, items)):
            return live
        return tuple.__new__(build.lookup(node.type_name), items)

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if node.names:
            set_attributes(obj, build.attributes(node.named))


#: Dicts, sets and deques that are not packed themselves have a list or dict of their contents from
#: this length on, which is. Keys and elements of sets have to be atoms then: to make the dict is to
#: hash its keys, and that must not run the program's code.
_LIST_FROM: Final = 64


def _are_atoms(items: Iterable[Any]) -> bool:
    return set(map(type, items)) <= ATOM_TYPES


def _is_listed(node: Node) -> bool:
    return node.kind.startswith(LISTED)


class _Dict(Codec):
    """Dicts and their subclasses; order and keys that are objects included."""

    kind = "dict"
    also = (LISTED + "dict",)
    bases = (dict, OrderedDict, defaultdict, Counter)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        if not obj and type(obj) in EMPTY and not gc.get_referents(obj):
            return EMPTY[type(obj)]  # not even a __dict__, which asking for it would make
        packed = packed_node(walk, obj, plan)
        if packed is not None:
            return packed
        kind, children = self._items(walk, obj, plan)
        ref = walk.ref
        names, attributes = named(walk, obj, plan)
        if isinstance(obj, defaultdict):
            names = (*names, "default_factory")
            attributes.append(ref(obj.default_factory))
        payload = "is its own __dict__" if getattr(obj, "__dict__", None) is obj else None
        return Node(kind, plan.type_name, payload, children + attributes, names)

    def _items(self, walk: Walk, obj: Any, plan: Plan) -> tuple[str, list[Ref]]:
        items = _pairs_of(obj)
        if len(items) >= _LIST_FROM and type(obj) is not dict and _are_atoms(k for k, _ in items):
            return LISTED + "dict", [walk.ref(dict(items))]
        ref = walk.ref
        return "dict", [
            part if type(part) in FREE_ATOMS else ref(part) for item in items for part in item
        ]

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        if _is_listed(node):
            if _are_atoms(dict.__iter__(obj)):
                pairing.pair(node.children[0], dict(_pairs_of(obj)))
        else:
            for key, value in known_keys(pairing, node, node.items, obj):
                if dict.__contains__(obj, key):
                    pairing.pair(value, dict.__getitem__(obj, key))
        pair_named(pairing, node, obj)
        if isinstance(obj, defaultdict):
            pairing.pair(node.named.get("default_factory"), obj.default_factory)

    def make(self, build: Build, node: Node) -> Any:
        made = dict.__new__(build.lookup(node.type_name))
        if isinstance(made, OrderedDict):
            OrderedDict.__init__(made)
        if node.payload is not None:
            made.__dict__ = made
        return made

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        named_refs = node.named
        factory = named_refs.pop("default_factory", None)
        if _is_listed(node):
            write_dict(obj, list(build.value(node.children[0]).items()))
        else:
            write_dict(obj, build.pairs(node.items))
        if isinstance(obj, defaultdict):
            obj.default_factory = build.value(factory)
        set_attributes(obj, build.attributes(named_refs))


def _pairs_of(obj: Any) -> list[tuple[Any, Any]]:
    if isinstance(obj, OrderedDict):
        return [(key, dict.__getitem__(obj, key)) for key in OrderedDict.__iter__(obj)]
    return list(dict.items(obj))


#: An empty dict is like any other: torch modules have a dozen each.
EMPTY: Final[dict[type, Node]] = {cls: Node("dict", type_name(cls)) for cls in (dict, OrderedDict)}


class _Set(Codec):
    """Sets; the order in which they iterate is part of the state."""

    kind = "set"
    also: ClassVar[tuple[str, ...]] = (LISTED + "set",)
    bases: tuple[type, ...] = (set,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        items = list(type_iter(obj))
        kind = self.kind
        if len(items) >= _LIST_FROM and _are_atoms(items):
            kind, children = LISTED + kind, [walk.ref(items)]
        else:
            children = [walk.ref(item) for item in in_stable_order(walk, items)]
        names, attributes = named(walk, obj, plan)
        return Node(kind, plan.type_name, None, children + attributes, names)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        if not _is_listed(node) and any(type(ref) is NodeId for ref in node.items):
            if not pairing.again:
                pairing.defer(node, obj)
            else:
                _pair_elements(pairing, node, obj)
        pair_named(pairing, node, obj)

    def make(self, build: Build, node: Node) -> Any:
        return set.__new__(build.lookup(node.type_name))

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        fill_in_order(obj, _elements(build, node), check=_by_value(node))
        set_attributes(obj, build.attributes(node.named))


def _elements(build: Build, node: Node) -> list[Any]:
    return list(build.value(node.children[0])) if _is_listed(node) else build.values(node.items)


def type_iter(obj: set[Any] | frozenset[Any]) -> Iterable[Any]:
    """Iterate a set or frozenset past any ``__iter__`` of its subclass."""
    return set.__iter__(obj) if isinstance(obj, set) else frozenset.__iter__(obj)


def in_stable_order(walk: Walk, items: list[Any]) -> list[Any]:
    """Return elements hashed by address in an order that does not depend on addresses.

    Those met before come in the order of their meeting. Elements hashed by value keep the order
    of iteration, which a program with a fixed hash seed can see and repeat.
    """
    by_address: Any = object.__hash__
    if not any(type(item).__hash__ is by_address for item in items):
        return items
    last = len(walk.objects)
    return sorted(items, key=lambda item: last if (n := walk.known(item)) is None else n)


def _by_value(node: Node) -> bool:
    return _is_listed(node) or not any(type(ref) is NodeId for ref in node.items)


def _pair_elements(pairing: Pairing, node: Node, obj: Any) -> None:
    taken = {
        id(pairing.live[ref]) for ref in node.items if type(ref) is NodeId and ref in pairing.live
    }
    free = [item for item in type_iter(obj) if id(item) not in taken]
    for ref in node.items:
        if type(ref) is NodeId and ref not in pairing.live:
            for item in free:
                pairing.pair(ref, item)
                if ref in pairing.live:
                    free.remove(item)
                    break


class _Frozenset(_Set):
    """Frozensets."""

    kind = "frozenset"
    also = (LISTED + "frozenset",)
    bases = (frozenset,)
    in_place = False

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.items

    def make(self, build: Build, node: Node) -> Any:
        items = _elements(build, node)
        live = build.adopted()
        if live is not None and len(live) == len(items) and all(map(same, live, items)):
            return live
        return frozen_in_order(build.lookup(node.type_name), items, check=_by_value(node))

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if node.names:
            set_attributes(obj, build.attributes(node.named))


class _Deque(Codec):
    """Double-ended queues, with their bound."""

    kind = "deque"
    also = (LISTED + "deque",)
    bases = (deque,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        names, attributes = named(walk, obj, plan)
        items, kind = list(deque.__iter__(obj)), "deque"
        if len(items) >= _LIST_FROM:
            kind, items = LISTED + kind, [items]
        children = [walk.ref(item) for item in items]
        return Node(kind, plan.type_name, obj.maxlen, children + attributes, names)

    def accepts(self, node: Node, obj: Any) -> bool:
        return bool(obj.maxlen == node.payload)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        items = list(deque.__iter__(obj))
        for ref, item in zip(node.items, [items] if _is_listed(node) else items, strict=False):
            pairing.pair(ref, item)
        pair_named(pairing, node, obj)

    def make(self, build: Build, node: Node) -> Any:
        cls = build.lookup(node.type_name)
        made = deque.__new__(cls)
        if not isinstance(node.payload, int | None):
            raise Unbuildable("the saved bound of a deque is not a number")
        deque.__init__(made, (), node.payload)
        return made

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        deque.clear(obj)
        deque.extend(obj, _elements(build, node))
        set_attributes(obj, build.attributes(node.named))


CODECS: tuple[Codec, ...] = (
    _List(),
    _Tuple(),
    _Dict(),
    _Set(),
    _Frozenset(),
    _Deque(),
)
