"""The packs at a remote place: which chunks they hold, adding some, reading some."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from flor_trace.errors import ChunkDamaged, RemoteError
from flor_trace.remote.drive import Drive
from flor_trace.remote.listings import PACKS
from flor_trace.store.framing import HEADER_SIZE, Key, address_of, parse_header
from flor_trace.store.index import (
    INDEX_SUFFIX,
    PACK_HEADER,
    PACK_SUFFIX,
    Entry,
    Index,
    index_bytes,
    is_name,
    keys_in,
    parse_entries,
)
from flor_trace.store.lookup import Heap

#: So much is gathered before it is written as one pack, so much is read at once, and so much
#: between two chunks is rather read than left out.
PART_BYTES = 64 << 20
_RANGE_BYTES = 16 << 20
_GAP_BYTES = 64 << 10
_LARGEST_INDEX = 1 << 28


class RemotePacks:
    """What the finished packs at a place hold; all of them, or those that are named."""

    def __init__(self, drive: Drive, names: Iterable[str] | None = None) -> None:
        self._drive = drive
        lengths = drive.files(PACKS)
        wanted = set(lengths) if names is None else {name + INDEX_SUFFIX for name in names}
        indexes = [
            name
            for name in sorted(wanted & lengths.keys())
            if name.endswith(INDEX_SUFFIX) and is_name(name) and lengths[name] <= _LARGEST_INDEX
        ]
        found = drive.read_all([f"{PACKS}/{name}" for name in indexes], _LARGEST_INDEX)
        parts = []
        for path, data in found.items():
            name = path.rpartition("/")[2].removesuffix(INDEX_SUFFIX)
            index = parse_entries(data)
            # An index is written after its pack: it says that the pack is whole.
            if index is not None and index[0] <= lengths.get(name + PACK_SUFFIX, 0):
                parts.append((name, index[1]))
        self._heap = Heap(parts)
        self._added: dict[Key, str] = {}

    def pack_of(self, key: Key) -> str | None:
        """Return the name of a pack that has the chunk."""
        found = self._heap.find(key)
        return found[0][0] if found else self._added.get(key)

    def add(self, name: str, chunks: Sequence[tuple[bytes, bytes]]) -> str:
        """Write chunks as one pack whose name begins so, then its index; return the whole name."""
        name = f"{name}-{os.urandom(5).hex()}"
        parts, entries, end = [PACK_HEADER], [], len(PACK_HEADER)
        for header, body in chunks:
            parts += [header, body]
            entries.append(Entry(parse_header(header).key, end, len(body)))
            end = entries[-1].end
        self._drive.write(f"{PACKS}/{name}{PACK_SUFFIX}", b"".join(parts))
        index = index_bytes(Index(end, tuple(entries)))
        self._drive.write(f"{PACKS}/{name}{INDEX_SUFFIX}", index)
        self._added.update(dict.fromkeys(keys_in(parse_entries(index)[1]), name))  # type: ignore[index]
        return name

    def read(self, keys: Sequence[Key]) -> Iterator[tuple[bytes, bytes]]:
        """Give header and stored bytes of chunks, not verified, in this order.

        Raises `RemoteError` if one is not there.
        """
        places = [self._place(key) for key in keys]
        first = 0
        while first < len(places):
            last = first
            while last + 1 < len(places) and _is_next(places, first, last):
                last += 1
            pack, begin = places[first][0], places[first][1].offset
            end = places[last][1].end
            data = self._drive.read_part(f"{PACKS}/{pack}{PACK_SUFFIX}", begin, end)
            for _, entry in places[first : last + 1]:
                at = entry.offset - begin
                yield data[at : at + HEADER_SIZE], data[at + HEADER_SIZE : entry.end - begin]
            first = last + 1

    def length_of(self, key: Key) -> int:
        """Return how many bytes a chunk takes in its pack."""
        entry = self._place(key)[1]
        return entry.end - entry.offset

    def _place(self, key: Key) -> tuple[str, Entry]:
        found = self._heap.find(key)
        if not found:
            raise RemoteError(
                f"No pack at {self._drive.url} holds the chunk {address_of(key)}, which a listing "
                f"says is there. Push the run again from where it was recorded."
            )
        return found[0]


def _is_next(places: Sequence[tuple[str, Entry]], first: int, last: int) -> bool:
    """Return whether the place after the last is read together with those from the first on."""
    (pack, begin), (_, before), (other, after) = places[first], places[last], places[last + 1]
    gap = after.offset - before.end
    return other == pack and 0 <= gap <= _GAP_BYTES and after.end - begin.offset <= _RANGE_BYTES


def damaged(url: str, key: Key, error: ChunkDamaged) -> RemoteError:
    """Return the error for a chunk that is not what it should be."""
    return RemoteError(
        f"The chunk {address_of(key)} at {url} is damaged: {error}. Nothing that needs it was "
        f"taken; push the run to another place from where it was recorded, and pull it from there."
    )
