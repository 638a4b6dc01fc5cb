"""The simulated books in headroom's own words: the proof that no order was doubled or lost."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from ...models import BrokerOrder
from .accounts import SimOrder
from .rules import rupees

__all__ = ["Book", "average_price"]


class Book:
    """One account's orders as rows. The row of a finished order is made once: a day's book is read again and again."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._finished: dict[str, BrokerOrder] = {}

    def rows(self, orders: Iterable[SimOrder]) -> tuple[BrokerOrder, ...]:
        return tuple(map(self.row, orders))

    def last_rows(self, orders: Iterable[SimOrder]) -> tuple[BrokerOrder, ...]:
        """The rows of orders that are leaving the book."""
        rows = self.rows(orders)
        for row in rows:
            self._finished.pop(row.broker_order_id, None)
        return rows

    def row(self, order: SimOrder) -> BrokerOrder:
        row = self._finished.get(order.order_id)
        if row is None:
            row = _row(self._provider, order)
            if not order.is_open:
                self._finished[order.order_id] = row
        return row


def _row(provider: str, order: SimOrder) -> BrokerOrder:
    return BrokerOrder(
        provider=provider,
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


def average_price(value_paise: int, quantity: int) -> Decimal:
    """Rupees to four places, as the brokers give averages; 0 without a fill."""
    return (rupees(value_paise) / quantity).quantize(Decimal("0.0001")) if quantity else Decimal(0)
