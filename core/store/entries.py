"""What the journal records, as values; and each value as JSON and back.

`epoch_ns` 0 means: now, by the store's clock. An entry's form never changes under one VERSION: a new form gets a new
number, and the old one stays readable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Context, Decimal
from typing import Any, ClassVar, Final

from ..errors import StoreCorrupt
from ..models import Order, OrderStatus, OrderType, Product, Side, Validity, quick

__all__ = [
    "VERSION",
    "CancelIntended",
    "Claimed",
    "Entry",
    "Halted",
    "IncidentSeen",
    "Intent",
    "JournalRow",
    "JournaledOrder",
    "Lifted",
    "LimiterSaved",
    "ModifyIntended",
    "Step",
    "entry_from_json",
    "fingerprint",
    "json_of",
    "order_from_json",
    "order_json",
    "step_json",
    "taking_json",
]

VERSION: Final = 1


@quick
@dataclass(frozen=True, slots=True)
class Claimed:
    """An order id is taken, with this content, by an order that waits. Made by `Journal.claim`."""

    order: Order
    epoch_ns: int = 0
    simulated: bool = True
    # Where the order then stands.
    status: ClassVar[str] = "NEW"
    provider: ClassVar[str] = ""
    tag: ClassVar[str] = ""
    attempt: ClassVar[int] = 0

    @property
    def order_id(self) -> str:
        return self.order.client_order_id


@quick
@dataclass(frozen=True, slots=True)
class Intent:
    """This order is about to leave, for this broker, marked with this tag. Takes the order's id where it is free.

    The order must be NEW, and `attempt`, which counts from 1, above every earlier one of the order; that is what keeps
    two processes from sending one order twice. Moves the order to SUBMITTING.
    """

    order: Order
    tag: str
    provider: str
    attempt: int = 1
    epoch_ns: int = 0
    fingerprint: str = ""
    simulated: bool = True
    status: ClassVar[str] = "SUBMITTING"

    @property
    def order_id(self) -> str:
        return self.order.client_order_id


@quick
@dataclass(frozen=True, slots=True)
class Step:
    """An order went from `before` to `after`.

    An empty provider, tag or broker_order_id and an attempt or average of 0 mean: as known before. A filled quantity
    never goes back: late news cannot undo a fill.
    """

    order_id: str
    before: OrderStatus
    after: OrderStatus
    provider: str = ""
    broker_order_id: str = ""
    tag: str = ""
    attempt: int = 0
    filled_quantity: int = 0
    average_price: Decimal = Decimal(0)
    message: str = ""
    epoch_ns: int = 0


@dataclass(frozen=True, slots=True)
class CancelIntended:
    """A cancel is about to leave."""

    order_id: str
    provider: str = ""
    broker_order_id: str = ""
    epoch_ns: int = 0


@dataclass(frozen=True, slots=True)
class ModifyIntended:
    """A modify is about to leave; None means: stays as it is."""

    order_id: str
    provider: str = ""
    broker_order_id: str = ""
    quantity: int | None = None
    order_type: OrderType | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    epoch_ns: int = 0


@dataclass(frozen=True, slots=True)
class IncidentSeen:
    """Something an operator must hear of. `evidence` never holds a secret."""

    kind: str
    provider: str = ""
    message: str = ""
    evidence: str = ""
    order_id: str = ""
    epoch_ns: int = 0


@dataclass(frozen=True, slots=True)
class Halted:
    """The kill switch is on, for every process on this file."""

    reason: str
    epoch_ns: int = 0
    order_id: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Lifted:
    """The kill switch is off again; `name` is who lifted it."""

    name: str
    epoch_ns: int = 0
    order_id: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class LimiterSaved:
    """A limiter's counts, so that a restart does not forget what a broker still counts.

    No entry: only the last of a provider is kept, beside the journal. A state of some kilobytes every few seconds
    would be hundreds of megabytes a day from which nothing follows.
    """

    provider: str
    state_json: str
    epoch_ns: int = 0


Entry = Claimed | Intent | Step | CancelIntended | ModifyIntended | IncidentSeen | Halted | Lifted
_TYPES: Final[Mapping[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        Claimed,
        Intent,
        Step,
        CancelIntended,
        ModifyIntended,
        IncidentSeen,
        Halted,
        Lifted,
    )
}


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One entry where it stands in the journal."""

    serial: int
    epoch_ns: int
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledOrder:
    """An order as the journal knows it. `average_price` is 0 while nothing is filled; times are epoch nanoseconds."""

    order: Order
    status: OrderStatus
    provider: str = ""
    tag: str = ""
    broker_order_id: str = ""
    attempt: int = 0
    filled_quantity: int = 0
    average_price: Decimal = Decimal(0)
    message: str = ""
    simulated: bool = True
    epoch_ns: int = 0
    updated_ns: int = 0

    @property
    def order_id(self) -> str:
        return self.order.client_order_id

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.order)


