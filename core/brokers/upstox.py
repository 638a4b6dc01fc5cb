"""Upstox, API v3 for orders and last prices, v2 for the rest: sign, send, parse.

Sources: Upstox developer documentation (Rate Limiting, Error Codes, Algo Registration & Static IP Requirement, Get
Order Details, Get Order History, Modify Order V3, Authentication), read February to September 2026; the official Python
SDK upstox-python-sdk 2.30.0. The limits stand in limits.py.

Where no source says, the reading that is safest for the account holder is taken:
- Market orders without protection have been refused: they go with the automatic one (-1).
- 200 on place means accepted by the gateway. A refusal for funds or price comes later, as a row of the book.
- `status` is read under every HTTP status: refusals under 200 have been reported.
- An unknown tag may be an empty list or code UDAPI100010: both mean none. The history by tag is asked first, then the
  whole book; both are filtered here.
- Modify replaces every term: what the caller leaves out is read first. Only resting orders can be modified, and those
  are DAY orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from ..errors import AuthenticationFailed, OrderNotSent, OrderRefused, RateLimited
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
from .instruments import Instrument, InstrumentTable, priced
from .jsontext import digits, dump_json, quoted
from .reply import UNKNOWN_ORDER, Fault, Refusal, clean_text, money, order_id, rows_in
from .tokens import ist_epoch_ns

__all__ = ["UPSTOX_REFUSALS", "UpstoxAPI"]

MAIN_HOST: Final = "https://api.upstox.com"
ORDER_HOST: Final = "https://api-hft.upstox.com"
QUOTES_PER_REQUEST: Final = 500
AUTOMATIC_PROTECTION: Final = -1

_order_ack: Final = maker(OrderAck)
_broker_order: Final = maker(BrokerOrder)
_PRODUCT: Final = {Product.INTRADAY: "I", Product.DELIVERY: "D", Product.MARGIN: "D"}
_S = OrderStatus
_STATUS_OF: Final[Mapping[str, OrderStatus]] = {
    "put order req received": _S.ACCEPTED,
    "validation pending": _S.ACCEPTED,
    "open pending": _S.ACCEPTED,
    "open": _S.ACCEPTED,
    "trigger pending": _S.ACCEPTED,
    "modify pending": _S.ACCEPTED,
    "modify validation pending": _S.ACCEPTED,
    "modified": _S.ACCEPTED,
    "not modified": _S.ACCEPTED,
    "cancel pending": _S.ACCEPTED,
    "not cancelled": _S.ACCEPTED,
    "after market order req received": _S.ACCEPTED,
    "modify after market order req received": _S.ACCEPTED,
    "complete": _S.FILLED,
    "rejected": _S.REJECTED,
    "cancelled": _S.CANCELLED,
    "cancelled after market order": _S.CANCELLED,
}

_LOG_IN: Final = "the token is not accepted; log in again"
_FIELD: Final = "a field of the order is not accepted"
UPSTOX_REFUSALS: Final[Mapping[str, Refusal]] = {
    "UDAPI100050": Refusal(_LOG_IN, elsewhere=True, error=AuthenticationFailed),
    "UDAPI100067": Refusal("the token may only read; log in again", elsewhere=True, error=AuthenticationFailed),
    "UDAPI100016": Refusal("the credentials are not accepted", elsewhere=True, error=AuthenticationFailed),
    "UDAPI100068": Refusal("client id or redirect do not match", elsewhere=True, error=AuthenticationFailed),
    "UDAPI100069": Refusal("client id or redirect do not match", elsewhere=True, error=AuthenticationFailed),
    "UDAPI10005": Refusal("too many requests", error=RateLimited),
    "UDAPI100099": Refusal("too many token requests", error=RateLimited),
    "UDAPI1154": Refusal("orders are not taken from this IP address; register it", elsewhere=True),
    "UDAPI1156": Refusal("the algo name is not accepted; correct algo_name", elsewhere=True),
    "UDAPI100049": Refusal("the account must use the business product", elsewhere=True),
    "UDAPI100011": Refusal("it does not know the instrument", elsewhere=True),
    "UDAPI1087": Refusal("the instrument key is malformed", elsewhere=True),
    "UDAPI1021": Refusal("the instrument key is malformed", elsewhere=True),
    "UDAPI1026": Refusal("the instrument is missing"),
    "UDAPI1158": Refusal("it takes no market order without protection", elsewhere=True),
    "UDAPI1159": Refusal("the market protection is above 25 %", elsewhere=True),
    "UDAPI1161": Refusal("it takes no commodity orders over the API", elsewhere=True),
    "UDAPI100074": Refusal("its order service is closed from 00:00 to 05:30 in India", elsewhere=True),
    "UDAPI100072": Refusal("its funds service is closed from 00:00 to 05:30 in India", elsewhere=True),
    "UDAPI100060": Refusal("no such address; check base_url", elsewhere=True),
    "UDAPI100057": Refusal("the login code is used or wrong, or the market is closed"),
    "UDAPI100039": Refusal("an after-market order in market hours"),
    "UDAPI1052": Refusal("the quantity is not accepted"),
    "UDAPI1004": Refusal("the order type is missing"),
    "UDAPI1056": Refusal("the order type is not accepted"),
    "UDAPI1007": Refusal("the validity is missing"),
    "UDAPI1055": Refusal("the validity is not accepted"),
    "UDAPI1029": Refusal("the price is not accepted"),
    "UDAPI1030": Refusal("the price is not accepted"),
    "UDAPI1031": Refusal("the price is not accepted"),
    "UDAPI1043": Refusal("the price is not accepted"),
    "UDAPI1036": Refusal("the trigger price is not accepted"),
    "UDAPI1023": Refusal("the order id is missing"),
    "UDAPI1010": Refusal("the order id is malformed", code=UNKNOWN_ORDER),
    "UDAPI100010": Refusal("it knows no such order", code=UNKNOWN_ORDER),
    "UDAPI100040": Refusal("the order is final and cannot be cancelled"),
    "UDAPI100041": Refusal("the order is final and cannot be modified"),
    "UDAPI1119": Refusal("the tag is too long"),
    "UDAPI100036": Refusal(_FIELD),
    "UDAPI100038": Refusal(_FIELD),
    "UDAPI100500": Refusal("its server failed", their_fault=True),
    "UDAPI1115": Refusal("a line of several orders lacks its correlation id"),
    "UDAPI1117": Refusal("two lines of several orders have one correlation id"),
    "UDAPI1118": Refusal("too many orders in one request"),
    "UDAPI1184": Refusal("the kill switch: positions are open"),
    "UDAPI1185": Refusal("the kill switch: twelve hours must pass"),
    "UDAPI1186": Refusal("the kill switch: no such segment"),
    "UDAPI1188": Refusal("the kill switch: no such action"),
}


class UpstoxAPI(RESTAccount):
    """One Upstox account. `config.algo_name` is sent with orders where an exchange-registered algo raises the limit."""

    book_key = "data"

    def _address(self, base_url: str) -> None:
        self._host, orders = base_url or MAIN_HOST, base_url or ORDER_HOST
        self._place_url = f"{orders}/v3/order/place"
        self._modify_url = f"{orders}/v3/order/modify"
        self._cancel_url = f"{orders}/v3/order/cancel?order_id="

    def _authorization(self, token: str) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {token}"}
        if self._config.algo_name:
            headers["X-Algo-Name"] = self._config.algo_name
        return headers

    @staticmethod
    def envelope(payload: Any) -> Fault | None:
        if payload["status"] == "success":
            return None
        if payload["status"] != "error":
            message = "neither success nor error"
            raise ValueError(message)
        errors = payload.get("errors") or [{}]
        code = str(errors[0].get("error_code") or errors[0].get("errorCode") or "")
        return Fault(code, "; ".join(str(error.get("message", "")) for error in errors))

    @staticmethod
    def refusal_of(fault: Fault) -> Refusal | None:
        return UPSTOX_REFUSALS.get(fault.code)

    def cost(self, operation: Operation, *, symbols: int = 1) -> int:
        """One request each, but: quotes go by 500, and the portfolio, a tag and a modify may take two."""
        if operation is Operation.GET_MARKET_DATA:
            return max(1, -(-symbols // QUOTES_PER_REQUEST))
        two = {Operation.GET_PORTFOLIO, Operation.MODIFY_ORDER, Operation.FIND_ORDERS_BY_TAG}
        return 2 if operation in two else 1

    # --- account

    async def _profile(self) -> str:
        payload = await self._call("GET", f"{self._host}/v2/user/profile")
        return self._parsed(lambda: str(payload["data"]["user_id"]))

    async def logout(self) -> None:
        await self._call("DELETE", f"{self._host}/v2/logout")
        self._forget_token()

    # --- orders

    async def place_order(self, order: Order, *, tag: str) -> OrderAck:
        instrument = self._checked(order, tag)
        if not instrument.upstox_key:
            message = f"{self._name}: Upstox does not list {order.symbol}"
            raise OrderNotSent(message, provider=self._name, code="unknown_symbol")
        body = place_body(order, instrument.upstox_key, tag)
        payload = await self._call("POST", self._place_url, body=body)
        ack = self._parsed(lambda: parse_place(payload, self._name))
        self._remember([(ack.broker_order_id, order.symbol)])
        return ack

    async def _modify(
        self, broker_order_id: str, quantity: int | None, order_type: OrderType, limit: Decimal, trigger: Decimal
    ) -> OrderAck:
        fields: dict[str, object] = {
            "order_id": broker_order_id,
            "validity": "DAY",
            "price": limit,
            "order_type": order_type.value,
            "trigger_price": trigger,
            "disclosed_quantity": 0,
        }
        if quantity is not None:
            fields["quantity"] = quantity
        if order_type in {OrderType.MARKET, OrderType.SL_M}:
            fields["market_protection"] = AUTOMATIC_PROTECTION
        payload = await self._call("PUT", self._modify_url, body=dump_json(fields))
        return self._parsed(lambda: parse_change(payload, self._name))

    async def cancel_order(self, broker_order_id: str) -> OrderAck:
        payload = await self._call("DELETE", self._cancel_url + self._check_id(broker_order_id))
        return self._parsed(lambda: parse_change(payload, self._name))

    async def get_order(self, broker_order_id: str) -> BrokerOrder:
        payload = await self._call("GET", f"{self._host}/v2/order/details?order_id={self._check_id(broker_order_id)}")
        data = payload.get("data")
        return self._only(await self._rows({"data": [data] if isinstance(data, dict) else data}), broker_order_id)

    async def find_orders_by_tag(self, tag: str) -> tuple[BrokerOrder, ...]:
        try:
            payload = await self._call("GET", f"{self._host}/v2/order/history?tag={quote(tag, safe='')}")
        except OrderRefused as refused:
            if refused.code != UNKNOWN_ORDER:
                raise
            payload = {"data": []}
        # One row for each stage an order went through, oldest first: the last of each order is how it stands.
        latest = {row.broker_order_id: row for row in await self._rows(payload) if row.tag == tag}
        if latest:
            return tuple(latest.values())
        return tuple(row for row in await self.get_orders() if row.tag == tag)

    async def get_orders(self) -> tuple[BrokerOrder, ...]:
        payload = await self._call("GET", f"{self._host}/v2/order/retrieve-all", book=self._book)
        return await self._rows(payload)

    async def get_fills(self) -> tuple[Fill, ...]:
        """The day's trades."""
        payload = await self._call("GET", f"{self._host}/v2/order/trades/get-trades-for-day")
        return self._parsed(lambda: tuple(parse_fill(row) for row in rows_in(payload, "data")))

    async def _rows(self, payload: dict[str, Any]) -> tuple[BrokerOrder, ...]:
        return await self._orders_in(self._parsed(lambda: rows_in(payload, self.book_key)))

    def _order_in(self, row: dict[str, Any]) -> BrokerOrder:
        return parse_order(row, self._name, self._instruments)

    # --- positions, money, prices

    async def get_positions(self) -> tuple[Position, ...]:
        payload = await self._call("GET", f"{self._host}/v2/portfolio/short-term-positions")
        return self._parsed(lambda: tuple(parse_position(row, self._instruments) for row in rows_in(payload, "data")))

    async def get_portfolio(self) -> Portfolio:
        funds = await self._call("GET", f"{self._host}/v2/user/get-funds-and-margin")
        holdings = await self._call("GET", f"{self._host}/v2/portfolio/long-term-holdings")
        return self._parsed(
            lambda: Portfolio(
                provider=self._name,
                funds=parse_funds(funds),
                holdings=tuple(parse_holding(row, self._instruments) for row in rows_in(holdings, "data")),
            )
        )

    async def get_market_data(self, symbols: Sequence[str]) -> tuple[Quote, ...]:
        """Last prices in the order asked, 500 symbols a request; what Upstox does not list is left out."""
        found: dict[str, Quote] = {}
        for chunk in _chunks(self._instruments, symbols):
            query = quote(",".join(instrument.upstox_key for instrument in chunk), safe="")
            payload = await self._call("GET", f"{self._host}/v3/market-quote/ltp?instrument_key={query}")
            found.update(self._parsed(partial(parse_quotes, payload, self._instruments)))
        return tuple(found[symbol] for symbol in symbols if symbol in found)


