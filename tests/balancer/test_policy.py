"""How much may be asked twice."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.balancer.policy
from core.balancer import HedgePolicy, PeakEwma, RetryBudget
from core.clock import MILLISECOND, SECOND


def test_the_documented_example_holds() -> None:
    result = doctest.testmod(core.balancer.policy)
    assert (result.failed, result.attempted > 0) == (0, True)


@given(st.lists(st.sampled_from(["ask", "retry"]), max_size=500), st.sampled_from([0.0, 0.1, 0.5]))
def test_retries_never_pass_their_share_of_the_requests(story: list[str], share: float) -> None:
    budget, asked, retried = RetryBudget(share=share, reserve_per_s=0.0), 0, 0
    for what in story:
        if what == "ask":
            budget.asked()
            asked += 1
        else:
            retried += budget.try_retry(0)
        assert retried <= share * asked + 1e-6


def test_a_quiet_client_still_gets_one_retry_in_five_seconds() -> None:
    budget = RetryBudget()
    granted = [at_s for at_s in range(16) if budget.try_retry(at_s * SECOND)]
    assert granted == [0, 5, 10, 15]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of retries"):
        RetryBudget(share=share)


def answers(count: int) -> PeakEwma:
    ewma = PeakEwma()
    for number in range(count):
        ewma.record((number % 100 + 1) * MILLISECOND, 0, number)
    return ewma


@pytest.mark.parametrize(
    ("operation", "count", "free", "after_ms"),
    [
        ("get_orders", 200, 10, 97),
        ("get_orders", 200, 5, 97),
        ("get_orders", 200, 4, None),
        ("get_orders", 49, 10, None),
        ("get_positions", 200, 10, None),
    ],
)
def test_a_hedge_goes_after_the_p95_and_only_where_there_is_headroom(
    operation: str, count: int, free: int, after_ms: int | None
) -> None:
    policy = HedgePolicy(["get_orders"])
    after_ns = policy.after_ns(operation, answers(count), [(10, 10, SECOND), (free, 10, SECOND)])
    assert after_ns == (None if after_ms is None else after_ms * MILLISECOND)


def test_nothing_is_hedged_unless_asked_for_or_before_it_was_ever_answered() -> None:
    assert HedgePolicy().after_ns("get_orders", answers(200), []) is None
    assert HedgePolicy(["get_orders"]).after_ns("get_orders", None, []) is None
