"""Place a probe in a version that does not have it: where today's code would have put it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace

from flor_trace.errors import ProbeError
from flor_trace.instrument.loops import span
from flor_trace.replay.carrying import Carried, UndefinedToday, carry
from flor_trace.replay.matching import Matching
from flor_trace.replay.probes import Probe
from flor_trace.replay.recorded import OutermostRun, RecordedRun
from flor_trace.replay.resolve import Place, Sources, stage_of
from flor_trace.replay.today import Today, matched
from flor_trace.replay.trees import Tree, tree_of
from flor_trace.types import LoopInfo, Spot


def carried_place(
    probe: Probe, run: RecordedRun, sources: Sources, today: Today, renamed: Mapping[str, str]
) -> Place:
    """Where the statements that define the probe's name today belong in `run`'s version.

    `renamed` maps names of today's code to those of the old, where a person knows better.

    Raises:
        UndefinedToday: if no module of today's code defines the name.
        ProbeError: if none of those that do can be carried.

    """
    old = dict(_trees(run, sources))
    best: tuple[Carried, str] | None = None
    problem: ProbeError | None = None
    for module, tree in today.defining(probe.text):
        found = matched(module, tree, old)
        if found is None:
            continue
        try:
            carried = carry(probe.text, found[1], renamed)
        except UndefinedToday:
            continue
        except ProbeError as error:
            problem = problem or error
            continue
        if best is None or carried.confidence > best[0].confidence:
            best = carried, found[0]
    if best is None:
        raise problem or UndefinedToday(f"today's code does not define {probe.text!r}")
    return _place(probe, run, *best)


def statement_place(probe: Probe, run: RecordedRun, sources: Sources, today: Today) -> Place:
    """Where the statement that ``--at 'after: ...'`` names is in `run`'s version.

    Raises:
        ProbeError: if there is no such statement, or several.

    """
    assert probe.at is not None
    module, anchor = _statement(probe.at, run, sources, today)
    spot = Spot(module, span(anchor.node), probe.beside == "before")  # type: ignore[arg-type]
    loop, stage = _around(run, spot)
    return Place(probe, loop, stage, spot)


def _trees(run: RecordedRun, sources: Sources) -> Iterator[tuple[str, Tree]]:
    for module in run.sources:
        source = sources(module)
        if source is not None:
            yield module, tree_of(source)


def _place(probe: Probe, run: RecordedRun, carried: Carried, module: str) -> Place:
    spot = Spot(module, carried.span, carried.before)
    loop, stage = _around(run, spot)
    ends = carried.at_end and loop.module == module and _contains(loop, spot)
    probe = replace(probe, carried=carried.today)
    return Place(probe, loop, stage, None if ends else spot, carried)


def _around(run: RecordedRun, spot: Spot) -> tuple[LoopInfo, OutermostRun]:
    """The innermost loop round a spot, else the main loop; and the stage it runs under."""
    if run.main is None:
        raise ProbeError(
            f"run {run.label} has no loop that was watched, so there is no iteration at which to "
            "ask; flor_trace show tells what was recorded"
        )
    inside = [
        each for each in run.infos.values() if _contains(each, spot) and each.left_alone is None
    ]
    if not inside:
        return run.infos[run.main.loop.key], run.main
    loop = max(inside, key=lambda each: each.span[0])
    return loop, stage_of(loop.key, run)


def _contains(loop: LoopInfo, spot: Spot) -> bool:
    return (
        loop.module == spot.module and loop.span[0] < spot.span[0] and spot.span[1] <= loop.span[1]
    )


def _statement(text: str, run: RecordedRun, sources: Sources, today: Today) -> tuple[str, Tree]:
    """The module and statement of the old version that a person means."""
    old = dict(_trees(run, sources))
    path, _, line = text.rpartition(":")
    if path.endswith(".py") and line.isdigit():
        return _by_line(path, int(line), run, old, today)
    wanted = _normal(text)
    found = [(m, t) for m, tree in old.items() for t in _simple(tree) if _normal_of(t) == wanted]
    if not found:
        found = list(_by_todays_text(wanted, old, today))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ProbeError(
            f"run {run.label} has no statement `{text}`, and today's code has none that could be "
            "found in it; write it as it stands there, or FILE.py:LINE of today's code"
        )
    lines = ", ".join(f"{m}:{t.node.lineno}" for m, t in found)  # type: ignore[attr-defined]
    raise ProbeError(
        f"run {run.label} has the statement `{text}` {len(found)} times ({lines}); write "
        "FILE.py:LINE of today's code instead"
    )


def _by_line(
    path: str, line: int, run: RecordedRun, old: Mapping[str, Tree], today: Today
) -> tuple[str, Tree]:
    """The old statement that a line of today's code was."""
    for module, tree in today.defining(""):
        if module != path:
            continue
        at = [t for t in tree.below() if t.is_statement and t.node.lineno == line]  # type: ignore[attr-defined]
        found = matched(module, tree, old)
        if not at:
            raise ProbeError(f"no statement begins in line {line} of {path}")
        there = found[1].there(max(at, key=lambda t: t.size)) if found else None
        if found is None or there is None:
            raise ProbeError(
                f"line {line} of {path} is not in the version of run {run.label}; ask at another"
            )
        return found[0], there
    raise ProbeError(f"there is no file {path} in the project today; name one as it is called now")


def _by_todays_text(
    wanted: str, old: Mapping[str, Tree], today: Today
) -> Iterator[tuple[str, Tree]]:
    for module, tree in today.defining(""):
        same = [t for t in _simple(tree) if _normal_of(t) == wanted]
        found: tuple[str, Matching] | None = matched(module, tree, old) if same else None
        for each in same if found is not None else ():
            assert found is not None
            there = found[1].there(each)
            if there is not None:
                yield found[0], there


def _simple(tree: Tree) -> Iterator[Tree]:
    return (each for each in tree.below() if each.is_statement)


def _normal_of(tree: Tree) -> str:
    """The text of a statement, of a compound one its first line, as `ast` would write it."""
    return ast.unparse(tree.node).splitlines()[0]


def _normal(text: str) -> str:
    try:
        return ast.unparse(ast.parse(text.strip())).strip()
    except SyntaxError:
        pass
    try:  # the head of a compound statement
        return ast.unparse(ast.parse(text.strip().rstrip(":") + ":\n    pass")).splitlines()[0]
    except SyntaxError as error:
        raise ProbeError(f"--at names no statement: {text!r} ({error.msg})") from None
