"""One order: what the caller is told, what the brokers have, what the journal holds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
import pytest

from core.brokers.mock import MockTradingAPI
from core.clock import MILLISECOND, SECOND, VirtualClock
from core.engine import EngineSettings
from core.errors import OrderConflict, OrderRefused, StoreFull, UnknownOrder
from core.models import Order, OrderAck, OrderMoved, OrderStatus
from core.store import Intent, Step
from tests.engine.bench import Opener, limit, story

S = OrderStatus
MARKET = Order(symbol="NSE:SBIN-EQ", quantity=10, client_order_id="one")


@story
async def test_an_order_is_intended_sent_and_known_in_this_order(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET)
        assert outcome.status is S.ACCEPTED
        story = await bench.store.journal.story("one")
        assert [type(row.entry).__name__ for row in story] == ["Intent", "Step"]
        intent, step = story[0].entry, story[1].entry
        assert isinstance(intent, Intent)
        assert isinstance(step, Step)
        assert (intent.provider, intent.tag, intent.attempt) == (outcome.provider, outcome.tag, 1)
        assert (step.after, step.broker_order_id) == (S.ACCEPTED, outcome.broker_order_id)


@story
async def test_an_order_waits_for_the_disk_twice_and_once_more_where_it_waits_for_a_permit(
    clock: VirtualClock, opened: Opener
) -> None:
    async with opened(watching=False) as bench:
        await bench.engine.start()
        synced = bench.store.disk_syncs
        await bench.engine.place_order(MARKET)
        assert bench.store.disk_syncs == synced + 2  # intent, which takes the id; outcome
        await bench.wait(2 * SECOND)
        held = [bench.manager.limiter(name).try_acquire("orders", 50) for name in bench.brokers]
        assert None not in held
        synced = bench.store.disk_syncs
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bench.engine.place_order, replace(MARKET, client_order_id="two"))
            await bench.wait(100 * MILLISECOND)
            assert [type(row.entry).__name__ for row in await bench.store.journal.story("two")] == ["Claimed"]
            for permit in held:
                assert permit is not None
                permit.give_back()
        assert bench.store.disk_syncs == synced + 3


@pytest.mark.parametrize("seen", [True, False])
@story
async def test_an_id_that_another_run_used_leaves_its_permit_to_others(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], seen: bool
) -> None:
    async with opened() as bench:
        first = await bench.engine.place_order(MARKET)
        await bench.engine.cancel_order("one")
    async with opened(watching=False) as bench:
        await bench.engine.start()
        sent = sum(api.request_count for api in brokers.values())
        if seen:
            again = await bench.engine.place_order(MARKET)
            assert (again.status, again.tag) == (S.CANCELLED, first.tag)
        else:
            with pytest.raises(OrderConflict):
                await bench.engine.place_order(replace(MARKET, quantity=11))
        assert sum(api.request_count for api in brokers.values()) == sent
        assert all(bench.manager.limiter(name).in_flight == 0 for name in brokers)
        assert bench.engine.open_orders == 0


@story
async def test_a_market_order_is_followed_to_its_fills(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as bench:
        await bench.engine.place_order(MARKET)
        await bench.wait(10 * SECOND)
        outcome = await bench.engine.order("one")
        assert (outcome.status, outcome.filled_quantity) == (S.FILLED, 10)
        assert outcome.average_price > 0
        assert bench.engine.open_orders == 0
        (row,) = bench.engine.recent_orders()
        assert (row.status, row.filled_quantity, row.simulated) == ("FILLED", 10, True)


@story
async def test_one_read_of_the_book_serves_all_open_orders_and_pauses_grow_while_nothing_moves(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        for name in "abcdefgh":
            await bench.engine.place_order(limit(client_order_id=name))
        sent = sum(api.request_count for api in brokers.values())
        await bench.wait(60 * SECOND)
        reads = sum(api.request_count for api in brokers.values()) - sent
        # Two brokers, pauses of 2, 4, 8 and then 15 s.
        assert 2 <= reads <= 2 * 8


@pytest.mark.parametrize("kind", ["down", "storm_429", "maintenance"])
@story
async def test_what_never_left_or_was_refused_for_the_brokers_own_reason_goes_elsewhere_under_a_new_tag(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], kind: str
) -> None:
    for api in brokers.values():
        api.set_fault(kind, 1, operations=["place_order"])
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET)
        assert outcome.status is S.ACCEPTED
        assert outcome.attempt >= 2
        intents = [row.entry for row in await bench.store.journal.story("one") if isinstance(row.entry, Intent)]
        assert len({intent.tag for intent in intents}) == outcome.attempt
        assert len(bench.at_brokers()) == 1


@story
async def test_an_order_is_found_by_the_tags_of_all_its_attempts_until_it_is_forgotten(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        api.set_fault("down", 1, operations=["place_order"])
    async with opened(settings=EngineSettings(recent_max=1)) as bench:
        assert (await bench.engine.place_order(MARKET)).attempt >= 2
        story = await bench.store.journal.story("one")
        tags = [row.entry.tag for row in story if isinstance(row.entry, Intent)]
        book = bench.engine._book
        assert [book.by_tag(tag) for tag in tags] == [book.get("one")] * len(tags)
        for name in "abc":
            await bench.engine.place_order(replace(MARKET, client_order_id=name))
        await bench.wait(60 * SECOND)
        assert book.get("one") is None
        assert [book.by_tag(tag) for tag in tags] == [None] * len(tags)


@story
async def test_an_expired_token_sends_every_order_to_the_other_broker(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    brokers["upstox"].set_fault("token_expired", 1.0)
    async with opened() as bench:
        outcomes = [await bench.engine.place_order(limit(client_order_id=name)) for name in "abc"]
        assert {(outcome.status, outcome.provider) for outcome in outcomes} == {(S.ACCEPTED, "fyers")}


@story
async def test_a_refusal_for_the_orders_own_reason_is_final_and_goes_nowhere_else(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        outcome = await bench.engine.place_order(Order(symbol="NSE:NOSUCH-EQ", quantity=1, client_order_id="one"))
        assert (outcome.status, outcome.attempt) == (S.REJECTED, 1)
        assert outcome.message
        assert bench.at_brokers() == []


@pytest.mark.parametrize("kind", ["reset_after_accept", "error_after_accept", "hang", "bad_json", "wrong_type"])
@story
async def test_an_order_without_an_answer_is_found_by_its_tag_and_never_sent_again(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], kind: str
) -> None:
    for api in brokers.values():
        api.set_fault(kind, 1.0, operations=["place_order"])
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET)
        assert bench.steps("one")[0] == "UNKNOWN"
        assert outcome.status in {S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED}
        assert outcome.broker_order_id
        assert len(bench.at_brokers()) == 1


@pytest.mark.parametrize("kind", ["reset_before_read", "error_before_accept"])
@story
async def test_absence_is_believed_only_past_the_brokers_horizon_and_the_order_is_not_sent_again(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], kind: str
) -> None:
    for api in brokers.values():
        api.set_fault(kind, 1.0, operations=["place_order"])
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET)
        assert (outcome.status, outcome.attempt) == (S.DENIED, 1)
        assert "not placed" in outcome.message
        assert clock.now_ns() >= brokers["upstox"].absence_proven_after_ns
        assert bench.at_brokers() == []


@story
async def test_an_order_that_arrives_late_is_waited_for(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        api.set_fault("late", 1.0, operations=["place_order"])
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET)
        assert outcome.status in {S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED}
        assert len(bench.at_brokers()) == 1


@story
async def test_by_policy_an_absent_order_is_placed_again_while_the_deadline_stands(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        api.set_fault("reset_before_read", 1, operations=["place_order"])
    settings = EngineSettings(resend_absent=True, deadline_ns=20 * SECOND)
    async with opened(settings=settings) as bench:
        outcome = await bench.engine.place_order(MARKET)
        assert outcome.status in {S.ACCEPTED, S.FILLED}
        assert outcome.attempt >= 2
        assert len(bench.at_brokers()) == 1


@story
async def test_a_broker_that_cannot_be_asked_quarantines_loudly_and_is_asked_until_it_answers(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        api.set_fault("reset_after_accept", 1.0, operations=["place_order"])
        api.set_fault("down", 1.0, operations=["find_orders_by_tag", "get_orders"])
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET, deadline_ns=3 * SECOND)
        assert outcome.status is S.QUARANTINED
        assert len(bench.incidents("quarantined")) == 1
        assert bench.engine.unknown_orders == 1
        await bench.wait(60 * SECOND)
        assert bench.engine.unknown_orders == 1
        assert len(bench.incidents("quarantined")) == 1
        for api in brokers.values():
            api.set_fault("down", 0)
        await bench.wait(60 * SECOND)
        assert (await bench.engine.order("one")).status is S.FILLED
        assert bench.engine.unknown_orders == 0


@story
async def test_nothing_can_be_had_before_the_deadline_is_denied_with_the_reason(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    for api in brokers.values():
        api.set_fault("down", 1.0)
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET, deadline_ns=2 * SECOND)
        assert outcome.status is S.DENIED
        assert "connection refused" in outcome.message
        assert clock.now_ns() < 3 * SECOND


@story
async def test_a_bug_of_an_adapter_is_an_order_of_unknown_outcome(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = MockTradingAPI.place_order

    async def broken(self: MockTradingAPI, order: Order, *, tag: str) -> OrderAck:
        await place(self, order, tag=tag)
        raise KeyError("orderid")

    monkeypatch.setattr(MockTradingAPI, "place_order", broken)
    async with opened() as bench:
        outcome = await bench.engine.place_order(MARKET)
        assert outcome.status in {S.ACCEPTED, S.FILLED, S.PARTIALLY_FILLED}
        assert len(bench.incidents("adapter")) == 1
        assert len(bench.at_brokers()) == 1


# -- duplicates by the caller -----------------------------------------------------------------------------------------


@story
async def test_the_same_id_again_gives_the_first_ones_outcome(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as bench:
        first, second = await asyncio.gather(*(bench.engine.place_order(MARKET) for _ in range(2)))
        assert first == second
        assert (await bench.engine.place_order(MARKET)).broker_order_id == first.broker_order_id
        assert len(bench.at_brokers()) == 1
    async with opened() as later:
        assert (await later.engine.place_order(MARKET)).broker_order_id == first.broker_order_id
        assert len(later.at_brokers()) == 1


@story
async def test_the_same_id_in_two_processes_is_sent_once(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as one, opened() as other:
        outcomes = await asyncio.gather(one.engine.place_order(MARKET), other.engine.place_order(MARKET))
        assert len({outcome.broker_order_id for outcome in outcomes}) == 1
        assert len(one.at_brokers()) == 1


@story
async def test_who_shared_an_order_that_never_came_to_be_hears_nothing_that_is_not_kept(
    clock: VirtualClock, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(watching=False) as bench:
        await bench.engine.start()
        claim, refused = bench.store.journal.claim, []

        async def full_once(*arguments: Any, **named: Any) -> Any:
            if not refused:
                refused.append(arguments)
                await bench.wait(MILLISECOND)
                raise StoreFull("no room left")
            return await claim(*arguments, **named)

        monkeypatch.setattr(bench.store.journal, "claim", full_once)
        first = asyncio.create_task(bench.engine.place_order(MARKET))
        await asyncio.sleep(0)
        second = asyncio.create_task(bench.engine.place_order(MARKET))
        await asyncio.sleep(0)
        cancelled = asyncio.create_task(bench.engine.cancel_order("one"))
        await asyncio.wait([first, second, cancelled])
        assert isinstance(first.exception(), StoreFull)
        # The second became the first; the cancel met whichever of the two there was.
        assert second.result().status in {S.ACCEPTED, S.CANCELLED, S.DENIED}
        story = await bench.store.journal.story("one")
        kept = {row.entry.after for row in story if isinstance(row.entry, Step)}
        assert second.result().status in kept
        assert cancelled.exception() is None or isinstance(cancelled.exception(), UnknownOrder)
        if cancelled.exception() is None:
            assert cancelled.result().status in kept


@story
async def test_the_same_id_with_other_content_is_an_error(clock: VirtualClock, opened: Opener) -> None:
    other = Order(symbol="NSE:SBIN-EQ", quantity=11, client_order_id="one")
    async with opened() as bench:
        await bench.engine.place_order(MARKET)
        with pytest.raises(OrderConflict, match="one"):
            await bench.engine.place_order(other)
    async with opened() as later:
        with pytest.raises(OrderConflict, match="one"):
            await later.engine.place_order(other)
        assert len(later.at_brokers()) == 1


@story
async def test_an_order_without_an_id_gets_one(clock: VirtualClock, opened: Opener) -> None:
    async with opened() as bench:
        order = Order(symbol="NSE:SBIN-EQ", quantity=1)
        first, second = [await bench.engine.place_order(order) for _ in range(2)]
        assert first.order_id != second.order_id
        assert len(bench.at_brokers()) == 2
        with pytest.raises(UnknownOrder, match="nowhere"):
            await bench.engine.order("nowhere")


# -- callers who give up ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bare", [True, False], ids=["Task.cancel", "cancel scope"])
@pytest.mark.parametrize("after_ms", [0, 1, 5, 12, 19, 25])
@story
async def test_a_caller_who_gives_up_loses_no_order(
    clock: VirtualClock, opened: Opener, after_ms: int, bare: bool
) -> None:
    async with opened() as bench:
        if bare:
            task = asyncio.create_task(bench.engine.place_order(MARKET))
            await bench.wait(after_ms * MILLISECOND)
            task.cancel()
            await asyncio.wait([task])
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.engine.place_order, MARKET)
                await bench.wait(after_ms * MILLISECOND)
                tasks.cancel_scope.cancel()
        await bench.wait(20 * SECOND)
        known = await bench.store.journal.order("one")
        there = bench.at_brokers()
        if known is None:
            assert there == []  # cancelled before the claim: the order never was
        else:
            assert (known.status is S.FILLED) == (len(there) == 1)
            assert known.status in {S.FILLED, S.DENIED}
        assert bench.engine.open_orders == 0


@story
async def test_a_cancelled_wait_for_a_permit_sends_nothing(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        for name in brokers:
            bench.manager.limiter(name).refused(OrderRefusedFor(name))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.engine.place_order, MARKET)
                await bench.wait(100 * MILLISECOND)
                scope.cancel()
        assert (await bench.engine.order("one")).status is S.DENIED
        assert "gave up" in (await bench.engine.order("one")).message
        assert bench.at_brokers() == []


def OrderRefusedFor(name: str) -> OrderRefused:  # noqa: N802 - reads as the error it makes
    from core.errors import RateLimited

    return RateLimited(f"{name}: full", provider=name, status=429, retry_in_ns=5 * SECOND)


@story
async def test_prices_reach_the_broker_as_they_were_given(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened() as bench:
        await bench.engine.place_order(limit("780.05", client_order_id="one"))
        rows = [row for api in brokers.values() for row in api.books()]
        assert [row.price for row in rows] == [Decimal("780.05")]


@story
async def test_orders_that_come_at_one_instant_stand_in_every_brokers_line(clock: VirtualClock, opened: Opener) -> None:
    """Each waits for the disk before it gets in line; chosen before that, all saw the same short line and took it."""
    async with opened() as bench:
        await bench.engine.start()
        began_ns = clock.now_ns()
        async with anyio.create_task_group() as tasks:
            for number in range(400):
                order = replace(MARKET, client_order_id=f"o{number}")
                tasks.start_soon(partial(bench.engine.place_order, order, deadline_ns=began_ns + 30 * SECOND))
        # 50 a second at each of two brokers: 100 at once, and 100 with each second that goes by.
        assert clock.now_ns() - began_ns < 3.5 * SECOND
        shares = [sum(name == broker for name, _, _ in bench.at_brokers()) for broker in bench.brokers]
        assert min(shares) > 150


@story
async def test_fills_that_one_look_at_the_book_tells_of_share_a_trip_to_the_disk(
    clock: VirtualClock, opened: Opener
) -> None:
    async with opened() as bench:
        orders = [replace(MARKET, client_order_id=f"{n}") for n in range(20)]
        await asyncio.gather(*(bench.engine.place_order(order) for order in orders))
        synced, told = bench.store.disk_syncs, len(bench.events)
        await bench.wait(4 * SECOND)
        assert [bench.steps(order.client_order_id)[-1] for order in orders] == ["FILLED"] * 20
        assert [event.before for event in bench.events[told:] if isinstance(event, OrderMoved)] == [S.ACCEPTED] * 20
        assert bench.store.disk_syncs <= synced + 2  # one for each broker
        verdict = await bench.store.journal.verify()
        assert (verdict.problems, verdict.orders) == ((), 20)


@story
async def test_fills_are_heard_while_orders_keep_coming(clock: VirtualClock, opened: Opener) -> None:
    """In a steady flow some order has always just moved: that one must not put the reading of the book off for ever."""
    async with opened() as bench, anyio.create_task_group() as tasks:
        for number in range(400):
            tasks.start_soon(bench.engine.place_order, replace(MARKET, client_order_id=f"o{number}"))
            await bench.wait(25 * MILLISECOND)
        assert bench.engine.open_orders < 200  # those of a few seconds, of 400 in ten
