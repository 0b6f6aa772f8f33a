"""Writes saved values into live objects, and makes the objects that the live side lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flor_trace.errors import RestoreError
from flor_trace.state.codecs.base import Memory, Unbuildable
from flor_trace.state.codecs.registry import codec_of_kind
from flor_trace.state.graph import Graph, Leaf, NodeId, Ref
from flor_trace.state.naming import lookup
from flor_trace.state.pairing import Paired
from flor_trace.types import Address

_NEW, _WAITING, _OPEN, _DONE = range(4)


class Builder:
    """One restore: every node becomes a live object, children before the parents that need them."""

    def __init__(
        self,
        graph: Graph,
        paired: Paired,
        load: Callable[[Address], bytes],
        relocate: Sequence[tuple[str, str]],
    ) -> None:
        self.nodes = graph.nodes
        self.live = paired.live
        self.leaves: list[Leaf] = graph.leaves
        self.left_out: dict[int, str] = {}  #: node -> why it could not be made
        self.omitted: list[tuple[int, str]] = []  #: (left out node, name of the attribute or key)
        self.taken = {id(obj) for obj in paired.live.values()}
        self.trees: dict[int, Any] = {}
        self._types = paired.types
        self._load = load
        self._tokens = {token: prefix for prefix, token in relocate}
        self._made: dict[int, Any] = {}
        self._state = bytearray(len(graph.nodes))
        self._memory: dict[int, Memory] = {}
        self._claimed: dict[int, int] = {}  #: address -> leaf
        self._at_end: list[Callable[[], None]] = []
        self.current = -1

    # ---- what codecs ask for

    def value(self, ref: Ref) -> Any:
        """Return the live value of a reference; raise `Unbuildable` if there is none."""
        if type(ref) is not NodeId:
            return ref
        if ref in self.left_out:
            raise Unbuildable(self.left_out[ref])
        if ref not in self._made:
            raise Unbuildable(f"a {self.nodes[ref].type_name} is made from itself")
        return self._made[ref]

    def values(self, refs: Iterable[Ref]) -> list[Any]:
        """Return the live value of each reference."""
        return [self.value(ref) for ref in refs]

    def attributes(self, named: dict[str, Ref]) -> dict[str, Any]:
        """Return the attributes that could be made, by name."""
        found = {}
        for name, ref in named.items():
            if type(ref) is NodeId and ref in self.left_out:
                self.omitted.append((ref, name))
            else:
                found[name] = self.value(ref)
        return found

    def pairs(self, items: Sequence[Ref]) -> list[tuple[Any, Any]]:
        """Return the (key, value) pairs that could be made."""
        found = []
        for key, value in zip(items[::2], items[1::2], strict=True):
            gone = [r for r in (key, value) if type(r) is NodeId and r in self.left_out]
            if gone:
                self.omitted.append((gone[0], repr(key)))
            else:
                found.append((self.value(key), self.value(value)))
        return found

    def buffer(self, leaf: int) -> memoryview:
        """Return the saved bytes of a leaf."""
        held = self.leaves[leaf]
        return held if isinstance(held, memoryview) else memoryview(self._load(held))

    def memory(self, leaf: int) -> Memory | None:
        """Return the live memory that was chosen for a leaf, or None."""
        return self._memory.get(leaf)

    def claim(self, leaf: int, memory: Memory) -> bool:
        """Choose live memory for a leaf; False when it belongs to another leaf already."""
        address = memory.address
        if self._claimed.setdefault(address, leaf) != leaf and address:
            return False
        self._memory[leaf] = memory
        return True

    def lookup(self, name: str) -> Any:
        """Return a class or function by name; raise `Unbuildable` if it cannot be found."""
        try:
            return lookup(name)
        except RestoreError as error:
            if name in self._types:
                return self._types[name]
            raise Unbuildable(str(error)) from None

    def expand(self, token: str, rest: str) -> str:
        """Return the string that was saved as a token and a rest."""
        if token not in self._tokens:
            raise RestoreError(
                f"the saved state holds a path below {token!r}, and this restore was not told "
                "where that is now. Pass the pair in `relocate`."
            )
        return self._tokens[token] + rest

    def at_end(self, action: Callable[[], None]) -> None:
        """Run the action when all objects are complete: for random generators, above all."""
        self._at_end.append(action)

    def adopted(self) -> Any:
        """Return the live object at the place of the node being made or filled, or None."""
        return self.live.get(self.current)

    # ---- the walk

    def confirm(self) -> None:
        """Undo the pairs that cannot hold, and give each leaf its live memory."""
        for at in sorted(self.live):
            node = self.nodes[at]
            if not codec_of_kind(node.kind).confirm(self, node, self.live[at]):
                del self.live[at]

    def complete(self, root: NodeId) -> None:
        """Make and fill the node and everything it reaches."""
        stack = [int(root)]
        while stack:
            at = stack[-1]
            state = self._state[at]
            if state == _DONE:
                stack.pop()
            elif state == _OPEN:
                self._fill(at)
            else:
                stack += self._open(at)

    def _open(self, at: int) -> Sequence[int]:
        """Make the object if what it needs is there; return the nodes to complete first."""
        node = self.nodes[at]
        codec = codec_of_kind(node.kind)
        self.current = at
        if at in self.live and codec.in_place:
            self._made[at] = self.live[at]
        else:
            if self._state[at] == _NEW:
                self._state[at] = _WAITING
                wanted = [r for r in codec.needs(node) if type(r) is NodeId and self._unmade(r)]
                if wanted:
                    return wanted
            try:
                self._made[at] = codec.make(self, node)
            except (Unbuildable, TypeError, ValueError, AttributeError) as why:
                self._leave_out(at, str(why))
                return []
        self._state[at] = _OPEN
        return [r for r in node.children if type(r) is NodeId and self._state[r] == _NEW]

    def _unmade(self, ref: int) -> bool:
        return self._state[ref] in (_NEW, _WAITING)

    def _fill(self, at: int) -> None:
        node = self.nodes[at]
        self._state[at] = _DONE
        self.current = at
        try:
            codec_of_kind(node.kind).fill(self, node, self._made[at])
        except (Unbuildable, TypeError, ValueError, AttributeError) as why:
            self._leave_out(at, str(why))

    def _leave_out(self, at: int, why: str) -> None:
        self._state[at] = _DONE
        self.left_out[at] = why

    def finish(self) -> None:
        """Run what was put off to the end."""
        for action in self._at_end:
            action()
