"""Reading chunks from all packs of a store, each verified."""

from __future__ import annotations

import errno
import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from types import TracebackType

from flor_trace.errors import ChunkDamaged, ChunkMissing
from flor_trace.store import files
from flor_trace.store.framing import (
    HEADER_SIZE,
    LONGEST_CHAIN,
    Key,
    address_of,
    key_of,
    parse_header,
    unframe,
)
from flor_trace.store.index import PACK_SUFFIX, Entry
from flor_trace.store.layout import Store
from flor_trace.store.lookup import Lookup, Place
from flor_trace.types import Address

_MOST_OPEN = 16

_NEEDED = "one that it needs cannot be read. "
_ADVICE = (
    ". Restore the pack from a copy, or leave out the checkpoints that need it, which "
    "`flor_trace fsck --data` lists."
)


@functools.cache
def memory_bytes() -> int:
    """Return how many bytes of memory the machine has, or what no machine has."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size if pages > 0 and size > 0 else 1 << 63


class PackReader:
    """Gives out chunks of a store by address, whoever wrote them, also while they are writing.

    Any thread may call any method at any time. Reads from files go one at a time; checking and
    decompressing run beside each other. Files are read with plain reads and never mapped: on a
    shared drive another machine can shorten them, which would kill a process that has them mapped.
    """

    def __init__(self, store: Store) -> None:
        self._packs = store.packs
        self._lock = threading.RLock()
        self._lookup = Lookup(store.packs, self._close_one)
        self._open: OrderedDict[str, int] = OrderedDict()

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
        return self._first(key_of(address), LONGEST_CHAIN, set())[2]

    def _first(self, key: Key, left: int, failed: set[Key]) -> tuple[bytes, bytes, bytes]:
        """Return header, stored bytes and contents from the first place where it is sound.

        It may need `left` other chunks, one after the other, and none of those that failed.
        """
        damage: ChunkDamaged | None = None
        for place in self._lookup.candidates(key):
            try:
                return self._verified(key, place, left, failed)
            except FileNotFoundError:
                continue  # the pack has been put together with others meanwhile
            except ChunkDamaged as error:
                damage = damage or error
        if damage is not None:
            raise damage
        problems = sorted(self._lookup.unreadable.items())
        unread = "".join(f" {name} cannot be read: {why}." for name, why in problems)
        raise ChunkMissing(
            f"No pack in {self._packs} holds the chunk {address_of(key)}.{unread} If it was "
            f"recorded elsewhere, pull it from there; otherwise `flor_trace fsck` shows which "
            f"checkpoints need it."
        )

    def has(self, address: Address) -> bool:
        """Return whether a pack lists the chunk; its bytes are not looked at."""
        return any(True for _ in self._lookup.candidates(key_of(address)))

    def is_durable(self, address: Address) -> bool:
        """Return whether a finished pack lists the chunk: then it survives a power loss."""
        return any(map(self._lookup.is_finished, self._lookup.candidates(key_of(address))))

    def stored(self, key: Key) -> tuple[bytes, bytes]:
        """Return header and stored bytes of a chunk as they are in a pack, verified.

        What it needs besides, as `framing.references` tells, is verified with it. Raises as `get`.
        """
        return self._first(key, LONGEST_CHAIN, set())[:2]

    def prefer(self, runid: str) -> None:
        """Look for chunks among those of this run first: most of what it needs is there."""
        self._lookup.prefer(runid)

    def refresh(self) -> None:
        """Take notice of chunks and packs that have come and gone; raise `StoreError`."""
        self._lookup.refresh()

    def learn(self, name: str, entries: Iterable[Entry]) -> None:
        """Take notice of chunks of a pack that somebody else has found."""
        self._lookup.learn(name, entries)

    def close(self) -> None:
        """Close all files; the reader opens them again if it is used further."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def fetch(self, key: Key, left: int) -> bytes:
        """Return a chunk that another one needs, for `unframe`; raise `ChunkDamaged`."""
        return self._fetch(key, left, set())

    def _fetch(self, key: Key, left: int, failed: set[Key]) -> bytes:
        # Each chunk fails once: where there are copies, there would be many ways to it.
        if key in failed:
            raise ChunkDamaged(f"it needs the chunk {address_of(key)}, which is damaged")
        try:
            return self._first(key, left, failed)[2]
        except ChunkDamaged as error:
            failed.add(key)
            # Of a chain the two ends are named, and the advice is given once.
            end = str(error).removesuffix(_ADVICE).rpartition(_NEEDED)[2]
            raise ChunkDamaged(_NEEDED + end) from error
        except ChunkMissing as error:
            failed.add(key)
            raise ChunkDamaged(
                f"it needs the chunk {address_of(key)}, which is not there"
            ) from error

    def _verified(
        self, key: Key, place: Place, left: int, failed: set[Key]
    ) -> tuple[bytes, bytes, bytes]:
        """Return header, stored bytes and contents from one place, verified.

        Raises `ChunkDamaged` naming it, or FileNotFoundError where the pack is gone.
        """
        try:
            head = self._pread(place.pack, HEADER_SIZE, place.offset)
            header = parse_header(head)
            if header.key != key:
                raise ChunkDamaged(f"another chunk, {header.address}, is there")
            if header.raw_length > memory_bytes():
                raise ChunkDamaged("it has more bytes than this machine has memory")
            body = self._pread(place.pack, header.stored_length, place.offset + HEADER_SIZE)
            fetch = functools.partial(self._fetch, failed=failed)
            return head, body, unframe(header, body, fetch, left)
        except FileNotFoundError:
            raise
        except (ChunkDamaged, OSError) as error:
            path = self._packs / (place.pack + PACK_SUFFIX)
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise ChunkDamaged(
                f"The chunk {address_of(key)} in {path} at byte {place.offset} is damaged: "
                f"{reason}{_ADVICE}"
            ) from error

    def _pread(self, name: str, length: int, offset: int) -> bytes:
        """Read from a pack, keeping the files that were used last open."""
        # Under the lock: another thread might close the file, and a new one get its descriptor.
        with self._lock:
            try:
                return files.read_exactly(self._opened(name), length, offset)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
            # The server of a shared drive has forgotten the open file: it is opened anew.
            self._close_one(name)
            return files.read_exactly(self._opened(name), length, offset)

    def _opened(self, name: str) -> int:
        fd = self._open.pop(name, None)
        if fd is None:
            fd = files.open_regular(self._packs / (name + PACK_SUFFIX))
        self._open[name] = fd
        if len(self._open) > _MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def _close_one(self, name: str) -> None:
        with self._lock:
            fd = self._open.pop(name, None)
            if fd is not None:
                os.close(fd)
