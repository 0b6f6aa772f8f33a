"""Recorded runs made by hand."""

from __future__ import annotations

import json

from flor_trace.records import asdict
from flor_trace.replay.recorded import RecordedRun
from flor_trace.types import LoopInfo

KEY = "train.py:main:0"


def info(
    dimension="i", *, ordinal=0, kind="for", targets=None, stores=(), line=10, qualname="main",
    module="train.py", own=None,
):  # fmt: skip
    targets = ((dimension,) if kind == "for" else ()) if targets is None else targets
    return LoopInfo(
        module=module,
        qualname=qualname,
        ordinal=ordinal,
        kind=kind,
        span=(line, line + 5, 0, 4),
        header=f"{kind} {dimension}",
        targets=targets,
        dimension=dimension,
        stores=(*targets, *stores),
        own_stores=(*targets, *stores) if own is None else own,
    )


def header(**facts):
    return {
        "t": "run", "format": 1, "runid": "20261123-run", "name": None, "vid": None, **facts,
    }  # fmt: skip


def module(*loops, name="train.py", clocks=()):
    return {
        "t": "module",
        "module": name,
        "digest": "00" * 16,
        "loops": [asdict(loop) for loop in loops],
        "left_alone": [],
        "clocks": sorted(clocks),
    }


def loop(number, what, dim=None, nth=0):
    return {
        "t": "loop", "id": number, "key": what.key, "dim": dim or what.dimension,
        "line": what.span[0], "nth": nth,
    }  # fmt: skip


def enter(number, at=1.0):
    return {"t": "enter", "loop": number, "outer": [], "at": at}


def leave(number, iterations, seconds=1.0, how="exhausted"):
    return {
        "t": "leave", "loop": number, "outer": [], "iterations": iterations, "how": how,
        "seconds": seconds,
    }  # fmt: skip


def rows(number, values, cols=None, *, first=0, outer=(), **facts):
    return {
        **facts,
        "t": "rows", "loop": number, "outer": [list(each) for each in outer], "first": first,
        "value": list(values), "cols": cols or {},
    }  # fmt: skip


def checkpoint(number, boundary, *, opaque=(), digest="", manifest="0-" + "0" * 32, nbytes=0):
    return {
        "t": "checkpoint", "loop": number, "outer": [], "boundary": boundary,
        "manifest": manifest, "digest": digest, "opaque": list(opaque), "seconds": 0.01,
        "bytes": nbytes,
    }  # fmt: skip


def recorded(*frames):
    """As a journal gives them back: through JSON."""
    return RecordedRun(json.loads(json.dumps(frames)))
