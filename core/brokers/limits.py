"""What each broker allows, as published. The strictest reading wherever the sources leave room.

Sources and reading dates:
- Upstox: developer documentation, pages Rate Limiting and Algo Registration & Static IP Requirement, read September
  2026. Place, modify and cancel are counted together; limits are per user. 50 orders a second only with an algo
  registered at the exchange. Reads: one budget for the user, though the page can be read as one for each call.
- Fyers: API v3 documentation, page Rate Limit, read January 2026 (one table for every call together; more than three
  breaches of the minute block the user for the day), and the support article on retail algos of 31 March 2026 for the
  10 orders a second.
- Zerodha: Kite Connect v3 documentation, page Exceptions and errors, read 2025: orders 10/s, 200/min, 3000/day;
  quotes 1/s. A read may be a quote, so the profile takes 1/s for all of them.
- Dhan: DhanHQ v2 documentation, page Introduction, as of 21 March 2026: orders 10/s, 250/min, 1000/h, 7000/day;
  quotes 1/s, read as above.
- Flattrade: limits as its live refusals name them (10 orders/s), 40/min and reads from adapters, unconfirmed.
- Alice Blue: its own text sets no order limit; the exchanges' 10 orders/s holds for everyone. Reads 1800 in 15 minutes.
- The mock broker has no limits of its own: it takes those of Fyers, the tightest shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..clock import DAY, HOUR, MINUTE, SECOND
from ..models import APIProvider, Budget, Category, Rate

__all__ = ["limits_source", "published_limits"]

_ORDERS: Final = frozenset({Category.ORDERS.value})
_READS: Final = frozenset({Category.READS.value})


def _budget(name: str, categories: frozenset[str], *rates: tuple[int, int]) -> Budget:
    return Budget(name, tuple(Rate(permits, window_ns) for permits, window_ns in rates), categories)


_FYERS: Final = (
    Budget("all", (Rate(10, SECOND), Rate(200, MINUTE), Rate(100_000, DAY))),
    _budget("orders", _ORDERS, (10, SECOND)),
)
_PUBLISHED: Final[Mapping[APIProvider, tuple[Budget, ...]]] = {
    APIProvider.FYERS: _FYERS,
    APIProvider.UPSTOX: (
        _budget("orders", _ORDERS, (10, SECOND), (500, MINUTE), (2000, 30 * MINUTE)),
        _budget("reads", _READS, (50, SECOND), (500, MINUTE), (2000, 30 * MINUTE)),
    ),
    APIProvider.ZERODHA: (
        _budget("orders", _ORDERS, (10, SECOND), (200, MINUTE), (3000, DAY)),
        _budget("reads", _READS, (1, SECOND)),
    ),
    APIProvider.DHAN: (
        _budget("orders", _ORDERS, (10, SECOND), (250, MINUTE), (1000, HOUR), (7000, DAY)),
        _budget("reads", _READS, (1, SECOND), (100_000, DAY)),
    ),
    APIProvider.FLATTRADE: (
        _budget("orders", _ORDERS, (10, SECOND), (40, MINUTE)),
        _budget("reads", _READS, (40, SECOND), (200, MINUTE)),
    ),
    APIProvider.ALICE_BLUE: (
        _budget("orders", _ORDERS, (10, SECOND)),
        _budget("reads", _READS, (1800, 15 * MINUTE)),
    ),
    APIProvider.MOCK: _FYERS,
}
# The same sources in a few words, for whoever asks where a number comes from.
_SOURCE: Final[Mapping[APIProvider, str]] = {
    APIProvider.FYERS: "API v3 documentation, Rate Limit, January 2026; retail algo article, 31 March 2026",
    APIProvider.UPSTOX: "developer documentation, Rate Limiting, September 2026",
    APIProvider.ZERODHA: "Kite Connect v3, Exceptions and errors, 2025",
    APIProvider.DHAN: "DhanHQ v2, Introduction, 21 March 2026",
    APIProvider.FLATTRADE: "its live refusals and other adapters, unconfirmed",
    APIProvider.ALICE_BLUE: "the exchanges' 10 orders/s; reads from its documentation",
    APIProvider.MOCK: "those of Fyers",
}
_UPSTOX_REGISTERED: Final = _budget("orders", _ORDERS, (50, SECOND), (500, MINUTE), (2000, 30 * MINUTE))


def published_limits(provider: APIProvider | str, *, registered_algo: bool = False) -> tuple[Budget, ...]:
    """The budgets that `provider` publishes; `registered_algo` raises Upstox to 50 orders a second.

    Raises ValueError for a name that is no provider.
    """
    provider = APIProvider(provider)
    budgets = _PUBLISHED[provider]
    if registered_algo and provider is APIProvider.UPSTOX:
        return (_UPSTOX_REGISTERED, *budgets[1:])
    return budgets


def limits_source(provider: APIProvider) -> str:
    """Where `provider` publishes its limits, and when that was read."""
    return _SOURCE[provider]
