"""Fills a set so that it iterates in a given order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from flor_trace.errors import RestoreError

#: How many insertions the search for an order may cost: about a second.
_BUDGET: Final = 10_000_000
#: Up to this size, every move of one element is tried.
_SMALL: Final = 24


def fill_in_order(target: set[Any], wanted: list[Any], *, check: bool) -> None:
    """Make `target` hold the elements, iterating in the order given when `check` is set.

    The order of a set depends on the hashes, on the size of its table and on which element came
    first where two want the same slot, so several histories are tried. Raises `RestoreError` when
    none gives the order.
    """
    if check and _iterates_as(target, wanted):
        return
    if check and _extends(target, wanted):
        return
    for fill in _ways(wanted) if check else [_in_turn(wanted)]:
        set.clear(target)
        fill(target)
        if not check or _iterates_as(target, wanted):
            return
    raise RestoreError(
        f"a set of {len(wanted)} elements cannot be given the order in which it iterated, so a "
        "loop over it would run differently. Restore with the hash seed of the run "
        "(PYTHONHASHSEED), or from an earlier boundary."
    )


def _iterates_as(target: set[Any], wanted: list[Any]) -> bool:
    return len(target) == len(wanted) and all(
        type(one) is type(other) and (one is other or one == other)
        for one, other in zip(set.__iter__(target), wanted, strict=True)
    )


def _extends(target: set[Any], wanted: list[Any]) -> bool:
    """Add what is missing, if nothing else is there: the set keeps the history of its table."""
    if not target or not target.issubset(wanted):
        return False
    set.update(target, wanted)
    return _iterates_as(target, wanted)


def _ways(wanted: list[Any]) -> Iterator[Callable[[set[Any]], None]]:
    yield _in_turn(wanted)
    yield lambda target: set.update(target, set(wanted))
    yield _in_turn(_search(wanted))
    for extra in (1, 2, 4, 8, 16):
        yield _through_larger(wanted, extra)


def _in_turn(order: list[Any]) -> Callable[[set[Any]], None]:
    def fill(target: set[Any]) -> None:
        for item in order:
            set.add(target, item)

    return fill


def _search(wanted: list[Any]) -> list[Any]:
    """Return the best insertion order that moves of single elements lead to."""
    order = list(wanted)
    right, misplaced = _outcome(order, wanted)
    tries = _BUDGET // max(len(wanted), 1)
    while misplaced is not None and tries > 0:
        for candidate in _moves(order, misplaced, wanted[right]):
            tries -= 1
            reached, other = _outcome(candidate, wanted)
            if reached > right:
                order, right, misplaced = candidate, reached, other
                break
        else:
            break
    return order


def _outcome(order: list[Any], wanted: list[Any]) -> tuple[int, Any]:
    """Return how many elements come out right, and the first that does not (None if all do)."""
    made: set[Any] = set()
    for item in order:
        made.add(item)
    for n, (got, expected) in enumerate(zip(made, wanted, strict=True)):
        if got is not expected:
            return n, (got,)
    return len(wanted), None


def _moves(order: list[Any], misplaced: tuple[Any], expected: Any) -> Iterator[list[Any]]:
    (got,) = misplaced
    for mover, other in ((got, expected), (expected, got)):
        rest = [item for item in order if item is not mover]
        beside = next(n for n, item in enumerate(rest) if item is other)
        yield [*rest[: beside + 1], mover, *rest[beside + 1 :]]
        yield [*rest[:beside], mover, *rest[beside:]]
        yield [*rest, mover]
        yield [mover, *rest]
    if len(order) <= _SMALL:
        for mover in order:
            rest = [item for item in order if item is not mover]
            for place in range(len(order)):
                yield [*rest[:place], mover, *rest[place:]]


def _through_larger(wanted: list[Any], extra: int) -> Callable[[set[Any]], None]:
    # A set that was once larger keeps its table. Objects are hashed by address: new ones fall
    # into other slots each time, so that a later try may succeed where an earlier one did not.
    def fill(target: set[Any]) -> None:
        fillers = [object() for _ in range(len(wanted) * extra)]
        set.update(target, fillers)
        set.update(target, wanted)
        set.difference_update(target, fillers)

    return fill
