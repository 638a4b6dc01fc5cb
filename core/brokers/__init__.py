"""Brokers: one file for each, all behind `TradingAPI`.

Names are loaded when they are asked for: a router of mock brokers does not pay for an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .base import TradingAPI
from .limits import published_limits

if TYPE_CHECKING:
    from .fyers import FyersAPI
    from .instruments import Instrument, InstrumentTable
    from .mock import MockTradingAPI
    from .tokens import Token, TokenStore
    from .upstox import UpstoxAPI

__all__ = [
    "FyersAPI",
    "Instrument",
    "InstrumentTable",
    "MockTradingAPI",
    "Token",
    "TokenStore",
    "TradingAPI",
    "UpstoxAPI",
    "published_limits",
]

_HOME = {
    "FyersAPI": ".fyers",
    "Instrument": ".instruments",
    "InstrumentTable": ".instruments",
    "MockTradingAPI": ".mock",
    "Token": ".tokens",
    "TokenStore": ".tokens",
    "UpstoxAPI": ".upstox",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOME[name], __name__), name)
