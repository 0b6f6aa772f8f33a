"""Torch tensors without plain memory of their own: sparse, quantized, lazy, and wrappers."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.instances import set_attributes
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.reduced import ReducedCodec
from flor_trace.state.graph import Node, Payload

#: They compute with shapes instead of numbers, for compilers and exporters.
_STAND_INS = ("torch._subclasses", "torch._dynamo", "torch.fx")
_ITS_OWN_ACCOUNT = frozenset({"torch.nested._internal.nested_tensor:NestedTensor"})
_PYTHON = torch._C.DispatchKey.Python


class Special(ReducedCodec):
    """Tensors that torch takes apart itself: sparse, quantized, conjugated, negated, nested."""

    kind = "special tensor"

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node of torch's own account of the tensor, and of its gradient."""
        if obj.is_mkldnn:
            return opaque(plan.type_name, "a tensor in the layout of oneDNN has no memory to read")
        node = super().capture(walk, obj.detach() if not obj.is_leaf else obj, plan)
        if node.kind == "reduced":
            node.kind = self.kind
            node.names += ("grad",)
            node.children.append(walk.ref(obj.grad if obj.is_leaf else None))
        return node

    def accepts(self, node: Node, obj: Any) -> bool:
        """Say whether the live tensor can be told to be the saved one."""
        return bool(obj.is_leaf)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        """Pair the parts and the gradient."""
        super().pair(pairing, node, obj)
        pairing.pair(node.named["grad"], obj.grad)

    def complete(self, made: Any, parts: dict[str, Any]) -> Any:
        """Give the tensor its gradient."""
        made.grad = parts["grad"]
        return super().complete(made, parts)

    def make(self, build: Build, node: Node) -> Any:
        """Return the live tensor with the saved contents, or a new one."""
        made = super().make(build, node)
        live = build.adopted()
        if live is None or live.layout != made.layout:
            return made
        try:
            live.grad = None
            live.data = made.detach()
            live.requires_grad_(made.requires_grad)
            live.grad = made.grad
        except RuntimeError:
            return made  # of another type inside, which no live tensor can take on
        return live


class _Subclass(Codec):
    """Tensors of classes with code of their own, which is not asked while the program runs."""

    kind = "wrapper tensor"
    bases = (torch.Tensor, torch.nn.Parameter)

    def __init__(self, plain: Codec) -> None:
        self._plain = plain

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        with torch._C.DisableTorchFunctionSubclass():
            if not torch._C._dispatch_keys(obj).has(_PYTHON):
                return self._plain.capture(walk, obj, plan)
            if plan.type_name in _ITS_OWN_ACCOUNT:
                return SPECIAL.capture(walk, obj, plan)
            if plan.type_name.startswith(_STAND_INS):
                why = "a tensor that stands for others has no memory to read"
                return opaque(plan.type_name, why)
            return self.wrapper(walk, obj, plan)

    def wrapper(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node of a tensor that is made of the tensors in its attributes."""
        with torch._C._DisableTorchDispatch():
            try:
                shape, strides = tuple(obj.shape), tuple(obj.stride())
            except RuntimeError as error:
                return opaque(plan.type_name, f"its shape cannot be read: {error}")
        if {type(n) for n in (*shape, *strides)} - {int}:
            return opaque(plan.type_name, "a tensor whose shape is not yet known")
        wanted = obj.is_leaf and obj.requires_grad
        dtype = str(obj.dtype).partition(".")[2]
        payload: Payload = (dtype, shape, strides, str(obj.device), wanted)
        held = {"grad": obj.grad if obj.is_leaf else None, **obj.__dict__}
        refs = [walk.ref(value) for value in held.values()]
        return Node("wrapper tensor", plan.type_name, payload, refs, tuple(held))

    def accepts(self, node: Node, obj: Any) -> bool:
        if not isinstance(node.payload, tuple) or not obj.is_leaf:
            return False
        dtype, shape, _, device, _ = node.payload
        mine = str(obj.dtype).partition(".")[2], tuple(obj.shape), str(obj.device)
        return mine == (dtype, shape, device)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for name, ref in node.named.items():
            pairing.pair(ref, obj.grad if name == "grad" else obj.__dict__.get(name))

    def make(self, build: Build, node: Node) -> Any:
        if not isinstance(node.payload, tuple) or len(node.payload) != 5:
            raise Unbuildable("the saved tensor is not described in full")
        dtype, shape, strides, device, _ = node.payload
        make: Any = torch.Tensor._make_wrapper_subclass
        cls = build.lookup(node.type_name)
        return make(cls, shape, strides, dtype=getattr(torch, str(dtype)), device=device)

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        values = build.attributes(node.named)
        grad = values.pop("grad", None)
        set_attributes(obj, values)
        assert isinstance(node.payload, tuple)
        obj.requires_grad = bool(node.payload[4])
        obj.grad = grad


class _Unready(Codec):
    """Parameters and buffers that lazy modules give their shape in the first step."""

    kind = "uninitialized tensor"
    exact = (UninitializedParameter, UninitializedBuffer)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        with torch._C.DisableTorchFunctionSubclass():
            data = obj.data
            payload = (str(data.dtype).partition(".")[2], str(data.device), obj.requires_grad)
        held = obj.__dict__
        refs = [walk.ref(value) for value in held.values()]
        return Node("uninitialized tensor", plan.type_name, payload, refs, tuple(held))

    def make(self, build: Build, node: Node) -> Any:
        dtype, device, wanted = _described(node)
        kind = getattr(torch, str(dtype))
        return build.lookup(node.type_name)(wanted, device=device, dtype=kind)

    def accepts(self, node: Node, obj: Any) -> bool:
        with torch._C.DisableTorchFunctionSubclass():
            mine = str(obj.data.dtype).partition(".")[2], str(obj.data.device)
        return mine == _described(node)[:2]

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        with torch._C.DisableTorchFunctionSubclass():
            obj.requires_grad_(bool(_described(node)[2]))
        set_attributes(obj, build.attributes(node.named))


def _described(node: Node) -> tuple[Any, ...]:
    if not isinstance(node.payload, tuple) or len(node.payload) != 3:
        raise Unbuildable("the saved tensor is not described in full")
    return node.payload


class _Limits(Codec):
    """What the number types can hold: by the name of the type."""

    kind = "torch limits"
    exact = (torch.finfo, torch.iinfo)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("torch limits", plan.type_name, str(obj.dtype))

    def make(self, build: Build, node: Node) -> Any:
        cls = build.lookup(node.type_name)
        return cls(getattr(torch, str(node.payload)))


SPECIAL = Special()


def codecs(plain: Codec) -> tuple[Codec, ...]:
    """Return the codecs of these tensors; `plain` is the one for tensors with memory."""
    return (SPECIAL, _Subclass(plain), _Unready(), _Limits())
