"""``flor_trace show RUN --checkpoints``: which there are, what they cost, and why not more."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from flor_trace.api import open_catalog
from flor_trace.cli.output import duration, plain, print_rows
from flor_trace.history.runid import resolve_run
from flor_trace.replay.recorded import OutermostRun, RecordedRun

_COLUMNS = ("loop", "before", "at", "held up", "beside", "state", "written", "note")


def show_checkpoints(text: str, *, store: str | None, as_json: bool) -> None:
    """Print the checkpoints of the run that `text` names."""
    catalog = open_catalog(store)
    rows = {row.runid: row for row in catalog.runs()}
    runid = resolve_run(text, {key: row.name for key, row in rows.items()})
    frames = catalog.frames(runid)
    run = RecordedRun(frames)
    facts = _facts(run, [frame for frame in frames if frame["t"] == "checkpoint"])
    if as_json:
        json.dump(plain(facts), sys.stdout)
        print()
        return
    print_rows([_row(each) for each in facts["checkpoints"]], _COLUMNS)
    if sys.stdout.isatty():
        for line in _words(facts):
            print(line)


def _facts(run: RecordedRun, frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = []
    for frame in frames:
        stage = run.outermost.get(frame["loop"])
        if stage is not None:
            found.append(_checkpoint(stage, frame))
    return {
        "run": run.runid,
        "checkpoints": found,
        "overhead": run.header.get("overhead"),
        "seconds": run.exit.get("seconds") if run.exit else None,
        "budget": _budget(run.exit) if run.exit else None,
        "loops": [_distance(stage) for stage in run.outermost.values() if _reached(stage)],
    }


def _checkpoint(stage: OutermostRun, frame: Mapping[str, Any]) -> dict[str, Any]:
    boundary = frame["boundary"]
    state = stage.states.get(boundary)
    return {
        "loop": stage.loop.dimension,
        "boundary": boundary,
        "at": frame.get("at"),
        "seconds": frame["seconds"],
        "beside": frame.get("beside"),
        "bytes": frame["bytes"],
        "new": frame.get("new"),
        "assumed": frame.get("assumed", 0),
        "opaque": len(frame["opaque"]),
        "usable": state is not None and not state.opaque,
        "confirmed": state is not None and state.confirmed,
    }


def _budget(end: Mapping[str, Any]) -> dict[str, Any]:
    """What the journal's end says; older journals say less."""
    known = ("checkpoint_seconds", "checkpoints", "skipped", "no_room", "disk", "written",
             "next_seconds", "next_bytes", "next_due", "bound_by")  # fmt: skip
    return {name: end.get(name) for name in known}


def _reached(stage: OutermostRun) -> int:
    """How many iterations there were: of a killed run, checkpoints may tell more than rows."""
    return max(stage.iterations, *stage.states, 0)


def _distance(stage: OutermostRun) -> dict[str, Any]:
    """How far a replay may have to execute: the longest stretch without a usable checkpoint."""
    usable = sorted({0, *(b for b, s in stage.states.items() if not s.opaque), _reached(stage)})
    gaps = [after - before for before, after in pairwise(usable)]
    return {
        "loop": stage.loop.dimension,
        "iterations": _reached(stage),
        "longest": max(gaps, default=0),
        "seconds": max(gaps, default=0) * stage.seconds_each,
    }


def _row(each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "loop": each["loop"],
        "before": each["boundary"],
        "at": None if each["at"] is None else duration(each["at"]),
        "held up": brief(each["seconds"]),
        "beside": None if each["beside"] is None else brief(each["beside"]),
        "state": size(each["bytes"]),
        "written": None if each["new"] is None else size(each["new"]),
        "note": _note(each),
    }


def _note(each: Mapping[str, Any]) -> str:
    if each["opaque"]:
        return "cannot be restored: see flor_trace show"
    if not each["usable"]:
        return "not usable: what it took for constant changed"
    if not each["confirmed"]:
        return "not confirmed"
    return f"{size(each['assumed'])} constant" if each["assumed"] else ""


def brief(seconds: float) -> str:
    """Return a short time for people: ``12 ms``."""
    return duration(seconds) if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def size(nbytes: float) -> str:
    """Return bytes for people: ``1.5 MB``."""
    amount = float(nbytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _words(facts: Mapping[str, Any]) -> Iterator[str]:
    for loop in facts["loops"]:
        yield (
            f"loop {loop['loop']}: {loop['iterations']} iterations; a replay executes at most "
            f"{loop['longest']} of them before a checkpoint, about {duration(loop['seconds'])}"
        )
    budget = facts["budget"]
    if budget is None:
        yield "the run has not ended, or was killed: what its budget was then is not known"
        return
    yield from _spent(facts, budget)
    if budget["bound_by"] is not None:
        yield from _next(budget, facts["seconds"])


def _spent(facts: Mapping[str, Any], budget: Mapping[str, Any]) -> Iterator[str]:
    share = budget["checkpoint_seconds"] / facts["seconds"] if facts["seconds"] else 0.0
    yield (
        f"they took {duration(budget['checkpoint_seconds'])} of the program's "
        f"{duration(facts['seconds'])}, {share:.1%}; {facts['overhead']:.1%} and 25 ms are allowed"
    )
    if budget["disk"] is not None:
        allowed = f"of {size(budget['disk'])} that a run may write"
        yield f"they wrote {size(budget['written'])} {allowed}"
    if budget["skipped"]:
        yield (
            f"{budget['skipped']} could not be written: {budget['no_room'] or 0} for lack of room "
            "on the disk, the others because the writer was behind"
        )


def _next(budget: Mapping[str, Any], seconds: float) -> Iterator[str]:
    thought = f"about {brief(budget['next_seconds'])} and {size(budget['next_bytes'])}"
    if budget["next_due"] is None:
        reason = "--overhead is 0" if budget["bound_by"] == "time" else "the disk is used up"
        yield f"there would have been no other: {reason}"
    elif budget["next_due"] > seconds:
        option = "--overhead" if budget["bound_by"] == "time" else "--disk"
        yield (
            f"the next one, {thought}, would have been allowed "
            f"{duration(budget['next_due'] - seconds)} after the end; {option} brings them closer "
            "together"
        )
    else:
        yield f"the budgets had room for another one, {thought}: the loop had no boundary left"
