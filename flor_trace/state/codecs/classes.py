"""Classes: always the live one; what those of the program hold beside methods is state."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from types import FunctionType, MemberDescriptorType

from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Walk
from flor_trace.state.codecs.functions import holds_state
from flor_trace.state.graph import Node
from flor_trace.state.naming import type_name

_BOOKKEEPING = frozenset({"_abc_impl", "_field_defaults", "_field_types", "_fields"})
#: What extension modules set on classes that nobody can change.
_IMMUTABLE = 1 << 8
_NOT_DATA = (staticmethod, classmethod, property, type, MemberDescriptorType)


def data_of(cls: type) -> dict[str, Any]:
    """Return what the class holds that is neither bookkeeping nor code that holds nothing."""
    return {name: value for name, value in vars(cls).items() if _is_data(name, value)}


def _is_data(name: str, value: object) -> bool:
    if (name.startswith("__") and name.endswith("__")) or name in _BOOKKEEPING:
        return False
    if type(value) is FunctionType:
        return holds_state(value)
    return not isinstance(value, _NOT_DATA) and not hasattr(type(value), "__get__")


def of_project(cls: type, is_project_file: Callable[[str], bool]) -> bool:
    """Say whether the class was made by the program itself."""
    if issubclass(cls, enum.Enum) or cls.__flags__ & _IMMUTABLE:
        return False
    module = sys.modules.get(type_name(cls).partition(":")[0])
    filename = getattr(module, "__file__", None)
    return isinstance(filename, str) and is_project_file(filename)


def has_state(cls: type, is_project_file: Callable[[str], bool]) -> bool:
    """Say whether the class, or one it inherits from, is the program's own and holds data."""
    return any(of_project(part, is_project_file) and data_of(part) for part in cls.__mro__)


class _Class(Codec):
    """Classes of libraries by name; those of the program with their data and their bases."""

    kind = "class"
    also = ("project class",)
    bases = (type,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        name = type_name(obj)
        if not walk.has_state(obj):
            return Node("class", plan.type_name, name)
        own = of_project(obj, walk.is_project_file)
        held = data_of(obj) if own else {}
        bases = [base for base in obj.__bases__ if walk.has_state(base)]
        children = [walk.ref(value) for value in (*bases, *held.values())]
        return Node("project class", plan.type_name, (name, own), children, tuple(held))

    def accepts(self, node: Node, obj: Any) -> bool:
        return type_name(obj) == _name(node)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        bases = {type_name(base): base for base in obj.__bases__}
        for ref, name in zip(node.items, map(_base_name(pairing), node.items), strict=True):
            pairing.pair(ref, bases.get(name))
        space = vars(obj)
        for name, ref in node.named.items():
            if name in space:
                pairing.pair(ref, space[name])

    def make(self, build: Build, node: Node) -> Any:
        return build.lookup(_name(node))

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if not isinstance(node.payload, tuple) or not node.payload[1]:
            return
        wanted = build.attributes(node.named)
        for name in data_of(obj).keys() - wanted.keys():
            type.__delattr__(obj, name)
        space = vars(obj)
        for name, value in wanted.items():
            if name not in space or space[name] is not value:
                type.__setattr__(obj, name, value)


def _name(node: Node) -> str:
    return str(node.payload[0] if isinstance(node.payload, tuple) else node.payload)


def _base_name(pairing: Pairing) -> Callable[[Any], str]:
    return lambda ref: _name(pairing.nodes[ref])


CODECS: tuple[Codec, ...] = (_Class(),)
