"""Fyers' wire, API v3, as its documentation and its own Python SDK have it.

Sources: myapi.fyers.in/docsv3 (Request & Response Structure, Rate Limit, User blocking, Order Placement, Transaction
Info, Data Api, Appendix), read January 2026; paths and bodies of fyers-apiv3 3.2.0; the test record of the official
Go SDK of February 2026 for the answers to a stale token. Where they leave room:
- A rejected order (risk, margin, circuit, market closed) is answered -99 under HTTP 200, and stands in the book as 5.
- `/orders??order_tag=`, as one page and the Go SDK write it, names no parameter that is known: the whole book comes.
- One unknown symbol among many fails alone. A request of several orders costs one for each.
- 429 carries `Retry-After` and `X-Retry-After-Ms`, as the pages of mid 2026 promise; none while blocked for the day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from ...clock import MILLISECOND, SECOND
from ...models import Product
from .accounts import SimOrder, Stage
from .exchange import Exchange
from .input_fyers import (
    ORDER_TYPES,
    ORDERS_PER_CALL,
    Bad,
    count_lines,
    error,
    read_lines,
    read_object,
    read_order,
    read_price,
    read_whole,
    translated,
)
from .logins import Logins
from .referee import Breach, DayBlock, Referee
from .rows_fyers import (
    PRODUCT_NAME,
    PROFILE,
    TYPE_NUMBER,
    depth_row,
    fund_rows,
    fyers_id,
    holding_row,
    holdings_overall,
    order_prices,
    order_row,
    position_row,
    positions_overall,
    quote_row,
    stored_tag,
    trade_row,
)
from .wire import Answer, Call, Do, Route, Wire, answer_json, answer_text, json_text, rupees_float, sent_back
from .written import rows_text

__all__ = ["FyersWire"]

SYMBOLS_PER_CALL: Final = 50
_RESOLUTIONS: Final = {str(minutes): minutes * 60 for minutes in (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 240)} | {
    f"{seconds}S": seconds for seconds in (5, 10, 15, 30, 45)
}


class FyersWire(Wire):
    """One Fyers user, served from an account at the exchange."""

    name = "fyers"

    def __init__(
        self,
        exchange: Exchange,
        referee: Referee,
        logins: Logins,
        day_block: DayBlock,
        *,
        retry_after: bool = True,
    ) -> None:
        super().__init__(exchange, referee, logins, serial_digits=8)
        self.day_block = day_block
        self._retry_after = retry_after
        self._refresh_token = "demo-refresh-token"  # noqa: S105 - a simulated one
        self.routes = self._build_routes()

    # -- what every wire answers ---------------------------------------------------------------------------------

    def route(self, method: str, path: str) -> Route | None:
        found = self.routes.get((method, path))
        if found is None and path.startswith(("/api/v3/", "/data/")):
            return Route("unknown", None, lambda _call: error(Bad(-99, "Not found", 404)))
        return found

    def authorise(self, call: Call) -> Answer | None:
        app, _, token = call.headers.get("Authorization", "").partition(":")
        if app == self.logins.client_id and self.logins.accepts(token, call.epoch_ns):
            return None
        return self.expired(call)

    def judge(self, route: Route, cost: int, now_ns: int, epoch_ns: int) -> Answer | None:
        if self.day_block.blocked_for_ns(epoch_ns):
            self.referee.refused += 1
            return self.too_many(None)
        breach = self.referee.arrive(str(route.category), now_ns, cost=cost)
        if breach is None:
            return None
        self.day_block.breached(breach, epoch_ns)
        return self.too_many(breach)

    def too_many(self, breach: Breach | None, *, status: int = 429) -> Answer:
        headers = {}
        if breach is not None and self._retry_after:
            headers = {
                "Retry-After": str(-(-breach.retry_in_ns // SECOND)),
                "X-Retry-After-Ms": str(-(-breach.retry_in_ns // MILLISECOND)),
            }
        return answer_json(Bad(-429, "request limit reached").body(), status, headers)

    def expired(self, call: Call) -> Answer:
        if call.path.startswith("/data/"):
            return error(Bad(-15, "Please provide valid token", 401))
        return error(Bad(-16, "Could not authenticate the user", 401))

    def maintenance(self) -> Answer:
        return error(Bad(-99, "The service is under maintenance, please try again later", 503))

    def wrong_ip(self) -> Answer:
        """That it is refused is published (April 2026), the code is not."""
        return error(Bad(-99, "Order rejected: the request does not come from the registered static IP"))

    def server_error(self) -> Answer:
        return error(Bad(-99, "Something went wrong", 500))

    def unacknowledged(self, answer: Answer) -> Answer:  # noqa: ARG002 - Upstox keeps the status
        """Code 201: look in the order book before placing it again."""
        return answer_json({"s": "ok", "code": 201, "message": "Request made but no acknowledgement received"})

    # -- log-in --------------------------------------------------------------------------------------------------

    def _dialog(self, call: Call) -> Answer:
        if call.query.get("client_id") != self.logins.client_id:
            raise Bad(-352, "Please provide a valid app id")
        return sent_back(call, {"s": "ok", "code": "200", "message": "", "auth_code": self.logins.new_code()})

    def _validate_code(self, call: Call) -> Answer:
        body = read_object(call.body)
        self._check_hash(body)
        token = self.logins.redeem(str(body.get("code", "")), call.epoch_ns)
        if token is None:
            raise Bad(-437, "invalid auth code")
        return _ok({"access_token": token, "refresh_token": self._refresh_token})

    def _validate_refresh(self, call: Call) -> Answer:
        body = read_object(call.body)
        self._check_hash(body)
        if body.get("refresh_token") != self._refresh_token or not body.get("pin"):
            raise Bad(-501, "invalid refresh token")
        token = self.logins.redeem(self.logins.new_code(), call.epoch_ns)
        return _ok({"access_token": token})

    def _check_hash(self, body: dict[str, Any]) -> None:
        wanted = hashlib.sha256(f"{self.logins.client_id}:{self.logins.secret}".encode()).hexdigest()
        if body.get("appIdHash") != wanted:
            raise Bad(-437, "invalid app id hash")

    def _logout(self, call: Call) -> Answer:
        self.logins.revoke(call.headers.get("Authorization", "").partition(":")[2])
        return _ok({}, "you are successfully logged out")

    # -- reads ---------------------------------------------------------------------------------------------------

    def _profile(self, _call: Call) -> Answer:
        return _ok({"data": PROFILE})

    def _funds(self, _call: Call) -> Answer:
        self.exchange.advance()
        return _ok({"fund_limit": fund_rows(self.account)})

    def _holdings(self, _call: Call) -> Answer:
        self.exchange.advance()
        held = self.account.holdings.items()
        rows = [holding_row(n, self.market(symbol), *holding) for n, (symbol, holding) in enumerate(held, 1)]
        return _ok({"holdings": rows, "overall": holdings_overall(rows, self.account)})

    def _positions(self, _call: Call) -> Answer:
        self.exchange.advance()
        books = self.account.positions.values()
        rows = [position_row(book, n, self.market(book.listing.symbol)) for n, book in enumerate(books, 1)]
        return _ok({"netPositions": rows, "overall": positions_overall(rows)})

    def _orders(self, call: Call) -> Awaitable[Answer]:
        order_id, tag = call.query.get("id"), call.query.get("order_tag")
        if order_id:
            orders = [self._order(order_id)]
        elif tag is not None:
            self.exchange.advance()
            orders = self.account.tagged(tag[2:]) if tag.startswith("1:") else []
        else:
            orders = self.exchange.orders(self.account)
        return self._order_book(orders, call)

    async def _order_book(self, orders: Sequence[SimOrder], call: Call) -> Answer:
        prices: dict[str, str] = {}

        def passing(number: int, order: SimOrder) -> str:
            symbol = order.listing.symbol
            if symbol not in prices:
                prices[symbol] = json_text(order_prices(self.market(symbol)))[1:-1]
            return f'{prices[symbol]},"slNo":{number}'

        rows = await rows_text(orders, call, self.exchange.clock, order_row, passing)
        return answer_text(f'{{"s":"ok","code":200,"message":"","orderBook":{rows}}}')

    def _trades(self, call: Call) -> Answer:
        tag = call.query.get("order_tag")
        parts = [
            (order, part)
            for order in self.exchange.orders(self.account)
            if tag in {None, stored_tag(order.tag)}
            for part in order.executions
        ]
        return _ok({"tradeBook": [trade_row(order, part, n, call) for n, (order, part) in enumerate(parts, 1)]})

    def _quotes(self, call: Call) -> Answer:
        symbols = [symbol for symbol in call.query.get("symbols", "").split(",") if symbol]
        if call.method == "POST":
            asked = read_object(call.body).get("symbols", [])
            symbols = asked if isinstance(asked, list) else str(asked).split(",")
        if not symbols:
            raise Bad(-50, "symbols: please provide a valid value")
        if len(symbols) > SYMBOLS_PER_CALL:
            raise Bad(-50, f"symbols: at most {SYMBOLS_PER_CALL} symbols fit a request")
        rows = []
        for symbol in symbols:
            walk = self.exchange.walk(str(symbol))
            if walk is None:
                rows.append({"n": symbol, "s": "error", "v": {"code": -300, "errmsg": "invalid symbol"}})
            else:
                rows.append(quote_row(walk, call))
        return _ok({"d": rows})

    def _depth(self, call: Call) -> Answer:
        symbol = call.query.get("symbol", "")
        walk = self.exchange.walk(symbol)
        if walk is None:
            raise Bad(-300, "Please provide a valid symbol")
        return _ok({"d": {symbol: depth_row(walk, call)}})

    def _history(self, call: Call) -> Answer:
        """Candles since the simulator started: there was no market before."""
        query = call.query
        bar_s = _RESOLUTIONS.get(query.get("resolution", ""))
        if bar_s is None:
            raise Bad(-50, "resolution: please provide a valid value")
        try:
            first_s, last_s = (
                _range_edge(query[name], query.get("date_format")) for name in ("range_from", "range_to")
            )
        except (KeyError, ValueError):
            raise Bad(-50, "range_from, range_to: please provide a valid value") from None
        rows = [
            [at_s, *(rupees_float(paise) for paise in prices), volume]
            for at_s, *prices, volume in self.exchange.candles(query.get("symbol", ""), bar_s)
            if first_s <= at_s <= last_s
        ]
        return _ok({"candles": rows})

    def _market_status(self, _call: Call) -> Answer:
        status = "OPEN" if self.exchange.is_open else "CLOSED"
        rows = [{"exchange": 10, "segment": segment, "market_type": "NORMAL", "status": status} for segment in (10, 11)]
        return _ok({"marketStatus": rows})

    # -- orders --------------------------------------------------------------------------------------------------

    def _place(self, call: Call) -> Answer:
        return answer_json(self._place_one(read_object(call.body)))

    def _place_queued(self, call: Call) -> Answer:
        placed = self._place_one(read_object(call.body))
        order = self._order(placed["id"])
        return _ok({"id_fyers": fyers_id(order)}, "Order request queued")

    def _place_one(self, body: dict[str, Any]) -> dict[str, Any]:
        order, tag = read_order(body)
        placed = self.exchange.place(self.account, order, tag=tag)
        self.referee.saw_tag(tag)
        if placed.stage is Stage.REJECTED:
            raise Bad(-99, f"RED:{placed.message}", 200)
        text = f"Order submitted successfully. Your Order Ref. No.{placed.order_id}"
        return {"s": "ok", "code": 1101, "message": text, "id": placed.order_id}

    def _modify_one(self, body: dict[str, Any]) -> dict[str, Any]:
        order = self._order(body.get("id"))
        number = body.get("type", TYPE_NUMBER[order.order_type])
        if number not in ORDER_TYPES:
            raise Bad(-50, "type: please provide a valid value")
        quantity = body.get("qty")
        if quantity is not None:
            quantity = read_whole(body, "qty")
        price, trigger = read_price(body, "limitPrice"), read_price(body, "stopPrice")
        self.exchange.modify(
            self.account,
            order.order_id,
            quantity=quantity,
            order_type=ORDER_TYPES[number],
            price=price,
            trigger_price=trigger,
        )
        return {"s": "ok", "code": 1102, "message": "Successfully modified order", "id": order.order_id}

    def _cancel_one(self, body: dict[str, Any]) -> dict[str, Any]:
        order = self._order(body.get("id"))
        self.exchange.cancel(self.account, order.order_id)
        return {"s": "ok", "code": 1103, "message": "Successfully cancelled order", "id": order.order_id}

    def _one(self, act: Callable[[dict[str, Any]], dict[str, Any]]) -> Do:
        return lambda call: answer_json(act(read_object(call.body)))

    def _many(self, act: Callable[[dict[str, Any]], dict[str, Any]]) -> Do:
        """At most ten; each succeeds or fails by itself, in the order sent."""

        def do(call: Call) -> Answer:
            lines = read_lines(call.body)
            if lines is None or len(lines) > ORDERS_PER_CALL:
                raise Bad(400, f"Please provide a list of 1 to {ORDERS_PER_CALL} orders")
            data = []
            for line in lines:
                try:
                    body, status = translated(partial(act, line if isinstance(line, dict) else {})), 200
                except Bad as bad:
                    body, status = bad.body(), bad.status
                words = "HTTP OK" if status == 200 else "HTTP BAD REQUEST"
                data.append({"statusCode": status, "statusDescription": words, "body": body})
            return _ok({"data": data})

        return do

    def _exit(self, call: Call) -> Answer:
        """Close positions: all, or those of the ids given."""
        self.exchange.advance()
        body = read_object(call.body)
        ids = body.get("id")
        books = {
            f"{book.listing.symbol}-{PRODUCT_NAME[book.product]}": book
            for book in self.account.positions.values()
            if book.quantity
        }
        wanted = [ids] if isinstance(ids, str) else ids
        if wanted is not None and any(name not in books for name in wanted):
            raise Bad(-53, "Please provide a valid position id")
        if not books:
            raise Bad(-352, "Looks like you have no open positions")
        for name in books if wanted is None else wanted:
            self.exchange.place(self.account, books[name].closing_order())
        return _ok({}, "The position is closed.")

    def _margin(self, call: Call) -> Answer:
        self.exchange.advance()
        lines = read_object(call.body).get("data")
        if not isinstance(lines, list) or not lines:
            raise Bad(-50, "data: please provide a list of orders")
        need = 0
        for line in lines:
            order, _ = read_order(line if isinstance(line, dict) else {})
            walk = self.exchange.walk(order.symbol)
            if walk is None:
                raise Bad(-300, "Please provide a valid symbol")
            price = int(order.price * 100) if order.price else walk.price_paise
            need += price * order.quantity // (1 if order.product is Product.DELIVERY else 5)
        used = self.account.used_paise
        return _ok(
            {
                "data": {
                    "margin_total": rupees_float(used + need),
                    "margin_new_order": rupees_float(need),
                    "margin_avail": rupees_float(self.account.available_paise),
                }
            }
        )

    # -- helpers -------------------------------------------------------------------------------------------------

    def _order(self, order_id: object) -> SimOrder:
        if not isinstance(order_id, str) or not order_id:
            raise Bad(-50, "id: please provide a valid value")
        return self.exchange.find(self.account, order_id)

    @staticmethod
    def _checked(do: Do) -> Do:
        def checked(call: Call) -> Answer | Awaitable[Answer]:
            try:
                return translated(lambda: do(call))
            except Bad as bad:
                return error(bad)

        return checked

    def _build_routes(self) -> dict[tuple[str, str], Route]:
        routes = {
            (verb, path): Route("login" if verb == "GET" else "authenticate", None, self._checked(do))
            for verb, path, do in (
                ("GET", "/api/v3/generate-authcode", self._dialog),
                ("POST", "/api/v3/validate-authcode", self._validate_code),
                ("POST", "/api/v3/validate-refresh-token", self._validate_refresh),
            )
        }
        for verb, operation, act in (
            ("POST", "place_order", self._place_one),
            ("PATCH", "modify_order", self._modify_one),
            ("DELETE", "cancel_order", self._cancel_one),
        ):
            routes[verb, "/api/v3/orders/sync"] = Route(operation, "orders", self._checked(self._one(act)))
            routes[verb, "/api/v3/multi-order/sync"] = Route(
                f"multi_{operation.removesuffix('_order')}", "orders", self._checked(self._many(act)), count_lines
            )
        for verb, path, operation, category, do in (
            ("POST", "/api/v3/orders/async", "place_order", "orders", self._place_queued),
            ("DELETE", "/api/v3/positions", "exit_all", "orders", self._exit),
            ("POST", "/api/v3/multiorder/margin", "margin", "reads", self._margin),
            ("POST", "/api/v3/logout", "logout", "reads", self._logout),
            ("GET", "/api/v3/profile", "get_profile", "reads", self._profile),
            ("GET", "/api/v3/funds", "get_portfolio", "reads", self._funds),
            ("GET", "/api/v3/holdings", "get_portfolio", "reads", self._holdings),
            ("GET", "/api/v3/positions", "get_positions", "reads", self._positions),
            ("GET", "/api/v3/orders", "get_orders", "reads", self._orders),
            ("GET", "/api/v3/tradebook", "get_trades", "reads", self._trades),
            ("GET", "/data/quotes", "get_market_data", "reads", self._quotes),
            ("POST", "/data/quotes", "get_market_data", "reads", self._quotes),
            ("GET", "/data/depth", "get_depth", "reads", self._depth),
            ("GET", "/data/history", "get_candles", "reads", self._history),
            ("GET", "/data/marketStatus", "market_status", "reads", self._market_status),
        ):
            routes[verb, path] = Route(operation, category, self._checked(do))
        return routes


def _ok(more: dict[str, Any], message: str = "") -> Answer:
    return answer_json({"s": "ok", "code": 200, "message": message, **more})


def _range_edge(text: str, date_format: str | None) -> int:
    """Epoch seconds of an edge, given as such (date_format 0) or as a date in India."""
    if date_format == "1":
        return int(datetime.strptime(f"{text} +0530", "%Y-%m-%d %z").timestamp())
    return int(text)
