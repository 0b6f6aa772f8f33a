"""Immutable values that a few plain atoms describe."""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Callable, Iterable
from types import NotImplementedType

from flor_trace.hints import Any, cast
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.graph import Node, Payload, Ref

#: Strings and bytes longer than this are buffers of their own.
LONG = 1024

_Describe = Callable[[Any], Payload]
_Remake = Callable[[Any, Any], Any]

#: By type name, so that no module has to be imported to know its types.
_SIMPLE: dict[str, tuple[_Describe, _Remake]] = {
    "builtins:NotImplementedType": (lambda _: None, lambda _, __: NotImplemented),
    "datetime:timedelta": (
        lambda d: (d.days, d.seconds, d.microseconds),
        lambda cls, parts: cls(*parts),
    ),
    "datetime:date": (lambda d: d.isoformat(), lambda cls, text: cls.fromisoformat(text)),
    "decimal:Decimal": (str, lambda cls, text: cls(text)),
    "fractions:Fraction": (
        lambda f: (f.numerator, f.denominator),
        lambda cls, parts: cls(*parts),
    ),
    "_struct:Struct": (lambda s: s.format, lambda cls, form: cls(form)),
    "uuid:UUID": (lambda u: u.hex, lambda cls, digits: cls(digits)),
    "zoneinfo:ZoneInfo": (lambda z: z.key, lambda cls, key: cls(key)),
}


class _Value(Codec):
    """Types of the standard library whose value is a short payload."""

    kind = "value"
    in_place = False

    def __init__(self, *exact: type) -> None:
        self.exact = exact

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("value", plan.type_name, _SIMPLE[plan.type_name][0](obj))

    def make(self, build: Build, node: Node) -> Any:
        if node.type_name not in _SIMPLE:
            raise Unbuildable(f"{node.type_name} is not a type of plain values")
        known = node.type_name != "builtins:NotImplementedType"
        cls = build.lookup(node.type_name) if known else None
        return _SIMPLE[node.type_name][1](cls, node.payload)


def of_module(name: str) -> tuple[Codec, ...]:
    """Return the codecs for the simple values that a loaded module defines."""
    module = sys.modules[name]
    if name == "pathlib":
        return (_Path(module),)
    types = [type_.partition(":")[2] for type_ in _SIMPLE if type_.startswith(f"{name}:")]
    return (_Value(*(getattr(module, type_) for type_ in types)),)


class _Range(Codec):
    """Ranges and slices."""

    kind = "range"
    exact = (range, slice)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        parts = (obj.start, obj.stop, obj.step)
        return Node("range", plan.type_name, None, [walk.ref(part) for part in parts])

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for ref, part in zip(node.children, (obj.start, obj.stop, obj.step), strict=True):
            pairing.pair(ref, part)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        cls = slice if node.type_name == "builtins:slice" else range
        return cls(*build.values(node.children))


class _Enum(Codec):
    """Members of enumerations, by name; combinations of flags by value."""

    kind = "enum"
    bases = (enum.Enum,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        name = obj._name_
        if name is not None and type(obj)._member_map_.get(name) is obj:
            return Node("enum", plan.type_name, name)
        return Node("enum", plan.type_name, None, [walk.ref(obj._value_)])

    def make(self, build: Build, node: Node) -> Any:
        cls = build.lookup(node.type_name)
        if node.children:
            return cls(build.value(node.children[0]))
        try:
            return cls._member_map_[node.payload]
        except KeyError:
            raise Unbuildable(f"{node.type_name} has no member {node.payload!s} any more") from None

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children


class _Path(Codec):
    """Paths of the file system; those under a relocated directory move with it."""

    kind = "path"
    in_place = False

    def __init__(self, module: Any) -> None:
        self.bases = (module.PurePath,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("path", plan.type_name, None, [walk.ref(str(obj))])

    def make(self, build: Build, node: Node) -> Any:
        return build.lookup(node.type_name)(build.value(node.children[0]))

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children


class _Match(Codec):
    """What a regular expression found: found again, and compared."""

    kind = "match"
    exact = (re.Match,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        children = [walk.ref(part) for part in (obj.re, obj.string)]
        return Node("match", plan.type_name, (obj.endpos, obj.regs), children)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        pattern, text = build.values(node.children)
        if not isinstance(node.payload, tuple):
            raise Unbuildable("the saved match has no place")
        end, regs = cast("tuple[Any, Any]", node.payload)
        for find in (pattern.match, pattern.fullmatch):
            found = find(text, regs[0][0], end)
            if found is not None and found.regs == regs:
                return found
        raise Unbuildable("the expression does not find again what it found")


class _Text(Codec):
    """Strings and bytes that are long, or that begin with a path which may move."""

    kind = "text"
    also = ("moved text",)
    exact = (str, bytes)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        if isinstance(obj, str):
            for prefix, token in walk.relocate:
                if obj.startswith(prefix):
                    return Node("moved text", plan.type_name, (token, obj[len(prefix) :]))
        data = obj.encode("utf-8", "surrogatepass") if isinstance(obj, str) else obj
        return Node("text", plan.type_name, None, [], (), walk.leaf(memoryview(data)))

    def make(self, build: Build, node: Node) -> Any:
        if node.kind == "moved text":
            assert isinstance(node.payload, tuple)
            return build.expand(str(node.payload[0]), str(node.payload[1]))
        data = bytes(build.buffer(node.leaf))
        return data if node.type_name == "builtins:bytes" else data.decode("utf-8", "surrogatepass")


CODECS: tuple[Codec, ...] = (
    _Value(NotImplementedType),
    _Range(),
    _Enum(),
    _Match(),
    _Text(),
)
