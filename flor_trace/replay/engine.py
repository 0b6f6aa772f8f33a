"""Ask recorded runs a new question: select, place, plan, carry out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from flor_trace.errors import FlorTraceError, NothingMatched, ProbeError, SnapshotError
from flor_trace.history.catalog import Catalog
from flor_trace.history.frames import names_in, pivot, select
from flor_trace.history.journal import read_journal
from flor_trace.history.runid import resolve_run
from flor_trace.history.worktree import find_repository, read_file
from flor_trace.replay.carrying import UndefinedToday
from flor_trace.replay.execute import Outcome, carry_out, plan_for
from flor_trace.replay.probes import Probe, parse
from flor_trace.replay.recorded import RecordedRun
from flor_trace.replay.resolve import Place, Sources, UnknownVariable, place
from flor_trace.replay.selection import Selection
from flor_trace.replay.today import Today
from flor_trace.replay.versions import carried_place, statement_place
from flor_trace.store.layout import Store
from flor_trace.types import RunId

Notice = Callable[[str], None]

#: What is less sure than this to be at its place is asked only where a person agrees.
CONFIDENT = 0.7


@dataclass(slots=True)
class Prepared:
    """What a replay would do, before it is done."""

    probe: Probe
    outcomes: list[Outcome] = field(default_factory=list)
    repositories: dict[RunId, Path] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  #: run -> why it is not replayed
    answered: int = 0  #: cells that need no replay: logged, or asked before
    renamed: Mapping[str, str] = field(default_factory=dict)  #: today's names to old ones
    confidence: float = CONFIDENT  #: that today's code belongs where it is asked, at least
    _today: dict[Path, Today] = field(default_factory=dict)

    def today(self, root: Path) -> Today:
        """Today's code of a project."""
        return self._today.setdefault(root, Today(root))

    @property
    def seconds(self) -> float:
        """Estimated time in all."""
        return sum(outcome.plan.seconds for outcome in self.outcomes)

    @property
    def cells(self) -> int:
        """Iterations of the loops stepped through at which will be asked."""
        return sum(len(outcome.wanted) for outcome in self.outcomes)


def read_probe(
    store: Store, text: str, *, at: str | None = None, probe_file: Path | None = None
) -> Probe:
    """Read a probe; a bare name that was asked before means what it meant then.

    Raises:
        ProbeError: if it cannot be compiled.

    """
    probe = parse(text, at=at, probe_file=probe_file)
    if probe.kind != "variable":
        return probe
    for definition in reversed(list(_definitions(store))):
        if definition["name"] == probe.name and definition["kind"] != "variable":
            fields = {**definition, "at": (at and probe.at) or definition["at"]}
            return Probe(**{**fields, "start": probe.start if at else definition["start"]})
    return probe


def _definitions(store: Store) -> Iterable[Mapping[str, Any]]:
    journals = store.runs.glob("*/replay-*.journal")
    for journal in sorted(journals, key=lambda path: path.stat().st_mtime_ns):
        for _, frame in read_journal(journal):
            if frame["t"] == "replay":
                yield frame["probe"]
            break


def prepare(
    store: Store,
    probe: Probe,
    *,
    where: str | None = None,
    runs: Sequence[str] = (),
    force: bool = False,
    renamed: Mapping[str, str] | None = None,
    confidence: float = CONFIDENT,
) -> Prepared:
    """Choose runs and iterations, place the probe in each version, and plan.

    Args:
        store: where the runs are.
        probe: what is asked.
        where: condition over the pivot; rows that meet it are asked at.  None: every iteration
            that has no value yet.
        runs: names or ids of the only runs to look at; all if empty.
        force: ask again where this very probe has been asked.
        renamed: names of today's code and what they were called in old versions.
        confidence: how sure it must be that a statement of today's code belongs where it is put.

    Raises:
        NothingMatched: if no run, or no iteration, is selected.
        ProbeError: if the probe fits none of the selected runs.
        WhereError: if `where` cannot be evaluated.

    """
    catalog = Catalog(store.path)
    catalog.sync()
    candidates = _candidates(catalog, runs)
    prepared = Prepared(probe, renamed=renamed or {}, confidence=confidence)
    rows = _selected_rows(catalog, probe, where)
    problems: list[ProbeError] = []
    for runid in candidates:
        run = RecordedRun(catalog.frames(runid))
        try:
            _prepare_run(store, prepared, run, rows, force=force)
        except ProbeError as error:
            problems.append(error)
            prepared.skipped[run.label] = str(error)
        except SnapshotError as error:
            prepared.skipped[run.label] = str(error)
    if prepared.outcomes or prepared.answered:
        return prepared
    if problems:
        raise problems[0]
    if not prepared.skipped:
        raise NothingMatched(
            f"no iteration of {len(candidates)} run(s) meets {where!r}; flor_trace pivot shows "
            "what there is"
        )
    return prepared


def _candidates(catalog: Catalog, runs: Sequence[str]) -> list[RunId]:
    """The runs that are looked at; raise `NothingMatched` if there is none."""
    names = {row.runid: row.name for row in catalog.runs()}
    if not names:
        raise NothingMatched(
            f"no run is recorded in {catalog.store_root}; record one with: flor_trace SCRIPT.py"
        )
    return list(dict.fromkeys(resolve_run(text, names) for text in runs)) if runs else [*names]


