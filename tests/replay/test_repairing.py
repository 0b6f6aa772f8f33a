from __future__ import annotations

import pytest
from replay_helpers import checkpoint, enter, header, info, leave, loop, module, recorded

from flor_trace._speedups import digest_many
from flor_trace.errors import ReplayError
from flor_trace.replay.avoiding import MOST_MISFITS, Unusable
from flor_trace.replay.continuing import continue_from, last_good, why_not
from flor_trace.replay.mending import Refill
from flor_trace.replay.plan import make_plan
from flor_trace.replay.recorded import SavedState
from flor_trace.state.capture import capture
from flor_trace.state.closure import Soundness, chunks_of
from flor_trace.state.digests import leaf_bytes
from flor_trace.state.encode import encode
from flor_trace.store.layout import open_store
from flor_trace.store.memory import MemoryStore
from flor_trace.store.packs import PackWriter
from flor_trace.types import Address

EPOCH = info("epoch")
NOWHERE = Address("5-" + "0" * 32)


class Keeper:
    """A live state: one root of bytes that are chunks of their own, and a reading of a clock."""

    def __init__(self, *parts, clock=0.0):
        self.scope = {"local:parts": [bytearray(part) for part in parts],
                      "local:clock": [clock] * 2000}  # fmt: skip

    def capture(self):
        graph = capture(self.scope, is_project_file=lambda _: False)
        return graph, digest_many(leaf_bytes(graph))

    def saved(self, boundary, store):
        """Store it, as a recorder does; the checkpoint."""
        graph, _ = self.capture()
        addresses = [store.put(leaf) for leaf in leaf_bytes(graph)]
        return SavedState(boundary, store.put(encode(graph, addresses)), (), 0)


@pytest.fixture
def store():
    return MemoryStore()


def lose(store, *addresses):
    from flor_trace.store.framing import key_of

    for address in addresses:
        del store._chunks[key_of(address)]


def refilled(store, lost, state, keeper):
    refill = Refill(lost, store, Soundness(store))
    refill.refill(state, keeper)
    return refill


ONE, TWO = b"1" * 3000, b"2" * 3000


def test_only_what_is_lacking_is_stored(store):
    keeper = Keeper(ONE, TWO)
    state = keeper.saved(3, store)
    lacking = chunks_of(store.get(state.manifest))[:1]
    lose(store, *lacking)
    written = store.bytes_written

    refill = refilled(store, {3: lacking}, state, Keeper(ONE, TWO))

    assert refill.made == {3: state.manifest}
    assert refill.lost == {}
    assert store.bytes_written - written == 3000
    assert Soundness(store).lacking(state.manifest) == {}


def test_a_manifest_that_is_lost_comes_out_with_the_same_address(store):
    keeper = Keeper(ONE, TWO)
    state = keeper.saved(3, store)
    lose(store, state.manifest, *chunks_of(store.get(state.manifest)))

    refill = refilled(store, {3: [state.manifest]}, state, keeper)

    assert refill.made == {3: state.manifest}
    assert Soundness(store).lacking(state.manifest) == {}


@pytest.mark.parametrize("manifest_lost", [False, True])
def test_readings_of_a_clock_that_do_not_come_again_get_a_manifest_of_their_own(
    store, manifest_lost
):
    state = Keeper(ONE, TWO, clock=1.5).saved(3, store)
    leaves = chunks_of(store.get(state.manifest))
    lacking = [state.manifest] if manifest_lost else leaves
    lose(store, *leaves, *([state.manifest] if manifest_lost else []))

    refill = refilled(store, {3: lacking}, state, Keeper(ONE, TWO, clock=2.5))

    assert refill.made[3] != state.manifest
    assert Soundness(store).lacking(refill.made[3]) == {}


def test_checkpoints_that_lacked_nothing_else_are_repaired_along(store):
    early, late = Keeper(ONE, TWO).saved(3, store), Keeper(ONE, b"3" * 3000).saved(4, store)
    shared = chunks_of(store.get(early.manifest))[0]
    other = chunks_of(store.get(late.manifest))[1]
    lose(store, shared)

    both = refilled(store, {3: [shared], 4: [shared]}, early, Keeper(ONE, TWO))
    assert both.lost == {}
    lose(store, shared, other)
    one = refilled(store, {3: [shared], 4: [shared, other]}, early, Keeper(ONE, TWO))
    assert one.lost == {4: {other}}


