"""What is learned from a broker's clock, and when a window will run out."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY, MILLISECOND, MINUTE, SECOND, VirtualClock
from core.limiter import EnhancedRateLimiter
from core.limiter.stamps import ServerClock

OFFSET = 10**18


@given(st.integers(0, 2**32), st.integers(-150, 150), st.sampled_from([1, MILLISECOND, SECOND]))
def test_an_anchor_is_never_earlier_than_the_arrival_less_the_floor_nor_later_than_the_answer(
    seed: int, drift_ppm: int, resolution_ns: int
) -> None:
    rng = random.Random(seed)
    server = ServerClock(resolution_ns)
    now_ns = 0
    for _ in range(60):
        now_ns += rng.randrange(10 * SECOND)
        arrived_ns = now_ns + rng.randrange(5 * MILLISECOND, 80 * MILLISECOND)
        received_ns = arrived_ns + rng.randrange(5 * MILLISECOND, 80 * MILLISECOND)
        stamp_ns = (arrived_ns + arrived_ns * drift_ppm // 1_000_000 + OFFSET) // resolution_ns * resolution_ns
        anchor_ns = server.anchor_ns(now_ns, received_ns, stamp_ns)
        assert arrived_ns - server.floor_ns <= anchor_ns <= received_ns
        now_ns = received_ns


def test_the_floor_is_half_of_the_least_round_trip_and_nothing_before_there_is_enough_to_learn_from() -> None:
    server = ServerClock(1)
    for number in range(40):
        sent_ns = number * SECOND
        anchor_ns = server.anchor_ns(sent_ns, sent_ns + 40 * MILLISECOND, sent_ns + 20 * MILLISECOND + OFFSET)
        if number < 19:
            assert (server.floor_ns, anchor_ns) == (0, sent_ns + 40 * MILLISECOND)
    assert abs(server.floor_ns - 20 * MILLISECOND) < MILLISECOND


def test_a_broker_s_clock_that_was_set_is_learned_anew() -> None:
    server = ServerClock(1)
    for number in range(60):
        sent_ns = number * SECOND
        jump_ns = 3600 * SECOND if number >= 30 else 0
        received_ns = sent_ns + 40 * MILLISECOND
        anchor_ns = server.anchor_ns(sent_ns, received_ns, sent_ns + 20 * MILLISECOND + OFFSET + jump_ns)
        if 30 <= number < 49:
            assert anchor_ns == received_ns
    assert anchor_ns < received_ns


def test_stamps_change_nothing_unless_the_limiter_was_told_to_trust_them() -> None:
    clock = VirtualClock()
    limiter = EnhancedRateLimiter(100, clock=clock)
    for _ in range(30):
        permit = limiter.try_acquire()
        assert permit is not None
        permit.sent()
        clock._now_ns += 10 * MILLISECOND
        permit.done(server_stamp_ns=OFFSET)
    assert limiter.headroom()[0].all_free_in_ns == SECOND + 200_001


@pytest.mark.parametrize(("gap_ns", "count"), [(SECOND // 2, 60), (SECOND, 60), (2 * SECOND, 30), (10 * SECOND, 6)])
def test_a_window_runs_out_when_what_is_free_is_used_at_the_present_rate(gap_ns: int, count: int) -> None:
    clock = VirtualClock()
    limiter = EnhancedRateLimiter(None, None, 200, clock=clock)
    for _ in range(count):
        clock._now_ns += gap_ns
        limiter.record_request()
    hour = limiter.headroom()[0]
    forecast = hour.forecast
    assert limiter.forecast() == (forecast,)
    assert forecast.rate_per_s == pytest.approx(min(count, MINUTE / gap_ns) / 60, rel=0.05)
    assert forecast.exhausted_in_ns is not None
    assert forecast.exhausted_in_ns == pytest.approx(hour.free / forecast.rate_per_s * SECOND, rel=0.01)
    assert forecast.earliest_in_ns is not None
    assert forecast.earliest_in_ns < forecast.exhausted_in_ns
    assert forecast.latest_in_ns is None or forecast.latest_in_ns > forecast.exhausted_in_ns


def test_a_window_that_gives_back_as_fast_as_it_takes_never_runs_out() -> None:
    clock = VirtualClock()
    limiter = EnhancedRateLimiter(None, 60, clock=clock)
    for _ in range(300):
        clock._now_ns += 2 * SECOND
        limiter.record_request()
    forecast = limiter.forecast()[0]
    assert forecast.exhausted_in_ns is None
    assert forecast.probability_60s < 0.01


def test_nothing_sent_forecasts_nothing_and_a_full_window_is_exhausted_now() -> None:
    limiter = EnhancedRateLimiter(None, None, None, 5, clock=VirtualClock(start_ns=DAY))
    assert limiter.forecast()[0].exhausted_in_ns is None
    for _ in range(5):
        limiter.record_request()
    assert (limiter.forecast()[0].exhausted_in_ns, limiter.forecast()[0].probability_60s) == (0, 1.0)
