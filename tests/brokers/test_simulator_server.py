"""Both brokers on real sockets: envelopes, codes, limits, and what each fault looks like from the client's side."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from core.brokers.simulator.faults import Fault, FaultKind, FaultPlan, Latency
from core.brokers.simulator.server import Simulator, serve
from core.brokers.simulator.settings import SimulatorSettings
from core.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, SystemClock
from core.errors import ConfigError
from core.models import Budget, OrderStatus, Rate

SBIN_KEY = "NSE_EQ|INE062A01020"
UPSTOX_ORDER: dict[str, Any] = {
    "quantity": 1, "product": "I", "validity": "DAY", "price": 800.05, "tag": "t1", "instrument_token": SBIN_KEY,
    "order_type": "LIMIT", "transaction_type": "BUY", "disclosed_quantity": 0, "trigger_price": 0.0, "is_amo": False,
    "slice": False,
}  # fmt: skip
FYERS_ORDER: dict[str, Any] = {
    "symbol": "NSE:SBIN-EQ", "qty": 10, "type": 1, "side": 1, "productType": "INTRADAY", "limitPrice": 800.05,
    "stopPrice": 0, "disclosedQty": 0, "validity": "DAY", "offlineOrder": False, "stopLoss": 0, "takeProfit": 0,
    "orderTag": "t1", "isSliceOrder": False,
}  # fmt: skip


class ShiftedClock(SystemClock):
    """The machine's time, moved on by hand: limits of minutes and days in a test of milliseconds."""

    def __init__(self) -> None:
        self.shift_ns = 0
        # From a morning in India, so that an hour more or less stays within the day.
        self._morning_ns = DAY - (super().epoch_ns() + 5 * HOUR + 30 * MINUTE) % DAY + 10 * HOUR

    def now_ns(self) -> int:
        return super().now_ns() + self.shift_ns

    def epoch_ns(self) -> int:
        return super().epoch_ns() + self._morning_ns + self.shift_ns


class Raw(NamedTuple):
    """An answer that is no JSON."""

    content_type: str
    headers: Mapping[str, str]
    body: bytes


class Client:
    """A bare HTTP client of both brokers."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession, clock: ShiftedClock) -> None:
        self.simulator, self.session, self.clock = simulator, session, clock

    async def upstox(self, method: str, path: str, *, token: str | None = None, **more: Any) -> tuple[int, Any]:
        token = token or self.simulator.settings.upstox_token
        return await self._call(method, path, {"Authorization": f"Bearer {token}"}, **more)

    async def fyers(self, method: str, path: str, *, authorization: str | None = None, **more: Any) -> tuple[int, Any]:
        settings = self.simulator.settings
        header = authorization or f"{settings.fyers_client_id}:{settings.fyers_token}"
        return await self._call(method, path, {"Authorization": header}, **more)

    async def _call(self, method: str, path: str, headers: dict[str, str], **more: Any) -> tuple[int, Any]:
        url = self.simulator.base_url + path
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **more) as reply:
            if reply.content_type == "application/json":
                return reply.status, await reply.json()
            return reply.status, Raw(reply.content_type, reply.headers, await reply.read())

    async def settle(self) -> None:
        """Let orders get to the exchange."""
        self.clock.shift_ns += SECOND


def code(answer: tuple[int, Any]) -> tuple[int, str]:
    """Status and Upstox's error code; both spellings must agree."""
    status, body = answer
    entry = body["errors"][0]
    assert body["status"] == "error"
    assert entry["errorCode"] == entry["error_code"]
    assert (entry["propertyPath"], entry["invalidValue"]) == (entry["property_path"], entry["invalid_value"])
    return status, entry["error_code"]


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    settings = getattr(request, "param", SimulatorSettings())
    clock = ShiftedClock()
    async with (
        serve(settings, clock=clock) as simulator,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session,
    ):
        session._retry_connection = False  # a re-sent DELETE would be counted twice
        yield Client(simulator, session, clock)


# -- Upstox ----------------------------------------------------------------------------------------------------------


