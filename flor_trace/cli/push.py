"""``flor_trace push``: bring runs with their checkpoints to a URL."""

from __future__ import annotations

from collections.abc import Sequence

from flor_trace.api import find_store, open_catalog
from flor_trace.cli.transfers import options_for, report
from flor_trace.history.runid import resolve_run
from flor_trace.remote.drive import Drive
from flor_trace.remote.push import push


def main(arguments: Sequence[str]) -> int:
    """Push; 1 if a run could not be."""
    options = options_for(
        "push",
        "Bring runs, with all their checkpoints and their code, to another place. What is there "
        "is not sent again, and a run is listed there when all of it has arrived: after an "
        "interruption, give the command again. Several may push to one place at once.",
    ).parse_args(arguments)
    store = find_store(options.store)
    names = {row.runid: row.name for row in open_catalog(options.store).runs()}
    chosen = [resolve_run(text, names) for text in options.runs] or list(names)
    drive = Drive(options.url)
    made = push(store, drive, list(dict.fromkeys(chosen)), dry_run=options.dry_run)
    verb = "to push" if options.dry_run else "pushed"
    return report(verb, chosen, made, as_json=options.json)
