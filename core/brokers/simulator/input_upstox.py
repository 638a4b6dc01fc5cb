"""What Upstox makes of a body before it acts on it, and the codes it refuses with.

Sources: upstox.com/developer/api-documentation, pages Error Codes and Place Order V3, read 2026. Codes that only field
reports name are among them; which is which stands in no public place.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

from ...models import Order, OrderType, Product, Side, Validity
from .accounts import Refusal, RefusalReason
from .listings import Listing
from .wire import Answer, Call, answer_json, parse_json

__all__ = [
    "ORDERS_PER_CALL",
    "Bad",
    "check_correlation",
    "count_lines",
    "error",
    "one_of",
    "read_lines",
    "read_object",
    "read_order",
    "read_prices",
    "translated",
]

T = TypeVar("T")

ORDERS_PER_CALL: Final = 10
TAG_MAX: Final = 40
_PRODUCTS: Final = {"I": Product.INTRADAY, "D": Product.DELIVERY, "MTF": Product.DELIVERY}
_MESSAGES: Final = {
    "UDAPI10005": "Too Many Request Sent",
    "UDAPI100010": "Unknown order id",
    "UDAPI100011": "Invalid Instrument key",
    "UDAPI100036": "Invalid Input",
    "UDAPI100040": "The order cannot be cancelled: it is cancelled, rejected or completed already",
    "UDAPI100041": "The order cannot be modified: it is cancelled, rejected or completed already",
    "UDAPI100050": "Invalid token used to access API",
    "UDAPI100057": "Invalid Auth code",
    "UDAPI100016": "Invalid Credentials",
    "UDAPI100060": "Resource not Found.",
    "UDAPI100072": "The Funds service is accessible from 5:30 AM to 12:00 AM IST",
    "UDAPI100074": "The order service is accessible from 5:30 AM to 12:00 AM IST",
    "UDAPI100500": "Something went wrong",
    "UDAPI1004": "The order_type is required",
    "UDAPI1007": "The validity is required",
    "UDAPI1010": "The order_id is invalid",
    "UDAPI1023": "The order_id is required",
    "UDAPI1026": "The instrument_token is required",
    "UDAPI1029": "The price is required",
    "UDAPI1031": "The price is invalid",
    "UDAPI1036": "The trigger_price is required",
    "UDAPI1052": "The quantity cannot be zero",
    "UDAPI1055": "The validity is invalid",
    "UDAPI1056": "The order_type is invalid",
    "UDAPI1087": "The instrument key is malformed",
    "UDAPI1115": "The correlation_id is required",
    "UDAPI1117": "The correlation_id is not unique",
    "UDAPI1118": "At most 10 orders fit one request",
    "UDAPI1119": "The tag is longer than 40 characters",
    "UDAPI1154": "Orders are taken from the registered static IP only",
    "UDAPI1156": "The algo name is not registered for this app",
    "UDAPI1158": "A market order needs market protection",
    "UDAPI1159": "The market protection is out of range",
    "UDAPI1161": "MCX is not available over the API",
    "UDAPI1184": "Close the open positions first",
    "UDAPI1185": "The kill switch can be lifted after 12 hours",
    "UDAPI1186": "The segment is invalid",
    "UDAPI1188": "The action is invalid",
}
_REFUSAL_CODE: Final = {
    RefusalReason.UNKNOWN_SYMBOL: "UDAPI100011",
    RefusalReason.NOT_TRADABLE: "UDAPI100011",
    RefusalReason.QUANTITY: "UDAPI1052",
    RefusalReason.UNKNOWN_ORDER: "UDAPI100010",
    RefusalReason.PRICE: "UDAPI1029",
    RefusalReason.TICK: "UDAPI1031",
    RefusalReason.PRICE_BAND: "UDAPI1031",
}


class Bad(Exception):
    """An error answer on its way up."""

    def __init__(self, code: str, *, prop: str | None = None, value: object = None, message: str = "") -> None:
        super().__init__(code)
        self.code, self.prop, self.value = code, prop, value
        self.text = message or _MESSAGES[code]

    def entry(self) -> dict[str, Any]:
        """One entry of `errors`, in both of the spellings that are sent."""
        value = float(self.value) if isinstance(self.value, Decimal) else self.value
        return {
            "errorCode": self.code,
            "message": self.text,
            "propertyPath": self.prop,
            "invalidValue": value,
            "error_code": self.code,
            "property_path": self.prop,
            "invalid_value": value,
        }


def error(code: str, *, status: int = 400, prop: str | None = None, value: object = None, message: str = "") -> Answer:
    """One error in Upstox's envelope."""
    return answer_json(
        {"status": "error", "errors": [Bad(code, prop=prop, value=value, message=message).entry()]}, status
    )


