"""What may be asked of a router besides its snapshot: what is too much to be told ten times a second.

A question is a value that bears the type of its answer; the answer is a frozen value like a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from .api import Budget, Rate
from .order import Order, OrderStatus, OrderType, Product, Side, Validity
from .snapshot import Decision

__all__ = [
    "AskBroker",
    "AskPreview",
    "AskStory",
    "BreakerMove",
    "BrokerDetail",
    "Doubt",
    "LimitSource",
    "OperationRow",
    "OrderPreview",
    "OrderStory",
    "Question",
    "RefusalRow",
    "StoryStep",
    "WindowCourse",
]

A = TypeVar("A")


class Question(Generic[A]):
    """Something that is answered by an `A`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryStep:
    """One entry of the journal: its number, when, how long after the one before, its kind and what it says."""

    serial: int
    epoch_ns: int
    since_ns: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What is being done about an order of which nobody knows whether it is live; nanoseconds from now.

    `asked_ago_ns`: since the last question that the broker answered, None before any. `proven_in_ns`: when an answer
    that does not find it proves that it was never placed, 0 from then on. `silence`: why the last question failed.
    """

    lost_for_ns: int
    asked_ago_ns: int | None
    next_ask_in_ns: int
    proven_in_ns: int
    silent_for_ns: int | None = None
    silence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStory:
    """One order as the journal has it. `terms` are those in force, after every change."""

    order_id: str
    terms: Order
    status: OrderStatus
    simulated: bool
    provider: str = ""
    broker_order_id: str = ""
    tag: str = ""
    attempt: int = 0
    filled_quantity: int = 0
    average_price: Decimal = Decimal(0)
    message: str = ""
    steps: tuple[StoryStep, ...] = ()
    doubt: Doubt | None = None


@dataclass(frozen=True, slots=True)
class AskStory(Question[OrderStory]):
    """All that the journal holds of an order."""

    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPreview:
    """What would become of an order that is being typed. Nothing is sent and nothing counted.

    `faults`: a field's name and what is wrong with it, in one line; a fault of the order as a whole stands under
    `order`. `value` is quantity times price, or times the last quote for an order without a price.
    """

    faults: tuple[tuple[str, str], ...] = ()
    tick: Decimal | None = None
    lot: int | None = None
    last: Decimal | None = None
    value: Decimal | None = None
    choice: Decision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPreview(Question[OrderPreview]):
    """An order as far as it has been typed: None for what is not there yet or no number.

    `changes`: the id of the order that these terms would change; it goes where it rests.
    """

    symbol: str
    side: Side = Side.BUY
    quantity: int | None = None
    order_type: OrderType = OrderType.MARKET
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    product: Product = Product.INTRADAY
    validity: Validity = Validity.DAY
    provider: str = ""
    changes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowCourse:
    """How full a window was, 0..1, one value a second, oldest first."""

    budget: str
    rate: Rate
    fractions: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """One operation at one broker since the start. Times are the broker's, without our own waiting."""

    operation: str
    requests: int
    failures: int
    refusals: int
    p50_ns: int
    p99_ns: int
    max_ns: int
    wait_mean_ns: int
    ended_epoch_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerMove:
    """A circuit breaker went from one state to another, and why."""

    epoch_ns: int
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRow:
    """A broker said that we are above a limit: what we make of it, and its own words (status, code, headers)."""

    epoch_ns: int
    message: str
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSource:
    """One limit in force and where its number comes from."""

    budget: str
    rate: Rate
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerDetail:
    """One broker in depth. `histogram`: upper edge of each bar in ns, and the answers in it.

    `refusals`: the last ones, newest first, with the broker's own words as evidence. `token_source`: who gave the
    token. `published`: what the broker publishes, for comparison with `limits`.
    """

    name: str
    windows: tuple[WindowCourse, ...] = ()
    histogram: tuple[tuple[int, int], ...] = ()
    operations: tuple[OperationRow, ...] = ()
    breaker: tuple[BreakerMove, ...] = ()
    refusals: tuple[RefusalRow, ...] = ()
    limits: tuple[LimitSource, ...] = ()
    published: tuple[Budget, ...] = ()
    token_source: str = ""
    token_expires_epoch_ns: int = 0


@dataclass(frozen=True, slots=True)
class AskBroker(Question[BrokerDetail]):
    """One broker in depth."""

    name: str