# --- pure: our words to theirs, theirs to ours


def _chunks(table: InstrumentTable, symbols: Sequence[str]) -> Iterable[list[Instrument]]:
    listed = [one for symbol in symbols if (one := table.find(symbol)) is not None and one.upstox_key]
    for start in range(0, len(listed), QUOTES_PER_REQUEST):
        yield listed[start : start + QUOTES_PER_REQUEST]


def place_body(order: Order, upstox_key: str, tag: str) -> bytes:
    """The body of a place call; written out, since `dump_json` takes two thirds longer for each order."""
    limit, trigger = priced(order.order_type, order.price, order.trigger_price)
    unbound = order.order_type in {OrderType.MARKET, OrderType.SL_M}
    protection = f',"market_protection":{AUTOMATIC_PROTECTION:d}' if unbound else ""
    return (
        f'{{"quantity":{order.quantity:d},"product":"{_PRODUCT[order.product]}","validity":"{order.validity}",'
        f'"price":{digits(limit)},"tag":{quoted(tag)},"slice":false,"instrument_token":{quoted(upstox_key)},'
        f'"order_type":"{order.order_type}","transaction_type":"{order.side}","disclosed_quantity":0,'
        f'"trigger_price":{digits(trigger)},"is_amo":false{protection}}}'
    ).encode("ascii")


