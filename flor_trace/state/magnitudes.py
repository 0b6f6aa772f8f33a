"""How large an array is, and by how much two differ, in words."""

from __future__ import annotations

from typing import Any

from flor_trace.state.graph import PACKED_GRAPH, PACKED_VALUE, Leaf, Node, Payload


def size(node: Node) -> str:
    """Return the shape and type of an array, the length of a container, a short value, or ''."""
    if node.kind in ("tensor", "detached tensor", "array") and isinstance(node.payload, tuple):
        dtype, shape = node.payload[:2]
        return f"{dtype!s}{list(shape) if isinstance(shape, tuple) else shape!s}"
    if node.kind.startswith("packed") and isinstance(node.payload, tuple):
        whole = node.kind in (PACKED_GRAPH, PACKED_VALUE)
        return f"of {node.payload[0]!s} values" if whole else f"of {node.payload[1]!s} elements"
    if node.kind == "dict":
        return f"of {len(node.items) // 2} keys"
    if node.kind in ("list", "tuple", "set", "frozenset", "deque"):
        return f"of {len(node.items)} elements"
    if node.kind in ("value", "enum", "torch name", "torch device", "class", "module", "function"):
        return _short(node.payload)
    return ""


def _short(payload: Payload) -> str:
    if isinstance(payload, tuple) and payload:
        payload = payload[0]
    return "" if payload is None else str(payload)


def difference(one: Node, other: Node, before: Leaf, after: Leaf) -> str:
    """Return how far two arrays are apart; only their sizes if their bytes are not at hand."""
    if size(one) != size(other):
        return f"{size(one)} -> {size(other)}"
    if isinstance(before, memoryview) and isinstance(after, memoryview):
        arrays = _numbers(one, before), _numbers(other, after)
        if arrays[0] is not None and arrays[1] is not None and arrays[0].size == arrays[1].size:
            return f"{size(one)}, {_apart(*arrays)}".removeprefix(", ")
    return size(one)


def _apart(one: Any, other: Any) -> str:
    import numpy as np  # noqa: PLC0415

    with np.errstate(all="ignore"):
        gap = np.abs(one.astype("f8") - other.astype("f8"))
    moved = int(np.count_nonzero(one.view(f"u{one.itemsize}") != other.view(f"u{one.itemsize}")))
    known = gap[np.isfinite(gap)]
    largest = float(known.max()) if known.size else float("nan")
    return f"{moved} of {one.size} differ, by at most {largest:.3g}"


def _numbers(node: Node, data: memoryview) -> Any:
    """Return the buffer as a flat array of its numbers, or None if it does not hold numbers."""
    import numpy as np  # noqa: PLC0415

    name = node.payload[0] if isinstance(node.payload, tuple) and node.payload else None
    if name == "U":
        return None
    if name == "bfloat16":
        return (np.frombuffer(data, "u2").astype("u4") << 16).view("f4")
    try:
        dtype = np.dtype(str(name))
    except TypeError:
        return None
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or data.nbytes % dtype.itemsize:
        return None
    return np.frombuffer(data, dtype)
