"""Turn logged values into one row per innermost iteration: rows in, rows out, no pandas.

A value is joined to others along the tree of loops.  What a run set once is on each of its rows;
what an outer loop set is on the rows of the loops inside that iteration; loops beside one another
are stacked, never multiplied; an iteration without rows of inner loops keeps a row of its own.
Where a name was logged at several depths, the innermost value of a row counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from flor_trace.history.spans import Span, cell, scalar

#: The columns that every row begins with.
INDEX = ("projid", "runid", "tstamp", "vid")

_Path = tuple[str, ...]
_Place = tuple[int, ...]


@dataclass(slots=True)
class Table:
    """Columns of equal length; None is a missing value."""

    length: int
    index: tuple[str, ...]
    dims: tuple[str, ...]  #: outermost first
    names: tuple[str, ...]
    columns: dict[str, list[Any]]


@dataclass(slots=True)
class _Level:
    """The rows of one loop of one run."""

    path: _Path
    dims: tuple[str, ...]
    rank: tuple[int, ...]  #: of each loop among those of the run, in the order of appearance
    places: list[_Place] = field(default_factory=list)
    row_at: dict[_Place, int] = field(default_factory=dict)
    coordinates: list[tuple[Any, ...]] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, span: Span) -> None:
        """Take the rows of a span."""
        prefix = tuple(at for at, _ in span.outer)
        outer = tuple(_label(at, value) for at, value in span.outer)
        rows = [
            self._row((*prefix, span.first + row) if self.path else (), outer, target)
            for row, target in enumerate(span.targets)
        ]
        for name, values in span.columns.items():
            self._fill(name, rows, values)

    def _row(self, place: _Place, outer: tuple[Any, ...], target: Any) -> int:
        row = self.row_at.get(place)
        if row is None:
            row = self.row_at[place] = len(self.places)
            self.places.append(place)
            self.coordinates.append((*outer, _label(place[-1], target)) if place else ())
        return row

    def _fill(self, name: str, rows: Sequence[int], values: Sequence[Any]) -> None:
        column = self.columns.setdefault(name, [])
        if rows[0] >= len(column) and rows[-1] - rows[0] == len(rows) - 1:
            column.extend([None] * (rows[0] - len(column)))
            column.extend(values)
            return
        column.extend([None] * (max(rows) + 1 - len(column)))
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                column[row] = value

    def value(self, name: str, row: int) -> Any:
        """The value of a name at a row, or None."""
        column = self.columns[name]
        return column[row] if row < len(column) else None


def _label(iteration: int, value: Any) -> Any:
    """What stands in a dimension's column: the target's value, or the iteration's number."""
    held = scalar(value)
    return iteration if held is None else held


def pivot(
    spans: Iterable[Span],
    runs: Mapping[str, Sequence[Any]],
    *,
    names: Sequence[str] | None = None,
    dims: Collection[str] = (),
) -> Table:
    """Join the values of `spans` into wide rows.

    Args:
        spans: run by run, each cell at most once.
        runs: the values of the `INDEX` columns of each run; its order is that of the rows.
        names: the value columns, in order; None for all, in the order of appearance.
        dims: dimensions whose iterations are wanted even where they have none of the names.

    Returns:
        The index columns, one column per dimension, one per name.

    """
    by_run: dict[str, list[Span]] = {}
    for span in spans:
        by_run.setdefault(span.runid, []).append(span)
    parts = [_Part(runid, _levels(by_run[runid], names, dims)) for runid in runs if runid in by_run]
    labels = dimension_labels(
        (part.runid, level.path, level.dims, level.columns)
        for part in parts
        for level in part.levels.values()
    )
    shown = _all_names(parts) if names is None else list(dict.fromkeys(names))
    return _assemble(parts, runs, labels, shown)


@dataclass(slots=True)
class _Part:
    """The levels of one run."""

    runid: str
    levels: dict[_Path, _Level]


