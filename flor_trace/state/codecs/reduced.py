"""Objects that can say how to make them again: a callable that has a name, and its arguments."""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Iterable
from types import MethodType

from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.instances import set_attributes
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.graph import Node, Ref
from flor_trace.state.naming import importable, namespace

_PARTS = ("<args>", "<state>", "<list>", "<dict>")


def refusals() -> tuple[type[Exception], ...]:
    """Return what objects raise when they cannot say, or be told, how to make them."""
    plain = (TypeError, ValueError, LookupError, AttributeError, RuntimeError, OSError)
    pickling = getattr(sys.modules.get("_pickle"), "PickleError", None)
    return (*plain, AssertionError, ImportError, *([pickling] if pickling else []))


def reduction(obj: Any) -> tuple[Any, ...] | str:
    """Return what ``__reduce_ex__`` says, by way of ``copyreg`` first as ``copy`` does.

    Raises whatever the object's own code raises.
    """
    reducer = copyreg.dispatch_table.get(type(obj))
    found: Any = reducer(obj) if reducer is not None else obj.__reduce_ex__(4)
    if isinstance(found, str):
        return found
    return (*found, None, None, None, None)[:6]


class ReducedCodec(Codec):
    """What remains: the object's own account of itself, with its parts as nodes."""

    kind = "reduced"
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node of the object's own account, or an opaque one if it gives none."""
        try:
            found = reduction(obj)
        except refusals() as error:
            return opaque(plan.type_name, f"it says: {error}")
        if isinstance(found, str):
            name = _global_name(obj, found)
            if name is None:
                return Node("kept", plan.type_name, found)  # a global by its own account
            return Node("reduced", plan.type_name, ("global", name))
        return self.node(walk, obj, plan, found)

    def node(self, walk: Walk, obj: Any, plan: Plan, found: tuple[Any, ...]) -> Node:
        """Return the node of a reduction in six parts."""
        function, args, state, items, pairs, setter = found
        name = importable(function)
        if name is None or setter is not None:
            return opaque(plan.type_name, "it is made by a function that has no name")
        if plan.type_name.startswith("pandas."):
            state = _lasting(state)
        parts = (
            tuple(args or ()),
            state,
            None if items is None else list(items),
            None if pairs is None else [part for pair in pairs for part in pair],
        )
        present = {n: part for n, part in zip(_PARTS, parts, strict=True) if part is not None}
        children = [walk.ref(part) for part in present.values()]
        return Node("reduced", plan.type_name, ("call", name), children, tuple(present))

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        """Pair the arguments and state with those of the live object."""
        try:
            found = reduction(obj)
        except refusals():
            return
        if isinstance(found, str) or importable(found[0]) != _function(node):
            return
        live = dict(zip(("<args>", "<state>"), (tuple(found[1] or ()), found[2]), strict=True))
        for name, ref in node.named.items():
            if live.get(name) is not None:
                pairing.pair(ref, live[name])

    def needs(self, node: Node) -> Iterable[Ref]:
        """Return all parts: the call must see them complete."""
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        """Make the call that was saved, and give the result its state."""
        parts = {name: build.value(ref) for name, ref in node.named.items()}
        function = build.lookup(_function(node))
        if not parts:
            return function
        try:
            made = function(*parts["<args>"])
            return self.complete(made, parts)
        except refusals() as error:
            raise Unbuildable(f"{_function(node)} refused the saved arguments: {error}") from error

    def complete(self, made: Any, parts: dict[str, Any]) -> Any:
        """Give the new object the rest of its state, in the order that ``copy`` follows."""
        state = parts.get("<state>")
        if state is not None:
            set_state(made, state)
        if "<list>" in parts:
            made.extend(parts["<list>"])
        pairs = parts.get("<dict>", [])
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            made[key] = value
        return made


def _lasting(state: Any) -> Any:
    """Return the state of a pandas object without what comes and goes as it is looked at."""
    if isinstance(state, tuple) and state and isinstance(state[-1], dict):
        own = _lasting(state[-1])
        return (*state[:-1], own) if own else state[:-1]
    if not isinstance(state, dict):
        return state
    passing = [("_readonly", False)]
    return {n: v for n, v in state.items() if n != "_cache" and (n, v) not in passing}


def _global_name(obj: Any, name: str) -> str | None:
    """Return the name under which a global object is found, as ``pickle`` looks for it."""
    own = str(getattr(obj, "__module__", None) or "builtins")
    for module in (own, own.partition(".")[0], *sys.modules):
        if namespace(module).get(name) is obj:
            return f"{module}:{name}"
    return None


def set_state(made: Any, state: Any) -> None:
    """Give an object its state by ``__setstate__``, or attribute by attribute."""
    setter = getattr(made, "__setstate__", None)
    if isinstance(setter, MethodType) or callable(setter):
        setter(state)
        return
    space, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    set_attributes(made, {**(space or {}), **(slots or {})})


def _function(node: Node) -> str:
    assert isinstance(node.payload, tuple)
    return str(node.payload[1])


REDUCED = ReducedCodec()
CODECS: tuple[Codec, ...] = (REDUCED,)
