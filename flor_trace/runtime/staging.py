"""Memory that checkpoints are copied to at a boundary, and written from beside the program.

Copying to memory that was used before costs a tenth of copying to new pages, so it is kept: in
generations, one for each checkpoint that is written or that the next one is compared with.  There
are two of the largest size at most; what is not needed any more goes back to the system.
"""

from __future__ import annotations

import mmap
import sys
from _thread import RLock
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from weakref import ref

from flor_trace._speedups import addresses, discard, populate
from flor_trace.hints import Final
from flor_trace.store import files

_MEMORY = Path("/proc/meminfo")

#: A line of the caches, and a huge page.
LINE: Final = 64
HUGE: Final = 2 << 20

#: Pages are made to be there in steps: the program's own page faults wait for each.
STEP: Final = 4 << 20

#: A generation that has more mappings than this begins anew.
_MOST_MAPPINGS = 4

#: All generations together may have so much beyond twice what the largest needs.
SLACK: Final = 64 << 20


#: What Linux calls MADV_WIPEONFORK and MADV_HUGEPAGE.  In a child the memory is wiped and not
#: missing: its own must not get in the place of what it unmaps when it lets go of our objects.
_ADVICE: Final = (18, 14) if sys.platform == "linux" else ()


def rounded(size: int, to: int) -> int:
    """Return the least multiple of `to` that is not below `size`."""
    return -(-size // to) * to


def spare_memory() -> int:
    """Return half of the bytes that the system says it can give to programs."""
    try:
        lines = files.of_the_system(_MEMORY).splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith(b"MemAvailable:")) << 9
    except (OSError, ValueError, StopIteration):
        return sys.maxsize


class _Mapping:
    """Anonymous memory that a forked child does not get."""

    __slots__ = ("populated", "size", "used", "view")

    def __init__(self, size: int) -> None:
        self.size = rounded(size, HUGE)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        memory = mmap.mmap(-1, self.size + HUGE, flags=flags)
        for advice in _ADVICE:
            with suppress(OSError):  # an older system has no such thing
                memory.madvise(advice)
        (start,) = addresses([memory])
        skipped = rounded(start, HUGE) - start
        self.view = memoryview(memory)[skipped : skipped + self.size]
        self.used = 0
        self.populated = 0

    def take(self, size: int) -> memoryview | None:
        """Return room for `size` bytes, or None if there is none."""
        start, end = self.used, self.used + size
        if end > self.size:
            return None
        self.used = rounded(end, LINE)
        return self.view[start:end]


class Generation:
    """What one checkpoint was copied to."""

    __slots__ = ("holds", "mappings", "number")

    def __init__(self) -> None:
        self.number = -1  #: counts all uses of all generations
        self.holds: list[ref[Hold]] = []  #: who needs, or needed, what is in it
        self.mappings: list[_Mapping] = []

    @property
    def needed(self) -> bool:
        """Whether somebody still needs what is in it."""
        return any((hold := each()) is not None and not hold.over for each in self.holds)

    @property
    def size(self) -> int:
        """Bytes of its mappings."""
        return sum(mapping.size for mapping in self.mappings)

    @property
    def used(self) -> int:
        """Bytes of them that were given out."""
        return sum(mapping.used for mapping in self.mappings)

    def take(self, size: int) -> memoryview | None:
        """Return room for `size` bytes, or None if no mapping has it."""
        for mapping in self.mappings:
            found = mapping.take(size)
            if found is not None:
                return found
        return None


_size = attrgetter("size")


class Hold:
    """Keeps what is in some generations until it is released, or nobody has it any more.

    Nothing runs when the last reference goes: a profiler of the program would see it.
    """

    __slots__ = ("__weakref__", "over")

    def __init__(self) -> None:
        self.over = False

    def add(self, generation: Generation) -> None:
        """Keep what is in this generation too; under the lock of the pool."""
        generation.holds.append(ref(self))

    def release(self) -> None:
        """Keep nothing any more; takes no lock, so that it may happen at any point."""
        self.over = True