def _selected_rows(catalog: Catalog, probe: Probe, where: str | None) -> Any:
    if where is None:
        return None
    return select(pivot(catalog, *names_in(where)), where, also=(probe.name,))


def _prepare_run(
    store: Store, prepared: Prepared, run: RecordedRun, rows: Any, *, force: bool
) -> None:
    label = run.label
    if rows is not None and not (rows["runid"] == run.runid).any():
        return
    vid = run.header.get("vid")
    if vid is None:
        prepared.skipped[label] = "its code was not saved, so it cannot be run again"
        return
    repository = find_repository(vid, (Path(run.header["root"]), store.code))
    where = _placed(prepared, run, sources_of(repository, vid))
    wanted = _wanted(run, where, rows)
    if not force:
        done = _answered(store, run, where)
        prepared.answered += len(wanted & done)
        wanted -= done
    if wanted:
        plan = plan_for(where, set(wanted), set())
        prepared.outcomes.append(Outcome(run, where, plan, frozenset(wanted)))
        prepared.repositories[run.runid] = repository


def _placed(prepared: Prepared, run: RecordedRun, sources: Sources) -> Place:
    """Where the probe is asked in this version, which may have to be told by today's code."""
    probe = prepared.probe
    today = prepared.today(Path(run.header["root"]))
    if probe.beside:
        return statement_place(probe, run, sources, today)
    try:
        return place(probe, run, sources)
    except UnknownVariable as unknown:
        if probe.at is not None:
            raise
        try:
            found = carried_place(probe, run, sources, today, prepared.renamed)
        except UndefinedToday:
            raise unknown from None
    assert found.carried is not None
    if found.carried.confidence < prepared.confidence:
        raise ProbeError(
            f"where today's {probe.name!r} belongs in run {run.label} is not sure (confidence "
            f"{found.carried.confidence}: {'; '.join(found.carried.notes)}), at {found}; to ask "
            f"there, say --min-confidence {found.carried.confidence}"
        )
    return found


def sources_of(repository: Path, vid: str) -> Sources:
    """Reads the modules of an old version, each once."""
    cache: dict[str, str | None] = {}

    def source(module: str) -> str | None:
        if module not in cache:
            try:
                cache[module] = read_file(repository, vid, module).decode(errors="replace")
            except SnapshotError:
                cache[module] = None
        return cache[module]

    return source


def _wanted(run: RecordedRun, where: Place, rows: Any) -> set[int]:
    """The iterations of the stage that the selected rows lie in."""
    stage = where.stage
    everything = _picked(run, where)
    if rows is None:
        return everything
    own = rows[rows["runid"] == run.runid]
    dimension = stage.loop.dimension
    if dimension not in own.columns:
        return everything
    by_value: dict[Any, set[int]] = {}  # several iterations may have one value
    for i in everything:
        value = run.targets.get(((stage.loop.number, i),))
        by_value.setdefault(i if value is None else value, set()).add(i)
    values = own[dimension]
    if values.isna().any():  # a row of the whole run selects all of it
        return everything
    return set().union(*(by_value.get(value, set()) for value in values.tolist()))


def _picked(run: RecordedRun, where: Place) -> set[int]:
    """The iterations of the stage that have iterations of the place which are to be asked at."""
    complete = set(range(where.stage.complete))
    selection = where.probe.selection
    if selection == Selection():
        return complete
    number = where.stage.loop.number
    if where.loop.key == where.stage.loop.key:
        return {i for i in complete if selection.takes(i, run.targets.get(((number, i),)))}
    numbers = {loop.number for loop in run.loops.values() if loop.key == where.loop.key}
    known = {path: value for path, value in run.targets.items() if path[-1][0] in numbers}
    if not known:  # that loop was not watched
        return complete
    return complete & {p[0][1] for p, value in known.items() if selection.takes(p[-1][1], value)}


def _answered(store: Store, run: RecordedRun, where: Place) -> set[int]:
    """Iterations that need no replay: the program logged the name there, or it was asked before."""
    probe = where.probe
    number = where.stage.loop.number
    done: set[int] = set()
    if probe.kind == "variable" and not probe.start and not where.inner:
        done |= {path[0][1] for path, held in run.values.items()
                 if len(path) == 1 and path[0][0] == number and probe.text in held}  # fmt: skip
    for journal in store.run_dir(run.runid).glob("replay-*.journal"):
        frames = [frame for _, frame in read_journal(journal)]
        if (
            frames
            and frames[0].get("probe")
            and Probe(**frames[0]["probe"]).definition == (probe.definition)
        ):
            done |= {
                frame["coords"][0][1]
                for frame in frames
                if frame["t"] == "value"
                and frame["coords"][0][0] == number
                and frame["verdict"] in ("exact", "agree", "unchecked")
            }
    return done


def carry_out_all(store: Store, prepared: Prepared, notice: Notice) -> None:
    """Replay every prepared run; each outcome tells how it went."""
    for outcome in prepared.outcomes:
        began = perf_counter()
        notice(f"replaying {outcome.run.label}: {outcome.plan.kind}, {len(outcome.wanted)} cells")
        try:
            carry_out(store, prepared.repositories[outcome.run.runid], outcome)
        except FlorTraceError as error:
            outcome.error = str(error)
        outcome.seconds = perf_counter() - began
