"""Byte planes of numbers in Python, as `native/planes.c`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import log, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_GROUP = 64
_FEWEST, _MOST, _SHARE = 64, 256, 64


def sample_widths(data: ReadableBuffer, full: float, /) -> tuple[float, float, float, float]:
    """Estimate what share of its bytes data take in planes, coded by how often each byte occurs.

    Returns it for items of 1, 2, 4 and 8 bytes; planes of at least `full` bits per byte count as 8.
    """
    taken = _sample(_flat(data))
    one, two, four, eight = (_size(taken, width, full) for width in (1, 2, 4, 8))
    return one, two, four, eight


def sample_difference(
    data: ReadableBuffer, base: ReadableBuffer, width: int, full: float, /
) -> float:
    """Estimate in the same way what the zigzagged difference from a base takes."""
    view, before = _flat(data), _flat(base)
    _check_base(view, before)
    _check_width(width)
    return _size(_difference(_sample(view), _sample(before), width), width, full)


def split_planes(
    data: ReadableBuffer, width: int, out: WriteableBuffer, base: ReadableBuffer | None, /
) -> tuple[float, ...]:
    """Write the byte planes of data, or of their difference from a base, to `out` in order.

    Returns estimated bits per byte of each. Bytes at the end that fill no item are left out.
    """
    view, room = _flat(data), _flat(out)
    _check_width(width)
    items = len(view) // width
    whole = bytes(view[: items * width])
    if base is not None:
        before = _flat(base)
        _check_base(view, before)
        whole = _difference(whole, bytes(before[: len(whole)]), width)
    if len(room) < len(whole):
        raise ValueError("there is no room for the planes")
    bits = []
    for k in range(width):
        plane = whole[k::width]
        room[k * items : k * items + items] = plane
        bits.append(_entropy(_sample(memoryview(plane))))
    return tuple(bits)


def join_planes(
    planes: tuple[ReadableBuffer, ...], out: WriteableBuffer, base: ReadableBuffer | None, /
) -> None:
    """Write the data that these byte planes are of to `out`, which they fill."""
    room, width = _flat(out), len(planes)
    _check_width(width)
    whole = bytearray(len(room))
    for k, plane in enumerate(planes):
        view = _flat(plane)
        if len(view) * width != len(room):
            raise ValueError("the planes do not make up the whole")
        whole[k::width] = view
    if base is not None:
        before = _flat(base)
        _check_base(room, before)
        whole[:] = _sum(whole, before, width)
    room[:] = whole


def _flat(data: ReadableBuffer) -> memoryview:
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(bytearray())


def _check_width(width: int) -> None:
    if width not in (2, 4, 8):
        raise ValueError(f"items of {width} bytes have no planes")


def _check_base(view: memoryview, base: memoryview) -> None:
    if len(view) != len(base):
        raise ValueError("the base has another length")


def _sample(view: memoryview) -> bytes:
    """Groups of bytes from all over, each somewhere in its share."""
    total = len(view) // _GROUP
    wanted = min(total, max(_FEWEST, min(_MOST, total // _SHARE)))
    places = (
        g * total // wanted + (g * 0x9E3779B1 & 0xFFFFFFFF) % (total // wanted)
        for g in range(wanted)
    )
    return b"".join(view[at * _GROUP : at * _GROUP + _GROUP] for at in places)


def _size(taken: bytes, width: int, full: float) -> float:
    bits = (_entropy(taken[k::width]) for k in range(width))
    return sum(each if each < full else 8.0 for each in bits) / (8 * width)


def _entropy(taken: bytes) -> float:
    """Bits per byte; the last term is what a sample misses on average (Miller and Madow)."""
    if not taken:
        return 8.0
    total, counts = len(taken), Counter(taken)
    bits = log2(total) - sum(n * log2(n) for n in counts.values()) / total
    return min(8.0, bits + (len(counts) - 1) / (2 * log(2) * total))


class _Lanes:
    """Items side by side in one long integer, every other one, with as much room above each."""

    def __init__(self, nbytes: int, width: int) -> None:
        pairs = -(-nbytes // (2 * width))
        self.bits = 8 * width
        self.items = int.from_bytes((b"\xff" * width + bytes(width)) * pairs, "little")
        self.ones = int.from_bytes((b"\1" + bytes(2 * width - 1)) * pairs, "little")

    def difference(self, whole: int, base: int) -> int:
        d = ((whole & self.items | self.ones << self.bits) - (base & self.items)) & self.items
        return (d << 1 & self.items) ^ self._filled(d >> self.bits - 1 & self.ones)

    def sum(self, zigzagged: int, base: int) -> int:
        d = (zigzagged & self.items) >> 1 & self.items
        d ^= self._filled(zigzagged & self.ones)
        return (d + (base & self.items)) & self.items

    def _filled(self, ones: int) -> int:
        """All bits of the lanes that have a 1."""
        return (ones << self.bits) - ones


def _difference(whole: ReadableBuffer, base: ReadableBuffer, width: int) -> bytes:
    return _halves(_Lanes.difference, whole, base, width)


def _sum(whole: ReadableBuffer, base: ReadableBuffer, width: int) -> bytes:
    return _halves(_Lanes.sum, whole, base, width)


def _halves(
    what: Callable[[_Lanes, int, int], int],
    whole: ReadableBuffer,
    base: ReadableBuffer,
    width: int,
) -> bytes:
    """Do it for the items in even and then in odd places."""
    nbytes = memoryview(whole).nbytes
    lanes = _Lanes(nbytes, width)
    first, second = int.from_bytes(whole, "little"), int.from_bytes(base, "little")
    even = what(lanes, first, second)
    odd = what(lanes, first >> lanes.bits, second >> lanes.bits)
    return (even | odd << lanes.bits).to_bytes(nbytes + 2 * width, "little")[:nbytes]
