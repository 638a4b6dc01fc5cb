"""What headroom asks of a broker. An adapter translates, and does nothing else: no waiting, no retry, no choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from decimal import Decimal
from typing import Final, Protocol, runtime_checkable

from ..models import (
    APIConfig,
    BrokerOrder,
    HealthStatus,
    Operation,
    Order,
    OrderAck,
    OrderType,
    Portfolio,
    Position,
    Quote,
    Session,
)
from .reply import Quota

__all__ = ["ANSWER_IS_IN", "HasSession", "TradingAPI"]

# What an adapter calls once a long answer is there as a whole and only has to be read. Whoever sends sets it for the
# call: what the reading takes is no time of the broker's.
ANSWER_IS_IN: Final[ContextVar[Callable[[], None]]] = ContextVar("ANSWER_IS_IN")


@runtime_checkable
class HasSession(Protocol):
    """What an account behind a real log-in can tell besides."""

    @property
    def token_expires_epoch_ns(self) -> int:
        """When the access token ends, epoch nanoseconds; 0 when nobody says."""
        ...

    @property
    def clock_skew_ns(self) -> int | None:
        """The broker's clock minus ours, to the second; None before any answer."""
        ...

    def heard_quota(self) -> Quota | None:
        """What the last answer said is left of a limit; told once, None when it said nothing."""
        ...


@runtime_checkable
class TradingAPI(Protocol):
    """One account at one broker.

    Every call raises only `BrokerError`s: OrderNotSent, OrderRefused (RateLimited, BlockedForDay,
    AuthenticationFailed) or OrderOutcomeUnknown. A cancelled call raises CancelledError as usual; who cancels a call
    that may have left treats it as unknown.
    """

    @property
    def name(self) -> str:
        """What the account is routed by; unique among the accounts of one router."""
        ...

    @property
    def config(self) -> APIConfig: ...

    @property
    def absence_proven_after_ns(self) -> int:
        """How long after a lost request its order may still turn up; in no book after that, it was never placed."""
        ...

    def cost(self, operation: Operation, *, symbols: int = 1) -> int:
        """Requests that one call of `operation` makes on the wire: quotes of many symbols go in chunks."""
        ...

    async def authenticate(self) -> Session: ...

    async def logout(self) -> None: ...

    async def health_check(self) -> HealthStatus:
        """The cheapest call that proves the account usable."""
        ...

    async def place_order(self, order: Order, *, tag: str) -> OrderAck:
        """Send `order` once, marked with `tag`: 1 to 19 letters and digits, never used before."""
        ...

    async def modify_order(
        self,
        broker_order_id: str,
        *,
        quantity: int | None = None,
        order_type: OrderType | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
    ) -> OrderAck:
        """Change what is given; the rest stays."""
        ...

    async def cancel_order(self, broker_order_id: str) -> OrderAck: ...

    async def get_order(self, broker_order_id: str) -> BrokerOrder:
        """Raise OrderRefused with code `unknown_order` when the broker knows no such id."""
        ...

    async def find_orders_by_tag(self, tag: str) -> tuple[BrokerOrder, ...]:
        """The orders that bear exactly this tag, filtered on our side whatever the broker did."""
        ...

    async def get_orders(self) -> tuple[BrokerOrder, ...]:
        """The day's order book."""
        ...

    async def get_positions(self) -> tuple[Position, ...]: ...

    async def get_portfolio(self) -> Portfolio: ...

    async def get_market_data(self, symbols: Sequence[str]) -> tuple[Quote, ...]:
        """The latest quotes, one per symbol known to the broker, in the order asked."""
        ...
