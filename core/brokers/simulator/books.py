"""The simulated books in headroom's own words: the proof that no order was doubled or lost."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from ...models import BrokerOrder, maker
from .accounts import SimOrder
from .rules import rupees

__all__ = ["average_price", "row_of", "rows_of"]

_FOUR_PLACES: Final = Decimal("0.0001")
_broker_order: Final = maker(BrokerOrder)


def rows_of(orders: Iterable[SimOrder]) -> tuple[BrokerOrder, ...]:
    """One row for each order."""
    return tuple([order.row or row_of(order) for order in orders])


def row_of(order: SimOrder) -> BrokerOrder:
    """An order as it stands. That of an ended one is made once: a day's book is read again and again."""
    if order.row is not None:
        return order.row
    row = _broker_order(
        provider=order.account.name,
        broker_order_id=order.order_id,
        tag=order.tag,
        symbol=order.listing.symbol,
        side=order.side,
        quantity=order.quantity,
        filled_quantity=order.filled,
        average_price=average_price(order.value_paise, order.filled),
        status=order.status,
        message=order.message,
        epoch_ns=order.epoch_ns,
        order_type=order.order_type,
        price=rupees(order.price_paise) if order.price_paise else None,
        trigger_price=rupees(order.trigger_paise) if order.trigger_paise else None,
    )
    if not order.is_open:
        order.row = row
    return row


def average_price(value_paise: int, quantity: int) -> Decimal:
    """Rupees to four places, as the brokers give averages; 0 without a fill."""
    return (rupees(value_paise) / quantity).quantize(_FOUR_PLACES) if quantity else Decimal(0)
