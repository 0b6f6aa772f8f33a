"""``flor_trace fsck``: look whether what a store lists is there, and what damage costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flor_trace.api import find_store, open_catalog
from flor_trace.cli.options import parser
from flor_trace.errors import FlorTraceError
from flor_trace.replay.surveying import Survey, survey
from flor_trace.state.closure import Presence, Soundness
from flor_trace.store.check import Problem, fsck
from flor_trace.store.reader import PackReader


@dataclass(frozen=True, slots=True)
class _Report:
    """What was looked at, and what is wrong with it."""

    packs: list[Problem]
    journals: list[str]
    found: Survey
    data: bool

    @property
    def is_clean(self) -> bool:
        """Whether nothing that was promised is lost."""
        return not (self.journals or self.found.broken or any(p.serious for p in self.packs))


def main(arguments: Sequence[str]) -> int:
    """Look at a store; 0 if it is whole, 1 if something is damaged, 2 if it cannot be told."""
    command = parser(
        "fsck",
        "Look whether everything that a store lists is there, and name the runs and iterations "
        "that damage touches.  Nothing is changed.",
    )
    command.add_argument("--data", action="store_true", help="read and verify every byte, too")
    options = command.parse_args(arguments)
    try:
        report = _look(options.store, data=options.data)
    except (FlorTraceError, OSError) as error:
        print(f"flor_trace: the store could not be looked at: {error}", file=sys.stderr)
        return 2
    if options.json:
        json.dump(_document(report), sys.stdout)
        print()
    else:
        for line in _lines(report):
            print(line)
    return 0 if report.is_clean else 1


def _look(path: str | None, *, data: bool) -> _Report:
    store = find_store(path)
    packs = fsck(store, data=data)
    with open_catalog(path) as catalog, PackReader(store) as reader:
        runids = [row.runid for row in catalog.runs()]
        suspect = {each.address for each in packs if each.address is not None}
        sound = Soundness(reader) if data else Presence(reader, suspect)
        return _Report(packs, catalog.problems(), survey(store, runids, sound), data)


def _lines(report: _Report) -> Iterator[str]:
    for problem in report.packs:
        yield f"{'damage' if problem.serious else 'left over'}: {problem}"
    for text in report.journals:
        yield f"damage: {text}"
    lost: dict[str, list[str]] = {}
    for each in report.found.broken:
        lost.setdefault(each.run.label, []).append(each.what)
    for run, names in lost.items():
        yield f"run {run}: cannot be read: {', '.join(names)}"
    yield _summary(report)


def _summary(report: _Report) -> str:
    count = report.found.checkpoints
    how = "every byte was read" if report.data else "--data reads every byte"
    if report.is_clean:
        return f"all {count} checkpoints are there; {how}"
    broken = len(report.found.broken)
    if not broken:
        return f"no checkpoint of {count} is touched by the damage; {how}"
    return (
        f"{broken} of what the runs list cannot be read, {count} checkpoints were looked at; "
        "replays use others: `flor_trace repair` stores again what can be had"
    )


def _document(report: _Report) -> dict[str, Any]:
    return {
        "clean": report.is_clean,
        "checkpoints": report.found.checkpoints,
        "packs": [
            {"pack": p.pack, "offset": p.offset, "text": p.text, "serious": p.serious}
            for p in report.packs
        ],
        "journals": report.journals,
        "broken": [
            {
                "run": each.run.runid,
                "what": each.what,
                "loop": each.stage.loop.dimension if each.stage else None,
                "boundary": each.state.boundary if each.state else None,
                "lacking": each.lacking,
            }
            for each in report.found.broken
        ],
    }
