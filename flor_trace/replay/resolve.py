"""Find the place in an old version where a probe is to be asked, and check that it can be."""

from __future__ import annotations

import symtable
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from flor_trace.errors import ProbeError
from flor_trace.replay.carrying import Carried
from flor_trace.replay.probes import Probe, names_needed
from flor_trace.replay.recorded import OutermostRun, RecordedRun, WatchedLoop
from flor_trace.types import LoopInfo, LoopKey, Spot


class UnknownVariable(ProbeError):
    """The version does not have the variable that is asked for."""


#: Gives the source of a module of the old version, or None if it is not in the snapshot.
Sources = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a probe is asked: at iterations of `loop`, while `stage` is stepped through."""

    probe: Probe
    loop: LoopInfo
    stage: OutermostRun
    spot: Spot | None = None  #: asked there instead of where the loop's iterations end
    carried: Carried | None = None  #: what is asked, in the words of that version

    @property
    def inner(self) -> bool:
        """Whether the place lies inside the stage's iterations, so that these must be executed."""
        return self.loop.key != self.stage.loop.key or self.spot is not None

    def __str__(self) -> str:
        if self.spot is not None:
            beside = "before" if self.spot.before else "after"
            line = self.spot.span[0 if self.spot.before else 1]
            return f"the place {beside} line {line} of {self.spot.module}"
        when = "start" if self.probe.start else "end"
        loop = self.loop
        return (
            f"the {when} of an iteration of `{loop.header}` in {loop.qualname} "
            f"({loop.module}:{loop.span[0]})"
        )


def place(probe: Probe, run: RecordedRun, sources: Sources) -> Place:
    """Where in `run`'s version the probe is asked.

    Raises:
        ProbeError: when there is no such dimension, or a name is not visible there.

    """
    stage = run.main
    if stage is None:
        _refuse_threads(run.loops.values())
        raise ProbeError(
            f"run {run.label} has no loop that was watched, so there is no iteration at which to "
            "ask; flor_trace show tells what was recorded"
        )
    if probe.at is not None:
        key, stage = _by_dimension(probe.at, run)
    elif probe.kind == "variable":
        key, stage = _by_store(probe, run, stage, sources)
    else:
        key = stage.loop.key
    _refuse_threads(loop for loop in run.loops.values() if loop.key == key)
    found = Place(probe, run.infos[key], stage)
    if found.inner and probe.start:
        raise ProbeError(
            f"the start of an iteration of `{found.loop.header}` cannot be asked at: it lies "
            f"inside of `{run.infos[stage.loop.key].header}`; ask at its end, --at {probe.at}"
        )
    _check_names(found, run, sources)
    return found


def _refuse_threads(loops: Iterable[WatchedLoop]) -> None:
    """Raise `ProbeError` if these loops ran, and on no thread that a replay leads."""
    threads = [loop.thread for loop in loops]
    if threads and all(threads):
        raise ProbeError(
            "that loop ran on other threads than the main one "
            f"({', '.join(sorted(set(threads)))}): what it stores is logged, but a replay leads "
            "the main thread alone; ask at a loop of that, or record a version that runs this one "
            "there"
        )


