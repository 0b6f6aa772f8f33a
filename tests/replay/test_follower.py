from __future__ import annotations

import pytest
from follower_helpers import Replay, totals, truth
from hypothesis import given
from hypothesis import strategies as st

KINDS = pytest.mark.parametrize("kind", ["for", "while"])


@st.composite
def replays(draw):
    count = draw(st.integers(1, 8))
    kind = draw(st.sampled_from(["for", "while"]))
    when = draw(st.sampled_from(["end", "start", "inner"]))
    states = draw(st.sets(st.integers(0, count)))
    wanted = draw(st.sets(st.integers(0, count - 1), min_size=1))
    return kind, count, states, wanted, when


@given(replays(), st.booleans())
def test_the_values_are_those_of_the_program_wherever_and_however_they_are_asked(case, logged):
    kind, count, states, wanted, when = case

    replay = Replay(kind, count, states, wanted, when=when, logged=logged).go()

    assert replay.complete is True
    assert replay.values == truth(kind, wanted, when)
    assert replay.verdicts.first_difference is None
    assert replay.given <= {"exact", "agree", "unchecked"}
    assert len(replay.program.executed) == replay.plan.executed


@given(replays())
def test_values_that_follow_a_restored_state_without_execution_are_exact(case):
    kind, count, states, wanted, when = case
    replay = Replay(kind, count, states, wanted, when=when).go()

    if replay.plan.kind == "restore" and replay.plan.steps and when == "end":
        assert replay.given == {"exact"}


@given(replays(), st.data())
def test_checkpoints_to_avoid_are_not_touched(case, data):
    kind, count, states, wanted, when = case
    avoid = data.draw(st.sets(st.integers(0, count)))

    replay = Replay(kind, count, states, wanted, when=when, avoid=avoid).go()

    assert not set(replay.keeper.restored) & avoid
    assert replay.values == truth(kind, wanted, when)


@KINDS
def test_only_what_is_planned_is_executed(kind):
    replay = Replay(kind, 10, {2, 7}, {4, 6}).go()

    assert replay.keeper.restored == [2, 7]
    assert replay.program.executed == [2, 3, 4]
    assert replay.values == truth(kind, {4, 6}, "end")


@KINDS
def test_the_program_does_not_go_on_when_everything_is_answered(kind):
    replay = Replay(kind, 10, set(), {1}).go()

    assert replay.program.executed == [0, 1]


@KINDS
def test_the_entry_can_be_restored(kind):
    replay = Replay(kind, 4, {0}, {1}).go()

    assert replay.keeper.restored == [0]
    assert replay.program.executed == [0, 1]
    assert replay.values == truth(kind, {1}, "end")


@KINDS
def test_a_recorded_state_on_the_way_makes_executed_values_exact(kind):
    replay = Replay(kind, 6, {2}, {1, 2}, when="inner").go()

    verdicts = [(frame["coords"][0][1], frame["verdict"]) for frame in replay.frames]
    assert verdicts == [(1, "exact"), (1, "exact"), (2, "agree"), (2, "agree")]


@KINDS
def test_a_program_that_does_something_else_has_diverged_from_there_on(kind):
    """World differs from iteration 3 on, which the state at boundary 5 shows."""
    replay = Replay(kind, 8, {5, 8}, {0, 1, 2, 3, 5}, broken=True, avoid={5, 8}).go()

    assert replay.given == {"diverged"}
    assert "world is" in replay.verdicts.first_difference


@KINDS
def test_without_logged_values_and_states_nothing_can_be_said(kind):
    replay = Replay(kind, 3, set(), {1}, logged=False).go()

    assert replay.given == {"unchecked"}


@KINDS
def test_an_error_of_a_probe_is_that_cells_and_the_replay_goes_on(kind):
    replay = Replay(kind, 5, {2, 4}, {1, 3}, text="1 // (total - 2)").go()

    assert replay.complete
    first, second = replay.frames
    assert (first["verdict"], first["value"]["$"]) == ("error", "error")
    assert "ZeroDivisionError" in first["value"]["text"]
    assert (second["verdict"], second["value"]) == ("exact", 1 // (totals(3) - 2))


@KINDS
def test_a_probe_that_changes_the_state_is_refused(kind):
    replay = Replay(kind, 5, {2}, {1}, text="len(world) + len(world.append(9) or [])").go()

    (frame,) = replay.frames
    assert frame["verdict"] == "error"
    assert "the probe changes global:world" in frame["value"]["text"]


@KINDS
def test_a_loop_that_ends_before_all_is_answered_makes_the_replay_incomplete(kind):
    replay = Replay(kind, 6, {2}, {1, 5})
    replay.count = 4
    replay.go()

    assert replay.complete is False
    assert list(replay.values) == [(1,)]


def test_coordinates_say_what_the_targets_held():
    replay = Replay("for", 4, {3}, {2}).go()
    assert [frame["coords"] for frame in replay.frames] == [[[0, 2, 2]]]

    replay = Replay("for", 4, {2}, {2}, when="inner").go()
    assert [frame["coords"] for frame in replay.frames] == [
        [[0, 2, 2], [1, 0, 0]],
        [[0, 2, 2], [1, 1, 1]],
    ]


@KINDS
def test_the_boundary_being_restored_is_known_for_when_it_fails(kind):
    replay = Replay(kind, 6, {2, 4}, {1, 3})

    def fail(state):
        if state.boundary == 4:
            raise LookupError("damaged")
        return type(replay.keeper).restore(replay.keeper, state)

    replay.keeper.restore = fail
    with pytest.raises(LookupError):
        replay.go()

    assert replay.follower.restoring == 4
