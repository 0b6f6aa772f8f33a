"""The bytes of one chunk: a fixed header, then the contents, compressed where that pays.

The layout is described in ``docs/formats.md``, section Chunk.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO

from flor_trace._speedups import digest
from flor_trace.errors import ChunkDamaged, ChunkMissing
from flor_trace.hints import NamedTuple, NewType
from flor_trace.records import dataclass
from flor_trace.store import planes
from flor_trace.store.zstd import decompress
from flor_trace.types import Address, Digest

MAGIC = b"\x89FLc"
BLOB = 1
RAW, ZSTD, PLANES, DIFFERENCE, PARTS = range(5)

_FIELDS = struct.Struct("<4sBBHQQ16s")
_CRC = struct.Struct("<I")
HEADER_SIZE = _FIELDS.size + _CRC.size

#: What a chunk is looked up by: its digest, then its raw length as 8 little-endian bytes.
Key = NewType("Key", bytes)
KEY_SIZE = 24

#: Parts are chunks of so many bytes; the last one has what is left.
BLOCK = 1 << 20
#: A difference may need so many other chunks of its writer, one after the other.
DEEPEST = 8
#: Reading may need more, as a store can have another writer's form of a chunk.
LONGEST_CHAIN = 50
_BASE = struct.Struct(f"<B{KEY_SIZE}s")

_ADDRESS = re.compile(r"(0|[1-9][0-9]{0,18})-([0-9a-f]{32})", re.ASCII)

Buffer = bytes | bytearray | memoryview

#: Gets a chunk that another one needs, given how many more, one after the other, that may need.
Fetch = Callable[[Key, int], bytes]


class Base(NamedTuple):
    """What was stored before in the place of a chunk that is about to be stored."""

    key: Key
    data: memoryview  #: the same bytes, which do not change while the new chunk is stored


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the stored bytes of a chunk."""

    codec: int
    raw_length: int
    stored_length: int
    digest: Digest

    @property
    def key(self) -> Key:
        """What the chunk is looked up by."""
        return make_key(self.raw_length, self.digest)

    @property
    def address(self) -> Address:
        """The name of the chunk."""
        return address_of(self.key)


def make_key(raw_length: int, contents: bytes) -> Key:
    """Return the lookup key for a raw length and a digest."""
    return Key(contents + raw_length.to_bytes(8, "little"))


def length_of(key: Key) -> int:
    """Return the raw length in a lookup key."""
    return int.from_bytes(key[16:], "little")


def digest_of(key: Key) -> Digest:
    """Return the digest in a lookup key."""
    return Digest(key[:16])


def address_of(key: Key) -> Address:
    """Return the address that a lookup key stands for."""
    return Address(f"{length_of(key)}-{digest_of(key).hex()}")


def key_of(address: Address) -> Key:
    """Return the lookup key of an address; raise `ChunkMissing` if it is not one."""
    match = _ADDRESS.fullmatch(address)
    if match is None or (length := int(match[1])) >= 1 << 63:
        raise ChunkMissing(
            f"{address[:80]!r} is not the address of a chunk, which would look like 12-<32 hex "
            f"digits>: what names it is damaged; `flor_trace fsck` shows which runs are affected"
        )
    return make_key(length, bytes.fromhex(match[2]))


