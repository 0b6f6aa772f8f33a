"""Hash the leaves of a state and copy those that the store does not have."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from flor_trace._speedups import addresses, stage
from flor_trace.hints import Final, NamedTuple
from flor_trace.runtime.staging import Generation, Hold, Pool
from flor_trace.store.framing import Base, Key, make_key
from flor_trace.types import Digest

#: Smaller leaves are hashed and copied in two passes: the second finds them in the caches.
SMALLEST: Final = 64 << 10

#: Where a leaf is, and its length.
Place = tuple[int, int]


class Copied(NamedTuple):
    """A chunk on its way to the store."""

    key: Key
    data: memoryview
    base: Base | None  #: what was copied before from the same place, which lasts as long


class _Was(NamedTuple):
    """What was at a place at the last take."""

    key: Key
    changed: bool  #: since the take before
    copy: memoryview | None  #: the last that was made of it
    copied: Key  #: what is in the copy
    generation: Generation | None
    number: int


class Copies:
    """Remembers from one take to the next what was where."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._last: dict[Place, _Was] = {}

    def begin(self, leaves: Sequence[memoryview], known: Container[Key]) -> Take:
        """Return what copies the leaves of the next take, of which the store has those `known`."""
        return Take(self, leaves, known)

    def forget(self) -> None:
        """Make no more use of what was copied: it may not have been stored."""
        self._last = {}

    def was(self, place: Place) -> _Was | None:
        """Return what was at a place at the last take."""
        return self._last.get(place)

    def over(self, now: dict[Place, _Was]) -> None:
        """Note what is where at the take that is now over."""
        self._last = now


class Take:
    """The leaves of one take, and the copies that were made of them."""

    def __init__(self, copies: Copies, leaves: Sequence[memoryview], known: Container[Key]) -> None:
        self._copies = copies
        self._leaves = leaves
        self._known = known
        self._large = [n for n, leaf in enumerate(leaves) if leaf.nbytes >= SMALLEST]
        found = addresses([leaves[n] for n in self._large])
        self._places = {n: (at, leaves[n].nbytes) for n, at in zip(self._large, found, strict=True)}
        self.hold = Hold()
        self._generation = copies.pool.begin(self.hold)
        self._made: dict[int, memoryview] = {}  #: what holds the bytes of a leaf from now on
        self._copied: set[int] = set()  #: of them, those that were copied for this take
        self.whole = False  #: whether all that the store lacks was copied

    def read(self, numbers: Sequence[int]) -> list[Digest]:
        """Return the digests of some leaves; those that have surely changed are copied at once."""
        leaves = self._leaves
        sure = [n for n in numbers if self._surely_new(n)]
        targets = dict(zip(sure, self._room(sure), strict=True))
        digests = stage([leaves[n] for n in numbers], [*map(targets.get, numbers)])
        self._note(targets)
        return [*map(Digest, digests)]

    def finish(self, digests: list[Digest]) -> list[Copied]:
        """Return what the store lacks, copied as far as there is room; adjusts the digests.

        They are those of the copies: a leaf may have changed since it was hashed, if another
        thread writes to it.
        """
        keys = [make_key(leaf.nbytes, d) for leaf, d in zip(self._leaves, digests, strict=True)]
        lacking = {
            key: n
            for n, key in enumerate(keys)
            if key not in self._known and n not in self._made and not self._at_hand(n, key)
        }
        made = {keys[n] for n in self._made}
        rest = [n for key, n in lacking.items() if key not in made]
        rooms = self._room(rest)
        if None not in rooms:
            for n, digest in zip(rest, stage([self._leaves[n] for n in rest], rooms), strict=True):
                digests[n] = Digest(digest)
                keys[n] = make_key(self._leaves[n].nbytes, digests[n])
            self._note(dict(zip(rest, rooms, strict=True)))
        found = self._found(keys)
        self.whole = all(key in self._known or key in found for key in keys)
        self._remember(keys)
        return [*found.values()]

    def _note(self, copies: Mapping[int, memoryview | None]) -> None:
        made = {n: copy for n, copy in copies.items() if copy is not None}
        self._made |= made
        self._copied |= made.keys()

    def _surely_new(self, n: int) -> bool:
        """Whether a leaf was not seen before in its place, or has changed there the last time."""
        place = self._places.get(n)
        if place is None or self._kept(n):
            return False
        was = self._copies.was(place)
        return was is None or was.changed

    def _at_hand(self, n: int, key: Key) -> bool:
        """Whether a leaf needs no copy, or there is one that was made for an earlier take."""
        if self._kept(n):
            self._made[n] = self._leaves[n]
            return True
        was = self._copies.was(self._places[n]) if n in self._places else None
        if was is None or was.copy is None or was.copied != key or not self._keep(was):
            return False
        self._made[n] = was.copy
        return True

    def _keep(self, was: _Was) -> bool:
        """Keep an earlier copy until this take is written, if that is still there."""
        generation = was.generation
        return generation is not None and self._copies.pool.keep(generation, was.number, self.hold)

    def _kept(self, n: int) -> bool:
        """Whether nobody can write to a leaf, so that it needs no copy to stay what it is."""
        return type(self._leaves[n].obj) is bytes

    def _room(self, numbers: Sequence[int]) -> list[memoryview | None]:
        """Return room for copies of some leaves, or None for each when there is not enough."""
        if self._generation is not None:
            sizes = [self._leaves[n].nbytes for n in numbers]
            found = self._copies.pool.reserve(self._generation, sizes)
            if found is not None:
                return [*found]
        return [None] * len(numbers)

    def _found(self, keys: Sequence[Key]) -> dict[Key, Copied]:
        """Return what is to be stored, each only once."""
        copied: dict[Key, Copied] = {}
        for n, key in enumerate(keys):
            if key not in self._known and key not in copied:
                data = self._made.get(n)
                if data is not None:
                    copied[key] = Copied(key, data, self._base(n, key))
        return copied

    def _base(self, n: int, key: Key) -> Base | None:
        was = self._copies.was(self._places[n]) if n in self._places else None
        if was is None or was.copy is None or was.copied == key or not self._keep(was):
            return None
        return Base(was.copied, was.copy)

    def _remember(self, keys: Sequence[Key]) -> None:
        now = {}
        for n, place in self._places.items():
            if self._kept(n):
                continue
            key, was = keys[n], self._copies.was(place)
            changed = was is not None and was.key != key
            if n in self._copied and self._generation is not None:
                copy, generation = self._made[n], self._generation
                now[place] = _Was(key, changed, copy, key, generation, generation.number)
            elif was is not None and was.generation and was.generation.number == was.number:
                now[place] = was._replace(key=key, changed=changed)
            else:
                now[place] = _Was(key, changed, None, key, None, -1)
        self._copies.over(now)
        if self._generation is not None:
            self._copies.pool.settle(self._generation)
