"""Cancels and changes, the kill switch, and news that cross them."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from core.brokers.mock import MockTradingAPI
from core.clock import MILLISECOND, SECOND, VirtualClock
from core.engine import EngineSettings, GuardSettings
from core.errors import EngineHalted, IllegalStep, OrderDenied, RateLimited, StoreFull, UnknownOrder
from core.models import Order, OrderStatus
from core.store import Entry, Journal, Lifted
from tests.engine.bench import Opener, limit, story

S = OrderStatus


@story
async def test_a_cancel_is_known_when_it_returns(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        outcome = await bench.engine.cancel_order("one")
        assert outcome.status is S.CANCELLED
        assert bench.steps("one") == ["ACCEPTED", "CANCEL_REQUESTED", "CANCELLED"]
        assert (await bench.engine.cancel_order("one")).status is S.CANCELLED
        with pytest.raises(UnknownOrder):
            await bench.engine.cancel_order("nobody")


@story
async def test_a_fill_that_crosses_a_cancel_is_counted(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as bench:
        await bench.engine.place_order(Order(symbol="NSE:SBIN-EQ", quantity=5000, client_order_id="one"))
        await bench.wait(20 * MILLISECOND)
        outcome = await bench.engine.cancel_order("one")
        ((_, status, filled),) = bench.at_brokers()
        assert (outcome.status.value, outcome.filled_quantity) == (status, filled)


@pytest.mark.parametrize("kind", ["reset_after_accept", "reset_before_read", "down", "storm_429"])
@story
async def test_a_cancel_that_got_lost_is_sent_again_only_after_the_book_shows_the_order_resting(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], kind: str
) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        for api in brokers.values():
            api.set_fault(kind, 1, operations=["cancel_order"])
        await bench.engine.cancel_order("one", deadline_ns=clock.now_ns() + SECOND)
        await bench.wait(60 * SECOND)
        assert (await bench.engine.order("one")).status is S.CANCELLED


@story
async def test_an_order_that_cannot_be_cancelled_is_shouted_about_and_left(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        for api in brokers.values():
            api.set_fault("maintenance", 1.0, operations=["cancel_order"])
        outcome = await bench.engine.cancel_order("one", deadline_ns=clock.now_ns() + SECOND)
        assert outcome.status is S.ACCEPTED
        assert "maintenance" in outcome.message
        await bench.wait(120 * SECOND)
        assert len(bench.incidents("cannot_cancel")) == 1


@story
async def test_a_cancel_of_a_waiting_order_keeps_it_from_leaving(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        for name in brokers:
            full = RateLimited(f"{name}: full", provider=name, status=429, retry_in_ns=5 * SECOND)
            bench.manager.limiter(name).refused(full)
        placing = asyncio.create_task(bench.engine.place_order(limit(client_order_id="one")))
        await bench.wait(100 * MILLISECOND)
        assert (await bench.engine.cancel_order("one")).status is S.DENIED
        assert (await placing).status is S.DENIED
        assert clock.now_ns() < SECOND
        assert bench.at_brokers() == []


@story
async def test_a_cancel_of_a_lost_order_lands_when_it_is_found(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        api.set_fault("hang", 1.0, operations=["place_order"])
    async with opened() as bench:
        placing = asyncio.create_task(bench.engine.place_order(limit(client_order_id="one")))
        await bench.wait(500 * MILLISECOND)
        assert (await bench.engine.cancel_order("one")).status is S.CANCELLED
        await placing
        assert [status for _, status, _ in bench.at_brokers()] == ["CANCELLED"]


# -- changes ----------------------------------------------------------------------------------------------------------


@story
async def test_a_change_is_journaled_sent_and_in_force(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        outcome = await bench.engine.modify_order("one", quantity=7, price=Decimal("781.5"))
        assert outcome.status is S.ACCEPTED
        assert bench.steps("one") == ["ACCEPTED", "MODIFY_REQUESTED", "ACCEPTED"]
        (row,) = [row for api in brokers.values() for row in api.books()]
        assert (row.quantity, row.price) == (7, Decimal("781.5"))
        (shown,) = bench.engine.recent_orders()
        assert (shown.quantity, shown.price) == (7, Decimal("781.5"))


@pytest.mark.parametrize(("kind", "quantity"), [("reset_after_accept", 7), ("reset_before_read", 10)])
@story
async def test_a_change_without_an_answer_is_read_from_the_book(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], kind: str, quantity: int
) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        for api in brokers.values():
            api.set_fault(kind, 1, operations=["modify_order"])
        await bench.engine.modify_order("one", quantity=7)
        await bench.wait(30 * SECOND)
        assert (await bench.engine.order("one")).status is S.ACCEPTED
        assert bench.engine.recent_orders()[0].quantity == quantity
        assert len(bench.incidents("change_lost")) == (quantity == 10)


@story
async def test_a_refused_change_leaves_the_order_resting_as_it_was(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        outcome = await bench.engine.modify_order("one", price=Decimal("780.013"))
        assert outcome.status is S.ACCEPTED
        assert outcome.message
        assert bench.engine.recent_orders()[0].price == Decimal(780)


@story
async def test_only_a_resting_order_can_be_changed_and_the_guards_hold_for_it_too(
    clock: VirtualClock, opened: Opener
) -> None:
    async with opened(guards=GuardSettings(quantity_max=10, orders_per_second=None)) as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        with pytest.raises(OrderDenied, match="quantity_max: quantity 11 is above 10"):
            await bench.engine.modify_order("one", quantity=11)
        with pytest.raises(ValueError, match="quantity"):
            await bench.engine.modify_order("one", quantity=0)
        await bench.engine.cancel_order("one")
        with pytest.raises(IllegalStep, match="CANCELLED"):
            await bench.engine.modify_order("one", quantity=9)


@story
async def test_an_order_that_is_at_no_broker_yet_is_not_changed_and_no_broker_is_asked_for_a_permit(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        for name in brokers:
            full = RateLimited(f"{name}: full", provider=name, status=429, retry_in_ns=3 * SECOND)
            bench.manager.limiter(name).refused(full)
        placing = asyncio.create_task(bench.engine.place_order(limit(client_order_id="one")))
        await asyncio.sleep(0)
        began_ns = clock.now_ns()
        with pytest.raises(IllegalStep, match="one is NEW; only a resting order"):
            await bench.engine.modify_order("one", quantity=9)
        assert clock.now_ns() == began_ns
        assert (await placing).status is OrderStatus.ACCEPTED


# -- the kill switch --------------------------------------------------------------------------------------------------


@story
async def test_a_halt_cancels_what_rests_denies_what_waits_and_refuses_what_comes(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        for name in "abcdef":
            await bench.engine.place_order(limit(client_order_id=name))
        for name in brokers:
            full = RateLimited(f"{name}: full", provider=name, status=429, retry_in_ns=3 * SECOND)
            bench.manager.limiter(name).refused(full)
        waiting = asyncio.create_task(bench.engine.place_order(limit(client_order_id="late")))
        await bench.wait(100 * MILLISECOND)
        assert await bench.engine.halt("fat finger") == ()
        assert (await waiting).status is S.DENIED
        assert "fat finger" in (await waiting).message
        assert {status for _, status, _ in bench.at_brokers()} == {"CANCELLED"}
        assert bench.engine.halted == "fat finger"
        with pytest.raises(EngineHalted, match="fat finger"):
            await bench.engine.place_order(limit(client_order_id="new"))
        await bench.engine.lift("operator")
        assert (await bench.engine.place_order(limit(client_order_id="new"))).status is S.ACCEPTED


@story
async def test_a_halt_lists_what_could_not_be_cancelled(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened(settings=EngineSettings(deadline_ns=3 * SECOND)) as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        for api in brokers.values():
            api.set_fault("down", 1.0)
        left = await bench.engine.halt("storm")
        assert [outcome.order_id for outcome in left] == ["one"]
        assert "connection refused" in left[0].message


@story
async def test_a_halt_reaches_every_process_on_the_store_and_survives_a_restart(
    clock: VirtualClock, opened: Opener
) -> None:
    async with opened() as one, opened() as other:
        await other.engine.place_order(limit(client_order_id="before"))
        await one.engine.halt("from one")
        # At once, before any background look: the journal itself refuses the intent.
        with_other = await asyncio.gather(
            other.engine.place_order(limit(client_order_id="after")), return_exceptions=True
        )
        assert isinstance(with_other[0], EngineHalted) or with_other[0].status is S.DENIED
        await other.wait(2 * SECOND)
        assert other.engine.halted == "from one"
    async with opened() as later:
        assert later.engine.halted == "from one"
        await later.wait(20 * SECOND)
        assert later.engine.open_orders == 0
        assert {status for _, status, _ in later.at_brokers()} == {"CANCELLED"}
        with pytest.raises(ValueError, match="name"):
            await later.engine.lift(" ")
        await later.engine.lift("operator")
        assert (await later.engine.place_order(limit(client_order_id="new"))).status is S.ACCEPTED


@story
async def test_a_halt_that_is_thrown_while_a_lift_is_on_its_way_to_the_file_holds(
    clock: VirtualClock, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Journal.append

    async def slow(self: Journal, *entries: Entry, **options: Any) -> int:
        await clock.sleep_until_ns(clock.now_ns() + SECOND * (1 if isinstance(entries[0], Lifted) else 2))
        return await append(self, *entries, **options)

    async with opened() as bench:
        await bench.engine.halt("first")
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", slow)
            lifting = asyncio.create_task(bench.engine.lift("operator"))
            await bench.wait(SECOND // 2)
            halting = asyncio.create_task(bench.engine.halt("second"))
            await bench.wait(SECOND)  # the lift is in the file, the second halt is not yet
            assert lifting.done()
            assert not halting.done()
            assert await bench.store.journal.halted() == ""
            with pytest.raises(EngineHalted, match="second"):
                await bench.engine.place_order(limit(client_order_id="between"))
            await bench.wait(SECOND * 2)
            await halting
        assert await bench.store.journal.halted() == bench.engine.halted == "second"
        await bench.engine.lift("operator")
        assert (await bench.engine.place_order(limit(client_order_id="between"))).status is S.ACCEPTED


@story
async def test_a_halt_holds_here_while_the_file_cannot_be_told_until_it_is_lifted(
    clock: VirtualClock, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: Journal, *entries: Entry, **_: object) -> int:
        raise StoreFull("no room left")

    async with opened() as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", full)
            with pytest.raises(StoreFull):
                await bench.engine.halt("fat finger")
        await bench.wait(10 * SECOND)  # the background looks at the file, which knows of no halt
        assert bench.engine.halted == "fat finger"
        # The cancel went out all the same, and the book has told of it since.
        assert (await bench.engine.order("one")).status is S.CANCELLED
        await bench.engine.lift("operator")
        await bench.wait(SECOND)
        assert bench.engine.halted == ""
