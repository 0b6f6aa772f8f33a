"""Reading chunks from all packs of a store, each verified."""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from types import TracebackType

from flor_trace.errors import ChunkDamaged, ChunkMissing, StoreError
from flor_trace.hints import NamedTuple
from flor_trace.records import dataclass
from flor_trace.store import files
from flor_trace.store.framing import (
    HEADER_SIZE,
    Key,
    address_of,
    check_depth,
    key_of,
    parse_header,
    unframe,
)
from flor_trace.store.index import (
    PACK_HEADER,
    PACK_SUFFIX,
    Entry,
    begins_well,
    pack_names,
    read_index,
    walk,
)
from flor_trace.store.layout import Store
from flor_trace.types import Address

_MOST_OPEN = 16


@functools.cache
def _memory() -> int:
    """Return how many bytes of memory the machine has, or what no machine has."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size if pages > 0 and size > 0 else 1 << 63


class _Place(NamedTuple):
    pack: str
    offset: int


@dataclass(slots=True)
class _Pack:
    """How far a pack is known."""

    known_to: int = len(PACK_HEADER)
    finished: bool = False


class PackReader:
    """Gives out chunks of a store by address, whoever wrote them, also while they are writing.

    Any thread may call any method at any time. Reads from files go one at a time; checking and
    decompressing run beside each other. Files are read with plain reads and never mapped: on a
    shared drive another machine can shorten them, which would kill a process that has them mapped.
    """

    def __init__(self, store: Store) -> None:
        self._packs = store.packs
        self._lock = threading.Lock()
        self._seen: dict[str, _Pack] = {}
        self._places: dict[Key, _Place] = {}
        self._copies: dict[Key, list[_Place]] = {}
        self._open: OrderedDict[str, int] = OrderedDict()
        self._unreadable: dict[str, str] = {}

    def __enter__(self) -> PackReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def get(self, address: Address) -> bytes:
        """Return the bytes, verified; raise `ChunkMissing`, or `ChunkDamaged` if all are bad."""
        return self._get(key_of(address), None)

    def _get(self, key: Key, deepest: int | None) -> bytes:
        """Return as `get` does; `deepest` is for chunks that others need, as for `unframe`."""
        damage: ChunkDamaged | None = None
        for place in self._find(key):
            try:
                return self._read(key, place, deepest)
            except ChunkDamaged as error:
                damage = damage or error
        if damage is not None:
            raise damage
        unread = "".join(
            f" {name} cannot be read: {why}." for name, why in self._unreadable.items()
        )
        raise ChunkMissing(
            f"No pack in {self._packs} holds the chunk {address_of(key)}.{unread} If it was "
            f"recorded elsewhere, pull it from there; otherwise `flor_trace fsck` shows which "
            f"checkpoints need it."
        )

    def has(self, address: Address) -> bool:
        """Return whether a pack lists the chunk; its bytes are not looked at."""
        return bool(self._find(key_of(address)))

    def refresh(self) -> None:
        """Take notice of chunks and packs that have come and gone; raise `StoreError`."""
        with self._lock:
            try:
                names = pack_names(self._packs)
            except OSError as error:
                raise StoreError(
                    f"The packs in {self._packs} cannot be listed: {error.strerror or error}. "
                    f"Make the directory readable, or name another store with `--store DIR`."
                ) from error
            self._forget(self._seen.keys() - set(names))
            for name in names:
                self._look_at(name)

    def learn(self, name: str, entries: Iterable[Entry]) -> None:
        """Take notice of chunks of a pack that somebody else has found."""
        with self._lock:
            self._seen.setdefault(name, _Pack())
            self._add(name, entries)

    def close(self) -> None:
        """Close all files; the reader opens them again if it is used further."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def _find(self, key: Key) -> list[_Place]:
        """Return every place that should hold the chunk, looking for new packs if there is none."""
        if key not in self._places:
            self.refresh()
        with self._lock:
            place = self._places.get(key)
            return [] if place is None else [place, *self._copies.get(key, ())]

    def _look_at(self, name: str) -> None:
        """Learn of the chunks that a pack has gained since it was last looked at."""
        pack = self._seen.setdefault(name, _Pack())
        if pack.finished:
            return
        try:
            with files.reading(self._packs / (name + PACK_SUFFIX)) as fd:
                length = os.fstat(fd).st_size
                index = read_index(self._packs, name)
                if index is not None and index.covers <= length:
                    self._add(name, (e for e in index.entries if e.offset >= pack.known_to))
                    pack.finished = True
                elif begins_well(fd):
                    pack.known_to = self._add(name, walk(fd, pack.known_to, length), pack.known_to)
            self._unreadable.pop(name, None)
        except OSError as error:
            # The other packs are still good; `get` tells of this one if a chunk is missing.
            self._unreadable[name] = error.strerror or str(error)

    def _add(self, name: str, entries: Iterable[Entry], end: int = 0) -> int:
        """Note the entries of a pack, and return where the last of them ends."""
        for entry in entries:
            place = _Place(name, entry.offset)
            if self._places.setdefault(entry.key, place) != place:
                self._copies.setdefault(entry.key, []).append(place)
            end = entry.end
        return end

    def _forget(self, gone: set[str]) -> None:
        """Drop all that is known of packs that are no longer there."""
        if not gone:
            return
        for name in gone:
            del self._seen[name]
            self._unreadable.pop(name, None)
            if name in self._open:
                os.close(self._open.pop(name))
        places = [(key, place) for key, place in self._places.items() if place.pack not in gone]
        copies = [(k, p) for k, some in self._copies.items() for p in some if p.pack not in gone]
        self._places, self._copies = dict(places), {}
        for key, place in copies:
            if self._places.setdefault(key, place) != place:
                self._copies.setdefault(key, []).append(place)

    def fetch(self, key: Key, deepest: int) -> bytes:
        """Return a chunk that another one needs, for `unframe`; raise `ChunkDamaged`."""
        try:
            return self._get(key, deepest)
        except ChunkMissing as error:
            raise ChunkDamaged(
                f"it needs the chunk {address_of(key)}, which is not there"
            ) from error

    def _read(self, key: Key, place: _Place, deepest: int | None) -> bytes:
        """Return the verified bytes from one place; raise `ChunkDamaged` naming it."""
        try:
            header = parse_header(self._pread(place.pack, HEADER_SIZE, place.offset))
            if header.key != key:
                raise ChunkDamaged(f"another chunk, {header.address}, is there")
            if header.raw_length > _memory():
                raise ChunkDamaged("it has more bytes than this machine has memory")
            body = self._pread(place.pack, header.stored_length, place.offset + HEADER_SIZE)
            if deepest is not None:
                check_depth(header, body, deepest)
            return unframe(header, body, self.fetch)
        except (ChunkDamaged, OSError) as error:
            path = self._packs / (place.pack + PACK_SUFFIX)
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise ChunkDamaged(
                f"The chunk {address_of(key)} in {path} at byte {place.offset} is damaged: "
                f"{reason}. Restore the pack from a copy, or leave out the checkpoints that need "
                f"it, which `flor_trace fsck --data` lists."
            ) from error

    def _pread(self, name: str, length: int, offset: int) -> bytes:
        """Read from a pack, keeping the files that were used last open."""
        # Under the lock: another thread might close the file, and a new one get its descriptor.
        with self._lock:
            fd = self._open.pop(name, None)
            if fd is None:
                fd = files.open_regular(self._packs / (name + PACK_SUFFIX))
            self._open[name] = fd
            if len(self._open) > _MOST_OPEN:
                os.close(self._open.popitem(last=False)[1])
            return files.read_exactly(fd, length, offset)
