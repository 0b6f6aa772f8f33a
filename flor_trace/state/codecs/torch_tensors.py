"""Torch tensors as windows on shared storages, with their gradients, and torch's own values."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch

from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.instances import set_attributes
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.torch_others import SPECIAL, codecs
from flor_trace.state.codecs.torch_reader import reader
from flor_trace.state.graph import Node, Payload, Ref

_DTYPE_NAMES: dict[torch.dtype, str] = {
    value: str(value).partition(".")[2]
    for value in vars(torch).values()
    if isinstance(value, torch.dtype) and not str(value).startswith(("torch.q", "torch.bits"))
}
_VALUE_TYPES = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
_KNOWN_TO_NUMPY = frozenset({torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool})
_STRIDED = torch.strided


class _Tensor(Codec):
    """Tensors and parameters; those that autograd made are saved as plain values."""

    kind = "tensor"
    also = ("detached tensor",)
    exact = (torch.Tensor, torch.nn.Parameter)

    def __init__(self) -> None:
        self.capture = reader(self.capture, _DTYPE_NAMES)  # type: ignore[assignment, method-assign]

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        dtype = _DTYPE_NAMES.get(obj.dtype)
        if dtype is None or obj.layout is not _STRIDED or obj.is_neg() or obj.is_conj():
            return SPECIAL.capture(walk, obj, plan)
        if not obj.is_cpu and obj.device.type not in ("cpu", "cuda", "mps", "xpu"):
            return opaque(plan.type_name, f"a tensor on {obj.device} has no memory to read")
        leaf = _leaf_if_real(walk, obj)
        if leaf is None:
            if obj.is_nested:
                return SPECIAL.capture(walk, obj, plan)
            return opaque(plan.type_name, "a tensor that stands for others has no memory to read")
        is_leaf = obj.is_leaf
        payload: Payload = (
            dtype,
            tuple(obj.shape),
            obj.stride(),
            obj.storage_offset(),
            is_leaf and obj.requires_grad,
            "cpu" if obj.is_cpu else str(obj.device),
        )
        children: list[Ref] = [walk.ref(obj.grad) if is_leaf else None]
        names: tuple[str, ...] = ("grad",)
        if space := obj.__dict__:
            names += tuple(space)
            children += [walk.ref(value) for value in space.values()]
        kind = "tensor" if is_leaf else "detached tensor"
        return Node(kind, plan.type_name, payload, children, names, leaf)

    def accepts(self, node: Node, obj: Any) -> bool:
        if not isinstance(node.payload, tuple) or obj.layout is not _STRIDED:
            return False
        dtype, shape, _, _, _, device = node.payload
        same_place = str(obj.device) == device
        return same_place and tuple(obj.shape) == shape and _DTYPE_NAMES[obj.dtype] == dtype

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        named = node.named
        if obj.is_leaf:
            pairing.pair(named["grad"], obj.grad)
        for name, ref in named.items():
            if name != "grad" and name in obj.__dict__:
                pairing.pair(ref, obj.__dict__[name])

    def make(self, build: Build, node: Node) -> Any:
        cls = build.lookup(node.type_name)
        made = _window(node, _storage(build, node.leaf, _parts(node)[5]))
        if cls is not torch.Tensor:
            made = made.as_subclass(cls) if not issubclass(cls, torch.nn.Parameter) else made
            if issubclass(cls, torch.nn.Parameter):
                made = cls(made, requires_grad=False)
        return made

    def confirm(self, build: Build, node: Node, obj: Any) -> bool:
        """Write the saved bytes into the live storage, if that is there for this leaf."""
        if not obj.is_leaf:
            return False
        storage = obj.untyped_storage()
        if build.memory(node.leaf) is None:
            saved = build.buffer(node.leaf)
            # The live one may be larger: what nothing shows is not saved.
            if storage.nbytes() >= saved.nbytes and build.claim(node.leaf, _Storage(storage)):
                _bytes_of(storage)[: saved.nbytes].copy_(_from_bytes(saved))
        return True

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if build.adopted() is obj:
            _move(obj, node, _storage(build, node.leaf, _parts(node)[5]))
        wanted = bool(_parts(node)[4])
        if obj.requires_grad != wanted:
            obj.requires_grad_(wanted)
        values = build.attributes(node.named)
        obj.grad = values.pop("grad", None)
        if obj.__dict__ or values:
            set_attributes(obj, values)


def _move(tensor: Any, node: Node, storage: Any) -> None:
    """Let a live tensor show the storage as the saved one did, if it does not already."""
    _, _, stride, offset, _, _ = _parts(node)
    same = tensor.untyped_storage().data_ptr() == storage.data_ptr()
    if not same or tensor.stride() != stride or tensor.storage_offset() != offset:
        tensor.data = _window(node, storage)


def _parts(node: Node) -> tuple[Any, ...]:
    if not isinstance(node.payload, tuple) or len(node.payload) != 6:
        raise Unbuildable("the saved tensor is not described in full")
    return node.payload


class _Storage:
    """A torch storage as the memory of a leaf that NumPy arrays may share."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    @property
    def address(self) -> int:
        return int(self.storage.data_ptr())

    def array(self) -> Any:
        return _bytes_of(self.storage).numpy()


