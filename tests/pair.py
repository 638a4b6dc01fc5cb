"""Simulated brokers on a virtual clock, and a manager over one or two of them."""

from __future__ import annotations

import random
from typing import Any

from core import (
    APIConfig,
    APIProvider,
    MockTradingAPI,
    MultiAPIManager,
    VirtualClock,
)

CONFIG = {"enabled_apis": ["fyers", "upstox"], "routing_rules": {}, "fallback_chain": ["fyers", "upstox"]}
ORDER = {"symbol": "NSE:SBIN-EQ", "quantity": 1}


def broker(name: str, clock: VirtualClock, *, per_second: int = 10, **options: Any) -> MockTradingAPI:
    config = APIConfig(provider=APIProvider(name), rate_limits={"requests_per_second": per_second}, simulated=True)
    options = {"response_time": 0.05, "jitter": 0.0, **options}
    return MockTradingAPI(name, config, clock=clock, rng=random.Random(name), **options)


def pair(clock: VirtualClock, **options: Any) -> MultiAPIManager:
    manager = MultiAPIManager(CONFIG, clock=clock, rng=random.Random(1))
    manager.apis = {name: broker(name, clock, **options) for name in ("fyers", "upstox")}
    return manager


def alone(clock: VirtualClock) -> tuple[MultiAPIManager, MockTradingAPI]:
    manager, api = MultiAPIManager({}, clock=clock, rng=random.Random(1)), broker("fyers", clock)
    manager.apis = {"fyers": api}
    return manager, api


def counts(manager: MultiAPIManager) -> dict[str, int]:
    return {name: len(api.books()) for name, api in manager.apis.items() if isinstance(api, MockTradingAPI)}
