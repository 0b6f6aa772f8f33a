"""``flor_trace show RUN --changes``: name what each loop changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from flor_trace import api
from flor_trace.cli.output import plain, print_rows
from flor_trace.errors import UsageError
from flor_trace.replay.changing import Between, summary

#: Names shown of those that never changed, and of what is not restored.
MAX_NAMES = 12


def coordinate(text: str) -> dict[str, str]:
    """Read ``epoch=3`` or ``epoch``; raise `UsageError` for anything else."""
    if not text:
        return {}
    name, equals, value = text.partition("=")
    if not name.isidentifier() or (equals and not value):
        raise UsageError(
            f"--changes {text!r} is not a place in a run: write --changes epoch=3, "
            "--changes epoch, or --changes alone for all loops"
        )
    return {name: value}


def print_changes(found: Sequence[Between], *, every: bool, as_json: bool) -> None:
    """Print what changed: in short or path by path, as text, TSV or JSON."""
    if as_json:
        json.dump(plain([_document(each) for each in found]), sys.stdout)
        print()
        return
    terminal = sys.stdout.isatty()
    rows = []
    for between in found:
        lines = [(c.path, c.what, c.detail) for c in between.changes] if every else summary(between)
        span = f"{between.first}-{between.last}"
        for path, what, detail in lines:
            row = {"path": path, "what": what, "detail": detail}
            if terminal:
                rows.append(row)
            else:
                rows.append({"loop": between.dimension, "boundaries": span, **row})
        if terminal:
            print(_heading(between))
            print_rows(rows, ("path", "what", "detail"))
            rows = []
            for line in _notes(between):
                print(line)
    if not terminal:
        print_rows(rows, ("loop", "boundaries", "path", "what", "detail"))


def _document(between: Between) -> dict[str, Any]:
    return {
        **asdict(between),
        "summary": [
            dict(zip(("path", "what", "detail"), r, strict=True)) for r in summary(between)
        ],
    }


def _heading(between: Between) -> str:
    share = between.changed_bytes / between.nbytes if between.nbytes else 0.0
    return (
        f"\nloop {between.dimension}, iterations {between.first} to {between.last - 1}: "
        f"{between.changed_bytes:,} of {between.nbytes:,} bytes in arrays changed ({share:.0%})"
    )


def _notes(between: Between) -> Iterator[str]:
    for what, names in (
        ("never changed", between.unchanged),
        ("cannot be captured", between.opaque),
        ("taken from the live program", between.kept),
        ("without their autograd history", between.detached),
        ("not compared, as they hold clock readings", between.clocks),
    ):
        if names:
            more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
            yield f"{what}: {', '.join(names[:MAX_NAMES])}{more}"


def show_changes(run: str, text: str, *, store: str | None, every: bool, as_json: bool) -> None:
    """Print what a run changed at the place that `text` names."""
    print_changes(
        api.changes_between(run, store=store, **coordinate(text)), every=every, as_json=as_json
    )
