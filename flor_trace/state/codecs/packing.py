"""Long sequences of plain numbers or strings as one buffer."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Unbuildable
from flor_trace.state.codecs.values import LONG

#: Sequences at least this long are packed when all elements are of one of these types.
PACK_FROM: Final = 32

_NAN: Final = float("nan")


def pack(items: Sequence[Any], prefixes: tuple[str, ...]) -> tuple[str, memoryview] | None:
    """Return a type code and the elements as bytes, or None when they are not all of one kind.

    ``d`` is for floats, ``q`` for ints of at most 64 bits, ``U`` for short strings none of which
    begins with one of `prefixes`.
    """
    kind = type(items[0])
    packer = _PACKERS.get(kind)
    if packer is None or set(map(type, items)) != {kind}:
        return None
    return packer(items, prefixes)


def _floats(items: Sequence[float], _: tuple[str, ...]) -> tuple[str, memoryview]:
    packed = array("d", items)
    if math.isnan(sum(map(abs, items))):
        packed = array("d", [_NAN if item != item else item for item in items])
    return "d", memoryview(packed).cast("B")


def _ints(items: Sequence[int], _: tuple[str, ...]) -> tuple[str, memoryview] | None:
    try:
        return "q", memoryview(array("q", items)).cast("B")
    except OverflowError:
        return None


def _strings(items: Sequence[str], prefixes: tuple[str, ...]) -> tuple[str, memoryview] | None:
    if max(map(len, items)) > LONG or (prefixes and any(s.startswith(prefixes) for s in items)):
        return None
    lengths = array("q", map(len, items))
    text = "".join(items).encode("utf-8", "surrogatepass")
    return "U", memoryview(lengths.tobytes() + text)


_Packer = Callable[[Any, tuple[str, ...]], tuple[str, memoryview] | None]
_PACKERS: Final[dict[type, _Packer]] = {float: _floats, int: _ints, str: _strings}


def unpack(code: object, count: object, data: memoryview) -> list[Any]:
    """Return the elements; raise `Unbuildable` when the bytes do not hold that many."""
    if not isinstance(count, int) or code not in ("d", "q", "U"):
        raise Unbuildable(f"packed elements of type {code!r} are not known")
    numbers = array("q" if code == "U" else str(code))
    try:
        numbers.frombytes(data[: 8 * count])
        if len(numbers) != count:
            raise ValueError("the buffer is too short")
        return _split(numbers, data[8 * count :]) if code == "U" else numbers.tolist()
    except ValueError as error:
        raise Unbuildable(f"the packed elements are damaged: {error}") from None


def _split(lengths: array[int], data: memoryview) -> list[str]:
    text = str(data, "utf-8", "surrogatepass")
    return [text[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]
