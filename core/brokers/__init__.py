"""Brokers: one file for each, all behind `TradingAPI`.

Names are loaded when they are asked for: a router of mock brokers does not pay for an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..models import APIProvider
from .base import TradingAPI
from .limits import limits_source, published_limits

if TYPE_CHECKING:
    from .account import RESTAccount
    from .fyers import FyersAPI
    from .instruments import Instrument, InstrumentTable
    from .mock import MockTradingAPI
    from .tokens import Token, TokenStore
    from .upstox import UpstoxAPI

__all__ = [
    "ADAPTERS",
    "FyersAPI",
    "Instrument",
    "InstrumentTable",
    "MockTradingAPI",
    "RESTAccount",
    "Token",
    "TokenStore",
    "TradingAPI",
    "UpstoxAPI",
    "adapter_of",
    "limits_source",
    "published_limits",
]

# The one list of providers that an account can be connected to.
ADAPTERS = {APIProvider.FYERS: "FyersAPI", APIProvider.UPSTOX: "UpstoxAPI"}

_HOME = {
    "RESTAccount": ".account",
    "FyersAPI": ".fyers",
    "Instrument": ".instruments",
    "InstrumentTable": ".instruments",
    "MockTradingAPI": ".mock",
    "Token": ".tokens",
    "TokenStore": ".tokens",
    "UpstoxAPI": ".upstox",
}


def adapter_of(provider: APIProvider) -> type[FyersAPI | UpstoxAPI]:
    """The adapter's class. Raises ConfigError for a provider that has none yet."""
    name = ADAPTERS.get(provider)
    if name is None:
        message = f"there is no adapter for {provider.value} yet; there are {', '.join(ADAPTERS)}"
        raise ConfigError(message)
    adapter: type[FyersAPI | UpstoxAPI] = getattr(import_module(__name__), name)
    return adapter


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOME[name], __name__), name)
