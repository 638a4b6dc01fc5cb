"""What survives a restart: nothing that was used is forgotten, and what cannot be known counts as used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY, HOUR, MINUTE, SECOND, VirtualClock
from core.limiter import EnhancedRateLimiter, LimiterState, stretch
from core.models import Budget, Rate

MakeLimiter = Callable[..., EnhancedRateLimiter]
EPOCH = 1_767_585_600_000_000_000


def used_of(limiter: EnhancedRateLimiter, window_ns: int) -> int:
    return next(window.used for window in limiter.headroom() if window.rate.window_ns == window_ns)


@given(st.lists(st.sampled_from([0, 1, SECOND, 10 * SECOND, MINUTE, HOUR]), max_size=40), st.integers(0, 2 * DAY))
def test_a_restart_forgets_nothing_and_holds_nothing_longer_than_one_step(gaps: list[int], down_ns: int) -> None:
    clock = VirtualClock()
    old = EnhancedRateLimiter(None, 50, None, 60, clock=clock)
    for gap_ns in gaps:
        clock._now_ns += gap_ns
        old.record_request()
    text = old.save_state(final=True).to_json()
    clock._now_ns += down_ns
    new_clock = VirtualClock(start_ns=77)
    new = EnhancedRateLimiter(None, 50, None, 60, clock=new_clock)
    new.load_state(LimiterState.from_json(text), epoch_now_ns=clock.epoch_ns())
    at_ns, new_at_ns = clock.now_ns(), new_clock.now_ns()
    for window_ns in (MINUTE, DAY):
        step_ns = stretch(window_ns) // 240 + 2
        assert used_of(new, window_ns) >= used_of(old, window_ns)
        new_clock._now_ns = new_at_ns + step_ns
        assert used_of(new, window_ns) <= used_of(old, window_ns)
        clock._now_ns, new_clock._now_ns = at_ns, new_at_ns


def test_only_windows_of_a_minute_and_longer_are_saved() -> None:
    budgets = (Budget("short", (Rate(10, SECOND),)), Budget("long", (Rate(10, MINUTE),)))
    limiter = EnhancedRateLimiter(budgets=budgets, clock=VirtualClock())
    limiter.record_request()
    assert set(limiter.save_state().budgets) == {"long"}


def test_what_was_in_flight_counts_as_sent_at_the_save() -> None:
    clock = VirtualClock()
    old = EnhancedRateLimiter(None, 10, clock=clock)
    assert old.try_acquire() is not None
    new = EnhancedRateLimiter(None, 10, clock=clock)
    new.load_state(old.save_state(final=True), epoch_now_ns=clock.epoch_ns())
    assert used_of(new, MINUTE) == 1


@pytest.mark.parametrize(
    ("within_ns", "final", "unseen"), [(5 * SECOND, False, 12), (SECOND, False, 4), (5 * SECOND, True, 0)]
)
def test_what_may_have_been_sent_after_the_save_counts_as_used(within_ns: int, final: bool, unseen: int) -> None:
    clock = VirtualClock()
    old = EnhancedRateLimiter(2, None, None, 1000, clock=clock)
    state = old.save_state(next_within_ns=within_ns, final=final)
    new = EnhancedRateLimiter(2, None, None, 1000, clock=clock)
    new.load_state(state, epoch_now_ns=clock.epoch_ns() + within_ns)
    assert used_of(new, DAY) == unseen


def test_a_crash_in_the_evening_leaves_the_next_day_free() -> None:
    clock = VirtualClock()
    old = EnhancedRateLimiter(10, 200, None, 1000, clock=clock)
    for _ in range(900):
        old.record_request()
    state = old.save_state()
    new = EnhancedRateLimiter(10, 200, None, 1000, clock=clock)
    new.load_state(state, epoch_now_ns=clock.epoch_ns() + 25 * HOUR)
    assert used_of(new, DAY) == 0


def test_a_save_that_is_final_closes_the_gate_for_good() -> None:
    limiter = EnhancedRateLimiter(10, 200, clock=VirtualClock())
    limiter.save_state(final=True)
    assert limiter.try_acquire() is None


def test_a_wall_clock_that_was_set_back_makes_everything_count_as_now() -> None:
    clock = VirtualClock()
    old = EnhancedRateLimiter(None, 10, clock=clock)
    for _ in range(4):
        old.record_request()
    clock._now_ns += 30 * SECOND
    new = EnhancedRateLimiter(None, 10, clock=clock)
    new.load_state(old.save_state(final=True), epoch_now_ns=EPOCH - HOUR)
    assert used_of(new, MINUTE) == 4
    assert new.headroom()[0].all_free_in_ns == stretch(MINUTE)


def test_a_gate_that_a_broker_closed_stays_closed_over_a_restart() -> None:
    clock = VirtualClock()
    old = EnhancedRateLimiter(None, 10, clock=clock)
    old.close_for_ns(HOUR)
    new = EnhancedRateLimiter(None, 10, clock=clock)
    new.load_state(old.save_state(), epoch_now_ns=clock.epoch_ns() + 10 * MINUTE)
    assert new.limited_for_ns == 50 * MINUTE


def test_a_budget_that_the_state_does_not_name_gets_the_sum_of_all() -> None:
    clock = VirtualClock()
    old = EnhancedRateLimiter(None, 10, clock=clock)
    for _ in range(3):
        old.record_request()
    new = EnhancedRateLimiter(budgets=[Budget("renamed", (Rate(10, MINUTE),))], clock=clock)
    new.load_state(old.save_state(final=True), epoch_now_ns=clock.epoch_ns())
    assert used_of(new, MINUTE) == 3


def test_a_full_day_is_saved_in_a_few_hundred_numbers() -> None:
    clock = VirtualClock()
    limiter = EnhancedRateLimiter(None, 200, None, 20_000, clock=clock)
    for _ in range(20_000):
        clock._now_ns += 4 * SECOND
        limiter.record_request()
    assert len(limiter.save_state().to_json()) < 30_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"version": 2}',
        '{"version": 1, "saved": "x", "covers_until": 0, "budgets": {}, "opens": {}}',
        '{"version": 1, "saved": 1.5, "covers_until": 0, "budgets": {}, "opens": {}}',
        '{"version": 1, "saved": 1, "covers_until": 0, "budgets": {"all": [[1]]}, "opens": {}}',
    ],
)
def test_what_is_no_saved_state_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="no saved limiter state"):
        LimiterState.from_json(text)
