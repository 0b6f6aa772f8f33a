"""What a codec does, and what the walks of capture, pairing and restore offer to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from flor_trace.hints import Any, ClassVar, Protocol, TypeAlias
from flor_trace.records import dataclass
from flor_trace.state.graph import Node, NodeId, Ref


class Unbuildable(Exception):
    """An object is not there in the live program and cannot be made from what was saved."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known about a type before looking at any instance."""

    codec: Codec
    type_name: str
    has_dict: bool
    slots: tuple[tuple[str, Any], ...]  #: (name, member descriptor)


#: (bytes, how many objects, how many parts, what else it holds, paths to that)
Packing: TypeAlias = "tuple[bytes, int, int, list[Any], tuple[tuple[Any, ...], ...]]"


class Walk(Protocol):
    """The capturing walk, as codecs see it."""

    objects: list[Any]  #: every object met, in order; keeps temporary ones alive
    shown: dict[int, int]  #: leaves that are larger than what is seen of them -> how far that goes

    @property
    def relocate(self) -> Sequence[tuple[str, str]]:
        """(prefix, token) pairs, longest prefix first."""

    def ref(self, obj: Any) -> Ref:
        """Return the object itself if it is an atom, else the id of its node."""

    def leaf(self, buffer: memoryview, key: object = None) -> int:
        """Add a buffer; return its position. Others find it again by `key`."""

    def names(self, space: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Return the keys if all are plain strings, else None; equal ones are one object."""

    def known_leaf(self, key: object) -> int | None:
        """Return the position of the leaf added under this key, if there is one."""

    def known(self, obj: Any) -> NodeId | None:
        """Return the id of the object's node if it was met before."""

    def pack(self, obj: Any) -> Packing | None:
        """Return a plain list, dict or tuple of many objects as bytes; None for others."""

    def part(self, obj: Any) -> tuple[NodeId, int] | None:
        """Return (packed container, number of the part) of a part of what was packed, or None."""

    def has_state(self, cls: type) -> bool:
        """Say whether the class is the program's own and holds data beside its methods."""

    @property
    def is_project_file(self) -> Callable[[str], bool]:
        """Tell the program's own files from those of libraries."""


class Pairing(Protocol):
    """The walk that finds, for each saved node, the live object that stands at its place."""

    nodes: list[Node]
    live: dict[int, Any]
    again: bool  #: a deferred visit: every node that could be paired otherwise has been

    def pair(self, ref: Ref, obj: Any) -> None:
        """Let the live object stand for the node, if it is of the same type and still free."""

    def defer(self, node: Node, obj: Any) -> None:
        """Look at this container again when all else is paired."""

    def key(self, ref: Ref) -> Any:
        """Return the live object that is this key; raise `KeyError` when it is not known."""


def known_keys(
    pairing: Pairing, node: Node, items: Sequence[Ref], obj: Any
) -> Iterator[tuple[Any, Ref]]:
    """Give the keys among `items` that are known, each with its value's reference.

    If there are others, the container is looked at again later.
    """
    unknown = False
    for key_ref, value_ref in zip(items[::2], items[1::2], strict=True):
        try:
            key = pairing.key(key_ref)
        except KeyError:
            unknown = True
            continue
        yield key, value_ref
    if unknown and not pairing.again:
        pairing.defer(node, obj)


class Memory(Protocol):
    """Live memory that holds the bytes of a leaf, shared by all who show parts of it."""

    @property
    def address(self) -> int:
        """Where it begins."""

    def array(self) -> Any:
        """Return it as a NumPy array of bytes."""


class Build(Protocol):
    """The walk that writes the saved values into live objects and makes the missing ones."""

    nodes: list[Node]
    live: dict[int, Any]
    taken: set[int]  #: ids of the live objects that stand for something
    current: int  #: the node that is being made or filled
    trees: dict[int, Any]  #: what packed containers hold, by node

    def value(self, ref: Ref) -> Any:
        """Return the live value of a reference; raise `Unbuildable` if there is none."""

    def values(self, refs: Iterable[Ref]) -> list[Any]:
        """Return the live value of each reference."""

    def attributes(self, named: dict[str, Ref]) -> dict[str, Any]:
        """Return the attributes that could be made, by name."""

    def pairs(self, items: Sequence[Ref]) -> list[tuple[Any, Any]]:
        """Return the (key, value) pairs that could be made."""

    def buffer(self, leaf: int) -> memoryview:
        """Return the saved bytes of a leaf."""

    def memory(self, leaf: int) -> Memory | None:
        """Return the live memory that was chosen for a leaf, or None."""

    def claim(self, leaf: int, memory: Memory) -> bool:
        """Choose live memory for a leaf; False when it belongs to another leaf already."""

    def lookup(self, name: str) -> Any:
        """Return a class or function by name; raise `Unbuildable` if it cannot be found."""

    def expand(self, token: str, rest: str) -> str:
        """Return the string that was saved as a token and a rest."""

    def at_end(self, action: Callable[[], None]) -> None:
        """Run the action when all objects are complete: for random generators, above all."""

    def adopted(self) -> Any:
        """Return the live object at the place of the node being made or filled, or None."""


class Codec:
    """How one kind of object is captured, paired with a live one, made, and filled."""

    kind: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()  #: other kinds of node that this codec writes and reads
    exact: tuple[type, ...] = ()  #: types handled here when they match exactly
    bases: tuple[type, ...] = ()  #: types whose subclasses are handled here too
    in_place: ClassVar[bool] = True  #: a live object is filled; otherwise a new one is made

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node that says all there is to say about the object."""
        raise NotImplementedError

    def accepts(self, node: Node, obj: Any) -> bool:
        """Say whether a live object of the right type can stand for the node."""
        return True

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        """Pair the children of the node with those of the live object."""

    def confirm(self, build: Build, node: Node, obj: Any) -> bool:
        """Say whether the live object can stand for the node, now that all pairs are known."""
        return True

    def needs(self, node: Node) -> Iterable[Ref]:
        """Return the children that must be complete before the object can be made."""
        return ()

    def make(self, build: Build, node: Node) -> Any:
        """Return a new object, to be filled; raise `Unbuildable` when it cannot be made."""
        raise Unbuildable(f"a {node.type_name} cannot be made from what was saved")

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        """Write the saved contents into the object."""
