"""Upstox's wire, API v2 and v3, as its documentation and its own Python SDK have it.

Sources: upstox.com/developer/api-documentation, pages Authentication, Rate Limiting, Place Order V3, Modify Order V3,
Get Order Details, Get Order History, Error Codes, Field Pattern, read February to September 2026; models and paths of
upstox-python-sdk 2.30.0. Where they leave room:
- A refused 429 carries no `Retry-After` and no quota header: none is documented, and the SDK would sleep on it.
- An unknown tag has an empty history. An order that the risk check refuses is accepted (200) and then a row `rejected`;
  so is one outside market hours, though some saw such an order kept as an after-market one.
- A market order with `market_protection` 0 is refused (UDAPI1158); without the field it is protected automatically.
- A call of several orders costs one request for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

from ...clock import HOUR, MILLISECOND
from ...models import OrderType
from .accounts import Refusal, RefusalReason, SimOrder
from .exchange import Exchange
from .input_upstox import (
    ORDERS_PER_CALL,
    Bad,
    check_correlation,
    count_lines,
    error,
    one_of,
    read_lines,
    read_object,
    read_order,
    read_prices,
    translated,
)
from .listings import Listing
from .logins import Logins
from .referee import Breach, Referee
from .rows_upstox import (
    full_row,
    funds_v3,
    history_rows,
    holding_row,
    ltp_row,
    ohlc_row,
    order_row,
    position_row,
    trade_rows,
)
from .walk import Walk
from .wire import Answer, Call, Do, Route, Wire, answer_json, answer_text, ist, rupees_float, sent_back
from .written import rows_text

__all__ = ["UpstoxWire"]

KEYS_PER_CALL: Final = 500
SEGMENTS: Final = ("NSE_EQ", "BSE_EQ", "NSE_FO", "BSE_FO", "NCD_FO", "BCD_FO", "MCX_FO", "NSE_COM")
_ORDER_ID: Final = re.compile(r"[0-9a-zA-Z-]{1,40}")
_KEY: Final = re.compile(r"(?:NSE_EQ|BSE_EQ|NSE_INDEX|BSE_INDEX|NSE_FO|BSE_FO|NCD_FO|BCD_FO|MCX_FO|NSE_COM)\|[\w &.-]+")


class UpstoxWire(Wire):
    """One Upstox user, served from an account at the exchange."""

    name = "upstox"

    def __init__(self, exchange: Exchange, referee: Referee, logins: Logins, *, algo_name: str = "") -> None:
        super().__init__(exchange, referee, logins, serial_digits=9)
        self._algo_name = algo_name
        self.keys: dict[str, Listing] = {listing.upstox_key: listing for listing in exchange.listings.values()}
        self._killed_ns: dict[str, int] = {}
        self._ips: dict[str, Any] = {
            "primary_ip": "127.0.0.1",
            "secondary_ip": None,
            "primary_ip_updated_at": None,
            "secondary_ip_updated_at": None,
            "access_tokens_invalidated": False,
        }
        self.routes = self._build_routes()

    # -- what every wire answers ---------------------------------------------------------------------------------

    def route(self, method: str, path: str) -> Route | None:
        found = self.routes.get((method, path))
        if found is None and path.startswith("/v2/market/status/") and method == "GET":
            found = self.routes[("GET", "/v2/market/status/")]
        if found is None and path.startswith(("/v2/", "/v3/")):
            return Route("unknown", None, lambda _call: error("UDAPI100060", status=404))
        return found

    def authorise(self, call: Call) -> Answer | None:
        kind, _, token = call.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not self.logins.accepts(token, call.epoch_ns):
            return self.expired(call)
        if call.headers.get("X-Algo-Name", self._algo_name) != self._algo_name:
            return error("UDAPI1156")
        return None

    def judge(self, route: Route, cost: int, now_ns: int, epoch_ns: int) -> Answer | None:  # noqa: ARG002 - Fyers needs the date
        breach = self.referee.arrive(str(route.category), now_ns, cost=cost)
        return None if breach is None else self.too_many(breach)

    def too_many(self, breach: Breach | None, *, status: int = 429) -> Answer:  # noqa: ARG002 - Upstox gives no advice
        return error("UDAPI10005", status=status)

    def expired(self, call: Call) -> Answer:  # noqa: ARG002 - Fyers tells its hosts apart
        return error("UDAPI100050", status=401)

    def maintenance(self) -> Answer:
        return error("UDAPI100074", status=400)

    def wrong_ip(self) -> Answer:
        return error("UDAPI1154", status=403)

    def server_error(self) -> Answer:
        return error("UDAPI100500", status=500)

    def unacknowledged(self, answer: Answer) -> Answer:
        return Answer(answer.status, b"")  # seen now and then: a 200 with nothing in it

    # -- log-in --------------------------------------------------------------------------------------------------

    def _dialog(self, call: Call) -> Answer:
        if call.query.get("client_id") != self.logins.client_id:
            return error("UDAPI100068", message="Check your client_id and redirect_uri; one or both are incorrect.")
        return sent_back(call, {"code": self.logins.new_code()})

    def _token(self, call: Call) -> Answer:
        form = dict(parse_qsl(call.body.decode(errors="replace")))
        if form.get("client_id") != self.logins.client_id or form.get("client_secret") != self.logins.secret:
            return error("UDAPI100016", status=401)
        token = self.logins.redeem(form.get("code", ""), call.epoch_ns)
        if token is None:
            return error("UDAPI100057", status=400)
        return answer_json({**_PROFILE, "access_token": token, "extended_token": None})

    def _logout(self, call: Call) -> Answer:
        self.logins.revoke(call.headers.get("Authorization", "").partition(" ")[2])
        return _ok(data=True)

    # -- reads ---------------------------------------------------------------------------------------------------

    def _profile(self, _call: Call) -> Answer:
        return _ok({**_PROFILE, "ddpi": False})

    def _funds_v2(self, call: Call) -> Answer:
        if self._service_closed(call):
            return error("UDAPI100072", status=423)
        self.exchange.advance()
        zeros = dict.fromkeys(
            ("used_margin", "payin_amount", "span_margin", "adhoc_margin", "notional_cash", "available_margin",
             "exposure_margin"),
            0.0,
        )  # fmt: skip
        equity = {
            **zeros,
            "used_margin": rupees_float(self.account.used_paise),
            "available_margin": rupees_float(self.account.available_paise),
        }
        return _ok({"equity": equity, "commodity": zeros})

    def _funds_v3(self, call: Call) -> Answer:
        if self._service_closed(call):
            return error("UDAPI100072", status=423)
        self.exchange.advance()
        return _ok(funds_v3(self.account))

    def _holdings(self, _call: Call) -> Answer:
        self.exchange.advance()
        return _ok([holding_row(self.market(symbol), *held) for symbol, held in self.account.holdings.items()])

    def _positions(self, _call: Call) -> Answer:
        self.exchange.advance()
        return _ok([position_row(book, self.market(book.listing.symbol)) for book in self.account.positions.values()])

    def _quote(self, row: Callable[[Walk, Call], dict[str, Any]]) -> Do:
        """A quote call; v2 takes `symbol` as well as `instrument_key`, because docs and SDK differ."""

        def do(call: Call) -> Answer:
            asked = call.query.get("instrument_key")
            if asked is None and call.path.startswith("/v2/"):
                asked = call.query.get("symbol")
            keys = [key for key in (asked or "").split(",") if key]
            if not keys:
                raise Bad("UDAPI1026", prop="instrument_key")
            if len(keys) > KEYS_PER_CALL:
                raise Bad("UDAPI100036", prop="instrument_key", message=f"At most {KEYS_PER_CALL} keys fit a request")
            data = {}
            for key in keys:
                listing = self._listing(key)
                data[listing.upstox_quote_key] = row(self.market(listing.symbol), call)
            return _ok(data)

        return self._checked(do)

    def _market_status(self, call: Call) -> Answer:
        exchange = call.path.rpartition("/")[2]
        if exchange not in {"NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NSE_EQ"}:
            return error("UDAPI100036", prop="exchange", value=exchange)
        status = "NORMAL_OPEN" if self.exchange.is_open else "NORMAL_CLOSE"
        return _ok({"exchange": exchange, "status": status, "last_updated": call.epoch_ns // MILLISECOND})

    async def _book(self, call: Call) -> Answer:
        rows = await rows_text(self.exchange.orders(self.account), call, self.exchange.clock, order_row)
        return answer_text(f'{{"status":"success","data":{rows}}}')

    def _details(self, call: Call) -> Answer:
        return _ok(order_row(self._order(call.query.get("order_id")), call))

    def _history(self, call: Call) -> Answer:
        order_id, tag = call.query.get("order_id"), call.query.get("tag")
        if order_id is None and tag is None:
            raise Bad("UDAPI1023", prop="order_id")
        if order_id is None:
            self.exchange.advance()
            orders = self.account.tagged(str(tag))
        else:
            order = self._order(order_id)
            orders = [order] if tag in {None, order.tag} else []
        return _ok([row for order in orders for row in history_rows(order, call)])

    def _trades_of_day(self, call: Call) -> Answer:
        orders = self.exchange.orders(self.account)
        return _ok([row for order in orders for row in trade_rows(order, call)])

    def _trades_of_order(self, call: Call) -> Answer:
        return _ok(trade_rows(self._order(call.query.get("order_id")), call))

    # -- orders --------------------------------------------------------------------------------------------------

    def _place(self, call: Call) -> Answer:
        if self._service_closed(call):
            return self.maintenance()
        placed = self._place_one(read_object(call.body))
        if call.path.startswith("/v3/"):
            return _ok_v3({"order_ids": [placed.order_id]})
        return _ok({"order_id": placed.order_id})

    def _place_one(self, body: dict[str, Any]) -> SimOrder:
        order, tag = read_order(body, self._listing)
        placed = self.exchange.place(self.account, order, tag=tag)
        self.referee.saw_tag(tag)
        return placed

    def _modify(self, call: Call) -> Answer:
        if self._service_closed(call):
            return self.maintenance()
        body = read_object(call.body)
        order = self._order(body.get("order_id"))
        one_of(body, "validity", ("DAY", "IOC"), "UDAPI1007", "UDAPI1055")
        one_of(body, "order_type", ("MARKET", "LIMIT", "SL", "SL-M"), "UDAPI1004", "UDAPI1056")
        quantity = body.get("quantity")
        if quantity is not None and (isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0):
            raise Bad("UDAPI1052", prop="quantity", value=quantity)
        price, trigger = read_prices(body)
        try:
            self.exchange.modify(
                self.account,
                order.order_id,
                quantity=quantity or None,  # the SDK sends 0 for "as it was"
                order_type=OrderType(body["order_type"]),
                price=price,
                trigger_price=trigger,
            )
        except Refusal as no:
            if no.reason in {RefusalReason.FINISHED, RefusalReason.PENDING}:
                raise Bad("UDAPI100041", prop="order_id", value=order.order_id) from no
            raise
        return _acknowledge(call, order)

    def _cancel(self, call: Call) -> Answer:
        if self._service_closed(call):
            return self.maintenance()
        order = self._order(call.query.get("order_id"))
        try:
            self.exchange.cancel(self.account, order.order_id)
        except Refusal as no:
            raise Bad("UDAPI100040", prop="order_id", value=order.order_id) from no
        return _acknowledge(call, order)

    def _multi_place(self, call: Call) -> Answer:
        lines = read_lines(call.body)
        if len(lines) > ORDERS_PER_CALL:
            raise Bad("UDAPI1118", value=len(lines))
        data: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        seen: set[str] = set()
        for line in lines:
            correlation_id = str(line.get("correlation_id") or "") if isinstance(line, dict) else ""
            try:
                check_correlation(correlation_id, seen)
                order = translated(partial(self._place_one, line))
                data.append({"correlation_id": correlation_id, "order_id": order.order_id})
            except Bad as bad:
                errors.append({**bad.entry(), "correlation_id": correlation_id})
        return _batch(data, errors, len(lines), payload_errors=len(errors))

    def _cancel_all(self, call: Call) -> Answer:
        self.exchange.advance()
        tag, segment = call.query.get("tag"), call.query.get("segment")
        cancelled = []
        for order in list(self.account.open_orders.values()):
            if tag not in {None, order.tag} or segment not in {None, order.listing.segment} or order.pending:
                continue
            self.exchange.cancel(self.account, order.order_id)
            cancelled.append(order.order_id)
        summary = {"total": len(cancelled), "success": len(cancelled), "error": 0}
        return answer_json({"status": "success", "data": {"order_ids": cancelled}, "errors": None, "summary": summary})

    def _exit_all(self, call: Call) -> Answer:
        self.exchange.advance()
        segment = call.query.get("segment")
        closed = []
        for book in list(self.account.positions.values()):
            if not book.quantity or segment not in {None, book.listing.segment}:
                continue
            closed.append(self.exchange.place(self.account, book.closing_order()).order_id)
        summary = {"total": len(closed), "success": len(closed), "error": 0}
        return answer_json({"status": "success", "data": {"order_ids": closed}, "errors": None, "summary": summary})

    # -- switches ------------------------------------------------------------------------------------------------

    def _kill_state(self, _call: Call | None = None) -> Answer:
        return _ok(
            [
                {"segment": segment, "segment_status": "ACTIVE", "kill_switch_enabled": segment in self._killed_ns}
                for segment in SEGMENTS
            ]
        )

    def _kill(self, call: Call) -> Answer:
        """DISABLE shuts a segment and cancels what rests there; it stays shut for twelve hours."""
        lines = read_lines(call.body)
        for line in lines:
            if not isinstance(line, dict) or line.get("segment") not in SEGMENTS:
                raise Bad("UDAPI1186", prop="segment")
            if line.get("action") not in {"ENABLE", "DISABLE"}:
                raise Bad("UDAPI1188", prop="action")
        self.exchange.advance()
        for line in lines:
            segment = line["segment"]
            if line["action"] == "DISABLE":
                if any(b.quantity and b.listing.segment == segment for b in self.account.positions.values()):
                    raise Bad("UDAPI1184", prop="segment", value=segment)
                self._killed_ns[segment] = call.epoch_ns
                for order in list(self.account.open_orders.values()):
                    if order.listing.segment == segment and not order.pending:
                        self.exchange.cancel(self.account, order.order_id)
            elif call.epoch_ns - self._killed_ns.get(segment, -12 * HOUR) < 12 * HOUR:
                raise Bad("UDAPI1185", prop="segment", value=segment)
            else:
                self._killed_ns.pop(segment, None)
        self.account.killed_segments = set(self._killed_ns)
        return self._kill_state()

    def _ip(self, call: Call) -> Answer:
        if call.method == "PUT":
            body = read_object(call.body)
            for name in ("primary_ip", "secondary_ip"):
                self._ips[name] = body.get(name)
                self._ips[f"{name}_updated_at"] = ist(call.epoch_ns).strftime("%Y-%m-%d %H:%M:%S")
            self._ips["access_tokens_invalidated"] = True  # a change of address voids the token
            self.logins.revoke_all()
        return _ok(self._ips)

    # -- helpers -------------------------------------------------------------------------------------------------

    def _listing(self, key: str) -> Listing:
        listing = self.keys.get(key)
        if listing is None:
            if key.startswith("MCX_FO|"):
                raise Bad("UDAPI1161", prop="instrument_token", value=key)
            code = "UDAPI100011" if _KEY.fullmatch(key) else "UDAPI1087"
            raise Bad(code, prop="instrument_token", value=key)
        return listing

    def _order(self, order_id: object) -> SimOrder:
        if not order_id or not isinstance(order_id, str):
            raise Bad("UDAPI1023", prop="order_id")
        if not _ORDER_ID.fullmatch(order_id):
            raise Bad("UDAPI1010", prop="order_id", value=order_id)
        return self.exchange.find(self.account, order_id)

    def _service_closed(self, call: Call) -> bool:
        return not self.exchange.settings.always_open and ist(call.epoch_ns).strftime("%H:%M") < "05:30"

    @staticmethod
    def _checked(do: Do) -> Do:
        def checked(call: Call) -> Answer | Awaitable[Answer]:
            try:
                return translated(lambda: do(call))
            except Bad as bad:
                return answer_json({"status": "error", "errors": [bad.entry()]}, 400)

        return checked

    def _build_routes(self) -> dict[tuple[str, str], Route]:
        routes = {
            ("GET", "/v2/login/authorization/dialog"): Route("login", None, self._dialog),
            ("POST", "/v2/login/authorization/token"): Route("authenticate", None, self._token),
            ("POST", "/v2/order/multi/place"): Route(
                "multi_place", "orders", self._checked(self._multi_place), count_lines
            ),
        }
        for version in ("/v2", "/v3"):
            for verb, path, act in (
                ("POST", "place", self._place),
                ("PUT", "modify", self._modify),
                ("DELETE", "cancel", self._cancel),
            ):
                routes[verb, f"{version}/order/{path}"] = Route(f"{path}_order", "orders", self._checked(act))
            for path, row in (("ltp", ltp_row), ("quotes", full_row), ("ohlc", ohlc_row)):
                routes["GET", f"{version}/market-quote/{path}"] = Route("get_market_data", "reads", self._quote(row))
        for verb, path, operation, category, do in (
            ("DELETE", "/v2/order/multi/cancel", "cancel_all", "orders", self._cancel_all),
            ("POST", "/v2/order/positions/exit", "exit_all", "orders", self._exit_all),
            ("DELETE", "/v2/logout", "logout", "reads", self._logout),
            ("GET", "/v2/user/profile", "get_profile", "reads", self._profile),
            ("GET", "/v2/user/get-funds-and-margin", "get_portfolio", "reads", self._funds_v2),
            ("GET", "/v3/user/get-funds-and-margin", "get_portfolio", "reads", self._funds_v3),
            ("GET", "/v2/portfolio/long-term-holdings", "get_portfolio", "reads", self._holdings),
            ("GET", "/v2/portfolio/short-term-positions", "get_positions", "reads", self._positions),
            ("GET", "/v2/market/status/", "market_status", "reads", self._market_status),
            ("GET", "/v2/order/retrieve-all", "get_orders", "reads", self._book),
            ("GET", "/v2/order/details", "get_order", "reads", self._details),
            ("GET", "/v2/order/history", "find_orders_by_tag", "reads", self._history),
            ("GET", "/v2/order/trades/get-trades-for-day", "get_trades", "reads", self._trades_of_day),
            ("GET", "/v2/order/trades", "get_trades", "reads", self._trades_of_order),
            ("GET", "/v2/user/kill-switch", "kill_switch", "reads", self._kill_state),
            ("POST", "/v2/user/kill-switch", "kill_switch", "reads", self._kill),
            ("GET", "/v2/user/ip", "static_ip", "reads", self._ip),
            ("PUT", "/v2/user/ip", "static_ip", "reads", self._ip),
        ):
            routes[verb, path] = Route(operation, category, self._checked(do))
        return routes


_PROFILE: Final[dict[str, Any]] = {
    "email": "******@example.com",
    "exchanges": ["NSE", "NFO", "BSE", "CDS"],
    "products": ["D", "CO", "I", "MTF"],
    "broker": "UPSTOX",
    "user_id": "SIM001",
    "user_name": "Simulated User",
    "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
    "user_type": "individual",
    "poa": False,
    "is_active": True,
}


def _ok(data: object) -> Answer:
    return answer_json({"status": "success", "data": data})


def _ok_v3(data: object) -> Answer:
    return answer_json({"status": "success", "data": data, "metadata": {"latency": 3}})


def _acknowledge(call: Call, order: SimOrder) -> Answer:
    data = {"order_id": order.order_id}
    return _ok_v3(data) if call.path.startswith("/v3/") else _ok(data)


def _batch(data: list[Any], errors: list[Any], total: int, *, payload_errors: int) -> Answer:
    """All good 200, some good 207, none 400."""
    status = (200, "success") if not errors else (207, "partial_success") if data else (400, "error")
    summary = {"total": total, "success": len(data), "error": len(errors), "payload_error": payload_errors}
    return answer_json({"status": status[1], "data": data, "errors": errors or None, "summary": summary}, status[0])
