"""headroom without a screen: limits, routing, order safety.

    from core import APIConfig, MockTradingAPI, MultiAPIManager

Names are loaded when they are first asked for, so that a command that needs one part does not pay for the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .balancer import IntelligentLoadBalancer
    from .brokers.base import TradingAPI
    from .brokers.mock import MockTradingAPI
    from .clock import Clock, SystemClock, VirtualClock
    from .engine import TradingEngine
    from .errors import (
        BrokerError,
        ConfigError,
        HeadroomError,
        NoBrokerAvailable,
        OrderDenied,
        OrderNotSent,
        OrderOutcomeUnknown,
        OrderRefused,
        PermitTimeout,
        RateLimited,
    )
    from .feed import MarketDataFeed
    from .limiter import EnhancedRateLimiter
    from .manager import MultiAPIManager
    from .models import (
        APIConfig,
        APIProvider,
        Budget,
        HealthStatus,
        Operation,
        Order,
        OrderOutcome,
        OrderStatus,
        OrderType,
        Rate,
        RouterSnapshot,
        Side,
        Trade,
    )
    from .router import Router, open_router
    from .routing import ManagerConfig
    from .store import BlockingTradeStore, TradeStore

__all__ = [
    "APIConfig",
    "APIProvider",
    "BlockingTradeStore",
    "BrokerError",
    "Budget",
    "Clock",
    "ConfigError",
    "EnhancedRateLimiter",
    "HeadroomError",
    "HealthStatus",
    "IntelligentLoadBalancer",
    "ManagerConfig",
    "MarketDataFeed",
    "MockTradingAPI",
    "MultiAPIManager",
    "NoBrokerAvailable",
    "Operation",
    "Order",
    "OrderDenied",
    "OrderNotSent",
    "OrderOutcome",
    "OrderOutcomeUnknown",
    "OrderRefused",
    "OrderStatus",
    "OrderType",
    "PermitTimeout",
    "Rate",
    "RateLimited",
    "Router",
    "RouterSnapshot",
    "Side",
    "SystemClock",
    "Trade",
    "TradeStore",
    "TradingAPI",
    "TradingEngine",
    "VirtualClock",
    "open_router",
]

_MODULES: Final = {
    "balancer": ("IntelligentLoadBalancer",),
    "brokers.base": ("TradingAPI",),
    "brokers.mock": ("MockTradingAPI",),
    "clock": ("Clock", "SystemClock", "VirtualClock"),
    "engine": ("TradingEngine",),
    "errors": (
        "BrokerError",
        "ConfigError",
        "HeadroomError",
        "NoBrokerAvailable",
        "OrderDenied",
        "OrderNotSent",
        "OrderOutcomeUnknown",
        "OrderRefused",
        "PermitTimeout",
        "RateLimited",
    ),
    "feed": ("MarketDataFeed",),
    "limiter": ("EnhancedRateLimiter",),
    "manager": ("MultiAPIManager",),
    "models": (
        "APIConfig",
        "APIProvider",
        "Budget",
        "HealthStatus",
        "Operation",
        "Order",
        "OrderOutcome",
        "OrderStatus",
        "OrderType",
        "Rate",
        "RouterSnapshot",
        "Side",
        "Trade",
    ),
    "router": ("Router", "open_router"),
    "routing": ("ManagerConfig",),
    "store": ("BlockingTradeStore", "TradeStore"),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
