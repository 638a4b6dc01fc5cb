"""One request, the best broker: what is sent again, what never is, and what everybody is told."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import anyio
import pytest

from core import (
    APIConfig,
    APIProvider,
    ConfigError,
    MockTradingAPI,
    MultiAPIManager,
    NoBrokerAvailable,
    Operation,
    Order,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    PermitTimeout,
    VirtualClock,
)
from core.brokers import published_limits
from core.caretaker import Caretaker
from core.clock import MILLISECOND, SECOND
from core.models import HealthStatus, OrderType
from tests.pair import CONFIG, ORDER, broker, counts, pair


def test_above_every_limit_requests_queue_and_none_is_refused() -> None:
    clock = VirtualClock()
    manager = pair(clock)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(lambda: manager.execute_with_fallback("place_order", **ORDER))

    clock.run(main)
    # 20 a second between the two: five seconds' worth, of which the first leaves at once.
    assert 4 * SECOND <= clock.now_ns() <= 5 * SECOND
    assert sum(counts(manager).values()) == 100
    for api in manager.apis.values():
        assert isinstance(api, MockTradingAPI)
        assert api.referee_report().refused == 0
    assert manager.counters.waited > 0
    assert manager.counters.refusals == 0


def test_past_the_deadline_nothing_was_sent_and_the_error_says_when_to_come_back() -> None:
    clock = VirtualClock()
    manager = pair(clock, per_second=1)

    async def main() -> PermitTimeout:
        for _ in range(2):
            await manager.execute_with_fallback("place_order", **ORDER)
        with pytest.raises(PermitTimeout) as caught:
            await manager.execute_with_fallback("place_order", deadline_ns=clock.now_ns() + 10 * MILLISECOND, **ORDER)
        return caught.value

    error = clock.run(main)
    assert error.free_in_ns is not None
    assert 0 < error.free_in_ns <= SECOND + SECOND // 1000
    assert sum(counts(manager).values()) == 2


@pytest.mark.parametrize("kind", ["reset_before_read", "reset_after_accept", "error_after_accept", "hang", "bad_json"])
def test_an_order_without_an_answer_is_never_sent_again(kind: str) -> None:
    clock = VirtualClock()
    manager = pair(clock)
    for api in manager.apis.values():
        assert isinstance(api, MockTradingAPI)
        api.set_fault(kind, 1)

    async def main() -> None:
        with pytest.raises(OrderOutcomeUnknown):
            await manager.execute_with_fallback("place_order", **ORDER)

    clock.run(main)
    assert sum(api.request_count for api in manager.apis.values() if isinstance(api, MockTradingAPI)) == 1
    assert sum(counts(manager).values()) <= 1


def test_an_order_that_never_left_goes_to_the_next_broker_and_its_permit_comes_back() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    fyers = manager.apis["fyers"]
    assert isinstance(fyers, MockTradingAPI)
    fyers.set_fault("down", 1.0)

    async def main() -> None:
        for _ in range(8):
            await manager.execute_with_fallback("place_order", **ORDER)

    clock.run(main)
    assert counts(manager) == {"fyers": 0, "upstox": 8}
    assert all(window.used + window.in_flight == 0 for window in manager.limiter("fyers").headroom())


def test_a_broker_that_refuses_every_order_for_its_own_reason_is_left_by_orders_and_kept_for_reads() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    fyers = manager.apis["fyers"]
    assert isinstance(fyers, MockTradingAPI)
    fyers.set_fault("wrong_ip", 1.0)

    async def main() -> None:
        for _ in range(20):
            await manager.execute_with_fallback("place_order", **ORDER)
            await clock.sleep_until_ns(clock.now_ns() + SECOND // 5)
        assert fyers.request_count <= 5, "an order that it refuses costs the way there and a permit"
        manager.drain("upstox")
        await manager.execute_with_fallback("get_positions")

    clock.run(main)
    assert counts(manager) == {"fyers": 0, "upstox": 20}


def test_when_nobody_can_be_reached_the_last_error_is_told() -> None:
    clock = VirtualClock()
    manager = pair(clock, failure_rate=1.0)

    async def main() -> None:
        with pytest.raises(OrderNotSent):
            await manager.execute_with_fallback("place_order", **ORDER)

    clock.run(main)


def test_a_refusal_for_the_orders_own_reason_is_final() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    far_off = {**ORDER, "order_type": OrderType.LIMIT, "price": Decimal("0.05")}

    async def main() -> None:
        with pytest.raises(OrderRefused) as caught:
            await manager.execute_with_fallback("place_order", **far_off)
        assert not caught.value.elsewhere

    clock.run(main)
    assert sum(api.request_count for api in manager.apis.values() if isinstance(api, MockTradingAPI)) == 1


def test_a_429_closes_that_broker_and_the_order_goes_elsewhere() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    for api in manager.apis.values():
        assert isinstance(api, MockTradingAPI)
        api.set_fault("storm_429", 1)
    news = manager.bus.subscribe()

    async def main() -> None:
        await manager.execute_with_fallback("place_order", **ORDER)

    clock.run(main)
    assert sum(counts(manager).values()) == 1
    assert manager.counters.refusals == 2
    kinds = [getattr(event, "kind", "") for event in news.drain()]
    assert kinds.count("rate_limited") == 2


@pytest.mark.parametrize("wrong", ["pinned", "drained", "unknown"])
def test_without_a_broker_nothing_is_sent_and_the_error_says_why(wrong: str) -> None:
    clock = VirtualClock()
    manager = pair(clock)
    only = None
    if wrong == "drained":
        manager.drain("fyers")
        manager.drain("upstox")
    else:
        only = "fyers"
        manager.drain("fyers")
    if wrong == "unknown":
        only = "zerodha"

    async def main() -> None:
        with pytest.raises((NoBrokerAvailable, ConfigError), match=r"drained|zerodha"):
            await manager.execute_with_fallback("get_positions", only=only)

    clock.run(main)
    assert manager.counters.requests == 0


@pytest.mark.parametrize(
    ("operation", "arguments", "says"),
    [
        ("get_money", {}, "no operation is named 'get_money'"),
        ("place_order", {"symbol": "X"}, "quantity"),
        ("place_order", {"symbol": "X", "quantity": 0}, "at least 1"),
        ("place_order", {"symbol": "X", "quantity": 1, "colour": "red"}, "colour"),
        ("get_market_data", {}, "symbols="),
        ("get_market_data", {"symbols": []}, "symbols"),
        ("get_positions", {"page": 2}, "page"),
        ("cancel_order", {"broker_order_id": "1"}, "only=NAME"),
    ],
)
async def test_a_call_that_makes_no_sense_is_told_in_one_line_before_a_permit_is_spent(
    clock: VirtualClock, operation: str, arguments: dict[str, Any], says: str
) -> None:
    manager = pair(clock)
    with pytest.raises(ConfigError, match=says) as caught:
        await manager.execute_with_fallback(operation, **arguments)
    assert "\n" not in str(caught.value)
    assert manager.counters.requests == 0


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"enabled_apis": 3}, "enabled_apis"),
        ({"routing_rules": {"dance": {}}}, "routing_rules"),
        ({"routing_rules": {"place_order": {"pin": "fyers", "exclude": ["fyers"]}}}, "fyers"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"fallbacks": []}, "fallbacks"),
    ],
)
def test_a_wrong_config_names_its_key(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        MultiAPIManager(config)


def test_a_rule_pins_an_operation() -> None:
    clock = VirtualClock()
    manager = MultiAPIManager({"routing_rules": {"place_order": {"pin": "fyers"}}}, clock=clock)
    manager.apis = {name: broker(name, clock) for name in ("fyers", "upstox")}

    async def main() -> None:
        for _ in range(5):
            await manager.execute_with_fallback("place_order", **ORDER)

    clock.run(main)
    assert counts(manager) == {"fyers": 5, "upstox": 0}


async def test_apis_may_be_assigned_at_any_time_and_one_that_stays_keeps_its_counts(clock: VirtualClock) -> None:
    manager = pair(clock)
    limiter = manager.limiter("fyers")
    manager.apis = {"fyers": manager.apis["fyers"], "dhan": broker("upstox", clock)}
    assert set(manager.apis) == {"fyers"}, "dhan is not enabled"
    assert manager.limiter("fyers") is limiter
    manager.apis = {"fyers": broker("fyers", clock)}
    assert manager.limiter("fyers") is not limiter
    with pytest.raises(TypeError):
        manager.apis["upstox"] = broker("upstox", clock)  # type: ignore[index]


class Recorder:
    """An audit logger that keeps what it is told."""

    def __init__(self) -> None:
        self.usages: list[dict[str, Any]] = []

    def log_api_usage(self, **usage: Any) -> None:
        self.usages.append(usage)


class AsyncRecorder(Recorder):
    async def log_api_usage(self, **usage: Any) -> None:  # type: ignore[override]
        await anyio.sleep(0)
        self.usages.append(usage)


class Raising(Recorder):
    def log_api_usage(self, **usage: Any) -> None:
        super().log_api_usage(**usage)
        raise RuntimeError("the audit disk is full")


@pytest.mark.parametrize("logger", [Recorder(), AsyncRecorder(), Raising()], ids=lambda logger: type(logger).__name__)
def test_an_audit_logger_hears_of_every_request_and_never_fails_an_order(logger: Recorder) -> None:
    clock = VirtualClock()
    manager = MultiAPIManager(CONFIG, logger, clock=clock)
    manager.apis = {"fyers": broker("fyers", clock)}
    news = manager.bus.subscribe()

    async def main() -> None:
        await manager.execute_with_fallback("place_order", **ORDER)

    clock.run(main)
    (usage,) = logger.usages
    assert usage == {
        "api_name": "fyers",
        "operation": "place_order",
        "response_time": pytest.approx(0.05),
        "success": True,
        "error": None,
    }
    told = [event for event in news.drain() if getattr(event, "kind", "") == "audit"]
    assert len(told) == isinstance(logger, Raising)


def test_a_mock_serves_as_audit_logger() -> None:
    clock = VirtualClock()
    logger = Mock()
    manager = MultiAPIManager(CONFIG, audit_logger=logger, clock=clock)
    manager.apis = {"fyers": broker("fyers", clock)}
    clock.run(lambda: manager.execute_with_fallback("place_order", **ORDER))
    logger.log_api_usage.assert_called_once()


def test_a_request_that_was_cancelled_in_flight_holds_its_permit_until_it_can_no_longer_arrive() -> None:
    clock = VirtualClock()
    manager = MultiAPIManager({}, clock=clock)
    manager.apis = {"fyers": broker("fyers", clock, per_second=1)}

    async def main() -> int:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: manager.execute_with_fallback("place_order", **ORDER))
                await clock.sleep_until_ns(MILLISECOND)
                scope.cancel()
        await manager.execute_with_fallback("place_order", **ORDER)
        return clock.now_ns()

    timeout_ns = APIConfig(provider=APIProvider.FYERS, rate_limits={"requests_per_second": 1}).timeout_ms * MILLISECOND
    assert clock.run(main) >= timeout_ns + SECOND


async def test_the_three_analytics_have_the_published_shape(clock: VirtualClock) -> None:
    manager = pair(clock)
    before = await manager.get_load_balancing_insights()
    assert before["load_balance_efficiency"] == 1.0, "before anything was asked, nothing could have been placed better"
    async with anyio.create_task_group() as tasks:
        for _ in range(9):
            tasks.start_soon(lambda: manager.execute_with_fallback("place_order", **ORDER))
        await clock.advance_ns(2 * SECOND)
    limits = await manager.get_rate_limit_analytics()
    assert set(limits) == {"fyers", "upstox"}
    for row in limits.values():
        assert all(0 <= share <= 100 for share in row["rate_limit_status"]["usage_percentages"].values())
        assert isinstance(row["rate_limit_status"]["approaching_limit"], bool)
        assert row["predictive_analytics"]
    insights = await manager.get_load_balancing_insights()
    assert insights["total_routings"] == sum(insights["api_distribution"].values()) == 9
    assert 0 <= insights["load_balance_efficiency"] <= 1
    assert isinstance(await manager.get_optimization_suggestions(), list)


def test_a_drained_broker_shows_as_drained_and_comes_back() -> None:
    clock = VirtualClock()
    manager = pair(clock)
    manager.drain("fyers")
    assert manager.broker_snapshots()[0].health is HealthStatus.DRAINED
    manager.resume("fyers")
    assert manager.broker_snapshots()[0].health is HealthStatus.UNKNOWN


@pytest.mark.parametrize(("weight", "category"), [(-1, "orders"), (float("nan"), "orders"), (1e9, "reads")])
def test_a_weight_out_of_range_is_refused(weight: float, category: str) -> None:
    manager = pair(VirtualClock())
    with pytest.raises(ConfigError, match="weight"):
        manager.set_weight("fyers", category, weight)


def test_an_order_object_and_its_fields_are_the_same_request() -> None:
    clock = VirtualClock()
    manager = pair(clock)

    async def main() -> None:
        await manager.execute_with_fallback(Operation.PLACE_ORDER, order=Order(symbol="NSE:SBIN-EQ", quantity=2))
        await manager.execute_with_fallback("place_order", symbol="NSE:SBIN-EQ", quantity=2)

    clock.run(main)
    rows = [row for api in manager.apis.values() if isinstance(api, MockTradingAPI) for row in api.books()]
    assert [(row.symbol, row.quantity) for row in rows] == [("NSE:SBIN-EQ", 2)] * 2
    assert len({row.tag for row in rows}) == 2


def test_forecasts_are_scored_against_what_happened() -> None:
    clock = VirtualClock()
    manager = MultiAPIManager({"deadline_ms": 600_000}, clock=clock, rng=random.Random(1))
    config = APIConfig(
        provider=APIProvider.FYERS, rate_limits={"requests_per_second": 10, "requests_per_minute": 200}, simulated=True
    )
    manager.apis = {"fyers": MockTradingAPI("fyers", config, 0.05, clock=clock, rng=random.Random(2))}

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Caretaker(manager).watch)
            for _ in range(900):
                await manager.execute_with_fallback("place_order", **ORDER)
                await clock.sleep_until_ns(clock.now_ns() + SECOND // 4)
            tasks.cancel_scope.cancel()

    clock.run(main)
    minute = next(w for w in manager.broker_snapshots()[0].windows if str(w.rate) == "200/min")
    assert minute.forecast.brier_60s is not None
    assert 0 <= minute.forecast.brier_60s <= 1


def test_ten_minutes_at_twice_the_published_limits_with_jitter_and_not_one_refusal() -> None:
    clock = VirtualClock()
    rng = random.Random(11)
    manager = MultiAPIManager({"deadline_ms": 5_000}, clock=clock, rng=rng)
    apis = {}
    for provider in (APIProvider.FYERS, APIProvider.UPSTOX):
        config = APIConfig(provider=provider, budgets=published_limits(provider), simulated=True)
        apis[provider.value] = MockTradingAPI(
            provider.value, config, 0.04, clock=clock, rng=random.Random(provider.value), jitter=1.0
        )
    manager.apis = apis
    fates: Counter[str] = Counter()

    async def one(number: int) -> None:
        try:
            if number % 2:
                await manager.execute_with_fallback("place_order", **ORDER)
            else:
                await manager.execute_with_fallback("get_market_data", symbols=[f"NSE:X{number}", "NSE:SBIN-EQ"])
        except OrderOutcomeUnknown:
            fates["answered too late"] += 1  # a read only: its deadline breaks it off
        except (PermitTimeout, NoBrokerAvailable):
            fates["no permit in time"] += 1
        else:
            fates["done"] += 1

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            # Ten minutes hold 200 a minute at Fyers, 2000 orders and 2000 reads at Upstox. Twice that: 20 a second.
            for number in range(600 * 20):
                await clock.sleep_until_ns(number * SECOND // 20)
                tasks.start_soon(one, number)

    clock.run(main)
    reports = {name: api.referee_report() for name, api in apis.items()}
    assert {name: report.refused for name, report in reports.items()} == {"fyers": 0, "upstox": 0}
    assert manager.counters.refusals == 0
    assert fates["answered too late"] < 100
    assert fates["no permit in time"] > 0, "the demand was above what the limits allow"
    # Upstox' half hour (2000 each) and Fyers' minute (200) are what binds: nearly all of it was used.
    assert sum(report.accepted for report in reports.values()) >= 0.97 * (2 * 2000 + 10 * 200)
