"""``flor_trace repair``: store again what was damaged or lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flor_trace.api import find_store, open_catalog
from flor_trace.cli.options import Parser, parser
from flor_trace.errors import UsageError
from flor_trace.history.runid import resolve_run
from flor_trace.replay.repairing import foresee, repair
from flor_trace.replay.surveying import Broken, Survey, survey
from flor_trace.state.closure import Soundness
from flor_trace.store.reader import PackReader
from flor_trace.types import RunId

_DONE = {
    "copied": "repaired from whole copies that were found",
    "executed": "repaired by executing the program again: the state has the recorded digest",
}


def main(arguments: Sequence[str]) -> int:
    """Look, repair, report; 1 if something could not be repaired."""
    options = _parser().parse_args(arguments)
    if options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: at least one program has to run")
    store = find_store(options.store)
    with PackReader(store) as reader:
        found = survey(store, _runids(options.store, options.runs), Soundness(reader))
    told: dict[int, str] = {}
    if options.dry_run:
        told = foresee(store, found)
    elif found.broken:
        repair(store, found, _notice, jobs=options.jobs)
    if options.json:
        document = {"checkpoints": found.checkpoints, "broken": _documents(found, told)}
        json.dump(document, sys.stdout)
        print()
    else:
        for line in _lines(found, told):
            print(line)
        print(_summary(found, told))
    return 0 if all(_is_well(each, told.get(n)) for n, each in enumerate(found.broken)) else 1


def _parser() -> Parser:
    command = parser(
        "repair",
        "Store again what was damaged or lost: from copies, or by executing old code up to the "
        "checkpoint, which is accepted only if its digest is the recorded one.  Nothing is "
        "deleted, and nothing of yours is changed.",
    )
    add = command.add_argument
    add("runs", nargs="*", metavar="RUN", help="only these runs; all if none is named")
    add("--dry-run", action="store_true", help="only say what would be done")
    add("--jobs", type=int, default=1, metavar="N", help="so many programs at a time (default: 1)")
    return command


def _runids(store: str | None, texts: Sequence[str]) -> list[RunId]:
    with open_catalog(store) as catalog:
        names = {row.runid: row.name for row in catalog.runs()}
    return list(dict.fromkeys(resolve_run(text, names) for text in texts) if texts else names)


def _notice(line: str) -> None:
    print(line, file=sys.stderr)


def _is_well(broken: Broken, told: str | None) -> bool:
    return broken.how is not None or told is not None


def _lines(found: Survey, told: dict[int, str]) -> Iterator[str]:
    """One line for what has the same told of it, run by run."""
    lines: dict[tuple[str, str], list[str]] = {}
    for number, each in enumerate(found.broken):
        lines.setdefault((each.run.label, _outcome(each, told.get(number))), []).append(each.what)
    for (run, outcome), names in lines.items():
        yield f"run {run}, {', '.join(names)}: {outcome}"


def _outcome(broken: Broken, told: str | None) -> str:
    if broken.how is not None:
        return _DONE[broken.how]
    if told is not None:
        return f"would be repaired {told}"
    return f"CANNOT be repaired: {broken.why}"


def _summary(found: Survey, told: dict[int, str]) -> str:
    if not found.broken:
        return f"all {found.checkpoints} checkpoints can be read; nothing to repair"
    well = _count(found.broken, told)
    what = "could be repaired" if told else "repaired"
    bad = len(found.broken) - well
    return f"{well} {what}, {bad} not" if bad else f"{well} {what}"


def _count(broken: Iterable[Broken], told: dict[int, str]) -> int:
    return sum(_is_well(each, told.get(n)) for n, each in enumerate(broken))


def _documents(found: Survey, told: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "run": each.run.runid,
            "what": each.what,
            "loop": each.stage.loop.dimension if each.stage else None,
            "boundary": each.state.boundary if each.state else None,
            "repaired": each.how,
            "would": told.get(number),
            "why": each.why,
            "lacking": each.lacking,
        }
        for number, each in enumerate(found.broken)
    ]
