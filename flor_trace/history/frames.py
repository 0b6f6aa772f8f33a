"""Logged values as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flor_trace.history.artifacts import Artifact, Reader
from flor_trace.history.catalog import Catalog
from flor_trace.history.pivot import INDEX, Table, dimension_labels, in_nest_order, labels_of
from flor_trace.history.pivot import pivot as join
from flor_trace.history.spans import DIVERGED, Span, records
from flor_trace.history.where import names_in, select
from flor_trace.types import ArtifactRef

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATA_PREP", "Artifact", "full_pivot", "log_records", "names_in", "pivot", "select"]

#: The columns that tell the runs apart, as in Flor.
DATA_PREP = INDEX

_LONG = (*INDEX, "filename")
_FACTS = ("name", "value", "source")
_EXACT_IN_FLOAT = 1 << 53


def log_records(catalog: Catalog, *, reader: Reader | None = None) -> pd.DataFrame:
    """Every logged value, one a row, in the order of the runs and of logging.

    Columns: projid, runid, tstamp, vid, filename, one per dimension, name, value, source, which
    is ``forward`` for recorded values, ``replay``, or ``diverged`` for those of a replay that did
    not follow the recorded run (these are in no pivot).
    """
    runs = {str(run.runid): run for run in catalog.runs()}
    spans = catalog.spans()
    labels = dimension_labels((s.runid, s.keys, s.dims, s.columns) for s in spans)
    dims = in_nest_order(labels_of(span.keys, span.dims, labels) for span in spans)
    columns: dict[str, list[Any]] = {name: [] for name in (*_LONG, *dims, *_FACTS)}
    for span in spans:
        run = runs[span.runid]
        nest = labels_of(span.keys, span.dims, labels)
        held = [getattr(run, name) for name in _LONG]
        source = DIVERGED if span.verdict == DIVERGED else None
        for record in records(span):
            coordinates = dict(zip(nest, record.coordinates, strict=True))
            for name, value in zip(_LONG, held, strict=True):
                columns[name].append(value)
            for dim in dims:
                step = coordinates.get(dim)
                columns[dim].append(step and (step.iteration if step.value is None else step.value))
            columns["name"].append(record.name)
            columns["value"].append(record.value)
            columns["source"].append(source or record.source)
    return _frame(columns, dims, ("value",), reader, as_logged=True)


def pivot(
    catalog: Catalog,
    *names: str,
    runids: Sequence[str] | None = None,
    reader: Reader | None = None,
) -> pd.DataFrame:
    """The named values and dimensions as columns, one row per innermost iteration.

    Args:
        catalog: of the store.
        names: logged names and dimensions; none for every name there is.  One that is not there
            gives a column of missing values.
        runids: of these runs only.
        reader: gives the bytes of arrays, for `Artifact.load`.

    Returns:
        projid, runid, tstamp (UTC, without a zone), vid, one column per dimension of the rows,
        one per name (see `pivot.pivot` for how they are joined).

    """
    dims = [name for name in names if name in catalog.dimensions()] if names else []
    wanted = [name for name in names if name not in dims] if names else None
    spans = catalog.spans(wanted, runids, bare=bool(dims))
    runs = {str(run.runid): [getattr(run, name) for name in INDEX] for run in catalog.runs()}
    trusted = (span for span in spans if span.verdict != DIVERGED)
    return _wide(join(trusted, runs, names=wanted, dims=dims), reader)


def full_pivot(records: pd.DataFrame, *, reader: Reader | None = None) -> pd.DataFrame:
    """Every name of a table like that of `log_records`, or of a part of it, as a column.

    All names are kept, so that a row is as deep as the innermost loop that logged anything.
    """
    dims = [str(name) for name in records.columns if name not in (*_LONG, *_FACTS)]
    missing = [name for name in (*INDEX, "name", "value") if name not in records.columns]
    if missing:
        raise KeyError(f"the table has no column {missing[0]!r}; pass what log_records() gave")
    kept = records[records["source"] != DIVERGED] if "source" in records.columns else records
    spans = list(_spans(kept, dims))
    rows = kept[[*INDEX]].drop_duplicates("runid")
    runs = {str(row[1]): list(row) for row in rows.itertuples(index=False, name=None)}
    return _wide(join(spans, runs), reader)


def _spans(records: pd.DataFrame, dims: Sequence[str]) -> Iterable[Span]:
    """The values of a long table again, each on its own; a coordinate stands for its iteration."""
    seen: dict[tuple[Any, ...], int] = {}
    runids = records["runid"].tolist()
    steps = [_present(records[dim]) for dim in dims]
    for row, (name, value) in enumerate(
        zip(records["name"].tolist(), records["value"].tolist(), strict=True)
    ):
        runid = str(runids[row])
        place = [
            (dim, column[row]) for dim, column in zip(dims, steps, strict=True)
            if column[row] is not None
        ]  # fmt: skip
        numbers = [
            seen.setdefault((runid, *place[: depth + 1]), len(seen)) for depth in range(len(place))
        ]
        coordinates = [(at, held) for at, (_, held) in zip(numbers, place, strict=True)]
        nest = tuple(dim for dim, _ in place)
        first, target = coordinates[-1] if coordinates else (0, None)
        outer = tuple(coordinates[:-1])
        yield Span(runid, nest, nest, outer, first, [target], {str(name): [_plain(value)]})


def _plain(value: Any) -> Any:
    """A value that a user's own arithmetic may have turned into one of numpy or pandas."""
    import numpy as np  # noqa: PLC0415 - not while recording
    import pandas as pd  # noqa: PLC0415 - not while recording

    if value is pd.NA:
        return None
    return value.item() if isinstance(value, np.generic) else value


