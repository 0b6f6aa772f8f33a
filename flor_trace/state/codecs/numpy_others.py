"""NumPy arrays of objects in fields and of strings, maps of files, and NumPy's constants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.graph import Node, Payload, Ref

_STRINGS: Any = getattr(np.dtypes, "StringDType", None)
_NO_MARKER: Any = object()


class _Parts(Codec):
    """Arrays whose elements Python has to read and write, part by part."""

    def put(self, obj: Any, values: list[Any]) -> None:
        """Write the parts into the array."""
        raise NotImplementedError

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        self.put(obj, build.values(node.items))


class Fields(_Parts):
    """Structured arrays with objects in some fields."""

    kind = "fields array"

    def __init__(
        self, describe: Callable[[Any], Payload], remake: Callable[[Payload], Any]
    ) -> None:
        self._describe, self._remake = describe, remake

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node of one array for each field."""
        described = self._describe(obj.dtype)
        if described is None or plan.type_name != "numpy:ndarray":
            return opaque(plan.type_name, f"an array of {obj.dtype} cannot be described")
        children = [walk.ref(obj[name].copy()) for name in obj.dtype.names]
        return Node("fields array", plan.type_name, (described, obj.shape), children)

    def accepts(self, node: Node, obj: Any) -> bool:
        """Say whether the live array has the saved type and shape."""
        return obj.dtype.hasobject and (self._describe(obj.dtype), obj.shape) == node.payload

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        """Pair the objects in the fields with the live ones."""
        for ref, name in zip(node.items, obj.dtype.names, strict=True):
            pairing.pair(ref, obj[name])

    def make(self, build: Build, node: Node) -> Any:
        """Return an empty array."""
        if not isinstance(node.payload, tuple) or len(node.payload) != 2:
            raise Unbuildable("the saved array is not described in full")
        shape: Any = node.payload[1]
        return np.empty(shape, self._remake(node.payload[0]))

    def put(self, obj: Any, values: list[Any]) -> None:
        """Write one field after the other."""
        for name, value in zip(obj.dtype.names, values, strict=True):
            obj[name][...] = value


class Strings(_Parts):
    """Arrays of strings of any length."""

    kind = "string array"

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node of the strings, one by one."""
        if plan.type_name != "numpy:ndarray":
            return opaque(plan.type_name, f"an array of {obj.dtype} cannot be described")
        children = [walk.ref(item) for item in obj.reshape(-1).tolist()]
        marker = getattr(obj.dtype, "na_object", _NO_MARKER)
        names: tuple[str, ...] = ()
        if marker is not _NO_MARKER:
            children.append(walk.ref(marker))
            names = ("na_object",)
        return Node("string array", plan.type_name, (obj.dtype.coerce, obj.shape), children, names)

    def accepts(self, node: Node, obj: Any) -> bool:
        """Say whether the live array has the saved type and shape."""
        if type(obj.dtype) is not _STRINGS or hasattr(obj.dtype, "na_object") != bool(node.names):
            return False
        return (obj.dtype.coerce, obj.shape) == node.payload

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        """Pair what stands for a missing string."""
        for ref in node.named.values():
            pairing.pair(ref, obj.dtype.na_object)

    def needs(self, node: Node) -> Iterable[Ref]:
        """Return what stands for a missing string."""
        return node.named.values()

    def make(self, build: Build, node: Node) -> Any:
        """Return an array of empty strings."""
        if not isinstance(node.payload, tuple) or _STRINGS is None:
            raise Unbuildable("this NumPy has no arrays of strings of any length")
        coerce, shape = node.payload
        marked = {name: build.value(ref) for name, ref in node.named.items()}
        return np.empty(shape, _STRINGS(coerce=coerce, **marked))

    def put(self, obj: Any, values: list[Any]) -> None:
        """Write the strings."""
        for index, value in zip(np.ndindex(obj.shape), values, strict=True):
            obj[index] = value


class FileMap(Codec):
    """Files that are mapped for reading: the file is not state, which part of which file is."""

    kind = "file map"
    in_place = False

    def __init__(self, describe: Callable[[Any], Payload]) -> None:
        self._describe = describe

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node of the part of a file that the array shows."""
        described = self._describe(obj.dtype)
        if obj.filename is None or not isinstance(described, str) or not obj.flags.c_contiguous:
            return Node("kept", plan.type_name)
        payload: Payload = (described, _start(obj), obj.shape)
        return Node("file map", plan.type_name, payload, [walk.ref(str(obj.filename))])

    def needs(self, node: Node) -> Iterable[Ref]:
        """Return the path."""
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        """Return the live map if it shows the same part of the file, else a new one."""
        path, live = build.value(node.children[0]), build.adopted()
        if not isinstance(node.payload, tuple) or len(node.payload) != 3:
            raise Unbuildable("the saved map is not described in full")
        described, start, shape = node.payload
        if live is not None and str(live.filename) == path and live.flags.c_contiguous:
            mine = (self._describe(live.dtype), _start(live), live.shape)
            if mine == node.payload:
                return live
        opened: Any = np.memmap
        try:
            return opened(path, np.dtype(str(described)), "r", start, shape)
        except OSError as error:
            raise Unbuildable(f"the file {path} cannot be opened again: {error}") from None


def _start(array: Any) -> int:
    """Return where in the file the array begins."""
    first = array
    while isinstance(first.base, np.memmap):
        first = first.base
    ends = (part.__array_interface__["data"][0] for part in (array, first))
    return int(first.offset + next(ends) - next(ends))


class _Masked(Codec):
    """The one masked element."""

    kind = "numpy masked"
    exact = (type(np.ma.masked),)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("numpy masked", plan.type_name)

    def make(self, build: Build, node: Node) -> Any:
        return np.ma.masked


class _Limits(Codec):
    """What number types can hold."""

    kind = "numpy limits"
    exact = (np.finfo, np.iinfo)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("numpy limits", plan.type_name, np.dtype(obj.dtype).str)

    def make(self, build: Build, node: Node) -> Any:
        return build.lookup(node.type_name)(np.dtype(str(node.payload)))


CODECS: tuple[Codec, ...] = (_Masked(), _Limits())
