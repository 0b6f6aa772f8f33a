"""Checkpoints that took something for constant: which are used, and what their values are worth."""

from __future__ import annotations

import pytest
from replay_helpers import checkpoint, enter, header, info, leave, loop, module, recorded

from flor_trace.replay.plan import make_plan
from flor_trace.replay.verdicts import Verdicts

EPOCH = info("epoch")
DATA = {"t": "constant", "id": 0, "take": 1, "path": "data", "bytes": 9}


def run(*findings, takes=range(6)):
    return recorded(
        header(), module(EPOCH), loop(0, EPOCH), enter(0),
        *({**checkpoint(0, n), **({"take": take, "assumed": 9} if n > 1 else {})}
          for n, take in enumerate(takes)),
        *findings, leave(0, 5),
    )  # fmt: skip


def finding(kind, after, before):
    return {"t": kind, "id": 0, "after": after, "before": before, "bytes": 9}


def confirmed(take):
    return {"t": "confirmed", "take": take}


def standing(*findings, **options):
    (stage,) = run(*findings, **options).outermost.values()
    unsure = {b for b, state in stage.states.items() if not state.confirmed}
    return set(stage.states) - unsure, unsure, set(stage.doubtful)


def test_what_nobody_looked_at_again_is_not_confirmed():
    assert standing() == ({0, 1}, {2, 3, 4, 5}, set())
    assert standing(confirmed(3)) == ({0, 1, 2, 3}, {4, 5}, set())
    assert standing(confirmed(3), confirmed(7)) == (set(range(6)), set(), set())
    assert standing(confirmed(3), takes=range(10, 16)) == ({0, 1}, {2, 3, 4, 5}, set())


def test_doubt_is_stronger_than_confirmation_whatever_came_first():
    doubt = finding("doubtful", 2, 5)
    expected = ({0, 1, 2, 5}, set(), {3, 4})

    assert standing(doubt, confirmed(5)) == expected
    assert standing(confirmed(5), doubt) == expected
    assert standing(confirmed(5), finding("unconfirmed", 1, 4), doubt) == ({0, 1, 5}, {2}, {3, 4})


def test_names_are_found_whether_they_were_written_or_not():
    named = run(DATA, finding("doubtful", 2, 5))
    assert [named.constants[each.constant].what for each in named.stretches] == ["data"]
    nameless = run(finding("doubtful", 2, 5))
    assert nameless.constants[nameless.stretches[0].constant].what == "a buffer of 0.0 MB"


def steps(findings, wanted, **options):
    (stage,) = run(*findings).outermost.values()
    made = make_plan(stage, wanted, inner=False, **options)
    return [(step.kind, step.first, step.last) for step in made.steps]


@pytest.mark.parametrize("unconfirmed", [True, False])
def test_a_doubtful_checkpoint_is_never_restored(unconfirmed):
    findings = [confirmed(5), finding("doubtful", 2, 5)]
    made = steps(findings, {3}, unconfirmed=unconfirmed)

    assert made == [("restore", 2, 2), ("execute", 2, 3)]


def test_one_that_is_not_confirmed_is_the_last_resort():
    assert steps([confirmed(2)], {3}) == [("restore", 2, 2), ("execute", 2, 3)]
    assert steps([confirmed(2)], {3}, unconfirmed=True) == [("restore", 4, 4)]


def test_nothing_that_follows_on_an_unconfirmed_state_is_exact():
    frames = []
    verdicts = Verdicts(run(), {}, frames.append)
    for sure in (True, False, True):
        verdicts.restored(2, [])
        if not sure:
            verdicts.unconfirmed()
        verdicts.hold({"value": 1})
        verdicts.at_once()
        verdicts.hold({"value": 2})
        verdicts.compare_state(3, [])

    found = [frame["verdict"] for frame in frames]
    assert found == ["exact"] * 2 + ["unchecked"] * 2 + ["exact"] * 2
