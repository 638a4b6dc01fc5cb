"""Brokers as we are configured to use them: who they are, what they allow, what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from typing import Final

from ..clock import DAY, HOUR, MINUTE, SECOND

__all__ = [
    "CATEGORY_OF",
    "PRIORITY_OF",
    "RATE_LIMIT_WINDOWS_NS",
    "APIProvider",
    "Budget",
    "Category",
    "HealthStatus",
    "Operation",
    "Priority",
    "Rate",
    "WindowRoom",
]

WindowRoom = tuple[int, int, int]
"""What one window has left: free permits, its permits in all, its length in nanoseconds. Plain, for the hot path."""


class APIProvider(StrEnum):
    """The brokers that headroom knows by name."""

    FYERS = "fyers"
    UPSTOX = "upstox"
    FLATTRADE = "flattrade"
    ALICE_BLUE = "alice_blue"
    ZERODHA = "zerodha"
    DHAN = "dhan"
    MOCK = "mock"


class Operation(StrEnum):
    """What can be asked of a broker; each value is the name of the `TradingAPI` method."""

    AUTHENTICATE = "authenticate"
    PLACE_ORDER = "place_order"
    MODIFY_ORDER = "modify_order"
    CANCEL_ORDER = "cancel_order"
    GET_ORDER = "get_order"
    FIND_ORDERS_BY_TAG = "find_orders_by_tag"
    GET_ORDERS = "get_orders"
    GET_POSITIONS = "get_positions"
    GET_PORTFOLIO = "get_portfolio"
    GET_MARKET_DATA = "get_market_data"
    LOGOUT = "logout"
    HEALTH_CHECK = "health_check"


class Category(StrEnum):
    """What a broker's budgets tell apart."""

    ORDERS = "orders"
    READS = "reads"


class Priority(IntEnum):
    """Who goes first when permits are short; lower goes first."""

    CANCEL = 0
    MODIFY = 1
    PLACE = 2
    READ = 3


_ORDER_PRIORITY: Final = {
    Operation.CANCEL_ORDER: Priority.CANCEL,
    Operation.MODIFY_ORDER: Priority.MODIFY,
    Operation.PLACE_ORDER: Priority.PLACE,
}
PRIORITY_OF: Final[Mapping[Operation, Priority]] = {
    **dict.fromkeys(Operation, Priority.READ),
    **_ORDER_PRIORITY,
    Operation.AUTHENTICATE: Priority.PLACE,  # nothing else can be done before it
}
CATEGORY_OF: Final[Mapping[Operation, Category]] = {
    operation: Category.ORDERS if operation in _ORDER_PRIORITY else Category.READS for operation in Operation
}


class HealthStatus(StrEnum):
    """How a broker is, worst last. The balancer never picks one from `LIMITED` down while another is left."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    LIMITED = "limited"
    UNHEALTHY = "unhealthy"
    AUTH_FAILED = "auth_failed"
    BLOCKED_FOR_DAY = "blocked_for_day"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `permits` requests in any half-open window of `window_ns` nanoseconds.

    Raises ValueError for anything but whole numbers of at least 1.
    """

    permits: int
    window_ns: int

    def __post_init__(self) -> None:
        for name, value in (("permits", self.permits), ("window_ns", self.window_ns)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                message = f"Rate.{name} is {value!r}; give a whole number of at least 1"
                raise ValueError(message)

    def __str__(self) -> str:
        return f"{self.permits}/{window_text(self.window_ns)}"


@cache
def window_text(window_ns: int) -> str:
    """A window as a trader writes it: `s`, `10s`, `min`, `30min`, `h`, `day`, `250ms`."""
    for unit_ns, name in ((DAY, "day"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if window_ns % unit_ns == 0:
            count = window_ns // unit_ns
            return name if count == 1 else f"{count}{name}"
    return f"{window_ns / 1_000_000:g}ms"


@dataclass(frozen=True, slots=True)
class Budget:
    """Windows that a set of categories shares. A request must fit every budget that counts its category.

    Fyers: one budget of everything, and one of orders inside it. Upstox: one of orders, one of reads.
    """

    name: str
    rates: tuple[Rate, ...]
    categories: frozenset[str] = frozenset(Category)

    def __post_init__(self) -> None:
        if not self.rates:
            message = f"budget {self.name!r} has no rate; without one it would limit nothing"
            raise ValueError(message)
        if not self.categories:
            message = f"budget {self.name!r} counts no category"
            raise ValueError(message)
        windows = [rate.window_ns for rate in self.rates]
        if len(set(windows)) != len(windows):
            message = f"budget {self.name!r} has two rates of one window"
            raise ValueError(message)


RATE_LIMIT_WINDOWS_NS: Final[Mapping[str, int]] = {
    "requests_per_second": SECOND,
    "requests_per_minute": MINUTE,
    "requests_per_30_minutes": 30 * MINUTE,
    "requests_per_hour": HOUR,
    "requests_per_day": DAY,
}