async def test_an_upstox_order_goes_through_its_life(client: Client) -> None:
    status, body = await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER)
    assert (status, body["status"], list(body["metadata"])) == (200, "success", ["latency"])
    (order_id,) = body["data"]["order_ids"]
    assert len(order_id) == 15
    await client.settle()
    _, details = await client.upstox("GET", "/v2/order/details", params={"order_id": order_id})
    row = details["data"]
    assert (row["status"], row["price"], row["tag"], row["pending_quantity"]) == ("open", 800.05, "t1", 1)
    assert (row["instrument_token"], row["trading_symbol"], row["tradingsymbol"]) == (SBIN_KEY, "SBIN-EQ", "SBIN-EQ")

    change = {"order_id": order_id, "validity": "DAY", "price": 801.0, "order_type": "LIMIT", "trigger_price": 0}
    status, body = await client.upstox("PUT", "/v3/order/modify", json={**change, "quantity": 3})
    assert (status, body["data"]) == (200, {"order_id": order_id})
    await client.settle()
    status, body = await client.upstox("DELETE", "/v3/order/cancel", params={"order_id": order_id}, json={})
    assert (status, body["data"]) == (200, {"order_id": order_id})
    await client.settle()
    _, history = await client.upstox("GET", "/v2/order/history", params={"tag": "t1"})
    assert [stage["status"] for stage in history["data"]] == [
        "put order req received",
        "validation pending",
        "open",
        "modify pending",
        "modified",
        "cancel pending",
        "cancelled",
    ]
    assert {(stage["tag"], stage["price"], stage["quantity"]) for stage in history["data"]} == {("t1", 801.0, 3)}
    assert code(await client.upstox("DELETE", "/v3/order/cancel", params={"order_id": order_id})) == (
        400,
        "UDAPI100040",
    )
    assert code(await client.upstox("PUT", "/v3/order/modify", json=change)) == (400, "UDAPI100041")


async def test_a_filled_upstox_order_shows_in_trades_positions_and_funds(client: Client) -> None:
    market = {**UPSTOX_ORDER, "order_type": "MARKET", "price": 0, "quantity": 10, "market_protection": -1}
    _, body = await client.upstox("POST", "/v2/order/place", json=market)
    order_id = body["data"]["order_id"]
    await client.settle()
    await client.settle()
    _, trades = await client.upstox("GET", "/v2/order/trades", params={"order_id": order_id})
    assert sum(trade["quantity"] for trade in trades["data"]) == 10
    assert all("tag" not in trade for trade in trades["data"])
    _, of_day = await client.upstox("GET", "/v2/order/trades/get-trades-for-day")
    assert of_day["data"] == trades["data"]
    _, positions = await client.upstox("GET", "/v2/portfolio/short-term-positions")
    assert [(row["quantity"], row["product"]) for row in positions["data"]] == [(10, "I")]
    _, old = await client.upstox("GET", "/v2/user/get-funds-and-margin")
    _, new = await client.upstox("GET", "/v3/user/get-funds-and-margin")
    assert old["data"]["equity"]["used_margin"] > 0
    assert old["data"]["equity"]["available_margin"] == new["data"]["available_to_trade"]["total"]
    _, holdings = await client.upstox("GET", "/v2/portfolio/long-term-holdings")
    assert any(row["instrument_token"] == SBIN_KEY for row in holdings["data"])


BAD_UPSTOX_ORDERS = [
    ({"quantity": 0}, "UDAPI1052"),
    ({"quantity": 1.0}, "UDAPI1052"),
    ({"order_type": None}, "UDAPI1004"),
    ({"order_type": "STOP"}, "UDAPI1056"),
    ({"validity": "GTC"}, "UDAPI1055"),
    ({"price": 0}, "UDAPI1029"),
    ({"order_type": "SL"}, "UDAPI1036"),
    ({"instrument_token": ""}, "UDAPI1026"),
    ({"instrument_token": "NSE_EQ|INE000000000"}, "UDAPI100011"),
    ({"instrument_token": "SBIN"}, "UDAPI1087"),
    ({"instrument_token": "MCX_FO|12345"}, "UDAPI1161"),
    ({"tag": "t" * 41}, "UDAPI1119"),
    ({"order_type": "MARKET", "market_protection": 0}, "UDAPI1158"),
    ({"order_type": "MARKET", "market_protection": 26}, "UDAPI1159"),
    ({"is_amo": None}, "UDAPI100036"),
    ({"price": 800.03}, "UDAPI1031"),
]


@pytest.mark.parametrize(("change", "wanted"), BAD_UPSTOX_ORDERS, ids=[str(change) for change, _ in BAD_UPSTOX_ORDERS])
async def test_a_bad_upstox_order_gets_its_code_and_no_place_in_the_book(
    client: Client, change: dict[str, Any], wanted: str
) -> None:
    body = {name: value for name, value in {**UPSTOX_ORDER, **change}.items() if value is not None}
    assert code(await client.upstox("POST", "/v3/order/place", json=body)) == (400, wanted)
    assert client.simulator.books()["upstox"] == ()


