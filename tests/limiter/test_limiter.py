"""Taking without waiting, what is counted, what is refused, and how it stands; on every backend."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clock import DAY, MILLISECOND, MINUTE, SECOND, VirtualClock
from core.errors import (
    AuthenticationFailed,
    CostTooHigh,
    OrderNotSent,
    OrderOutcomeUnknown,
    PermitMisuse,
    UnknownCategory,
)
from core.limiter import EnhancedRateLimiter, MemoryBackend, SharedMemoryBackend, stretch
from core.models import Budget, Category, Rate, WindowHeadroom

MakeLimiter = Callable[..., EnhancedRateLimiter]

FYERS = (
    Budget("all", (Rate(10, SECOND), Rate(200, MINUTE), Rate(100_000, DAY))),
    Budget("orders", (Rate(4, SECOND),), frozenset({Category.ORDERS})),
)
UPSTOX = (
    Budget("orders", (Rate(2, SECOND),), frozenset({Category.ORDERS})),
    Budget("reads", (Rate(3, SECOND),), frozenset({Category.READS})),
)


def send(limiter: EnhancedRateLimiter, category: str = Category.ORDERS, cost: int = 1) -> bool:
    permit = limiter.try_acquire(category, cost)
    if permit is None:
        return False
    permit.sent()
    permit.done()
    return True


def window(limiter: EnhancedRateLimiter, budget: str = "all", window_ns: int = SECOND) -> WindowHeadroom:
    return next(w for w in limiter.headroom() if w.budget == budget and w.rate.window_ns == window_ns)


@pytest.mark.parametrize(
    "limits", [(0,), (-1,), (math.nan,), (True,), (10.5,), ("10",), (10, 0), (10, None, -3), (math.inf,)]
)
def test_a_limit_that_is_no_whole_number_of_at_least_1_is_refused(limits: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="whole number"):
        EnhancedRateLimiter(*limits)


@pytest.mark.parametrize(
    ("limits", "options", "words"),
    [
        ((None,), {}, "no rate"),
        ((), {"budgets": ()}, "empty"),
        ((20,), {"budgets": UPSTOX}, "not both"),
        ((), {"budgets": (UPSTOX[0], UPSTOX[0])}, "one name"),
        ((), {"max_waiters": 0}, "max_waiters"),
    ],
)
def test_limits_that_say_nothing_or_two_things_are_refused(limits: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EnhancedRateLimiter(*limits, **options)


def test_the_limit_is_given_out_at_once_and_not_one_more(make: MakeLimiter) -> None:
    limiter = make(3)
    assert [send(limiter) for _ in range(5)] == [True, True, True, False, False]


async def test_a_permit_is_free_one_stretched_window_after_its_answer(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(1)
    permit = limiter.try_acquire()
    assert permit is not None
    await clock.advance_ns(300 * MILLISECOND)
    permit.sent()
    await clock.advance_ns(300 * MILLISECOND)
    permit.done()
    assert limiter.time_to_available_ns() == stretch(SECOND)
    await clock.advance_ns(stretch(SECOND) - 1)
    assert limiter.try_acquire() is None
    await clock.advance_ns(1)
    assert limiter.try_acquire() is not None


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wall_clock_that_jumps_changes_nothing(make: MakeLimiter, clock: VirtualClock, hours: int) -> None:
    limiter = make(2, 5)
    assert send(limiter)
    before = limiter.headroom()
    clock.jump_epoch_ns(hours * 60 * MINUTE)
    assert limiter.headroom() == before
    assert [send(limiter), send(limiter)] == [True, False]


# Budgets and categories


def test_an_inner_budget_limits_its_category_and_the_shared_one_everything(make: MakeLimiter) -> None:
    limiter = make(budgets=FYERS)
    assert [send(limiter) for _ in range(5)] == [True] * 4 + [False]
    assert [send(limiter, "reads") for _ in range(7)] == [True] * 6 + [False]
    assert (window(limiter).used, window(limiter, "orders").used) == (10, 4)


def test_a_take_that_one_budget_refuses_takes_nothing_from_the_others(make: MakeLimiter) -> None:
    limiter = make(budgets=FYERS)
    permits = [limiter.try_acquire() for _ in range(9)]
    assert sum(permit is not None for permit in permits) == 4
    assert window(limiter).in_flight == 4


def test_budgets_of_their_own_do_not_touch_each_other(make: MakeLimiter) -> None:
    limiter = make(budgets=UPSTOX)
    assert [send(limiter, "orders") for _ in range(3)] == [True, True, False]
    assert [send(limiter, "reads") for _ in range(4)] == [True, True, True, False]


def test_a_cost_takes_that_many_permits(make: MakeLimiter) -> None:
    limiter = make(10)
    assert [send(limiter, cost=4) for _ in range(3)] == [True, True, False]
    assert window(limiter).free == 2
    assert send(limiter, cost=2)


def test_a_cost_of_thousands_is_one_take_and_thousands_of_anchors(make: MakeLimiter) -> None:
    limiter = make(5000)
    assert send(limiter, cost=4000)
    assert (window(limiter).used, window(limiter).in_flight, window(limiter).free) == (4000, 0, 1000)


@pytest.mark.parametrize("cost", [0, -1, 1.0, 2.0, True, math.nan, "1", None])
def test_a_cost_that_is_no_whole_number_of_at_least_1_is_refused(make: MakeLimiter, cost: Any) -> None:
    with pytest.raises(ValueError, match="whole number"):
        make(10).try_acquire("orders", cost)


async def test_a_cost_above_the_smallest_limit_is_refused_at_once(make: MakeLimiter) -> None:
    limiter = make(budgets=FYERS)
    for ask in (limiter.try_acquire, limiter.time_to_available_ns):
        with pytest.raises(CostTooHigh, match="orders allows 4 at once"):
            ask("orders", 5)
    with pytest.raises(CostTooHigh):
        await limiter.acquire("orders", 5)
    assert limiter.try_acquire("reads", 5) is not None


async def test_an_unknown_category_is_named_with_those_that_are_known(make: MakeLimiter) -> None:
    limiter = make(budgets=UPSTOX, name="upstox")
    with pytest.raises(UnknownCategory, match=r"upstox counts no category 'quotes'; known: orders, reads"):
        limiter.try_acquire("quotes")
    with pytest.raises(UnknownCategory):
        await limiter.acquire("quotes")


# Permits


def test_a_permit_that_was_given_back_was_never_taken(make: MakeLimiter) -> None:
    limiter = make(1)
    permit = limiter.try_acquire()
    assert permit is not None
    assert limiter.try_acquire() is None
    permit.give_back()
    assert window(limiter).free == 1
    assert limiter.get_analytics()["requests_total"] == 0


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        (("sent", "done"), "done"),
        (("sent", "done"), "sent"),
        (("sent", "done"), "give_back"),
        (("give_back",), "give_back"),
        (("give_back",), "sent"),
        (("give_back",), "done"),
        (("sent",), "sent"),
        ((), "done"),
    ],
)
def test_a_permit_used_against_its_order_is_refused(make: MakeLimiter, steps: tuple[str, ...], last: str) -> None:
    limiter = make(3)
    permit = limiter.try_acquire()
    for step in steps:
        getattr(permit, step)()
    with pytest.raises(PermitMisuse):
        getattr(permit, last)()
    assert limiter.in_flight == ("sent" in steps and "done" not in steps)
    assert window(limiter).used + window(limiter).in_flight == ("give_back" not in steps)


async def test_a_permit_without_an_answer_is_held_until_it_can_no_longer_arrive_and_counts_from_there(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(1)
    permit = limiter.try_acquire()
    assert permit is not None
    permit.sent()
    permit.unanswered(5 * SECOND)
    await clock.advance_ns(5 * SECOND - 1)
    assert (window(limiter).in_flight, window(limiter).used) == (1, 0)
    await clock.advance_ns(SECOND)
    assert (window(limiter).in_flight, window(limiter).used) == (0, 1)
    assert limiter.try_acquire() is None
    await clock.advance_ns(stretch(SECOND) - SECOND)
    assert limiter.try_acquire() is None
    await clock.advance_ns(1)
    assert limiter.try_acquire() is not None


def test_an_answer_is_anchored_at_the_time_it_was_read_and_never_in_the_future(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(2)
    for at_ns, expected_ns in ((-100, stretch(SECOND) - 100), (10 * SECOND, stretch(SECOND))):
        permit = limiter.try_acquire()
        assert permit is not None
        permit.sent()
        permit.done(at_ns=at_ns)
        assert window(limiter).all_free_in_ns == expected_ns


@pytest.mark.parametrize(
    ("sent", "error", "in_flight", "used"),
    [
        (False, None, 0, 0),
        (True, None, 0, 1),
        (False, RuntimeError("ours"), 0, 0),
        (True, RuntimeError("ours"), 1, 0),
        (True, OrderNotSent("no connection"), 0, 0),
        (True, AuthenticationFailed("log in"), 0, 1),
        (True, OrderOutcomeUnknown("timeout", arrives_within_ns=SECOND), 1, 0),
    ],
)
async def test_a_block_ends_its_permit_by_what_happened_in_it(
    make: MakeLimiter, sent: bool, error: Exception | None, in_flight: int, used: int
) -> None:
    limiter = make(5)
    kept = []

    async def request() -> None:
        async with limiter.permit("orders") as permit:
            kept.append(permit)
            if sent:
                permit.sent()
            if error is not None:
                raise error

    if error is None:
        await request()
    else:
        with pytest.raises(type(error)):
            await request()
    permit = kept[0]
    assert not permit.open
    assert (window(limiter).in_flight, window(limiter).used) == (in_flight, used)


async def test_a_cancelled_block_holds_what_may_still_arrive(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(5, arrives_within_ns=3 * SECOND)

    async def request() -> None:
        async with limiter.permit() as permit:
            permit.sent()
            await clock.sleep_until_ns(100 * SECOND)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request)
        await clock.settle()
        tasks.cancel_scope.cancel()
    assert window(limiter).in_flight == 1
    await clock.advance_ns(3 * SECOND)
    assert (window(limiter).in_flight, window(limiter).used) == (0, 1)


# The seed's API


def test_the_seed_s_calls_see_the_same_counts_as_permits(make: MakeLimiter) -> None:
    limiter = make(10)
    for _ in range(5):
        assert send(limiter)
        limiter.record_request()
    assert limiter.is_rate_limited()
    assert limiter.try_acquire() is None
    assert window(limiter).used == 10


@pytest.mark.parametrize(("used", "approaching"), [(0, False), (7, False), (8, True), (10, True)])
def test_80_percent_of_any_window_approaches_the_limit(make: MakeLimiter, used: int, approaching: bool) -> None:
    limiter = make(100, 10)
    for _ in range(used):
        limiter.record_request()
    assert limiter.is_approaching_limit() is approaching
    assert limiter.get_analytics()["approaching_limit"] is approaching


async def test_what_is_recorded_above_the_limit_is_counted_too(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(10)
    for _ in range(1000):
        limiter.is_rate_limited()
        limiter.record_request()
        await clock.advance_ns(MILLISECOND)
    assert limiter.get_analytics()["requests_total"] == 1000
    assert window(limiter).used == 10
    assert limiter.time_to_available_ns() == stretch(SECOND) - 10 * MILLISECOND


def test_status_and_analytics_are_plain_json_with_every_window(make: MakeLimiter) -> None:
    limiter = make(10, 200, name="fyers")
    limiter.record_request()
    permit = limiter.try_acquire()
    assert permit is not None
    status = json.loads(json.dumps(limiter.get_status()))
    assert status["name"] == "fyers"
    assert status["windows"]["all 10/s"] == {
        "limit": 10,
        "used": 1,
        "in_flight": 1,
        "free": 8,
        "usage_percentage": 20.0,
        "next_free_ms": 0.0,
        "all_free_ms": 1000.200001,
    }
    analytics = json.loads(json.dumps(limiter.get_analytics()))
    assert analytics["usage_percentage"] == {"all 10/s": 20.0, "all 200/min": 1.0}
    assert analytics["requests_total"] == 2
    assert analytics["refusals"] == 0
    assert set(analytics["forecast"]) == {"all 10/s", "all 200/min"}


# How it stands


async def test_headroom_tells_used_in_flight_and_free_apart(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(4)
    assert send(limiter)
    await clock.advance_ns(100 * MILLISECOND)
    assert send(limiter)
    permit = limiter.try_acquire()
    now = window(limiter)
    assert (now.used, now.in_flight, now.free, now.next_free_in_ns, now.soft) == (2, 1, 1, 0, False)
    assert now.all_free_in_ns == stretch(SECOND)
    limiter.try_acquire()
    full = window(limiter)
    assert (full.free, full.soft, full.next_free_in_ns) == (0, True, stretch(SECOND) - 100 * MILLISECOND)
    assert permit is not None


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, SECOND // 2, SECOND - 1, SECOND, stretch(SECOND)]),
        st.sampled_from(["take", "take", "end", "back", "lost", "record"]),
        st.sampled_from(["orders", "reads"]),
        st.integers(1, 3),
    ),
    max_size=20,
)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "shared"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one place for the file of every example
@given(steps=STEPS)
def test_reading_adds_up_agrees_with_taking_and_changes_nothing(
    shared: bool, tmp_path: Path, steps: list[tuple[int, str, str, int]]
) -> None:
    (tmp_path / "ring").unlink(missing_ok=True)
    backend = SharedMemoryBackend(tmp_path / "ring") if shared else MemoryBackend()
    clock = VirtualClock()
    budgets = (Budget("all", (Rate(10, SECOND), Rate(20, MINUTE), Rate(30, DAY))), FYERS[1])
    limiter = EnhancedRateLimiter(budgets=budgets, clock=clock, backend=backend)
    permits = []
    for gap_ns, step, category, cost in steps:
        clock._now_ns += gap_ns
        if step == "take":
            wait_ns = limiter.time_to_available_ns(category, cost)
            permit = limiter.try_acquire(category, cost)
            assert (wait_ns == 0) == (permit is not None)
            if permit is not None:
                permit.sent()
                permits.append(permit)
        elif step == "record":
            limiter.record_request(category)
        elif permits:
            permit = permits.pop(0)
            if step == "end":
                permit.done()
            elif step == "back":
                permit.give_back()
            else:
                permit.unanswered(SECOND)
        headroom = limiter.headroom()
        for one in headroom:
            assert one.used + one.in_flight + one.free == one.rate.permits
            assert min(one.used, one.in_flight, one.free, one.next_free_in_ns, one.all_free_in_ns) >= 0
            assert (one.next_free_in_ns == 0) == (one.free > 0)
    headroom = limiter.headroom()
    assert [limiter.get_status(), limiter.get_analytics(), limiter.forecast(), limiter.save_state(), limiter.in_flight]
    assert limiter.headroom() == headroom
    limiter.close()


# The cap


def test_a_cap_leaves_its_share_of_every_limit_and_at_least_one(make: MakeLimiter) -> None:
    limiter = make(10, 200)
    assert limiter.cap == 1.0
    limiter.set_cap(0.25)
    assert [one.rate.permits for one in limiter.headroom()] == [2, 50]
    assert [send(limiter) for _ in range(3)] == [True, True, False]
    limiter.set_cap(0.01)
    assert [one.rate.permits for one in limiter.headroom()] == [1, 2]
    with pytest.raises(CostTooHigh, match="under the cap of 1%"):
        limiter.try_acquire("orders", 2)
    limiter.set_cap(1)
    assert sum(send(limiter) for _ in range(20)) == 8


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan, True, "0.5"])
def test_a_cap_that_is_no_share_is_refused(make: MakeLimiter, share: Any) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        make(10).set_cap(share)
