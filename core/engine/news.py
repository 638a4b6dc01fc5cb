"""What a broker's word changes. Pure: no clock, no await.

Brokers repeat themselves, speak out of order and cross our own requests: a fill before the acceptance, a fill on the
way of a cancel, yesterday's state after today's. `fold` says what one row of an order book means for an order that we
know, and never lets a fill be taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final, NamedTuple

from ..models import ALLOWED_STEPS, FINAL, BrokerOrder, Order, OrderStatus

__all__ = ["Folded", "fold", "has_terms", "rows_by_tag", "terms_of"]

_S = OrderStatus
_ASKED: Final = frozenset({_S.CANCEL_REQUESTED, _S.MODIFY_REQUESTED})
_SAYS_NOTHING: Final = frozenset({_S.UNKNOWN, _S.QUARANTINED, _S.DENIED})
_SAYS_THE_END: Final = FINAL - _SAYS_NOTHING
_FILLED: Final = _S.FILLED


class Folded(NamedTuple):
    """The state after the news. `incident` is not empty when the broker contradicts what we know for certain."""

    status: OrderStatus
    filled_quantity: int
    average_price: Decimal
    incident: str = ""


def rows_by_tag(rows: Iterable[BrokerOrder]) -> Mapping[str, Sequence[BrokerOrder]]:
    """The rows that bear exactly one tag, whatever the broker, or an adapter, thinks the question was."""
    found: dict[str, list[BrokerOrder]] = {}
    for row in rows:
        found.setdefault(row.tag, []).append(row)
    return found


def fold(status: OrderStatus, filled_quantity: int, average_price: Decimal, order: Order, row: BrokerOrder) -> Folded:
    """What `row` means for an order with this status and these fills; `order` holds its terms."""
    filled, average = filled_quantity, average_price
    incident = ""
    if row.filled_quantity > filled:
        filled, average = row.filled_quantity, row.average_price
    elif row.filled_quantity == filled and row.average_price > 0:
        average = row.average_price
    if row.symbol != order.symbol or row.side != order.side:
        incident = f"our tag stands on another order: {row.side} {row.symbol} instead of {order.side} {order.symbol}"
    after = _status_after(status, row.status, filled)
    if after is not status and after not in ALLOWED_STEPS[status]:
        incident = f"the broker says {row.status.value}, but it was {status.value}"
        after = status
    elif filled > order.quantity:
        incident = f"{filled} are filled, but only {order.quantity} were ordered"
    return Folded(after, filled, average, incident)


def _status_after(status: OrderStatus, said: OrderStatus, filled: int) -> OrderStatus:
    if said in _SAYS_THE_END:
        # A cancel that is confirmed late says nothing against a fill that was confirmed before it.
        return status if status is _FILLED and said is _S.CANCELLED else said
    if said in _SAYS_NOTHING:
        return status
    # It rests, whatever the broker calls it.
    if status in FINAL:
        # Old news: an end is never taken back. But after our own no there must be nothing to rest.
        return _S.ACCEPTED if status is _S.DENIED else status
    if status in _ASKED:
        return status  # only the answer to our own request, or a later look after it, gives the resting state back
    return _S.PARTIALLY_FILLED if filled else _S.ACCEPTED


def has_terms(row: BrokerOrder, terms: Order) -> bool:
    """Whether the broker's row shows these terms: how a change without an answer is found to have arrived."""
    return (
        row.quantity == terms.quantity
        and row.order_type == terms.order_type
        and (terms.price is None or row.price == terms.price)
        and (terms.trigger_price is None or row.trigger_price == terms.trigger_price)
    )


def terms_of(row: BrokerOrder, terms: Order) -> Order:
    """The terms in force as the broker's row shows them; what it does not show stays."""
    if (row.quantity, row.price) == (terms.quantity, terms.price) or row.order_type is not terms.order_type:
        return terms
    return replace(
        terms, quantity=max(1, row.quantity), price=row.price if terms.price is not None and row.price else terms.price
    )
