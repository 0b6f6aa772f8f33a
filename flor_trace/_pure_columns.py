"""Columns of a loop's values in Python, as `native/columns.c`."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from time import perf_counter
from typing import Any, final

from flor_trace._pure_frames import UNBOUND, check_names

MOST_ROWS = 4096
_WHOLE = range(-(1 << 63), 1 << 63)
_STEPS = range(-(1 << 52), (1 << 52) + 1)


@final
class Columns:
    """The scalars that variables of a loop's frame held at the ends of consecutive iterations.

    As ``rows`` of a LoopIter it is filled at every boundary, and the handler is called only when
    the next row does not follow, at `until`, at `deadline`, or when many rows have gathered.
    ``read(value)`` gives the scalar of a value that is no plain number: None if there is none,
    NotImplemented if no value of its type ever has one.
    """

    __slots__ = ("_cells", "_first", "_names", "_never", "_read", "deadline", "until")

    def __init__(self, names: tuple[str, ...], read: Callable[[Any], Any]) -> None:
        check_names("Columns()", names)
        self._names = names
        self._read = read
        self._cells: list[list[Any]] = [[] for _ in (None, *names)]  # the first one counts rows
        self._never: list[type | None] = [None for _ in names]
        self._first = 0
        self.until = 0
        self.deadline = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variables."""
        return self._names

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._cells[0])

    @property
    def first(self) -> int:
        """The iteration of the first row, if there is one."""
        return self._first

    @property
    def next(self) -> int:
        """The iteration whose row is to follow; -1: any."""
        return self._first + self.count if self.count else -1

    def add(self, loop: Any, iteration: int, /) -> None:
        """Add what the variables of the loop's frame hold now as the row of `iteration`."""
        if self.count and self.next != iteration:
            raise ValueError(
                f"row {iteration} does not follow {self.count} rows from {self._first} on"
            )
        if loop.code() is None:
            raise ValueError("the loop's frame is not running")
        row = [self._scalar(at, held) for at, held in enumerate(loop.lookup(self._names))]
        if not self.count:
            self._first = iteration
        for cells, value in zip(self._cells, (None, *row), strict=True):
            cells.append(value)

    def _scalar(self, at: int, value: Any) -> Any:
        kind = type(value)
        if kind is float or kind is bool or (kind is int and value in _WHOLE):
            return value
        if value is None or value is UNBOUND or kind is self._never[at]:
            return None
        if kind.__module__ == "numpy" and kind.__name__ == "float64" and isinstance(value, float):
            return float(value)
        scalar = self._read(value)
        if scalar is NotImplemented:
            self._never[at] = kind
            return None
        return scalar

    def _boundary(self, loop: Any, iteration: int) -> bool:
        """Add a row if it follows; whether the handler is to be called."""
        if self.count and self.next != iteration:
            return True
        self.add(loop, iteration)
        return (
            iteration + 1 >= self.until
            or self.count >= MOST_ROWS
            or perf_counter() >= self.deadline
        )

    def take(self, pack_from: int, /) -> list[Any]:
        """The columns gathered, which are gone then.

        Each is None if it has no value, else a list with None in the gaps; of `pack_from` rows and
        more, numbers without gaps as ``("f8", bytes)``, ``("i8", bytes)`` or ``("range", (first,
        step))``.
        """
        taken = [_packed(cells, pack_from) for cells in self._cells[1:]]
        self._cells = [[] for _ in self._cells]
        return taken


def _packed(cells: list[Any], pack_from: int) -> Any:
    kinds = set(map(type, cells))
    if kinds <= {type(None)}:
        return None
    if len(cells) < pack_from or len(cells) < 2:
        return cells
    if kinds == {float}:
        return "f8", _bytes("d", cells)
    if kinds == {int} and all(value in _WHOLE for value in cells):
        step = _step(cells)
        return ("range", (cells[0], step)) if step else ("i8", _bytes("q", cells))
    return cells


def _bytes(code: str, cells: list[Any]) -> bytes:
    numbers = array(code, cells)
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers.tobytes()


def _step(cells: list[int]) -> int:
    """The difference of neighbours if that is the same everywhere and no number is huge, else 0."""
    first, step = cells[0], cells[1] - cells[0]
    if any(value not in _STEPS for value in cells):
        return 0
    return step if cells == [first + k * step for k in range(len(cells))] else 0