def parse_place(payload: dict[str, Any], name: str) -> OrderAck:
    """The answer to place. Raises ValueError unless it names exactly one order: we never ask for slices."""
    ids = payload["data"]["order_ids"]
    if not isinstance(ids, list) or len(ids) != 1:
        message = f"order ids {ids!r}"
        raise ValueError(message)
    return _order_ack(provider=name, broker_order_id=order_id(ids[0]))


def parse_change(payload: dict[str, Any], name: str) -> OrderAck:
    """The answer to modify and cancel."""
    return _order_ack(provider=name, broker_order_id=order_id(payload["data"]["order_id"]))


def parse_order(row: dict[str, Any], name: str, table: InstrumentTable) -> BrokerOrder:
    """One row of the book, of an order's details or of its history (which has fewer fields)."""
    filled = int(row.get("filled_quantity") or 0)
    status = _STATUS_OF.get(str(row["status"]).lower(), OrderStatus.UNKNOWN)
    if status is OrderStatus.ACCEPTED and filled:
        status = OrderStatus.PARTIALLY_FILLED
    return _broker_order(
        provider=name,
        broker_order_id=str(row["order_id"]),
        tag=str(row.get("tag") or ""),
        symbol=_symbol(row, table),
        side=Side(row["transaction_type"]),
        quantity=int(row["quantity"]),
        filled_quantity=filled,
        average_price=money(row.get("average_price")),
        status=status,
        message=clean_text(row.get("status_message") or ""),
        epoch_ns=ist_epoch_ns(row.get("order_timestamp")),
        order_type=OrderType(row["order_type"]),
        price=money(row.get("price")) or None,
        trigger_price=money(row.get("trigger_price")) or None,
    )


