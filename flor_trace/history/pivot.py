"""Turn logged values into one row per innermost iteration: rows in, rows out, no pandas.

A value is joined to others along the tree of loops.  What a run set once is on each of its rows;
what an outer loop set is on the rows of the loops inside that iteration; loops beside one another
are stacked, never multiplied; an iteration without rows of inner loops keeps a row of its own.
Where a name was logged at several depths, the innermost value of a row counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flor_trace.history.levels import Block, Level, Path, blocks
from flor_trace.history.spans import Span, cell

#: The columns that every row begins with.
INDEX = ("projid", "runid", "tstamp", "vid")


@dataclass(slots=True)
class Table:
    """Columns of equal length; None is a missing value."""

    length: int
    index: tuple[str, ...]
    dims: tuple[str, ...]  #: outermost first
    names: tuple[str, ...]
    columns: dict[str, list[Any]]


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
    levels: dict[Path, Level]


def _levels(
    spans: Sequence[Span], names: Sequence[str] | None, dims: Collection[str]
) -> dict[Path, Level]:
    wanted = None if names is None else frozenset(names)
    ranks: dict[Path, int] = {}
    levels: dict[Path, Level] = {}
    for span in spans:
        for depth in range(len(span.keys)):
            ranks.setdefault(span.keys[: depth + 1], len(ranks))
        for part in _wanted_parts(span, wanted, dims):
            level = levels.get(part.keys)
            if level is None:
                rank = tuple(ranks[part.keys[: depth + 1]] for depth in range(len(part.keys)))
                level = levels[part.keys] = Level(part.keys, part.dims, rank)
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
    logged: Iterable[tuple[str, Path, Sequence[str], Collection[str]]],
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
    path: Path, dims: Sequence[str], labels: Mapping[tuple[str, str], str]
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
        found = blocks(part.levels)
        keys = [key for block in found for key in block.level.order(block.rows)]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        length += len(order)
        for name, value in zip(INDEX, runs[part.runid], strict=True):
            columns[name] += [value] * len(order)
        for dim in dims:
            whole = [value for block in found for value in _coordinate(block, dim, labels)]
            columns[dim] += [whole[row] for row in order]
        for label, name in value_columns.items():
            whole = _cells([value for block in found for value in block.column(name)])
            columns[label] += [whole[row] for row in order]
    return Table(length, INDEX, dims, tuple(value_columns), columns)


def _coordinate(block: Block, label: str, labels: Mapping[tuple[str, str], str]) -> list[Any]:
    """The values of a dimension's column on the rows of a block."""
    nest = labels_of(block.level.path, block.level.dims, labels)
    return block.coordinate(nest.index(label)) if label in nest else [None] * len(block.rows)


def _free(name: str, taken: Collection[str]) -> str:
    """The column of a logged name that is also the name of an index column or a dimension."""
    return f"{name} (value)" if name in taken else name


_SCALARS = {bool, int, float, str, type(None)}


def _cells(values: list[Any]) -> list[Any]:
    return values if set(map(type, values)) <= _SCALARS else [cell(value) for value in values]
