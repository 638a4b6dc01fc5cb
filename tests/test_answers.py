"""What is asked of a router besides its snapshot, and the commands that came with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from core import ConfigError, Order, VirtualClock
from core.clock import SECOND
from core.errors import UnknownOrder
from core.models import (
    AcknowledgeAlerts,
    AskBroker,
    AskPreview,
    AskStory,
    BreakerState,
    DismissSuggestion,
    DrainProvider,
    HaltTrading,
    ModifyOrder,
    OrderStatus,
    OrderType,
    SetFault,
    SetRateCap,
    Severity,
    SubmitOrder,
)
from core.router import LocalRouter
from core.stress.background import play_background
from tests.test_router import on_virtual_time, settings

Story = Callable[[LocalRouter, VirtualClock], Awaitable[None]]
SYMBOL = "NSE:SBIN-EQ"


def resting(order_id: str) -> Order:
    """A buy below the market, which rests."""
    return Order(symbol=SYMBOL, quantity=10, order_type=OrderType.LIMIT, price="780", client_order_id=order_id)


def told(story: Story, store: Path | None = None, **changes: object) -> None:
    on_virtual_time(story, settings(store).model_copy(update=changes))


def test_the_story_of_an_order_has_every_entry_with_its_times_and_the_terms_in_force() -> None:
    async def story(router: LocalRouter, clock: VirtualClock) -> None:
        await router.send(SubmitOrder(resting("mine")))
        await clock.sleep_until_ns(clock.now_ns() + SECOND)
        await router.send(ModifyOrder("mine", quantity=20, price=Decimal("781.5")))
        told = await router.ask(AskStory("mine"))
        kinds = [step.kind for step in told.steps]
        assert kinds[:2] == ["Intent", "Step"]
        assert "ModifyIntended" in kinds
        assert "quantity=20" in next(step.text for step in told.steps if step.kind == "ModifyIntended")
        assert [step.serial for step in told.steps] == sorted(step.serial for step in told.steps)
        assert max(step.since_ns for step in told.steps) >= SECOND
        assert (told.terms.quantity, told.terms.price) == (20, Decimal("781.5"))
        assert (told.status, told.doubt) == (OrderStatus.ACCEPTED, None)
        with pytest.raises(UnknownOrder, match="'yours'"):
            await router.ask(AskStory("yours"))

    told(story)


def test_a_lost_order_tells_who_was_asked_and_from_when_absence_is_proof() -> None:
    async def story(router: LocalRouter, clock: VirtualClock) -> None:
        for name in ("fyers", "upstox"):
            await router.send(SetFault(name, "hang", 1.0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(router.send, SubmitOrder(resting("lost")))
            await clock.sleep_until_ns(clock.now_ns() + 9 * SECOND)
            answer = await router.ask(AskStory("lost"))
            assert answer.status is OrderStatus.UNKNOWN
            assert answer.doubt is not None
            assert answer.doubt.lost_for_ns > 0
            assert answer.doubt.proven_in_ns > 0
            for name in ("fyers", "upstox"):
                await router.send(SetFault(name, "hang", 0.0))
        await clock.sleep_until_ns(clock.now_ns() + 60 * SECOND)
        assert (await router.ask(AskStory("lost"))).doubt is None

    told(story)


@pytest.mark.parametrize(
    ("asked", "faults"),
    [
        (AskPreview(symbol=SYMBOL, quantity=1), {}),
        (AskPreview(symbol="NSE:SBIM-EQ", quantity=1), {"symbol": "did you mean NSE:SBIN-EQ"}),
        (AskPreview(symbol="", quantity=1), {"symbol": "such as"}),
        (AskPreview(symbol="NSE:NIFTY50-INDEX", quantity=1), {"symbol": "cannot be traded"}),
        (AskPreview(symbol=SYMBOL), {"quantity": "whole number"}),
        (AskPreview(symbol=SYMBOL, quantity=1, order_type=OrderType.LIMIT), {"price": "needs a price"}),
        (AskPreview(symbol=SYMBOL, quantity=1, order_type=OrderType.SL_M), {"trigger_price": "needs a trigger"}),
        (
            AskPreview(symbol=SYMBOL, quantity=1, order_type=OrderType.LIMIT, price=Decimal("700.03")),
            {"price": "tick size"},
        ),
        (AskPreview(symbol=SYMBOL, quantity=51), {"quantity": "quantity_max"}),
        (
            AskPreview(symbol=SYMBOL, quantity=50, order_type=OrderType.LIMIT, price=Decimal(700)),
            {"order": "value_max"},
        ),
        (AskPreview(symbol=SYMBOL, quantity=1, provider="nobody"), {"provider": "no broker is named 'nobody'"}),
    ],
)
def test_a_preview_puts_each_fault_beside_its_field(asked: AskPreview, faults: dict[str, str]) -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        found = dict((await router.ask(asked)).faults)
        assert found.keys() == faults.keys()
        assert all(said in found[field] for field, said in faults.items())

    told(story, guards={"quantity_max": 50, "value_max": 30_000})


def test_a_preview_names_the_broker_the_value_and_the_reason_and_counts_nothing() -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        before = router.manager.balancer.insights()
        found = await router.ask(
            AskPreview(symbol=SYMBOL, quantity=10, order_type=OrderType.LIMIT, price=Decimal(700), provider="upstox")
        )
        assert found.choice is not None
        assert (found.choice.chosen, found.value, found.lot) == ("upstox", Decimal(7000), 1)
        free = await router.ask(AskPreview(symbol=SYMBOL, quantity=10))
        assert free.choice is not None
        assert {terms.name for terms in free.choice.candidates} == {"fyers", "upstox"}
        assert free.choice.reason
        assert router.manager.balancer.insights() == before
        assert router.manager.balancer.decisions() == ()
        await router.send(DrainProvider("fyers"))
        await router.send(DrainProvider("upstox"))
        assert "drained" in dict((await router.ask(AskPreview(symbol=SYMBOL, quantity=10))).faults)["provider"]
        await router.send(HaltTrading("enough"))
        assert "halted" in dict((await router.ask(AskPreview(symbol=SYMBOL, quantity=10))).faults)["order"]

    told(story)


@pytest.mark.parametrize("pin", ["fyers", "upstox"])
def test_an_order_goes_where_it_is_pinned(pin: str) -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        for number in range(3):
            await router.send(SubmitOrder(resting(f"o{number}"), pin))
        assert {row.provider for row in router.snapshot().orders} == {pin}
        with pytest.raises(ConfigError, match="'nobody'"):
            await router.send(SubmitOrder(resting("o9"), "nobody"))

    told(story)


def test_an_order_pinned_to_a_broker_that_is_down_goes_nowhere_else() -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        await router.send(SetFault("fyers", "down", 1.0))
        await router.send(SubmitOrder(resting("o"), "fyers"))
        [row] = router.snapshot().orders
        assert row.status == "DENIED"
        assert (await router.broker_books())["upstox"] == ()

    told(story)


def test_a_changed_type_is_a_changed_order() -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        await router.send(SubmitOrder(resting("o")))
        await router.send(ModifyOrder("o", order_type=OrderType.MARKET))
        assert (await router.ask(AskStory("o"))).terms.order_type is OrderType.MARKET

    told(story)


def test_a_broker_in_depth_has_what_became_of_its_requests_and_where_its_limits_come_from() -> None:
    async def story(router: LocalRouter, clock: VirtualClock) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play_background, router, 1)
            await clock.sleep_until_ns(clock.now_ns() + 20 * SECOND)
            tasks.cancel_scope.cancel()
        await clock.sleep_until_ns(clock.now_ns() + 2 * SECOND + 1)
        await router.send(SetRateCap("upstox", 0.5))
        detail = await router.ask(AskBroker("upstox"))
        done = sum(row.requests for row in detail.operations)
        upstox = router.snapshot().brokers[1]
        assert done == upstox.requests - upstox.in_flight > 0
        assert sum(number for _, number in detail.histogram) == done - sum(
            row.failures + row.refusals for row in detail.operations
        )
        edges = [edge for edge, _ in detail.histogram]
        assert edges == sorted(edges)
        assert all(row.p50_ns <= row.p99_ns <= row.max_ns for row in detail.operations)
        assert {course.budget for course in detail.windows} == {"orders", "reads"}
        assert len(detail.windows[0].fractions) == 22
        assert all("Rate Limiting" in limit.source and "capped to 50%" in limit.source for limit in detail.limits)
        assert "nothing real" in detail.token_source
        with pytest.raises(ConfigError, match="'nobody'"):
            await router.ask(AskBroker("nobody"))

    told(story)


def test_refusals_and_breaker_moves_are_kept_with_their_words() -> None:
    async def story(router: LocalRouter, clock: VirtualClock) -> None:
        await router.send(SetFault("fyers", "storm_429", 1.0))
        await router.send(SubmitOrder(resting("a")))
        await router.send(SubmitOrder(resting("b"), "fyers"))
        await router.send(SetFault("fyers", "storm_429", 0.0))
        await clock.sleep_until_ns(clock.now_ns() + 40 * SECOND)
        await router.send(SetFault("upstox", "down", 1.0))
        for number in range(6):
            await router.send(SubmitOrder(resting(f"c{number}")))
            await clock.sleep_until_ns(clock.now_ns() + SECOND)
        await router.send(SetFault("upstox", "down", 0.0))
        await clock.sleep_until_ns(clock.now_ns() + 30 * SECOND)
        refusals = (await router.ask(AskBroker("fyers"))).refusals
        assert refusals
        assert "too many requests" in refusals[0].message
        moves = (await router.ask(AskBroker("upstox"))).breaker
        assert moves[-1].before == BreakerState.CLOSED
        assert moves[0].after == BreakerState.CLOSED
        assert all(move.reason for move in moves)

    told(story)


def test_alerts_are_in_the_snapshot_and_one_word_acknowledges_them() -> None:
    async def story(router: LocalRouter, clock: VirtualClock) -> None:
        await router.send(HaltTrading("enough"))
        await clock.sleep_until_ns(clock.now_ns() + 2 * SECOND)
        [alert] = router.snapshot().alerts
        assert (alert.rule, alert.calls) == ("halted", True)
        assert await router.send(AcknowledgeAlerts()) == "1 alert acknowledged"
        assert not router.snapshot().alerts[0].calls
        with pytest.raises(ConfigError, match="'nothing'"):
            await router.send(AcknowledgeAlerts("nothing"))

    told(story)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"loop_lag": 3}, "alerts.loop_lag is not known"),
        ({"loop_lag_ms": "long"}, "alerts.loop_lag_ms: "),
        ({"loop_lag_ms": -3}, "alerts.loop_lag_ms is -3"),
    ],
)
def test_a_wrong_table_of_alerts_is_refused_by_its_key(table: dict[str, object], says: str) -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match=says):
        told(story, alerts=table)


def test_what_was_dismissed_stays_away_after_a_restart_unless_it_is_louder(tmp_path: Path) -> None:
    store = tmp_path / "headroom.db"

    async def until_told(router: LocalRouter, clock: VirtualClock) -> tuple[str, ...]:
        await router.send(DrainProvider("fyers"))
        await clock.sleep_until_ns(clock.now_ns() + 20 * SECOND)
        return tuple(entry.id for entry in router.snapshot().suggestions)

    async def first(router: LocalRouter, clock: VirtualClock) -> None:
        ids = await until_told(router, clock)
        assert ids
        for id_ in ids:
            await router.send(DismissSuggestion(id_))
        kept.extend(ids)

    async def second(router: LocalRouter, clock: VirtualClock) -> None:
        assert not set(await until_told(router, clock)) & set(kept)
        assert router.manager.advisor.dismissed.keys() >= set(kept)

    async def third(router: LocalRouter, clock: VirtualClock) -> None:
        router.manager.advisor.remember(dict.fromkeys(kept, Severity.INFO))
        louder = [id_ for id_ in await until_told(router, clock) if id_ in kept]
        assert louder

    kept: list[str] = []
    told(first, store)
    told(second, store)
    told(third, store)


def test_notes_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    store = tmp_path / "headroom.db"
    (tmp_path / "headroom.db.notes.json").write_text("{half", encoding="utf-8")

    async def story(router: LocalRouter, _: VirtualClock) -> None:
        assert router.manager.advisor.dismissed == {}

    told(story, store)
