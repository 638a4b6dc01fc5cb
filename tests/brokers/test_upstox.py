"""Upstox on the wire: what is sent, what recorded answers mean, what each documented code leads to."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from core.brokers import InstrumentTable, UpstoxAPI
from core.brokers.base import TradingAPI
from core.brokers.instruments import Instrument
from core.brokers.upstox import UPSTOX_REFUSALS, parse_order, place_body
from core.clock import SECOND
from core.errors import (
    AuthenticationFailed,
    BrokerError,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    RateLimited,
)
from core.models import APIProvider, HealthStatus, Operation, Order, OrderStatus, OrderType, Product, Side
from tests.brokers.recorded import Answer, Recorded, config, paths

PLACE, MODIFY, CANCEL = "POST /v3/order/place", "PUT /v3/order/modify", "DELETE /v3/order/cancel"
BOOK, HISTORY, DETAILS = "GET /v2/order/retrieve-all", "GET /v2/order/history", "GET /v2/order/details"
KEY = "NSE_EQ|INE062A01020"
TAG = "hr7k2m9q4x8w1z5t3ab"
TABLE = InstrumentTable.sample()
LIMIT = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type=OrderType.LIMIT, price="652.55")

ROW: dict[str, Any] = {
    "exchange": "NSE", "product": "I", "price": 652.5, "quantity": 10, "status": "open", "guid": None, "tag": TAG,
    "instrument_token": KEY, "placed_by": "AB1234", "trading_symbol": "SBIN-EQ", "tradingsymbol": "SBIN-EQ",
    "order_type": "LIMIT", "validity": "DAY", "trigger_price": 0.0, "disclosed_quantity": 0, "transaction_type": "BUY",
    "average_price": 652.4, "filled_quantity": 4, "pending_quantity": 6, "status_message": None,
    "status_message_raw": None, "exchange_order_id": "1100000012345678", "parent_order_id": None,
    "order_id": "260105000004711", "variety": "SIMPLE", "order_timestamp": "2026-01-05 10:15:02",
    "exchange_timestamp": "2026-01-05 10:15:02", "is_amo": False, "order_request_id": "1", "order_ref_id": "ref-1",
}  # fmt: skip
PLACED = Answer(payload={"status": "success", "data": {"order_ids": ["260105000004711"]}, "metadata": {"latency": 18}})
CHANGED = Answer(payload={"status": "success", "data": {"order_id": "260105000004711"}, "metadata": {"latency": 9}})


def success(data: Any) -> Answer:
    return Answer(payload={"status": "success", "data": data})


def refusal(code: str, message: str = "no", status: int = 400, *, old_spelling: bool = False) -> Answer:
    name = "errorCode" if old_spelling else "error_code"
    return Answer(status, {"status": "error", "errors": [{name: code, "message": message, "propertyPath": None}]})


Answers = dict[str, Answer | list[Answer]]
Call = Callable[[UpstoxAPI], Awaitable[Any]]


@asynccontextmanager
async def account(answers: Answers, **changes: Any) -> AsyncIterator[tuple[UpstoxAPI, Recorded]]:
    async with (
        Recorded(answers) as server,
        UpstoxAPI("upstox", config(APIProvider.UPSTOX, server.base_url, **changes)) as api,
    ):
        yield api, server


async def ask(answers: Answers, call: Call, **changes: Any) -> tuple[Any, Recorded]:
    async with account(answers, **changes) as (api, server):
        return await call(api), server


async def refused(answer: Answer) -> BrokerError:
    with pytest.raises(BrokerError) as raised:
        await ask({PLACE: answer}, lambda api: api.place_order(LIMIT, tag=TAG))
    return raised.value


# --- what is sent


async def test_a_limit_order_goes_out_once_with_the_signature_and_every_required_field():
    ack, server = await ask({PLACE: PLACED}, lambda api: api.place_order(LIMIT, tag=TAG))
    (seen,) = server.seen
    assert seen.headers["authorization"] == "Bearer token-9f8e7d"
    assert seen.headers["accept"] == "application/json"
    assert "x-algo-name" not in seen.headers
    assert seen.json == {
        "quantity": 10, "product": "I", "validity": "DAY", "price": 652.55, "tag": TAG, "slice": False,
        "instrument_token": KEY, "order_type": "LIMIT", "transaction_type": "BUY", "disclosed_quantity": 0,
        "trigger_price": 0, "is_amo": False,
    }  # fmt: skip
    assert (ack.provider, ack.broker_order_id, ack.status) == ("upstox", "260105000004711", OrderStatus.ACCEPTED)


async def test_a_registered_algo_is_named_in_the_header():
    _, server = await ask({PLACE: PLACED}, lambda api: api.place_order(LIMIT, tag=TAG), algo_name="mine")
    assert server.seen[0].headers["x-algo-name"] == "mine"


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        (
            Order(symbol="NSE:SBIN-EQ", quantity=1),
            {"order_type": "MARKET", "price": 0, "trigger_price": 0, "market_protection": -1},
        ),
        (
            Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.SL_M, trigger_price="600.05"),
            {"order_type": "SL-M", "price": 0, "trigger_price": 600.05, "market_protection": -1},
        ),
        (
            Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.SL, price="601", trigger_price="600"),
            {"order_type": "SL", "price": 601, "trigger_price": 600},
        ),
        (Order(symbol="NSE:SBIN-EQ", quantity=1, side=Side.SELL), {"transaction_type": "SELL"}),
        (Order(symbol="NSE:SBIN-EQ", quantity=1, product=Product.DELIVERY), {"product": "D"}),
        (Order(symbol="NSE:SBIN-EQ", quantity=1, product=Product.MARGIN), {"product": "D"}),
    ],
)
def test_our_words_become_theirs(order: Order, fields: dict[str, Any]):
    assert fields.items() <= json.loads(place_body(order, KEY, TAG)).items()


def test_a_limit_order_asks_for_no_market_protection():
    assert "market_protection" not in json.loads(place_body(LIMIT, KEY, TAG))


def test_prices_are_written_digit_for_digit():
    assert b'"price":652.55,' in place_body(LIMIT, KEY, TAG)


async def test_a_modify_with_all_terms_is_one_request():
    _, server = await ask(
        {MODIFY: CHANGED},
        lambda api: api.modify_order("42", order_type=OrderType.LIMIT, price=Decimal("650.05"), quantity=5),
    )
    assert [seen.json for seen in server.seen] == [
        {"order_id": "42", "validity": "DAY", "price": 650.05, "order_type": "LIMIT", "trigger_price": 0,
         "disclosed_quantity": 0, "quantity": 5}
    ]  # fmt: skip


async def test_a_modify_reads_the_terms_that_the_caller_leaves_out_because_the_wire_replaces_them_all():
    row = {**ROW, "order_type": "SL", "trigger_price": 650.0}
    answers: Answers = {DETAILS: success(row), MODIFY: CHANGED}
    _, server = await ask(answers, lambda api: api.modify_order(ROW["order_id"], price=Decimal("651.05")))
    assert paths(server.seen) == [DETAILS, MODIFY]
    sent = server.seen[1].json
    assert (sent["order_type"], sent["price"], sent["trigger_price"]) == ("SL", 651.05, 650)
    assert "quantity" not in sent
    assert UpstoxAPI("x", config(APIProvider.UPSTOX, "")).cost(Operation.MODIFY_ORDER) == len(server.seen)


async def test_a_cancel_names_the_order_in_the_query_and_has_no_body():
    ack, server = await ask({CANCEL: CHANGED}, lambda api: api.cancel_order("42"))
    assert [(seen.query, seen.body) for seen in server.seen] == [({"order_id": "42"}, b"")]
    assert ack.broker_order_id == "260105000004711"


async def test_orders_go_to_the_order_host_and_the_rest_to_the_main_host():
    api = UpstoxAPI("upstox", config(APIProvider.UPSTOX, ""))
    assert {url.split("/v3")[0] for url in (api._place_url, api._modify_url, api._cancel_url)} == {
        "https://api-hft.upstox.com"
    }
    assert api._host == "https://api.upstox.com"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.LIMIT, price="652.57"), "tick size 0.05"),
        (Order(symbol="NSE:SBIN26DECFUT", quantity=100), "lot size 750"),
        (Order(symbol="NSE:SBI-EQ", quantity=1), "did you mean NSE:SBIN-EQ"),
    ],
)
async def test_what_would_be_refused_anyway_is_not_sent(order: Order, words: str):
    async with account({}) as (api, server):
        with pytest.raises(OrderNotSent, match=words):
            await api.place_order(order, tag=TAG)
    assert server.connections == 0


async def test_an_instrument_that_upstox_does_not_list_is_not_sent():
    table = InstrumentTable([Instrument(symbol="NSE:ONLY-EQ", tick=Decimal("0.05"), lot=1)])
    async with UpstoxAPI("upstox", config(APIProvider.UPSTOX, "http://127.0.0.1:1"), instruments=table) as api:
        with pytest.raises(OrderNotSent, match="does not list NSE:ONLY-EQ"):
            await api.place_order(Order(symbol="NSE:ONLY-EQ", quantity=1), tag=TAG)


# --- what answers mean


def parsed(**changes: Any) -> Any:
    return parse_order(json.loads(json.dumps(ROW | changes), parse_float=Decimal), "upstox", TABLE)


def test_a_row_of_the_book_is_read_in_our_words():
    row = parsed()
    assert (row.symbol, row.tag, row.status) == ("NSE:SBIN-EQ", TAG, OrderStatus.PARTIALLY_FILLED)
    assert (row.quantity, row.filled_quantity, row.average_price) == (10, 4, Decimal("652.4"))
    assert (row.side, row.order_type, row.price, row.trigger_price) == (
        Side.BUY,
        OrderType.LIMIT,
        Decimal("652.5"),
        None,
    )
    assert row.epoch_ns == 1_767_588_302 * SECOND  # 04:45:02 UTC


def test_a_row_of_an_instrument_that_is_not_loaded_keeps_the_brokers_name_for_it():
    key = "BSE_EQ|INE000X01010"
    assert parsed(instrument_token=key).symbol == key


@pytest.mark.parametrize(
    ("words", "filled", "status"),
    [
        ("put order req received", 0, OrderStatus.ACCEPTED),
        ("validation pending", 0, OrderStatus.ACCEPTED),
        ("open pending", 0, OrderStatus.ACCEPTED),
        ("open", 0, OrderStatus.ACCEPTED),
        ("open", 4, OrderStatus.PARTIALLY_FILLED),
        ("trigger pending", 0, OrderStatus.ACCEPTED),
        ("modify pending", 0, OrderStatus.ACCEPTED),
        ("modify validation pending", 0, OrderStatus.ACCEPTED),
        ("modified", 0, OrderStatus.ACCEPTED),
        ("not modified", 0, OrderStatus.ACCEPTED),
        ("cancel pending", 2, OrderStatus.PARTIALLY_FILLED),
        ("not cancelled", 0, OrderStatus.ACCEPTED),
        ("after market order req received", 0, OrderStatus.ACCEPTED),
        ("modify after market order req received", 0, OrderStatus.ACCEPTED),
        ("complete", 10, OrderStatus.FILLED),
        ("rejected", 0, OrderStatus.REJECTED),
        ("cancelled", 4, OrderStatus.CANCELLED),
        ("cancelled after market order", 0, OrderStatus.CANCELLED),
        ("something new", 0, OrderStatus.UNKNOWN),
    ],
)
def test_every_documented_status_has_its_word(words: str, filled: int, status: OrderStatus):
    assert parsed(status=words, filled_quantity=filled).status is status


async def test_a_tag_is_looked_up_in_the_history_and_the_latest_stage_of_each_order_counts():
    stages = [
        {**ROW, "status": "put order req received", "filled_quantity": 0},
        {**ROW, "order_id": "other", "tag": TAG + "x"},
        {**ROW, "status": "complete", "filled_quantity": 10},
    ]
    rows, server = await ask({HISTORY: success(stages)}, lambda api: api.find_orders_by_tag(TAG))
    assert [(row.broker_order_id, row.status) for row in rows] == [(ROW["order_id"], OrderStatus.FILLED)]
    assert [seen.query for seen in server.seen] == [{"tag": TAG}]


@pytest.mark.parametrize("nothing", [success([]), refusal("UDAPI100010"), refusal("UDAPI100010", status=404)])
async def test_a_tag_that_the_history_does_not_know_is_looked_up_in_the_book_as_well(nothing: Answer):
    answers: Answers = {HISTORY: nothing, BOOK: success([ROW, {**ROW, "order_id": "2", "tag": None}])}
    rows, server = await ask(answers, lambda api: api.find_orders_by_tag(TAG))
    assert [row.broker_order_id for row in rows] == [ROW["order_id"]]
    assert paths(server.seen) == [HISTORY, BOOK]
    assert UpstoxAPI("x", config(APIProvider.UPSTOX, "")).cost(Operation.FIND_ORDERS_BY_TAG) == len(server.seen)
    none, _ = await ask(answers, lambda api: api.find_orders_by_tag("another"))
    assert none == ()


async def test_a_refused_look_up_is_never_taken_for_an_absent_order():
    for answer in (refusal("UDAPI10005", status=429), refusal("UDAPI100050", status=401), Answer(503)):
        with pytest.raises(BrokerError):
            await ask({HISTORY: answer, BOOK: success([])}, lambda api: api.find_orders_by_tag(TAG))


async def test_an_order_that_the_broker_does_not_know_is_told_by_its_code():
    for answer in (refusal("UDAPI100010"), refusal("UDAPI1010"), success({**ROW, "order_id": "other"}), success([])):
        with pytest.raises(OrderRefused) as raised:
            await ask({DETAILS: answer}, lambda api: api.get_order("12345"))
        assert raised.value.code == "unknown_order"


@pytest.mark.parametrize("status", [200, 207, 400, 403])
@pytest.mark.parametrize("code", UPSTOX_REFUSALS)
async def test_every_documented_code_has_its_row_under_any_status(code: str, status: int):
    row = UPSTOX_REFUSALS[code]
    error = await refused(refusal(code, "their words", status))
    if row.their_fault:
        assert type(error) is OrderOutcomeUnknown
        assert error.arrives_within_ns > 0
    else:
        assert type(error) is row.error
        assert isinstance(error, OrderRefused)
        assert error.elsewhere is (row.elsewhere or row.error is RateLimited)
    assert error.code == (row.code or code)
    assert (error.provider, error.status) == ("upstox", status)
    assert "their words" in str(error)
    assert f"code {code}" in error.evidence


def test_the_table_has_every_code_of_the_documentation():
    short = {1004, 1007, 1010, 1021, 1023, 1026, 1029, 1030, 1031, 1036, 1043, 1052, 1055, 1056, 1087, 1115, 1117, 1118,
             1119, 1154, 1156, 1158, 1159, 1161, 1184, 1185, 1186, 1188}  # fmt: skip
    long = {10, 11, 16, 36, 38, 39, 40, 41, 49, 50, 57, 60, 67, 68, 69, 72, 74, 99, 500}
    documented = {f"UDAPI{code}" for code in short} | {f"UDAPI{100_000 + code}" for code in long} | {"UDAPI10005"}
    assert documented <= set(UPSTOX_REFUSALS)


async def test_both_spellings_of_the_error_fields_are_read():
    new, old = await refused(refusal("UDAPI1154")), await refused(refusal("UDAPI1154", old_spelling=True))
    assert (new.code, type(new)) == (old.code, type(old)) == ("UDAPI1154", OrderRefused)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal("UDAPI999999"), OrderRefused),
        (refusal("UDAPI999999", status=401), AuthenticationFailed),
        (refusal("UDAPI999999", status=423), OrderRefused),
        (refusal("UDAPI100500", status=500), OrderOutcomeUnknown),
        (refusal("UDAPI1052", status=503), OrderOutcomeUnknown),
        (Answer(400, {"status": "error", "errors": []}), OrderRefused),
        (Answer(400, {"status": "error"}), OrderRefused),
        (Answer(400, body=b""), OrderOutcomeUnknown),
        (Answer(401, body=b""), AuthenticationFailed),
        (Answer(429, body=b"error code: 1015"), RateLimited),
        (Answer(403, body=b"error code: 1015"), RateLimited),
        (Answer(403, body=b"error code: 1010"), OrderRefused),
        (success({"order_ids": []}), OrderOutcomeUnknown),
        (success({"order_ids": ["1", "2"]}), OrderOutcomeUnknown),
        (success({"order_ids": [7]}), OrderOutcomeUnknown),
        (success({"order_ids": "123"}), OrderOutcomeUnknown),
        (success(None), OrderOutcomeUnknown),
        (Answer(207, {"status": "partial_success", "data": {"order_ids": ["1"]}}), OrderOutcomeUnknown),
        (Answer(200, body=b"<html>fine</html>"), OrderOutcomeUnknown),
    ],
)
async def test_answers_outside_the_table(answer: Answer, expected: type[BrokerError]):
    assert type(await refused(answer)) is expected


async def test_an_error_code_that_is_in_no_list_stays_where_it_is_unless_it_is_about_the_account():
    here, account_matter = await refused(refusal("UDAPI999999")), await refused(refusal("UDAPI999999", status=403))
    assert isinstance(here, OrderRefused)
    assert isinstance(account_matter, OrderRefused)
    assert (here.elsewhere, account_matter.elsewhere) == (False, True)


async def test_a_refusal_for_the_rate_carries_advice_only_when_the_broker_gave_some():
    silent = await refused(refusal("UDAPI10005", status=429))
    advised = await refused(Answer(429, body=b"error code: 1015", headers={"Retry-After": "10"}))
    assert isinstance(silent, RateLimited)
    assert isinstance(advised, RateLimited)
    assert (silent.retry_in_ns, advised.retry_in_ns) == (None, 10 * SECOND)


async def test_a_book_of_another_shape_is_unknown_and_not_an_empty_book():
    for data in (
        None,
        {},
        [{}],
        [{**ROW, "quantity": "x"}],
        [{**ROW, "order_type": "WISH"}],
        [{**ROW, "price": "1e99"}],
    ):
        with pytest.raises(OrderOutcomeUnknown, match="another shape"):
            await ask({BOOK: success(data)}, lambda api: api.get_orders())


# --- the rest of the account


async def test_profile_and_health_are_one_cheap_call():
    profile = success({"user_id": "AB1234", "user_name": "A B", "email": "a@b"})
    session, _ = await ask({"GET /v2/user/profile": profile}, lambda api: api.authenticate())
    assert (session.provider, session.user_id) == ("upstox", "AB1234")
    health, server = await ask({"GET /v2/user/profile": profile}, lambda api: api.health_check())
    assert health is HealthStatus.HEALTHY
    assert len(server.seen) == 1


async def test_after_logout_the_token_is_gone():
    async with account({"DELETE /v2/logout": success(True)}) as (api, server):
        await api.logout()
        with pytest.raises(AuthenticationFailed, match="headroom login upstox"):
            await api.get_orders()
    assert len(server.seen) == 1


async def test_portfolio_is_funds_and_holdings():
    answers: Answers = {
        "GET /v2/user/get-funds-and-margin": success(
            {"equity": {"used_margin": 40.1, "available_margin": 60.05}, "commodity": {}}
        ),
        "GET /v2/portfolio/long-term-holdings": success(
            [{"isin": "INE062A01020", "quantity": 3, "average_price": 500.15, "last_price": 510.2,
              "instrument_token": KEY}]
        ),
    }  # fmt: skip
    portfolio, server = await ask(answers, lambda api: api.get_portfolio())
    assert (portfolio.funds.available, portfolio.funds.used) == (Decimal("60.05"), Decimal("40.1"))
    (holding,) = portfolio.holdings
    assert (holding.symbol, holding.quantity, holding.average_price) == ("NSE:SBIN-EQ", 3, Decimal("500.15"))
    assert len(server.seen) == UpstoxAPI("x", config(APIProvider.UPSTOX, "")).cost(Operation.GET_PORTFOLIO)


@pytest.mark.parametrize(
    ("token", "product", "ours"),
    [
        (KEY, "I", Product.INTRADAY),
        (KEY, "D", Product.DELIVERY),
        ("NSE_FO|53001", "D", Product.MARGIN),
        ("NSE_FO|53001", "I", Product.INTRADAY),
    ],
)
async def test_positions_tell_delivery_from_carried_derivatives(token: str, product: str, ours: Product):
    row = {"instrument_token": token, "quantity": -5, "average_price": 651.25, "realised": -1.5, "product": product}
    (position,), _ = await ask(
        {"GET /v2/portfolio/short-term-positions": success([row])}, lambda api: api.get_positions()
    )
    assert (position.quantity, position.average_price, position.product) == (-5, Decimal("651.25"), ours)


async def test_trades_of_the_day():
    trade = {"trade_id": "T7", "order_id": "42", "quantity": 4, "average_price": 652.45,
             "exchange_timestamp": "2026-01-05 10:15:02"}  # fmt: skip
    (fill,), _ = await ask({"GET /v2/order/trades/get-trades-for-day": success([trade])}, lambda api: api.get_fills())
    assert (fill.fill_id, fill.broker_order_id, fill.quantity, fill.price) == ("T7", "42", 4, Decimal("652.45"))


class Prices(Recorded):
    """Answers under keys that were not asked for, as Upstox does, in reverse, and leaves the first one out."""

    def answer(self, seen: Any) -> Answer:
        asked = seen.query["instrument_key"].split(",")[::-1]
        rows = {
            f"NSE_EQ:S{number}": {"last_price": 1.05, "instrument_token": key, "volume": 7}
            for number, key in enumerate(asked)
        }
        return success(rows)


async def test_quotes_are_matched_by_their_instrument_and_come_in_the_order_asked():
    async with Prices() as server, UpstoxAPI("upstox", config(APIProvider.UPSTOX, server.base_url)) as api:
        asked = ["NSE:M&M-EQ", "NSE:NOBODY-EQ", "NSE:SBIN-EQ", "NSE:NIFTY50-INDEX"]
        quotes = await api.get_market_data(asked)
        assert [quote.symbol for quote in quotes] == ["NSE:M&M-EQ", "NSE:SBIN-EQ", "NSE:NIFTY50-INDEX"]
        assert quotes[0].price == Decimal("1.05")
        assert server.seen[0].query["instrument_key"] == "NSE_EQ|INE101A01026,NSE_EQ|INE062A01020,NSE_INDEX|Nifty 50"
        assert await api.get_market_data(["NSE:NOBODY-EQ"]) == ()
    assert len(server.seen) == 1


async def test_quotes_go_by_five_hundred():
    many = [
        Instrument(symbol=f"NSE:S{number}-EQ", tick=Decimal("0.05"), lot=1, upstox_key=f"NSE_EQ|INE{number:09}")
        for number in range(1001)
    ]
    async with Prices() as server:
        settings = config(APIProvider.UPSTOX, server.base_url)
        async with UpstoxAPI("upstox", settings, instruments=InstrumentTable(many)) as api:
            quotes = await api.get_market_data([one.symbol for one in many])
            assert len(quotes) == 1001
            assert api.cost(Operation.GET_MARKET_DATA, symbols=1001) == len(server.seen) == 3


def test_the_adapter_is_what_the_router_asks_for():
    api = UpstoxAPI("upstox", config(APIProvider.UPSTOX, "", simulated=True), absence_proven_after_ns=7)
    assert isinstance(api, TradingAPI)
    assert api.absence_proven_after_ns == 7
    for operation in Operation:
        assert inspect.iscoroutinefunction(getattr(api, operation.value))
        assert api.cost(operation) >= 1
