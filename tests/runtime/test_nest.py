# ruff: noqa: B018, B007, F841, UP028 - loops as a program has them; ~ and - report a while
from __future__ import annotations

import pytest
from runtime_helpers import Values, site

from flor_trace.runtime import nest as nest_module
from flor_trace.runtime import policy

MS = 1e-3


def test_nested_loops_give_the_path_and_the_values_of_each_iteration(tracing):
    seen = tracing(observer=Values())
    outer = site("epoch", stores=("loss",))
    inner = site("step", line=2, stores=("x",))

    def program():
        for epoch in outer["ab"]:
            for step in inner[range(2)]:
                x = step * 10
            loss = x

    program()

    assert seen.all("over") == [
        ("step", (0, 0), (0, 0)),
        ("step", (0, 1), (1, 10)),
        ("epoch", (0,), ("a", 10)),
        ("step", (1, 0), (0, 0)),
        ("step", (1, 1), (1, 10)),
        ("epoch", (1,), ("b", 10)),
    ]
    assert seen.targets == [("a", 0), ("a", 1), ("a",), ("b", 0), ("b", 1), ("b",)]
    assert seen.all("boundary") == [("epoch", 0), ("epoch", 1), ("epoch", 2)]
    assert seen.all("left")[-1] == ("epoch", 2, "exhausted")


def test_names_not_bound_yet_are_unbound(tracing):
    seen = tracing()
    loop = site("i", stores=("rare",))

    def program():
        for i in loop[range(3)]:
            if i == 1:
                rare = "r"
            elif i == 2:
                del rare

    program()

    assert [values for _, _, values in seen.all("over")] == [(0, "-"), (1, "r"), (2, "-")]


def test_a_loop_run_twice_in_one_iteration_is_counted_and_starts_anew_in_the_next(tracing):
    seen = tracing()
    outer, test = site("epoch"), site("batch", line=2)

    def evaluate():
        for batch in test[range(1)]:
            pass

    for epoch in outer[range(2)]:
        evaluate()
        evaluate()
    evaluate()

    assert seen.all("entered") == [
        ("epoch", 0, ()),
        ("batch", 0, (("epoch", 0),)),
        ("batch", 1, (("epoch", 0),)),
        ("batch", 0, (("epoch", 1),)),
        ("batch", 1, (("epoch", 1),)),
        ("batch", 0, ()),
    ]


@pytest.mark.parametrize("how", ["break", "return", "raise", "end"])
def test_the_last_iteration_is_over_unless_an_exception_ended_it(tracing, how):
    seen = tracing()
    loop = site("i", stores=("x",))

    def program():
        for i in loop[range(3)]:
            x = i * 2
            if i == 1:
                if how == "break":
                    break
                if how == "return":
                    return
                if how == "raise":
                    raise LookupError

    if how == "raise":
        with pytest.raises(LookupError):
            program()
    else:
        program()

    rows = [iteration for _, (iteration,), _ in seen.all("over")]
    assert rows == {"break": [0, 1], "return": [0, 1], "raise": [0], "end": [0, 1, 2]}[how]
    (left,) = seen.all("left")
    assert (
        left[1:]
        == {
            "break": (2, "left"),
            "return": (2, "left"),
            "raise": (2, "raised"),
            "end": (3, "exhausted"),
        }[how]
    )


def test_a_while_loop_is_seen_like_a_for_loop(tracing):
    seen = tracing()
    loop = site("n", kind="while", stores=("n",))

    def program():
        n = 0
        sentinel = iter(loop)
        while n < 3:
            ~sentinel
            n += 1
        -sentinel

    program()

    assert seen.all("over") == [("n", (k,), (k + 1,)) for k in range(3)]
    assert seen.all("boundary") == [("n", k) for k in range(4)]
    assert seen.all("left") == [("n", 3, "exhausted")]


def test_a_loop_that_never_iterates_has_its_boundary_and_its_end(tracing):
    seen = tracing()
    for _ in site()[()]:
        raise AssertionError

    assert [event[0] for event in seen.events] == ["entered", "boundary", "left"]


