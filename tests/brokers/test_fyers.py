"""Fyers on the wire: what is sent, what recorded answers mean, what each documented code leads to."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from core.brokers import FyersAPI, InstrumentTable
from core.brokers.fyers import FYERS_REFUSALS, parse_order, place_body
from core.clock import DAY, MINUTE, SECOND, VirtualClock
from core.errors import (
    AuthenticationFailed,
    BlockedForDay,
    BrokerError,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    RateLimited,
)
from core.models import (
    APIProvider,
    BrokerOrder,
    HealthStatus,
    Operation,
    Order,
    OrderStatus,
    OrderType,
    Product,
    Side,
    Validity,
)
from tests.brokers.recorded import Answer, Recorded, config, paths

ORDERS = "/api/v3/orders"
SYNC = "/api/v3/orders/sync"
TAG = "hr7k2m9q4x8w1z5t3ab"
LIMIT = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type=OrderType.LIMIT, price="652.55")

ROW: dict[str, Any] = {
    "clientId": "XA01234", "id": "26010500004711", "id_fyers": "7d0c", "exchOrdId": "1100000012345678", "qty": 10,
    "remainingQuantity": 6, "filledQty": 4, "discloseQty": 0, "disclosedQty": 0, "dqQtyRem": 0, "limitPrice": 652.5,
    "stopPrice": 0, "tradedPrice": 652.4, "type": 1, "fyToken": "10100000003045", "exchange": 10, "segment": 10,
    "symbol": "NSE:SBIN-EQ", "instrument": 0, "message": "", "offlineOrder": False,
    "orderDateTime": "05-Jan-2026 10:15:02", "orderValidity": "DAY", "pan": "", "productType": "INTRADAY", "side": 1,
    "status": 6, "source": "ITS", "ex_sym": "SBIN", "description": "STATE BANK", "ch": 1.2, "chp": 0.18, "lp": 653.1,
    "slNo": 1, "orderNumStatus": "26010500004711:6", "orderTag": f"1:{TAG}", "takeProfit": 0, "stopLoss": 0,
}  # fmt: skip
OK = {"s": "ok", "code": 200, "message": ""}
PLACED = Answer(
    payload={"s": "ok", "code": 1101, "message": "placed. Order number 26010500004711", "id": "26010500004711"}
)


def book(*rows: dict[str, Any]) -> Answer:
    return Answer(payload={**OK, "orderBook": list(rows)})


def refusal(code: int | str, message: str = "no", status: int = 400, **headers: str) -> Answer:
    return Answer(status, {"s": "error", "code": code, "message": message}, headers=headers)


Call = Callable[[FyersAPI], Awaitable[Any]]


Answers = dict[str, Answer | list[Answer]]


@asynccontextmanager
async def account(answers: Answers, **options: Any) -> AsyncIterator[tuple[FyersAPI, Recorded]]:
    async with (
        Recorded(answers) as server,
        FyersAPI("fyers", config(APIProvider.FYERS, server.base_url), **options) as api,
    ):
        yield api, server


async def ask(answers: Answers, call: Call, **options: Any) -> tuple[Any, Recorded]:
    async with account(answers, **options) as (api, server):
        return await call(api), server


async def refused(answer: Answer, **options: Any) -> BrokerError:
    with pytest.raises(BrokerError) as raised:
        await ask({f"POST {SYNC}": answer}, lambda api: api.place_order(LIMIT, tag=TAG), **options)
    return raised.value


# --- what is sent


async def test_a_limit_order_goes_out_once_with_the_signature_and_every_documented_field():
    ack, server = await ask({f"POST {SYNC}": PLACED}, lambda api: api.place_order(LIMIT, tag=TAG))
    (seen,) = server.seen
    assert seen.headers["authorization"] == "APP1234-100:token-9f8e7d"
    assert seen.headers["version"] == "3"
    assert seen.headers["content-type"] == "application/json"
    assert seen.json == {
        "symbol": "NSE:SBIN-EQ", "qty": 10, "type": 1, "side": 1, "productType": "INTRADAY", "limitPrice": 652.55,
        "stopPrice": 0, "disclosedQty": 0, "validity": "DAY", "offlineOrder": False, "stopLoss": 0, "takeProfit": 0,
        "orderTag": TAG, "isSliceOrder": False,
    }  # fmt: skip
    assert (ack.provider, ack.broker_order_id, ack.status) == ("fyers", "26010500004711", OrderStatus.ACCEPTED)


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        (Order(symbol="NSE:SBIN-EQ", quantity=1), {"type": 2, "limitPrice": 0, "stopPrice": 0}),
        (
            Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.SL_M, trigger_price="600.05"),
            {"type": 3, "limitPrice": 0, "stopPrice": 600.05},
        ),
        (
            Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.SL, price="601", trigger_price="600"),
            {"type": 4, "limitPrice": 601, "stopPrice": 600},
        ),
        (Order(symbol="NSE:SBIN-EQ", quantity=1, side=Side.SELL), {"side": -1}),
        (Order(symbol="NSE:SBIN-EQ", quantity=1, product=Product.DELIVERY), {"productType": "CNC"}),
        (Order(symbol="NSE:SBIN-EQ", quantity=1, product=Product.MARGIN), {"productType": "MARGIN"}),
        (Order(symbol="NSE:SBIN-EQ", quantity=1, validity=Validity.IOC), {"validity": "IOC"}),
    ],
)
def test_our_words_become_theirs(order: Order, fields: dict[str, Any]):
    assert fields.items() <= json.loads(place_body(order, TAG)).items()


def test_prices_are_written_digit_for_digit():
    order = Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.LIMIT, price=Decimal("123456789012.30"))
    assert b'"limitPrice":123456789012.30,' in place_body(order, TAG)


async def test_a_modify_names_only_what_changes_when_the_caller_gives_the_terms():
    answers = {f"PATCH {SYNC}": Answer(payload={"s": "ok", "code": 1102, "message": "", "id": "42"})}
    ack, server = await ask(
        answers, lambda api: api.modify_order("42", order_type=OrderType.LIMIT, price=Decimal("650.05"))
    )
    assert [seen.json for seen in server.seen] == [{"id": "42", "type": 1, "limitPrice": 650.05, "stopPrice": 0}]
    assert ack.broker_order_id == "42"


async def test_a_modify_reads_the_terms_that_the_caller_leaves_out():
    answers = {
        f"GET {ORDERS}": book(ROW),
        f"PATCH {SYNC}": Answer(payload={"s": "ok", "code": 1102, "message": "", "id": ROW["id"]}),
    }
    _, server = await ask(answers, lambda api: api.modify_order(ROW["id"], quantity=7))
    assert paths(server.seen) == [f"GET {ORDERS}", f"PATCH {SYNC}"]
    assert server.seen[1].json == {"id": ROW["id"], "type": 1, "limitPrice": 652.5, "stopPrice": 0, "qty": 7}
    assert FyersAPI("x", config(APIProvider.FYERS, "")).cost(Operation.MODIFY_ORDER) == len(server.seen)


async def test_a_cancel_is_a_delete_with_a_body():
    answers = {f"DELETE {SYNC}": Answer(payload={"s": "ok", "code": 1103, "message": "", "id": "42"})}
    _, server = await ask(answers, lambda api: api.cancel_order("42"))
    assert [(seen.method, seen.json) for seen in server.seen] == [("DELETE", {"id": "42"})]


async def test_without_a_base_url_the_real_hosts_are_used():
    api = FyersAPI("fyers", config(APIProvider.FYERS, ""))
    assert api._order_url == "https://api-t1.fyers.in/api/v3/orders/sync"
    assert api._data == "https://api-t1.fyers.in/data"


@pytest.mark.parametrize(
    ("order", "tag", "words"),
    [
        (Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.LIMIT, price="652.57"), TAG, "tick size 0.05"),
        (Order(symbol="NSE:SBIN26DECFUT", quantity=100), TAG, "lot size 750"),
        (Order(symbol="NSE:NIFTY50-INDEX", quantity=1), TAG, "cannot be traded"),
        (Order(symbol="NSE:SBI-EQ", quantity=1), TAG, "did you mean NSE:SBIN-EQ"),
        (LIMIT, "with-dash", "letters and digits"),
        (LIMIT, "a" * 20, "1 to 19"),
        (LIMIT, "", "1 to 19"),
        (LIMIT, "ümlaut", "letters and digits"),
        (LIMIT, "newline\n", "letters and digits"),
    ],
)
async def test_what_would_be_refused_anyway_is_not_sent(order: Order, tag: str, words: str):
    async with Recorded() as server, FyersAPI("fyers", config(APIProvider.FYERS, server.base_url)) as api:
        with pytest.raises(OrderNotSent, match=words):
            await api.place_order(order, tag=tag)
    assert server.connections == 0


@pytest.mark.parametrize("order_id", ["", "1&exit_all=1", "a/b", "1 2", "x" * 65, "1\n"])
async def test_an_order_id_that_could_change_the_request_is_not_sent(order_id: str):
    async with Recorded() as server, FyersAPI("fyers", config(APIProvider.FYERS, server.base_url)) as api:
        for call in (api.get_order, api.cancel_order, api.modify_order):
            with pytest.raises(OrderNotSent, match="no order id"):
                await call(order_id)
    assert server.connections == 0


async def test_a_modify_of_an_order_placed_here_is_checked_for_its_tick():
    async with account({f"POST {SYNC}": PLACED}) as (api, server):
        await api.place_order(LIMIT, tag=TAG)
        with pytest.raises(OrderNotSent, match="tick size"):
            await api.modify_order("26010500004711", order_type=OrderType.LIMIT, price=Decimal("1.01"))
    assert paths(server.seen) == [f"POST {SYNC}"]


# --- what answers mean


def test_a_row_of_the_book_is_read_in_our_words():
    row = parse_order(json.loads(json.dumps(ROW), parse_float=Decimal), "fyers")
    assert row.tag == TAG
    assert row.status is OrderStatus.PARTIALLY_FILLED
    assert (row.quantity, row.filled_quantity, row.average_price) == (10, 4, Decimal("652.4"))
    assert (row.side, row.order_type, row.price, row.trigger_price) == (
        Side.BUY,
        OrderType.LIMIT,
        Decimal("652.5"),
        None,
    )
    assert row.epoch_ns == 1_767_588_302 * SECOND  # 04:45:02 UTC


@pytest.mark.parametrize(
    ("number", "filled", "status"),
    [
        (1, 0, OrderStatus.CANCELLED),
        (1, 4, OrderStatus.CANCELLED),
        (2, 10, OrderStatus.FILLED),
        (3, 0, OrderStatus.UNKNOWN),
        (4, 0, OrderStatus.ACCEPTED),
        (5, 0, OrderStatus.REJECTED),
        (6, 0, OrderStatus.ACCEPTED),
        (6, 4, OrderStatus.PARTIALLY_FILLED),
        (7, 0, OrderStatus.EXPIRED),
        (99, 0, OrderStatus.UNKNOWN),
    ],
)
def test_every_status_number_has_its_word(number: int, filled: int, status: OrderStatus):
    assert (
        parse_order({**ROW, "limitPrice": 1, "tradedPrice": 1, "status": number, "filledQty": filled}, "x").status
        is status
    )


@pytest.mark.parametrize(
    ("wire", "tag"), [("1:abc", "abc"), ("2:Untagged", ""), ("1:Untagged", ""), ("2:xyz", ""), ("", ""), (None, "")]
)
def test_only_our_own_tags_are_taken_for_tags(wire: str | None, tag: str):
    assert parse_order({**ROW, "limitPrice": 1, "tradedPrice": 1, "orderTag": wire}, "x").tag == tag


async def test_a_tag_is_looked_up_with_its_prefix_and_filtered_here_whatever_the_broker_did():
    other = {**ROW, "id": "2", "orderTag": f"1:{TAG}x"}
    foreign = {**ROW, "id": "3", "orderTag": f"2:{TAG}"}
    rows, server = await ask({f"GET {ORDERS}": book(other, ROW, foreign)}, lambda api: api.find_orders_by_tag(TAG))
    assert server.seen[0].query == {"order_tag": f"1:{TAG}"}
    assert [row.broker_order_id for row in rows] == [ROW["id"]]


async def test_an_order_that_the_broker_does_not_know_is_told_by_its_code():
    for answer in (book(), book({**ROW, "id": "other"}), refusal(-51, "no such order")):
        with pytest.raises(OrderRefused) as raised:
            await ask({f"GET {ORDERS}": answer}, lambda api: api.get_order("12345"))
        assert raised.value.code == "unknown_order"


async def test_code_201_is_unknown_for_every_order_call():
    answer = Answer(payload={"s": "ok", "code": 201, "message": "request made, no acknowledgement", "id": "1"})
    calls: list[Call] = [
        lambda api: api.place_order(LIMIT, tag=TAG),
        lambda api: api.modify_order("1", order_type=OrderType.LIMIT, price=Decimal(1)),
        lambda api: api.cancel_order("1"),
    ]
    for call in calls:
        with pytest.raises(OrderOutcomeUnknown, match="not acknowledged"):
            await ask({f"{verb} {SYNC}": answer for verb in ("POST", "PATCH", "DELETE")}, call)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("code", FYERS_REFUSALS)
async def test_every_documented_code_has_its_row_under_either_status(code: str, status: int):
    row = FYERS_REFUSALS[code]
    error = await refused(refusal(int(code), "their words", status))
    assert type(error) is row.error
    assert isinstance(error, OrderRefused)
    assert error.elsewhere is (row.elsewhere or row.error is RateLimited)
    assert error.code == (row.code or code)
    assert (error.provider, error.status) == ("fyers", status)
    assert "their words" in str(error)
    assert f"code {code}" in error.evidence


def test_the_table_has_every_code_of_the_documentation():
    documented = {-8, -15, -16, -17, -50, -51, -53, -99, -300, -352, -373, -429, -437, -501, 400}
    assert documented <= {int(code) for code in FYERS_REFUSALS}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(-1234, "new"), OrderRefused),
        (refusal(-1234, "new", 401), AuthenticationFailed),
        (refusal(-99, "circuit", 500), OrderOutcomeUnknown),
        (Answer(401, body=b"<html>"), AuthenticationFailed),
        (Answer(429, body=b"error code: 1015"), RateLimited),
        (Answer(403, body=b"error code: 1015"), RateLimited),
        (Answer(403, body=b"error code: 1010"), OrderRefused),
        (Answer(200, {"s": "ok", "code": 1101, "message": ""}), OrderOutcomeUnknown),
        (Answer(200, {"s": "ok", "code": 1101, "id": 5}), OrderOutcomeUnknown),
        (Answer(200, {"s": "ok", "code": 1101, "id": ""}), OrderOutcomeUnknown),
        (Answer(200, {"s": "maybe", "id": "5"}), OrderOutcomeUnknown),
        (Answer(200, {"id": "5"}), OrderOutcomeUnknown),
        (Answer(200, body=b"<html>fine</html>"), OrderOutcomeUnknown),
    ],
)
async def test_answers_outside_the_table(answer: Answer, expected: type[BrokerError]):
    assert type(await refused(answer)) is expected


async def test_a_book_of_another_shape_is_unknown_and_not_an_empty_book():
    for payload in (
        OK,
        {**OK, "orderBook": None},
        {**OK, "orderBook": {}},
        {**OK, "orderBook": [{}]},
        {**OK, "orderBook": [{**ROW, "qty": "x"}]},
    ):
        with pytest.raises(OrderOutcomeUnknown, match="another shape"):
            await ask({f"GET {ORDERS}": Answer(payload=payload)}, lambda api: api.get_orders())


async def test_no_secret_reaches_a_message_or_the_evidence():
    words = "bad token token-9f8e7d \x1b[31mred\n[bold]markup"
    error = await refused(refusal(-16, words, 401, Server="token-9f8e7d"))
    for text in (str(error), error.evidence):
        assert "token-9f8e7d" not in text
        assert "***" in text
        assert text.isprintable()
    assert "token-9f8e7d" not in repr(FyersAPI("x", config(APIProvider.FYERS, "")).__dict__.get("_token"))


# --- the minute and the day


async def limited(api: FyersAPI) -> RateLimited:
    with pytest.raises(RateLimited) as raised:
        await api.get_orders()
    return raised.value


@pytest.mark.parametrize(
    ("headers", "retry_in_ns", "window_ns"),
    [
        ({}, MINUTE, MINUTE),
        ({"Retry-After": "12"}, 12 * SECOND, MINUTE),
        ({"Retry-After": "1"}, SECOND, SECOND),
        ({"X-Retry-After-Ms": "350", "Retry-After": "1"}, 350_000_000, SECOND),
        ({"X-Retry-After-Ms": "31500"}, 31_500_000_000, MINUTE),
        ({"Retry-After": "soon"}, MINUTE, MINUTE),
        ({"Retry-After": "-5"}, MINUTE, MINUTE),
        ({"Retry-After": "600"}, 10 * MINUTE, MINUTE),
    ],
)
async def test_a_429_closes_the_whole_minute_unless_the_broker_says_otherwise(
    headers: dict[str, str], retry_in_ns: int, window_ns: int
):
    error = await refused(refusal(-429, "request limit reached", 429, **headers))
    assert isinstance(error, RateLimited)
    assert type(error) is RateLimited
    assert (error.retry_in_ns, error.window_ns) == (retry_in_ns, window_ns)
    assert error.elsewhere


async def test_advice_longer_than_any_minute_is_the_block_for_the_day():
    for seconds, at_most in (("601", 601 * SECOND), ("9" * 9, DAY)):
        error = await refused(refusal(-429, "request limit reached", 429, **{"Retry-After": seconds}))
        assert type(error) is BlockedForDay
        assert error.retry_in_ns == at_most


@pytest.mark.parametrize(
    ("words", "elsewhere"),
    [
        ("Order request from an unregistered IP", True),
        ("Please whitelist your static ip to place orders", True),
        ("RED:Margin Shortfall:INR 10 Available:INR 5", False),
        ("price outside the circuit limit of the scrip", False),
        ("script IPO not open", False),
    ],
)
async def test_a_rejection_for_the_address_is_known_by_its_words_and_others_may_take_the_order(
    words: str, *, elsewhere: bool
):
    for code in (-99, -7777):  # the code is not published
        error = await refused(refusal(code, words, 200))
        assert isinstance(error, OrderRefused)
        assert error.elsewhere is elsewhere
        assert error.code == str(code)


async def test_a_429_that_persists_into_the_next_minute_is_a_block_until_midnight_in_india(clock: VirtualClock):
    no = refusal(-429, "request limit reached", 429)
    async with account({f"GET {ORDERS}": no}, clock=clock) as (api, _):
        assert type(await limited(api)) is RateLimited
        await clock.advance_ns(MINUTE - 1)
        assert type(await limited(api)) is RateLimited  # still in the closed minute: no news
        await clock.advance_ns(1)
        blocked = await limited(api)
        assert type(blocked) is BlockedForDay
        # The clock starts on 5 January 2026 at 04:00 UTC, 09:30 in India; midnight is 14.5 hours away.
        assert blocked.retry_in_ns == 14 * 60 * MINUTE + 29 * MINUTE
        assert type(await limited(api)) is BlockedForDay


async def test_any_other_answer_in_between_proves_that_there_is_no_block(clock: VirtualClock):
    no = refusal(-429, "request limit reached", 429)
    answers: Answers = {f"GET {ORDERS}": [no, book(), no, refusal(-50), no]}
    async with account(answers, clock=clock) as (api, _):
        assert type(await limited(api)) is RateLimited
        await clock.advance_ns(2 * MINUTE)
        assert await api.get_orders() == ()
        await clock.advance_ns(2 * MINUTE)
        assert type(await limited(api)) is RateLimited
        await clock.advance_ns(2 * MINUTE)
        with pytest.raises(OrderRefused, match="not accepted"):
            await api.get_orders()
        await clock.advance_ns(2 * MINUTE)
        assert type(await limited(api)) is RateLimited


async def test_refusals_for_the_second_never_make_a_block(clock: VirtualClock):
    no = refusal(-429, "per second", 429, **{"Retry-After": "1"})
    async with account({f"GET {ORDERS}": no}, clock=clock) as (api, _):
        for _ in range(5):
            assert type(await limited(api)) is RateLimited
            await clock.advance_ns(MINUTE)


# --- the rest of the account


async def test_profile_and_health_are_one_cheap_call():
    profile = Answer(payload={**OK, "data": {"fy_id": "XA01234", "name": "A B"}})
    session, server = await ask({"GET /api/v3/profile": profile}, lambda api: api.authenticate())
    assert (session.provider, session.user_id, session.expires_epoch_ns) == ("fyers", "XA01234", 0)
    health, server = await ask({"GET /api/v3/profile": profile}, lambda api: api.health_check())
    assert health is HealthStatus.HEALTHY
    assert len(server.seen) == 1


async def test_without_a_token_nothing_is_sent_and_the_way_to_one_is_named():
    async with Recorded() as server:
        settings = config(APIProvider.FYERS, server.base_url, access_token="")
        async with FyersAPI("fyers", settings) as api:
            with pytest.raises(AuthenticationFailed, match="headroom login fyers"):
                await api.place_order(LIMIT, tag=TAG)
    assert server.connections == 0


async def test_after_logout_the_token_is_gone():
    async with account({"POST /api/v3/logout": Answer(payload=OK)}) as (api, server):
        await api.logout()
        with pytest.raises(AuthenticationFailed, match="no access token"):
            await api.get_orders()
    assert len(server.seen) == 1


async def test_portfolio_is_funds_and_holdings():
    answers: Answers = {
        "GET /api/v3/funds": Answer(
            payload={**OK, "fund_limit": [
                {"id": 1, "title": "Total", "equityAmount": 100.1, "commodityAmount": 0},
                {"id": 2, "title": "Utilized", "equityAmount": 40.1, "commodityAmount": 0},
                {"id": 10, "title": "Available", "equityAmount": 60.05, "commodityAmount": 0}]}
        ),
        "GET /api/v3/holdings": Answer(
            payload={**OK, "overall": {}, "holdings": [
                {"holdingType": "HLD", "quantity": 3, "costPrice": 500.15, "ltp": 510.2, "symbol": "NSE:SBIN-EQ"}]}
        ),
    }  # fmt: skip
    portfolio, server = await ask(answers, lambda api: api.get_portfolio())
    assert (portfolio.funds.available, portfolio.funds.used) == (Decimal("60.05"), Decimal("40.1"))
    (holding,) = portfolio.holdings
    assert (holding.symbol, holding.quantity, holding.average_price) == ("NSE:SBIN-EQ", 3, Decimal("500.15"))
    assert len(server.seen) == FyersAPI("x", config(APIProvider.FYERS, "")).cost(Operation.GET_PORTFOLIO)


async def test_positions_and_trades():
    position = {"id": "NSE:SBIN-EQ-INTRADAY", "symbol": "NSE:SBIN-EQ", "netQty": -5, "qty": 5, "netAvg": 651.25,
                "productType": "CNC", "realized_profit": -1.5, "ltp": 650.05}  # fmt: skip
    trade = {"orderNumber": "42", "tradeNumber": "T7", "tradedQty": 4, "tradePrice": 652.45,
             "orderDateTime": "05-Jan-2026 10:15:02", "symbol": "NSE:SBIN-EQ"}  # fmt: skip
    (row,), _ = await ask(
        {"GET /api/v3/positions": Answer(payload={**OK, "netPositions": [position]})}, lambda api: api.get_positions()
    )
    assert (row.quantity, row.average_price, row.realised, row.product) == (
        -5, Decimal("651.25"), Decimal("-1.5"), Product.DELIVERY,
    )  # fmt: skip
    (fill,), _ = await ask(
        {"GET /api/v3/tradebook": Answer(payload={**OK, "tradeBook": [trade]})}, lambda api: api.get_fills()
    )
    assert (fill.fill_id, fill.broker_order_id, fill.quantity, fill.price) == ("T7", "42", 4, Decimal("652.45"))


async def test_quotes_go_by_fifty_and_come_in_the_order_asked():
    symbols = [f"NSE:S{number}&X-EQ" for number in range(120)]

    class Quotes(Recorded):
        def answer(self, seen: Any) -> Answer:
            asked = seen.query["symbols"].split(",")
            entries = [
                {"n": name, "s": "ok", "v": {"lp": 1.05, "volume": 7, "tt": "1767588302"}} for name in asked[::-1]
            ]
            entries[0] = {"n": asked[-1], "s": "error", "v": {"errmsg": "invalid"}}
            return Answer(payload={"s": "ok", "code": 200, "d": entries})

    async with Quotes() as server, FyersAPI("fyers", config(APIProvider.FYERS, server.base_url)) as api:
        quotes = await api.get_market_data(symbols)
        assert [len(seen.query["symbols"].split(",")) for seen in server.seen] == [50, 50, 20]
        assert [quote.symbol for quote in quotes] == [
            name for name in symbols if name not in {symbols[49], symbols[99], symbols[119]}
        ]
        assert (quotes[0].price, quotes[0].volume) == (Decimal("1.05"), 7)
        assert api.cost(Operation.GET_MARKET_DATA, symbols=120) == 3


@pytest.mark.parametrize("operation", Operation)
def test_every_operation_has_a_cost_of_at_least_one(operation: Operation):
    assert FyersAPI("x", config(APIProvider.FYERS, "")).cost(operation) >= 1


async def test_others_get_their_turn_while_a_long_book_is_read(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch):
    turns: list[int] = [0]
    rows = [{**ROW, "id": f"{number}"} for number in range(1000)]

    def counted(row: dict[str, Any], name: str) -> BrokerOrder:
        turns[-1] += 1
        return parse_order(row, name)

    async def other() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(0)

    monkeypatch.setattr("core.brokers.fyers.parse_order", counted)
    async with account({f"GET {ORDERS}": book(*rows)}, clock=clock) as (api, _):
        beside = asyncio.create_task(other())
        found = await api.get_orders()
        beside.cancel()
    assert [row.broker_order_id for row in found] == [row["id"] for row in rows]
    assert max(turns) <= 50


async def test_the_skew_of_the_clocks_is_read_from_the_date(clock: VirtualClock):
    book_at = Answer(payload={**OK, "orderBook": []}, headers={"Date": "Mon, 05 Jan 2026 04:00:30 GMT"})
    async with account({f"GET {ORDERS}": book_at}, clock=clock) as (api, _):
        assert api.clock_skew_ns is None
        await api.get_orders()
        assert api.clock_skew_ns == 30 * SECOND + SECOND // 2


def test_the_adapter_is_what_the_router_asks_for():
    from core.brokers.base import TradingAPI

    api = FyersAPI("fyers", config(APIProvider.FYERS, ""), instruments=InstrumentTable([]))
    assert isinstance(api, TradingAPI)
    assert api.absence_proven_after_ns == 120 * SECOND
    for operation in Operation:
        assert inspect.iscoroutinefunction(getattr(api, operation.value))


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("05-Jan-2026 10:15:02", "2026-01-05T10:15:02+05:30"),
        ("31-Dec-2025 00:00:00", "2025-12-31T00:00:00+05:30"),
        ("05-Foo-2026 10:15:02", None),
        ("2026-01-05 10:15:02", None),
        ("05-Jan-2026", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_read_as_that_of_india_and_nonsense_is_none(text: str | None, iso: str | None):
    order = parse_order({**ROW, "tradedPrice": 0, "limitPrice": 0, "orderDateTime": text}, "fyers")
    assert order.epoch_ns == (0 if iso is None else int(datetime.fromisoformat(iso).timestamp()) * SECOND)