def flat(data: Buffer) -> memoryview:
    """Return a view of the bytes of a contiguous buffer, whatever its items are."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")


def key_for(data: memoryview) -> Key:
    """Return the lookup key that the bytes give."""
    return make_key(len(data), digest(data))


def header_for(codec: int, key: Key, stored_length: int) -> bytes:
    """Return the header of a chunk."""
    fields = _FIELDS.pack(MAGIC, BLOB, codec, 0, length_of(key), stored_length, key[:16])
    return fields + _CRC.pack(zlib.crc32(fields))


def base_of(depth: int, key: Key) -> bytes:
    """Return what a difference begins with: how many chunks it needs, and the first of them."""
    return _BASE.pack(depth, key)


def parse_header(data: bytes) -> Header:
    """Return the header that `data` begins with; raise `ChunkDamaged` if there is none."""
    if len(data) < HEADER_SIZE:
        raise ChunkDamaged(f"the header has {len(data)} bytes instead of {HEADER_SIZE}")
    fields = data[: _FIELDS.size]
    magic, kind, codec, reserved, raw_length, stored_length, contents = _FIELDS.unpack(fields)
    if magic != MAGIC:
        raise ChunkDamaged("no chunk begins there")
    if _CRC.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(fields):
        raise ChunkDamaged("the checksum of the header is wrong")
    if kind != BLOB or reserved or codec > PARTS:
        raise ChunkDamaged(f"the header has type {kind} and codec {codec}, unknown to this release")
    if raw_length >= 1 << 63 or stored_length > raw_length:
        raise ChunkDamaged("the lengths in the header cannot be")
    if codec == PARTS and stored_length != -(-raw_length // BLOCK) * KEY_SIZE:
        raise ChunkDamaged(f"{stored_length} bytes cannot name the parts of {raw_length}")
    return Header(codec, raw_length, stored_length, Digest(contents))


def references_length(header: Header) -> int:
    """Return how many of the stored bytes `references` needs."""
    if header.codec == DIFFERENCE:
        return min(_BASE.size, header.stored_length)
    return header.stored_length if header.codec == PARTS else 0


def references(header: Header, body: bytes | memoryview) -> list[Key]:
    """Return the chunks that a chunk is read with, given the beginning of its stored bytes.

    Raises `ChunkDamaged` if those cannot be. What the chunks need in turn is not among them.
    """
    if header.codec == DIFFERENCE:
        return [_parse_base(header, body)]
    return _parse_parts(header, body) if header.codec == PARTS else []


def _parse_base(header: Header, body: bytes | memoryview) -> Key:
    if len(body) < _BASE.size:
        raise ChunkDamaged("the difference does not say from what")
    depth, key = _BASE.unpack_from(body)
    if not 1 <= depth <= DEEPEST or length_of(key) != header.raw_length:
        raise ChunkDamaged("it cannot be a difference from what it says")
    return Key(key)


def _parse_parts(header: Header, body: bytes | memoryview) -> list[Key]:
    if len(body) != header.stored_length:
        raise ChunkDamaged(f"{len(body)} bytes are there instead of {header.stored_length}")
    keys = [Key(bytes(body[at : at + KEY_SIZE])) for at in range(0, len(body), KEY_SIZE)]
    for number, key in enumerate(keys):
        if length_of(key) != min(BLOCK, header.raw_length - number * BLOCK):
            raise ChunkDamaged(f"part {number} has {length_of(key)} bytes, which cannot be")
    return keys


def unframe(
    header: Header, body: bytes, fetch: Fetch | None = None, left: int = LONGEST_CHAIN
) -> bytes:
    """Return the contents of a chunk, verified; raise `ChunkDamaged` with the reason.

    No byte is given out before the length and the digest are known to be right, and no more than
    the raw length is ever allocated, once for each chunk that a difference needs. `fetch` gets the
    other chunks that are needed, of which there may be `left`, one after the other.
    """
    if len(body) != header.stored_length:
        raise ChunkDamaged(f"{len(body)} bytes are there instead of {header.stored_length}")
    data = _decode(header, body, fetch or _fetch_nothing, left)
    if len(data) != header.raw_length:
        raise ChunkDamaged(f"it has {len(data)} bytes instead of {header.raw_length}")
    if digest(data) != header.digest:
        raise ChunkDamaged("the contents do not have the digest they were stored under")
    return data


def _fetch_nothing(key: Key, left: int) -> bytes:
    raise ChunkDamaged(f"it needs the chunk {address_of(key)}, which is not at hand")


def _decode(header: Header, body: bytes, fetch: Fetch, left: int) -> bytes:
    if header.codec == RAW:
        return body
    if header.codec == ZSTD:
        return decompress(body, header.raw_length)
    if header.codec == PLANES:
        return planes.join(memoryview(body), header.raw_length, None)
    if not left:
        raise ChunkDamaged("it needs too many others, one after the other")
    if header.codec == DIFFERENCE:
        base = fetch(_parse_base(header, body), left - 1)
        return planes.join(memoryview(body)[_BASE.size :], header.raw_length, base)
    whole = BytesIO(bytes(header.raw_length))
    for key in _parse_parts(header, body):
        whole.write(fetch(key, left - 1))
    return whole.getvalue()
