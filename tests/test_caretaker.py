"""A broker that was left is asked whether it is back; one that the operator drained is not."""

from __future__ import annotations

import random

import anyio
import pytest

from core import (
    MockTradingAPI,
    MultiAPIManager,
    NoBrokerAvailable,
    OrderNotSent,
    VirtualClock,
)
from core.caretaker import Caretaker
from core.clock import SECOND
from core.errors import AuthenticationFailed
from core.models import HealthStatus
from tests.pair import ORDER, alone, broker, counts


def test_a_broker_that_recovers_is_probed_by_reads_and_taken_back() -> None:
    clock = VirtualClock()
    manager, api = alone(clock)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Caretaker(manager).watch)
            api.set_fault("down", 1.0)
            for _ in range(10):
                with pytest.raises((OrderNotSent, NoBrokerAvailable)):
                    await manager.execute_with_fallback("place_order", **ORDER)
            assert manager.broker_snapshots()[0].health is HealthStatus.UNHEALTHY
            api.set_fault("down", 0)
            await clock.sleep_until_ns(clock.now_ns() + 60 * SECOND)
            assert counts(manager) == {"fyers": 0}, "a probe is never an order"
            await manager.execute_with_fallback("place_order", **ORDER)
            tasks.cancel_scope.cancel()

    clock.run(main)
    assert counts(manager) == {"fyers": 1}


def test_a_drained_broker_is_not_even_checked() -> None:
    clock = VirtualClock()
    manager = MultiAPIManager({}, clock=clock, rng=random.Random(1))
    manager.apis = {"fyers": broker("fyers", clock), "upstox": broker("upstox", clock)}
    api = manager.apis["fyers"]
    assert isinstance(api, MockTradingAPI)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Caretaker(manager).watch)
            api.set_fault("error_before_accept", 1)
            while not manager.broker_snapshots()[0].errors:
                await manager.execute_with_fallback("get_positions")
            manager.drain("fyers")
            asked = manager.broker_snapshots()[0].requests
            decided = len(manager.balancer.decisions(500))
            await clock.sleep_until_ns(clock.now_ns() + 60 * SECOND)
            assert manager.broker_snapshots()[0].requests == asked
            assert len(manager.balancer.decisions(500)) == decided, "a check that cannot go is not asked for"
            tasks.cancel_scope.cancel()

    clock.run(main)


def test_a_refused_token_is_renewed_and_the_broker_taken_back() -> None:
    clock = VirtualClock()
    manager, api = alone(clock)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Caretaker(manager).watch)
            api.set_fault("token_expired", 1)
            with pytest.raises(AuthenticationFailed):
                await manager.execute_with_fallback("get_positions")
            assert manager.broker_snapshots()[0].health is HealthStatus.AUTH_FAILED
            with pytest.raises(NoBrokerAvailable, match="log-in refused"):
                await manager.execute_with_fallback("get_positions")
            await clock.sleep_until_ns(clock.now_ns() + 20 * SECOND)
            await manager.execute_with_fallback("get_positions")
            tasks.cancel_scope.cancel()

    clock.run(main)
