"""An order, from the caller's hand to its end; prices are Decimal, quantities whole, times epoch nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Self

from ..errors import IllegalStep
from .quick import quick

__all__ = [
    "ALLOWED_STEPS",
    "FINAL",
    "OPEN",
    "BrokerOrder",
    "Fill",
    "Funds",
    "Holding",
    "Order",
    "OrderAck",
    "OrderOutcome",
    "OrderStatus",
    "OrderType",
    "Portfolio",
    "Position",
    "Product",
    "Quote",
    "Session",
    "Side",
    "Trade",
    "Validity",
    "check_step",
]


class Side(StrEnum):
    """Which way. `sign` is 1 for a buy, -1 for a sell."""

    BUY = "BUY"
    SELL = "SELL"

    def __init__(self, text: str) -> None:
        self.sign = 1 if text == "BUY" else -1


class OrderType(StrEnum):
    """How the price is found."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"
    SL_M = "SL-M"


class Product(StrEnum):
    """How long the position may be held."""

    INTRADAY = "INTRADAY"
    DELIVERY = "DELIVERY"
    MARGIN = "MARGIN"


class Validity(StrEnum):
    """How long the order may rest."""

    DAY = "DAY"
    IOC = "IOC"


class OrderStatus(StrEnum):
    """Where an order stands. DENIED is our own no, before anything was sent; REJECTED is the broker's."""

    NEW = "NEW"
    DENIED = "DENIED"
    SUBMITTING = "SUBMITTING"
    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCELLED = "CANCELLED"
    MODIFY_REQUESTED = "MODIFY_REQUESTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    QUARANTINED = "QUARANTINED"


_KINDS: Final = (("side", Side), ("order_type", OrderType), ("product", Product), ("validity", Validity))
# Whether an order of this type needs a price, and whether it needs a trigger.
_NEEDS: Final = {
    OrderType.MARKET: (False, False),
    OrderType.LIMIT: (True, False),
    OrderType.SL: (True, True),
    OrderType.SL_M: (False, True),
}
_S = OrderStatus
_RESTING: Final = frozenset({_S.ACCEPTED, _S.PARTIALLY_FILLED})
_ENDS_AT_BROKER: Final = frozenset({_S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED})

# From a state in the left column an order may go to those on the right. To stay where it is, is always allowed:
# brokers repeat their news. Drawn in docs/order-safety.md from this very table.
ALLOWED_STEPS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    _S.NEW: frozenset({_S.DENIED, _S.SUBMITTING}),
    _S.DENIED: frozenset(),
    # Back to NEW only when it is proven that nothing left; a fill may be heard of before the acceptance.
    _S.SUBMITTING: frozenset({_S.NEW, _S.DENIED, _S.UNKNOWN, _S.QUARANTINED}) | _RESTING | _ENDS_AT_BROKER,
    _S.UNKNOWN: frozenset({_S.NEW, _S.QUARANTINED, _S.DENIED}) | _RESTING | _ENDS_AT_BROKER,
    _S.QUARANTINED: frozenset({_S.DENIED}) | _RESTING | _ENDS_AT_BROKER,
    _S.ACCEPTED: frozenset({_S.PARTIALLY_FILLED, _S.CANCEL_REQUESTED, _S.MODIFY_REQUESTED}) | _ENDS_AT_BROKER,
    _S.PARTIALLY_FILLED: frozenset({_S.CANCEL_REQUESTED, _S.MODIFY_REQUESTED}) | _ENDS_AT_BROKER,
    # A refused cancel or modify gives the resting state back; a fill may cross either on the way.
    _S.CANCEL_REQUESTED: _RESTING | _ENDS_AT_BROKER,
    _S.MODIFY_REQUESTED: _RESTING | _ENDS_AT_BROKER | {_S.CANCEL_REQUESTED},
    # The last fill may cross a cancel that the broker has confirmed for the rest.
    _S.CANCELLED: frozenset({_S.FILLED}),
    _S.FILLED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.EXPIRED: frozenset(),
}
FINAL: Final = frozenset({_S.DENIED, _S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED})
OPEN: Final = frozenset(OrderStatus) - FINAL


