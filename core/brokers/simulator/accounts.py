"""The books of one account at the simulated exchange: orders, positions, holdings, money. Whole paise throughout.

Cash is kept by what was paid and received, positions by what they cost; the two are booked apart, so that

    cash + cost of positions - realised profit + fees == opening cash

is a check and not a definition (tests/brokers/test_exchange.py holds it over any sequence of operations).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from ...models import BrokerOrder, Order, OrderStatus, OrderType, Product, Side, Validity
from .listings import Listing

__all__ = ["MARGIN_PERCENT", "Account", "Execution", "PositionBook", "Refusal", "RefusalReason", "SimOrder", "Stage"]

# By names of their own: a member is looked up in its class for ten times the price.
_DELIVERY: Final = Product.DELIVERY
# What a position of each product binds of its value: five times leverage within the day, none for delivery.
MARGIN_PERCENT: Final = {Product.INTRADAY: 20, Product.MARGIN: 20, Product.DELIVERY: 100}
FEE_PER_10_000: Final = 3
FEE_MAX_PAISE: Final = 2_000


class Stage(StrEnum):
    """Where an order stands at the exchange. `words`: its text alone, which the collector need not follow."""

    TRANSIT = "transit"
    OPEN = "open"
    TRIGGER_PENDING = "trigger pending"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    def __init__(self, text: str) -> None:
        self.words = text


_COMPLETE: Final = Stage.COMPLETE
_STATUS: Final = {
    Stage.COMPLETE: OrderStatus.FILLED,
    Stage.CANCELLED: OrderStatus.CANCELLED,
    Stage.REJECTED: OrderStatus.REJECTED,
}


class RefusalReason(StrEnum):
    """Why the broker or the exchange says no."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    NOT_TRADABLE = "not_tradable"
    QUANTITY = "quantity"
    LOT = "lot"
    TICK = "tick"
    PRICE = "price"
    PRICE_BAND = "price_band"
    MARKET_CLOSED = "market_closed"
    FUNDS = "funds"
    HOLDINGS = "holdings"
    UNKNOWN_ORDER = "unknown_order"
    FINISHED = "finished"
    PENDING = "pending"
    KILL_SWITCH = "kill_switch"


class Refusal(Exception):
    """A no, with its reason; each wire words it as its broker does."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Execution(NamedTuple):
    """One part of a fill, and which of its order's it is, from 1."""

    number: int
    quantity: int
    price_paise: int
    epoch_ns: int


@dataclass(slots=True, eq=False, repr=False)
class SimOrder:
    """An order in the broker's book; slots, because many at once would each have a dict of their own otherwise.

    `history` is one (words, epoch) per stage, `parts` one (quantity, price in paise, epoch) per execution, both oldest
    first; tuples of numbers and text, because the collector need not follow them. `delivers`: it sells for delivery.
    `due_ns` is when the last message about it gets to the exchange. `namesake` is the one before it of the same tag.
    Kept once it has ended: `row`, and `text`, its row as the wire last wrote it with the `updated_ns` of then.
    """

    account: Account
    order_id: str
    serial: int
    tag: str
    epoch_ns: int
    listing: Listing
    side: Side
    quantity: int
    order_type: OrderType
    price_paise: int
    trigger_paise: int
    product: Product
    validity: Validity
    delivers: bool
    stage: Stage = Stage.TRANSIT
    is_open: bool = True
    rests: bool = False
    pending: str = ""
    triggered: bool = False
    history: tuple[tuple[str, int], ...] = ()
    parts: tuple[tuple[int, int, int], ...] = ()
    filled: int = 0
    value_paise: int = 0
    message: str = ""
    reason: RefusalReason | None = None
    updated_ns: int = 0
    due_ns: int = 0
    reserved_paise: int = 0
    reserved_each_paise: int = 0
    namesake: SimOrder | None = None
    row: BrokerOrder | None = None
    text: tuple[int, str] | None = None

    @property
    def status(self) -> OrderStatus:
        """In headroom's words."""
        if self.is_open:
            return OrderStatus.PARTIALLY_FILLED if self.filled else OrderStatus.ACCEPTED
        return _STATUS[self.stage]

    @property
    def exchange_order_id(self) -> str:
        """The exchange's own number: sixteen digits."""
        return f"11{self.serial:014d}"

    @property
    def executions(self) -> tuple[Execution, ...]:
        """Its parts, numbered."""
        return tuple(Execution(number, *part) for number, part in enumerate(self.parts, 1))

    def trade_id(self, part: Execution) -> str:
        """The exchange's number of one part."""
        return f"{self.order_id[-8:]}{part.number:03d}"

    def move(self, stage: Stage, epoch_ns: int, message: str = "") -> None:
        if stage is not self.stage:
            self.stage = stage
            if stage in _STATUS:
                self.is_open = False
            self.history += ((stage.words, epoch_ns),)
        self.updated_ns = epoch_ns
        if message:
            self.message = message

    def note(self, words: str, epoch_ns: int) -> None:
        self.history += ((words, epoch_ns),)
        self.updated_ns = epoch_ns


