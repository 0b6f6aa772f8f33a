"""``flor_trace show``: tell everything about one run."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from flor_trace.api import open_catalog
from flor_trace.cli.changes import show_changes
from flor_trace.cli.checkpoints import show_checkpoints
from flor_trace.cli.ls import reached
from flor_trace.cli.options import parser
from flor_trace.cli.output import duration, plain
from flor_trace.history.catalog import Catalog
from flor_trace.history.runid import resolve_run
from flor_trace.history.runs import RunRow
from flor_trace.replay.recorded import RecordedRun

#: Configuration values shown to a person.
MAX_CONFIG = 40

#: Names of large buffers shown to a person.
MAX_CONSTANTS = 5


def main(arguments: Sequence[str]) -> int:
    """Show one run."""
    command = parser("show", "Show one run: configuration, loops, checkpoints, what was lost.")
    command.add_argument("run", help="its name, its id, or a beginning or end of the id")
    command.add_argument(
        "--changes",
        nargs="?",
        const="",
        metavar="epoch=3",
        help="what the loops changed, or that iteration, as told by its checkpoints",
    )
    command.add_argument("--all", action="store_true", help="with --changes: every single path")
    command.add_argument(
        "--checkpoints", action="store_true", help="which there are, what they cost, why not more"
    )
    options = command.parse_args(arguments)
    if options.checkpoints:
        show_checkpoints(options.run, store=options.store, as_json=options.json)
        return 0
    if options.changes is not None:
        show_changes(
            options.run,
            options.changes,
            store=options.store,
            every=options.all,
            as_json=options.json,
        )
        return 0
    catalog = open_catalog(options.store)
    rows = {row.runid: row for row in catalog.runs()}
    runid = resolve_run(options.run, {key: row.name for key, row in rows.items()})
    facts = _facts(catalog, rows[runid])
    if options.json:
        json.dump(plain(facts), sys.stdout)
        print()
    else:
        for line in _lines(facts):
            print(line)
    return 0


def _facts(catalog: Catalog, row: RunRow) -> dict[str, Any]:
    frames = catalog.frames(row.runid)
    run = RecordedRun(frames)
    loops = [_loop(run, number) for number in run.loops]
    return {
        "run": row.runid,
        "name": row.name,
        "program": shlex.join((row.filename, *row.argv)),
        "started": row.tstamp,
        "status": row.status,
        "reached": reached(row),
        "seconds": row.seconds,
        "code": row.vid,
        "python": row.frame.get("python"),
        "config": run.config,
        "loops": loops,
        "constants": [{"path": each.path, "bytes": each.nbytes} for each in run.constants.values()],
        "changed": sorted(
            {run.constants[each.constant].what for each in run.stretches if each.doubtful}
        ),
        "left_alone": [
            {"module": frame["module"], "code": name, "why": why}
            for frame in frames
            if frame["t"] == "module"
            for name, why in frame["left_alone"]
        ],
        "left_out": row.frame.get("left_out", []),
        "lost": [
            {"what": frame["what"], "why": frame["why"]} for frame in frames if frame["t"] == "lost"
        ],
        "problems": list(row.problems),
    }


def _loop(run: RecordedRun, number: int) -> dict[str, Any]:
    loop = run.loops[number]
    info = run.infos.get(loop.key)
    outermost = run.outermost.get(number)
    rows = [path for path in run.targets if path[-1][0] == number]
    names = sorted({name for path in rows for name in run.values.get(path, ())})
    states = list(outermost.states.values()) if outermost else []
    return {
        "dimension": loop.dimension,
        "loop": info.header if info else loop.key,
        "at": f"{info.module}:{info.span[0]}" if info else None,
        "iterations": outermost.iterations if outermost else len(rows),
        "seconds": outermost.seconds if outermost else None,
        "logs": names,
        "checkpoints": sorted(state.boundary for state in states),
        "bytes": max((state.nbytes for state in states), default=0),
        "opaque": sorted({path for state in states for path in state.opaque}),
        "assumed": max((state.assumed for state in states), default=0),
        "unconfirmed": sorted(state.boundary for state in states if not state.confirmed),
        "doubtful": sorted(outermost.doubtful) if outermost else [],
    }


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    name = f" ({facts['name']})" if facts["name"] else ""
    yield f"run {facts['run']}{name}: {facts['program']}"
    took = f", took {duration(facts['seconds'])}" if facts["seconds"] is not None else ""
    yield f"  {facts['started'][:19].replace('T', ' ')} UTC, {facts['status']}{took}"
    yield f"  code {facts['code'] or 'was not saved'}, Python {facts['python']}"
    if facts["config"]:
        shown = list(facts["config"].items())[:MAX_CONFIG]
        yield "  " + "  ".join(f"{key}={value!r}" for key, value in shown)
    for loop in facts["loops"]:
        yield f"\nloop {loop['dimension']}: `{loop['loop']}` ({loop['at']})"
        yield f"  {loop['iterations']} iterations, logs {', '.join(loop['logs']) or 'nothing'}"
        if loop["checkpoints"]:
            megabytes = loop["bytes"] / 1e6
            yield (
                f"  checkpoints before iterations {_ranges(loop['checkpoints'])} "
                f"({megabytes:.1f} MB of state)"
            )
        yield from _assumptions(loop, facts)
        for path in loop["opaque"]:
            yield f"  cannot be captured: {path}"
    for each in facts["left_alone"]:
        yield f"\nleft alone: {each['code']} in {each['module']}: {each['why']}"
    for path, why in facts["left_out"]:
        yield f"not in the snapshot: {path}: {why}"
    for each in facts["lost"]:
        yield f"lost: {each['what']}: {each['why']}"


def _assumptions(loop: dict[str, Any], facts: dict[str, Any]) -> Iterator[str]:
    """What the checkpoints of a loop took for constant, and how that came out."""
    if loop["assumed"]:
        names = [each["path"] for each in facts["constants"] if each["path"]]
        named = ", ".join(names[:MAX_CONSTANTS]) + (", ..." if names[MAX_CONSTANTS:] else "")
        yield (
            f"  of that up to {loop['assumed'] / 1e6:.1f} MB were taken for constant at a boundary "
            f"and looked at later{named and f': {named}'}"
        )
    if loop["unconfirmed"]:
        yield (
            f"  not confirmed: those before iterations {_ranges(loop['unconfirmed'])}, as nobody "
            "could look again; replays prefer others"
        )
    if loop["doubtful"]:
        yield (
            f"  not usable: those before iterations {_ranges(loop['doubtful'])}: "
            f"{', '.join(facts['changed'])} turned out to have changed"
        )


def _ranges(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 5]`` as ``0-2, 5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)