def test_a_recursive_loop_lies_in_itself_under_names_of_its_own(tracing):
    seen = tracing()
    loop = site("d", line=7)

    def walk(depth):
        for d in loop[range(1)]:
            if depth:
                walk(depth - 1)

    walk(2)

    assert [(name, outer) for name, _, outer in seen.all("entered")] == [
        ("d", ()),
        ("d@7", (("d", 0),)),
        ("d@7", (("d", 0), ("d@7", 0))),
    ]
    assert [path for _, path, _ in seen.all("over")] == [(0, 0, 0), (0, 0), (0,)]


def test_a_generators_loop_that_goes_on_under_another_loop_belongs_there(tracing):
    seen = tracing()
    source, first, second = site("item"), site("epoch", line=2), site("step", line=3)

    def items():
        for item in source[range(6)]:
            yield item

    def program():
        generator = items()
        for epoch in first[range(2)]:
            next(generator)
        for step in second[range(2)]:
            next(generator)

    program()

    rows = [path for name, path, _ in seen.all("over") if name == "item"]
    assert rows[:3] == [(1, 0), (0, 1), (1, 2)]
    assert [outer.dimension for outer in seen.instances[1].outer] == ["step"]


def test_a_generators_loop_that_goes_on_outside_of_all_loops_stays_where_it_was(tracing):
    """It was no outermost loop, and does not become one in the middle."""
    seen = tracing()
    source, outer = site("item"), site("epoch", line=2)

    def items():
        for item in source[range(4)]:
            yield item

    generator = items()
    for epoch in outer[range(2)]:
        next(generator)
    list(generator)

    assert {name for name, _ in seen.all("boundary")} == {"epoch"}
    assert [o.dimension for o in seen.instances[1].outer] == ["epoch"]
    assert seen.all("left")[-1] == ("item", 4, "exhausted")


def test_closing_a_generator_ends_its_loop(tracing):
    seen = tracing()
    source = site("item")

    def items():
        for item in source[range(4)]:
            yield item

    generator = items()
    next(generator)
    generator.close()

    assert seen.all("left") == [("item", 1, "left")]


# -- which loops are watched ---------------------------------------------------------------------


def test_a_slow_loop_is_watched_from_its_first_iteration_on(tracing):
    seen = tracing(probing=True)
    for _ in site(watched=False)[range(2)]:
        tracing.clock.sleep(policy.SURE_SECONDS * 1.01)

    assert [e[0] for e in seen.events] == [
        "entered", "boundary", "watching", "over", "boundary", "over", "boundary", "left",
    ]  # fmt: skip


def test_an_outermost_loop_that_ends_undecided_is_judged_by_its_mean(tracing):
    seen = tracing(probing=True)
    for _ in site(watched=False)[range(1)]:
        tracing.clock.sleep(policy.ROW_SECONDS / policy.WATCH_SHARE_OUTERMOST * 1.01)

    assert [e[0] for e in seen.events][-3:] == ["boundary", "watching", "left"]


def test_the_values_of_an_undecided_loop_are_told_all_the_same(tracing):
    """So that nothing is missing when it turns out to be slow later."""
    seen = tracing(probing=True)
    for i in site(watched=False)[range(6)]:
        tracing.clock.sleep(policy.SURE_SECONDS * 1.1 if i == 4 else 1e-6)

    assert [path for _, path, _ in seen.all("over")] == [(k,) for k in range(6)]
    assert [e[0] for e in seen.events].index("watching") == 10


def test_a_tight_loop_is_let_go_and_runs_untouched_from_its_next_entry_on(tracing):
    seen = tracing(probing=True)
    tight = site(watched=False)
    items = range(100)

    for _ in tight[items]:
        tracing.clock.sleep(1e-6)

    assert len(seen.all("over")) == policy.PROBE_ITERATIONS - 1
    assert seen.all("left") == seen.all("gave up") == []
    assert tight[items] is items


