"""``flor_trace doctor --state``: whether the checkpoints of a run can be restored exactly."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from flor_trace.api import find_store, open_catalog
from flor_trace.cli.output import plain
from flor_trace.errors import ReplayError
from flor_trace.history.runid import resolve_run
from flor_trace.replay.checking import Checked, check, checkpoints, choose
from flor_trace.replay.recorded import RecordedRun

#: So many paths of one kind are shown to a person.
MAX_PATHS = 6


def main(store: str | None, text: str, *, wanted: str | None, go_on: bool, as_json: bool) -> int:
    """Check the checkpoints of the run that `text` names; 1 if one cannot be restored exactly."""
    catalog = open_catalog(store)
    rows = {row.runid: row for row in catalog.runs()}
    run = RecordedRun(
        catalog.frames(resolve_run(text, {runid: row.name for runid, row in rows.items()}))
    )
    if run.header.get("vid") is None:
        raise ReplayError(
            f"the code of run {run.label} was not saved, so it cannot be run again, and its "
            "checkpoints cannot be tried; flor_trace show tells why"
        )
    found = checkpoints(run)
    chosen = choose(found, wanted) if wanted is not None else found
    checked = []
    for each in check(find_store(store), run, chosen, go_on=go_on):
        checked.append(each)
        if not as_json:
            for line in _lines(each):
                print(line)
    if as_json:
        json.dump(plain([_document(each) for each in checked]), sys.stdout)
        print()
    else:
        print(_summary(run, checked, go_on=go_on))
    return 0 if all(each.finding == "exact" for each in checked) else 1


def _lines(each: Checked) -> Iterator[str]:
    how = each.finding.upper() if each.finding != "exact" else "exact"
    more = ", goes on as recorded" if each.continued and each.finding == "exact" else ""
    yield f"{each.place}: {how}{more}"
    if each.difference is not None and each.finding != "opaque":
        yield f"  {each.difference}"
    yield from _paths("cannot be captured", each.opaque)
    yield from _paths("kept from the live program", each.kept)
    yield from _paths("without its autograd history", each.detached)
    yield from _paths("assumed to be constant", each.assumed)


def _paths(what: str, paths: Sequence[str]) -> Iterator[str]:
    if paths:
        more = f" and {len(paths) - MAX_PATHS} more" if len(paths) > MAX_PATHS else ""
        yield f"  {what}: {', '.join(paths[:MAX_PATHS])}{more}"


def _summary(run: RecordedRun, checked: Sequence[Checked], *, go_on: bool) -> str:
    if not checked:
        return f"run {run.label} has no checkpoint: every replay executes it from its start"
    counts = Counter(each.finding for each in checked)
    told = ", ".join(f"{number} {finding}" for finding, number in counts.items())
    hint = "" if go_on else "; --continue also executes the program from each to its end"
    return f"run {run.label}: {len(checked)} checkpoints, {told}{hint}"


def _document(each: Checked) -> dict[str, Any]:
    return {
        "loop": each.stage.loop.dimension,
        "boundary": each.state.boundary,
        "finding": each.finding,
        "difference": each.difference,
        "continued": each.continued,
        "opaque": each.opaque,
        "kept": each.kept,
        "detached": each.detached,
        "assumed": each.assumed,
    }
