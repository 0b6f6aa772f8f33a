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

from flor_trace._speedups import addresses, discard, populate
from flor_trace.hints import Final

#: A line of the caches, and a huge page.
LINE: Final = 64
HUGE: Final = 2 << 20

#: Pages are made to be there in steps: the program's own page faults wait for each.
STEP: Final = 4 << 20

#: A generation that has more mappings than this begins anew.
_MOST_MAPPINGS = 4

#: All generations together may have so much beyond twice what the largest needs.
SLACK: Final = 64 << 20


def rounded(size: int, to: int) -> int:
    """Return the least multiple of `to` that is not below `size`."""
    return -(-size // to) * to


def spare_memory() -> int:
    """Return half of the bytes that the system says it can give to programs."""
    try:
        with open("/proc/meminfo", "rb") as lines:
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
        # Wiped and not missing there: the child's own memory must not get in the place of what the
        # child will unmap when it lets go of our objects.
        for advice in ("MADV_WIPEONFORK", "MADV_HUGEPAGE"):
            with suppress(AttributeError, OSError):  # the system has no such thing
                memory.madvise(getattr(mmap, advice))
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
        self.holds: set[int] = set()  #: who needs what is in it
        self.mappings: list[_Mapping] = []

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


class Hold:
    """Keeps what is in some generations until it is released, or nobody has it any more."""

    __slots__ = ("_generations",)

    def __init__(self) -> None:
        self._generations: list[Generation] = []

    def add(self, generation: Generation) -> None:
        """Keep what is in this generation too."""
        generation.holds.add(id(self))
        self._generations.append(generation)

    def release(self) -> None:
        """Keep nothing any more; takes no lock, so that it may happen at any point."""
        for generation in self._generations:
            generation.holds.discard(id(self))
        self._generations = []

    def __del__(self) -> None:
        self.release()


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
        return self._free() is None and not self._may_add()

    def begin(self, hold: Hold) -> Generation | None:
        """Return a generation that nobody needed, and that `hold` keeps; None if there is none."""
        with self._lock:
            generation = self._available()
            if generation is None:
                return None
            if len(generation.mappings) > _MOST_MAPPINGS:
                self._dropped += generation.mappings
                generation.mappings = []
            for mapping in generation.mappings:
                mapping.used = 0
            self._count += 1
            generation.number = self._count
            hold.add(generation)
            return generation

    def reserve(self, generation: Generation, sizes: Sequence[int]) -> list[memoryview] | None:
        """Return room for as many bytes each, or None when that would be too much memory."""
        with self._lock:
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
        for mapping in self._unneeded():
            discard(mapping.view)
        with self._lock:
            generation = self._available()
            if generation is None:
                return
            number, lacking = generation.number, max(self._needed) - generation.size
            if lacking > 0:
                self._add(generation, lacking)
            mappings = list(generation.mappings)
        for mapping in mappings:
            while mapping.populated < mapping.size and generation.number == number:
                start = mapping.populated
                mapping.populated = min(start + STEP, mapping.size)
                populate(mapping.view[start : mapping.populated])

    def close(self) -> None:
        """Have no memory any more, as soon as nobody needs what is in it."""
        with self._lock:
            self._generations, self._latest = [], None

    def _unneeded(self) -> list[_Mapping]:
        """Forget generations that are larger than the last checkpoints needed; return mappings."""
        with self._lock:
            enough = self._enough()
            dropped, self._dropped = self._dropped, []
            while self.size > enough and (generation := self._free()) is not None:
                self._generations.remove(generation)
                generation.number = -1
                dropped += generation.mappings
            return dropped

    def _available(self) -> Generation | None:
        generation = self._free()
        if generation is None and self._may_add():
            generation = Generation()
            self._generations.append(generation)
        return generation

    def _free(self) -> Generation | None:
        """Return the largest generation that nobody needs, nor the next checkpoint."""
        free = [g for g in self._generations if not g.holds and g is not self._latest]
        return max(free, key=lambda generation: generation.size, default=None)

    def _may_add(self) -> bool:
        return self.size + self._needed[1] <= self._enough()

    def _enough(self, needed: int = 0) -> int:
        """Return how many bytes are enough for all, if one needs as many, or as they did."""
        used = [generation.used for generation in self._generations if generation.holds]
        return 2 * max(needed, *self._needed, *used) + SLACK

    def _add(self, generation: Generation, size: int) -> bool:
        """Give a generation another mapping; False if that is not to be had."""
        size = rounded(size, HUGE)
        most = min(self._most, self._enough(generation.used + size))
        if self.size + size > most or size > self._spare():
            return False
        try:
            generation.mappings.append(_Mapping(size))
        except OSError:
            return False
        self.peak = max(self.peak, self.size)
        return True
