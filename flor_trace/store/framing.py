"""The bytes of one chunk: a fixed header, then the contents, compressed where that pays.

The layout is described in ``docs/formats.md``, section Chunk.
"""

from __future__ import annotations

import re
import struct
import threading
import zlib

import zstandard

from flor_trace._speedups import digest
from flor_trace.errors import ChunkDamaged, ChunkMissing
from flor_trace.hints import NamedTuple, NewType
from flor_trace.records import dataclass
from flor_trace.types import Address, Digest

MAGIC = b"\x89FLc"
BLOB = 1
RAW, ZSTD = 0, 1

_FIELDS = struct.Struct("<4sBBHQQ16s")
_CRC = struct.Struct("<I")
HEADER_SIZE = _FIELDS.size + _CRC.size

#: What a chunk is looked up by: its digest, then its raw length as 8 little-endian bytes.
Key = NewType("Key", bytes)
KEY_SIZE = 24

_ADDRESS = re.compile(r"(0|[1-9][0-9]{0,18})-([0-9a-f]{32})", re.ASCII)

#: Compression must save this share of the bytes, or the chunk stays as it is: reading it back
#: costs a decompression each time.
_WORTH = 0.03
_SMALLEST = 64
_SAMPLE_SLICES, _SAMPLE_SLICE = 16, 4096
#: A frame is refused if it wants more memory than this to look back.
_LARGEST_WINDOW = 1 << 27
#: A zstd block of at least 4 bytes gives at most 128 KiB.
_LARGEST_RATIO = 1 << 15

Buffer = bytes | bytearray | memoryview


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


def digest_of(key: Key) -> Digest:
    """Return the digest in a lookup key."""
    return Digest(key[:16])


def address_of(key: Key) -> Address:
    """Return the address that a lookup key stands for."""
    return Address(f"{int.from_bytes(key[16:], 'little')}-{digest_of(key).hex()}")


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


def encode(data: memoryview, key: Key) -> tuple[bytes, bytes | memoryview]:
    """Return the header and the stored bytes of a chunk, given the key that its bytes give."""
    codec, body = _compress(data)
    fields = _FIELDS.pack(MAGIC, BLOB, codec, 0, len(data), len(body), key[:16])
    return fields + _CRC.pack(zlib.crc32(fields)), body


def frame(data: Buffer) -> bytes:
    """Return header and stored bytes of a chunk in one piece."""
    view = flat(data)
    return b"".join(encode(view, key_for(view)))


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
    if kind != BLOB or reserved or codec not in (RAW, ZSTD):
        raise ChunkDamaged(f"the header has type {kind} and codec {codec}, unknown to this release")
    if raw_length >= 1 << 63 or stored_length > raw_length:
        raise ChunkDamaged("the lengths in the header cannot be")
    return Header(codec, raw_length, stored_length, Digest(contents))


def unframe(header: Header, body: bytes) -> bytes:
    """Return the contents of a chunk, verified; raise `ChunkDamaged` with the reason.

    No byte is given out before the length and the digest are known to be right, and no more than
    the raw length is ever allocated.
    """
    if len(body) != header.stored_length:
        raise ChunkDamaged(f"{len(body)} bytes are there instead of {header.stored_length}")
    data = body if header.codec == RAW else _decompress(body, header.raw_length)
    if len(data) != header.raw_length:
        raise ChunkDamaged(f"it has {len(data)} bytes instead of {header.raw_length}")
    if digest(data) != header.digest:
        raise ChunkDamaged("the contents do not have the digest they were stored under")
    return data


class _Contexts(threading.local):
    """Compression contexts of one thread: they are costly to make and cannot be shared."""

    def __init__(self) -> None:
        self.level_1 = zstandard.ZstdCompressor(level=1)
        # Spends nothing on finding matches: as small as level 1 on arrays of floats, and faster.
        self.entropy_only = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(
                window_log=18,
                hash_log=6,
                chain_log=6,
                search_log=1,
                min_match=7,
                target_length=0,
                strategy=zstandard.STRATEGY_FAST,
                write_content_size=1,
            )
        )
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)


_contexts = _Contexts()


def _compress(data: memoryview) -> tuple[int, bytes | memoryview]:
    """Return the codec that pays, and the bytes in it."""
    if len(data) < _SMALLEST:
        return RAW, data
    compressor = _contexts.level_1
    if len(data) > 2 * _SAMPLE_SLICES * _SAMPLE_SLICE:
        sample = _sample(data)
        plain = len(_contexts.entropy_only.compress(sample))
        matched = len(compressor.compress(sample))
        if min(plain, matched) > (1 - _WORTH) * len(sample):
            return RAW, data
        if plain <= (1 + _WORTH) * matched:
            compressor = _contexts.entropy_only
    body = compressor.compress(data)
    return (ZSTD, body) if len(body) <= (1 - _WORTH) * len(data) else (RAW, data)


def _sample(data: memoryview) -> bytes:
    """Return slices from all over the data, so that one unusual stretch does not decide."""
    step = (len(data) - _SAMPLE_SLICE) // (_SAMPLE_SLICES - 1)
    return b"".join(data[i * step : i * step + _SAMPLE_SLICE] for i in range(_SAMPLE_SLICES))


def _decompress(body: bytes, raw_length: int) -> bytes:
    """Return what one zstd frame holds, if that is `raw_length` bytes; raise `ChunkDamaged`."""
    try:
        # python-zstandard allocates what the frame asks for, so the frame is asked first.
        announced = zstandard.get_frame_parameters(body).content_size
        if announced != raw_length or raw_length > len(body) * _LARGEST_RATIO:
            raise ChunkDamaged(f"its frame announces {announced} bytes instead of {raw_length}")
        return _contexts.decompressor.decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ChunkDamaged(f"it cannot be decompressed ({error})") from error
