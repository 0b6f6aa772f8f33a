from __future__ import annotations

import pytest

from flor_trace.errors import UsageError
from flor_trace.replay.checking import Checked, choose
from flor_trace.replay.continuing import Continuation, Printed, can_continue, disagreement
from flor_trace.replay.recorded import OutermostRun, SavedState, WatchedLoop
from flor_trace.types import Address, LoopKey

LOOP = WatchedLoop(0, LoopKey("main.py:main:0"), "epoch", 0)


def stage(how="exhausted", iterations=3, boundaries=()):
    run = OutermostRun(LOOP, 0.1, iterations=iterations, how=how)
    run.states = {k: saved(k) for k in boundaries}
    return run


def saved(boundary):
    return SavedState(boundary, Address("0-" + "0" * 32), (), 0)


def continuation(output=b"", *, positions=None, **facts):
    printed = Printed(output, (b"/scratch/tree", b"/home/ada"), positions or {})
    facts = {"error": b"", "status": 0, "final": {}, "passed": {}, "compared": 0,
             "divergence": None, "failure": None, **facts}  # fmt: skip
    return Continuation(output=printed.after(), printed=printed, **facts)


WHOLE = continuation(
    b"one\ntwo\nthree\n",
    positions={"0:1": 4},
    passed={"0:1": "aa", "0:2": "bb"},
    final={"global:main.py:w": "cc"},
)


def part(output=b"two\nthree\n", **facts):
    return continuation(output, **{"passed": {"0:2": "bb"}, "final": WHOLE.final, **facts})


def test_what_prints_and_ends_alike_agrees():
    assert disagreement(WHOLE, part(), "0:1") is None


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (part(b"two\nfour\n"), "prints 'four' where the recorded run printed 'three'"),
        (part(b"two\n"), "prints 'nothing more'"),
        (part(b"two\nthree\nfour\n"), "prints 'four' at the end"),
        (part(status=1), "ends with status 1, not 0"),
        (part(divergence="loss changed"), "loss changed"),
        (part(passed={"0:2": "xx"}), "the state at 0:2"),
        (part(final={"global:main.py:w": "xx"}), "global:main.py:w"),
        (part(final=None), "one of them was killed"),
        (part(failure="no such checkpoint"), "no such checkpoint"),
    ],
)
def test_the_first_disagreement_is_told(other, told):
    assert told in disagreement(WHOLE, other, "0:1")


def test_a_place_that_was_not_reached_is_no_agreement():
    assert "does not come to 0:7" in disagreement(WHOLE, part(), "0:7")


def test_the_replays_directory_is_told_as_the_projects():
    assert continuation(b"in /scratch/tree/out").output == b"in /home/ada/out"


@pytest.mark.parametrize(
    ("how", "boundary", "can"),
    [("exhausted", 3, True), ("left", 3, False), ("left", 2, True), ("raised", 2, True)],
)
def test_nothing_goes_on_from_where_a_loop_was_being_left(how, boundary, can):
    assert can_continue(stage(how), saved(boundary)) is can


def test_checkpoints_are_chosen_by_name_and_number():
    run = stage(boundaries=(0, 2, 3))
    found = [Checked(run, state) for state in run.states.values()]

    def chosen(text):
        return [each.state.boundary for each in choose(found, text)]

    assert chosen("last, first") == [0, 3]
    assert chosen("2") == [2]
    with pytest.raises(UsageError, match="no checkpoint 7; there is: 0, 2, 3"):
        chosen("7")
    with pytest.raises(UsageError, match="names no checkpoint"):
        chosen("best")
