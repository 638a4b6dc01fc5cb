"""Waiting for a permit: stories on the virtual clock, on every backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY, MILLISECOND, MINUTE, SECOND, VirtualClock
from core.errors import CostTooHigh, PermitTimeout, QueueFull
from core.limiter import EnhancedRateLimiter, stretch
from core.limiter.room import GRANTS_AT_ONCE
from core.models import Budget, Category, Priority, Rate

MakeLimiter = Callable[..., EnhancedRateLimiter]
STRETCHED = stretch(SECOND)
FYERS = (
    Budget("all", (Rate(3, SECOND),)),
    Budget("orders", (Rate(2, SECOND),), frozenset({Category.ORDERS})),
)
UPSTOX = (
    Budget("orders", (Rate(1, SECOND),), frozenset({Category.ORDERS})),
    Budget("reads", (Rate(1, SECOND),), frozenset({Category.READS})),
)


class Story:
    """Callers that wait, send and are answered at once; what left, and when."""

    def __init__(self, limiter: EnhancedRateLimiter, clock: VirtualClock) -> None:
        self.limiter = limiter
        self.clock = clock
        self.left: list[tuple[str, int]] = []
        self.failed: list[tuple[str, int, str]] = []

    async def send(
        self,
        name: str,
        category: str = Category.ORDERS,
        priority: Priority = Priority.PLACE,
        cost: int = 1,
        deadline_ns: int | None = None,
        answer_in_ns: int = 0,
    ) -> None:
        try:
            permit = await self.limiter.acquire(category, cost, priority, deadline_ns)
        except (PermitTimeout, QueueFull, CostTooHigh) as error:
            self.failed.append((name, self.clock.now_ns(), type(error).__name__))
            return
        permit.sent()
        self.left.append((name, self.clock.now_ns()))
        if answer_in_ns:
            await self.clock.sleep_until_ns(self.clock.now_ns() + answer_in_ns)
        permit.done()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.left]


async def test_orders_leave_in_the_order_they_came_each_at_its_first_free_instant(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    story = Story(make(1), clock)
    async with anyio.create_task_group() as tasks:
        for name in ("first", "early", "late"):
            tasks.start_soon(story.send, name)
            await clock.advance_ns(SECOND // 3)
        await clock.advance_ns(2 * SECOND)
    assert story.left == [("first", 0), ("early", STRETCHED), ("late", 2 * STRETCHED)]


async def test_cancel_goes_before_modify_before_place_before_reads(make: MakeLimiter, clock: VirtualClock) -> None:
    story = Story(make(1), clock)
    async with anyio.create_task_group() as tasks:
        for name, category, priority in (
            ("holder", "orders", Priority.PLACE),
            ("read", "reads", Priority.READ),
            ("place", "orders", Priority.PLACE),
            ("modify", "orders", Priority.MODIFY),
            ("place 2", "orders", Priority.PLACE),
            ("cancel", "orders", Priority.CANCEL),
        ):
            tasks.start_soon(story.send, name, category, priority)
            await clock.settle()
        await clock.advance_ns(6 * SECOND)
    assert story.names == ["holder", "cancel", "modify", "place", "place 2", "read"]


async def test_a_newcomer_does_not_go_past_those_who_wait(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(2)
    story = Story(limiter, clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(story.send, "holder")
        tasks.start_soon(story.send, "wants two", "orders", Priority.PLACE, 2)
        await clock.settle()
        assert limiter.try_acquire() is None
        assert limiter.time_to_available_ns() > 0
        tasks.start_soon(story.send, "wants one")
        await clock.advance_ns(3 * SECOND)
    assert story.names == ["holder", "wants two", "wants one"]


async def test_a_read_that_costs_much_is_not_starved_by_orders_that_cost_little(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    story = Story(make(4), clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(story.send, "holder")
        tasks.start_soon(story.send, "read", "reads", Priority.READ, 4)
        for number in range(200):
            tasks.start_soon(story.send, f"order {number}")
        await clock.advance_ns(30 * SECOND)
        tasks.cancel_scope.cancel()
    assert "read" in story.names
    assert story.names.index("read") <= 14


async def test_a_budget_that_is_full_holds_up_only_those_it_counts(make: MakeLimiter, clock: VirtualClock) -> None:
    story = Story(make(budgets=UPSTOX), clock)
    async with anyio.create_task_group() as tasks:
        for name in ("order 1", "order 2"):
            tasks.start_soon(story.send, name)
        await clock.settle()
        tasks.start_soon(story.send, "read", "reads", Priority.READ)
        await clock.settle()
        assert story.left == [("order 1", 0), ("read", 0)]
        await clock.advance_ns(2 * SECOND)
    assert story.names == ["order 1", "read", "order 2"]


async def test_a_read_uses_the_shared_room_that_orders_may_not_use(make: MakeLimiter, clock: VirtualClock) -> None:
    story = Story(make(budgets=FYERS), clock)
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(story.send, f"order {number}")
        tasks.start_soon(story.send, "read", "reads", Priority.READ)
        await clock.settle()
        assert story.names == ["order 0", "order 1", "read"]
        await clock.advance_ns(2 * SECOND)
    assert sorted(story.names[3:]) == ["order 2", "order 3"]


async def test_a_waiter_for_an_answer_is_served_one_window_after_it(make: MakeLimiter, clock: VirtualClock) -> None:
    story = Story(make(1), clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: story.send("slow", answer_in_ns=700 * MILLISECOND))
        await clock.settle()
        tasks.start_soon(story.send, "next")
        await clock.advance_ns(3 * SECOND)
    assert story.left == [("slow", 0), ("next", 700 * MILLISECOND + STRETCHED)]


async def test_a_permit_that_is_given_back_goes_to_the_next_at_once(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(1)
    story = Story(limiter, clock)
    permit = limiter.try_acquire()
    assert permit is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(story.send, "next")
        await clock.advance_ns(10 * MILLISECOND)
        permit.give_back()
        await clock.settle()
        assert story.left == [("next", 10 * MILLISECOND)]


async def test_a_waiter_is_served_when_what_was_never_answered_can_no_longer_count(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(1)
    story = Story(limiter, clock)
    permit = limiter.try_acquire()
    assert permit is not None
    permit.sent()
    permit.unanswered(2 * SECOND)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(story.send, "next")
        await clock.advance_ns(4 * SECOND)
    assert story.left == [("next", 2 * SECOND + STRETCHED)]


# Deadlines


async def test_a_deadline_that_has_passed_is_refused_though_a_permit_is_free(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(1)
    await clock.advance_ns(SECOND)
    with pytest.raises(PermitTimeout):
        await limiter.acquire(deadline_ns=SECOND - 1)
    assert (await limiter.acquire(deadline_ns=SECOND)).open


@pytest.mark.parametrize(("deadline_ns", "granted"), [(STRETCHED - 1, False), (STRETCHED, True)])
async def test_a_hopeless_deadline_fails_at_once_and_says_when_the_next_permit_is_free(
    make: MakeLimiter, clock: VirtualClock, deadline_ns: int, granted: bool
) -> None:
    limiter = make(1, name="fyers")
    story = Story(limiter, clock)
    await story.send("first")
    if not granted:
        with pytest.raises(
            PermitTimeout, match=r"fyers: no permit for orders within 1000 ms.*free in 1000 ms"
        ) as caught:
            await limiter.acquire(deadline_ns=deadline_ns)
        assert caught.value.free_in_ns == STRETCHED
        assert clock.now_ns() == 0
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: story.send("second", deadline_ns=deadline_ns))
        await clock.advance_ns(2 * SECOND)
    assert story.left[-1] == ("second", STRETCHED)


async def test_a_deadline_that_those_ahead_fill_is_hopeless_at_once(make: MakeLimiter, clock: VirtualClock) -> None:
    story = Story(make(2), clock)
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(story.send, str(number))
        await clock.settle()
        tasks.start_soon(lambda: story.send("in time", deadline_ns=2 * STRETCHED))
        tasks.start_soon(lambda: story.send("too late", deadline_ns=2 * STRETCHED))
        await clock.settle()
        assert story.failed == [("too late", 0, "PermitTimeout")]
        await clock.advance_ns(4 * SECOND)
    assert story.left[-1] == ("in time", 2 * STRETCHED)


async def test_a_deadline_that_nobody_could_foresee_ends_the_wait_when_it_passes(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    story = Story(make(1), clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: story.send("slow", answer_in_ns=5 * SECOND))
        await clock.settle()
        tasks.start_soon(lambda: story.send("hopes", deadline_ns=3 * SECOND))
        await clock.advance_ns(10 * SECOND)
    assert [(name, kind) for name, _, kind in story.failed] == [("hopes", "PermitTimeout")]
    assert story.failed[0][1] <= 3 * SECOND + 1


async def test_a_gate_that_closes_fails_at_once_whoever_it_makes_too_late(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(1)
    story = Story(limiter, clock)
    await story.send("first")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: story.send("impatient", deadline_ns=2 * SECOND))
        tasks.start_soon(story.send, "patient")
        await clock.advance_ns(100 * MILLISECOND)
        limiter.close_for_ns(MINUTE)
        await clock.settle()
        assert story.failed == [("impatient", 100 * MILLISECOND, "PermitTimeout")]
        await clock.advance_ns(2 * MINUTE)
    assert story.left[-1] == ("patient", MINUTE + 100 * MILLISECOND)


async def test_a_cap_that_makes_a_waiter_impossible_fails_it_and_lifting_one_serves_at_once(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(4)
    story = Story(limiter, clock)
    limiter.set_cap(0.5)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(story.send, str(number))
        await clock.settle()
        assert story.names == ["0", "1"]
        limiter.set_cap(1.0)
        await clock.settle()
        assert story.names == ["0", "1", "2"]
        tasks.start_soon(lambda: story.send("three", cost=3))
        await clock.settle()
        limiter.set_cap(0.5)
        await clock.settle()
    assert story.failed == [("three", 0, "CostTooHigh")]
    assert limiter.waiting == 0


# Leaving


async def test_a_cancelled_waiter_takes_nothing_and_delays_nobody(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(1)
    story = Story(limiter, clock)
    await story.send("first")
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(story.send, "leaves")
            await clock.settle()
            tasks.start_soon(story.send, "stays")
            await clock.settle()
            assert limiter.waiting == 2
            leaving.cancel_scope.cancel()
        assert limiter.waiting == 1
        await clock.advance_ns(STRETCHED)
    assert story.left == [("first", 0), ("stays", STRETCHED)]


async def test_a_waiter_cancelled_in_the_instant_of_its_grant_gives_the_permit_back(
    make: MakeLimiter, clock: VirtualClock
) -> None:
    limiter = make(1)
    story = Story(limiter, clock)
    permit = limiter.try_acquire()
    assert permit is not None
    async with anyio.create_task_group() as tasks:
        leaving = asyncio.create_task(story.send("leaves"))
        await clock.settle()
        tasks.start_soon(story.send, "stays")
        await clock.settle()
        permit.give_back()  # granted to "leaves", which has not run yet
        leaving.cancel()
        await clock.settle()
    assert leaving.cancelled()
    assert story.left == [("stays", 0)]
    assert limiter.in_flight == 0


async def test_a_waiter_cancelled_just_before_its_grant_takes_nothing(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(1)
    story = Story(limiter, clock)
    permit = limiter.try_acquire()
    assert permit is not None
    async with anyio.create_task_group() as tasks:
        leaving = asyncio.create_task(story.send("leaves"))
        await clock.settle()
        tasks.start_soon(story.send, "stays")
        await clock.settle()
        leaving.cancel()
        permit.give_back()  # "leaves" is still in the line
        await clock.settle()
    assert leaving.cancelled()
    assert story.left == [("stays", 0)]
    assert limiter.in_flight == limiter.waiting == 0


async def test_a_full_queue_refuses_with_a_clear_error(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(1, max_waiters=2, name="upstox")
    story = Story(limiter, clock)
    await story.send("first")
    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(story.send, str(number))
        await clock.settle()
        with pytest.raises(QueueFull, match="upstox: 2 callers wait already"):
            await limiter.acquire()
        tasks.cancel_scope.cancel()
    assert limiter.waiting == 0


async def test_one_timer_serves_everyone_and_none_is_left_behind(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(5)
    story = Story(limiter, clock)
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(story.send, str(number))
        await clock.settle()
        assert limiter.waiting == 95
        assert len([sleeper for sleeper in clock._sleepers if not sleeper[2].done()]) == 1
        await clock.advance_ns(19 * STRETCHED)
    assert story.names == [str(number) for number in range(100)]
    assert [at_ns for _, at_ns in story.left] == [number // 5 * STRETCHED for number in range(100)]
    assert not [sleeper for sleeper in clock._sleepers if not sleeper[2].done()]


async def test_the_first_of_a_crowd_goes_before_the_last_has_its_permit(make: MakeLimiter, clock: VirtualClock) -> None:
    limiter = make(100)
    limiter.close_for_ns(SECOND)
    left: list[tuple[int, int, int]] = []

    async def send(number: int) -> None:
        with await limiter.acquire() as permit:
            permit.sent()
            left.append((number, limiter.waiting, clock.now_ns()))

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(send, number)
        await clock.advance_ns(SECOND)
    assert [number for number, _, _ in left] == list(range(100))
    assert left[0][1] == 100 - GRANTS_AT_ONCE
    assert {at_ns for _, _, at_ns in left} == {SECOND}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, SECOND // 2, SECOND, STRETCHED]),
            st.sampled_from(list(Priority)),
            st.integers(1, 2),
            st.sampled_from([None, 0, SECOND, 3 * SECOND]),
            st.sampled_from([0, 20 * MILLISECOND, 2 * SECOND]),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_every_waiter_is_served_or_told_and_no_window_ever_holds_more_than_its_limit(
    plans: list[tuple[int, Priority, int, int | None, int, bool]],
) -> None:
    clock = VirtualClock()
    limiter = EnhancedRateLimiter(budgets=FYERS, clock=clock)
    arrivals: list[tuple[int, int, str]] = []
    ended = 0

    async def request(priority: Priority, cost: int, within_ns: int | None, answer_ns: int) -> None:
        nonlocal ended
        category = Category.READS if priority == Priority.READ else Category.ORDERS
        deadline_ns = None if within_ns is None else clock.now_ns() + within_ns
        try:
            async with limiter.permit(category, cost, priority, deadline_ns) as permit:
                assert deadline_ns is None or clock.now_ns() <= deadline_ns
                permit.sent()
                arrivals.append((clock.now_ns(), cost, category))
                await clock.sleep_until_ns(clock.now_ns() + answer_ns)
                permit.done()
        except PermitTimeout:
            pass
        finally:
            ended += 1

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for gap_ns, priority, cost, within_ns, answer_ns, cancelled in plans:
                if gap_ns:
                    await clock.sleep_until_ns(clock.now_ns() + gap_ns)
                if cancelled:
                    with anyio.CancelScope() as scope:
                        clock.call_at_ns(clock.now_ns() + SECOND // 4, scope.cancel)
                        await request(priority, cost, within_ns, answer_ns)
                else:
                    tasks.start_soon(request, priority, cost, within_ns, answer_ns)

    clock.run(main)
    assert ended == len(plans)
    assert limiter.waiting == 0
    for at_ns, _, _ in arrivals:
        inside = [(cost, kind) for t, cost, kind in arrivals if at_ns - SECOND <= t <= at_ns]
        assert sum(cost for cost, _ in inside) <= 3
        assert sum(cost for cost, kind in inside if kind == Category.ORDERS) <= 2


async def test_a_wait_of_a_day_is_one_timer_not_many(make: MakeLimiter, clock: VirtualClock) -> None:
    story = Story(make(None, None, None, 1), clock)
    async with anyio.create_task_group() as tasks:
        for name in ("today", "tomorrow"):
            tasks.start_soon(story.send, name)
        await clock.advance_ns(stretch(DAY) - 1)
        assert story.names == ["today"]
        await clock.advance_ns(1)
    assert story.left == [("today", 0), ("tomorrow", stretch(DAY))]
