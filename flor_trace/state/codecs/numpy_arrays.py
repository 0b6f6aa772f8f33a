"""NumPy arrays, scalars and data types; views share the memory of their base."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.instances import named, pair_named, set_attributes
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.numpy_others import CODECS as OTHERS
from flor_trace.state.codecs.numpy_others import Fields, FileMap, Strings
from flor_trace.state.graph import Node, Payload, Ref
from flor_trace.state.naming import importable, lookup

#: How data types that a library added, such as bfloat16, describe themselves.
_REGISTERED = 2


def dtype_payload(dtype: np.dtype[Any]) -> Payload:
    """Return plain data from which `dtype_of` makes an equal type again."""
    if dtype.names is None and dtype.subdtype is None:
        if dtype.isbuiltin == _REGISTERED:
            return importable(dtype.type)  # NumPy itself would call it so many bytes
        return dtype.str if dtype.metadata is None else None
    described = _frozen(np.lib.format.dtype_to_descr(dtype))
    return described if _equal_when_remade(described, dtype) else None


def _equal_when_remade(described: Payload, dtype: np.dtype[Any]) -> bool:
    return bool(dtype_of(described) == dtype)


def _frozen(value: Any) -> Payload:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def dtype_of(payload: Payload) -> np.dtype[Any]:
    """Return the data type that the payload describes; raise `TypeError` if it is not one."""
    if isinstance(payload, str):
        return np.dtype(lookup(payload) if ":" in payload else payload)
    return np.lib.format.descr_to_dtype([_field(field) for field in _tuple(payload)])


def _field(field: Payload) -> Any:
    name, form, *shape = _tuple(field)
    described = form if isinstance(form, str) else [_field(part) for part in _tuple(form)]
    return (name, described, *shape)


def _tuple(payload: Payload) -> tuple[Any, ...]:
    if not isinstance(payload, tuple):
        raise TypeError(f"{payload!r} does not describe a data type")
    return payload


def owner_of(array: Any) -> Any:
    """Return the outermost array whose memory this one shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def address_of(array: Any) -> int:
    """Return where the first byte of the array is."""
    return int(array.__array_interface__["data"][0])


def flat_bytes(owner: Any) -> Any:
    """Return the memory of an array that has no gaps as bytes, or None if it has gaps."""
    plain = owner.view(np.ndarray) if type(owner) is not np.ndarray else owner
    for array in (plain, plain.T):
        if array.flags.c_contiguous:
            return array.reshape(-1).view(np.uint8)
    order = sorted(range(plain.ndim), key=lambda axis: -abs(plain.strides[axis]))
    turned = plain.transpose(order)
    return turned.reshape(-1).view(np.uint8) if turned.flags.c_contiguous else None


