"""Numbers as byte planes, by themselves or as their difference from earlier ones.

The layout is described in ``docs/formats.md``, section Planes.
"""

from __future__ import annotations

import struct
from io import BytesIO

from flor_trace._speedups import join_planes, sample_difference, sample_widths, split_planes
from flor_trace.errors import ChunkDamaged
from flor_trace.store.zstd import LARGEST_RATIO, Compressors, decompress

#: Planes are those of so many bytes at a time.
PIECE = 1 << 20
WIDTHS = (2, 4, 8)

#: Planes with more bits per byte than this are stored as they are.
_FULL = 7.6
#: Numbers must be so much smaller in planes than bytes are by themselves.
_WORTH_SPLITTING = 0.97
#: A difference must be so much smaller than the planes: reading it takes the base too.
_WORTH_SUBTRACTING = 0.9

Body = list[bytes | memoryview]


class Splitter:
    """Writes planes, for one thread at a time; what it returns is good until its next call."""

    def __init__(self, compressors: Compressors) -> None:
        self._compressors = compressors
        self._room = bytearray()

    def split(self, data: memoryview, width: int, base: memoryview | None) -> Body:
        """Return the planes of the data, or of their difference from a base, as stored."""
        end = len(data) - len(data) % width
        if len(self._room) < end:
            self._room = bytearray(end)
        room = memoryview(self._room)
        lengths: list[int] = []
        body: Body = []
        for start in range(0, end, PIECE):
            stop = min(start + PIECE, end)
            before = None if base is None else base[start:stop]
            planes = room[start:stop]
            bits = split_planes(data[start:stop], width, planes, before)
            self._add(planes, bits, lengths, body)
        table = struct.pack(f"<B{len(lengths)}I", width, *lengths)
        return [table, *body, data[end:]]

    def _add(
        self, planes: memoryview, bits: tuple[float, ...], lengths: list[int], body: Body
    ) -> None:
        """Add the planes of a piece; those side by side that stay as they are, as one part."""
        items = len(planes) // len(bits)
        raw_from: int | None = None
        for k, each in enumerate(bits):
            plane = planes[k * items : (k + 1) * items]
            frame = self._compressors.compress_plane(plane, each) if each < _FULL else plane
            if len(frame) >= items:
                lengths.append(items)
                raw_from = k * items if raw_from is None else raw_from
                continue
            lengths.append(len(frame))
            if raw_from is not None:
                body.append(planes[raw_from : k * items])
                raw_from = None
            body.append(frame)
        if raw_from is not None:
            body.append(planes[raw_from:])


def find_width(data: memoryview) -> tuple[int, float]:
    """Return the width of the numbers that the data seem to be, and their size in planes.

    The size is the estimated share of the bytes. The width is 0 for what planes make no smaller.
    """
    whole, *sizes = sample_widths(data, _FULL)
    least = min(sizes)
    if least > _WORTH_SPLITTING * whole:
        return 0, whole
    # The narrowest that is about as good: the planes of a wider one are only more.
    return next(
        (width, size) for width, size in zip(WIDTHS, sizes, strict=True) if size <= least + 0.01
    )


def pays_to_subtract(data: memoryview, base: memoryview, width: int, size: float) -> bool:
    """Return whether a sample of the difference is much smaller than planes of that size."""
    return sample_difference(data, base, width, _FULL) < _WORTH_SUBTRACTING * size


def join(body: memoryview, raw_length: int, base: bytes | None) -> bytes:
    """Return the data that `split` has stored; raise `ChunkDamaged`."""
    if not body or body[0] not in WIDTHS or raw_length > len(body) * LARGEST_RATIO:
        raise ChunkDamaged("its planes cannot be of numbers")
    width = body[0]
    end = raw_length - raw_length % width
    count = -(-end // PIECE) * width
    position = 1 + 4 * count
    if len(body) < position:
        raise ChunkDamaged("the table of its planes is cut off")
    lengths = struct.unpack_from(f"<{count}I", body, 1)
    if position + sum(lengths) + raw_length - end != len(body):
        raise ChunkDamaged("its planes have other lengths than their table says")
    # A buffer whose contents can be taken out of it without copying them.
    whole = BytesIO(bytes(raw_length))
    with whole.getbuffer() as out:
        before = None if base is None else memoryview(base)
        for number, start in enumerate(range(0, end, PIECE)):
            stop = min(start + PIECE, end)
            taken = lengths[number * width : (number + 1) * width]
            planes = _planes(body, position, taken, (stop - start) // width)
            join_planes(planes, out[start:stop], None if before is None else before[start:stop])
            position += sum(taken)
        out[end:] = body[position:]
    return whole.getvalue()


def _planes(
    body: memoryview, position: int, lengths: tuple[int, ...], items: int
) -> tuple[bytes | memoryview, ...]:
    """Return the planes of one piece."""
    planes: list[bytes | memoryview] = []
    for length in lengths:
        if length > items:
            raise ChunkDamaged(f"a plane of {items} bytes takes {length}")
        stored = body[position : position + length]
        planes.append(stored if length == items else decompress(stored, items))
        position += length
    return tuple(planes)