def fingerprint(order: Order) -> str:
    """32 hex digits of the order's content, its id left out: equal content, equal fingerprint, in every process."""
    # 652.5 and 652.50 are one price.
    price = "null" if order.price is None else f'"{order.price.normalize(_EXACT):f}"'
    trigger = "null" if order.trigger_price is None else f'"{order.trigger_price.normalize(_EXACT):f}"'
    content = (
        f'[{_quoted(order.symbol)},{order.quantity:d},"{order.side!s}","{order.order_type!s}",{price},{trigger},'
        f'"{order.product!s}","{order.validity!s}"]'
    )
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def order_json(order: Order) -> str:
    """`order` as JSON text, prices as exact text."""
    price = "null" if order.price is None else f'"{order.price!s}"'
    trigger = "null" if order.trigger_price is None else f'"{order.trigger_price!s}"'
    return (
        f'{{"symbol":{_quoted(order.symbol)},"quantity":{order.quantity:d},"side":"{order.side!s}",'
        f'"order_type":"{order.order_type!s}","price":{price},"trigger_price":{trigger},"product":"{order.product!s}",'
        f'"validity":"{order.validity!s}","client_order_id":{_quoted(order.client_order_id)}}}'
    )


def order_from_json(text: str) -> Order:
    """The order that `order_json` wrote."""
    return _order_of(json.loads(text))


def json_of(entry: Entry) -> str:
    """The body of `entry` as ASCII JSON, the same text for the same entry.

    The three kinds that every order has are spelt out: the general way costs four times as much.
    """
    match entry:
        case Step():
            return step_json(entry)
        case Claimed() | Intent():
            return taking_json(entry, order_json(entry.order))
        case _:
            return _dumps(entry)


def step_json(step: Step) -> str:
    """`json_of`."""
    return (
        f'{{"order_id":{_quoted(step.order_id)},"before":"{step.before!s}","after":"{step.after!s}",'
        f'"provider":{_quoted(step.provider)},"broker_order_id":{_quoted(step.broker_order_id)},'
        f'"tag":{_quoted(step.tag)},"attempt":{step.attempt:d},"filled_quantity":{step.filled_quantity:d},'
        f'"average_price":"{step.average_price!s}","message":{_quoted(step.message)},"epoch_ns":{step.epoch_ns:d}}}'
    )


def taking_json(taking: Claimed | Intent, order_text: str) -> str:
    """`json_of`. `order_text`: the `order_json` of the entry's order."""
    simulated = "true" if taking.simulated else "false"
    if isinstance(taking, Claimed):
        return f'{{"order":{order_text},"epoch_ns":{taking.epoch_ns:d},"simulated":{simulated}}}'
    return (
        f'{{"order":{order_text},"tag":{_quoted(taking.tag)},"provider":{_quoted(taking.provider)},'
        f'"attempt":{taking.attempt:d},"epoch_ns":{taking.epoch_ns:d},"fingerprint":{_quoted(taking.fingerprint)},'
        f'"simulated":{simulated}}}'
    )


def entry_from_json(kind: str, version: int, body: str) -> Entry:
    """The entry that `json_of` wrote.

    Raises StoreCorrupt for a kind or version that this headroom does not know, or a body that does not fit them.
    """
    if version != VERSION or kind not in _TYPES:
        message = f"journal entry {kind!r} of version {version} is unknown here; upgrade headroom"
        raise StoreCorrupt(message)
    try:
        raw: dict[str, Any] = json.loads(body)
        entry: Entry = _TYPES[kind](**{name: _typed(name, value) for name, value in raw.items()})
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        message = f"journal entry {kind!r} cannot be read ({error}); restore a backup"
        raise StoreCorrupt(message) from error
    return entry


_NAMES: Final = {kind: tuple(field.name for field in fields(kind)) for kind in (*_TYPES.values(), Order)}


def _plain(value: object) -> object:
    """What JSON does not know by itself: a value of ours as its fields, a price as its exact text."""
    if isinstance(value, Decimal):
        return str(value)
    return {name: getattr(value, name) for name in _NAMES[type(value)]}


# ASCII on purpose: every text survives, a lone surrogate too, and a checksum needs no thought about encodings.
_quoted: Final = json.encoder.encode_basestring_ascii
_dumps: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=_plain).encode
_EXACT: Final = Context(prec=60)  # whatever the caller has set for his own sums


def _order_of(raw: dict[str, Any]) -> Order:
    return Order(
        **{
            **raw,
            "side": Side(raw["side"]),
            "order_type": OrderType(raw["order_type"]),
            "product": Product(raw["product"]),
            "validity": Validity(raw["validity"]),
        }
    )


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "order": _order_of,
    "before": OrderStatus,
    "after": OrderStatus,
    "average_price": Decimal,
    "order_type": OrderType,
    "price": Decimal,
    "trigger_price": Decimal,
}


def _typed(name: str, value: object) -> object:
    reader = _READERS.get(name)
    return value if reader is None or value is None else reader(value)