def test_a_loop_shows_itself_over_all_its_executions(tracing):
    seen = tracing(probing=True)
    tight = site("j", watched=False)
    rounds = 0
    while tight.mode == 0:
        for _ in tight[range(5)]:
            tracing.clock.sleep(1e-6)
        rounds += 1

    assert rounds == -(-policy.PROBE_ITERATIONS // 5)
    assert seen.all("watching") == []


def test_the_loops_around_a_watched_loop_are_watched(tracing):
    """The outer loop has not come to the end of an iteration when the inner one shows itself."""
    seen = tracing(probing=True)
    outer = site("epoch", watched=False)
    middle, inner = site("part", line=2, watched=False), site("step", line=3, watched=False)

    for _ in outer[range(1)]:
        for _ in middle[range(1)]:
            for _ in inner[range(2)]:
                tracing.clock.sleep(policy.SURE_SECONDS * 1.1)

    assert seen.all("watching") == [("epoch",), ("part",), ("step",)]
    order = [e[0] for e in seen.events]
    assert order.index("watching") < order.index("over")


def test_the_loops_around_a_loop_that_was_watched_before_are_watched(tracing):
    seen = tracing(probing=True)
    outer, inner = site("epoch", watched=False), site("step", line=2, watched=False)

    def train():
        for _ in inner[range(2)]:
            tracing.clock.sleep(policy.SURE_SECONDS * 1.1)

    train()
    for _ in outer[range(1)]:
        train()
        seen.note("trained")

    names = [event for event in seen.events if event[0] in ("watching", "trained")]
    assert names == [("watching", "step"), ("watching", "epoch"), ("trained",)]


def test_a_loop_that_is_entered_often_for_next_to_nothing_is_let_go(tracing):
    seen = tracing(probing=True)
    loop, items = site(watched=False), []

    for _ in range(2 * policy.PROBE_ITERATIONS):
        for _ in loop[items]:
            pass

    assert len(seen.all("entered")) == policy.PROBE_ITERATIONS
    assert loop[items] is items
    assert seen.all("gave up") == []


def test_a_watched_loop_that_turns_out_tight_is_given_up_with_a_reason(tracing, monkeypatch):
    monkeypatch.setattr(policy, "ROW_SECONDS", 0.4e-6)
    seen = tracing(probing=True)
    loop = site(watched=False)
    cheap = policy.DEMOTE_FACTOR * policy.WATCH_SHARE_OUTERMOST * policy.SURE_SECONDS
    limit = int(1.1 * cheap / policy.ROW_SECONDS)
    for i in loop[range(2 * limit)]:
        tracing.clock.sleep(policy.SURE_SECONDS * 1.1 if i == 0 else 1e-9)

    ((name, why),) = seen.all("gave up")
    assert name == "i"
    assert "too short" in why
    reported = len(seen.all("over"))
    assert -1 <= reported - max(limit, policy.DEMOTE_ITERATIONS) < nest_module.JUDGE_EVERY
    assert loop.mode == 1
    assert seen.all("left") == []


def test_a_loop_executed_all_too_often_in_one_iteration_is_let_go_with_a_reason(
    tracing, monkeypatch
):
    monkeypatch.setattr(nest_module, "MAX_INSTANCES", 3)
    seen = tracing()
    loop = site("j")

    for _ in range(5):
        for _ in loop[range(1)]:
            pass

    assert len(seen.all("over")) == 3
    assert len(seen.all("gave up")) == 1


# -- times ---------------------------------------------------------------------------------------


def test_what_we_do_meanwhile_is_not_counted_as_the_programs_time(tracing):
    seen = tracing(observer=Values())
    seen.on_event = lambda what: tracing.clock.sleep(50.0)
    outer, inner = site("epoch"), site("step", line=2)

    for _ in outer[range(2)]:
        tracing.clock.sleep(1.0)
        for _ in inner[range(3)]:
            tracing.clock.sleep(0.25)

    seconds = {i.dimension: round(i.seconds, 6) for i in seen.instances}
    assert seconds == {"epoch": 3.5, "step": 0.75}


def test_the_time_of_a_generators_consumer_counts_for_its_loop(tracing):
    """Wall time between boundaries: that is what an iteration takes when it is executed again."""
    seen = tracing()
    source = site("item")

    def items():
        for item in source[range(3)]:
            yield item

    for _ in items():
        tracing.clock.sleep(1.0)

    assert seen.instances[0].seconds == pytest.approx(3.0)
