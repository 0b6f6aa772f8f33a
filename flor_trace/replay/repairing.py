"""Store again what cannot be read any more: from copies, or by executing the old program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flor_trace.errors import FlorTraceError, SnapshotError, StoreFormatError
from flor_trace.history.amendments import amend
from flor_trace.history.worktree import find_repository
from flor_trace.replay.continuing import sent_out
from flor_trace.replay.leading import Errand
from flor_trace.replay.mending import Mending
from flor_trace.replay.plan import Plan, make_plan
from flor_trace.replay.recorded import OutermostRun, RecordedRun
from flor_trace.replay.surveying import Broken, How, Survey
from flor_trace.session.seeds import copies
from flor_trace.state.closure import Soundness, chunks_of
from flor_trace.store.layout import Store
from flor_trace.store.packs import PackWriter
from flor_trace.store.reader import PackReader
from flor_trace.store.salvage import salvage
from flor_trace.types import Address

Notice = Callable[[str], None]


def repair(store: Store, found: Survey, notice: Notice, *, jobs: int = 1) -> None:
    """Repair what was found broken; each then tells how, or why it could not be.

    Nothing is deleted or changed: what is stored again goes to packs of its own.

    Raises:
        StoreError: if the store cannot be written.

    """
    _Copies(store, found.broken).store_again(found.broken)
    _look_again(store, found.broken, "copied")
    groups = _groups(found.broken)
    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
        list(pool.map(lambda group: _execute(store, group, notice), groups))
    _look_again(store, [each for each in found.broken if each.state is None], "executed")


def foresee(store: Store, found: Survey) -> dict[int, str]:
    """Return how each of the broken, by its position, would be repaired; `why` tells what cannot.

    Nothing is written.
    """
    held = _Copies(store, found.broken)
    told: dict[int, str] = {}
    for number, each in enumerate(found.broken):
        if not held.lacking(each):
            told[number] = "from whole copies that were found"
    left = {id(each): n for n, each in enumerate(found.broken) if n not in told}
    for group in _groups([each for n, each in enumerate(found.broken) if n not in told]):
        reason = _cannot_run(store, group[0].run)
        stage, lost = _stage(group), _boundaries(group)
        for each in group:
            each.why = reason
            if reason is None:
                told[left[id(each)]] = _told(_plan(stage, _boundaries([each]), lost))
    return told


def _told(plan: Plan) -> str:
    restored = [step.first for step in plan.steps if step.kind == "restore"]
    source = f"the checkpoint {restored[0]}" if restored else "the program's start"
    return f"by executing {plan.executed} iterations from {source}"


class _Copies:
    """Whole copies of chunks that no reader comes to, such as those that damage in a pack hides."""

    def __init__(self, store: Store, broken: Sequence[Broken]) -> None:
        self._store = store
        self._plain = Soundness(PackReader(store))
        self._reader = _Deep(store)
        for run in {each.run.runid: each.run for each in broken}.values():
            for frame in run.seeds:
                self._reader.copies |= copies(frame)
        self._sound = Soundness(self._reader)

    def lacking(self, broken: Broken) -> bool:
        """Whether something is lacking of it even with the copies."""
        return bool(broken.look(self._sound))

    def store_again(self, broken: Sequence[Broken]) -> None:
        """Store every copy in a new pack that something broken needs."""
        wanted = {chunk: None for each in broken for chunk in self._needed(each)}
        if not wanted:
            return
        packs = PackWriter(self._store, f"repair-{os.urandom(5).hex()}", dedup=0)
        for address in wanted:
            packs.put(self._reader.get(address))
        packs.close()

    def _needed(self, broken: Broken) -> list[Address]:
        chunks = [broken.chunk, *broken.lacking]
        if broken.is_graph and self._sound.trouble(broken.chunk) is None:
            with suppress(StoreFormatError):
                chunks += chunks_of(self._reader.get(broken.chunk))
        return [
            each
            for each in chunks
            if self._plain.trouble(each) is not None and self._sound.trouble(each) is None
        ]


class _Deep:
    """Reads chunks also where damage hides them, and from the copies that journals have."""

    def __init__(self, store: Store) -> None:
        self.copies: dict[Address, bytes] = {}
        self._packs = PackReader(store)
        salvage(store, self._packs)

    def get(self, address: Address) -> bytes:
        """See `ChunkReader`."""
        return self.copies[address] if address in self.copies else self._packs.get(address)


def _look_again(store: Store, broken: Sequence[Broken], how: How) -> None:
    """Note what can be read by now."""
    sound = Soundness(PackReader(store))
    for each in broken:
        if each.how is None:
            each.lacking = each.look(sound)
            if not each.lacking:
                each.how, each.why = how, None


def _groups(broken: Iterable[Broken]) -> list[list[Broken]]:
    """Those checkpoints that are not repaired, each loop of each run for itself."""
    groups: dict[tuple[str, int], list[Broken]] = {}
    for each in broken:
        if each.state is not None and each.stage is not None and each.how is None:
            groups.setdefault((each.run.runid, each.stage.loop.number), []).append(each)
    return list(groups.values())


def _stage(group: Sequence[Broken]) -> OutermostRun:
    stage = group[0].stage
    assert stage is not None
    return stage


def _boundaries(group: Sequence[Broken]) -> set[int]:
    return {each.state.boundary for each in group if each.state is not None}


def _cannot_run(store: Store, run: RecordedRun) -> str | None:
    """Why the program of a run cannot be executed again, or None."""
    if run.header.get("vid") is None:
        return "its code was not saved, so it cannot be executed again"
    try:
        find_repository(run.header["vid"], (Path(run.header["root"]), store.code))
    except SnapshotError as error:
        return str(error)
    return None


def _plan(stage: OutermostRun, wanted: set[int], avoid: set[int]) -> Plan:
    """Execute up to each of the `wanted` boundaries, from checkpoints that are not to `avoid`."""
    iterations = {boundary - 1 for boundary in wanted if boundary}
    return make_plan(stage, iterations, inner=False, avoid=avoid, prove=False)


def _execute(store: Store, group: Sequence[Broken], notice: Notice) -> None:
    """Execute the program up to the checkpoints of one loop that are lost.

    First from the checkpoints before them; what that does not give, from the start.
    """
    run, stage = group[0].run, _stage(group)
    reason = _cannot_run(store, run)
    left, avoid = list(group), _boundaries(group)
    while left and reason is None:
        plan = _plan(stage, _boundaries(left), avoid)
        lost = ", ".join(map(str, sorted(_boundaries(left))))
        notice(f"run {run.label}, {stage.loop.dimension} {lost}: to be had {_told(plan)}")
        try:
            report = _send_out(store, run, stage, plan, left)
        except FlorTraceError as error:
            reason = str(error)
            break
        left = [each for each in left if not _settle(store, each, report)]
        if report["how"] == "damaged" and report["boundary"] not in (None, *avoid):
            avoid.add(report["boundary"])
        elif plan.restored:
            avoid = {*stage.states, *avoid}
        else:
            break
    for each in left:
        each.why = reason or each.why


def _send_out(
    store: Store, run: RecordedRun, stage: OutermostRun, plan: Plan, left: Sequence[Broken]
) -> dict[str, Any]:
    lost = {str(each.state.boundary): list(each.lacking) for each in left if each.state}
    steps = tuple(asdict(step) for step in plan.steps)

    def mending(errand: Errand) -> Mending:
        return Mending(**asdict(errand), steps=steps, lost=lost)

    with sent_out(store, run, stage, "mending", mending) as (scratch, status, report):
        if report["how"] == "running":
            tail = (scratch / "stderr").read_text(errors="replace").splitlines()[-1:]
            report["error"] = f"the process ended with status {status} {' '.join(tail)}".rstrip()
        return report


def _settle(store: Store, broken: Broken, report: Mapping[str, Any]) -> bool:
    """Note what came of one lost checkpoint; return whether it can be read now."""
    state = broken.state
    assert state is not None
    sound, key = Soundness(PackReader(store)), str(state.boundary)
    manifest = Address(report["made"].get(key, state.manifest))
    broken.lacking = sound.lacking(manifest)
    if not broken.lacking:
        if manifest != state.manifest:
            _replace(store, broken, manifest)
        broken.how, broken.why = "executed", None
        return True
    differences = report["diverged"].get(key)
    if broken.stage is not None and state.boundary in broken.stage.doubtful:
        broken.why = (
            "data that was taken for constant changed, so that it may hold what never was; no "
            "replay uses it"
        )
    elif differences:
        first = report["difference"] or f"{'; '.join(differences[:3])}"
        broken.why = f"executed again, the program diverged from the recorded run: {first}"
    else:
        broken.why = f"executed again, the program did not come there: {report['error']}"
    return False


def _replace(store: Store, broken: Broken, manifest: Address) -> None:
    """Write down that another manifest stands for the state from now on."""
    state = broken.state
    assert state is not None
    amend(
        store.run_dir(broken.run.runid),
        "repaired",
        [
            {
                "loop": _stage([broken]).loop.number,
                "boundary": state.boundary,
                "manifest": state.manifest,
                "by": manifest,
                "digest": state.digest,
            }
        ],
    )
    broken.state, broken.chunk = replace(state, manifest=manifest), manifest
