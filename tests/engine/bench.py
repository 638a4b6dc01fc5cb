"""One process of the tests, and how a story is told: in virtual time that jumps over every wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import wraps
from random import Random
from typing import Any

from core.brokers.mock import MockTradingAPI
from core.clock import VirtualClock
from core.engine import TradingEngine
from core.manager import MultiAPIManager
from core.models import APIConfig, APIProvider, Event, Incident, Order, OrderMoved
from core.store import TradeStore


@dataclass(slots=True)
class Bench:
    """One process: its engine, the brokers it talks to, what it told."""

    engine: TradingEngine
    manager: MultiAPIManager
    store: TradeStore
    clock: VirtualClock
    brokers: dict[str, MockTradingAPI]
    events: list[Event] = field(default_factory=list)

    def incidents(self, kind: str = "") -> list[Incident]:
        return [event for event in self.events if isinstance(event, Incident) and kind in {"", event.kind}]

    def steps(self, order_id: str) -> list[str]:
        """Every state the order has been told to be in, in order."""
        return [
            event.after.value for event in self.events if isinstance(event, OrderMoved) and event.order_id == order_id
        ]

    def at_brokers(self) -> list[tuple[str, str, int]]:
        """What the brokers' own books hold: broker, status, filled."""
        return [
            (name, row.status.value, row.filled_quantity) for name, api in self.brokers.items() for row in api.books()
        ]

    async def wait(self, for_ns: int) -> None:
        """Let the background task have that much time."""
        await self.clock.sleep_until_ns(self.clock.now_ns() + for_ns)


Opener = Callable[..., AbstractAsyncContextManager[Bench]]


def make_broker(name: str, clock: VirtualClock, **options: Any) -> MockTradingAPI:
    config = APIConfig(
        provider=APIProvider.MOCK,
        rate_limits={"requests_per_second": 50, "requests_per_minute": 2000},
        simulated=True,
        timeout_ms=1000,
    )
    given = {"response_time": 0.02, "jitter": 0.0, "absence_proven_after": 2.0, **options}
    return MockTradingAPI(name, config, clock=clock, rng=Random(f"broker {name}"), **given)


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on its `clock`, which jumps to the next instant whenever nothing else is left to do."""

    @wraps(test)
    def run(clock: VirtualClock, **fixtures: Any) -> None:
        clock.run(lambda: test(clock=clock, **fixtures))

    return run


def limit(price: str = "780", **more: Any) -> Order:
    """A buy far below the market, which rests."""
    return Order(symbol="NSE:SBIN-EQ", quantity=10, order_type="LIMIT", price=price, **more)
