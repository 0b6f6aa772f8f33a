"""What push and pull have in common: their options, progress, and the summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from flor_trace.cli.options import Parser, parser
from flor_trace.remote.pull import Pulled
from flor_trace.remote.push import Pushed
from flor_trace.types import RunId


def options_for(command: str, description: str) -> Parser:
    """The parser of a command that brings runs from one place to another."""
    made = parser(command, description)
    add = made.add_argument
    add(
        "url",
        metavar="URL",
        help="the place: s3://bucket/runs, file:///mnt/runs, or whatever else fsspec can open",
    )
    add("runs", nargs="*", metavar="RUN", help="only these runs; all if none is named")
    add("--dry-run", action="store_true", help="only say what is missing there")
    return made


def report(
    verb: str, runs: Sequence[RunId], made: Iterable[Pushed | Pulled], *, as_json: bool
) -> int:
    """Carry it out, telling people at a terminal how far it is; return the exit status."""
    done: list[Pushed | Pulled] = []
    shown = sys.stderr.isatty()
    for each in made:
        done.append(each)
        if shown:
            text = f"flor_trace: {len(done)} of {len(runs)} runs, {each.runid}"
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    if shown and done:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if as_json:
        json.dump([_document(each) for each in done], sys.stdout)
        print()
    else:
        _print(verb, done)
    return 1 if any(each.problem for each in done) else 0


def _document(each: Pushed | Pulled) -> dict[str, object]:
    return {
        "run": each.runid,
        "new": each.news,
        "chunks": each.chunks,
        "bytes": each.bytes,
        "notes": each.notes,
        "problem": each.problem,
    }


def _print(verb: str, done: Sequence[Pushed | Pulled]) -> None:
    news = 0
    for each in done:
        if each.problem:
            print(f"{each.runid}: not {verb}: {each.problem}")
        elif each.news:
            news += 1
            print(f"{each.runid}: {verb}, {each.chunks} chunks, {each.bytes / 1e6:.1f} MB")
        for note in each.notes:
            print(f"{each.runid}: {note}")
    failed = sum(each.problem is not None for each in done)
    same = len(done) - news - failed
    print(
        f"{news} runs {verb}, {same} were there already"
        + (f", {failed} could not be {verb}" if failed else "")
    )
