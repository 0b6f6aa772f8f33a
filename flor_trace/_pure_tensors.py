"""The stand-ins for the C capture of tensors: what it does faster is done by the codec itself."""

from __future__ import annotations

from collections.abc import Callable

from flor_trace.hints import Any

#: Live memory as a leaf of a graph.  Only C makes others than these.
Span = memoryview


class TensorReader:
    """Captures a tensor as ``parts["fallback"]`` does; `exchange` is of no use here."""

    __slots__ = ("_fallback",)

    def __init__(self, parts: dict[str, Any], exchange: Any, /) -> None:
        self._fallback: Callable[[Any, Any, Any], Any] = parts["fallback"]

    def __call__(self, walk: Any, tensor: Any, plan: Any, /) -> Any:
        """Return the node of the tensor."""
        return self._fallback(walk, tensor, plan)
