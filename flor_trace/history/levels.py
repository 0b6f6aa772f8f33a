"""The logged values of one loop of one run, row by row, and where the rows of others meet them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from flor_trace.history.spans import Span, scalar

Path = tuple[str, ...]
Place = tuple[int, ...]

_SCALARS = {bool, int, float, str}


@dataclass(slots=True)
class Level:
    """The rows of one loop; of the run as a whole if `path` is empty.

    What is the same for all rows of a span, such as `parents`, is one object on all of them.
    """

    path: Path
    dims: tuple[str, ...]
    rank: tuple[int, ...]  #: of each loop among those of the run, in the order of appearance
    parents: list[Place] = field(default_factory=list)  #: iterations of the loops around
    iterations: list[int] = field(default_factory=list)
    outer_labels: list[tuple[Any, ...]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)  #: may be shorter than the rows
    row_at: dict[Place, dict[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.iterations)

    def add(self, span: Span) -> None:
        """Take the rows of a span."""
        parent = tuple(at for at, _ in span.outer)
        outer = tuple(_labels([value], at)[0] for at, value in span.outer)
        rows = self._rows(parent, outer, span.first, _labels(span.targets, span.first))
        for name, values in span.columns.items():
            self._fill(name, rows, values)

    def _rows(
        self, parent: Place, outer: tuple[Any, ...], first: int, labels: list[Any]
    ) -> Sequence[int]:
        known = self.row_at.setdefault(parent, {})
        iterations = range(first, first + len(labels))
        if known.keys().isdisjoint(iterations):
            return self._append(parent, outer, iterations, labels)
        rows: list[int] = []
        for at, label in zip(iterations, labels, strict=True):
            if at not in known:
                self._append(parent, outer, range(at, at + 1), [label])
            rows.append(known[at])
        return rows

    def _append(
        self, parent: Place, outer: tuple[Any, ...], iterations: range, labels: list[Any]
    ) -> range:
        rows = range(len(self), len(self) + len(iterations))
        self.row_at[parent].update(zip(iterations, rows, strict=True))
        self.parents += [parent] * len(rows)
        self.outer_labels += [outer] * len(rows)
        self.iterations += iterations
        self.labels += labels
        return rows

    def _fill(self, name: str, rows: Sequence[int], values: Sequence[Any]) -> None:
        column = self.columns.setdefault(name, [])
        if isinstance(rows, range) and rows[0] >= len(column):
            column += [None] * (rows[0] - len(column))
            column += values
            return
        column += [None] * (max(rows) + 1 - len(column))
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                column[row] = value

    def row_of(self, place: Place) -> int | None:
        """The row of an iteration, or None if there is none."""
        if not self.path:
            return 0
        return self.row_at.get(place[:-1], {}).get(place[-1])

    def uncovered(self, covered: set[Place]) -> Sequence[int]:
        """The rows for whose iterations no inner loop has rows."""
        if not covered:
            return range(len(self))
        if not self.path:
            return []
        places = zip(self.parents, self.iterations, strict=True)
        return [row for row, (above, at) in enumerate(places) if (*above, at) not in covered]

    def values(self, name: str, rows: Sequence[int | None]) -> list[Any]:
        """The values of a name at some rows; None where there is no row or no value."""
        column = self.columns[name]
        end = len(column)
        if rows == range(end):
            return list(column)
        return [column[row] if row is not None and row < end else None for row in rows]

    def order(self, rows: Iterable[int]) -> list[Place]:
        """What sorts rows into the order in which the loops of the run went."""
        starts: dict[Place, Place] = {}
        for parent in self.row_at:
            steps = chain.from_iterable(zip(self.rank, parent, strict=False))
            starts[parent] = (*steps, *self.rank[-1:])
        return [(*starts[self.parents[row]], self.iterations[row]) for row in rows]


@dataclass(slots=True)
class Block:
    """The rows that one level contributes to a table, and those of outer levels on them."""

    level: Level
    rows: Sequence[int]
    above: list[tuple[Level, list[int | None]]]  #: innermost first

    def column(self, name: str) -> list[Any]:
        """The values of a name on these rows, from the innermost level that has one."""
        values: list[Any] | None = None
        for level, rows in ((self.level, self.rows), *self.above):
            if name in level.columns:
                found = level.values(name, rows)
                if values is None:
                    values = found
                else:
                    pairs = zip(values, found, strict=True)
                    values = [other if value is None else value for value, other in pairs]
        return [None] * len(self.rows) if values is None else values

    def coordinate(self, depth: int) -> list[Any]:
        """What the target of the loop at `depth` held on these rows."""
        level = self.level
        if depth == len(level.path) - 1:
            return [level.labels[row] for row in self.rows]
        return [level.outer_labels[row][depth] for row in self.rows]


def blocks(levels: dict[Path, Level]) -> list[Block]:
    """The rows of a run: those that no rows of inner loops stand for."""
    covered: dict[Path, set[Place]] = {path: set() for path in levels}
    for path, level in levels.items():
        for depth in range(len(path)):
            if path[:depth] in covered:
                covered[path[:depth]].update(parent[:depth] for parent in level.row_at)
    return [_block(levels, level, covered[path]) for path, level in levels.items()]


def _block(levels: dict[Path, Level], level: Level, covered: set[Place]) -> Block:
    rows = level.uncovered(covered)
    above: list[tuple[Level, list[int | None]]] = []
    for depth in reversed(range(len(level.path))):
        outer = levels.get(level.path[:depth])
        if outer is not None:
            row_of = {parent: outer.row_of(parent[:depth]) for parent in level.row_at}
            above.append((outer, [row_of[level.parents[row]] for row in rows]))
    return Block(level, rows, above)


def _labels(targets: list[Any], first: int) -> list[Any]:
    """What stands in a dimension's column: the targets' values, or the iterations' numbers."""
    if set(map(type, targets)) <= _SCALARS:
        return targets
    held = [scalar(value) for value in targets]
    return [at if value is None else value for at, value in enumerate(held, first)]
