"""A circuit breaker as a state machine: what opens it, how long, what closes it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.balancer import BreakerSettings, CircuitBreaker
from core.clock import MILLISECOND, SECOND
from core.models import BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SETTINGS = BreakerSettings()


def make(**changes: float) -> CircuitBreaker:
    return CircuitBreaker(BreakerSettings(**changes), random.Random(1))  # type: ignore[arg-type]


def fail(breaker: CircuitBreaker, times: int, at_ns: int = 0) -> None:
    for _ in range(times):
        breaker.failed(at_ns, at_ns, "server error")


@pytest.mark.parametrize(("failures", "state"), [(0, CLOSED), (4, CLOSED), (5, OPEN), (9, OPEN)])
def test_five_failures_in_a_row_open_it(failures: int, state: BreakerState) -> None:
    breaker = make()
    fail(breaker, failures)
    assert breaker.state(0) is state


def test_a_success_begins_the_count_anew() -> None:
    breaker = make()
    for _ in range(3):
        fail(breaker, 1)
        for _ in range(3):
            breaker.succeeded(0, 0)
    fail(breaker, 4)
    assert breaker.state(0) is CLOSED
    fail(breaker, 1)
    assert breaker.state(0) is OPEN


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("fosfosfosfosfo", CLOSED),
        ("fofofofo", CLOSED),  # one half of 8 requests, and 10 are needed
        ("fofofofofof", OPEN),
        ("ffooffooffooff", OPEN),
        ("fooofooofooofooo", CLOSED),
    ],
)
def test_half_of_at_least_ten_requests_failing_opens_it(outcomes: str, state: BreakerState) -> None:
    breaker = make()
    for at_s, outcome in enumerate(outcomes):
        at_ns = at_s * 100 * MILLISECOND
        if outcome == "f":
            fail(breaker, 1, at_ns)
        else:
            breaker.succeeded(at_ns, at_ns)
        if breaker.is_open:
            break
    assert breaker.state(at_ns) is state


def test_failures_of_long_ago_do_not_count() -> None:
    breaker = make()
    for turn in range(40):
        at_ns = turn * 4 * SECOND
        fail(breaker, 1, at_ns)
        breaker.succeeded(at_ns, at_ns)
    assert breaker.state(at_ns) is CLOSED  # never more than 3 pairs within 10 s


@pytest.mark.parametrize(("slow", "state"), [(7, CLOSED), (9, OPEN)])
def test_mostly_slow_answers_open_it_though_nothing_fails(slow: int, state: BreakerState) -> None:
    breaker = make()
    for turn in range(10):
        breaker.succeeded(turn, turn, slow=turn >= 10 - slow)
    assert breaker.state(10) is state


@pytest.mark.parametrize("trips", range(8))
def test_each_pause_is_twice_the_last_up_to_the_longest(trips: int) -> None:
    breaker, at_ns = make(jitter=0.0), 0
    for _ in range(trips + 1):
        breaker.trip(at_ns, "down")
        pause_ns = breaker.retry_in_ns(at_ns)
        at_ns += pause_ns
    assert pause_ns == min(SECOND << trips, SETTINGS.open_ns_max)


@given(seed=st.integers(), trips=st.integers(1, 20))
def test_no_pause_is_longer_than_ten_seconds_whatever_the_jitter(seed: int, trips: int) -> None:
    breaker, at_ns = CircuitBreaker(SETTINGS, random.Random(seed)), 0
    for _ in range(trips):
        breaker.trip(at_ns, "down")
        assert 0.8 * SECOND < breaker.retry_in_ns(at_ns) < 10 * SECOND
        at_ns += breaker.retry_in_ns(at_ns)


def test_open_becomes_half_open_exactly_when_its_pause_ends() -> None:
    breaker = make()
    breaker.trip(0, "down")
    retry_ns = breaker.retry_in_ns(0)
    assert breaker.state(retry_ns - 1) is OPEN
    assert breaker.state(retry_ns) is HALF_OPEN


def test_two_answered_probes_close_it_and_a_failed_one_opens_it_again() -> None:
    breaker = make(jitter=0.0)
    breaker.trip(0, "down")
    breaker.succeeded(SECOND, SECOND)
    assert breaker.state(SECOND) is HALF_OPEN
    fail(breaker, 1, SECOND)
    assert breaker.state(SECOND) is OPEN
    assert breaker.retry_in_ns(SECOND) == 2 * SECOND
    for _ in range(2):
        breaker.succeeded(3 * SECOND, 3 * SECOND)
    assert breaker.state(3 * SECOND) is CLOSED


def test_what_was_sent_before_it_opened_proves_nothing() -> None:
    breaker = make(jitter=0.0)
    breaker.trip(0, "down")
    for _ in range(9):
        breaker.succeeded(2 * SECOND, 0)
    assert breaker.state(2 * SECOND) is HALF_OPEN
    breaker.failed(2 * SECOND, 0, "late timeout")
    assert breaker.trips == 1


def test_a_timeout_from_before_the_recovery_does_not_open_it_again() -> None:
    breaker = make(jitter=0.0)
    breaker.trip(0, "down")
    for _ in range(2):
        breaker.succeeded(SECOND, SECOND)
    for _ in range(9):
        breaker.failed(2 * SECOND, SECOND - 1, "no answer")
    assert breaker.state(2 * SECOND) is CLOSED


def test_one_probe_at_a_time_until_it_has_taken_too_long() -> None:
    breaker = make(jitter=0.0)
    breaker.trip(0, "down")
    assert not breaker.probe_due(SECOND - 1)
    assert breaker.probe_due(SECOND)
    breaker.probe_sent(SECOND)
    assert not breaker.probe_due(2 * SECOND)
    assert breaker.probe_due(SECOND + SETTINGS.probe_patience_ns)
    breaker.probe_ended()
    assert breaker.probe_due(2 * SECOND)


def test_an_order_breaker_closed_by_reads_is_on_probation_until_an_order_succeeds() -> None:
    def recovered() -> CircuitBreaker:
        breaker = make(jitter=0.0)
        breaker.trip(0, "orders fail")
        for _ in range(2):
            breaker.proved(SECOND, SECOND)
        assert breaker.state(SECOND) is CLOSED
        return breaker

    breaker = recovered()
    fail(breaker, 1, 2 * SECOND)
    assert breaker.state(2 * SECOND) is OPEN
    breaker = recovered()
    breaker.succeeded(2 * SECOND, 2 * SECOND)
    fail(breaker, 4, 2 * SECOND)
    assert breaker.state(2 * SECOND) is CLOSED


def test_a_slow_start_follows_a_recovery() -> None:
    breaker = make(jitter=0.0)
    assert breaker.slow_start_share(0) == 1.0
    breaker.trip(0, "down")
    assert breaker.slow_start_share(0) == 0.0
    for _ in range(2):
        breaker.succeeded(SECOND, SECOND)
    shares = [breaker.slow_start_share(SECOND + SETTINGS.slow_start_ns * part // 4) for part in range(5)]
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_long_quiet_time_forgives_earlier_trips() -> None:
    breaker, at_ns = make(jitter=0.0), 0
    for _ in range(4):
        breaker.trip(at_ns, "down")
        at_ns += breaker.retry_in_ns(at_ns)
    for _ in range(2):
        breaker.succeeded(at_ns, at_ns)
    at_ns += SETTINGS.forgive_ns + 1
    breaker.trip(at_ns, "down")
    assert breaker.retry_in_ns(at_ns) == SECOND


def test_it_hurries_when_nobody_else_can_serve_but_not_below_the_shortest_pause() -> None:
    breaker = make(jitter=0.0)
    for _ in range(4):
        breaker.trip(0, "down")
    assert breaker.retry_in_ns(0) == 4 * SECOND
    breaker.hurry(SECOND // 2)
    assert breaker.retry_in_ns(SECOND // 2) == SECOND // 2


def test_reset_closes_it_without_a_slow_start_to_sit_out() -> None:
    breaker = make()
    breaker.trip(0, "down")
    breaker.reset()
    assert breaker.state(0) is CLOSED
    assert breaker.reason == ""


@given(
    st.lists(st.tuples(st.sampled_from("of s"), st.integers(0, 2 * SECOND), st.integers(0, SECOND)), max_size=200),
    st.integers(0, 100),
)
def test_whatever_happens_it_is_closed_or_has_a_reason_and_opens_again_in_time(
    story: list[tuple[str, int, int]], seed: int
) -> None:
    breaker, at_ns = CircuitBreaker(SETTINGS, random.Random(seed)), 0
    for what, gap_ns, took_ns in story:
        at_ns += gap_ns
        if what == "f":
            breaker.failed(at_ns, at_ns - took_ns, "server error")
        elif what != " ":
            breaker.succeeded(at_ns, at_ns - took_ns, slow=what == "s")
        state = breaker.state(at_ns)
        assert (state is CLOSED) is not bool(breaker.reason)
        assert breaker.retry_in_ns(at_ns) < 10 * SECOND
        assert (state is OPEN) is (breaker.retry_in_ns(at_ns) > 0)