def _bytes_of(storage: Any) -> Any:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _from_bytes(data: Any) -> Any:
    if not len(data):
        return torch.empty(0, dtype=torch.uint8)
    # A bytearray, because torch wants to be able to write to what it shares.
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _storage(build: Build, leaf: int, device: str) -> Any:
    memory = build.memory(leaf)
    if memory is None:
        data = _from_bytes(build.buffer(leaf)).to(device)
        memory = _Storage(data.untyped_storage())
        build.claim(leaf, memory)
    if isinstance(memory, _Storage):
        return memory.storage
    return torch.from_numpy(memory.array()).untyped_storage()


def _window(node: Node, storage: Any) -> Any:
    dtype, shape, stride, offset, _, device = _parts(node)
    try:
        empty = torch.empty(0, dtype=getattr(torch, dtype), device=device)
        return empty.set_(storage, offset, shape, stride)
    except (RuntimeError, TypeError) as error:
        raise Unbuildable(f"the saved tensor does not fit its buffer: {error}") from None


def _leaf_if_real(walk: Walk, tensor: Any) -> int | None:
    """Return the leaf, None for the tensors without values that exporters and compilers keep."""
    try:
        if tensor.untyped_storage().device.type != tensor.device.type:
            return None
        return _storage_leaf(walk, tensor)
    except RuntimeError:
        return None


def _storage_leaf(walk: Walk, tensor: Any) -> int:
    storage = tensor.untyped_storage()
    size = storage.nbytes()
    key = (storage.data_ptr(), size) if size else None
    known = walk.known_leaf(key) if key else None
    if known is not None:
        if known in walk.shown:
            walk.shown[known] = max(walk.shown[known], _end(tensor))
        return known
    if size == tensor.nbytes and size and tensor.is_cpu and tensor.dtype in _KNOWN_TO_NUMPY:
        # The usual case, in half the time: the tensor shows all of its storage.
        plain = tensor.data if tensor.requires_grad else tensor
        if plain.is_contiguous():
            return walk.leaf(memoryview(plain.numpy()).cast("B"), key)
    leaf = walk.leaf(memoryview(_bytes_of(storage).cpu().numpy()), key)
    if size > tensor.nbytes:
        walk.shown[leaf] = _end(tensor)
    return leaf


def _end(tensor: Any) -> int:
    """Return how far into its storage the tensor reaches, in bytes."""
    if not tensor.numel():
        return 0
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return int((tensor.storage_offset() + last + 1) * tensor.element_size())


class _UntypedStorage(Codec):
    """Storages that are referred to by themselves, as quantized tensors do."""

    kind = "torch storage"
    exact = (torch.UntypedStorage,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        leaf = _storage_leaf(walk, _bytes_of(obj))
        return Node("torch storage", plan.type_name, str(obj.device), [], (), leaf)

    def make(self, build: Build, node: Node) -> Any:
        return _storage(build, node.leaf, str(node.payload))


class _Value(Codec):
    """Data types, layouts, memory formats: by name."""

    kind = "torch name"
    exact = _VALUE_TYPES
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("torch name", plan.type_name, str(obj).partition(".")[2])

    def make(self, build: Build, node: Node) -> Any:
        return getattr(torch, str(node.payload))


class _Device(Codec):
    """Devices."""

    kind = "torch device"
    exact = (torch.device,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("torch device", plan.type_name, str(obj))

    def make(self, build: Build, node: Node) -> Any:
        return torch.device(str(node.payload))


class _Size(Codec):
    """Shapes."""

    kind = "torch size"
    exact = (torch.Size,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("torch size", plan.type_name, None, [walk.ref(int(n)) for n in obj])

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        return torch.Size(build.values(node.children))


class _Generator(Codec):
    """Torch's random generators."""

    kind = "torch generator"
    exact = (torch.Generator,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        leaf = walk.leaf(memoryview(obj.get_state().numpy()))
        return Node("torch generator", plan.type_name, str(obj.device), [], (), leaf)

    def accepts(self, node: Node, obj: Any) -> bool:
        return bool(str(obj.device) == node.payload)

    def make(self, build: Build, node: Node) -> Any:
        return torch.Generator(device=str(node.payload))

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        state = _from_bytes(build.buffer(node.leaf))
        build.at_end(lambda: obj.set_state(state))


def default_generators() -> dict[str, Any]:
    """Return torch's process-wide generators by root name: of the CPU, and of devices in use."""
    found = {"rng:torch": torch.default_generator}
    if "torch.cuda" in sys.modules and torch.cuda.is_initialized():
        for index, generator in enumerate(torch.cuda.default_generators):
            found[f"rng:torch.cuda{index}"] = generator
    return found


_TENSOR = _Tensor()
CODECS: tuple[Codec, ...] = (
    *codecs(_TENSOR),
    _TENSOR,
    _UntypedStorage(),
    _Value(),
    _Device(),
    _Size(),
    _Generator(),
)
