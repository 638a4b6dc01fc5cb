"""A start looks up every order of the last run before it takes new ones; what is not ours is never touched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from core.brokers.mock import MockTradingAPI
from core.clock import DAY, MILLISECOND, SECOND, VirtualClock
from core.engine import EngineSettings
from core.errors import OrderRefused, RateLimited
from core.models import BrokerOrder, Order, OrderAck, OrderStatus
from core.store import Intent
from tests.engine.bench import Bench, Opener, limit, story

S = OrderStatus
MARKET = Order(symbol="NSE:SBIN-EQ", quantity=10, client_order_id="one")


async def leave_an_intent(bench: Bench, *, sent: bool) -> None:
    """What a process leaves that ends in the middle of a sending."""
    await bench.store.journal.claim(MARKET)
    await bench.store.journal.append(Intent(MARKET, "hcrashedcrashedcras", "upstox"))
    if sent:
        await bench.brokers["upstox"].place_order(MARKET, tag="hcrashedcrashedcras")


@pytest.mark.parametrize("sent", [True, False])
@story
async def test_an_intent_without_an_outcome_is_settled_before_new_orders_are_taken(
    clock: VirtualClock, opened: Opener, sent: bool
) -> None:
    async with opened(watching=False) as crashed:
        await leave_an_intent(crashed, sent=sent)
    async with opened(watching=False) as bench:
        new = await bench.engine.place_order(limit(client_order_id="new"))
        known = await bench.engine.order("one")
        assert known.status in ({S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED} if sent else {S.DENIED})
        assert new.status is S.ACCEPTED
        assert len(bench.at_brokers()) == 1 + sent


@story
async def test_a_claim_without_an_intent_was_never_sent(clock: VirtualClock, opened: Opener) -> None:
    async with opened(watching=False) as crashed:
        await crashed.store.journal.claim(MARKET)
    async with opened() as bench:
        assert (await bench.engine.order("one")).status is S.DENIED
        assert bench.at_brokers() == []


@story
async def test_fills_of_the_night_are_known_after_the_start(clock: VirtualClock, opened: Opener) -> None:
    async with opened(watching=False) as first:
        await first.engine.place_order(MARKET)
    await clock.sleep_until_ns(clock.now_ns() + 5 * SECOND)
    async with opened() as bench:
        assert (await bench.engine.order("one")).status is S.FILLED
        assert [row.order_id for row in bench.engine.recent_orders()] == ["one"]
    async with opened() as later:
        assert [row.status for row in later.engine.recent_orders()] == ["FILLED"]


@story
async def test_a_silent_broker_is_waited_for_and_then_quarantined(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened(watching=False) as crashed:
        await leave_an_intent(crashed, sent=True)
    brokers["upstox"].set_fault("down", 1.0)
    began_ns = clock.now_ns()
    async with opened(settings=EngineSettings(recovery_ns=10 * SECOND)) as bench:
        assert clock.now_ns() - began_ns >= 10 * SECOND
        assert (await bench.engine.order("one")).status is S.QUARANTINED
        assert len(bench.incidents("quarantined")) == 1
        brokers["upstox"].set_fault("down", 0)
        await bench.wait(60 * SECOND)
        assert (await bench.engine.order("one")).status is S.FILLED


@story
async def test_a_day_order_of_an_earlier_day_that_no_book_holds_has_expired(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as first:
        await first.engine.place_order(limit(client_order_id="one"))
    clock.jump_epoch_ns(DAY)
    for api in brokers.values():
        api.account.orders.clear()  # a broker's book is of the day
    async with opened() as bench:
        assert (await bench.engine.order("one")).status is S.EXPIRED
        assert len(bench.incidents("expired_unseen")) == 1


@story
async def test_an_order_that_vanishes_within_the_day_is_shouted_about(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        for api in brokers.values():
            api.account.orders.clear()
        await bench.wait(60 * SECOND)
        assert len(bench.incidents("vanished")) == 1
        assert (await bench.engine.order("one")).status is S.ACCEPTED


@story
async def test_foreign_orders_are_shown_once_and_never_touched(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        await api.place_order(limit(), tag="byhand")
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        await bench.engine.place_order(limit("781", client_order_id="two"))
        await bench.wait(30 * SECOND)
        told = len(bench.incidents("foreign_order"))
        assert told == len(bench.engine.foreign_orders) > 0
        await bench.engine.halt("check")
        rows = [row for api in brokers.values() for row in api.books()]
        assert {row.status for row in rows if row.tag == "byhand"} == {S.ACCEPTED}
        assert {row.status for row in rows if row.tag != "byhand"} == {S.CANCELLED}


@story
async def test_a_second_process_that_starts_takes_no_order_from_the_first_that_could_still_leave(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as first:
        for name in brokers:
            full = RateLimited(f"{name}: full", provider=name, status=429, retry_in_ns=3 * SECOND)
            first.manager.limiter(name).refused(full)
        placing = asyncio.create_task(first.engine.place_order(MARKET))
        await first.wait(100 * MILLISECOND)
        async with opened() as second:
            outcome = await placing
            known = await second.store.journal.order("one")
            assert known is not None
            assert outcome.status is known.status is S.DENIED
            assert second.at_brokers() == []


@story
async def test_a_broker_that_breaks_its_horizon_is_shouted_about(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened(watching=False) as crashed:
        await leave_an_intent(crashed, sent=False)
    async with opened() as bench:
        assert (await bench.engine.order("one")).status is S.DENIED
        await brokers["upstox"].place_order(MARKET, tag="hcrashedcrashedcras")
        for name in "abcd":
            await bench.engine.place_order(limit(client_order_id=name))
        await bench.wait(30 * SECOND)
        (told,) = bench.incidents("contradiction")
        assert told.message.startswith("one: ")
        assert (await bench.engine.order("one")).status is S.DENIED


@story
async def test_a_refused_attempt_that_is_live_after_all_is_shouted_about(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = MockTradingAPI.place_order
    lies: list[str] = []

    async def lying(self: MockTradingAPI, order: Order, *, tag: str) -> OrderAck:
        ack = await place(self, order, tag=tag)
        if not lies:
            lies.append(tag)
            message = "refused, it says"
            raise OrderRefused(message, elsewhere=True)
        return ack

    monkeypatch.setattr(MockTradingAPI, "place_order", lying)
    async with opened() as bench:
        for name in "abcd":
            await bench.engine.place_order(limit(client_order_id=name))
        await bench.wait(60 * SECOND)
        (told,) = bench.incidents("earlier_attempt_live")
        assert lies[0] in told.message


@story
async def test_news_of_an_order_that_ended_are_heard_however_often_its_row_said_the_same(
    clock: VirtualClock, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = MockTradingAPI.get_orders

    async def filled_after_all(self: MockTradingAPI) -> tuple[BrokerOrder, ...]:
        rows = await read(self)
        return tuple(
            replace(row, status=S.FILLED, filled_quantity=row.quantity, average_price=Decimal(780))
            if row.status is S.CANCELLED
            else row
            for row in rows
        )

    async with opened() as bench:
        assert (await bench.engine.place_order(limit(client_order_id="one"))).status is S.ACCEPTED
        assert (await bench.engine.cancel_order("one")).status is S.CANCELLED
        for name in "abcd":  # what rests makes the books be read
            await bench.engine.place_order(limit(client_order_id=name))
        await bench.wait(120 * SECOND)
        assert (await bench.engine.order("one")).status is S.CANCELLED
        monkeypatch.setattr(MockTradingAPI, "get_orders", filled_after_all)
        await bench.wait(30 * SECOND)
        ended = await bench.engine.order("one")
        assert (ended.status, ended.filled_quantity) == (S.FILLED, 10)


@story
async def test_a_bug_of_an_adapter_in_reading_ends_no_watch(
    clock: VirtualClock, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: MockTradingAPI) -> tuple[BrokerOrder, ...]:
        raise KeyError("orderBook")

    async with opened() as bench:
        await bench.engine.place_order(MARKET)
        with monkeypatch.context() as patch:
            patch.setattr(MockTradingAPI, "get_orders", broken)
            await bench.wait(60 * SECOND)
        assert "KeyError" in bench.incidents("adapter")[0].message
        await bench.wait(60 * SECOND)
        assert (await bench.engine.order("one")).status is S.FILLED


@story
async def test_a_cancel_from_another_process_proves_no_absence_before_the_horizon(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        api.set_fault("late", 1.0, operations=["place_order"])
    async with opened() as first, opened() as second:
        placing = asyncio.create_task(first.engine.place_order(limit(client_order_id="one")))
        await first.wait(1100 * MILLISECOND)
        assert (await second.engine.order("one")).status is S.UNKNOWN
        assert (await second.engine.cancel_order("one")).status is S.CANCELLED
        await placing
        await first.wait(20 * SECOND)
        assert [status for _, status, _ in first.at_brokers()] == ["CANCELLED"]
        assert (await first.engine.order("one")).status is S.CANCELLED