def _by_dimension(dimension: str, run: RecordedRun) -> tuple[LoopKey, OutermostRun]:
    outermost = [each for each in run.outermost.values() if each.loop.dimension == dimension]
    if outermost:
        stage = max(outermost, key=lambda each: each.seconds)
        return stage.loop.key, stage
    watched = {loop.key for loop in run.loops.values() if loop.dimension == dimension}
    keys = watched or {key for key, info in run.infos.items() if info.dimension == dimension}
    if not keys:
        known = sorted({loop.dimension for loop in run.loops.values()})
        near = get_close_matches(dimension, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
        raise ProbeError(f"run {run.label} has no loop with the dimension {dimension!r}; {hint}")
    key = max(keys, key=lambda each: _rows(each, run))
    return key, stage_of(key, run)


def _by_store(
    probe: Probe, run: RecordedRun, stage: OutermostRun, sources: Sources
) -> tuple[LoopKey, OutermostRun]:
    name = probe.text
    keys = [key for key, info in run.infos.items() if name in info.own_stores]
    if stage.loop.key in keys or (not keys and _visible(run.infos[stage.loop.key], name, sources)):
        return stage.loop.key, stage
    if not keys:
        stored = sorted({store for info in run.infos.values() for store in info.stores})
        near = get_close_matches(name, stored, 3)
        hint = f"near names: {', '.join(near)}" if near else f"its loops store {', '.join(stored)}"
        raise UnknownVariable(
            f"no loop of run {run.label} stores a variable {name!r}, and the main loop "
            f"`{run.infos[stage.loop.key].header}` does not see one; {hint}. "
            f"To compute it, write {name}=EXPRESSION or give a --probe-file with a function {name}"
        )
    key = max(keys, key=lambda each: _rows(each, run))
    return key, stage_of(key, run)


def _rows(key: LoopKey, run: RecordedRun) -> int:
    numbers = {loop.number for loop in run.loops.values() if loop.key == key}
    return sum(path[-1][0] in numbers for path in run.targets)


def stage_of(key: LoopKey, run: RecordedRun) -> OutermostRun:
    """The outermost loop under which `key` was seen to run; the main one if it was never seen."""
    numbers = {loop.number for loop in run.loops.values() if loop.key == key}
    for path in run.targets:
        if path[-1][0] in numbers and path[0][0] in run.outermost:
            return run.outermost[path[0][0]]
    assert run.main is not None
    return run.main


def _check_names(place: Place, run: RecordedRun, sources: Sources) -> None:
    visible = visible_names(place.loop, sources)
    if visible is None:
        return
    missing = [name for name in names_needed(place.probe) if name not in visible]
    if not missing:
        return
    hints = []
    for name in missing:
        near = get_close_matches(name, sorted(visible), 3)
        hints.append(f"{name!r}" + (f" (near: {', '.join(near)})" if near else ""))
    raise ProbeError(
        f"the probe {place.probe.name!r} needs {', '.join(hints)}, which the program does not have "
        f"at {place}, run {run.label}; use names visible there, or another place with --at"
    )


def _visible(loop: LoopInfo, name: str, sources: Sources) -> bool:
    visible = visible_names(loop, sources)
    return visible is not None and name in visible


def visible_names(loop: LoopInfo, sources: Sources) -> set[str] | None:
    """The names that the code around `loop` can read; None when that cannot be told."""
    source = sources(loop.module)
    if source is None:
        return None
    try:
        top = symtable.symtable(source, loop.module, "exec")
    except SyntaxError:
        return None
    if "import *" in source:
        return None
    names = _bound(top)
    table = _descend(top, loop)
    if table is None:
        return None
    if table is not top:
        names |= set(table.get_identifiers()) - _only_global(table)
    return names


def _bound(table: symtable.SymbolTable) -> set[str]:
    names = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    return names | _declared_global(table)


def _declared_global(table: symtable.SymbolTable) -> set[str]:
    names: set[str] = set()
    for child in table.get_children():
        names |= {s.get_name() for s in child.get_symbols() if s.is_declared_global()}
        names |= _declared_global(child)
    return names


def _only_global(table: symtable.SymbolTable) -> set[str]:
    """Names that the function merely reads from its module."""
    return {s.get_name() for s in table.get_symbols() if s.is_global()}


def _descend(table: symtable.SymbolTable, loop: LoopInfo) -> symtable.SymbolTable | None:
    """The table of the code that holds the loop: of namesakes, the last that begins before it."""
    if loop.qualname == "<module>":
        return table
    for part in _parts(loop.qualname):
        found = _child(table, part, loop.span[0])
        if found is not None and found.get_type() not in ("function", "class"):
            found = _child(found, part, loop.span[0])  # inside of the scope of type parameters
        if found is None:
            return None
        table = found
    return table


def _child(table: symtable.SymbolTable, name: str, line: int) -> symtable.SymbolTable | None:
    children = [c for c in table.get_children() if c.get_name() == name and c.get_lineno() <= line]
    return max(children, key=lambda child: child.get_lineno(), default=None)


def _parts(qualname: str) -> Iterable[str]:
    return (part for part in qualname.split(".") if part != "<locals>")