async def test_what_upstox_risk_check_refuses_is_accepted_first_and_then_a_row_rejected(client: Client) -> None:
    status, body = await client.upstox("POST", "/v3/order/place", json={**UPSTOX_ORDER, "price": 100.0})
    assert status == 200
    _, details = await client.upstox("GET", "/v2/order/details", params={"order_id": body["data"]["order_ids"][0]})
    assert details["data"]["status"] == "rejected"
    assert "band" in details["data"]["status_message"]


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/v2/order/details", (400, "UDAPI1023")),
        ("GET", "/v2/order/details?order_id=no%20id", (400, "UDAPI1010")),
        ("GET", "/v2/order/details?order_id=261101000000001", (400, "UDAPI100010")),
        ("GET", "/v2/order/history?order_id=261101000000001", (400, "UDAPI100010")),
        ("GET", "/v2/order/history", (400, "UDAPI1023")),
        ("DELETE", "/v3/order/cancel?order_id=261101000000001", (400, "UDAPI100010")),
        ("GET", "/v2/no/such/path", (404, "UDAPI100060")),
        ("GET", "/v3/market-quote/ltp?symbol=NSE_EQ%7CINE062A01020", (400, "UDAPI1026")),
        ("POST", "/v3/order/place", (400, "UDAPI100038")),
    ],
)
async def test_upstox_answers_a_bad_call_with_its_code(
    client: Client, method: str, path: str, wanted: tuple[int, str]
) -> None:
    assert code(await client.upstox(method, path)) == wanted


async def test_an_unknown_tag_has_an_empty_history(client: Client) -> None:
    assert await client.upstox("GET", "/v2/order/history", params={"tag": "never"}) == (
        200,
        {"status": "success", "data": []},
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v2/market-quote/ltp?symbol=",
        "/v2/market-quote/ltp?instrument_key=",
        "/v2/market-quote/quotes?symbol=",
        "/v3/market-quote/quotes?instrument_key=",
        "/v3/market-quote/ltp?instrument_key=",
        "/v3/market-quote/ohlc?instrument_key=",
    ],
)
async def test_upstox_quotes_come_under_another_key_than_was_asked(client: Client, path: str) -> None:
    asked = "NSE_EQ%7CINE062A01020%2CNSE_INDEX%7CNifty%2050%2CNSE_FO%7C53001"
    status, body = await client.upstox("GET", path + asked)
    assert status == 200
    assert {key: row["instrument_token"] for key, row in body["data"].items()} == {
        "NSE_EQ:SBIN": SBIN_KEY,
        "NSE_INDEX:Nifty 50": "NSE_INDEX|Nifty 50",
        "NSE_FO:SBIN26DECFUT": "NSE_FO|53001",
    }


async def test_a_multi_order_succeeds_line_by_line(client: Client) -> None:
    good = {**UPSTOX_ORDER, "correlation_id": "a"}
    status, body = await client.upstox("POST", "/v2/order/multi/place", json=[good, {**good, "correlation_id": "b"}])
    assert (status, body["status"], [line["correlation_id"] for line in body["data"]]) == (200, "success", ["a", "b"])
    bad = {**good, "correlation_id": "c", "quantity": 0}
    status, body = await client.upstox(
        "POST", "/v2/order/multi/place", json=[{**good, "correlation_id": "d"}, bad, good, good]
    )
    assert (status, body["status"]) == (207, "partial_success")
    assert [(e["correlation_id"], e["error_code"]) for e in body["errors"]] == [("c", "UDAPI1052"), ("a", "UDAPI1117")]
    assert body["summary"] == {"total": 4, "success": 2, "error": 2, "payload_error": 2}
    status, body = await client.upstox("POST", "/v2/order/multi/place", json=[bad])
    assert (status, body["status"]) == (400, "error")
    client.clock.shift_ns += MINUTE
    assert code(await client.upstox("POST", "/v2/order/multi/place", json=[good] * 10 + [bad])) == (400, "UDAPI1118")
    await client.settle()
    status, body = await client.upstox("DELETE", "/v2/order/multi/cancel", params={"tag": "t1"})
    assert (status, body["summary"]["success"]) == (200, 4)
    assert client.simulator.upstox.referee.report().duplicate_tags == ("t1",)


async def test_the_kill_switch_cancels_shuts_and_cools_for_twelve_hours(client: Client) -> None:
    await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER)
    await client.settle()
    path = "/v2/user/kill-switch"
    assert code(await client.upstox("POST", path, json=[{"segment": "X", "action": "DISABLE"}])) == (400, "UDAPI1186")
    assert code(await client.upstox("POST", path, json=[{"segment": "NSE_EQ", "action": "X"}])) == (400, "UDAPI1188")
    await client.upstox("POST", path, json=[{"segment": "NSE_EQ", "action": "DISABLE"}])
    await client.settle()
    assert [row.status for row in client.simulator.books()["upstox"]] == [OrderStatus.CANCELLED]
    assert (await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER))[0] == 400
    lift = [{"segment": "NSE_EQ", "action": "ENABLE"}]
    assert code(await client.upstox("POST", path, json=lift)) == (400, "UDAPI1185")
    client.clock.shift_ns += 12 * HOUR
    status, body = await client.upstox("POST", path, json=lift)
    assert status == 200
    assert not any(row["kill_switch_enabled"] for row in body["data"])


