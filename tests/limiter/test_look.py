"""What a router asks of a limiter in one go is what the single questions answer."""

from __future__ import annotations

import random

import anyio
from hypothesis import given
from hypothesis import strategies as st

from core.clock import MILLISECOND, MINUTE, SECOND, VirtualClock
from core.limiter import EnhancedRateLimiter, Permit, stretch
from core.models import Budget, Category, Priority, Rate

SMALL = (
    Budget("all", (Rate(3, SECOND), Rate(9, MINUTE))),
    Budget("orders", (Rate(2, SECOND),), frozenset({Category.ORDERS})),
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["orders", "reads"]),
        st.integers(1, 2),
        st.sampled_from(["answer", "leave", "nothing", "close"]),
        st.sampled_from([0, MILLISECOND, SECOND // 3, SECOND, stretch(SECOND), 20 * SECOND]),
    ),
    max_size=30,
)


@given(steps)
def test_one_look_says_what_every_single_question_would(story: list[tuple[str, int, str, int]]) -> None:
    clock = VirtualClock()
    limiter = EnhancedRateLimiter(budgets=SMALL, clock=clock)
    for category, cost, then, gap_ns in story:
        look = limiter.look(category, cost)
        assert look.wait_ns == limiter.time_to_available_ns(category, cost)
        assert look.queued == limiter.waiting
        assert look.in_flight == limiter.in_flight
        assert look.limited == (limiter.limited_for_ns > 0)
        headroom = limiter.headroom(category, forecasts=False)
        assert look.rooms == tuple((one.free, one.rate.permits, one.rate.window_ns) for one in headroom)
        whole = limiter.headroom(forecasts=False)
        assert limiter.rooms() == tuple((one.free, one.rate.permits, one.rate.window_ns) for one in whole)
        if then == "close":
            limiter.close_for_ns(SECOND // 2)
        permit = limiter.try_acquire(category, cost)
        assert (permit is not None) == (look.wait_ns == 0 and then != "close")
        if permit is not None:
            permit.sent()
            if then == "answer":
                permit.done()
            elif then == "leave":
                permit.unanswered(SECOND)
        clock._now_ns += gap_ns


def test_what_a_look_remembers_of_a_window_is_what_counting_anew_finds() -> None:
    """Told again and again, or for the first time: the same, whatever was taken, recorded, filled or capped since."""
    clock, rng = VirtualClock(), random.Random(7)
    limiter = EnhancedRateLimiter(budgets=SMALL, clock=clock)
    sent: list[Permit] = []
    for _ in range(5000):
        clock._now_ns += rng.choice([0, 0, 1, MILLISECOND, SECOND // 3, stretch(SECOND) - 1, SECOND, 20 * SECOND])
        match rng.randrange(9):
            case 0:
                limiter.record_request(rng.choice(["orders", "reads"]))
            case 1:
                limiter.set_cap(rng.choice([0.3, 0.7, 1.0]))
            case 2:
                limiter.load_state(limiter.save_state(next_within_ns=0), epoch_now_ns=clock.epoch_ns())
            case 3 | 4 if sent:
                rng.choice([Permit.done, Permit.give_back, lambda permit: permit.unanswered(SECOND)])(sent.pop(0))
            case _:
                permit = limiter.try_acquire(rng.choice(["orders", "reads"]))
                if permit is not None:
                    permit.sent()
                    sent.append(permit)
        remembered = limiter.look("orders").rooms, limiter.look("reads").rooms, limiter.rooms()
        for windows in limiter._backend.windows:
            windows.begin_tallies()
        assert remembered == (limiter.look("orders").rooms, limiter.look("reads").rooms, limiter.rooms())


async def test_a_look_counts_those_who_wait(clock: VirtualClock) -> None:
    limiter = EnhancedRateLimiter(requests_per_second=1, clock=clock)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(limiter.acquire)
        await clock.settle()
        look = limiter.look()
        assert look.queued == 2
        assert look.wait_ns == limiter.time_to_available_ns() > 0
        tasks.cancel_scope.cancel()


async def test_who_goes_first_does_not_wait_for_those_behind_him(clock: VirtualClock) -> None:
    limiter = EnhancedRateLimiter(budgets=SMALL, clock=clock)
    async with anyio.create_task_group() as tasks:
        for _ in range(9):
            tasks.start_soon(limiter.acquire, "reads")
        await clock.settle()
        read, order = limiter.look("reads"), limiter.look("orders", priority=Priority.PLACE)
        assert read.queued == 6
        assert order.queued == 0
        assert order.wait_ns < read.wait_ns
        tasks.cancel_scope.cancel()