def check_step(before: OrderStatus, after: OrderStatus) -> None:
    """Raise IllegalStep unless an order may go from `before` to `after`."""
    if after is not before and after not in ALLOWED_STEPS[before]:
        message = f"an order that is {before.value} cannot become {after.value}"
        raise IllegalStep(message)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller wants. `client_order_id` is the idempotency key; left empty, the engine makes one.

    Raises ValueError for a quantity below 1, a price that is not above 0, or prices that do not fit the type. Numbers
    and strings are taken for prices and become Decimal; a float goes by its shortest text, so 652.5 is exact.
    """

    symbol: str
    quantity: int
    side: Side = Side.BUY
    order_type: OrderType = OrderType.MARKET
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    product: Product = Product.INTRADAY
    validity: Validity = Validity.DAY
    client_order_id: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.symbol, str) or not self.symbol or len(self.symbol) > 64:
            message = f"symbol is {self.symbol!r}; give 1 to 64 characters, such as NSE:SBIN-EQ"
            raise ValueError(message)
        if isinstance(self.quantity, bool) or not isinstance(self.quantity, int) or self.quantity < 1:
            message = f"quantity is {self.quantity!r}; give a whole number of at least 1"
            raise ValueError(message)
        if (
            type(self.side) is not Side
            or type(self.order_type) is not OrderType
            or type(self.product) is not Product
            or type(self.validity) is not Validity
        ):
            for name, kind in _KINDS:
                object.__setattr__(self, name, kind(getattr(self, name)))
        price, trigger_price = self.price, self.trigger_price
        if price is not None and (checked := _price("price", price)) is not price:
            object.__setattr__(self, "price", checked)
        if trigger_price is not None and (checked := _price("trigger_price", trigger_price)) is not trigger_price:
            object.__setattr__(self, "trigger_price", checked)
        needs_price, needs_trigger = _NEEDS[self.order_type]
        if needs_price is (price is None):
            message = f"a {self.order_type.value} order {'needs a price' if needs_price else 'takes no price'}"
            raise ValueError(message)
        if needs_trigger is (trigger_price is None):
            message = f"a {self.order_type.value} order {'needs' if needs_trigger else 'takes no'} trigger_price"
            raise ValueError(message)

    def with_id(self, client_order_id: str) -> Self:
        """The same order under this id."""
        # Field by field: `replace` would check once more what is checked, for five times the price.
        named = object.__new__(type(self))
        for name in self.__slots__:
            object.__setattr__(named, name, getattr(self, name))
        object.__setattr__(named, "client_order_id", client_order_id)
        return named


def _price(name: str, value: object) -> Decimal:
    if isinstance(value, Decimal):
        price = value
    elif isinstance(value, bool) or not isinstance(value, int | float | str):
        message = f"{name} is {value!r}; give a decimal number"
        raise ValueError(message)
    else:
        try:
            price = Decimal(str(value))
        except ArithmeticError:
            message = f"{name} is {value!r}; give a decimal number"
            raise ValueError(message) from None
    if not price.is_finite() or price <= 0:
        message = f"{name} is {value!r}; give a number above 0"
        raise ValueError(message)
    return price


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAck:
    """A broker's word that it has taken an order (or a change, or a cancel); not yet the exchange's."""

    provider: str
    broker_order_id: str
    status: OrderStatus = OrderStatus.ACCEPTED
    message: str = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. `fill_id` is the broker's trade number: the same one twice counts once."""

    fill_id: str
    broker_order_id: str
    quantity: int
    price: Decimal
    epoch_ns: int


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """One row of a broker's order book, in our words. `tag` is what we sent, without the broker's own prefix."""

    provider: str
    broker_order_id: str
    tag: str
    symbol: str
    side: Side
    quantity: int
    filled_quantity: int
    average_price: Decimal
    status: OrderStatus
    message: str = ""
    epoch_ns: int = 0
    order_type: OrderType = OrderType.MARKET
    price: Decimal | None = None
    trigger_price: Decimal | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOutcome:
    """What the caller is told, once it is durable. `order_id` is the caller's own id."""

    order_id: str
    status: OrderStatus
    provider: str = ""
    broker_order_id: str = ""
    tag: str = ""
    attempt: int = 1
    filled_quantity: int = 0
    average_price: Decimal = Decimal(0)
    message: str = ""
    epoch_ns: int = 0

    @property
    def client_order_id(self) -> str:
        """The caller's id under its full name."""
        return self.order_id


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One order as the trade store keeps it; `price` is the average of its fills, or the limit while it has none."""

    order_id: str
    symbol: str
    quantity: int
    price: Decimal
    status: str = OrderStatus.NEW.value
    side: str = Side.BUY.value
    provider: str = ""
    broker_order_id: str = ""
    tag: str = ""
    filled_quantity: int = 0
    simulated: bool = True
    message: str = ""
    epoch_ns: int = 0
    updated_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The last price of a symbol."""

    symbol: str
    price: Decimal
    volume: int = 0
    epoch_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A net position of the day; `quantity` is signed."""

    symbol: str
    quantity: int
    average_price: Decimal
    last_price: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    product: Product = Product.INTRADAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Shares kept over night."""

    symbol: str
    quantity: int
    average_price: Decimal
    last_price: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """Money, in rupees."""

    available: Decimal
    used: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Funds and holdings."""

    provider: str
    funds: Funds
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A log-in that holds. `expires_epoch_ns` is 0 where the broker does not say."""

    provider: str
    user_id: str = ""
    expires_epoch_ns: int = 0
