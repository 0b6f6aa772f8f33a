"""Adding chunks to the pack of one writer."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from flor_trace.descriptors import Kept
from flor_trace.errors import StoreError, StoreNotWritable
from flor_trace.store import encoding, files
from flor_trace.store.encoding import NOTHING, Encoded, Encoder, Numbers
from flor_trace.store.framing import (
    BLOCK,
    HEADER_SIZE,
    Base,
    Buffer,
    Key,
    address_of,
    flat,
    key_for,
    key_of,
    parse_header,
)
from flor_trace.store.index import (
    PACK_HEADER,
    PACK_SUFFIX,
    Entry,
    Index,
    is_name,
    write_index,
)
from flor_trace.store.known import Known, note_finished
from flor_trace.store.layout import Store
from flor_trace.store.lineage import Lineage
from flor_trace.store.reader import PackReader
from flor_trace.types import Address

__all__ = ["DEDUP_LIMIT", "PACK_LIMIT", "PackReader", "PackWriter"]

#: A pack that has reached this length is finished and the next one begun.
PACK_LIMIT = 1 << 30

#: So many chunks of finished packs are known to a writer, for some 30 MB of memory; those beyond
#: are stored again where they turn up again.
DEDUP_LIMIT = 250_000

#: Longer data are always stored in parts, so that encoding them takes no more memory than this.
LARGEST_WHOLE = 8 << 20
#: So large a share of the blocks must be in the base too for shorter ones.
_SHARED = 0.25


class PackWriter:
    """Adds chunks to packs that no other writer touches.

    Any thread may call any method, one at a time: a lock sees to that. Signal handlers may not,
    and neither may a forked child, which gets a `StoreError`. The pack file is made by the first
    chunk that is new; chunks can be read by everybody as soon as `put` returns, and are durable
    once `flush` does.
    """

    def __init__(
        self, store: Store, name: str, *, limit: int = PACK_LIMIT, dedup: int = DEDUP_LIMIT
    ) -> None:
        if not is_name(name):
            raise StoreError(
                f"{name[:80]!r} cannot be the name of a pack: use letters, digits, '.', '-' and '_'"
            )
        self._packs = store.packs
        self._name = name
        self._limit = limit
        self._dedup = dedup
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._pack: _OpenPack | None = None
        self._known: Known | None = None
        self._lineage = Lineage()
        self._encoder: Encoder | None = None
        self._written = 0
        self._closed = False

    @property
    def bytes_written(self) -> int:
        """How many bytes all new chunks have taken so far, headers included."""
        return self._written

    def put(
        self, data: Buffer, *, key: Key | None = None, base: Base | None = None, raw: bool = False
    ) -> Address:
        """Store contiguous bytes unless they are there already, and return their address.

        The bytes must not change meanwhile. `key` is that of the bytes, if the caller has it. The
        chunk may be stored as what changed from `base`. With `raw`, nothing is compressed.
        Raises `StoreNotWritable` if they could not be written; the writer can be used further. An
        address is only good for a manifest once `flush` has returned.
        """
        view = flat(data)
        key = key_for(view) if key is None else key
        with self._usable():
            if key not in self._known_keys():
                self._store(view, key, base, raw)
        return address_of(key)

    def copy(self, header: bytes, body: bytes) -> None:
        """Store a chunk as it is in another pack; what it needs must be durable, or in this one.

        The caller has verified it. Raises as `put`.
        """
        with self._usable():
            key = parse_header(header).key
            self._append(key, Encoded(header, [body], len(body), 0))

    def has(self, address: Address) -> bool:
        """Return whether `put` would write nothing: such a chunk is durable after `flush`."""
        key = key_of(address)
        with self._usable():
            return key in self._known_keys()

    def flush(self) -> None:
        """Return when everything put so far will survive a power loss.

        Raises `StoreNotWritable` if that cannot be promised. Then everything put since the last
        flush counts as not stored, and the next `put` begins a new pack: after a failed sync the
        kernel may report success for bytes that it has dropped.
        """
        with self._usable():
            self._flush()

    def close(self) -> None:
        """Flush, then write the index of the pack; further calls do nothing. Raises as `flush`."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            self._flush()
            self._finish()

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        """Hold the lock; raise `StoreError` where the writer may not be used any more."""
        # Before the lock: a thread that does not exist in the child may have been holding it.
        if os.getpid() != self._pid:
            raise StoreError(
                f"the writer of pack {self._name} belongs to process {self._pid}; a forked child "
                f"has to open one of its own"
            )
        with self._lock:
            if self._closed:
                raise StoreError(f"the writer of pack {self._name} is closed; open another")
            yield

    def _known_keys(self) -> Known:
        """Return the chunks that need no writing."""
        if self._known is None:
            self._known = Known(self._packs, self._dedup)
        return self._known

    def _store(self, view: memoryview, key: Key, base: Base | None, raw: bool) -> None:
        """Write data that are not there, in one piece or in parts."""
        numbers = NOTHING if raw else Numbers.among(view)
        if self._is_in_parts(view, base, numbers, raw):
            self._store_parts(view, key, base, numbers, raw)
        else:
            self._store_whole(view, key, base, numbers, raw)

    def _is_in_parts(
        self, view: memoryview, base: Base | None, numbers: Numbers, raw: bool
    ) -> bool:
        if len(view) > LARGEST_WHOLE and not raw:
            return True
        if len(view) <= BLOCK or base is None:
            return False
        if self._lineage.blocks(base.key) is not None:
            return True
        if encoding.equal_blocks(view, base.data) < _SHARED * len(view) / BLOCK:
            return False
        # The blocks are written anew this once, which a difference saves.
        depth = self._lineage.depth(base, len(view))
        return depth is None or not numbers.pays_to_subtract(view, base.data)

    def _store_parts(
        self, view: memoryview, key: Key, base: Base | None, numbers: Numbers, raw: bool
    ) -> None:
        blocks = encoding.blocks_of(view)
        keys = encoding.keys_for(blocks)
        before: dict[int, Base] = {}
        if base is not None:
            old = self._lineage.blocks(base.key) or []
            before = dict(enumerate(map(Base, old, encoding.blocks_of(base.data))))
        for number, (block, each) in enumerate(zip(blocks, keys, strict=True)):
            if each not in self._known_keys():
                self._store_whole(block, each, before.get(number), numbers, raw)
        self._append(key, encoding.parts(key, keys))
        self._lineage.note(key, keys)

    def _store_whole(
        self, view: memoryview, key: Key, base: Base | None, numbers: Numbers, raw: bool
    ) -> None:
        if raw:
            encoded = encoding.raw(view, key)
        else:
            self._encoder = self._encoder or Encoder()
            depth = self._lineage.depth(base, len(view))
            base = None if depth is None else base
            encoded = self._encoder.encode(view, key, numbers, base, depth or 0)
        self._append(key, encoded)
        self._lineage.note(key, encoded.depth)

    def _append(self, key: Key, encoded: Encoded) -> None:
        try:
            if self._pack is None:
                self._pack = _OpenPack(self._packs, self._name)
            self._pack.append(key, encoded)
        except OSError as error:
            raise _not_written(self._packs, error) from error
        self._known_keys().add(key)
        self._written += len(encoded.header) + encoded.length

    def _flush(self) -> None:
        pack = self._pack
        if pack is None:
            return
        try:
            pack.sync()
        except OSError as error:
            if self._known is not None:
                self._known.difference_update(pack.pending())
            self._lineage.forget(pack.pending())
            self._finish()
            raise StoreNotWritable(
                f"{pack.path} could not be brought to the disk: {error.strerror or error}. What "
                f"was stored since the last flush counts as lost, and goes to a new pack when it "
                f"is stored again; check the disk."
            ) from error
        if pack.end >= self._limit:
            self._finish()

    def _finish(self) -> None:
        """Write the index of the pack and go on with none."""
        if self._pack is not None:
            pack, self._pack = self._pack, None
            pack.finish()


