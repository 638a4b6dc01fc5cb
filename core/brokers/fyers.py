"""Fyers, API v3: sign, send, parse.

Sources: Fyers API v3 documentation (Request & Response Structure, Rate Limit, User blocking, Order Placement, Data Api,
Appendix), read January 2026; the official Python SDK fyers-apiv3 3.2.0; answers to stale tokens as recorded in the
official Go SDK, February 2026. The limits stand in limits.py.

Where no source says, the reading that is safest for the account holder is taken:
- A 429 without advice may be about the second or the minute. After more than three breached minutes a day the account
  is blocked until the next day, so every such 429 closes a whole minute.
- A block has no mark of its own. A 429 on a request that left after the closed minute, with no other answer in
  between, is taken for it; it is said to end at midnight in India.
- Refusals are reported under HTTP 200 as well as 400: the envelope decides, not the status.
- A 429 whose advice is longer than any minute is the block as well.
- The code for an order from an address that is not registered is not published: such a refusal is known by its words.
- Code 201 means sent on, not acknowledged: unknown.
- Whether `?order_tag=` filters is unproven, so every row's tag is compared here.
- An order tag comes back as `1:<tag>`; tags that the broker makes begin with `2:`, and are shown as no tag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from ..clock import DAY, MINUTE, SECOND
from ..errors import AuthenticationFailed, BlockedForDay, BrokerError, OrderOutcomeUnknown, RateLimited
from ..models import (
    BrokerOrder,
    Fill,
    Funds,
    Holding,
    Operation,
    Order,
    OrderAck,
    OrderStatus,
    OrderType,
    Portfolio,
    Position,
    Product,
    Quote,
    Side,
    maker,
)
from .account import RESTAccount
from .instruments import priced
from .jsontext import digits, dump_json, quoted
from .reply import UNKNOWN_ORDER, Fault, Refusal, Reply, clean_text, money, order_id, rows_in
from .tokens import ist_epoch_ns, next_ist_ns

__all__ = ["FYERS_REFUSALS", "FyersAPI"]

TRADING_HOST: Final = "https://api-t1.fyers.in"
QUOTES_PER_REQUEST: Final = 50

_order_ack: Final = maker(OrderAck)
_broker_order: Final = maker(BrokerOrder)
_TYPE: Final = {OrderType.LIMIT: 1, OrderType.MARKET: 2, OrderType.SL_M: 3, OrderType.SL: 4}
_TYPE_OF: Final = {number: order_type for order_type, number in _TYPE.items()}
_PRODUCT: Final = {Product.INTRADAY: "INTRADAY", Product.DELIVERY: "CNC", Product.MARGIN: "MARGIN"}
_PRODUCT_OF: Final = {text: product for product, text in _PRODUCT.items()}
_STATUS_OF: Final[Mapping[int, OrderStatus]] = {
    1: OrderStatus.CANCELLED,
    2: OrderStatus.FILLED,
    4: OrderStatus.ACCEPTED,  # in transit: the broker has it, the exchange may not
    5: OrderStatus.REJECTED,
    6: OrderStatus.ACCEPTED,
    7: OrderStatus.EXPIRED,
}

# By hand: strptime takes longer than the rest of a row, and goes by the language of the machine.
_NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS: Final = {name: f"{number:02d}" for number, name in enumerate(_NAMES, 1)}

FYERS_REFUSALS: Final[Mapping[str, Refusal]] = {
    "-8": Refusal("the token has expired; log in again", elsewhere=True, error=AuthenticationFailed),
    "-15": Refusal("the token is not accepted; log in again", elsewhere=True, error=AuthenticationFailed),
    "-16": Refusal("the token is not accepted; log in again", elsewhere=True, error=AuthenticationFailed),
    "-17": Refusal("the token is bad or has expired; log in again", elsewhere=True, error=AuthenticationFailed),
    "-352": Refusal("the app id is not accepted", elsewhere=True, error=AuthenticationFailed),
    "-373": Refusal("the app lacks the permission", elsewhere=True, error=AuthenticationFailed),
    "-437": Refusal("the login code is not accepted; log in again", elsewhere=True, error=AuthenticationFailed),
    "-501": Refusal("the refresh token is not accepted; log in again", elsewhere=True, error=AuthenticationFailed),
    "-429": Refusal("too many requests", error=RateLimited),
    "429": Refusal("too many requests", error=RateLimited),
    "-300": Refusal("it does not know the symbol", elsewhere=True),
    "-50": Refusal("a field of the order is not accepted"),
    "-51": Refusal("it knows no such order", code=UNKNOWN_ORDER),
    "-53": Refusal("it knows no such position"),
    "-99": Refusal("the order was rejected"),
    "-161": Refusal("the order is cancelled already"),
    "-162": Refusal("the order is filled already"),
    "-164": Refusal("the order was rejected before"),
    "-392": Refusal("the price is no multiple of the tick size"),
    "400": Refusal("a leg of the order is not accepted"),
}

_FOREIGN_ADDRESS: Final = re.compile(r"\b(static[\s_-]?)?ip\b", re.IGNORECASE)
_UNREGISTERED: Final = Refusal("orders are not taken from this IP address; register it", elsewhere=True)
_LONGER_THAN_A_MINUTE_NS: Final = 10 * MINUTE


class FyersAPI(RESTAccount):
    """One Fyers account. `config.client_id` is the app id with its suffix, such as ABCD1234EF-100."""

    book_key = "orderBook"
    _closed_until_ns: int | None = None

    def _address(self, base_url: str) -> None:
        host = base_url or TRADING_HOST
        self._api, self._data = f"{host}/api/v3", f"{host}/data"
        self._order_url = f"{self._api}/orders/sync"

    def _authorization(self, token: str) -> dict[str, str]:
        return {"Authorization": f"{self._config.client_id}:{token}", "version": "3"}

    @staticmethod
    def envelope(payload: Any) -> Fault | None:
        if payload["s"] == "ok":
            return None
        if payload["s"] == "error":
            return Fault(str(payload.get("code", "")), str(payload.get("message", "")))
        message = "neither ok nor error"
        raise ValueError(message)

    @staticmethod
    def refusal_of(fault: Fault) -> Refusal | None:
        row = FYERS_REFUSALS.get(fault.code)
        if (row is None or fault.code == "-99") and _FOREIGN_ADDRESS.search(fault.message):
            return _UNREGISTERED
        return row

    def cost(self, operation: Operation, *, symbols: int = 1) -> int:
        """One request each, but: funds and holdings are two, quotes go by 50, a modify may have to look first."""
        if operation is Operation.GET_MARKET_DATA:
            return max(1, -(-symbols // QUOTES_PER_REQUEST))
        return 2 if operation in {Operation.GET_PORTFOLIO, Operation.MODIFY_ORDER} else 1

    # --- account

    async def _profile(self) -> str:
        payload = await self._call("GET", f"{self._api}/profile")
        return self._parsed(lambda: str(payload["data"]["fy_id"]))

    async def logout(self) -> None:
        await self._call("POST", f"{self._api}/logout")
        self._forget_token()

    # --- orders

    async def place_order(self, order: Order, *, tag: str) -> OrderAck:
        self._checked(order, tag)
        payload = await self._call("POST", self._order_url, body=place_body(order, tag))
        ack = self._acknowledged(payload)
        self._remember([(ack.broker_order_id, order.symbol)])
        return ack

    async def _modify(
        self, broker_order_id: str, quantity: int | None, order_type: OrderType, limit: Decimal, trigger: Decimal
    ) -> OrderAck:
        fields: dict[str, object] = {
            "id": broker_order_id,
            "type": _TYPE[order_type],
            "limitPrice": limit,
            "stopPrice": trigger,
        }
        if quantity is not None:
            fields["qty"] = quantity
        return self._acknowledged(await self._call("PATCH", self._order_url, body=dump_json(fields)))

    async def cancel_order(self, broker_order_id: str) -> OrderAck:
        body = dump_json({"id": self._check_id(broker_order_id)})
        return self._acknowledged(await self._call("DELETE", self._order_url, body=body))

    async def get_order(self, broker_order_id: str) -> BrokerOrder:
        return self._only(await self._orders(f"?id={self._check_id(broker_order_id)}"), broker_order_id)

    async def find_orders_by_tag(self, tag: str) -> tuple[BrokerOrder, ...]:
        rows = await self._orders(f"?order_tag=1%3A{quote(tag, safe='')}")
        return tuple(row for row in rows if row.tag == tag)

    async def get_orders(self) -> tuple[BrokerOrder, ...]:
        return await self._orders("")

    async def get_fills(self) -> tuple[Fill, ...]:
        """The day's trades."""
        payload = await self._call("GET", f"{self._api}/tradebook")
        return self._parsed(lambda: tuple(parse_fill(row) for row in rows_in(payload, "tradeBook")))

    async def _orders(self, query: str) -> tuple[BrokerOrder, ...]:
        payload = await self._call("GET", f"{self._api}/orders{query}", book=self._book)
        return await self._orders_in(self._parsed(lambda: rows_in(payload, self.book_key)))

    def _order_in(self, row: dict[str, Any]) -> BrokerOrder:
        return parse_order(row, self._name)

    # --- positions, money, prices

    async def get_positions(self) -> tuple[Position, ...]:
        payload = await self._call("GET", f"{self._api}/positions")
        return self._parsed(lambda: tuple(parse_position(row) for row in rows_in(payload, "netPositions")))

    async def get_portfolio(self) -> Portfolio:
        funds = await self._call("GET", f"{self._api}/funds")
        holdings = await self._call("GET", f"{self._api}/holdings")
        return self._parsed(
            lambda: Portfolio(
                provider=self._name,
                funds=parse_funds(funds),
                holdings=tuple(parse_holding(row) for row in rows_in(holdings, "holdings")),
            )
        )

    async def get_market_data(self, symbols: Sequence[str]) -> tuple[Quote, ...]:
        """Quotes in the order asked, 50 symbols a request; what Fyers does not know is left out."""
        found: dict[str, Quote] = {}
        for start in range(0, len(symbols), QUOTES_PER_REQUEST):
            query = quote(",".join(symbols[start : start + QUOTES_PER_REQUEST]), safe="")
            payload = await self._call("GET", f"{self._data}/quotes?symbols={query}")
            found.update(self._parsed(partial(parse_quotes, payload)))
        return tuple(found[symbol] for symbol in symbols if symbol in found)

    # --- what an answer means here and nowhere else

    def _acknowledged(self, payload: dict[str, Any]) -> OrderAck:
        if str(payload.get("code", "")) == "201":
            message = f"{self._name}: sent on, but the exchange side has not acknowledged it; look it up by its tag"
            raise OrderOutcomeUnknown(message, provider=self._name, code="201", status=200)
        return self._parsed(lambda: parse_ack(payload, self._name))

    def _judged(self, reply: Reply, payload: Any) -> dict[str, Any]:
        try:
            told = super()._judged(reply, payload)
        except RateLimited as refused:
            raise self._closing(refused, reply) from None
        except BrokerError:
            self._closed_until_ns = None  # any other answer proves that it still listens
            raise
        self._closed_until_ns = None
        return told

    def _closing(self, refused: RateLimited, reply: Reply) -> RateLimited:
        """The same refusal with the time for which it closes this account."""
        advised_ns = refused.retry_in_ns
        error: type[RateLimited] = RateLimited
        message = str(refused)
        if self._closed_until_ns is not None and reply.begun_ns >= self._closed_until_ns:
            now_ns = self._clock.epoch_ns() + (self._skew_ns or 0)
            error, window_ns, retry_in_ns = BlockedForDay, DAY, next_ist_ns(now_ns, hour=0) - now_ns
            message = f"{self._name}: still refused after a whole closed minute: blocked until midnight in India"
        elif advised_ns is not None and advised_ns > _LONGER_THAN_A_MINUTE_NS:
            error, window_ns, retry_in_ns = BlockedForDay, DAY, advised_ns
            message = f"{self._name}: blocked for the next {advised_ns // MINUTE} minutes, as it says itself"
        elif advised_ns is not None and advised_ns <= SECOND:
            window_ns, retry_in_ns = SECOND, advised_ns
        else:
            window_ns, retry_in_ns = MINUTE, MINUTE if advised_ns is None else advised_ns
            if self._closed_until_ns is None:
                self._closed_until_ns = self._clock.now_ns() + max(retry_in_ns, MINUTE)
        return error(
            message,
            provider=self._name,
            code=refused.code,
            status=refused.status,
            evidence=refused.evidence,
            retry_in_ns=retry_in_ns,
            window_ns=window_ns,
        )