async def test_upstox_log_in_gives_a_token_until_0330_and_a_log_out_ends_it(client: Client) -> None:
    settings = client.simulator.settings
    ask = {"response_type": "code", "client_id": settings.upstox_client_id, "redirect_uri": "http://x/y", "state": "s"}
    status, reply = await client.upstox("GET", "/v2/login/authorization/dialog", params=ask)
    back = parse_qs(urlsplit(reply.headers["Location"]).query)
    assert (status, back["state"]) == (302, ["s"])
    form = {
        "code": back["code"][0], "client_id": settings.upstox_client_id, "client_secret": settings.upstox_secret,
        "redirect_uri": "http://x/y", "grant_type": "authorization_code",
    }  # fmt: skip
    status, body = await client.upstox("POST", "/v2/login/authorization/token", data=form)
    assert (status, body["user_id"], "status" in body) == (200, "SIM001", False)
    token = body["access_token"]
    assert code(await client.upstox("POST", "/v2/login/authorization/token", data=form)) == (400, "UDAPI100057")
    assert (await client.upstox("GET", "/v2/user/profile", token=token))[0] == 200
    client.clock.shift_ns += 17 * HOUR  # from 10:00 to 03:00
    assert (await client.upstox("GET", "/v2/user/profile", token=token))[0] == 200
    client.clock.shift_ns += HOUR
    assert code(await client.upstox("GET", "/v2/user/profile", token=token)) == (401, "UDAPI100050")
    assert await client.upstox("DELETE", "/v2/logout") == (200, {"status": "success", "data": True})
    assert code(await client.upstox("GET", "/v2/user/profile")) == (401, "UDAPI100050")


@pytest.mark.parametrize("client", [SimulatorSettings(upstox_algo_name="mine")], indirect=True)
@pytest.mark.parametrize(("name", "status"), [("mine", 200), ("other", 400)])
async def test_a_wrong_algo_name_is_refused(client: Client, name: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {client.simulator.settings.upstox_token}", "X-Algo-Name": name}
    url = client.simulator.base_url + "/v3/order/place"
    async with client.session.post(url, json=UPSTOX_ORDER, headers=headers) as reply:
        assert reply.status == status
        if status == 400:
            assert code((reply.status, await reply.json())) == (400, "UDAPI1156")


# -- Fyers -----------------------------------------------------------------------------------------------------------


async def test_a_fyers_order_goes_through_its_life(client: Client) -> None:
    status, body = await client.fyers("POST", "/api/v3/orders/sync", json=FYERS_ORDER)
    order_id = body["id"]
    assert (status, body["s"], body["code"], len(order_id)) == (200, "ok", 1101, 14)
    await client.settle()
    _, book = await client.fyers("GET", "/api/v3/orders", params={"order_tag": "1:t1"})
    (row,) = book["orderBook"]
    assert (row["id"], row["status"], row["orderTag"], row["limitPrice"]) == (order_id, 6, "1:t1", 800.05)
    assert row["orderNumStatus"] == f"{order_id}:6"
    status, body = await client.fyers("PATCH", "/api/v3/orders/sync", json={"id": order_id, "type": 1, "qty": 4})
    assert (status, body["code"], body["id"]) == (200, 1102, order_id)
    await client.settle()
    status, body = await client.fyers("DELETE", "/api/v3/orders/sync", json={"id": order_id})
    assert (status, body["code"]) == (200, 1103)
    await client.settle()
    _, book = await client.fyers("GET", "/api/v3/orders", params={"id": order_id})
    assert [(row["status"], row["qty"], row["limitPrice"]) for row in book["orderBook"]] == [(1, 4, 800.05)]
    status, body = await client.fyers("DELETE", "/api/v3/orders/sync", json={"id": order_id})
    assert (status, body["code"]) == (400, -99)


async def test_a_filled_fyers_order_shows_in_trades_positions_and_funds(client: Client) -> None:
    market = {**FYERS_ORDER, "type": 2, "limitPrice": 0, "orderTag": ""}
    _, placed = await client.fyers("POST", "/api/v3/orders/sync", json=market)
    await client.settle()
    await client.settle()
    _, trades = await client.fyers("GET", "/api/v3/tradebook")
    assert sum(row["tradedQty"] for row in trades["tradeBook"]) == 10
    assert {(row["orderNumber"], row["orderTag"]) for row in trades["tradeBook"]} == {(placed["id"], "2:Untagged")}
    _, positions = await client.fyers("GET", "/api/v3/positions")
    (row,) = positions["netPositions"]
    assert (row["id"], row["netQty"], row["side"]) == ("NSE:SBIN-EQ-INTRADAY", 10, 1)
    _, funds = await client.fyers("GET", "/api/v3/funds")
    amounts = {row["id"]: row["equityAmount"] for row in funds["fund_limit"]}
    assert amounts[10] + amounts[2] == pytest.approx(amounts[1])
    assert amounts[2] > 0
    _, holdings = await client.fyers("GET", "/api/v3/holdings")
    assert holdings["overall"]["count_total"] == len(holdings["holdings"]) == 16
    status, body = await client.fyers("DELETE", "/api/v3/positions", json={"exit_all": 1})
    assert (status, body["s"]) == (200, "ok")


BAD_FYERS_ORDERS = [
    ({"symbol": ""}, (400, -50)),
    ({"symbol": "NSE:NOSUCH-EQ"}, (400, -300)),
    ({"qty": 0}, (400, -50)),
    ({"qty": "10"}, (400, -50)),
    ({"type": 7}, (400, -50)),
    ({"side": 0}, (400, -50)),
    ({"productType": "I"}, (400, -50)),
    ({"validity": "GTC"}, (400, -50)),
    ({"orderTag": "not-alphanumeric"}, (400, -50)),
    ({"orderTag": "t" * 31}, (400, -50)),
    ({"orderTag": "Untagged"}, (400, -50)),
    ({"limitPrice": 800.03}, (400, -50)),
    ({"limitPrice": 0}, (400, -50)),
    ({"type": 4}, (400, -50)),
    ({"limitPrice": 100.0}, (200, -99)),
    ({"qty": 100_000_000}, (200, -99)),
]


@pytest.mark.parametrize(("change", "wanted"), BAD_FYERS_ORDERS, ids=[str(change) for change, _ in BAD_FYERS_ORDERS])
async def test_a_bad_fyers_order_gets_its_code_and_what_the_risk_check_refuses_stands_as_rejected(
    client: Client, change: dict[str, Any], wanted: tuple[int, int]
) -> None:
    status, body = await client.fyers("POST", "/api/v3/orders/sync", json={**FYERS_ORDER, **change})
    assert (status, body["code"], body["s"]) == (*wanted, "error")
    assert "id" not in body
    statuses = [row.status for row in client.simulator.books()["fyers"]]
    assert statuses == ([OrderStatus.REJECTED] if wanted[1] == -99 else [])


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/api/v3/orders?id=26110100000001", (400, -51)),
        ("DELETE", "/api/v3/orders/sync", (400, -50)),
        ("GET", "/data/quotes", (400, -50)),
        ("GET", "/data/depth?symbol=NSE:NOSUCH-EQ", (400, -300)),
        ("DELETE", "/api/v3/positions", (400, -50)),
    ],
)
async def test_fyers_answers_a_bad_call_with_its_code(
    client: Client, method: str, path: str, wanted: tuple[int, int]
) -> None:
    status, body = await client.fyers(method, path)
    assert (status, body["code"]) == wanted


