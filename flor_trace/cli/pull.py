"""``flor_trace pull``: bring runs with their checkpoints from a URL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flor_trace import settings
from flor_trace.api import find_store
from flor_trace.cli.transfers import options_for, report
from flor_trace.errors import StoreFormatError
from flor_trace.history.runid import resolve_run
from flor_trace.history.snapshot import project_root
from flor_trace.remote.drive import Drive
from flor_trace.remote.listings import check_stamp, listed_runs, read_listings
from flor_trace.remote.pull import pull
from flor_trace.store.layout import Store, open_store
from flor_trace.types import RunId


def main(arguments: Sequence[str]) -> int:
    """Pull; 1 if a run could not be."""
    options = options_for(
        "pull",
        "Bring runs, with all their checkpoints and their code, from another place. Every byte "
        "is verified, and a run appears here when all of it has arrived: after an interruption, "
        "give the command again.",
    ).parse_args(arguments)
    drive = Drive(options.url)
    check_stamp(drive)
    chosen = _chosen(drive, options.runs)
    branch = settings.load(Path.cwd(), {}).branch
    made = pull(_store(options.store), drive, chosen, branch, dry_run=options.dry_run)
    verb = "to pull" if options.dry_run else "pulled"
    return report(verb, chosen, made, as_json=options.json)


def _chosen(drive: Drive, texts: Sequence[str]) -> list[RunId]:
    there = listed_runs(drive)
    if not texts:
        return there
    if set(texts) <= set(there):
        return [RunId(text) for text in dict.fromkeys(texts)]
    names = {
        runid: next((listing.name for listing in read_listings(drive, runid)), None)
        for runid in there
    }
    return list(dict.fromkeys(resolve_run(text, names) for text in texts))


def _store(path: str | None) -> Store:
    """The store to pull into, made if there is none."""
    if path is not None:
        return open_store(Path(path).absolute(), create=True)
    try:
        found = find_store().path
    except StoreFormatError:
        asked = settings.load(Path.cwd(), {}).store
        found = asked.absolute() if asked else project_root(Path.cwd() / "-")[0] / ".flor_trace"
    return open_store(found, create=True)
