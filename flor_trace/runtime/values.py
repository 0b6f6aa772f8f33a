"""Read the scalars that an iteration stored, and nothing that would cost or disturb it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from flor_trace.hints import Any
from flor_trace.runtime.tracers import torch_intercepts
from flor_trace.types import Scalar

#: Longer strings are texts, not values.
MAX_STRING = 1024

#: Longer integers are data: Python may refuse to print them, and a journal to hold them.
MAX_INTEGER_BITS = 2048

_PLAIN = frozenset({bool, int, float})
_TEXTS = frozenset({int, str})  #: types of which a value may be too long to be a scalar


def scalar(value: Any) -> Scalar | None:
    """The scalar that `value` is or holds, else None.

    Numbers of numpy and 0-d arrays and CPU tensors give their item; nothing is moved from an
    accelerator, and no method of a class of the program is called.
    """
    kind = type(value)
    if kind is float or kind is bool:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return value if value.bit_length() <= MAX_INTEGER_BITS else None
    if kind is str:
        return value if len(value) <= MAX_STRING else None
    module = kind.__module__
    if type(module) is not str:  # whatever a class of the program may have put there
        return None
    reader = _READERS.get(module.partition(".")[0])
    return reader(value) if reader is not None else None


def read(value: Any) -> Any:
    """As `scalar`, but NotImplemented where no value of that type can ever be or hold one."""
    found = scalar(value)
    if found is not None or type(value) in _TEXTS:
        return found
    module = type(value).__module__
    known = type(module) is str and module.partition(".")[0] in _READERS
    return None if known else NotImplemented


def _from_numpy(value: Any) -> Scalar | None:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.generic) or (type(value) is numpy.ndarray and value.ndim == 0):
        return _item(value)
    return None


def _from_torch(value: Any) -> Scalar | None:
    torch = sys.modules.get("torch")
    if torch is None or type(value) not in (torch.Tensor, torch.nn.Parameter):
        return None
    if torch_intercepts():
        return None
    if value.ndim or value.device.type != "cpu" or value.layout is not torch.strided:
        return None
    return _item(value)


def _item(value: Any) -> Scalar | None:
    item = value.item()
    return scalar(item) if type(item) in _PLAIN or type(item) is str else None


_READERS: dict[str, Callable[[Any], Scalar | None]] = {"numpy": _from_numpy, "torch": _from_torch}