def _levels(
    spans: Sequence[Span], names: Sequence[str] | None, dims: Collection[str]
) -> dict[_Path, _Level]:
    wanted = None if names is None else frozenset(names)
    ranks: dict[_Path, int] = {}
    levels: dict[_Path, _Level] = {}
    for span in spans:
        for depth in range(len(span.keys)):
            ranks.setdefault(span.keys[: depth + 1], len(ranks))
        for part in _wanted_parts(span, wanted, dims):
            level = levels.get(part.keys)
            if level is None:
                rank = tuple(ranks[part.keys[: depth + 1]] for depth in range(len(part.keys)))
                level = levels[part.keys] = _Level(part.keys, part.dims, rank)
            level.add(part)
    return levels


def _wanted_parts(span: Span, wanted: frozenset[str] | None, dims: Collection[str]) -> list[Span]:
    """The span with the wanted columns; its loops cut off below the innermost wanted dimension."""
    columns = {
        name: values
        for name, values in span.columns.items()
        if (wanted is None or name in wanted) and any(value is not None for value in values)
    }
    if columns:
        return [replace(span, columns=columns)]
    depth = max((at for at, dim in enumerate(span.dims, 1) if dim in dims), default=0)
    if depth == 0:
        return []
    if depth == len(span.keys):
        return [replace(span, columns={})]
    at, value = span.outer[depth - 1]
    outer = span.outer[: depth - 1]
    return [Span(span.runid, span.keys[:depth], span.dims[:depth], outer, at, [value])]


def _all_names(parts: Sequence[_Part]) -> list[str]:
    levels = (level for part in parts for level in part.levels.values())
    return list(dict.fromkeys(name for level in levels for name in level.columns))


def dimension_labels(
    logged: Iterable[tuple[str, _Path, Sequence[str], Collection[str]]],
) -> dict[tuple[str, str], str]:
    """The column of each loop: its dimension, unless two loops of a run must be told apart.

    Two statements may share a column as long as no name was logged under both in one run: then
    each row says by its values which of them it is about.

    Args:
        logged: (run, loops outermost first, their dimensions, names) for all that was logged.

    Returns:
        The column by loop statement and dimension.

    """
    under: dict[tuple[str, str], dict[str, set[str]]] = {}
    for runid, path, dims, names in logged:
        for key, dim in zip(path, dims, strict=True):
            by_statement = under.setdefault((dim, runid), {})
            by_statement.setdefault(_statement(key), set()).update(names)
    statements: dict[str, set[str]] = {}
    for (dim, _), by_statement in under.items():
        statements.setdefault(dim, set()).update(by_statement)
    ambiguous = {dim for (dim, _), found in under.items() if _overlap(found.values())}
    return {
        (key, dim): _qualified(dim, key, keys) if dim in ambiguous else dim
        for dim, keys in statements.items()
        for key in keys
    }


def labels_of(
    path: _Path, dims: Sequence[str], labels: Mapping[tuple[str, str], str]
) -> tuple[str, ...]:
    """The columns of a nest of loops."""
    return tuple(labels[_statement(key), dim] for key, dim in zip(path, dims, strict=True))


