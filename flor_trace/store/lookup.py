"""Where in the packs of a store a chunk is, without reading more of their indexes than needed."""

from __future__ import annotations

import os
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from flor_trace.errors import StoreError
from flor_trace.hints import NamedTuple
from flor_trace.records import dataclass
from flor_trace.store import files
from flor_trace.store.framing import Key
from flor_trace.store.index import (
    ENTRY_SIZE,
    PACK_HEADER,
    PACK_SUFFIX,
    Entry,
    begins_well,
    entry_at,
    find_in,
    is_name,
    pack_names,
    read_entries,
    walk,
)

#: Entries are gathered until there are so many; then they are put in one heap.
_GATHERED = 1 << 14
#: A heap is searched from end to end so often; then it is sorted, which costs some ten searches.
_UNSORTED_SEARCHES = 8
_ROW_BITS = 24
_MOST_ROWS = 1 << _ROW_BITS
_HIGH_BITS = (1 << 64) - _MOST_ROWS


class Place(NamedTuple):
    """Where a chunk should be."""

    pack: str
    offset: int


@dataclass(slots=True)
class _Pack:
    """How far a pack is known."""

    known_to: int = len(PACK_HEADER)
    finished: bool = False
    waiting: bool = True  #: nobody has looked into it since it was listed


