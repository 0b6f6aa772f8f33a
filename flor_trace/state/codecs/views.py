"""Objects that show another one: dict views, read-only mappings, ``super``, cached functions."""

from __future__ import annotations

import functools
import gc
from collections import OrderedDict
from collections.abc import Iterable
from types import FunctionType, MappingProxyType

from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.reduced import REDUCED
from flor_trace.state.codecs.writing import write_dict
from flor_trace.state.graph import Node, NodeId, Ref

_VIEWS: Final[dict[type, Any]] = {
    type(method(base())): method
    for base in (dict, OrderedDict)
    for method in (base.keys, base.values, base.items)
}
_BY_NAME: Final = {cls.__qualname__: method for cls, method in _VIEWS.items()}


class _Shown(Codec):
    """Whatever shows one other object."""

    in_place = False

    def shown(self, obj: Any) -> Any:
        """Return the object that is shown."""
        found = gc.get_referents(obj)
        return found[0] if len(found) == 1 else None

    def anew(self, node: Node, base: Any) -> Any:
        """Return a new object that shows `base`."""
        raise NotImplementedError

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pairing.pair(node.children[0], self.shown(obj))

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        live, base = build.adopted(), build.value(node.children[0])
        return live if live is not None and self.shown(live) is base else self.anew(node, base)


class _DictView(_Shown):
    """The keys, values or items of a dict."""

    kind = "dict view"
    exact = tuple(_VIEWS)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("dict view", plan.type_name, None, [walk.ref(self.shown(obj))])

    def anew(self, node: Node, base: Any) -> Any:
        return _BY_NAME[node.type_name.partition(":")[2]](base)


class _Proxy(_Shown):
    """Read-only views of mappings; those of the names in a class are the live ones."""

    kind = "mapping proxy"
    exact = (MappingProxyType,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        mapping = self.shown(obj)
        if mapping is None or (isinstance(mapping, dict) and "__doc__" in mapping):
            return Node("kept", plan.type_name)
        return Node("mapping proxy", plan.type_name, None, [walk.ref(mapping)])

    def anew(self, node: Node, base: Any) -> Any:
        return MappingProxyType(base)


class _Super(Codec):
    """What ``super()`` returns."""

    kind = "super"
    exact = (super,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("super", plan.type_name, None, [walk.ref(part) for part in _halves(obj)])

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for ref, part in zip(node.children, _halves(obj), strict=True):
            pairing.pair(ref, part)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        return super(*build.values(node.children))


def _halves(obj: Any) -> tuple[Any, Any]:
    space = vars(super)
    return space["__thisclass__"].__get__(obj), space["__self__"].__get__(obj)


def _contents(function: Any) -> dict[Any, Any] | None:
    """Return the very dict of a cache without bound; the bounded ones hide theirs."""
    found = [held for held in gc.get_referents(function) if type(held) is dict]
    found = [held for held in found if held is not function.__dict__]
    return found[0] if len(found) == 1 else None


#: What stands in the keys of every cache before the named arguments.
_MARK: Final[Any] = next(
    (r for r in gc.get_referents(functools.lru_cache(lambda: None)) if type(r) is object), None
)


class _Mark(Codec):
    """Objects that are nothing but themselves; one of them is known to all caches."""

    kind = "bare object"
    exact = (object,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("bare object", plan.type_name, obj is _MARK)

    def accepts(self, node: Node, obj: Any) -> bool:
        return (obj is _MARK) == node.payload

    def make(self, build: Build, node: Node) -> Any:
        return _MARK if node.payload else object()


def _pair_marks(pairing: Pairing, key: Ref) -> None:
    for part in pairing.nodes[key].children if type(key) is NodeId else ():
        if type(part) is NodeId and pairing.nodes[part].kind == "bare object":
            pairing.pair(part, _MARK)


class _Cached(Codec):
    """Functions of the program under ``functools.cache``, with what they remember."""

    kind = "cached function"
    exact = (functools._lru_cache_wrapper,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        inner = obj.__dict__.get("__wrapped__")
        tell = obj.__dict__.get("cache_parameters")
        if not isinstance(inner, FunctionType) or not isinstance(tell, FunctionType):
            return REDUCED.capture(walk, obj, plan)
        if not walk.is_project_file(inner.__code__.co_filename):
            return REDUCED.capture(walk, obj, plan)
        limits = tell()
        held = _contents(obj) if limits["maxsize"] is None else {}
        if held is None:
            return opaque(plan.type_name, "what it remembers cannot be read")
        children = [walk.ref(part) for pair in list(held.items()) for part in pair]
        payload = (limits["maxsize"], limits["typed"])
        return Node(
            "cached function", plan.type_name, payload, [*children, walk.ref(inner)], ("function",)
        )

    def accepts(self, node: Node, obj: Any) -> bool:
        tell = obj.__dict__.get("cache_parameters")
        return tell is not None and tuple(tell().values()) == node.payload

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pairing.pair(node.children[-1], obj.__dict__.get("__wrapped__"))
        held, items = _contents(obj) or {}, node.items
        for key_ref, value_ref in zip(items[::2], items[1::2], strict=True):
            _pair_marks(pairing, key_ref)
            try:
                value = held.get(pairing.key(key_ref))
            except KeyError:
                continue
            pairing.pair(value_ref, value)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children[-1:]

    def make(self, build: Build, node: Node) -> Any:
        if not isinstance(node.payload, tuple) or len(node.payload) != 2:
            raise Unbuildable("the saved cache is not described in full")
        function: Any = build.value(node.children[-1])
        maxsize: Any = node.payload[0]
        return functools.lru_cache(maxsize, bool(node.payload[1]))(function)

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        held = _contents(obj)
        if held is not None and isinstance(node.payload, tuple) and node.payload[0] is None:
            write_dict(held, build.pairs(node.items))


CODECS: tuple[Codec, ...] = (_DictView(), _Proxy(), _Super(), _Mark(), _Cached())
