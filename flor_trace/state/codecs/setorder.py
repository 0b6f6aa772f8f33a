"""Fills a set so that it iterates in a given order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flor_trace.errors import RestoreError


def fill_in_order(target: set[Any], wanted: list[Any], *, check: bool) -> None:
    """Make `target` hold the elements, iterating in the order given when `check` is set.

    The order of a set depends on the hashes, on the size of its table and on which element came
    first where two want the same slot, so several ways to fill it are tried. Raises `RestoreError`
    when none gives the order.
    """
    if check and list(set.__iter__(target)) == wanted:
        return
    for fill in _ways(wanted):
        set.clear(target)
        fill(target)
        if not check or list(set.__iter__(target)) == wanted:
            return
    raise RestoreError(
        f"a set of {len(wanted)} elements cannot be given the order in which it iterated, so a "
        "loop over it would run differently. Restore with the hash seed of the run "
        "(PYTHONHASHSEED), or from an earlier boundary."
    )


def _ways(wanted: list[Any]) -> Iterator[Callable[[set[Any]], None]]:
    yield lambda target: _add_each(target, wanted)
    order = list(wanted)
    for _ in range(min(len(order), 50)):
        order = _postpone_first_misplaced(order, wanted)
        yield lambda target, order=order: _add_each(target, order)  # type: ignore[misc]
    for extra in (2, 4, 8, 16):
        yield lambda target, extra=extra: _through_larger(target, wanted, extra)  # type: ignore[misc]


def _add_each(target: set[Any], items: list[Any]) -> None:
    for item in items:
        set.add(target, item)


def _postpone_first_misplaced(order: list[Any], wanted: list[Any]) -> list[Any]:
    made: set[Any] = set()
    _add_each(made, order)
    for got, expected in zip(made, wanted, strict=False):
        if got is not expected and got != expected:
            return [item for item in order if item is not got] + [got]
    return order


def _through_larger(target: set[Any], wanted: list[Any], extra: int) -> None:
    # A set that was once larger keeps its table: grow a scratch one, empty it by discarding, and
    # let the target take over the table that a copy of it gets.
    grown = set(wanted)
    fillers = [object() for _ in range(len(wanted) * extra)]
    grown.update(fillers)
    grown.difference_update(fillers)
    set.update(target, grown)