class _Array(Codec):
    """Arrays of every type, as a window on the buffer of the array that owns the memory."""

    kind = "array"
    also = ("object array",)
    bases = (np.ndarray,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        names: tuple[str, ...] = ()
        attributes: list[Ref] = []
        if isinstance(obj, np.memmap):
            if obj.mode == "r":
                return _FILE_MAP.capture(walk, obj, plan)
            if obj.mode != "c":
                why = "an array in a file is changed by writing to the file"
                return opaque(plan.type_name, why)
        else:
            names, attributes = named(walk, obj, plan)
        if obj.dtype.hasobject:
            return self.objects(walk, obj, plan, names, attributes)
        dtype = dtype_payload(obj.dtype)
        if dtype is None:
            return opaque(plan.type_name, f"an array of {obj.dtype} cannot be described")
        leaf, offset = memory_leaf(walk, obj)
        strides = obj.strides
        payload: Payload = (dtype, obj.shape, strides, offset, bool(obj.flags.writeable))
        return Node("array", plan.type_name, payload, attributes, names, leaf)

    def objects(
        self, walk: Walk, obj: Any, plan: Plan, names: tuple[str, ...], attributes: list[Ref]
    ) -> Node:
        """Return the node of an array of Python objects."""
        if obj.dtype != np.dtype(object):
            return (_STRINGS if obj.dtype.names is None else _FIELDS).capture(walk, obj, plan)
        children = [walk.ref(item) for item in obj.reshape(-1).tolist()]
        fortran = bool(obj.flags.f_contiguous and not obj.flags.c_contiguous)
        payload: Payload = (obj.shape, fortran)
        return Node("object array", plan.type_name, payload, children + attributes, names)

    def accepts(self, node: Node, obj: Any) -> bool:
        shape = _tuple(node.payload)[0 if node.kind == "object array" else 1]
        if obj.shape != shape or not obj.flags.writeable:
            return False
        if node.kind == "object array":
            return bool(obj.dtype == np.dtype(object))
        dtype, _, strides, offset, writeable = _tuple(node.payload)
        if not writeable or dtype_payload(obj.dtype) != dtype or obj.strides != strides:
            return False
        distance = address_of(obj) - address_of(owner_of(obj))
        return bool(distance == offset)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        if node.kind == "object array":
            for ref, item in zip(node.items, obj.reshape(-1).tolist(), strict=True):
                pairing.pair(ref, item)
        pair_named(pairing, node, obj)

    def make(self, build: Build, node: Node) -> Any:
        cls = build.lookup(node.type_name)
        if node.kind == "object array":
            shape, fortran = _tuple(node.payload)
            return np.ndarray.__new__(cls, shape, dtype=object, order="F" if fortran else "C")
        dtype, shape, strides, offset, writeable = _tuple(node.payload)
        memory = numpy_memory(build, node.leaf)
        try:
            if memory.size == 0:
                made = np.ndarray.__new__(cls, shape, dtype_of(dtype), bytearray(8), 0, strides)
            else:
                made = np.ndarray.__new__(cls, shape, dtype_of(dtype), memory, offset, strides)
        except (TypeError, ValueError) as error:
            raise Unbuildable(f"the saved array does not fit its buffer: {error}") from None
        made.flags.writeable = writeable
        return made

    def confirm(self, build: Build, node: Node, obj: Any) -> bool:
        """Write the saved bytes into the live memory, if that is there for this leaf."""
        if node.kind == "object array":
            return True
        live = flat_bytes(owner_of(obj))
        if live is None or not live.flags.writeable:
            return False
        chosen = build.memory(node.leaf)
        if chosen is not None:
            return chosen.address == address_of(live) or not live.size
        saved = build.buffer(node.leaf)
        if live.nbytes != saved.nbytes or not build.claim(node.leaf, ArrayMemory(live)):
            return False
        live[...] = np.frombuffer(saved, np.uint8)
        return True

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if node.kind == "object array":
            target = obj.view(np.ndarray)
            for index, item in zip(np.ndindex(obj.shape), build.values(node.items), strict=True):
                target[index] = item
        if isinstance(obj, np.memmap):
            obj.mode = "c"  # one of its own, which the file does not see
        else:
            set_attributes(obj, build.attributes(node.named))


class ArrayMemory:
    """The memory of a leaf as NumPy made it."""

    def __init__(self, data: Any) -> None:
        self._data = data

    @property
    def address(self) -> int:
        """Where it begins; 0 for no memory."""
        return address_of(self._data) if self._data.size else 0

    def array(self) -> Any:
        """Return the bytes."""
        return self._data


def memory_leaf(walk: Walk, array: Any) -> tuple[int, int]:
    """Return the leaf that holds the array's memory, and where in it the array begins."""
    owner = owner_of(array)
    start = address_of(owner)
    key = (start, owner.nbytes) if owner.nbytes else None
    leaf = walk.known_leaf(key) if key else None
    offset = address_of(array) - start
    if leaf is None:
        memory = flat_bytes(owner)
        if memory is None:
            walk.objects.append(owner)
            memory = np.frombuffer(owner.tobytes(), np.uint8)
        leaf = walk.leaf(memoryview(memory), key)
    return leaf, offset


def numpy_memory(build: Build, leaf: int) -> Any:
    """Return the bytes of a leaf as a writable array, the same one for all who share it."""
    memory = build.memory(leaf)
    if memory is None:
        memory = ArrayMemory(np.frombuffer(bytearray(build.buffer(leaf)), np.uint8))
        build.claim(leaf, memory)
    return memory.array()


class _Scalar(Codec):
    """Scalars of NumPy's own types."""

    kind = "numpy scalar"
    bases = (np.generic,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        dtype = dtype_payload(obj.dtype)
        if dtype is None or obj.dtype.hasobject:
            return opaque(plan.type_name, f"a scalar of {obj.dtype} cannot be described")
        return Node("numpy scalar", plan.type_name, (dtype, obj.tobytes()))

    def make(self, build: Build, node: Node) -> Any:
        dtype, data = _tuple(node.payload)
        return np.frombuffer(data, dtype_of(dtype))[0] if data else dtype_of(dtype).type()


class _DataType(Codec):
    """Data types."""

    kind = "dtype"
    bases = (np.dtype,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        payload = None if obj.hasobject and obj != np.dtype(object) else dtype_payload(obj)
        if payload is None:
            return opaque(plan.type_name, f"the data type {obj} cannot be described")
        return Node("dtype", plan.type_name, payload)

    def make(self, build: Build, node: Node) -> Any:
        return dtype_of(node.payload)

    def needs(self, node: Node) -> Iterable[Ref]:
        return ()


_FIELDS = Fields(dtype_payload, dtype_of)
_STRINGS = Strings()
_FILE_MAP = FileMap(dtype_payload)
CODECS: tuple[Codec, ...] = (
    _Array(),
    _Scalar(),
    _DataType(),
    _FIELDS,
    _STRINGS,
    _FILE_MAP,
    *OTHERS,
)