def test_what_a_chunk_lacks_is_told_with_the_reason_and_read_once(store):
    state = Keeper(ONE).saved(0, store)
    (leaf, *_) = chunks_of(store.get(state.manifest))
    lose(store, leaf)
    sound = Soundness(store)

    assert list(sound.lacking(state.manifest)) == [leaf]
    assert "never put" in sound.lacking(state.manifest)[leaf]
    store.put(ONE)
    assert list(sound.lacking(state.manifest)) == [leaf]
    assert list(Soundness(store).lacking(NOWHERE)) == [NOWHERE]
    no_manifest = store.put(b"no manifest")
    assert list(Soundness(store).lacking(no_manifest)) == [no_manifest]


@pytest.fixture
def stage_of(tmp_path):
    """A stage with readable checkpoints at all boundaries but those named, and its store."""

    def make(count, damaged):
        store = open_store(tmp_path / "store", create=True)
        packs = PackWriter(store, "one")
        states = [Keeper(bytes([k]) * 3000).saved(k, packs) for k in range(count + 1)]
        packs.close()
        frames = [
            checkpoint(0, k, manifest=NOWHERE if k in damaged else state.manifest)
            for k, state in enumerate(states)
        ]
        run = recorded(header(), module(EPOCH), loop(0, EPOCH), enter(0), *frames, leave(0, count))
        return store, run.main

    return make


def restored(plan):
    return [step.first for step in plan.steps if step.kind == "restore"]


def planning(stage, wanted):
    return lambda avoid: make_plan(stage, wanted, inner=False, avoid=avoid, prove=False)


def test_the_next_plan_has_none_of_the_checkpoints_that_cannot_be_read(stage_of):
    store, stage = stage_of(9, {2, 3, 4, 7})
    unusable = Unusable(store, stage)

    plan = unusable.plan_without(3, "damaged", planning(stage, range(9)))

    assert restored(plan) == [1, 5, 6, 8, 9]
    assert sorted(unusable.found) == [2, 3, 4, 7]
    (note,) = unusable.notes()
    assert "boundaries 2, 3, 4, 7 of train.py:main:0 are not usable (damaged)" in note


def test_checkpoints_that_are_not_needed_are_not_read(stage_of):
    store, stage = stage_of(9, {2, 7})
    unusable = Unusable(store, stage)

    plan = unusable.plan_without(2, "damaged", planning(stage, [1]))

    assert restored(plan) == [1]
    assert sorted(unusable.found) == [2]
    assert "the checkpoint at boundary 2" in unusable.notes()[0]


def test_when_none_fits_the_program_is_executed_from_its_start(stage_of):
    store, stage = stage_of(9, set())
    unusable = Unusable(store, stage)
    for boundary in range(9, 9 - MOST_MISFITS + 1, -1):
        assert restored(unusable.plan_without(boundary, "no", planning(stage, [8])))

    plan = unusable.plan_without(9 - MOST_MISFITS + 1, "no", planning(stage, [8]))

    assert restored(plan) == []


def assumptions():
    """Boundary 1 is sure, 2 is doubtful, 3 is opaque, 4 and 5 are not confirmed."""

    def finding(kind, after, before):
        return {"t": kind, "id": 0, "after": after, "before": before, "bytes": 9}

    return recorded(
        header(), module(EPOCH), loop(0, EPOCH), enter(0),
        *({**checkpoint(0, k, opaque=("f",) if k == 3 else ()), **({"take": k, "assumed": 9}
          if k in (2, 4, 5) else {})} for k in range(1, 6)),
        finding("doubtful", 1, 3), {"t": "confirmed", "take": 3}, leave(0, 5, how="left"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("boundary", "told", "better"),
    [
        (0, "there is none", "the program's start"),
        (2, "was taken for constant changed", "the checkpoint 1"),
        (3, "it lacks f", "the checkpoint 1"),
        (4, "nobody could look at it afterwards", "the checkpoint 1"),
    ],
)
def test_nothing_goes_on_from_a_checkpoint_that_may_be_wrong(boundary, told, better):
    run = assumptions()

    assert why_not(run.main, 1) is None
    assert last_good(run.main, 5) == 1
    with pytest.raises(ReplayError, match=told) as raised:
        continue_from(None, run, run.main, boundary)
    assert str(raised.value).endswith(f"go on from {better}")
