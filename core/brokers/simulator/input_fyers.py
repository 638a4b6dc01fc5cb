"""What Fyers makes of a body before it acts on it, and the codes it refuses with.

Sources: myapi.fyers.in/docsv3, Order Placement and Appendix, read January 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

from ...models import Order, OrderType, Product, Side, Validity
from .accounts import Refusal, RefusalReason
from .rows_fyers import PRODUCT_NAME, TYPE_NUMBER
from .wire import Answer, Call, answer_json, parse_json

__all__ = [
    "ORDERS_PER_CALL",
    "ORDER_TYPES",
    "Bad",
    "count_lines",
    "error",
    "read_lines",
    "read_object",
    "read_order",
    "read_price",
    "read_whole",
    "translated",
]

T = TypeVar("T")

ORDERS_PER_CALL: Final = 10
_TAG: Final = re.compile(r"[0-9A-Za-z]{1,30}")
ORDER_TYPES: Final = {number: order_type for order_type, number in TYPE_NUMBER.items()}
_PRODUCTS: Final = {name: product for product, name in PRODUCT_NAME.items()} | {"MTF": Product.DELIVERY}
_REJECTED: Final = frozenset(
    {
        RefusalReason.PRICE_BAND,
        RefusalReason.MARKET_CLOSED,
        RefusalReason.FUNDS,
        RefusalReason.HOLDINGS,
        RefusalReason.KILL_SWITCH,
    }
)


class Bad(Exception):
    """An error answer on its way up."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status

    def body(self) -> dict[str, Any]:
        return {"s": "error", "code": self.code, "message": self.message}


def error(bad: Bad) -> Answer:
    """The error as an answer."""
    return answer_json(bad.body(), bad.status)


def translated(act: Callable[[], T]) -> T:
    """The exchange's no in Fyers' codes."""
    try:
        return act()
    except Refusal as no:
        if no.reason in {RefusalReason.UNKNOWN_SYMBOL, RefusalReason.NOT_TRADABLE}:
            raise Bad(-300, "Please provide a valid symbol") from no
        if no.reason is RefusalReason.UNKNOWN_ORDER:
            raise Bad(-51, "Please provide a valid order id") from no
        if no.reason in _REJECTED:
            raise Bad(-99, f"RED:{no}", 200) from no
        if no.reason in {RefusalReason.FINISHED, RefusalReason.PENDING}:
            raise Bad(-99, str(no)) from no
        raise Bad(-50, str(no)) from no
    except ValueError as wrong:  # an Order that makes no sense
        raise Bad(-50, str(wrong)) from wrong


def read_order(body: dict[str, Any]) -> tuple[Order, str]:
    """The order that a place body describes; each field that is wrong is named."""
    symbol = body.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise Bad(-50, "symbol: please provide a valid value")
    _one_of(body, "type", ORDER_TYPES)
    _one_of(body, "side", (1, -1))
    _one_of(body, "productType", _PRODUCTS)
    _one_of(body, "validity", ("DAY", "IOC"))
    if not isinstance(body.get("offlineOrder", False), bool):
        raise Bad(-50, "offlineOrder: please provide a valid value")
    tag = body.get("orderTag") or ""
    if tag and (not isinstance(tag, str) or not _TAG.fullmatch(tag) or tag == "Untagged"):
        raise Bad(-50, "orderTag: only letters and digits, at most 30")
    order_type = ORDER_TYPES[body["type"]]
    price, trigger = read_price(body, "limitPrice"), read_price(body, "stopPrice")
    if order_type in {OrderType.LIMIT, OrderType.SL} and price is None:
        raise Bad(-50, "limitPrice: please provide a valid value")
    if order_type in {OrderType.SL, OrderType.SL_M} and trigger is None:
        raise Bad(-50, "stopPrice: please provide a valid value")
    order = Order(
        symbol=symbol,
        quantity=read_whole(body, "qty"),
        side=Side.BUY if body["side"] == 1 else Side.SELL,
        order_type=order_type,
        price=price if order_type in {OrderType.LIMIT, OrderType.SL} else None,
        trigger_price=trigger if order_type in {OrderType.SL, OrderType.SL_M} else None,
        product=_PRODUCTS[body["productType"]],
        validity=Validity(body["validity"]),
    )
    return order, tag


def _one_of(body: dict[str, Any], name: str, known: Any) -> None:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str) or value not in known:
        raise Bad(-50, f"{name}: please provide a valid value")


def read_whole(body: dict[str, Any], name: str) -> int:
    """A whole number of at least 1."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Bad(-50, f"{name}: please provide a valid value")
    return value


def read_price(body: dict[str, Any], name: str) -> Decimal | None:
    """A price, None where it is left out or 0."""
    value = body.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value < 0:
        raise Bad(-50, f"{name}: please provide a valid value")
    return Decimal(value) if value else None


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object with exact decimals."""
    try:
        value = parse_json(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Bad(-50, "Please provide a valid JSON body")
    return value


def read_lines(body: bytes) -> list[Any] | None:
    """A JSON list that is not empty; None for anything else."""
    try:
        value = parse_json(body)
    except ValueError:
        return None
    return value if isinstance(value, list) and value else None


def count_lines(call: Call) -> int:
    """What a request of several orders costs: one for each that can be in it."""
    return min(len(read_lines(call.body) or [None]), ORDERS_PER_CALL)