def read_order(body: dict[str, Any], listing_of: Callable[[str], Listing]) -> tuple[Order, str]:
    """The order that a place body describes, and its tag; the first field that is wrong is named."""
    quantity = body.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1:
        raise Bad("UDAPI1052", prop="quantity", value=quantity)
    one_of(body, "product", _PRODUCTS, "UDAPI100036", "UDAPI100036")
    one_of(body, "validity", ("DAY", "IOC"), "UDAPI1007", "UDAPI1055")
    one_of(body, "order_type", ("MARKET", "LIMIT", "SL", "SL-M"), "UDAPI1004", "UDAPI1056")
    one_of(body, "transaction_type", ("BUY", "SELL"), "UDAPI100036", "UDAPI100036")
    for name, kind in (("disclosed_quantity", int), ("is_amo", bool)):
        if not isinstance(body.get(name), kind):
            raise Bad("UDAPI100036", prop=name, value=body.get(name))
    protection = body.get("market_protection")
    if body["order_type"] in {"MARKET", "SL-M"} and protection is not None:
        if protection == 0:
            raise Bad("UDAPI1158", prop="market_protection", value=0)
        if not isinstance(protection, int | Decimal) or not -1 <= protection <= 25:
            raise Bad("UDAPI1159", prop="market_protection", value=protection)
    key = body.get("instrument_token")
    if not key or not isinstance(key, str):
        raise Bad("UDAPI1026", prop="instrument_token", value=key)
    listing = listing_of(key)
    tag = str(body.get("tag") or "")
    if len(tag) > TAG_MAX:
        raise Bad("UDAPI1119", prop="tag", value=tag)
    price, trigger = read_prices(body)
    order = Order(
        symbol=listing.symbol,
        quantity=quantity,
        side=Side(body["transaction_type"]),
        order_type=OrderType(body["order_type"]),
        price=price,
        trigger_price=trigger,
        product=_PRODUCTS[body["product"]],
        validity=Validity(body["validity"]),
    )
    return order, tag


def check_correlation(correlation_id: str, seen: set[str]) -> None:
    """The id ties an answer to its line, within this one request only."""
    if not correlation_id:
        raise Bad("UDAPI1115", prop="correlation_id")
    if correlation_id in seen:
        raise Bad("UDAPI1117", prop="correlation_id", value=correlation_id)
    seen.add(correlation_id)


def translated(act: Callable[[], T]) -> T:
    """The exchange's no in Upstox's codes."""
    try:
        return act()
    except Refusal as no:
        raise Bad(_REFUSAL_CODE.get(no.reason, "UDAPI100036"), message=str(no)) from no
    except ValueError as wrong:  # an Order that makes no sense
        raise Bad("UDAPI100036", message=str(wrong)) from wrong


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object with exact decimals."""
    try:
        value = parse_json(body)
    except ValueError:
        raise Bad("UDAPI100038", message="The body is no JSON") from None
    if not isinstance(value, dict):
        raise Bad("UDAPI100038", message="The body is no JSON object")
    return value


def read_lines(body: bytes) -> list[Any]:
    """A JSON list that is not empty."""
    try:
        value = parse_json(body)
    except ValueError:
        value = None
    if not isinstance(value, list) or not value:
        raise Bad("UDAPI100038", message="The body is no JSON list")
    return value


def count_lines(call: Call) -> int:
    """What a request of several orders costs: one for each that can be in it."""
    try:
        return min(len(read_lines(call.body)), ORDERS_PER_CALL)
    except Bad:
        return 1


def one_of(body: dict[str, Any], name: str, known: Any, missing: str, wrong: str) -> None:
    """Raise Bad with code `missing` or `wrong` unless the field is one of `known`."""
    value = body.get(name)
    if value is None:
        raise Bad(missing, prop=name)
    if not isinstance(value, str) or value not in known:
        raise Bad(wrong, prop=name, value=value)


def read_prices(body: dict[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Price and trigger as the order type wants them; what it has no use for is ignored, whatever it is."""
    kind = body["order_type"]
    price = _price(body, "price", "UDAPI1029") if kind in {"LIMIT", "SL"} else None
    trigger = _price(body, "trigger_price", "UDAPI1036") if kind in {"SL", "SL-M"} else None
    return price, trigger


def _price(body: dict[str, Any], name: str, code: str) -> Decimal:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value <= 0:
        raise Bad(code, prop=name, value=value)
    return Decimal(value)