def _present(column: pd.Series[Any]) -> list[Any]:
    missing = column.isna().tolist()
    return [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]


def _wide(table: Table, reader: Reader | None) -> pd.DataFrame:
    return _frame(table.columns, table.dims, table.names, reader)


def _frame(
    columns: Mapping[str, list[Any]],
    dims: Sequence[str],
    names: Sequence[str],
    reader: Reader | None,
    *,
    as_logged: bool = False,
) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - not while recording

    made: dict[str, Any] = {}
    for name, values in columns.items():
        if name == "tstamp":
            made[name] = _times(values)
        else:
            cells = [_cell(value, reader) for value in values] if name in names else values
            mixed = as_logged and name in names
            made[name] = _objects(cells) if mixed else _column(cells, whole=name in dims)
    return pd.DataFrame(made, columns=list(columns))


def _cell(value: Any, reader: Reader | None) -> Any:
    return Artifact(value, reader) if isinstance(value, ArtifactRef) else value


def _times(values: Sequence[Any]) -> Any:
    import pandas as pd  # noqa: PLC0415 - not while recording

    if not all(isinstance(value, str) for value in values):
        return pd.Series(values, dtype="datetime64[us]")
    times = pd.to_datetime(pd.Series(values, dtype=object), utc=True, format="ISO8601")
    return times.dt.tz_localize(None).astype("datetime64[us]")


def _column(values: list[Any], *, whole: bool) -> Any:
    """A column of the plainest type that holds every value exactly."""
    import pandas as pd  # noqa: PLC0415 - not while recording

    kinds = set(map(type, values))
    missing = type(None) in kinds
    kinds.discard(type(None))
    if kinds == {str}:
        return pd.Series(values)
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if missing else "bool")
    if kinds == {int} and _fits(values, 1 << 63) and (whole or not missing):
        return pd.Series(values, dtype="Int64" if missing else "int64")
    if kinds <= {int, float} and _fits(values, _EXACT_IN_FLOAT):
        return pd.Series(values, dtype="float64")
    if kinds == {int} and _fits(values, 1 << 63):
        return pd.Series(values, dtype="Int64")
    return _objects(values)


def _fits(values: Sequence[Any], bound: int) -> bool:
    return all(-bound <= value < bound for value in values if type(value) is int)


def _objects(values: Sequence[Any]) -> Any:
    """A column of arbitrary values; numpy must not look into those that are arrays."""
    import numpy as np  # noqa: PLC0415 - not while recording
    import pandas as pd  # noqa: PLC0415 - not while recording

    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = float("nan") if value is None else value
    return pd.Series(array)
