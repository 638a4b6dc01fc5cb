"""Reads at two brokers: when the second is asked, which answer counts, and what becomes of the other's permit."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from core import (
    APIConfig,
    APIProvider,
    ConfigError,
    MockTradingAPI,
    MultiAPIManager,
    OrderOutcomeUnknown,
    VirtualClock,
    open_router,
)
from core.brokers import published_limits
from core.clock import MILLISECOND, SECOND
from core.config import simulated_settings
from core.errors import HeadroomError
from core.models import ApplySuggestion, BreakerState, Operation, SetHedging, UndoSuggestion
from core.router import LocalRouter

ORDER: dict[str, Any] = {"symbol": "NSE:SBIN-EQ", "quantity": 1}


class Desk:
    """Two brokers, the quick one known well, and short words for what happens."""

    def __init__(self, *, hedged: bool = True, per_second: int = 100, **config: Any) -> None:
        self.clock = VirtualClock()
        self.manager = MultiAPIManager(config, clock=self.clock, rng=random.Random(1))
        self.apis = {name: self._broker(name, per_second) for name in ("fyers", "upstox")}
        self.manager.apis = self.apis
        if hedged:
            self.manager.set_hedging("get_positions", enabled=True)

    def _broker(self, name: str, per_second: int) -> MockTradingAPI:
        config = APIConfig(
            provider=APIProvider(name), rate_limits={"requests_per_second": per_second}, simulated=True, timeout_ms=5000
        )
        seconds = 0.05 if name == "fyers" else 0.08
        return MockTradingAPI(name, config, seconds, clock=self.clock, rng=random.Random(name), jitter=0.0)

    async def read(self, **rest: Any) -> Any:
        return await self.manager.execute_with_fallback("get_positions", **rest)

    async def warm(self, reads: int = 60) -> None:
        for name in self.apis:
            for _ in range(reads):
                await self.read(only=name)
                await self.clock.sleep_until_ns(self.clock.now_ns() + SECOND // 5)
        await self.clock.sleep_until_ns(self.clock.now_ns() + 2 * SECOND)

    def asked(self) -> dict[str, int]:
        return {name: api.request_count for name, api in self.apis.items()}

    def run(self, story: Callable[[], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            await self.warm()
            self.before = self.asked()
            self.began_ns = self.clock.now_ns()
            return await story()

        result = self.clock.run(main)
        self.more = {name: count - self.before[name] for name, count in self.asked().items()}
        return result

    @property
    def took_ms(self) -> float:
        return (self.clock.now_ns() - self.began_ns) / MILLISECOND


def test_a_read_that_takes_longer_than_the_p95_is_asked_at_a_second_broker_whose_answer_counts() -> None:
    desk = Desk()

    async def story() -> None:
        desk.apis["fyers"].set_fault("hang", 1)
        assert await desk.read() == ()
        assert desk.took_ms == pytest.approx(50 + 80, abs=3), "the p95 of fyers, then upstox"
        fyers = desk.manager.limiter("fyers")
        assert fyers.in_flight == 1, "it may still arrive: its place stays taken"
        await desk.clock.sleep_until_ns(desk.clock.now_ns() + 5 * SECOND)
        assert fyers.in_flight == 0
        await desk.clock.sleep_until_ns(desk.clock.now_ns() + SECOND + MILLISECOND)
        assert all(window.used == 0 for window in fyers.headroom())

    desk.run(story)
    assert desk.more == {"fyers": 1, "upstox": 1}
    assert {row.breaker for row in desk.manager.broker_snapshots()} == {BreakerState.CLOSED}


def test_the_loser_is_no_error_in_the_books_and_its_decision_says_what_became_of_it() -> None:
    desk = Desk()

    async def story() -> None:
        desk.apis["fyers"].set_fault("hang", 1)
        await desk.read()

    desk.run(story)
    assert desk.manager.counters.failures == 0
    assert [decision.outcome for decision in desk.manager.balancer.decisions(2)] == ["ok", "abandoned"]


def test_a_read_that_is_answered_in_time_is_asked_once() -> None:
    desk = Desk()
    desk.run(desk.read)
    assert sum(desk.more.values()) == 1
    assert desk.took_ms == pytest.approx(50, abs=3)


@pytest.mark.parametrize("why", ["off by default", "another operation", "only one broker", "no headroom", "drained"])
def test_no_second_broker_is_asked(why: str) -> None:
    desk = Desk(hedged=why != "off by default")
    if why == "another operation":
        desk.manager.set_hedging("get_positions", enabled=False)
        desk.manager.set_hedging("get_portfolio", enabled=True)

    async def story() -> None:
        for name in desk.apis if why == "no headroom" else ():
            for _ in range(51):
                desk.manager.limiter(name).record_request("reads")
        if why == "drained":
            desk.manager.drain("upstox")
        desk.apis["fyers"].set_fault("hang", 1)
        with pytest.raises(OrderOutcomeUnknown):
            await desk.read(
                only="fyers" if why == "only one broker" else None, deadline_ns=desk.clock.now_ns() + SECOND // 2
            )

    desk.run(story)
    assert desk.more == {"fyers": 1, "upstox": 0}


def test_an_order_is_never_hedged() -> None:
    desk = Desk(hedged=False)
    desk.manager.set_hedging(enabled=True)

    async def story() -> None:
        for _ in range(60):
            await desk.manager.execute_with_fallback("place_order", **ORDER)
            await desk.clock.sleep_until_ns(desk.clock.now_ns() + SECOND // 5)
        placed = desk.asked()
        for api in desk.apis.values():
            api.set_fault("hang", 1)
        with pytest.raises(OrderOutcomeUnknown):
            await desk.manager.execute_with_fallback("place_order", **ORDER)
        assert sum(desk.asked().values()) == sum(placed.values()) + 1

    desk.run(story)


def test_hedges_spend_the_retry_budget_at_most_a_tenth_more_reads_go_out() -> None:
    desk = Desk(per_second=1000)

    async def story() -> None:
        for api in desk.apis.values():
            api.set_fault("slow", 0.5)
        for _ in range(300):
            with suppress(HeadroomError):
                await desk.read()
            await desk.clock.sleep_until_ns(desk.clock.now_ns() + SECOND // 20)

    desk.run(story)
    seconds = desk.took_ms / 1000
    assert 300 < sum(desk.more.values()) <= 330 + 10 + seconds / 5 + 1


def test_when_both_fail_the_first_error_is_told() -> None:
    desk = Desk()

    async def story() -> None:
        desk.apis["fyers"].set_fault("hang", 1)
        desk.apis["upstox"].set_fault("hang", 1)
        with pytest.raises(OrderOutcomeUnknown, match="no answer"):
            await desk.read(deadline_ns=desk.clock.now_ns() + SECOND)

    desk.run(story)
    assert desk.more == {"fyers": 1, "upstox": 1}
    assert desk.took_ms == pytest.approx(1000, rel=0.01)


def test_a_failure_before_the_hedge_is_due_goes_the_usual_way() -> None:
    desk = Desk()

    async def story() -> None:
        desk.apis["fyers"].set_fault("down", 1)
        assert await desk.read() == ()

    desk.run(story)
    assert desk.more["upstox"] == 1
    assert desk.manager.limiter("fyers").in_flight == 0


@pytest.mark.parametrize("after_ms", [10, 50, 60, 100, 129, 131])
def test_a_caller_who_leaves_at_any_moment_leaves_no_permit_behind(after_ms: int) -> None:
    desk = Desk()

    async def story() -> None:
        desk.apis["fyers"].set_fault("hang", 1)
        with anyio.CancelScope() as scope:
            desk.clock.call_at_ns(desk.clock.now_ns() + after_ms * MILLISECOND, scope.cancel)
            await desk.read()
        await desk.clock.sleep_until_ns(desk.clock.now_ns() + 7 * SECOND)
        for name in desk.apis:
            limiter = desk.manager.limiter(name)
            assert limiter.in_flight == 0
            assert all(window.used == 0 for window in limiter.headroom())
        assert desk.manager.efficiency in (None, 1.0)

    desk.run(story)


def test_hedging_is_set_by_operation_and_only_for_reads() -> None:
    desk = Desk(hedged=False, hedged_reads=["get_orders"])
    assert desk.manager.levers().hedging
    desk.manager.set_hedging("get_orders", enabled=False)
    assert not desk.manager.levers().hedging
    with pytest.raises(ConfigError, match="place_order cannot be asked twice"):
        desk.manager.set_hedging("place_order", enabled=True)
    with pytest.raises(ConfigError, match=r"hedged_reads.*place_order cannot be asked twice"):
        MultiAPIManager({"hedged_reads": ["place_order"]})


def test_the_advice_to_hedge_is_applied_with_one_key_and_taken_back_with_another() -> None:
    clock = VirtualClock()

    async def story(router: LocalRouter) -> None:
        told = None
        for number in range(400):
            for name in ("fyers", "upstox"):
                await router.set_fault(name, "slow", 1 if number % 25 == 0 else 0)
            with suppress(HeadroomError):
                await router.execute(Operation.GET_POSITIONS)
            await clock.sleep_until_ns(clock.now_ns() + SECOND)
            told = next((one for one in router.snapshot().suggestions if one.kind == "enable_hedging"), None)
            if told is not None:
                break
        assert told is not None
        assert told.action
        before = router.manager.levers()
        await router.send(ApplySuggestion(told.id))
        assert router.manager.levers().hedging
        await router.send(UndoSuggestion(told.id))
        assert router.manager.levers() == before
        assert "hedged" in await router.send(SetHedging(enabled=True, operation="get_orders"))

    async def main() -> None:
        async with open_router(simulated_settings(published_limits, seed=3), clock=clock) as router:
            await story(router)

    clock.run(main)
