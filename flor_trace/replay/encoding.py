"""Turn what a probe gives into what a journal can hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from flor_trace.errors import ProbeError
from flor_trace.runtime.values import MAX_STRING, scalar
from flor_trace.types import ChunkWriter

#: Of numpy: numbers, texts, dates.  The others are not what their dtype's short name says.
_KINDS = "biufcSUMm"


def encode_value(value: Any, store: ChunkWriter) -> Any:
    """The journal's form of a number, text or array; arrays go to the store.

    Raises:
        ProbeError: for any other kind of value.

    """
    if value is None:
        return None
    item = scalar(value)
    if item is not None:
        return item
    if isinstance(value, str):
        return f"{value[:MAX_STRING]}… ({len(value)} characters)"
    array = _as_array(value)
    if array is not None and array.ndim == 0:
        item = scalar(array[()])
        if item is not None:
            return item
    if array is None or array.dtype.kind not in _KINDS:
        raise ProbeError(
            f"the probe gave a {type(value).__module__}.{type(value).__qualname__}; give a number, "
            "a text or an array (for example .tolist(), .to_numpy() or len(...))"
        )
    address = store.put(array.tobytes())
    return {"$": "ndarray", "at": address, "dtype": array.dtype.str, "shape": list(array.shape)}


def encode_error(error: BaseException) -> dict[str, str]:
    """The journal's form of an exception that a probe raised."""
    return {"$": "error", "text": f"{type(error).__name__}: {error}"}


def _as_array(value: Any) -> Any:
    import numpy as np  # noqa: PLC0415

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        if tensor.dtype is torch.bfloat16:  # numpy has no such type; float32 holds it exactly
            tensor = tensor.float()
        return tensor.resolve_conj().resolve_neg().numpy()
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list | tuple) and value and _regular(value):
        kinds = {isinstance(leaf, str) for leaf in _leaves(value)}
        return np.asarray(_plain(value)) if len(kinds) == 1 else None
    return None


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else scalar(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _regular(value: Any) -> bool:
    """Whether nested lists have one shape and plain leaves."""
    if not isinstance(value, list | tuple):
        return scalar(value) is not None
    if not all(_regular(item) for item in value):
        return False
    return len({len(item) if isinstance(item, list | tuple) else -1 for item in value}) == 1
