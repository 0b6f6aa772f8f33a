"""Finds the slots through which C reads torch's tensors, and makes the reader of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from flor_trace._speedups import NATIVE, TensorReader
from flor_trace.state.codecs.base import Plan, Walk
from flor_trace.state.graph import Node

_SLOTS = ("grad", "requires_grad", "is_leaf", "dtype", "layout", "is_cpu", "shape")
_METHODS = ("is_neg", "is_conj", "stride", "storage_offset", "untyped_storage")
_OF_STORAGE = ("nbytes", "data_ptr")

Capture = Callable[[Walk, Any, Plan], Node]


def exchange() -> Any:
    """Return the capsule of DLPack's C exchange interface, or None where torch has none."""
    return getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)


def parts(fallback: Capture, dtypes: dict[torch.dtype, str]) -> dict[str, Any]:
    """Return what the reader reads by; raises `KeyError` when this torch has something else."""
    base = vars(torch._C.TensorBase)
    storage = vars(torch._C.StorageBase)
    return {
        **{name: base[name] for name in (*_SLOTS, *_METHODS)},
        "tensor_nbytes": base["nbytes"],
        **{name: storage[name] for name in _OF_STORAGE},
        "node": Node,
        "types": (torch.Tensor, torch.nn.Parameter),
        "dtypes": dtypes,
        "strided": torch.strided,
        "fallback": fallback,
    }


def reader(fallback: Capture, dtypes: dict[torch.dtype, str]) -> Capture:
    """Return what captures a tensor as `fallback` does, faster where C and this torch allow it."""
    if not NATIVE:
        return fallback
    try:
        return TensorReader(parts(fallback, dtypes), exchange())
    except (AttributeError, KeyError, TypeError, ValueError):
        return fallback  # a torch whose insides are other ones
