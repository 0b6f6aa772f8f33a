from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from replay_helpers import checkpoint, enter, header, info, leave, loop, module, recorded

from flor_trace.replay.plan import make_plan

EPOCH = info("epoch")


def run_with(states, iterations, opaque=(), seconds=10.0):
    return recorded(
        header(), module(EPOCH), loop(0, EPOCH), enter(0, 3.0),
        *(checkpoint(0, b, opaque=("x",) if b in opaque else (), nbytes=1000) for b in states),
        leave(0, iterations, seconds=seconds),
    )  # fmt: skip


def plan(states, wanted, iterations=20, **options):
    run = run_with(states, iterations, options.pop("opaque", ()))
    options.setdefault("inner", False)
    return make_plan(run.outermost[0], wanted, **options)


def steps(made):
    return [(step.kind, step.first, step.last) for step in made.steps]


def simulate(made):
    """The boundaries reached in the recorded state, and the iterations executed.

    What a follower can do: at a boundary, execute the next iteration; inside of a later
    iteration, or where the loop begins, put a state in place.
    """
    at, reached, executed = 0, {0}, set()
    for index, step in enumerate(made.steps):
        if step.kind == "restore":
            assert step.first > at or (index == 0 and step.first == 0)
            at = step.first
        else:
            assert step.first == at <= step.last
            executed |= set(range(step.first, step.last + 1))
            reached |= set(range(step.first + 1, step.last + 2))
            at = step.last + 1
        reached.add(at)
    return reached, executed


@st.composite
def questions(draw):
    iterations = draw(st.integers(1, 12))
    boundaries = st.sets(st.integers(0, iterations))
    wanted = draw(st.sets(st.integers(0, iterations - 1), min_size=1))
    states, avoid, opaque = draw(boundaries), draw(boundaries), draw(boundaries)
    return iterations, wanted, states, avoid, opaque


@given(questions(), st.sampled_from(["end", "start", "inner"]))
def test_every_wanted_iteration_is_reached_in_the_recorded_state(question, when):
    iterations, wanted, states, avoid, opaque = question
    made = plan(
        states, wanted, iterations, avoid=avoid, opaque=opaque,
        inner=when == "inner", start=when == "start",
    )  # fmt: skip

    reached, executed = simulate(made)

    if when == "inner":
        assert wanted <= executed
    else:
        assert {i + (when == "end") for i in wanted} <= reached
    restored = {step.first for step in made.steps if step.kind == "restore"}
    assert restored <= states - avoid - opaque
    assert len(restored) == made.restored
    assert len(executed) == made.executed


@given(questions(), st.sampled_from(["end", "start", "inner"]))
def test_nothing_is_executed_that_a_checkpoint_spares(question, when):
    iterations, wanted, states, avoid, opaque = question
    usable = states - avoid - opaque
    made = plan(
        states, wanted, iterations, avoid=avoid, opaque=opaque,
        inner=when == "inner", start=when == "start", prove=False,
    )  # fmt: skip

    at, needed = 0, 0
    for iteration in sorted(wanted):
        target = iteration + (when != "start")
        source = max([at, *(b for b in usable if b <= target - (when == "inner"))])
        needed += max(0, target - source)
        at = max(at, target)

    assert made.executed == needed


def test_a_plan_is_named_after_what_it_does():
    assert plan({1, 2, 3}, {0, 1, 2}).kind == "restore"
    assert plan({1}, {0, 1}).kind == "re-execute"
    assert plan(set(), {0, 1}).kind == "rerun"
    assert plan({2}, {0}, inner=True).kind == "rerun"


def test_the_end_of_an_iteration_is_restored_and_its_inside_executed():
    assert steps(plan({3, 4}, {3})) == [("restore", 4, 4)]
    assert steps(plan({3, 4}, {3}, start=True)) == [("restore", 3, 3)]
    assert steps(plan({3, 4}, {3}, inner=True)) == [("restore", 3, 3), ("execute", 3, 3)]


def test_neighbouring_iterations_are_executed_in_one_go():
    assert steps(plan({2}, {3, 4, 6})) == [("restore", 2, 2), ("execute", 2, 6)]


def test_the_start_of_the_first_iteration_needs_nothing():
    made = plan({5}, {0, 5}, start=True)

    assert steps(made) == [("restore", 5, 5)]
    assert steps(plan(set(), {0}, start=True)) == []


def test_damaged_and_opaque_checkpoints_are_passed_over():
    assert steps(plan({2, 4}, {3}, avoid={4})) == [("restore", 2, 2), ("execute", 2, 3)]
    assert steps(plan({2, 4}, {3}, opaque={4})) == [("restore", 2, 2), ("execute", 2, 3)]
    assert plan({4}, {3}, avoid={4}).kind == "rerun"


def test_the_estimate_counts_the_way_to_the_loop_and_every_iteration():
    made = plan(set(), {3}, iterations=10)

    assert made.seconds == 3.0 + 4 * 1.0
    assert plan({4}, {3}).seconds < 3.1


def test_a_plan_is_plain_data():
    document = json.loads(json.dumps(plan({2}, {3}).as_json()))

    assert document["kind"] == "re-execute"
    assert [step["kind"] for step in document["steps"]] == ["restore", "execute"]