# --- pure: our words to theirs, theirs to ours


def place_body(order: Order, tag: str) -> bytes:
    """The body of a place call; written out, since `dump_json` takes two thirds longer for each order."""
    limit, stop = priced(order.order_type, order.price, order.trigger_price)
    return (
        f'{{"symbol":{quoted(order.symbol)},"qty":{order.quantity:d},"type":{_TYPE[order.order_type]:d},'
        f'"side":{order.side.sign:d},"productType":"{_PRODUCT[order.product]}","limitPrice":{digits(limit)},'
        f'"stopPrice":{digits(stop)},"disclosedQty":0,"validity":"{order.validity}","offlineOrder":false,'
        f'"stopLoss":0,"takeProfit":0,"orderTag":{quoted(tag)},"isSliceOrder":false}}'
    ).encode("ascii")


def parse_ack(payload: dict[str, Any], name: str) -> OrderAck:
    """The answer to place, modify and cancel. Raises ValueError without an order id."""
    said = clean_text(payload.get("message") or "")
    return _order_ack(provider=name, broker_order_id=order_id(payload["id"]), message=said)


def parse_order(row: dict[str, Any], name: str) -> BrokerOrder:
    """One row of the order book."""
    filled = int(row["filledQty"])
    status = _STATUS_OF.get(int(row["status"]), OrderStatus.UNKNOWN)
    if status is OrderStatus.ACCEPTED and filled:
        status = OrderStatus.PARTIALLY_FILLED
    tag = str(row.get("orderTag") or "")
    return _broker_order(
        provider=name,
        broker_order_id=str(row["id"]),
        tag=tag[2:] if tag.startswith("1:") and tag != "1:Untagged" else "",
        symbol=str(row["symbol"]),
        side=_side(row["side"]),
        quantity=int(row["qty"]),
        filled_quantity=filled,
        average_price=money(row.get("tradedPrice")),
        status=status,
        message=clean_text(row.get("message") or ""),
        epoch_ns=_epoch_ns(row.get("orderDateTime")),
        order_type=_TYPE_OF[int(row["type"])],
        price=money(row.get("limitPrice")) or None,
        trigger_price=money(row.get("stopPrice")) or None,
    )