class Heap:
    """The entries of some finished packs, as they stand in their indexes."""

    def __init__(self, parts: list[tuple[str, bytes]]) -> None:
        self._names = [name for name, _ in parts]
        self._ends = list(accumulate(len(raw) for _, raw in parts))
        self._raw = b"".join(raw for _, raw in parts)
        self._searches = 0
        self._sorted: array[int] | None = None

    def __len__(self) -> int:
        return len(self._raw)

    def parts(self) -> list[tuple[str, bytes]]:
        """Return what it was made from."""
        starts = [0, *self._ends]
        return [
            (name, self._raw[start:end])
            for name, start, end in zip(self._names, starts, self._ends, strict=False)
        ]

    def find(self, key: Key) -> list[tuple[str, Entry]]:
        """Return in which packs the chunk is, and where."""
        self._searches += 1
        if self._sorted is None and self._searches > _UNSORTED_SEARCHES:
            self._sorted = self._sort()
        found = find_in(self._raw, key) if self._sorted is None else self._bisect(key, self._sorted)
        return [
            (self._names[bisect_right(self._ends, at)], entry_at(self._raw, at)) for at in found
        ]

    def _sort(self) -> array[int] | None:
        """Return, in order, 40 bits of each key with the number of its row; None if too many."""
        words = memoryview(self._raw).cast("Q")[:: ENTRY_SIZE // 8].tolist()
        if len(words) > _MOST_ROWS:
            return None
        return array("Q", sorted([word & _HIGH_BITS | row for row, word in enumerate(words)]))

    def _bisect(self, key: Key, rows: array[int]) -> Iterator[int]:
        first = memoryview(key).cast("Q")[0] & _HIGH_BITS
        for n in range(bisect_left(rows, first), len(rows)):
            if rows[n] - first >= _MOST_ROWS:
                return
            at = (rows[n] - first) * ENTRY_SIZE
            if self._raw.startswith(key, at):
                yield at


class Lookup:
    """Finds chunks in packs, also in those that are being written; any thread may call.

    Indexes are read when a chunk is in none of those read before: first those of the preferred
    run, then of the packs that began before it, the youngest first, then the others. They are
    kept as they are on the disk, 40 bytes for a chunk.
    """

    def __init__(self, packs: Path, gone: Callable[[str], None]) -> None:
        self._packs = packs
        self._gone = gone  #: is told of every pack that is no longer there
        self._lock = threading.RLock()
        self._prefer = ""
        self._seen: dict[str, _Pack] = {}
        self._walked: dict[Key, list[Place]] = {}
        self._gathered: list[tuple[str, bytes]] = []
        self._gathered_bytes = 0
        self._heaps: list[Heap] = []
        self._waiting: list[str] = []  #: the next one to look into is the last
        self.unreadable: dict[str, str] = {}  #: packs that could not be opened, and why

    def prefer(self, runid: str) -> None:
        """Look for chunks in the packs of this run first, and not far from them next."""
        with self._lock:
            self._prefer = runid

    def candidates(self, key: Key) -> Iterator[Place]:
        """Give every place that should hold the chunk, the nearest first.

        What costs more is only done when the caller asks for another place. Raises `StoreError` if
        the packs cannot be listed.
        """
        given = set()
        looks = (self._read_before, self._in_preferred, self._in_waiting, self._in_new, self._all)
        for look in looks:
            with self._lock:
                found = look(key)
            for place in found:
                if place not in given:
                    given.add(place)
                    yield place

    def refresh(self) -> None:
        """Take notice of packs that have come, grown and gone; raise `StoreError`."""
        with self._lock:
            try:
                names = pack_names(self._packs)
            except OSError as error:
                raise StoreError(
                    f"The packs in {self._packs} cannot be listed: {error.strerror or error}. "
                    f"Make the directory readable, or name another store with `--store DIR`."
                ) from error
            self._forget(self._seen.keys() - names)
            for name in names:
                pack = self._seen.setdefault(name, _Pack())
                pack.waiting = not pack.finished
            self._waiting = self._by_distance(
                [name for name, pack in self._seen.items() if pack.waiting]
            )

    def is_finished(self, place: Place) -> bool:
        """Return whether all chunks of that pack are durable."""
        with self._lock:
            self._look_into(place.pack)
            return self._seen[place.pack].finished

    def learn(self, name: str, entries: Iterable[Entry]) -> None:
        """Take notice of chunks of a pack that somebody else has found."""
        with self._lock:
            self._seen.setdefault(name, _Pack())
            self._note(name, entries)

    def _by_distance(self, names: list[str]) -> list[str]:
        """Return the names so that the one to look into first is the last."""
        names.sort()
        if not self._prefer:
            return names
        # "~" comes after every character that a name has: the run's own packs are on this side.
        middle = bisect_right(names, self._prefer + "~")
        return names[middle:][::-1] + names[:middle]

    def _read_before(self, key: Key) -> list[Place]:
        """Return where the chunk is in what was read so far, at least one place of several."""
        return next(filter(None, self._places(key)), [])

    def _places(self, key: Key) -> Iterator[list[Place]]:
        yield [place for place in self._walked.get(key, ()) if place.pack in self._seen]
        for part in reversed(self._gathered):
            yield self._in_part(part, key)
        for heap in self._heaps:
            found = heap.find(key)
            yield [Place(name, entry.offset) for name, entry in found if name in self._seen]

    def _in_part(self, part: tuple[str, bytes], key: Key) -> list[Place]:
        name, raw = part
        return [Place(name, entry_at(raw, at).offset) for at in find_in(raw, key)]

    def _in_preferred(self, key: Key) -> list[Place]:
        """Look into the packs of the preferred run, which are found without listing all."""
        number = 0
        while is_name(self._prefer):
            name = f"{self._prefer}-{number}" if number else self._prefer
            if name not in self._seen and not (self._packs / (name + PACK_SUFFIX)).is_file():
                break
            self._look_into(name)
            number += 1
        return self._read_before(key) if number else []

    def _in_waiting(self, key: Key) -> list[Place]:
        """Look into the packs that were listed, until the chunk is found."""
        while self._waiting:
            self._look_into(name := self._waiting.pop())
            found = self._walked.get(key, [])
            if not found and self._gathered and self._gathered[-1][0] == name:
                found = self._in_part(self._gathered[-1], key)
            if found:
                return found
        return []

    def _in_new(self, key: Key) -> list[Place]:
        self.refresh()
        return self._in_waiting(key)

    def _all(self, key: Key) -> list[Place]:
        while self._waiting:
            self._look_into(self._waiting.pop())
        return [place for places in self._places(key) for place in places]

    def _look_into(self, name: str) -> None:
        """Learn of the chunks that a pack has gained since it was last looked into."""
        pack = self._seen.setdefault(name, _Pack())
        pack.waiting = False
        if pack.finished:
            return
        try:
            with files.reading(self._packs / (name + PACK_SUFFIX)) as fd:
                length = os.fstat(fd).st_size
                index = read_entries(self._packs, name)
                if index is not None and index[0] <= length:
                    self._gather(name, index[1])
                    pack.finished = True
                elif begins_well(fd):
                    pack.known_to = self._note(name, walk(fd, pack.known_to, length), pack.known_to)
            self.unreadable.pop(name, None)
        except OSError as error:
            # The other packs are still good; who misses a chunk is told of this one.
            self.unreadable[name] = error.strerror or str(error)

    def _gather(self, name: str, raw: bytes) -> None:
        if self._gathered_bytes + len(raw) > _GATHERED * ENTRY_SIZE and self._gathered:
            parts = self._gathered
            # Heaps of one size are put together, so that there are never many.
            while self._heaps and len(self._heaps[-1]) <= sum(len(part) for _, part in parts):
                parts = self._heaps.pop().parts() + parts
            self._heaps.append(Heap(parts))
            self._gathered, self._gathered_bytes = [], 0
        self._gathered.append((name, raw))
        self._gathered_bytes += len(raw)

    def _note(self, name: str, entries: Iterable[Entry], end: int = 0) -> int:
        """Note entries of a pack one by one, and return where the last of them ends."""
        for entry in entries:
            places = self._walked.setdefault(entry.key, [])
            place = Place(name, entry.offset)
            if place not in places:
                places.append(place)
            end = entry.end
        return end

    def _forget(self, gone: set[str]) -> None:
        """Drop what is known of packs that are no longer there."""
        if not gone:
            return
        for name in gone:
            del self._seen[name]
            self.unreadable.pop(name, None)
            self._gone(name)
        self._gathered = [part for part in self._gathered if part[0] not in gone]
        left = {
            key: [place for place in places if place.pack not in gone]
            for key, places in self._walked.items()
        }
        self._walked = {key: places for key, places in left.items() if places}
