"""Take large buffers that stay the same for constant, and look at them until that is proven.

Hashing a data set of gigabytes at every boundary would cost more than all else, so a buffer that
was hashed in full and found the same several times is from then on *assumed* to be what it was.
The assumption is looked after: at every take a share of its blocks is hashed, in an order that was
drawn, so that each comes up again and again, and all of them at the end; and short stretches that
were drawn at the take before are compared.  A block that was what it was both
before and after a take is what was saved with it; a take of which every block is known to be so is
*confirmed*.  A block that differs makes the takes since it was last looked at *doubtful*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd

from flor_trace._speedups import digest, digest_many
from flor_trace.hints import Final, Literal, TypeAlias
from flor_trace.records import dataclass
from flor_trace.types import Digest

#: Address, length, and what else tells one owner of memory from another.
Place: TypeAlias = tuple[int, int, int]

#: Gives the place of a buffer and a flat view of it; None for memory without an address.
Locate: TypeAlias = Callable[[memoryview], "tuple[Place, memoryview] | None"]

#: Whether the store has the bytes of a size and digest.
Stored: TypeAlias = Callable[[int, Digest], bool]

#: Reads some of the leaves of a take in full, given their numbers, and returns their digests.
Read: TypeAlias = Callable[[Sequence[int]], Sequence[Digest]]

#: Full hashes that must agree, and what that becomes at most when assumptions fail.
AGREEING: Final = 2
MOST_AGREEING: Final = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is looked at, in bytes and counts."""

    smallest: int = 4 << 20  #: smaller buffers are always hashed
    block: int = 256 << 10
    sweep: int = 16  #: takes in which every block comes up
    lines: int = 64  #: short stretches that are remembered from one take to the next
    line: int = 64


@dataclass(frozen=True, slots=True)
class Finding:
    """Takes after one and before another may hold what was not there, or are not known not to."""

    kind: Literal["doubtful", "unconfirmed"]
    after: int
    before: int
    number: int  #: of the constant
    nbytes: int