@pytest.mark.parametrize(
    ("path", "authorization", "wanted"),
    [
        ("/api/v3/profile", "DEMO0001-100:wrong", (401, -16)),
        ("/api/v3/profile", "demo-fyers-token", (401, -16)),
        ("/api/v3/profile", "Bearer DEMO0001-100:demo-fyers-token", (401, -16)),
        ("/data/quotes?symbols=NSE:SBIN-EQ", "DEMO0001-100:wrong", (401, -15)),
    ],
)
async def test_fyers_hosts_word_a_bad_token_differently(
    client: Client, path: str, authorization: str, wanted: tuple[int, int]
) -> None:
    status, body = await client.fyers("GET", path, authorization=authorization)
    assert (status, body["code"]) == wanted


async def test_the_double_question_mark_of_the_docs_filters_nothing(client: Client) -> None:
    for tag in ("one", "two"):
        await client.fyers("POST", "/api/v3/orders/sync", json={**FYERS_ORDER, "orderTag": tag})
    _, book = await client.fyers("GET", "/api/v3/orders??order_tag=1:one")
    assert [row["orderTag"] for row in book["orderBook"]] == ["1:one", "1:two"]


async def test_an_ampersand_in_a_symbol_and_an_unknown_one_beside_it(client: Client) -> None:
    _, body = await client.fyers("GET", "/data/quotes?symbols=NSE:M%26M-EQ,NSE:NOSUCH-EQ")
    assert [(row["n"], row["s"]) for row in body["d"]] == [("NSE:M&M-EQ", "ok"), ("NSE:NOSUCH-EQ", "error")]
    too_many = ",".join(["NSE:SBIN-EQ"] * 51)
    status, body = await client.fyers("GET", "/data/quotes", params={"symbols": too_many})
    assert (status, body["code"]) == (400, -50)


async def test_fyers_log_in_takes_the_hash_of_app_and_secret(client: Client) -> None:
    settings = client.simulator.settings
    ask = {
        "client_id": settings.fyers_client_id,
        "redirect_uri": "http://x/y?z=1",
        "response_type": "code",
        "state": "s",
    }
    _, reply = await client.fyers("GET", "/api/v3/generate-authcode", params=ask)
    back = parse_qs(urlsplit(reply.headers["Location"]).query)
    assert (back["state"], back["z"]) == (["s"], ["1"])
    app_hash = hashlib.sha256(f"{settings.fyers_client_id}:{settings.fyers_secret}".encode()).hexdigest()
    body = {"grant_type": "authorization_code", "appIdHash": app_hash, "code": back["auth_code"][0]}
    status, answer = await client.fyers("POST", "/api/v3/validate-authcode", json=body)
    assert (status, answer["code"]) == (200, 200)
    good = f"{settings.fyers_client_id}:{answer['access_token']}"
    assert (await client.fyers("GET", "/api/v3/profile", authorization=good))[0] == 200
    status, answer = await client.fyers("POST", "/api/v3/validate-authcode", json=body)
    assert (status, answer) == (400, {"s": "error", "code": -437, "message": "invalid auth code"})


