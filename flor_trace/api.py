"""Runs, loops and logged values as pandas DataFrames; hindsight replay from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flor_trace import settings
from flor_trace.errors import Diverged, ReplayError, StoreFormatError, UsageError
from flor_trace.history import frames
from flor_trace.history.catalog import Catalog
from flor_trace.history.frames import DATA_PREP, Artifact
from flor_trace.history.runid import resolve_run
from flor_trace.history.snapshot import project_root
from flor_trace.replay.changing import Between, changed_between
from flor_trace.replay.engine import carry_out_all, prepare, read_probe
from flor_trace.replay.recorded import RecordedRun
from flor_trace.store.layout import Store, open_store
from flor_trace.store.reader import PackReader
from flor_trace.types import Address

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATA_PREP", "Artifact", "changes", "full_pivot", "log_records", "pivot", "replay"]


def find_store(path: str | Path | None = None) -> Store:
    """The store at `path`, or the one of the project that holds the current directory.

    Raises:
        StoreFormatError: if there is none.

    """
    if path is None:
        path = settings.load(Path.cwd(), {}).store
    if path is not None:
        return open_store(Path(path).absolute(), create=False)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / ".flor_trace" / "store.json").is_file():
            return open_store(folder / ".flor_trace", create=False)
    root, _ = project_root(Path.cwd() / "-")
    raise StoreFormatError(
        f"nothing is recorded in {root}: there is no .flor_trace here or above; record a program "
        "with flor_trace SCRIPT.py, or name the store with --store DIR"
    )


def open_catalog(store: str | Path | None = None) -> Catalog:
    """The up-to-date catalog of a store."""
    catalog = Catalog(find_store(store).path)
    catalog.sync()
    return catalog


def _reader(store: str | Path | None) -> Callable[[Address], bytes]:
    """Reads the arrays that cells stand for, when they are asked for."""
    return PackReader(find_store(store)).get


def log_records(*, store: str | Path | None = None) -> pd.DataFrame:
    """Every logged and replayed value, one a row.

    Columns: projid, runid, tstamp, vid, filename, one column per dimension, name, value, source.
    """
    return frames.log_records(open_catalog(store), reader=_reader(store))


def full_pivot(
    records: pd.DataFrame | None = None, *, store: str | Path | None = None
) -> pd.DataFrame:
    """Every name as a column: one row per run and innermost iteration.

    Values of outer loops and of the run are repeated in the rows of the loops inside; loops that
    stand side by side give rows of their own.
    """
    if records is not None:
        return frames.full_pivot(records, reader=_reader(store))
    return pivot(store=store)


def pivot(*names: str, store: str | Path | None = None) -> pd.DataFrame:
    """The named values and dimensions as columns, after `DATA_PREP` and the dimensions."""
    return frames.pivot(open_catalog(store), *names, reader=_reader(store))


def changes_between(
    run: str, *, store: str | Path | None = None, **coordinate: object
) -> list[Between]:
    """What the loops of a run changed between checkpoints; see `changes`."""
    catalog = open_catalog(store)
    runid = resolve_run(run, {row.runid: row.name for row in catalog.runs()})
    if len(coordinate) > 1:
        raise UsageError("give one loop at most, as in changes(run, epoch=3)")
    dimension, value = next(iter(coordinate.items()), (None, None))
    return changed_between(
        RecordedRun(catalog.frames(runid)),
        _reader(store),
        dimension=dimension,
        value=None if value in (None, "") else str(value),
    )


def changes(run: str, *, store: str | Path | None = None, **coordinate: object) -> pd.DataFrame:
    """What the loops of a run changed, one row for each changed place.

    Columns: loop, first, last (boundaries that were compared), path, what, detail. With
    ``epoch=3`` only that iteration, as nearly as checkpoints enclose it; without, from the first
    to the last checkpoint of every loop.

    Raises:
        UsageError: if there is no such loop or iteration.
        NothingMatched: if there is no such run, or no two checkpoints to compare.
        StoreError: if a checkpoint cannot be read.

    """
    import pandas as pd  # noqa: PLC0415

    found = [
        (each.dimension, each.first, each.last, change.path, change.what, change.detail)
        for each in changes_between(run, store=store, **coordinate)
        for change in each.changes
    ]
    return pd.DataFrame(found, columns=["loop", "first", "last", "path", "what", "detail"])


def replay(
    apply_vars: Sequence[str],
    where_clause: str | None = None,
    *,
    at: str | None = None,
    probe_file: str | Path | None = None,
    runs: Sequence[str] = (),
    force: bool = False,
    store: str | Path | None = None,
) -> pd.DataFrame:
    """Ask recorded runs for values they did not log, and return the pivot with them.

    Args:
        apply_vars: what to ask for: ``"name=expression"`` over the old program's names, the name
            of a function in `probe_file`, of a variable that the old program stores, or of
            something asked before.
        where_clause: a pandas ``query`` text over the pivot; only the rows that meet it are asked
            at.  A column that does not exist yet is missing everywhere.
        at: the dimension at whose iterations to ask, ``"epoch"``, or ``"epoch:start"``; by default
            the end of the iterations of the main loop.
        probe_file: Python file with probe functions, whose parameters are the program's names.
        runs: ids or names of the only runs to ask.
        force: ask again where the very same was asked.
        store: the store's directory; by default that of the project.

    Raises:
        ProbeError, WhereError: if the question cannot be understood.
        NothingMatched: if nothing is selected.
        ReplayError: if a replay failed; Diverged: if one did not follow the recorded run.  What
            the others gave is kept.

    """
    found = find_store(store)
    if probe_file is None:
        probe_file = settings.load(Path.cwd(), {}).probe_file
    file = Path(probe_file) if probe_file is not None else None
    for text in apply_vars:
        probe = read_probe(found, text, at=at, probe_file=file)
        prepared = prepare(found, probe, where=where_clause, runs=runs, force=force)
        carry_out_all(found, prepared, lambda line: print(line, file=sys.stderr))  # noqa: T201
        for outcome in prepared.outcomes:
            if outcome.error is not None:
                raise ReplayError(f"run {outcome.run.label}: {outcome.error}")
            if outcome.counts.get("diverged"):
                raise Diverged(
                    f"run {outcome.run.label} did not follow the recorded one: "
                    f"{outcome.difference}; its values are kept apart, not in the pivot"
                )
    return pivot(store=found.path)
