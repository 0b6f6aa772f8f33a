from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_helpers import enter, header, info, loop, module, recorded, rows

from flor_trace._speedups import UNBOUND
from flor_trace.replay.verdicts import Verdicts, same
from flor_trace.runtime.nest import Instance, Loop

EPOCH = info("epoch", stores=("loss", "t0"))
STEP = info("step", ordinal=1, stores=("x",), line=12)
NUMBERS = {(EPOCH.key, "epoch", 0): 0, (STEP.key, "step", 0): 1}


@pytest.fixture
def emitted():
    return []


@pytest.fixture
def verdicts(emitted):
    run = recorded(
        header(), module(EPOCH, STEP, clocks=("t0",)), loop(0, EPOCH), loop(1, STEP), enter(0),
        rows(0, [0, 1], {"loss": [0.5, 0.25], "t0": [1.0, 2.0]}),
        rows(1, [0], {"x": [7]}, outer=[[0, 0, 0]]),
    )  # fmt: skip
    return Verdicts(run, NUMBERS, emitted.append)


@pytest.fixture
def epoch():
    return Instance(None, Loop(EPOCH, EPOCH.own_stores), (), 0, 0.0)


def value(number, what=1.0):
    return {"t": "value", "coords": [[0, number, number]], "name": "p", "value": what}


def given_verdicts(emitted):
    return [(frame["coords"][0][1], frame["verdict"]) for frame in emitted]


def test_values_are_held_until_a_state_settles_them(verdicts, emitted, epoch):
    verdicts.hold(value(0))
    verdicts.hold(value(1))
    assert emitted == []

    verdicts.compare_state(2, [])

    assert given_verdicts(emitted) == [(0, "exact"), (1, "exact")]
    assert verdicts.counts == {"exact": 2}
    assert verdicts.first_difference is None


def test_without_a_state_equal_logged_values_agree(verdicts, emitted, epoch):
    verdicts.hold(value(0))
    verdicts.compare_row(epoch, 0, (0, 0.5, 99.0))
    verdicts.close()

    assert given_verdicts(emitted) == [(0, "agree")]


def test_with_nothing_to_compare_a_value_is_unchecked(verdicts, emitted, epoch):
    verdicts.hold(value(0))
    verdicts.compare_row(epoch, 5, (5, 0.5, 99.0))  # an iteration that was not logged
    verdicts.close()

    assert given_verdicts(emitted) == [(0, "unchecked")]


def test_another_logged_value_is_a_divergence_that_is_named(verdicts, emitted, epoch):
    verdicts.hold(value(0))
    verdicts.compare_row(epoch, 0, (0, 0.75, 99.0))
    verdicts.compare_state(1, [])  # an equal state cannot make it good
    verdicts.hold(value(1))
    verdicts.close()

    assert given_verdicts(emitted) == [(0, "diverged"), (1, "diverged")]
    assert verdicts.first_difference == "loss at epoch 0 is 0.75, was 0.5"


def test_another_state_is_a_divergence_and_the_first_one_is_kept(verdicts, emitted):
    verdicts.hold(value(0))
    verdicts.compare_state(1, ["model.w changed", "b", "c", "d"])
    verdicts.compare_state(2, ["other"])

    assert given_verdicts(emitted) == [(0, "diverged")]
    assert verdicts.first_difference == "state reached at boundary 1: model.w changed; b; c"


def test_a_restored_state_begins_anew(verdicts, emitted, epoch):
    verdicts.hold(value(0))
    verdicts.compare_row(epoch, 0, (0, 0.75, 99.0))
    verdicts.restored(2, [])
    verdicts.hold(value(1))
    verdicts.at_once()

    assert given_verdicts(emitted) == [(0, "diverged"), (1, "exact")]
    assert verdicts.first_difference is not None


def test_a_restored_state_that_still_differs_gives_nothing_exact(verdicts, emitted):
    verdicts.restored(2, ["model.w"])
    verdicts.hold(value(1))
    verdicts.at_once()

    assert given_verdicts(emitted) == [(1, "diverged")]
    assert "restored at boundary 2" in verdicts.first_difference


def test_rows_before_a_restore_say_nothing_about_values_after_it(verdicts, emitted, epoch):
    verdicts.compare_row(epoch, 0, (0, 0.5, 99.0))
    verdicts.restored(2, [])
    verdicts.hold(value(2))
    verdicts.close()

    assert given_verdicts(emitted) == [(2, "unchecked")]


def test_another_source_makes_everything_diverge(verdicts, emitted):
    verdicts.differs_from_start("the source of train.py is not the recorded one")
    verdicts.restored(1, [])
    verdicts.hold(value(0))
    verdicts.compare_state(1, [])

    assert given_verdicts(emitted) == [(0, "diverged")]


def test_an_error_is_told_at_once_whatever_follows(verdicts, emitted):
    verdicts.hold(value(0, {"$": "error", "text": "ZeroDivisionError"}))
    verdicts.compare_state(1, ["x"])

    assert given_verdicts(emitted) == [(0, "error")]


def test_readings_of_a_clock_are_not_compared(verdicts, epoch):
    verdicts.compare_row(epoch, 0, (0, 0.5, 12345.0))

    assert verdicts.first_difference is None


def test_a_value_that_is_not_set_any_more_is_a_difference(verdicts, epoch):
    verdicts.compare_row(epoch, 0, (0, UNBOUND, 1.0))

    assert verdicts.first_difference == "loss at epoch 0 is None, was 0.5"


def test_the_path_of_an_inner_iteration_has_the_outer_ones(verdicts, epoch):
    epoch.iteration = 3
    step = Instance(None, Loop(STEP, STEP.own_stores), (epoch,), 0, 0.0)

    assert verdicts.path(step, 4) == ((0, 3), (1, 4))
    other = Instance(None, Loop(STEP, STEP.own_stores), (epoch,), 1, 0.0)
    assert verdicts.path(other, 4) is None


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1.0, 1.0, True), (math.nan, math.nan, True), (math.nan, 1.0, False),
        (0.0, -0.0, False), (-0.0, -0.0, True), (math.inf, math.inf, True),
        (1, True, False), (0, False, False), (1, 1.0, False), (True, True, True),
        ("1", 1, False), ("a", "a", True), (None, None, True), (None, 0, False),
        (10**30, 10**30, True),
    ],
)  # fmt: skip
def test_values_are_the_same_bit_for_bit(a, b, equal):
    assert same(a, b) is same(b, a) is equal


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3))


@given(SCALARS)
def test_every_value_is_the_same_as_itself(value):
    assert same(value, value)
