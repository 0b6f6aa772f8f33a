"""Which chunks a pack holds: found by walking through it, or read from the sidecar of a whole pack.

The layouts are described in ``docs/formats.md``, sections Pack and Index.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xxhash import xxh3_128_digest as digest

from flor_trace.errors import ChunkDamaged
from flor_trace.store import files
from flor_trace.store.framing import HEADER_SIZE, KEY_SIZE, Key, parse_header

PACK_SUFFIX, INDEX_SUFFIX = ".pack", ".idx"
PACK_HEADER = struct.pack("<12sI", b"\x89flor_pack\r\n", 1)

_INDEX_HEADER = struct.Struct("<12sIQQ")
_INDEX_MAGIC = b"\x89flor_idx\r\n\0"
_INDEX_VERSION = 1
_ENTRY = struct.Struct(f"<{KEY_SIZE}sQQ")
_DIGEST_SIZE = 16

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


def pack_names(packs: Path) -> list[str]:
    """Return the names of the packs in a directory, without suffix, sorted; raise OSError."""
    found = (
        name.removesuffix(PACK_SUFFIX) for name in os.listdir(packs) if name.endswith(PACK_SUFFIX)
    )
    return sorted(name for name in found if is_name(name))


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
    return os.pread(fd, len(PACK_HEADER), 0) == PACK_HEADER


def write_index(packs: Path, name: str, index: Index) -> None:
    """Write the sidecar of a pack; raise OSError. Only for packs that are durable up to `covers`."""
    body = _INDEX_HEADER.pack(_INDEX_MAGIC, _INDEX_VERSION, index.covers, len(index.entries))
    body += b"".join(_ENTRY.pack(*entry) for entry in index.entries)
    files.publish(packs / (name + INDEX_SUFFIX), [body, digest(body)])


def read_index(packs: Path, name: str, pack_length: int) -> Index | None:
    """Return the sidecar of a pack, or None where there is no sound one for a pack that long."""
    try:
        with files.reading(packs / (name + INDEX_SUFFIX)) as fd:
            # Every entry stands for at least a header in the pack, which bounds an honest sidecar.
            limit = _INDEX_HEADER.size + pack_length // HEADER_SIZE * _ENTRY.size + _DIGEST_SIZE
            length = os.fstat(fd).st_size
            data = files.read_exactly(fd, length, 0) if length <= limit else b""
    except OSError:
        return None
    return _parse_index(data, pack_length)


def _parse_index(data: bytes, pack_length: int) -> Index | None:
    body = data[:-_DIGEST_SIZE]
    if len(body) < _INDEX_HEADER.size or digest(body) != data[-_DIGEST_SIZE:]:
        return None
    magic, version, covers, count = _INDEX_HEADER.unpack_from(body)
    whole = len(body) == _INDEX_HEADER.size + count * _ENTRY.size
    if (magic, version) != (_INDEX_MAGIC, _INDEX_VERSION) or not whole or covers > pack_length:
        return None
    entries = map(Entry._make, _ENTRY.iter_unpack(body[_INDEX_HEADER.size :]))
    return Index(covers, tuple(entries))


def durable_keys(packs: Path, limit: int) -> set[Key]:
    """Return what is surely on the disk in finished packs, the newest first, up to about `limit`.

    Names begin with the time of the run, so the newest are the last. A pack without sidecar does
    not count: its writer may be alive and not have synced, or may have lost power.
    """
    keys: set[Key] = set()
    for name in reversed(pack_names(packs)):
        if len(keys) >= limit:
            break
        try:
            length = os.lstat(packs / (name + PACK_SUFFIX)).st_size
        except OSError:
            continue
        index = read_index(packs, name, length)
        if index is not None:
            keys.update(entry.key for entry in index.entries)
    return keys