class Constant:
    """A buffer that is assumed to be constant, and when each of its blocks was seen to be."""

    __slots__ = (
        "_below",
        "_lines",
        "_next",
        "_order",
        "_remembered",
        "_sizes",
        "blocks",
        "digest",
        "nbytes",
        "number",
        "seen",
    )

    def __init__(
        self, view: memoryview, digest: Digest, take: int, sizes: Sizes, below: Callable[[int], int]
    ) -> None:
        self.digest = digest
        self.nbytes = len(view)
        self.number = -1  #: among all constants of the run
        self._sizes = sizes
        self._below = below
        count = -(-self.nbytes // sizes.block)
        self.blocks = self._hash(view, range(count))
        self.seen = [take] * count  #: the take at which a block was last what it was
        self._order = self._draw_order()
        self._next = 0
        self._remember(view)

    @property
    def confirmed(self) -> int:
        """The last take by which the buffer is known to have been what is assumed."""
        return min(self.seen)

    @property
    def share(self) -> int:
        """How many blocks are looked at with every take."""
        return -(-len(self.blocks) // self._sizes.sweep)

    def look(self, view: memoryview, take: int, blocks: Sequence[int]) -> bool:
        """Whether the remembered lines and the `blocks` are what they were."""
        same = self._hash(view, blocks) == [self.blocks[b] for b in blocks]
        if not same or self._lines_of(view) != self._remembered:
            return False
        for b in blocks:
            self.seen[b] = take
        self._remember(view)
        return True

    def examine(self, view: memoryview, take: int) -> int | None:
        """Hash every block; return the take after which it may have differed, None if it never did.

        Blocks that are what they were count as seen.
        """
        now = self._hash(view, range(len(self.blocks)))
        wrong = [b for b, (was, is_) in enumerate(zip(self.blocks, now, strict=True)) if was != is_]
        after = min((self.seen[b] for b in wrong), default=None)
        self.seen = [take] * len(self.seen)
        self._remember(view)
        return after

    def due(self, count: int) -> list[int]:
        """Return the next blocks to be looked at: those that it is longest ago for."""
        total = len(self.blocks)
        start, stride = self._order
        first, count = self._next, min(count, total)
        self._next = (first + count) % total
        return [(start + n * stride) % total for n in range(first, first + count)]

    def not_seen_since(self, take: int) -> list[int]:
        """Return the blocks that were last looked at before `take`."""
        return [b for b, seen in enumerate(self.seen) if seen < take]

    def _draw_order(self) -> tuple[int, int]:
        """Return start and stride of a walk in a circle that comes to every block."""
        total = len(self.blocks)
        stride = 1 + self._below(total)
        while gcd(stride, total) != 1:
            stride = 1 + self._below(total)
        return self._below(total), stride

    def _hash(self, view: memoryview, blocks: Sequence[int]) -> list[bytes]:
        size = self._sizes.block
        return digest_many([view[b * size : (b + 1) * size] for b in blocks])

    def _remember(self, view: memoryview) -> None:
        last = self.nbytes - self._sizes.line
        drawn = [self._below(last + 1) for _ in range(self._sizes.lines)]
        self._lines = (0, last, *drawn)
        self._remembered = self._lines_of(view)

    def _lines_of(self, view: memoryview) -> bytes:
        length = self._sizes.line
        return b"".join([view[at : at + length] for at in self._lines])


class Constants:
    """Gives the digests of the leaves of each take, reading as little of constants as is sound.

    Takes are numbered from 0.  No memory of the program is held from one take to the next, but
    for a few lines that were copied.
    """

    def __init__(
        self, locate: Locate, below: Callable[[int], int], sizes: Sizes | None = None
    ) -> None:
        self._locate = locate
        self._below = below
        self._sizes = sizes or Sizes()
        self._constants: dict[Place, Constant] = {}
        self._equal: dict[Place, tuple[Digest, int]] = {}  #: of the last take
        self._refuted: set[Place] = set()
        self._agreeing = AGREEING
        self._findings: list[Finding] = []
        self._count = 0
        self._last = -1  #: the last take that gave digests
        self.take = -1
        self.assumed = 0  #: bytes that this take relied on without looking at them
        self.looked = 0  #: bytes that it read
        self.extra = 0  #: those of them that it read because there was time
        self.adopted: list[tuple[int, Constant]] = []  #: by this take, with the number of the leaf

    @property
    def confirmed(self) -> int:
        """The last take by which all is known to have been what was assumed, as far as found."""
        return min((each.confirmed for each in self._constants.values()), default=self.take)

    @property
    def pending(self) -> bool:
        """Whether some take relied on what was not looked at since."""
        return self.confirmed < self._last

    def findings(self) -> list[Finding]:
        """Return what was found out about earlier takes since this was last asked."""
        found, self._findings = self._findings, []
        return found

    def digests(
        self,
        leaves: Sequence[memoryview],
        *,
        read: Read | None = None,
        stored: Stored = lambda size, digest: True,
        spare: int = 0,
    ) -> list[Digest]:
        """Return the digest of each leaf of the next take.

        What is not assumed is `read`, which may do more with it. What is assumed must be `stored`,
        or it is read in full; there is time to look at `spare` bytes more than necessary.
        """
        read = read or (lambda numbers: [*map(Digest, digest_many([leaves[n] for n in numbers]))])
        self.take += 1
        self.assumed = self.looked = self.extra = 0
        self.adopted = []
        found, large, rest = self._placed(leaves)
        equal, self._equal = self._equal, {}
        self._drop_all_but({place for _, place, _ in large})
        if spare and self._constants:
            large.sort(key=self._oldest_first)
        rest += [n for n, place, _ in large if place not in self._constants]
        for n, now in zip(rest, read(rest), strict=True):  # in one go: that is faster
            found[n] = now
        for n, place, view in large:
            constant = self._constants.get(place)
            if constant is None:
                self.looked += len(view)
                now = (
                    found[n] or read((n,))[0]
                )  # two leaves of one place: the first was no constant
                found[n] = self._in_full(n, place, view, now, equal.get(place), stored)
            elif not stored(constant.nbytes, constant.digest):
                found[n] = self._examined(place, constant, view)
            else:
                more = min(spare // self._sizes.block, len(constant.blocks) - constant.share)
                spare -= more * self._sizes.block
                found[n] = self._looked_at(place, constant, view, more)
        self._last = self.take
        return found

    def prove(self, leaves: Sequence[memoryview]) -> None:
        """Look at whatever was not looked at since the last take."""
        self.take += 1
        for leaf in leaves:
            where = self._locate(leaf) if leaf.nbytes >= self._sizes.smallest else None
            constant = None if where is None else self._constants.get(where[0])
            if where is not None and constant is not None:
                place, view = where
                if not constant.look(view, self.take, constant.not_seen_since(self._last)):
                    self._examined(place, constant, view)

    def _placed(
        self, leaves: Sequence[memoryview]
    ) -> tuple[list[Digest], list[tuple[int, Place, memoryview]], list[int]]:
        """Return room for the digests, the large leaves that have a place, and the others."""
        large = []
        rest = []
        for n, leaf in enumerate(leaves):
            where = self._locate(leaf) if leaf.nbytes >= self._sizes.smallest else None
            if where is None:
                rest.append(n)
            else:
                large.append((n, *where))
        return [Digest(b"")] * len(leaves), large, rest

    def _oldest_first(self, leaf: tuple[int, Place, memoryview]) -> int:
        constant = self._constants.get(leaf[1])
        return -1 if constant is None else constant.confirmed

    def _in_full(
        self,
        n: int,
        place: Place,
        view: memoryview,
        now: Digest,
        before: tuple[Digest, int] | None,
        stored: Stored,
    ) -> Digest:
        """Return the digest, `now`; assume that the buffer is constant if it often was that."""
        count = before[1] + 1 if before is not None and before[0] == now else 1
        agreed = count >= self._agreeing and place not in self._refuted
        if agreed and stored(len(view), now):
            constant = Constant(view, now, self.take, self._sizes, self._below)
            # Other threads may write: the blocks are those of the digest only if nobody did.
            if self._hash(view) == now:
                self._constants[place] = constant
                constant.number, self._count = self._count, self._count + 1
                self.adopted.append((n, constant))
                return now
            now, count = self._hash(view), 1
        self._equal[place] = now, count
        return now

    def _looked_at(self, place: Place, constant: Constant, view: memoryview, more: int) -> Digest:
        blocks = constant.due(constant.share + more)
        if not constant.look(view, self.take, blocks):
            return self._examined(place, constant, view)
        size = self._sizes.block
        self.looked += len(blocks) * size
        self.extra += more * size
        self.assumed += (len(constant.blocks) - len(blocks)) * size
        return constant.digest

    def _examined(self, place: Place, constant: Constant, view: memoryview) -> Digest:
        """Hash an assumed constant in full; give it up if it is not what it was."""
        after = constant.examine(view, self.take)
        now = self._hash(view)
        if after is not None or now != constant.digest:
            del self._constants[place]
            self._equal[place] = now, 1
            if after is not None and self._failed("doubtful", constant, after):
                self._refuted.add(place)
        return now

    def _drop_all_but(self, places: set[Place]) -> None:
        """Give up the constants that are not there any more: nobody can look at them again."""
        for place in self._constants.keys() - places:
            constant = self._constants.pop(place)
            self._failed("unconfirmed", constant, constant.confirmed)

    def _failed(
        self, kind: Literal["doubtful", "unconfirmed"], constant: Constant, after: int
    ) -> bool:
        """Note that takes after `after` relied on what cannot be known; return whether some did."""
        if after >= self._last:
            return False
        self._findings.append(Finding(kind, after, self.take, constant.number, constant.nbytes))
        self._agreeing = min(2 * self._agreeing, MOST_AGREEING)
        return True

    def _hash(self, view: memoryview) -> Digest:
        self.looked += len(view)
        return Digest(digest(view))
