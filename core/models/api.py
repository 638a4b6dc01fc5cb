"""Brokers as we are configured to use them: who they are, what they allow, what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ..clock import DAY, HOUR, MINUTE, SECOND

__all__ = [
    "CATEGORY_OF",
    "PRIORITY_OF",
    "RATE_LIMIT_WINDOWS_NS",
    "APIConfig",
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
    operation: _ORDER_PRIORITY.get(operation, Priority.READ) for operation in Operation
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


# The only places where a simulated account may live: this machine, and the sandboxes that brokers publish.
SIMULATED_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1", "api-sandbox.upstox.com"})


class APIConfig(BaseModel):
    """One broker account: its limits, its address, its secrets. Checks itself once, then never changes.

    Limits are given in one of two ways. `rate_limits` and `rates` together are one budget of everything; `budgets`
    tell categories apart. Secrets print as stars.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    provider: APIProvider
    rate_limits: dict[str, int] = Field(default_factory=dict)
    rates: tuple[Rate, ...] = ()
    budgets: tuple[Budget, ...] = ()
    client_id: str = ""
    api_key: SecretStr = SecretStr("")
    api_secret: SecretStr = SecretStr("")
    access_token: SecretStr = SecretStr("")
    base_url: str = ""
    timeout_ms: int = Field(default=7_000, ge=1, le=120_000)
    simulated: bool = False
    algo_name: str = ""

    @field_validator("rate_limits", mode="before")
    @classmethod
    def _whole_numbers(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            message = "rate_limits is a table of window = permits"
            raise ValueError(message)
        for name, permits in value.items():
            if name not in RATE_LIMIT_WINDOWS_NS:
                known = ", ".join(RATE_LIMIT_WINDOWS_NS)
                message = f"rate_limits has no window {name!r}; known: {known}; others go into rates"
                raise ValueError(message)
            if isinstance(permits, bool) or not isinstance(permits, int) or permits < 1:
                message = f"{name} is {permits!r}; give a whole number of at least 1"
                raise ValueError(message)
        return dict(value)

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.budgets and (self.rate_limits or self.rates):
            message = "give either budgets, or rate_limits and rates, not both"
            raise ValueError(message)
        if not self.limits:
            message = f"{self.provider.value} has no rate limit; without one nothing would be kept"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _simulated_is_true(self) -> Self:
        # `simulated` lets orders be placed for show and for stress: it must not be a word that a live address can bear.
        host = urlsplit(self.base_url).hostname or ""
        if self.simulated and self.base_url and host not in SIMULATED_HOSTS:
            known = ", ".join(sorted(SIMULATED_HOSTS))
            message = f"simulated is true, but base_url leads to {host!r}; it may only lead to one of {known}"
            raise ValueError(message)
        return self

    @property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets in force; `rate_limits` and `rates` become one named `all`, shortest window first."""
        if self.budgets:
            return self.budgets
        rates = [Rate(permits, RATE_LIMIT_WINDOWS_NS[name]) for name, permits in self.rate_limits.items()]
        rates = sorted([*rates, *self.rates], key=lambda rate: rate.window_ns)
        return (Budget("all", tuple(rates)),) if rates else ()

    @property
    def registered_algo(self) -> bool:
        """Whether the account has an algo that is registered at the exchange, which may raise its limits."""
        return bool(self.algo_name)

    def public(self) -> dict[str, Any]:
        """What may be shown: everything but the secrets."""
        return self.model_dump(mode="json", exclude={"api_key", "api_secret", "access_token"})
