"""Laws of what an answer means, over any status, any body and any JSON of the right outline."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brokers import FyersAPI, UpstoxAPI
from core.brokers.account import SYMBOLS_REMEMBERED
from core.brokers.fyers import FYERS_REFUSALS
from core.brokers.reply import Reply
from core.brokers.upstox import UPSTOX_REFUSALS
from core.errors import BrokerError, OrderNotSent, OrderOutcomeUnknown, OrderRefused, RateLimited
from core.models import APIProvider, BrokerOrder, Operation, Order, OrderAck
from tests.brokers.recorded import config

API = FyersAPI | UpstoxAPI
FYERS = FyersAPI("fyers", config(APIProvider.FYERS, ""))
UPSTOX = UpstoxAPI("upstox", config(APIProvider.UPSTOX, ""))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SUCCESS = {
    "fyers": {"s": "ok", "code": 200, "message": ""},
    "upstox": {"status": "success"},
}
KEYS = {
    "fyers": ["id", "orderBook", "tradeBook", "netPositions", "fund_limit", "holdings", "d", "data", "code"],
    "upstox": ["data"],
}


def errors(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """An error envelope with a documented code or any other."""
    if name == "fyers":
        code = st.sampled_from(sorted(FYERS_REFUSALS)).map(int) | st.integers() | st.text(max_size=5) | st.none()
        return st.fixed_dictionaries({"s": st.just("error"), "code": code, "message": JSON})
    code = st.sampled_from(sorted(UPSTOX_REFUSALS)) | st.text(max_size=12) | st.none()
    error = st.fixed_dictionaries({"error_code": code, "message": JSON})
    return st.fixed_dictionaries({"status": st.just("error"), "errors": st.lists(error, max_size=3) | st.none()})


class AtOnce:
    """In the place of the network: the same answer, at once."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    async def request(self, *_: Any, **__: Any) -> Reply:
        return self.reply


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError


def told(api: API, call: str, arguments: tuple[Any, ...], options: dict[str, Any], reply: Reply) -> Any:
    """What the call returns, or the BrokerError it raises; anything else fails the test."""
    api._http = AtOnce(reply)  # type: ignore[assignment]
    try:
        return finished(getattr(api, call)(*arguments, **options))
    except BrokerError as error:
        return error


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("place_order", (Order(symbol="NSE:SBIN-EQ", quantity=1),), {"tag": "t1"}),
    ("cancel_order", ("1",), {}),
    ("modify_order", ("1",), {"quantity": 2}),
    ("get_order", ("1",), {}),
    ("find_orders_by_tag", ("t1",), {}),
    ("get_orders", (), {}),
    ("get_fills", (), {}),
    ("get_positions", (), {}),
    ("get_portfolio", (), {}),
    ("get_market_data", (["NSE:SBIN-EQ"],), {}),
    ("authenticate", (), {}),
    ("health_check", (), {}),
]
EITHER = pytest.mark.parametrize("api", [FYERS, UPSTOX], ids=["fyers", "upstox"])


def test_the_laws_cover_every_operation_that_has_an_answer_to_read():
    assert {name for name, _, _ in CALLS} - {"get_fills"} == {one.value for one in Operation} - {"logout"}


@EITHER
@given(data=st.data())
def test_no_answer_whatever_raises_anything_but_our_own_errors(api: API, data: st.DataObject):
    call, arguments, options = data.draw(st.sampled_from(CALLS))
    name = api.name
    shaped = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS[name], JSON)).map(lambda more: SUCCESS[name] | more)
    payload = (JSON | shaped | errors(name)).map(lambda value: json.dumps(value).encode())
    reply = Reply(
        status=data.draw(st.sampled_from([200, 200, 200, 201, 207, 301, 400, 401, 403, 404, 429, 500, 503])),
        body=data.draw(payload | st.binary(max_size=40)),
        headers=data.draw(st.dictionaries(st.sampled_from(["date", "retry-after"]), st.text(max_size=10))),
    )
    outcome = told(api, call, arguments, options, reply)
    assert not isinstance(outcome, OrderNotSent) or call == "modify_order"
    if isinstance(outcome, BrokerError):
        assert outcome.provider == name
        assert str(outcome).isprintable()
        assert outcome.evidence.isprintable()
    if reply.status >= 500:
        assert type(outcome) is OrderOutcomeUnknown
    if reply.status == 429:
        assert isinstance(outcome, RateLimited)


@EITHER
@given(data=st.data())
def test_an_order_is_acknowledged_only_by_a_success_with_its_id(api: API, data: st.DataObject):
    name = api.name
    shaped = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS[name], JSON)).map(lambda more: SUCCESS[name] | more)
    value = data.draw(JSON | shaped | errors(name))
    reply = Reply(status=data.draw(st.sampled_from([200, 207, 400, 500])), body=json.dumps(value).encode(), headers={})
    outcome = told(api, *CALLS[0], reply)
    if isinstance(outcome, OrderAck):
        assert 200 <= reply.status < 300
        assert isinstance(value, dict)
        assert outcome.broker_order_id in ([value.get("id")] if name == "fyers" else value["data"]["order_ids"])
    elif isinstance(outcome, OrderRefused):
        assert isinstance(value, dict)
        assert "error" in {value.get("s"), value.get("status")}
    else:
        assert type(outcome) is OrderOutcomeUnknown


@EITHER
@given(data=st.data())
def test_a_book_is_read_whole_or_not_at_all(api: API, data: st.DataObject):
    """A row that cannot be read may be the very order that is looked for."""
    rows = data.draw(st.lists(JSON, max_size=4))
    payload = SUCCESS[api.name] | {"orderBook": rows, "data": rows}
    outcome = told(api, *CALLS[5], Reply(status=200, body=json.dumps(payload).encode(), headers={}))
    assert type(outcome) is OrderOutcomeUnknown or (isinstance(outcome, tuple) and len(outcome) == len(rows))
    assert not isinstance(outcome, tuple) or all(isinstance(row, BrokerOrder) for row in outcome)


@EITHER
def test_what_is_remembered_of_orders_is_bounded_and_the_newest_stay(api: API):
    api._remember((str(number), "NSE:SBIN-EQ") for number in range(SYMBOLS_REMEMBERED + 10))
    assert len(api._symbol_of) == SYMBOLS_REMEMBERED
    assert str(SYMBOLS_REMEMBERED + 9) in api._symbol_of
    assert "0" not in api._symbol_of