def in_nest_order(nests: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The columns of all nests, outer ones before inner ones."""
    depths: dict[str, int] = {}
    for nest in nests:
        for depth, label in enumerate(nest):
            depths[label] = max(depth, depths.get(label, 0))
    return tuple(sorted(depths, key=depths.__getitem__))


def _statement(key: str) -> str:
    """The loop statement, whichever of its executions in one outer iteration `key` names."""
    return key.partition("#")[0]


def _overlap(sets: Collection[set[str]]) -> bool:
    return sum(map(len, sets)) > len(set().union(*sets))


def _qualified(dim: str, key: str, keys: Collection[str]) -> str:
    short = key.partition(":")[2]
    alone = sum(other.partition(":")[2] == short for other in keys) == 1
    return f"{dim}@{short if alone else key}"


@dataclass(slots=True)
class _Block:
    """The rows that one level contributes."""

    level: _Level
    rows: list[int]
    above: list[tuple[_Level, list[int | None]]]  #: innermost first, with its row for each of ours

    def column(self, name: str) -> list[Any]:
        """The values of a name on these rows, from the innermost level that has one."""
        values: list[Any] = [None] * len(self.rows)
        if name in self.level.columns:
            column = self.level.columns[name]
            end = len(column)
            values = [column[row] if row < end else None for row in self.rows]
        for level, rows in self.above:
            if name in level.columns:
                values = [
                    level.value(name, row) if value is None and row is not None else value
                    for value, row in zip(values, rows, strict=True)
                ]
        return values

    def coordinate(self, label: str, labels: Mapping[tuple[str, str], str]) -> list[Any]:
        """The values of a dimension's column on these rows."""
        nest = labels_of(self.level.path, self.level.dims, labels)
        if label not in nest:
            return [None] * len(self.rows)
        depth = nest.index(label)
        return [self.level.coordinates[row][depth] for row in self.rows]


def _blocks(part: _Part) -> list[_Block]:
    """The rows of a run: those that no rows of inner loops stand for."""
    covered: dict[_Path, set[_Place]] = {path: set() for path in part.levels}
    for path, level in part.levels.items():
        for depth in range(len(path)):
            if path[:depth] in covered:
                covered[path[:depth]].update(place[:depth] for place in level.places)
    return [_block(part, level, covered[path]) for path, level in part.levels.items()]


def _block(part: _Part, level: _Level, covered: set[_Place]) -> _Block:
    rows = [row for row, place in enumerate(level.places) if place not in covered]
    above: list[tuple[_Level, list[int | None]]] = []
    for depth in reversed(range(len(level.path))):
        outer = part.levels.get(level.path[:depth])
        if outer is not None:
            above.append((outer, [outer.row_at.get(level.places[row][:depth]) for row in rows]))
    return _Block(level, rows, above)


def _order(blocks: Sequence[_Block]) -> list[int]:
    """The rows of all blocks, one after the other, in the order in which they were run."""
    keys = [
        tuple(chain.from_iterable(zip(block.level.rank, block.level.places[row], strict=True)))
        for block in blocks
        for row in block.rows
    ]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _assemble(
    parts: Sequence[_Part],
    runs: Mapping[str, Sequence[Any]],
    labels: Mapping[tuple[str, str], str],
    names: Sequence[str],
) -> Table:
    levels = (level for part in parts for level in part.levels.values())
    dims = in_nest_order(labels_of(level.path, level.dims, labels) for level in levels)
    value_columns = {_free(name, (*INDEX, *dims)): name for name in names}
    columns: dict[str, list[Any]] = {name: [] for name in (*INDEX, *dims, *value_columns)}
    length = 0
    for part in parts:
        blocks = _blocks(part)
        order = _order(blocks)
        length += len(order)
        for name, value in zip(INDEX, runs[part.runid], strict=True):
            columns[name] += [value] * len(order)
        for dim in dims:
            whole = [value for block in blocks for value in block.coordinate(dim, labels)]
            columns[dim] += [whole[row] for row in order]
        for label, name in value_columns.items():
            whole = _cells([value for block in blocks for value in block.column(name)])
            columns[label] += [whole[row] for row in order]
    return Table(length, INDEX, dims, tuple(value_columns), columns)


def _free(name: str, taken: Collection[str]) -> str:
    """The column of a logged name that is also the name of an index column or a dimension."""
    return f"{name} (value)" if name in taken else name


_SCALARS = {bool, int, float, str, type(None)}


def _cells(values: list[Any]) -> list[Any]:
    return values if set(map(type, values)) <= _SCALARS else [cell(value) for value in values]
