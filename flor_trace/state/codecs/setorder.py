"""Fills a set so that it iterates in a given order, whatever history gave it that order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

from flor_trace.errors import RestoreError
from flor_trace.hints import Any, Final
from flor_trace.records import dataclass

# The order of a set depends on the hashes of its elements, on the size of its table, on which of
# two elements that want the same slot came first, and on slots that removed elements left behind.
# CPython looks for a free slot from ``hash & mask`` on, over a run of neighbours, then elsewhere;
# the slot of a removed element counts as taken until the table is built anew. So a chosen slot
# can be forced on an element by taking every slot it would try before with a number that is
# removed afterwards. Nothing here has to be trusted: the order is compared at the end.
_NEIGHBOURS: Final = 9
_SHIFT: Final = 5
_WORD: Final = (1 << sys.hash_info.width) - 1
#: Bytes of one slot: a pointer and a hash.
_ENTRY: Final = object.__basicsize__
#: Tables this large are tried even for a few elements.
_LARGEST: Final = 1 << 16
#: How many slots an element may be pushed along before other table sizes look better.
_REACH: Final = 32
#: How many orders of the undisplaced elements of a frozenset are tried for each table size.
_TURNS: Final = 8


def fill_in_order(target: set[Any], wanted: list[Any], *, check: bool) -> None:
    """Make `target` hold the elements, iterating in the order given when `check` is set.

    Raises `RestoreError` when no way is found to give it the order.
    """
    if check and (_iterates_as(target, wanted) or _extends(target, wanted)):
        return
    set.clear(target)
    for item in wanted:
        set.add(target, item)
    if not check or _iterates_as(target, wanted):
        return
    for layout in _layouts(wanted):
        if layout.build(target, wanted) and _iterates_as(target, wanted):
            return
    raise _no_order(wanted)


def frozen_in_order(cls: type[frozenset[Any]], wanted: list[Any], *, check: bool) -> Any:
    """Return a frozenset of the elements, iterating in the order given when `check` is set.

    Nothing is ever removed from a frozenset, so elements were displaced only by each other, and
    the order of adding them decides all. Raises `RestoreError` when no such order is found.
    """
    for order in _orders(wanted):
        # From a list the table grows step by step; from a dict it has its size at once.
        for source in (order, dict.fromkeys(order)):
            made = frozenset.__new__(cls, source)
            if not check or _iterates_as(made, wanted):
                return made
    raise _no_order(wanted)


def _orders(wanted: list[Any]) -> Iterator[list[Any]]:
    yield wanted
    for layout in _layouts(wanted):
        taken: set[int] = set()
        order = layout.order(taken)
        if len(order) == len(wanted):
            moved = [wanted[n] for n in order if layout.paths[n]]
            at_home = [wanted[n] for n in order if not layout.paths[n]]
            yield [wanted[n] for n in order]
            # Those at home may come in any order, which matters where the table grows.
            for turn in range(min(_TURNS, len(at_home))):
                yield [*at_home[turn:], *at_home[:turn], *moved]


def _no_order(wanted: list[Any]) -> RestoreError:
    return RestoreError(
        f"a set of {len(wanted)} elements cannot be given the order in which it iterated, so a "
        "loop over it would run differently. Restore with the hash seed of the run "
        "(PYTHONHASHSEED), or from an earlier boundary."
    )


def _iterates_as(target: set[Any] | frozenset[Any], wanted: list[Any]) -> bool:
    iterate: Any = set.__iter__ if isinstance(target, set) else frozenset.__iter__
    return len(target) == len(wanted) and all(
        type(one) is type(other) and (one is other or one == other)
        for one, other in zip(iterate(target), wanted, strict=True)
    )


def _extends(target: set[Any], wanted: list[Any]) -> bool:
    """Add what is missing, if nothing else is there: the set keeps the history of its table."""
    if not target or not target.issubset(wanted):
        return False
    set.update(target, wanted)
    return _iterates_as(target, wanted)


@dataclass(frozen=True, slots=True)
class _Layout:
    """A slot for every element in a table of a given size."""

    size: int
    cost: int
    slots: list[int]
    paths: list[list[int]]  #: the slots that each element would try before its own

    def build(self, target: set[Any], wanted: list[Any]) -> bool:
        """Fill the set by this layout; False when that cannot be done."""
        own = set(self.slots)
        blocked = {slot for path in self.paths for slot in path} - own
        at_home = [item for item, path in zip(wanted, self.paths, strict=True) if not path]
        # A table grows by having enough in it: elements in the slot they want, then blockers.
        missing = max(0, _least(self.size) - len(at_home) - len(blocked))
        free = (slot for slot in range(self.size) if slot not in own and slot not in blocked)
        spare = _trigger(self.size // 2)
        numbers = _numbers(self.size, wanted, [*blocked, *islice(free, missing + spare)])
        fill = len(wanted) + len(blocked) + missing
        if fill * 5 >= 3 * (self.size - 1):
            return False
        left = _grow(target, self.size, [*at_home, *numbers])
        if left is None:
            return False
        set.update(target, numbers[: len(blocked)])
        order = self.order(blocked)
        set.update(target, [wanted[n] for n in order])
        _discard(target, numbers)
        return len(order) == len(wanted)

    def order(self, taken: set[int]) -> list[int]:
        """Return which element to add after which, as far as taken slots push them there.

        The slots are added to `taken`.
        """
        order: list[int] = []
        waiting = list(range(len(self.slots)))
        while waiting:
            ready = [n for n in waiting if taken.issuperset(self.paths[n])]
            if not ready:
                break
            order.extend(ready)
            taken.update(self.slots[n] for n in ready)
            waiting = [n for n in waiting if self.slots[n] not in taken]
        return order


def _discard(target: set[Any], numbers: list[int]) -> None:
    # One by one: difference_update builds the table anew when many are gone.
    for number in numbers:
        set.discard(target, number)


def _numbers(size: int, wanted: list[Any], slots: list[int]) -> list[int]:
    """Return, for each slot, a number that wants exactly this slot and is not an element."""
    taken = set(wanted)
    found = []
    for slot in slots:
        number = slot
        while number in taken:
            number += size
        found.append(number)
    return found


def _least(size: int) -> int:
    """Return how few elements make a table grow to this size."""
    return size // 8 if size // 8 <= 50_000 else size // 4


def _trigger(size: int) -> int:
    """Return how many taken slots make a table of this size grow."""
    return (3 * (size - 1) + 4) // 5


def _grow(target: set[Any], size: int, items: list[Any]) -> list[Any] | None:
    """Give the set a table of `size` slots; return the items left in it, or None on failure."""
    if size == 8:
        set.clear(target)
        return []
    least = _least(size)
    for turn in range(min(least, 16)):
        turned = [*items[turn:least], *items[:turn], *items[least:]]
        if _grow_once(target, size, turned):
            return items[:least]
    return None


def _grow_once(target: set[Any], size: int, items: list[Any]) -> bool:
    before = 8
    while before * 4 < size:
        before *= 4
    least, trigger = _least(size), _trigger(before)
    left = _grow(target, before, items)
    if left is None or len(items) < trigger or trigger < least:
        return False
    # What is discarded still counts as taken, until the last one makes the table grow: unless
    # that one happens to reuse such a slot, and then another has to come last.
    there = set(left)
    last = next(item for item in items if item not in there)
    rest = [item for item in items[:trigger] if item not in there and item is not last]
    set.update(target, rest)
    _discard(target, [item for item in items[least:trigger] if item is not last])
    set.add(target, last)
    return set.__sizeof__(target) == set.__sizeof__(set()) + size * _ENTRY


def _layouts(wanted: list[Any]) -> Iterator[_Layout]:
    """Give layouts for tables of several sizes, those that displace least first."""
    size = 8
    found = []
    while size <= max(_LARGEST, 8 * len(wanted)):
        if len(wanted) * 5 < 3 * (size - 1):
            layout = _arrange(wanted, size)
            if layout is not None:
                found.append(layout)
        size *= 2
    yield from sorted(found, key=lambda layout: layout.cost)


def _probes(item: Any, size: int) -> list[int]:
    """Return the first slots that the element tries, without repetition."""
    hashed = hash(item) & _WORD
    slot, found = hashed & (size - 1), {}
    for _ in range(_REACH):
        run = _NEIGHBOURS if slot + _NEIGHBOURS <= size - 1 else 0
        found.update(dict.fromkeys(range(slot, slot + run + 1)))
        if len(found) >= _REACH:
            break
        hashed >>= _SHIFT
        slot = (slot * 5 + 1 + hashed) & (size - 1)
    return list(found)


def _arrange(wanted: list[Any], size: int) -> _Layout | None:
    """Choose increasing slots for the elements that displace them least, or None."""
    probes = [_probes(item, size) for item in wanted]
    # For each element, its possible slots in order, each with the least cost up to there and the
    # choice made for the element before.
    table: list[list[tuple[int, int, int]]] = []
    for options in probes:
        row: list[tuple[int, int, int]] = []
        before = table[-1] if table else [(-1, 0, -1)]
        at, best, choice = 0, -1, -1
        for slot, displaced in sorted(zip(options, range(len(options)), strict=True)):
            while at < len(before) and before[at][0] < slot:
                if best < 0 or before[at][1] < best:
                    best, choice = before[at][1], at
                at += 1
            if best >= 0:
                row.append((slot, best + displaced, choice))
        if not row:
            return None
        table.append(row)
    return _trace_back(table, probes, size)


def _trace_back(
    table: list[list[tuple[int, int, int]]], probes: list[list[int]], size: int
) -> _Layout:
    at = min(range(len(table[-1])), key=lambda n: table[-1][n][1])
    cost = table[-1][at][1]
    slots: list[int] = []
    for row in reversed(table):
        slots.append(row[at][0])
        at = row[at][2]
    slots.reverse()
    paths = [tries[: tries.index(slot)] for tries, slot in zip(probes, slots, strict=True)]
    return _Layout(size, cost, slots, paths)