class Pool:
    """Gives out generations, of `most` bytes in all, and as long as the system can `spare` them.

    Any thread may call any method, signal handlers too.
    """

    def __init__(self, most: int, spare: Callable[[], int]) -> None:
        self._most = most
        self._spare = spare
        self._generations: list[Generation] = []
        self._latest: Generation | None = None
        self._needed = (0, 0)  #: by the last takes
        self._dropped: list[_Mapping] = []
        self._count = 0
        self._lock = RLock()
        self.peak = 0  #: the most bytes that there were

    @property
    def size(self) -> int:
        """Bytes of all generations."""
        return sum(generation.size for generation in self._generations)

    @property
    def behind(self) -> bool:
        """Whether all the generations that there may be are needed."""
        return self._free() is None and not self._may_add() and self._unkept() is None

    def begin(self, hold: Hold) -> Generation | None:
        """Return a generation that nobody needed, and that `hold` keeps; None if there is none."""
        with self._lock:
            generation = self._available() or self._given_up()
            if generation is None:
                return None
            if len(generation.mappings) > _MOST_MAPPINGS:
                self._dropped += generation.mappings
                generation.mappings = []
            for mapping in generation.mappings:
                mapping.used = 0
            self._count += 1
            generation.number = self._count
            generation.holds = []
            hold.add(generation)
            return generation

    def reserve(self, generation: Generation, sizes: Sequence[int]) -> list[memoryview] | None:
        """Return room for as many bytes each, or None when that would be too much memory."""
        with self._lock:
            is_new = generation.used == 0
            found = self._reserved(generation, sizes)
            if found is None and is_new:  # pieces that are too small may be what is too much
                for mapping in generation.mappings:
                    mapping.used = 0
                self._make_room(generation, 0)
                found = self._reserved(generation, sizes)
            return found

    def _reserved(self, generation: Generation, sizes: Sequence[int]) -> list[memoryview] | None:
        found = [generation.take(size) for size in sizes]
        lacking = [n for n, room in enumerate(found) if room is None]
        if lacking:
            if not self._add(generation, sum(rounded(sizes[n], LINE) for n in lacking)):
                return None
            for n in lacking:
                found[n] = generation.take(sizes[n])
        return [room for room in found if room is not None]

    def keep(self, generation: Generation, number: int, hold: Hold) -> bool:
        """Let `hold` keep a generation if what is in it is still that of its use `number`."""
        with self._lock:
            if generation.number != number:
                return False
            hold.add(generation)
            return True

    def settle(self, generation: Generation) -> None:
        """Keep what was copied to a generation to compare the next checkpoint with."""
        with self._lock:
            self._needed = (self._needed[1], generation.used)
            if generation.used:
                self._latest = generation
            for mapping in generation.mappings:
                mapping.populated = max(mapping.populated, mapping.used)

    def tend(self) -> None:
        """Give back what is not needed, and have memory ready for the next; for the background."""
        mappings, number, generation = self._prepared()
        for mapping in self._unneeded():
            discard(mapping.view)
        for mapping in mappings:
            while mapping.populated < mapping.size and generation.number == number:
                start = mapping.populated
                mapping.populated = min(start + STEP, mapping.size)
                populate(mapping.view[start : mapping.populated])

    def _prepared(self) -> tuple[list[_Mapping], int, Generation]:
        """Return the mappings of the next generation: one that is large enough, if there may be."""
        with self._lock:
            generation = self._available()
            if generation is None:
                return [], -1, Generation()
            needed = max(self._needed)
            if len(generation.mappings) > 1 or generation.size < needed:
                self._dropped += generation.mappings
                generation.mappings, generation.number = [], -1
                self._add(generation, needed)
            return list(generation.mappings), generation.number, generation

    def close(self) -> None:
        """Have no memory any more, as soon as nobody needs what is in it."""
        with self._lock:
            self._generations, self._latest = [], None

    def _unneeded(self) -> list[_Mapping]:
        """Forget generations that are larger than the last checkpoints needed; return mappings."""
        with self._lock:
            enough = self._enough()
            while self.size > enough and (generation := self._free() or self._unkept()) is not None:
                self._drop(generation)
            dropped, self._dropped = self._dropped, []
            return dropped

    def _drop(self, generation: Generation) -> None:
        self._generations.remove(generation)
        generation.number = -1
        self._dropped += generation.mappings
        if generation is self._latest:
            self._latest = None

    def _available(self) -> Generation | None:
        """Return what the next checkpoint may be copied to while all that is kept stays."""
        generation = self._free()
        if generation is None and self._may_add():
            generation = Generation()
            self._generations.append(generation)
        return generation

    def _given_up(self) -> Generation | None:
        """Return what the next checkpoint may be copied to if it is compared with nothing."""
        generation = self._unkept()
        if generation is None:
            return None
        if self.size <= self._enough():
            self._latest = None
            return generation
        self._drop(generation)
        return self._available()

    def _free(self) -> Generation | None:
        """Return a generation that nobody needs, nor the next checkpoint: the fittest."""
        free = [g for g in self._generations if not g.needed and g is not self._latest]
        enough = [g for g in free if g.size >= self._needed[1]]
        return min(enough, key=_size, default=None) or max(free, key=_size, default=None)

    def _unkept(self) -> Generation | None:
        """Return the latest generation if only the next checkpoint is to be compared with it."""
        return self._latest if self._latest is not None and not self._latest.needed else None

    def _may_add(self) -> bool:
        return self.size + self._needed[1] <= self._enough()

    def _enough(self, needed: int = 0) -> int:
        """Return how many bytes are enough for all, if one needs as many, or as they did."""
        used = [generation.used for generation in self._generations if generation.needed]
        return 2 * max(needed, *self._needed, *used) + SLACK

    def _make_room(self, generation: Generation, most: int) -> None:
        """Give back, at once, what nothing was copied to: of this generation, then of others."""
        unused = [mapping for mapping in generation.mappings if not mapping.used]
        generation.mappings = [mapping for mapping in generation.mappings if mapping.used]
        self._dropped += unused
        while self.size > most and (other := self._free()) is not None:
            self._drop(other)
        for mapping in self._dropped:
            discard(mapping.view)
        self._dropped = []

    def _add(self, generation: Generation, size: int) -> bool:
        """Give a generation another mapping; False if that is not to be had."""
        size = rounded(size, HUGE)
        most = min(self._most, self._enough(generation.used + size))
        if self.size + size > most:
            self._make_room(generation, most - size)
        if self.size + size > most or size > self._spare():
            return False
        try:
            generation.mappings.append(_Mapping(size))
        except OSError:
            return False
        self.peak = max(self.peak, self.size)
        return True
