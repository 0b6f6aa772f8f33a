"""Instances of classes made by ``class`` statements: their attributes and slots."""

from __future__ import annotations

from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType

from flor_trace.errors import RestoreError
from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.graph import FREE_ATOMS, Node, Ref

_POINTER = object.__basicsize__ // 2
_ABSENT: Any = object()
#: Attributes that are addresses: of the compiled wrapper round a module, in torch.
_NOT_STATE = ("_torchdynamo_wrapper_id",)
_dict_of = object.__getattribute__


def adds_only_attributes(cls: type, base: type) -> bool:
    """Say whether instances hold nothing beyond those of `base` but a ``__dict__`` and slots.

    The same arithmetic by which ``object.__reduce_ex__`` finds state that Python cannot see.
    """
    if cls.__itemsize__ != base.__itemsize__:
        return False
    size = base.__basicsize__
    if cls.__dictoffset__ > 0 and base.__dictoffset__ == 0:
        size += _POINTER
    if cls.__weakrefoffset__ > 0 and base.__weakrefoffset__ == 0:
        size += _POINTER
    for part in cls.__mro__:
        if part is not base and "__slots__" in vars(part):
            size += _POINTER * sum(type(m) is MemberDescriptorType for m in vars(part).values())
    return cls.__basicsize__ <= size


def has_plain_dict(cls: type, plan: Plan) -> bool:
    """Say whether all that instances hold is in the usual ``__dict__``."""
    found = [vars(base)["__dict__"] for base in cls.__mro__ if "__dict__" in vars(base)]
    plain = all(type(each) is GetSetDescriptorType for each in found)
    return plan.has_dict and not plan.slots and plain


def attributes(obj: Any, plan: Plan) -> dict[str, Any]:
    """Return the instance's ``__dict__`` and slots, by name, without running its code."""
    found: dict[Any, Any] = _dict_of(obj, "__dict__").copy() if plan.has_dict else {}
    for name, member in plan.slots:
        try:
            found[name] = member.__get__(obj)
        except AttributeError:
            continue
    for name in _NOT_STATE:
        found.pop(name, None)
    return found


def named(walk: Walk, obj: Any, plan: Plan) -> tuple[tuple[str, ...], list[Ref]]:
    """Return the attribute names, and a reference to each value, in the same order."""
    if not plan.has_dict and not plan.slots and not walk.has_state(type(obj)):
        return (), []
    if plan.has_dict and _dict_of(obj, "__dict__") is obj:
        return (), []
    found = attributes(obj, plan)
    cls = type(obj)
    if walk.has_state(cls):
        found["__class__"] = cls
    names = walk.names(found)
    if names is None:
        found = {name: value for name, value in found.items() if type(name) is str}
        names = tuple(found)
    ref = walk.ref
    return names, [v if type(v) in FREE_ATOMS else ref(v) for v in found.values()]


def pair_named(pairing: Pairing, node: Node, obj: Any) -> None:
    """Pair each attribute with the live attribute of that name."""
    for name, ref in node.named.items():
        value = type(obj) if name == "__class__" else get_attribute(obj, name)
        if value is not _ABSENT:
            pairing.pair(ref, value)


def get_attribute(obj: Any, name: str) -> Any:
    """Return the instance's own attribute, or a marker that equals nothing when it has none."""
    try:
        space = _dict_of(obj, "__dict__")
    except AttributeError:
        space = {}
    if name in space:
        return space[name]
    member = _slot(type(obj), name)
    if member is None:
        return _ABSENT
    try:
        return member.__get__(obj)
    except AttributeError:
        return _ABSENT


def _slot(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        member = vars(base).get(name)
        if type(member) is MemberDescriptorType and "__slots__" in vars(base):
            return member
    return None


def set_attributes(obj: Any, wanted: dict[str, Any]) -> None:
    """Give the instance exactly these attributes, in this order, without running its code."""
    wanted.pop("__class__", None)
    slots = {name: member for name in wanted if (member := _slot(type(obj), name)) is not None}
    for name, member in slots.items():
        member.__set__(obj, wanted[name])
    for name, member in _filled_slots(obj).items():
        if name not in wanted:
            member.__delete__(obj)
    try:
        space = _dict_of(obj, "__dict__")
    except AttributeError:
        _refuse_extra(obj, wanted.keys() - slots.keys())
        return
    if space is obj:
        return
    values = {name: value for name, value in wanted.items() if name not in slots}
    values |= {name: space[name] for name in _NOT_STATE if name in space}
    if list(space) != list(values):
        space.clear()
    space.update(values)


def _filled_slots(obj: Any) -> dict[str, Any]:
    found = {}
    for base in type(obj).__mro__:
        if "__slots__" in vars(base):
            for name, member in vars(base).items():
                if type(member) is MemberDescriptorType and get_attribute(obj, name) is not _ABSENT:
                    found[name] = member
    return found


def _refuse_extra(obj: Any, extra: set[str]) -> None:
    if extra:
        raise RestoreError(
            f"a {type(obj).__qualname__} has no place for the saved attribute(s) "
            f"{', '.join(sorted(extra))}: the class is not the one that was saved. Restore under "
            "the commit that saved it."
        )


class _Instance(Codec):
    """Any object whose whole state is its ``__dict__`` and its slots."""

    kind = "instance"

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        names, refs = named(walk, obj, plan)
        return Node("instance", plan.type_name, None, refs, names)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pair_named(pairing, node, obj)

    def make(self, build: Build, node: Node) -> Any:
        return new_instance(build.lookup(node.type_name), node)

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        set_attributes(obj, build.attributes(node.named))


def new_instance(cls: Any, node: Node) -> Any:
    """Return an instance without running ``__init__``; raise `Unbuildable` if that cannot be."""
    for base in cls.__mro__:
        maker = vars(base).get("__new__")
        if isinstance(maker, BuiltinFunctionType):
            try:
                return maker(cls)
            except TypeError as error:
                raise Unbuildable(f"a {node.type_name} cannot be made: {error}") from None
    raise Unbuildable(f"a {node.type_name} has no way to be made")


INSTANCE = _Instance()
CODECS: tuple[Codec, ...] = (INSTANCE,)
