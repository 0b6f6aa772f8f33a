from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.runtime import policy
from flor_trace.runtime.policy import Budget, judge, too_tight

SECONDS = st.floats(0, 1e4)
COUNTS = st.integers(0, 10_000)


@given(COUNTS, SECONDS, st.booleans())
def test_a_loop_is_watched_exactly_when_its_mean_iteration_is_long_enough(n, seconds, outermost):
    limit = policy.WATCH_SECONDS_OUTERMOST if outermost else policy.WATCH_SECONDS

    verdict = judge(n, seconds, outermost=outermost)

    assert (verdict == "watch") == (n > 0 and seconds >= limit * n)
    assert (verdict == "tight") == (verdict != "watch" and n >= policy.PROBE_ITERATIONS)


@given(COUNTS, SECONDS)
def test_what_is_watched_inside_is_watched_outermost_too(n, seconds):
    if judge(n, seconds, outermost=False) == "watch":
        assert judge(n, seconds, outermost=True) == "watch"


@given(COUNTS, SECONDS)
def test_a_loop_at_the_threshold_of_watching_is_never_given_up(n, seconds):
    if judge(n, seconds, outermost=True) == "watch":
        assert not too_tight(n, seconds)


@pytest.mark.parametrize("count", [0, 1, policy.DEMOTE_ITERATIONS - 1])
def test_few_iterations_say_nothing_about_a_watched_loop(count):
    assert not too_tight(count, 0.0)
    assert too_tight(policy.DEMOTE_ITERATIONS, 0.0)


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
    budget = Budget(share)

    for elapsed, _, _ in simulate(budget, gaps, lambda _: price):
        if budget.taken > 1:
            assert budget.spent <= share * elapsed * (1 + 1e-9)


@given(SHARES, GAPS, st.data())
def test_the_share_is_exceeded_by_no_more_than_one_checkpoint_was_dearer_than_thought(
    share, gaps, data
):
    budget = Budget(share)
    prices = data.draw(st.lists(st.floats(1e-6, 10.0), min_size=len(gaps), max_size=len(gaps)))

    for elapsed, thought, price in simulate(budget, gaps, prices.__getitem__):
        assert budget.spent - share * elapsed <= max(0.0, price - thought) + 1e-9


@given(SHARES, st.floats(1e-6, 1.0), st.integers(1, 300))
def test_a_budget_is_used_and_not_only_kept(share, price, count):
    """With frequent boundaries, no more is left over than the first was thought to cost."""
    gap = 0.9 * price / share
    budget = Budget(share)

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
