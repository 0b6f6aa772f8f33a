"""``flor_trace replay``: ask recorded runs a new question."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flor_trace import settings
from flor_trace.api import find_store
from flor_trace.cli.options import Parser, parser
from flor_trace.cli.output import duration
from flor_trace.errors import UsageError
from flor_trace.replay.carrying import Carried
from flor_trace.replay.engine import CONFIDENT, Prepared, carry_out_all, prepare, read_probe
from flor_trace.replay.execute import Outcome


def main(arguments: Sequence[str]) -> int:
    """Plan, ask for leave, replay, report."""
    options = _parser().parse_args(arguments)
    store = find_store(options.store)
    file = options.probe_file or settings.load(Path.cwd(), {}).probe_file
    status = 0
    documents = []
    for text in options.probe:
        probe = read_probe(store, text, at=options.at, probe_file=Path(file) if file else None)
        prepared = prepare(
            store,
            probe,
            where=options.where,
            runs=options.run,
            force=options.force,
            renamed=_renamed(options.map),
            confidence=_confidence(options),
        )
        documents.append(_plan_document(prepared))
        _tell_plan(prepared)
        if options.dry_run or not prepared.outcomes:
            continue
        if not (options.yes or _agreed()):
            return 5
        carry_out_all(store, prepared, lambda line: _tell(line))
        documents[-1]["results"] = [_result(outcome) for outcome in prepared.outcomes]
        _tell_results(prepared)
        status = max(status, _status(prepared))
    if options.json:
        json.dump(documents, sys.stdout)
        print()
    return status


def _parser() -> Parser:
    command = parser(
        "replay",
        "Ask recorded runs a new question: old code is run again, from the nearest checkpoints, "
        "with a probe in it.  Nothing of yours is changed.",
    )
    add = command.add_argument
    add("--probe", action="append", required=True, metavar="NAME[=EXPRESSION]",
        help="an expression over the old program's names, a variable it stores, a function of "
        "the probe file, or what was asked before; repeat for more")  # fmt: skip
    add("--probe-file", metavar="FILE", help="Python file with probe functions")
    add("--where", metavar="CONDITION", help="pandas query text: the rows to ask at")
    add("--at", metavar="PLACE", help="DIMENSION, DIMENSION:start, DIMENSION=3..7, "
        "DIMENSION%%100, 'after: STATEMENT', 'before: STATEMENT', or FILE.py:LINE of today's code "
        "(default: the main loop's iterations, or where today's code has the name)")  # fmt: skip
    add("--map", action="append", default=[], metavar="OLD=NEW",
        help="what old versions call OLD is NEW in today's code; repeat for more")  # fmt: skip
    add("--min-confidence", type=float, metavar="SHARE",
        help=f"ask where it is at least so sure, from 0 to 1, that today's code belongs (default: "
        f"{CONFIDENT}; on a terminal you are asked)")  # fmt: skip
    add("--run", action="append", default=[], metavar="RUN", help="only this run; repeat for more")
    add("--force", action="store_true", help="ask again what was asked before")
    add("--dry-run", action="store_true", help="only say what would be done")
    add("-y", "--yes", action="store_true", help="do not ask for leave")
    return command


def _renamed(pairs: Sequence[str]) -> dict[str, str]:
    """Today's names to old ones."""
    renamed = {}
    for pair in pairs:
        old, _, new = pair.partition("=")
        if not (old.isidentifier() and new.isidentifier()):
            raise UsageError(f"cannot read --map {pair!r}: write OLD=NEW, two names of variables")
        renamed[new] = old
    return renamed


def _confidence(options: Namespace) -> float:
    if options.min_confidence is not None:
        return float(options.min_confidence)
    asked = options.dry_run or (sys.stdin.isatty() and not options.yes)
    return 0.0 if asked else CONFIDENT


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on; say --yes to replay, or --dry-run")
    sys.stderr.write("replay? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _plan_document(prepared: Prepared) -> dict[str, Any]:
    return {
        "probe": prepared.probe.definition,
        "seconds": prepared.seconds,
        "answered": prepared.answered,
        "skipped": prepared.skipped,
        "plans": [
            {
                "run": o.run.runid,
                "at": str(o.place),
                "wanted": sorted(o.wanted),
                "carried": None if o.place.carried is None else asdict(o.place.carried),
                **o.plan.as_json(),
            }
            for o in prepared.outcomes
        ],
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _tell_plan(prepared: Prepared) -> None:
    probe = prepared.probe
    if prepared.answered:
        _tell(f"{probe.name}: {prepared.answered} iterations have a value already")
    for run, why in prepared.skipped.items():
        _tell(f"run {run} is left out: {why}")
    for outcome in prepared.outcomes:
        plan = outcome.plan
        _tell(
            f"{probe.name} in run {outcome.run.label}, at {outcome.place}:\n"
            f"  {plan.kind} {len(outcome.wanted)} iterations: {plan.restored} checkpoints "
            f"restored, {plan.executed} iterations executed, about {duration(plan.seconds)}"
        )
        if outcome.place.carried is not None:
            _tell_carried(outcome.place.carried)


def _tell_carried(carried: Carried) -> None:
    """Show what of today's code is asked, in that version's words, and how sure its place is."""
    for line in carried.text.splitlines():
        _tell(f"    | {line}")
    names = ", ".join(f"{new} was {old}" for new, old in carried.renamed.items())
    doubts = f": {'; '.join(carried.notes)}" if carried.notes else ""
    _tell(f"  from today's code, confidence {carried.confidence}{doubts}")
    if names:
        _tell(f"  {names}")


def _result(outcome: Outcome) -> dict[str, Any]:
    return {
        "run": outcome.run.label,
        "plan": outcome.plan.kind,
        "cells": len(outcome.wanted),
        **{
            v: outcome.counts.get(v, 0)
            for v in ("exact", "agree", "unchecked", "diverged", "error")
        },
        "seconds": outcome.seconds,
        "took": duration(outcome.seconds),
        "difference": outcome.difference,
        "failure": outcome.error,
        "notes": outcome.notes,
    }


def _tell_results(prepared: Prepared) -> None:
    for outcome in prepared.outcomes:
        counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(outcome.counts.items()))
        _tell(f"run {outcome.run.label}: {counts or 'no values'} in {duration(outcome.seconds)}")
        for note in outcome.notes:
            _tell(f"  {note}")
        if outcome.difference is not None:
            _tell(f"  DIVERGED from the recorded run: {outcome.difference}")
            if outcome.counts.get("diverged"):
                _tell("  diverged values are kept apart; flor_trace pivot does not show them")
            else:
                _tell("  what differed was restored from checkpoints instead: the values are good")
        if outcome.error is not None:
            _tell(f"  FAILED: {outcome.error}")


def _status(prepared: Prepared) -> int:
    """0 all well, 1 something failed, 4 something diverged."""
    if any(o.counts.get("diverged") for o in prepared.outcomes):
        return 4
    failed = any(o.error is not None or o.counts.get("error") for o in prepared.outcomes)
    return 1 if failed else 0