@dataclass(slots=True)
class PositionBook:
    """The day's trading in one symbol under one product. `cost_paise` is signed like `quantity`.

    `margin_paise` is what it binds; shares sold out of the holdings bind nothing.
    """

    listing: Listing
    product: Product
    quantity: int = 0
    cost_paise: int = 0
    margin_paise: int = 0
    realised_paise: int = 0
    buy_quantity: int = 0
    buy_paise: int = 0
    sell_quantity: int = 0
    sell_paise: int = 0

    def book(self, side: Side, quantity: int, price_paise: int) -> None:
        """Apply one execution: it closes what stands against it first, and opens with the rest."""
        value, sign, standing, cost = quantity * price_paise, side.sign, self.quantity, self.cost_paise
        if sign > 0:
            self.buy_quantity += quantity
            self.buy_paise += value
        else:
            self.sell_quantity += quantity
            self.sell_paise += value
        if sign * standing < 0:
            open_before = abs(standing)
            closing = quantity if quantity < open_before else open_before  # noqa: FURB136 - see `settle`
            # A share of the cost that is no whole paise leaves its rest in the position: nothing is lost.
            released = cost * closing // open_before
            cost -= released
            value -= closing * price_paise
            self.realised_paise -= sign * closing * price_paise + released
        self.quantity = standing = standing + sign * quantity
        self.cost_paise = cost = cost + sign * value
        sold_out_of_holdings = standing < 0 and self.product is _DELIVERY
        self.margin_paise = 0 if sold_out_of_holdings else abs(cost) * MARGIN_PERCENT[self.product] // 100

    def closing_order(self) -> Order:
        """The market order that would close it. Raises ValueError when it is closed."""
        side = Side.SELL if self.quantity > 0 else Side.BUY
        return Order(symbol=self.listing.symbol, quantity=abs(self.quantity), side=side, product=self.product)