def parse_fill(row: dict[str, Any]) -> Fill:
    """One row of the day's trades."""
    return Fill(
        fill_id=str(row["trade_id"]),
        broker_order_id=str(row["order_id"]),
        quantity=int(row["quantity"]),
        price=money(row["average_price"]),
        epoch_ns=ist_epoch_ns(row.get("exchange_timestamp")),
    )


def parse_position(row: dict[str, Any], table: InstrumentTable) -> Position:
    """One row of the day's positions."""
    carried = Product.MARGIN if "_FO|" in str(row["instrument_token"]) else Product.DELIVERY
    return Position(
        symbol=_symbol(row, table),
        quantity=int(row["quantity"]),
        average_price=money(row.get("average_price")),
        last_price=money(row.get("last_price")),
        realised=money(row.get("realised")),
        product=Product.INTRADAY if row.get("product") == "I" else carried,
    )


def parse_holding(row: dict[str, Any], table: InstrumentTable) -> Holding:
    """One row of the holdings."""
    return Holding(
        symbol=_symbol(row, table),
        quantity=int(row["quantity"]),
        average_price=money(row["average_price"]),
        last_price=money(row.get("last_price")),
    )


def parse_funds(payload: dict[str, Any]) -> Funds:
    """The equity part, which holds both segments together since July 2025."""
    equity = payload["data"]["equity"]
    return Funds(available=money(equity["available_margin"]), used=money(equity.get("used_margin")))


def parse_quotes(payload: dict[str, Any], table: InstrumentTable) -> dict[str, Quote]:
    """Last prices by our symbol. The keys of the answer are not those asked: the instrument token inside is."""
    quotes = {}
    for value in payload["data"].values():
        instrument = table.by_upstox_key(str(value["instrument_token"]))
        if instrument is not None:
            quotes[instrument.symbol] = Quote(
                symbol=instrument.symbol, price=money(value["last_price"]), volume=int(value.get("volume") or 0)
            )
    return quotes


def _symbol(row: dict[str, Any], table: InstrumentTable) -> str:
    """Our name for the row's instrument; Upstox's own key where the table does not have it, so that nothing is lost."""
    key = str(row["instrument_token"])
    instrument = table.by_upstox_key(key)
    return key if instrument is None else instrument.symbol