async def test_fyers_many_orders_fail_one_by_one(client: Client) -> None:
    lines = [FYERS_ORDER, {**FYERS_ORDER, "qty": 0}]
    status, body = await client.fyers("POST", "/api/v3/multi-order/sync", json=lines)
    assert status == 200
    assert [(line["statusCode"], line["body"]["code"]) for line in body["data"]] == [(200, 1101), (400, -50)]
    assert (await client.fyers("POST", "/api/v3/multi-order/sync", json=[FYERS_ORDER] * 11))[1]["code"] in {-429, 400}


# -- limits ----------------------------------------------------------------------------------------------------------


async def test_upstox_counts_orders_and_reads_apart_and_gives_no_advice(client: Client) -> None:
    for _ in range(10):
        assert (await client.upstox("DELETE", "/v3/order/cancel", params={"order_id": "1"}))[0] == 400
    url, headers = client.simulator.base_url, {"Authorization": f"Bearer {client.simulator.settings.upstox_token}"}
    async with client.session.post(url + "/v3/order/place", json=UPSTOX_ORDER, headers=headers) as reply:
        assert code((reply.status, await reply.json())) == (429, "UDAPI10005")
        assert not [name for name in reply.headers if "retry" in name.lower() or "ratelimit" in name.lower()]
    assert (await client.upstox("GET", "/v2/user/profile"))[0] == 200
    client.clock.shift_ns += SECOND
    assert (await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER))[0] == 200


FEW_A_MINUTE = SimulatorSettings(
    fyers_limits=(Budget("all", (Rate(2, MINUTE),), frozenset({"orders", "reads"})),), seed=3
)


@pytest.mark.parametrize("client", [FEW_A_MINUTE], indirect=True)
async def test_fyers_blocks_for_the_day_after_the_fourth_breached_minute(client: Client) -> None:
    for minute in range(4):
        for _ in range(2):
            assert (await client.fyers("GET", "/api/v3/profile"))[0] == 200, minute
        for _ in range(3):  # three refusals in one minute are one breach
            status, body = await client.fyers("GET", "/api/v3/profile")
            assert (status, body["code"]) == (429, -429)
        client.clock.shift_ns += MINUTE
    assert (await client.fyers("GET", "/api/v3/profile"))[0] == 429
    assert client.simulator.fyers.day_block.breaches == 4
    client.clock.shift_ns += 14 * HOUR
    assert (await client.fyers("GET", "/api/v3/profile"))[0] == 200


@pytest.mark.parametrize("client", [FEW_A_MINUTE], indirect=True)
async def test_fyers_advises_when_to_come_back(client: Client) -> None:
    headers = {"Authorization": f"{client.simulator.settings.fyers_client_id}:{client.simulator.settings.fyers_token}"}
    for _ in range(3):
        async with client.session.get(client.simulator.base_url + "/api/v3/profile", headers=headers) as reply:
            advice = reply.headers.get("Retry-After"), reply.headers.get("X-Retry-After-Ms")
    assert advice[0] == "60"
    assert 59_000 <= int(advice[1] or 0) <= 60_000


async def test_the_referee_reports_over_http_what_it_reports_inside(client: Client) -> None:
    for _ in range(3):
        await client.upstox("GET", "/v2/user/profile")
    async with client.session.get(client.simulator.base_url + "/_sim/referee") as reply:
        body = await reply.json()
    inside = client.simulator.referee_reports()["upstox"]
    assert (body["upstox"]["accepted"], body["upstox"]["refused"]) == (inside.accepted, inside.refused) == (3, 0)
    assert ["reads 50/s", 3, 50] in body["upstox"]["fullest"]


# -- faults ----------------------------------------------------------------------------------------------------------

RESET, TIMED_OUT = "reset", "timed out"
SEEN: list[tuple[FaultKind, str | int, bool]] = [
    (FaultKind.RESET_BEFORE_READ, RESET, False),
    (FaultKind.RESET_AFTER_ACCEPT, RESET, True),
    (FaultKind.ERROR_BEFORE_ACCEPT, 500, False),
    (FaultKind.ERROR_AFTER_ACCEPT, 500, True),
    (FaultKind.HANG, TIMED_OUT, True),
    (FaultKind.LATE, TIMED_OUT, True),
    (FaultKind.BAD_JSON, "no json", True),
    (FaultKind.WRONG_TYPE, "text/html", True),
    (FaultKind.STORM_429, 429, False),
    (FaultKind.SOFT_429, 200, False),
    (FaultKind.FIREWALL_429, "text/plain", False),
    (FaultKind.TOKEN_EXPIRED, 401, False),
    (FaultKind.SLOW, 200, True),
    (FaultKind.SLOW_BODY, 200, True),
    (FaultKind.CLOCK_SKEW, 200, True),
]


