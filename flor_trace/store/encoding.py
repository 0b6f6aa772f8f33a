"""Choosing how a chunk is stored, from samples of its bytes."""

from __future__ import annotations

from flor_trace._speedups import digest_many
from flor_trace.hints import NamedTuple
from flor_trace.store import planes
from flor_trace.store.framing import (
    BLOCK,
    DIFFERENCE,
    PARTS,
    PLANES,
    RAW,
    ZSTD,
    Base,
    Buffer,
    Key,
    base_of,
    flat,
    header_for,
    key_for,
    make_key,
)
from flor_trace.store.zstd import WORTH, Compressors

#: Shorter data are not looked at as numbers: what planes save does not cover their cost.
_SMALLEST_NUMBERS = 8 << 10
#: Where the bytes of two blocks are compared before all of them are.
_PROBE = 64


class Numbers(NamedTuple):
    """What data seem to be: numbers of some width, or anything else if that is 0."""

    width: int
    size: float  #: of their planes, as a share of the bytes

    @classmethod
    def among(cls, data: memoryview) -> Numbers:
        """Find out by a sample."""
        if len(data) < _SMALLEST_NUMBERS:
            return NOTHING
        return cls(*planes.find_width(data))

    def pays_to_subtract(self, data: memoryview, base: memoryview) -> bool:
        """Return whether the difference from as many bytes is much smaller than the planes."""
        return self.width > 0 and planes.pays_to_subtract(data, base, self.width, self.size)


#: Bytes that are stored in no special way.
NOTHING = Numbers(0, 1.0)


class Encoded(NamedTuple):
    """A chunk as it is written; its parts are good until the next one is encoded."""

    header: bytes
    body: list[bytes | memoryview]
    length: int  #: of the body
    depth: int  #: how many other chunks it needs, one after the other


class Encoder:
    """Encodes chunks, for one thread at a time; reuses memory that is costly to get."""

    def __init__(self) -> None:
        self._compressors = Compressors()
        self._splitter = planes.Splitter(self._compressors)

    def encode(
        self, data: memoryview, key: Key, numbers: Numbers, base: Base | None, depth: int
    ) -> Encoded:
        """Return a chunk: a difference from a base of that depth, if there is one and it pays."""
        if not numbers.width:
            frame = self._compressors.compress(data)
            return raw(data, key) if frame is None else _encoded(ZSTD, key, [frame])
        if base is not None and numbers.pays_to_subtract(data, base.data):
            body = self._splitter.split(data, numbers.width, base.data)
            found = _encoded(DIFFERENCE, key, [base_of(depth + 1, base.key), *body], depth + 1)
        else:
            found = _encoded(PLANES, key, self._splitter.split(data, numbers.width, None))
        return found if found.length <= (1 - WORTH) * len(data) else raw(data, key)


def raw(data: memoryview, key: Key) -> Encoded:
    """Return a chunk with the bytes as they are."""
    return _encoded(RAW, key, [data])


def parts(key: Key, blocks: list[Key]) -> Encoded:
    """Return a chunk that says of which others it is made."""
    return _encoded(PARTS, key, [b"".join(blocks)])


def _encoded(codec: int, key: Key, body: list[bytes | memoryview], depth: int = 0) -> Encoded:
    length = sum(map(len, body))
    return Encoded(header_for(codec, key, length), body, length, depth)


def frame(data: Buffer) -> bytes:
    """Return the header and the stored bytes of a chunk that needs no other, in one piece."""
    view = flat(data)
    encoded = Encoder().encode(view, key_for(view), Numbers.among(view), None, 0)
    return b"".join([encoded.header, *encoded.body])


def blocks_of(data: memoryview) -> list[memoryview]:
    """Return the parts of the data."""
    return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]


def keys_for(blocks: list[memoryview]) -> list[Key]:
    """Return the lookup keys that blocks give."""
    found = zip(blocks, digest_many(blocks), strict=True)
    return [make_key(len(block), contents) for block, contents in found]


def equal_blocks(data: memoryview, base: memoryview) -> int:
    """Return how many blocks are the same as those in the same place of the base."""
    likely = [
        pair
        for pair in zip(blocks_of(data), blocks_of(base), strict=False)
        if len(pair[0]) == len(pair[1]) and _probe(pair[0]) == _probe(pair[1])
    ]
    first = digest_many([block for block, _ in likely])
    second = digest_many([block for _, block in likely])
    return sum(map(bytes.__eq__, first, second))


def _probe(block: memoryview) -> bytes:
    middle = len(block) // 2
    return b"".join((block[:_PROBE], block[middle : middle + _PROBE], block[-_PROBE:]))
