from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.runtime import policy
from flor_trace.runtime.policy import Budget, judge, too_tight

SECONDS = st.floats(0, 1e4)
COUNTS = st.integers(0, 10_000)


TIMES = st.lists(st.floats(0, 0.5), max_size=80)


def judged(times, *, outermost):
    return judge(1, len(times), sum(times), max(times, default=0.0), outermost=outermost)


@given(TIMES, st.booleans())
def test_a_loop_is_watched_when_its_iterations_are_long_enough_but_for_the_longest(
    times, outermost
):
    share = policy.WATCH_SHARE_OUTERMOST if outermost else policy.WATCH_SHARE
    limit = policy.ROW_SECONDS / share
    others = sorted(times)[:-1]

    verdict = judged(times, outermost=outermost)

    if (times and max(times) >= policy.SURE_SECONDS) or (
        others and sum(others) > 1.001 * limit * len(others)
    ):
        assert verdict == "watch"
    elif len(times) < policy.PROBE_ITERATIONS and sum(others) < 0.999 * limit * len(others):
        assert verdict == "unsure"


@given(TIMES)
def test_what_is_watched_inside_is_watched_outermost_too(times):
    if judged(times, outermost=False) == "watch":
        assert judged(times, outermost=True) == "watch"


def test_a_slow_first_iteration_does_not_make_a_tight_loop_watched():
    assert judged([0.01] + [1e-6] * 40, outermost=False) == "tight"
    assert judged([0.01] + [1e-6] * 3, outermost=True) == "unsure"


@pytest.mark.parametrize("count", [0, 1, policy.DEMOTE_ITERATIONS - 1])
def test_few_iterations_say_nothing_about_a_watched_loop(count):
    assert not too_tight(1, count, 0.0, outermost=False)
    assert too_tight(1, policy.DEMOTE_ITERATIONS, 0.0, outermost=True)


@given(st.integers(1, 1000), st.integers(1, 10_000), st.floats(1e-6, 10.0))
def test_a_loop_that_is_entered_often_has_to_be_longer(entries, iterations, seconds):
    if policy.worth(entries + 1, iterations, seconds, outermost=False):
        assert policy.worth(entries, iterations, seconds, outermost=False)
    allowed = policy.WATCH_SHARE * seconds
    often = 2 + int(allowed / policy.ENTRY_SECONDS)
    assert not policy.worth(often, iterations, seconds, outermost=False)


SHARES = st.floats(0.001, 0.3)
GAPS = st.lists(st.floats(1e-4, 100.0), min_size=1, max_size=200)


def simulate(budget, gaps, cost):
    """Take a checkpoint at every boundary that allows one; yield what there is after each."""
    elapsed = 0.0
    for index, gap in enumerate(gaps):
        elapsed += gap
        if budget.allows(elapsed):
            thought, price = budget.estimate, cost(index)
            budget.charge(price)
            yield elapsed, thought, price
            elapsed += price


@given(SHARES, GAPS, st.floats(1e-6, 10.0))
def test_checkpoints_of_one_price_stay_within_the_share_after_the_first(share, gaps, price):
    budget = Budget(share, grace=0.0)

    for elapsed, _, _ in simulate(budget, gaps, lambda _: price):
        if budget.taken > 1:
            assert budget.spent <= share * elapsed * (1 + 1e-9)


@given(SHARES, GAPS, st.data())
def test_the_share_is_exceeded_by_no_more_than_one_checkpoint_was_dearer_than_thought(
    share, gaps, data
):
    budget = Budget(share, grace=0.0)
    prices = data.draw(st.lists(st.floats(1e-6, 10.0), min_size=len(gaps), max_size=len(gaps)))

    for elapsed, thought, price in simulate(budget, gaps, prices.__getitem__):
        over = budget.spent - share * elapsed
        assert over <= max(0.0, price - thought) + 1e-9


@given(SHARES, st.floats(1e-6, 1.0), st.integers(1, 300))
def test_a_budget_is_used_and_not_only_kept(share, price, count):
    """With frequent boundaries, no more is left over than the first was thought to cost."""
    gap = 0.9 * price / share
    budget = Budget(share, grace=0.0)

    list(simulate(budget, [gap] * count, lambda _: price))

    elapsed = gap * count
    left_over = share * elapsed - budget.spent
    assert left_over < max(policy.FIRST_ESTIMATE_SECONDS, price) + price


def test_nothing_is_allowed_without_a_budget():
    assert not Budget(0.0).allows(1e9)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_the_estimate_lies_between_the_cheapest_and_the_dearest(prices):
    budget = Budget(0.01)
    for price in prices:
        budget.charge(price)

    assert min(prices) <= budget.estimate <= max(prices)
    assert budget.spent == pytest.approx(sum(prices))
    assert budget.taken == len(prices)