@pytest.mark.parametrize("broker", ["upstox", "fyers"])
@pytest.mark.parametrize(("kind", "seen", "taken"), SEEN, ids=[kind.value for kind, _, _ in SEEN])
async def test_each_fault_on_the_wire(
    client: Client, broker: str, kind: FaultKind, seen: str | int, *, taken: bool
) -> None:
    client.session._timeout = aiohttp.ClientTimeout(total=0.3)
    delay_ns = {FaultKind.LATE: 400 * MILLISECOND}.get(kind, 30 * MILLISECOND)
    client.simulator.set_plan(FaultPlan(faults=(Fault(kind=kind, count=1, delay_ns=delay_ns),)))
    try:
        if broker == "upstox":
            status, body = await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER)
        else:
            status, body = await client.fyers("POST", "/api/v3/orders/sync", json=FYERS_ORDER)
        met: str | int = status if isinstance(body, dict) else body.content_type
    except aiohttp.ClientOSError:
        met = RESET
    except TimeoutError:
        met = TIMED_OUT
    except ValueError:
        met = "no json"
    assert met == seen
    client.session._timeout = aiohttp.ClientTimeout(total=5)
    if kind is FaultKind.LATE:
        assert client.simulator.books()[broker] == ()
    # A busy machine may read it after we have gone; no event tells of it.
    while met == TIMED_OUT and not client.simulator.books()[broker]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert [row.tag for row in client.simulator.books()[broker]] == (["t1"] if taken else [])
    assert client.simulator.faults.struck == {kind: 1}
    assert (await client.upstox("GET", "/v2/user/profile"))[0] == 200  # and then it is over


async def test_unacknowledged_is_201_at_fyers_and_an_empty_200_at_upstox(client: Client) -> None:
    client.simulator.set_fault("unacknowledged", 1.0)
    status, body = await client.fyers("POST", "/api/v3/orders/sync", json=FYERS_ORDER)
    assert (status, body["s"], body["code"]) == (200, "ok", 201)
    status, reply = await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER)
    assert (status, reply.body) == (200, b"")
    assert [len(rows) for rows in client.simulator.books().values()] == [1, 1]


async def test_maintenance_is_a_no_in_each_brokers_words(client: Client) -> None:
    client.simulator.set_fault("maintenance", 1.0)
    assert code(await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER)) == (400, "UDAPI100074")
    status, body = await client.fyers("POST", "/api/v3/orders/sync", json=FYERS_ORDER)
    assert (status, body["s"]) == (503, "error")


async def test_from_a_wrong_address_reads_go_and_orders_do_not(client: Client) -> None:
    client.simulator.set_fault("wrong_ip", 1.0)
    assert code(await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER)) == (403, "UDAPI1154")
    status, body = await client.fyers("POST", "/api/v3/orders/sync", json=FYERS_ORDER)
    assert (status, body["code"]) == (400, -99)
    assert (await client.upstox("GET", "/v2/user/profile"))[0] == 200
    assert (await client.fyers("GET", "/api/v3/funds"))[0] == 200
    assert [len(rows) for rows in client.simulator.books().values()] == [0, 0]


async def test_a_skewed_clock_shows_in_the_date_header_and_in_the_rows(client: Client) -> None:
    await client.upstox("POST", "/v3/order/place", json=UPSTOX_ORDER)
    _, straight = await client.upstox("GET", "/v2/order/retrieve-all")
    client.simulator.set_plan(FaultPlan(faults=(Fault(kind=FaultKind.CLOCK_SKEW, rate=1.0, delay_ns=HOUR),)))
    _, skewed = await client.upstox("GET", "/v2/order/retrieve-all")
    hours = [int(rows["data"][0]["order_timestamp"][11:13]) for rows in (straight, skewed)]
    assert hours[1] - hours[0] == 1


async def test_faults_keep_to_their_broker_their_operations_and_their_schedule(client: Client) -> None:
    client.simulator.set_plan(
        FaultPlan(
            faults=(
                Fault(kind=FaultKind.STORM_429, rate=1.0, broker="fyers", operations=frozenset({"get_orders"})),
                Fault(kind=FaultKind.ERROR_BEFORE_ACCEPT, rate=1.0, from_ns=10 * SECOND, until_ns=20 * SECOND),
            )
        )
    )
    assert (await client.fyers("GET", "/api/v3/orders"))[0] == 429
    assert (await client.fyers("GET", "/api/v3/funds"))[0] == 200
    assert (await client.upstox("GET", "/v2/order/retrieve-all"))[0] == 200
    client.clock.shift_ns += 10 * SECOND
    assert (await client.upstox("GET", "/v2/order/retrieve-all"))[0] == 500
    client.clock.shift_ns += 10 * SECOND
    assert (await client.upstox("GET", "/v2/order/retrieve-all"))[0] == 200


