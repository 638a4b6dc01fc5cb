"""Reads: one request for many who ask the same, asked elsewhere when nobody answers, each within his own deadline."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from core import (
    MockTradingAPI,
    MultiAPIManager,
    NoBrokerAvailable,
    OrderOutcomeUnknown,
    VirtualClock,
)
from core.brokers.base import ANSWER_IS_IN
from core.clock import MILLISECOND, SECOND
from core.models import BrokerOrder, RequestDone
from tests.pair import ORDER, alone, broker, pair


def test_identical_reads_in_flight_are_one_request() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    answers: list[object] = []

    async def read() -> None:
        answers.append(await manager.execute_with_fallback("get_positions"))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(read)

    clock.run(main)
    assert len(answers) == 50
    assert manager.counters.requests == 1


def test_who_trades_and_then_looks_sees_what_he_did() -> None:
    clock = VirtualClock()
    manager, _ = alone(clock)
    manager.set_read_cache("get_orders", 60)

    async def main() -> list[int]:
        seen = [len(await manager.execute_with_fallback("get_orders"))]
        await manager.execute_with_fallback("place_order", **ORDER)
        for _ in range(3):
            seen.append(len(await manager.execute_with_fallback("get_orders")))  # noqa: PERF401
        return seen

    assert clock.run(main) == [0, 1, 1, 1]
    assert manager.counters.reads == 2, "the last two were answered from memory"


def test_a_read_that_still_waits_for_its_permit_is_shared_by_who_traded_meanwhile_and_sees_it() -> None:
    clock = VirtualClock()
    manager = MultiAPIManager({}, clock=clock)
    manager.apis = {"fyers": broker("fyers", clock, per_second=1)}
    seen: list[int] = []

    async def look() -> None:
        seen.append(len(await manager.execute_with_fallback("get_orders")))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: manager.execute_with_fallback("place_order", **ORDER))
            await clock.sleep_until_ns(10 * MILLISECOND)
            tasks.start_soon(look)  # waits for its permit while the order ends
            await clock.sleep_until_ns(SECOND // 2)
            tasks.start_soon(look)

    clock.run(main)
    assert seen == [1, 1]
    assert manager.counters.reads == 1


def test_a_cancelled_leader_hands_the_question_on() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    answers: list[object] = []

    async def follow() -> None:
        answers.append(await manager.execute_with_fallback("get_positions"))

    async def main() -> None:
        leader = anyio.CancelScope()

        async def lead() -> None:
            with leader:
                await manager.execute_with_fallback("get_positions")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lead)
            await clock.sleep_until_ns(MILLISECOND)
            tasks.start_soon(follow)
            await clock.sleep_until_ns(2 * MILLISECOND)
            leader.cancel()

    clock.run(main)
    assert answers == [()]


def test_a_read_without_an_answer_is_asked_again_elsewhere() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    manager.drain("upstox")
    fyers = manager.apis["fyers"]
    assert isinstance(fyers, MockTradingAPI)
    fyers.set_fault("reset_after_accept", 1)

    async def main() -> object:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resume_soon)
            return await manager.execute_with_fallback("get_positions")

    async def resume_soon() -> None:
        manager.resume("upstox")

    assert clock.run(main) == ()
    assert [account.request_count for account in manager.apis.values() if isinstance(account, MockTradingAPI)] == [1, 1]


def test_reads_that_fail_everywhere_add_at_most_a_tenth_of_load() -> None:
    clock = VirtualClock()
    manager = pair(clock, per_second=1000)
    for api in manager.apis.values():
        assert isinstance(api, MockTradingAPI)
        api.set_fault("error_before_accept", 0.2)

    async def main() -> None:
        for number in range(400):
            with suppress(OrderOutcomeUnknown, NoBrokerAvailable):
                await manager.execute_with_fallback("get_market_data", symbols=["NSE:SBIN-EQ"])
            await clock.sleep_until_ns(number * SECOND // 10)

    clock.run(main)
    asked = 400
    sent = manager.counters.requests
    assert sent <= asked * 1.1 + 40 * 0.2 + 10


def test_a_read_that_hangs_is_given_up_at_its_deadline_not_at_the_brokers_timeout() -> None:
    clock = VirtualClock()
    manager, api = alone(clock)
    api.set_fault("hang", 1)

    async def main() -> None:
        with pytest.raises(OrderOutcomeUnknown, match="before its deadline"):
            await manager.execute_with_fallback("get_positions", deadline_ns=SECOND)

    clock.run(main)
    assert clock.now_ns() == pytest.approx(SECOND, rel=0.01)


def test_a_reads_latency_is_what_the_broker_took_not_what_the_reading_did() -> None:
    clock = VirtualClock()

    class LongBook(MockTradingAPI):
        async def get_orders(self) -> tuple[BrokerOrder, ...]:
            rows = await super().get_orders()
            ANSWER_IS_IN.get()()
            await clock.sleep_until_ns(clock.now_ns() + SECOND)
            return rows

    manager = MultiAPIManager({}, clock=clock)
    manager.apis = {"fyers": LongBook("fyers", broker("fyers", clock).config, 0.05, clock=clock, jitter=0.0)}
    news = manager.bus.subscribe(10)

    async def main() -> None:
        await manager.execute_with_fallback("get_orders")
        await manager.execute_with_fallback("get_positions")

    clock.run(main)
    took = [event.latency_ns for event in news.drain() if isinstance(event, RequestDone)]
    assert took == [50 * MILLISECOND, 50 * MILLISECOND]
    assert clock.now_ns() == SECOND + 100 * MILLISECOND
    (shown,) = manager.broker_snapshots()
    assert shown.latency.max_ns == 50 * MILLISECOND
    assert ANSWER_IS_IN.get(None) is None, "it was for that call alone"


def test_a_hung_read_that_others_wait_for_holds_nobody_past_his_own_deadline() -> None:
    clock = VirtualClock()
    manager, api = alone(clock)
    api.set_fault("hang", 1)
    ended_ns: list[int] = []

    async def read(deadline_ns: int) -> None:
        with suppress(OrderOutcomeUnknown):
            await manager.execute_with_fallback("get_positions", deadline_ns=deadline_ns)
        ended_ns.append(clock.now_ns())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for deadline_s in (2, 1, 3):
                tasks.start_soon(read, deadline_s * SECOND)
                await clock.sleep_until_ns(clock.now_ns() + MILLISECOND)

    clock.run(main)
    assert max(ended_ns) <= 3 * SECOND
    assert min(ended_ns) < SECOND, "the one with the shortest patience asked for himself, and was answered"
