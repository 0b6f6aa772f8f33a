from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_helpers import (
    KEY,
    checkpoint,
    enter,
    header,
    info,
    leave,
    loop,
    module,
    recorded,
    rows,
)

from flor_trace.replay.recorded import RecordedRun

EPOCH = info("epoch", stores=("loss",))
STEP = info("step", ordinal=1, line=12)
FRAMES = [
    header(name="first"),
    module(EPOCH, STEP, clocks=("t0",)),
    {"t": "seed", "library": "random", "state": "1-00", "threads": None},
    loop(0, EPOCH),
    {"t": "config", "values": {"lr": 0.1}},
    enter(0, 2.5),
    checkpoint(0, 0, digest="aa"),
    loop(1, STEP),
    rows(1, [0, 1], {"x": [1.5, None]}, outer=[[0, 0, "a"]]),
    rows(0, ["a"], {"loss": [3.0]}),
    checkpoint(0, 1, digest="bb", opaque=("sock",), nbytes=7),
    rows(1, [0], {"x": [4.5]}, outer=[[0, 1, "b"]]),
    {"t": "lost", "what": "something", "why": "x"},
    rows(0, ["b"], {"loss": [2.0]}, first=1),
    leave(0, 2, seconds=8.0),
    {"t": "exit", "status": 0, "how": "exit", "seconds": 9.0},
]


def test_a_run_is_what_its_journal_says():
    run = recorded(*FRAMES)

    assert (run.runid, run.label, run.config, run.clocks) == (
        "20261123-run", "first", {"lr": 0.1}, {"t0"},
    )  # fmt: skip
    assert run.infos == {KEY: EPOCH, STEP.key: STEP}
    assert run.values[((0, 1),)] == {"loss": 2.0}
    assert run.values[((0, 0), (1, 1))] == {}
    assert run.targets[((0, 0),)] == "a"
    assert run.targets[((0, 1), (1, 0))] == 0
    (outermost,) = run.outermost.values()
    assert (outermost.iterations, outermost.complete, outermost.how) == (2, 2, "exhausted")
    assert outermost.seconds_each == 4.0
    assert outermost.states[1].opaque == ("sock",)
    assert [state.digest for state in outermost.states.values()] == ["aa", "bb"]
    assert run.exit["status"] == 0
    assert len(run.seeds) == 1


def test_a_run_without_a_name_is_called_by_its_id():
    assert recorded(header()).label == "20261123-run"


@given(st.integers(1, len(FRAMES)))
def test_a_journal_torn_anywhere_is_a_shorter_run(cut):
    whole, torn = recorded(*FRAMES), recorded(*FRAMES[:cut])

    assert torn.values.items() <= whole.values.items()
    assert torn.loops.items() <= whole.loops.items()
    for number, outermost in torn.outermost.items():
        full = whole.outermost[number]
        assert outermost.complete <= outermost.iterations <= full.iterations
        assert outermost.states.items() <= full.states.items()
        assert outermost.how in ("unfinished", full.how)


def test_iterations_of_a_run_that_was_killed_are_counted_by_its_rows():
    run = recorded(*FRAMES[:10])

    assert (run.outermost[0].complete, run.outermost[0].how) == (1, "unfinished")


@pytest.mark.parametrize(("how", "complete"), [("left", 3), ("raised", 2), ("exhausted", 3)])
def test_the_iteration_that_an_exception_ended_is_not_complete(how, complete):
    run = recorded(header(), module(EPOCH), loop(0, EPOCH), enter(0), leave(0, 3, how=how))

    assert (run.outermost[0].iterations, run.outermost[0].complete) == (3, complete)


def test_the_main_loop_is_the_longest():
    other = info("batch", ordinal=2, line=30)
    run = recorded(
        header(), module(EPOCH, other), loop(0, EPOCH), loop(1, other),
        enter(0), leave(0, 3, seconds=1.0), enter(1), leave(1, 3, seconds=2.0),
    )  # fmt: skip

    assert run.main is run.outermost[1]
    assert recorded(header()).main is None


def test_the_main_loop_of_a_run_that_was_killed_in_it_is_that_loop():
    """A killed loop has no time of its own: what ran before it must not be taken for it."""
    prepare = info("file", ordinal=2, line=3)
    run = recorded(
        header(), module(prepare, EPOCH), loop(0, prepare), enter(0, 1.0),
        leave(0, 10, seconds=5.0), loop(1, EPOCH), enter(1, 7.0),
        *(rows(1, [k], {"loss": [0.5]}, first=k, at=8.0 + k) for k in range(100)),
    )  # fmt: skip

    assert run.main is run.outermost[1]
    assert run.main.seconds_each == 1.0


def test_frames_of_a_newer_release_are_passed_over():
    run = recorded(*FRAMES[:6], {"t": "weather", "sun": True}, *FRAMES[6:])

    assert run.outermost[0].complete == 2


def test_not_a_number_comes_back():
    frames = json.loads(json.dumps([*FRAMES[:6], rows(0, [0], {"loss": [float("nan")]})]))

    (value,) = RecordedRun(frames).values[((0, 0),)].values()
    assert value != value