@pytest.mark.parametrize("client", [SimulatorSettings(separate_ports=True)], indirect=True)
async def test_a_broker_that_is_down_refuses_connections_while_the_other_serves(client: Client) -> None:
    urls = client.simulator.base_urls
    assert len({*urls.values(), client.simulator.base_url}) == 3

    async def knock(broker: str) -> str:
        try:
            async with client.session.get(urls[broker]) as reply:
                return str(reply.status)
        except aiohttp.ClientConnectorError:
            return "refused"

    assert [await knock("upstox"), await knock("fyers")] == ["404", "404"]
    client.simulator.set_fault("down", 1.0, broker="upstox")
    await asyncio.sleep(0.05)
    assert [await knock("upstox"), await knock("fyers")] == ["refused", "404"]
    client.simulator.set_fault("down", 0, broker="upstox")
    await asyncio.sleep(0.05)
    assert [await knock("upstox"), await knock("fyers")] == ["404", "404"]


async def test_a_port_that_was_taken_while_it_was_closed_opens_when_it_is_free_again(client: Client) -> None:
    async def serves(*, wanted: bool) -> None:
        async with asyncio.timeout(5):
            while True:
                try:
                    async with client.session.get(client.simulator.base_url) as reply:
                        answered = reply.status == 404
                except (aiohttp.ClientError, TimeoutError):
                    answered = False
                if answered is wanted:
                    return
                await asyncio.sleep(0.02)

    client.simulator.set_fault("down", 1.0)
    await serves(wanted=False)
    with socket.create_server(("127.0.0.1", int(client.simulator.base_url.rpartition(":")[2]))):
        client.simulator.set_fault("down", 0)
        await asyncio.sleep(0.1)
        await serves(wanted=False)
    await serves(wanted=True)


async def test_latency_has_a_floor() -> None:
    settings = SimulatorSettings(latency=Latency(floor_ms=30, median_ms=40))
    clock = SystemClock()
    async with serve(settings) as simulator, aiohttp.ClientSession() as session:
        for _ in range(3):
            before_ns = clock.now_ns()
            async with session.get(f"{simulator.base_url}/v2/user/profile") as reply:
                assert reply.status == 401
            assert clock.now_ns() - before_ns >= 30 * MILLISECOND


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b'{"fault": {}}',
        b'{"fault": [{"kind": "nonsense"}]}',
        b'{"fault": [{"kind": "slow", "rat": 1}]}',
        b'{"fault": [{"kind": "down"}]}',
        b'{"fault": [{"kind": "down", "rate": 0.5, "until_s": 1}]}',
        b'{"fault": [{"kind": "slow", "rate": 1e999}]}',
        b'{"fault": [{"kind": "slow", "count": 1.5}]}',
        b'{"latency": {"floor_ms": 3}}',
        b'{"latency": {"floor_ms": null}}',
    ],
)
async def test_a_bad_plan_over_http_is_refused_in_one_line_and_changes_nothing(client: Client, body: bytes) -> None:
    client.simulator.set_fault("storm_429", 1)
    async with client.session.post(client.simulator.base_url + "/_sim/faults", data=body) as reply:
        answer = await reply.json()
    assert reply.status == 400
    assert answer["error"]
    assert "\n" not in answer["error"]
    assert [fault.kind for fault in client.simulator.faults.active] == [FaultKind.STORM_429]


async def test_a_plan_over_http_is_in_force_at_once(client: Client) -> None:
    plan = {
        "fault": [{"kind": "slow", "rate": 0.0001}, {"kind": "error_before_accept", "broker": "upstox"}],
        "latency": {"median_ms": 1.5},
    }
    async with client.session.post(client.simulator.base_url + "/_sim/faults", json=plan) as reply:
        assert await reply.json() == {"active": ["slow", "error_before_accept"]}
    assert (await client.upstox("GET", "/v2/user/profile"))[0] == 500
    async with client.session.get(client.simulator.base_url + "/_sim/faults") as reply:
        assert (await reply.json())["struck"] == {"error_before_accept": 1}


async def test_a_port_in_use_is_an_os_error_and_leaves_nothing_open() -> None:
    async with serve() as simulator:
        port = int(simulator.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with serve(SimulatorSettings(port=port)):
                pass
    async with serve(SimulatorSettings(port=port)) as again:
        assert again.base_url == simulator.base_url


async def test_a_fault_that_a_server_cannot_show_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="from_s and until_s"):
        async with serve(SimulatorSettings(faults=(Fault(kind=FaultKind.DOWN, count=3),))):
            pass