class Account:
    """One client of the exchange. `cost_paise` and `margin_paise` are those of all positions together."""

    def __init__(self, name: str, *, opening_paise: int, serial_digits: int = 8) -> None:
        self.name = name
        self.serial_digits = serial_digits
        self.opening_paise = opening_paise
        self.cash_paise = opening_paise
        self.fees_paise = 0
        self.reserved_paise = 0
        self.cost_paise = 0  # asked for with each order: not summed anew over all positions
        self.margin_paise = 0
        self.orders: dict[str, SimOrder] = {}
        self._by_tag: dict[str, SimOrder] = {}  # the latest of each; its namesakes hang on it
        self.open_orders: dict[str, SimOrder] = {}
        self.positions: dict[tuple[str, Product], PositionBook] = {}
        self.holdings: dict[str, tuple[int, int]] = {}  # symbol: (quantity, average paise)
        self.killed_segments: set[str] = set()

    @property
    def used_paise(self) -> int:
        """Bound by positions and open orders."""
        return self.reserved_paise + self.margin_paise

    @property
    def available_paise(self) -> int:
        """Free for new orders: all that the account is worth at cost, less what is bound."""
        return self.cash_paise + self.cost_paise - self.reserved_paise - self.margin_paise

    def add(self, order: SimOrder) -> None:
        self.orders[order.order_id] = order
        tag = order.tag
        if tag:
            order.namesake = self._by_tag.get(tag)
            self._by_tag[tag] = order

    def tagged(self, tag: str) -> list[SimOrder]:
        """The orders of that tag, oldest first: a broker takes one as often as it is sent."""
        order, found = self._by_tag.get(tag), []
        while order is not None:
            found.append(order)
            order = order.namesake
        return found[::-1]

    def forget(self, before_ns: int) -> list[SimOrder]:
        """Take the orders that ended before an epoch time out of the book and return them, oldest first."""
        gone = []
        for order in self.orders.values():
            if order.epoch_ns >= before_ns:
                break  # they stand in the order in which they came
            if not order.is_open and order.updated_ns < before_ns:
                gone.append(order)
        for order in gone:
            del self.orders[order.order_id]
            self._by_tag.pop(order.tag, None)
        return gone

    def need_for(self, order: SimOrder, quantity: int, price_paise: int) -> tuple[int, int]:
        """What so many of the order's shares bind, each and in all; closing a position binds nothing."""
        if order.delivers:
            return 0, 0
        each_paise = -(-price_paise * MARGIN_PERCENT[order.product] // 100)
        position = self.positions.get((order.listing.symbol, order.product))
        if position is not None:
            against = -order.side.sign * position.quantity
            if against > 0:
                quantity = quantity - against if quantity > against else 0
        return each_paise, each_paise * quantity

    def missing_for_change(self, order: SimOrder, quantity: int, price_paise: int) -> int:
        """By how much the change would overdraw the account; 0 or less when it fits."""
        _, need = self.need_for(order, quantity - order.filled, price_paise)
        return need - order.reserved_paise - self.available_paise if need > order.reserved_paise else 0

    def deliverable(self, symbol: str) -> int:
        """Shares that may be sold out of holdings and the day's delivery position."""
        held = self.holdings.get(symbol, (0, 0))[0]
        position = self.positions.get((symbol, Product.DELIVERY))
        promised = sum(
            order.quantity - order.filled
            for order in self.open_orders.values()
            if order.delivers and order.listing.symbol == symbol
        )
        return held + (position.quantity if position else 0) - promised

    def reserve(self, order: SimOrder, each_paise: int, need_paise: int) -> None:
        """Bind what the order needs."""
        order.reserved_each_paise, order.reserved_paise = each_paise, need_paise
        self.reserved_paise += need_paise
        self.open_orders[order.order_id] = order

    def release(self, order: SimOrder) -> None:
        """Bind nothing more for it: it has come to its end, or is to change."""
        self.reserved_paise -= order.reserved_paise
        order.reserved_paise = 0
        self.open_orders.pop(order.order_id, None)

    def settle(self, order: SimOrder, quantity: int, price_paise: int, epoch_ns: int) -> None:
        """Book one execution: money, fee, position, order. Spelt out what is less: min() costs more than the rest."""
        side, value = order.side, quantity * price_paise
        fee = value * FEE_PER_10_000 // 10_000
        if fee > FEE_MAX_PAISE:  # noqa: PLR1730 - see above
            fee = FEE_MAX_PAISE
        self.cash_paise -= side.sign * value + fee
        self.fees_paise += fee
        key = (order.listing.symbol, order.product)
        position = self.positions.get(key)
        if position is None:
            position = self.positions[key] = PositionBook(order.listing, order.product)
        cost, margin = position.cost_paise, position.margin_paise
        position.book(side, quantity, price_paise)
        self.cost_paise += position.cost_paise - cost
        self.margin_paise += position.margin_paise - margin
        order.parts += ((quantity, price_paise, epoch_ns),)
        order.value_paise += value
        order.filled = filled = order.filled + quantity
        if filled == order.quantity:
            order.move(_COMPLETE, epoch_ns)
            self.release(order)
            return
        still_bound = order.reserved_each_paise * (order.quantity - filled)
        if still_bound < order.reserved_paise:
            self.reserved_paise -= order.reserved_paise - still_bound
            order.reserved_paise = still_bound