def parse_fill(row: dict[str, Any]) -> Fill:
    """One row of the trade book."""
    return Fill(
        fill_id=str(row["tradeNumber"]),
        broker_order_id=str(row["orderNumber"]),
        quantity=int(row["tradedQty"]),
        price=money(row["tradePrice"]),
        epoch_ns=_epoch_ns(row.get("orderDateTime")),
    )


def parse_position(row: dict[str, Any]) -> Position:
    """One row of the net positions."""
    return Position(
        symbol=str(row["symbol"]),
        quantity=int(row["netQty"]),
        average_price=money(row.get("netAvg")),
        last_price=money(row.get("ltp")),
        realised=money(row.get("realized_profit")),
        product=_PRODUCT_OF.get(str(row.get("productType")), Product.INTRADAY),
    )


def parse_holding(row: dict[str, Any]) -> Holding:
    """One row of the holdings."""
    return Holding(
        symbol=str(row["symbol"]),
        quantity=int(row["quantity"]),
        average_price=money(row["costPrice"]),
        last_price=money(row.get("ltp")),
    )


def parse_funds(payload: dict[str, Any]) -> Funds:
    """Rows 10 (available) and 2 (utilised) of the fund list."""
    amounts = {int(row["id"]): money(row["equityAmount"]) for row in rows_in(payload, "fund_limit")}
    return Funds(available=amounts[10], used=amounts.get(2, Decimal(0)))


def parse_quotes(payload: dict[str, Any]) -> dict[str, Quote]:
    """Quotes by symbol; entries that failed are left out."""
    return {
        str(entry["n"]): Quote(
            symbol=str(entry["n"]),
            price=money(entry["v"]["lp"]),
            volume=int(entry["v"].get("volume") or 0),
            epoch_ns=int(entry["v"].get("tt") or 0) * SECOND,
        )
        for entry in rows_in(payload, "d")
        if entry.get("s") == "ok"
    }


def _side(number: Any) -> Side:
    return Side.BUY if int(number) > 0 else Side.SELL


def _epoch_ns(text: object) -> int:
    """`05-Jan-2026 10:15:02`, in India, as epoch nanoseconds; 0 for anything else."""
    day, _, rest = str(text).partition("-")
    month, _, rest = rest.partition("-")
    year, _, time = rest.partition(" ")
    return ist_epoch_ns(f"{year}-{_MONTHS.get(month)}-{day} {time}")