class _OpenPack:
    """A pack file that is being written; its `PackWriter` calls it, holding the lock."""

    def __init__(self, packs: Path, name: str) -> None:
        self._packs = packs
        self._name, fd = _create(packs, name)
        self._file = Kept(self.path.absolute(), fd)
        self._entries: list[Entry] = []
        self._durable = 0
        self._durable_end = self.end = len(PACK_HEADER)
        self._torn = False
        self._name_is_durable = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._packs / (self._name + PACK_SUFFIX)

    def pending(self) -> Iterator[Key]:
        """Give the chunks that `sync` has not been through with."""
        return (entry.key for entry in self._entries[self._durable :])

    def append(self, key: Key, chunk: Encoded) -> None:
        """Write one chunk after the last; raise OSError, upon which the pack is as before."""
        if self._torn:
            os.ftruncate(self._file.number(), self.end)
        self._torn = True
        files.write_all(self._file.number(), [chunk.header, *chunk.body])
        self._entries.append(Entry(key, self.end, chunk.length))
        self.end += HEADER_SIZE + chunk.length
        self._torn = False

    def sync(self) -> None:
        """Bring all chunks to the disk; after an OSError `sync` must not be called again."""
        if self._durable == len(self._entries):
            return
        files.sync_data(self._file.number())
        if not self._name_is_durable:
            files.sync_directory(self._packs)
            self._name_is_durable = True
        self._durable, self._durable_end = len(self._entries), self.end

    def finish(self) -> None:
        """Close the file and write the index of its durable chunks, if there are any."""
        self._file.close()
        if self._durable:
            index = Index(self._durable_end, tuple(self._entries[: self._durable]))
            # Without an index the pack is as good, and walked through when it is read.
            with contextlib.suppress(OSError):
                write_index(self._packs, self._name, index)
                note_finished(self._packs, self._name)


def _create(packs: Path, name: str) -> tuple[str, int]:
    """Make a new pack file, numbered if the name is taken; return its name and descriptor."""
    number = 0
    while True:
        candidate = f"{name}-{number}" if number else name
        path = packs / (candidate + PACK_SUFFIX)
        try:
            fd = files.create(path)
        except FileExistsError:
            number += 1
            continue
        try:
            files.write_all(fd, [PACK_HEADER])
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return candidate, fd


def _not_written(packs: Path, error: OSError) -> StoreNotWritable:
    return StoreNotWritable(
        f"A chunk could not be written to {packs}: {error.strerror or error}. Free some space or "
        f"allow writing there, or record to another place with `--store DIR`."
    )
