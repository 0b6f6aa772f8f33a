"""Which chunks a pack holds: found by walking through it, or read from the sidecar of a whole pack.

The layouts are described in ``docs/formats.md``, sections Pack and Index.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from flor_trace._speedups import digest
from flor_trace.errors import ChunkDamaged
from flor_trace.hints import NamedTuple
from flor_trace.records import dataclass
from flor_trace.store import files
from flor_trace.store.framing import HEADER_SIZE, KEY_SIZE, Key, parse_header

PACK_SUFFIX, INDEX_SUFFIX = ".pack", ".idx"
PACK_HEADER = struct.pack("<12sI", b"\x89flor_pack\r\n", 2)
#: Packs of earlier releases are read too; they have fewer codecs.
PACK_HEADERS = (PACK_HEADER, struct.pack("<12sI", b"\x89flor_pack\r\n", 1))

_INDEX_HEADER = struct.Struct("<12sIQQ")
_INDEX_MAGIC = b"\x89flor_idx\r\n\0"
_INDEX_VERSION = 1
_ENTRY = struct.Struct(f"<{KEY_SIZE}sQQ")
_DIGEST_SIZE = 16
ENTRY_SIZE = _ENTRY.size
_LARGEST_INDEX = 1 << 30

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,119}", re.ASCII)


class Entry(NamedTuple):
    """Where in its pack a chunk is."""

    key: Key
    offset: int  #: of its header
    stored_length: int

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.offset + HEADER_SIZE + self.stored_length


@dataclass(frozen=True, slots=True)
class Index:
    """The chunks of a pack that is finished: every one of them is durable."""

    covers: int  #: length of the pack up to the end of its last chunk
    entries: tuple[Entry, ...]


def is_name(name: str) -> bool:
    """Return whether a pack may be called so: no path, no surprise on any file system."""
    return _NAME.fullmatch(name) is not None


def pack_names(packs: Path, suffix: str = PACK_SUFFIX) -> list[str]:
    """Return the names of the packs, or their indexes, without suffix, sorted; raise OSError."""
    found = (name for name in os.listdir(packs) if name.endswith(suffix))
    return sorted(filter(is_name, (name.removesuffix(suffix) for name in found)))


def walk(fd: int, start: int, end: int) -> Iterator[Entry]:
    """Give the chunks that begin at `start` one after the other, up to the first that is not whole.

    What follows that one was still being written, by a live or a killed process, or is damaged.
    """
    position = start
    while position + HEADER_SIZE <= end:
        try:
            header = parse_header(files.read_exactly(fd, HEADER_SIZE, position))
        except ChunkDamaged:
            return
        entry = Entry(header.key, position, header.stored_length)
        if entry.end > end:
            return
        yield entry
        position = entry.end


def begins_well(fd: int) -> bool:
    """Return whether a file has the header of a pack that this release can read."""
    return os.pread(fd, len(PACK_HEADER), 0) in PACK_HEADERS


def write_index(packs: Path, name: str, index: Index) -> None:
    """Write the sidecar of a pack that is durable up to `covers`; raise OSError."""
    files.publish(packs / (name + INDEX_SUFFIX), [index_bytes(index)])


def index_bytes(index: Index) -> bytes:
    """Return what stands in a sidecar."""
    body = _INDEX_HEADER.pack(_INDEX_MAGIC, _INDEX_VERSION, index.covers, len(index.entries))
    body += b"".join(_ENTRY.pack(*entry) for entry in index.entries)
    return body + digest(body)


def read_index(packs: Path, name: str) -> Index | None:
    """Return the sidecar of a pack, or None where there is no sound one.

    A pack shorter than the index `covers` has lost its end since.
    """
    found = read_entries(packs, name)
    if found is None:
        return None
    covers, entries = found
    return Index(covers, tuple(map(Entry._make, _ENTRY.iter_unpack(entries))))


def read_entries(packs: Path, name: str) -> tuple[int, bytes] | None:
    """Return what a sidecar covers and its entries as they stand there, or None as `read_index`."""
    try:
        with files.reading(packs / (name + INDEX_SUFFIX)) as fd:
            length = os.fstat(fd).st_size
            data = files.read_exactly(fd, length, 0) if length <= _LARGEST_INDEX else b""
    except OSError:
        return None
    return parse_entries(data)


def parse_entries(data: bytes) -> tuple[int, bytes] | None:
    """Return of the contents of a sidecar what `read_entries` does."""
    end = len(data) - _DIGEST_SIZE
    if end < _INDEX_HEADER.size or digest(memoryview(data)[:end]) != data[end:]:
        return None
    magic, version, covers, count = _INDEX_HEADER.unpack_from(data)
    whole = end == _INDEX_HEADER.size + count * _ENTRY.size
    if (magic, version) != (_INDEX_MAGIC, _INDEX_VERSION) or not whole:
        return None
    return covers, data[_INDEX_HEADER.size : end]


def entry_at(entries: bytes, at: int) -> Entry:
    """Return one of the entries that `read_entries` gave, which begins there."""
    return Entry._make(_ENTRY.unpack_from(entries, at))


def keys_in(entries: bytes) -> Iterator[Key]:
    """Give the keys of entries that `read_entries` gave."""
    return (Key(entries[at : at + KEY_SIZE]) for at in range(0, len(entries), _ENTRY.size))


def find_in(entries: bytes, key: Key) -> Iterator[int]:
    """Give where entries of the key begin in what `read_entries` gave."""
    at = entries.find(key)
    while at >= 0:
        if at % _ENTRY.size == 0:
            yield at
        at = entries.find(key, at + 1)
