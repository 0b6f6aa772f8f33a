"""Byte arrays, arrays of the ``array`` module, and the memory views on them."""

from __future__ import annotations

import sys

from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.instances import named, pair_named, set_attributes
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.graph import Node


class _Resizable(Codec):
    """What byte arrays and arrays have in common: while a view exists, their length is fixed."""

    def contents(self, build: Build, node: Node) -> Any:
        """Return what a slice of the live object is set to."""
        raise NotImplementedError

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pair_named(pairing, node, obj)

    def confirm(self, build: Build, node: Node, obj: Any) -> bool:
        """Write the contents, unless a view holds the live object to another length."""
        try:
            obj[:] = self.contents(build, node)
        except BufferError:
            return False
        return True

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if build.adopted() is not obj:
            obj[:] = self.contents(build, node)
        if node.names:
            set_attributes(obj, build.attributes(node.named))


class _Bytearray(_Resizable):
    """Byte arrays."""

    kind = "bytearray"
    bases = (bytearray,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        # A copy: a view that is still held would make the program's own resizing fail.
        leaf = walk.leaf(memoryview(bytes(memoryview(obj))))
        names, attributes = named(walk, obj, plan)
        return Node("bytearray", plan.type_name, None, attributes, names, leaf)

    def contents(self, build: Build, node: Node) -> Any:
        return build.buffer(node.leaf)

    def make(self, build: Build, node: Node) -> Any:
        made = bytearray.__new__(build.lookup(node.type_name))
        # At once in full: views on it are made before it is filled, and hold its length.
        made[:] = self.contents(build, node)
        return made


class _Array(_Resizable):
    """Arrays of numbers of the ``array`` module."""

    kind = "number array"

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.bases = (cls,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        leaf = walk.leaf(memoryview(self._cls.tobytes(obj)))
        names, attributes = named(walk, obj, plan)
        return Node("number array", plan.type_name, obj.typecode, attributes, names, leaf)

    def accepts(self, node: Node, obj: Any) -> bool:
        return bool(obj.typecode == node.payload)

    def contents(self, build: Build, node: Node) -> Any:
        return self._cls(node.payload, bytes(build.buffer(node.leaf)))

    def make(self, build: Build, node: Node) -> Any:
        made = self._cls.__new__(build.lookup(node.type_name), node.payload)
        made[:] = self.contents(build, node)
        return made


class _View(Codec):
    """Memory views on objects that are captured too."""

    kind = "memory view"
    exact = (memoryview,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        place = _place(obj)
        if isinstance(place, str):
            return opaque(plan.type_name, place)
        payload = (place, obj.nbytes, obj.format, obj.shape, obj.readonly)
        return Node("memory view", plan.type_name, payload, [walk.ref(obj.obj)])

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pairing.pair(node.children[0], obj.obj)

    def needs(self, node: Node) -> Any:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        base = build.value(node.children[0])
        live = build.adopted()
        if live is not None and live.obj is base and _description(live) == node.payload:
            return live
        if not isinstance(node.payload, tuple) or len(node.payload) != 5:
            raise Unbuildable("the saved view is not described in full")
        place, size, form, shape, readonly = node.payload
        whole: Any = memoryview(base).cast("B")
        part = whole[place : place + size]  # type: ignore[operator]
        made = part if (form, shape) == ("B", part.shape) else part.cast(form, shape)
        return made.toreadonly() if readonly else made


def _description(view: memoryview) -> Any:
    return (_place(view), view.nbytes, view.format, view.shape, view.readonly)


def _place(view: memoryview) -> int | str:
    """Return where in its object the view begins, or why that cannot be told."""
    try:
        if not view.c_contiguous:
            return "a view that leaves bytes out cannot be described"
        if type(view.obj) in (bytes, bytearray) or hasattr(view.obj, "__len__"):
            whole = memoryview(view.obj)
        else:
            return "a view on something that has no length"
    except (ValueError, TypeError):
        return "a view that was released shows nothing"
    if whole.nbytes == view.nbytes:
        return 0
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not view.nbytes:
        return "Python does not say where in its object a view begins"
    ends = (numpy.frombuffer(part, "u1").__array_interface__["data"][0] for part in (view, whole))
    return int(next(ends) - next(ends))


def of_module(name: str) -> tuple[Codec, ...]:
    """Return the codec for the arrays of the ``array`` module."""
    return (_Array(sys.modules[name].array),)


CODECS: tuple[Codec, ...] = (_Bytearray(), _View())
