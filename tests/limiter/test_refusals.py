"""What a broker says closes the gate for exactly as long as it says, and is kept as evidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.clock import DAY, MINUTE, SECOND, VirtualClock
from core.errors import BlockedForDay, RateLimited
from core.limiter import EnhancedRateLimiter, stretch
from core.models import Budget, Category, Rate

MakeLimiter = Callable[..., EnhancedRateLimiter]
FYERS = (10, 200, None, 100_000)
UPSTOX = (
    Budget("orders", (Rate(2, SECOND),), frozenset({Category.ORDERS})),
    Budget("reads", (Rate(3, SECOND),), frozenset({Category.READS})),
)


@pytest.mark.parametrize(
    ("error", "closed_ns"),
    [
        (RateLimited("429", retry_in_ns=7 * SECOND), 7 * SECOND),
        (RateLimited("429", retry_in_ns=7 * SECOND, window_ns=MINUTE), 7 * SECOND),
        (RateLimited("429", retry_in_ns=0), 0),
        (RateLimited("429", retry_in_ns=-5), 0),
        (RateLimited("429", window_ns=MINUTE), stretch(MINUTE)),
        (RateLimited("429"), stretch(SECOND)),
        (BlockedForDay("blocked", retry_in_ns=3 * 60 * MINUTE), 3 * 60 * MINUTE),
        (BlockedForDay("blocked"), DAY),
    ],
)
async def test_a_refusal_closes_the_gate_for_as_long_as_it_says(
    make: MakeLimiter, clock: VirtualClock, error: RateLimited, closed_ns: int
) -> None:
    limiter = make(*FYERS)
    limiter.refused(error)
    assert limiter.limited_for_ns == limiter.time_to_available_ns() == closed_ns
    if closed_ns:
        await clock.advance_ns(closed_ns - 1)
        assert limiter.try_acquire() is None
        await clock.advance_ns(1)
    assert limiter.try_acquire() is not None
    assert limiter.limited_for_ns == 0


def test_a_refusal_without_advice_closes_for_the_shortest_window_that_is_full(make: MakeLimiter) -> None:
    limiter = make(None, 5, 100)
    for _ in range(5):
        limiter.record_request()
    limiter.refused(RateLimited("429"))
    assert limiter.limited_for_ns == stretch(MINUTE)


async def test_a_window_that_was_waited_out_does_not_explain_the_next_refusal(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(*FYERS)
    limiter.refused(RateLimited("429"))
    limiter.refused(RateLimited("429"))  # an answer to what left before the gate closed
    assert limiter.limited_for_ns == stretch(SECOND)
    await clock.advance_ns(stretch(SECOND))
    limiter.refused(RateLimited("429"))
    assert limiter.limited_for_ns == stretch(MINUTE)
    await clock.advance_ns(3 * MINUTE)
    limiter.refused(RateLimited("429"))
    assert limiter.limited_for_ns == stretch(SECOND)


async def test_a_gate_is_never_opened_sooner_by_a_later_word(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(10)
    limiter.close_for_ns(10 * SECOND)
    await clock.advance_ns(SECOND)
    limiter.close_for_ns(2 * SECOND)
    assert limiter.limited_for_ns == 9 * SECOND
    with pytest.raises(ValueError, match="0 or more"):
        limiter.close_for_ns(-1)


def test_a_refusal_of_one_category_leaves_the_others_alone_and_a_day_block_none(make: MakeLimiter) -> None:
    limiter = make(budgets=UPSTOX)
    limiter.refused(RateLimited("429", retry_in_ns=SECOND), category="orders")
    assert limiter.try_acquire("orders") is None
    assert limiter.try_acquire("reads") is not None
    limiter.refused(BlockedForDay("blocked"), category="orders")
    assert limiter.try_acquire("reads") is None


def test_every_refusal_is_an_incident_with_its_evidence_and_the_ring_is_bounded(make: MakeLimiter) -> None:
    limiter = make(10, name="fyers")
    for number in range(100):
        limiter.refused(RateLimited("limit exceeded", retry_in_ns=SECOND, evidence=f"body {number}"))
    assert limiter.refusals == limiter.get_analytics()["refusals"] == 100
    assert len(limiter.incidents) == 64
    last = limiter.incidents[-1]
    assert (last.kind, last.provider, last.evidence) == ("rate_limited", "fyers", "body 99")
    assert last.message == "limit exceeded; closed for 1000 ms (as the broker advised)"


@pytest.mark.parametrize(("remaining", "used"), [(10, 3), (7, 3), (5, 5), (0, 10)])
def test_what_the_broker_counted_and_we_did_not_is_entered_as_used(
    make: MakeLimiter, remaining: int, used: int
) -> None:
    limiter = make(10)
    for _ in range(2):
        limiter.record_request()
    limiter.try_acquire()
    limiter.observe_quota(remaining, window_ns=SECOND)
    window = limiter.headroom()[0]
    assert window.used + window.in_flight == used


def test_a_quota_that_is_used_up_closes_the_gate_until_it_resets(make: MakeLimiter) -> None:
    limiter = make(10)
    limiter.observe_quota(0, window_ns=MINUTE, resets_in_ns=30 * SECOND)
    assert limiter.limited_for_ns == 30 * SECOND
    with pytest.raises(ValueError, match="remaining"):
        limiter.observe_quota(-1, window_ns=SECOND)
