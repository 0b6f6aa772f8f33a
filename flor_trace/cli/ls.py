"""``flor_trace ls``: list the recorded runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from flor_trace.api import open_catalog
from flor_trace.cli.options import parser
from flor_trace.cli.output import duration, print_rows
from flor_trace.history.runs import RunRow

COLUMNS = ("run", "name", "started", "program", "status", "reached", "checkpoints", "took", "code")


def main(arguments: Sequence[str]) -> int:
    """List the runs, oldest first."""
    options = parser("ls", "List the recorded runs, oldest first.").parse_args(arguments)
    rows = [_row(run, as_json=options.json) for run in open_catalog(options.store).runs()]
    print_rows(rows, COLUMNS, as_json=options.json)
    return 0


def _row(run: RunRow, *, as_json: bool) -> dict[str, object]:
    return {
        "run": run.runid,
        "name": run.name or "",
        "started": run.tstamp if as_json else run.tstamp[:19].replace("T", " "),
        "program": shlex.join((run.filename, *run.argv)),
        "status": run.status,
        "reached": reached(run),
        "checkpoints": run.checkpoints,
        "took": run.seconds if as_json else duration(run.seconds),
        "code": (run.vid or "")[: None if as_json else 9],
    }


def reached(run: RunRow) -> str:
    """How far the outermost loop got: ``epoch 7``."""
    if run.last is None:
        return ""
    value = run.last.iteration if run.last.value is None else run.last.value
    return f"{run.last.dimension} {value}"