@given(SHARES, GAPS, st.floats(1e-6, 0.01))
def test_a_young_run_has_its_grace_and_no_more(share, gaps, price):
    budget = Budget(share)

    for elapsed, _, _ in simulate(budget, gaps, lambda _: price):
        assert budget.spent <= share * elapsed + policy.GRACE_SECONDS + price
    assert budget.taken > 0


@given(st.floats(0, 1), st.floats(0, 1e4), st.lists(st.floats(0, 1), max_size=5))
def test_what_is_spare_leaves_room_for_the_next_checkpoint(share, elapsed, costs):
    budget = Budget(share, grace=0.0)
    for cost in costs:
        budget.charge(cost)
    spare = budget.spare(elapsed)

    assert spare >= 0
    if spare:
        assert budget.spent + budget.estimate + 2 * spare == pytest.approx(share * elapsed)
        estimate = budget.estimate
        budget.charge(estimate + spare, spare)  # it costs what was thought, and what was spare
        assert budget.estimate == pytest.approx(estimate)
        assert budget.spent <= share * elapsed


def test_what_was_spent_voluntarily_does_not_make_the_next_one_seem_dear():
    one, other = Budget(0.01), Budget(0.01)
    one.charge(0.5, 0.4)
    other.charge(0.1)

    assert one.estimate == pytest.approx(other.estimate)
    assert one.spent == 0.5


SIZES = st.lists(st.integers(1, 10_000), min_size=1, max_size=200)


def run_with_disk(budget, gaps, sizes, price=1e-6):
    """Take checkpoints of these sizes where the budgets allow it; when each was taken."""
    elapsed, taken = 0.0, []
    for gap, size in zip(gaps, sizes, strict=False):
        elapsed += gap
        if budget.allows(elapsed) and budget.promise(size):
            budget.charge(price, at=elapsed)
            budget.stored(size, size)
            taken.append(elapsed)
    return taken, elapsed


@given(GAPS, SIZES, st.integers(1, 100_000))
def test_the_disk_is_never_overdrawn(gaps, sizes, disk):
    budget = Budget(1.0, disk=disk)
    run_with_disk(budget, gaps, sizes)
    assert budget.written <= disk
    assert budget.promised == 0


@given(st.integers(2, 3000), st.floats(1e-3, 10.0), st.integers(100, 3000))
def test_a_long_run_keeps_having_checkpoints_and_they_are_never_far_apart(count, gap, room):
    """With room for `room` checkpoints of one size, whatever the length of the run."""
    budget = Budget(1.0, grace=1e9, disk=room * 10)
    taken, elapsed = run_with_disk(budget, [gap] * count, [10] * count)
    for before, after in zip([*taken, elapsed][:-1], [*taken, elapsed][1:], strict=True):
        left = room - taken.index(before) - 1
        factor = policy.HORIZON ** (1 / left) if left else float("inf")
        assert after <= factor * before * (1 + 1e-9) + gap


def test_there_is_disk_left_when_a_run_is_a_thousand_times_as_long_as_foreseen():
    budget = Budget(1.0, grace=1e9, disk=100 * 10)
    elapsed = 1.0
    taken = []
    while elapsed < 1e6:
        if budget.allows(elapsed):
            budget.promise(10)
            budget.charge(0.0, at=elapsed)
            budget.stored(10, 10)
            taken.append(elapsed)
        elapsed *= 1.001
    assert len(taken) < 100
    assert sum(each > 1e5 for each in taken) >= 3
    assert max(b / a for a, b in pairwise(taken)) < 1.7


@given(SHARES, GAPS, st.lists(st.floats(0, 5.0), min_size=200, max_size=200))
def test_what_writing_takes_is_held_against_the_share(share, gaps, beside):
    budget = Budget(share, grace=0.0)
    elapsed = 0.0
    for gap, taken in zip(gaps, beside, strict=False):
        elapsed += gap
        if budget.allows(elapsed):
            thought = budget.estimate + budget.beside
            budget.charge(1e-3, at=elapsed)
            budget.background(taken)
            assert budget.spent <= share * elapsed + max(0.0, 1e-3 + taken - thought) + 1e-9


@given(SHARES, st.floats(1.0, 3.0), GAPS, st.integers(1, 100_000), SIZES)
def test_more_time_and_more_disk_never_make_a_next_checkpoint_later(share, more, gaps, disk, sizes):
    budget = Budget(share, disk=disk)
    run_with_disk(budget, gaps, sizes)
    richer = Budget(share * more, disk=int(disk * more) + 1)
    for name in Budget.__match_args__:
        if name not in ("share", "disk"):
            setattr(richer, name, getattr(budget, name))
    assert richer.due_by_time() <= budget.due_by_time() or budget.due_by_time() <= 0
    assert richer.due_by_disk() <= budget.due_by_disk()


def test_what_was_promised_and_not_written_is_free_again():
    budget = Budget(1.0, disk=100)
    assert budget.promise(60)
    assert not budget.promise(60)
    budget.stored(60, None)
    assert budget.promise(60)
    budget.stored(60, 30)
    assert (budget.written, budget.promised, budget.growth) == (30, 0, 30)
