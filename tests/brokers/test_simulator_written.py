"""Order books as text: what is kept of ended orders never differs from what would be written anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from core.brokers.simulator.accounts import SimOrder
from core.brokers.simulator.exchange import Exchange
from core.brokers.simulator.rows_fyers import order_row as fyers_row
from core.brokers.simulator.rows_upstox import order_row as upstox_row
from core.brokers.simulator.wire import Call
from core.brokers.simulator.written import rows_text
from core.clock import SECOND, VirtualClock
from core.models import Order, OrderType, Validity

ROWS = [upstox_row, fyers_row]


def call_at(clock: VirtualClock, *, skew_ns: int = 0) -> Call:
    return Call("GET", "/", {}, {}, b"", clock.epoch_ns(), skew_ns)


def text_of(orders: list[SimOrder], call: Call, row: Callable[[SimOrder, Call], dict[str, Any]]) -> str:
    return asyncio.run(rows_text(orders, call, VirtualClock(), row))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def book(clock: VirtualClock) -> list[SimOrder]:
    """One filled, one cancelled, one refused, one at rest."""
    exchange = Exchange(clock)
    account = exchange.open_account("one")
    terms_of: dict[str, dict[str, Any]] = {
        "filled": {},
        "ioc": {"price": "780.00", "validity": Validity.IOC},
        "refused": {"price": "1.00"},
        "rests": {"price": "780.00"},
    }
    for tag, terms in terms_of.items():
        kind = OrderType.LIMIT if terms else OrderType.MARKET
        exchange.place(account, Order(symbol="NSE:SBIN-EQ", quantity=1, order_type=kind, **terms), tag=tag)

    async def pass_time() -> None:
        await clock.sleep_until_ns(clock.now_ns() + SECOND)

    clock.run(pass_time)
    orders = exchange.orders(account)
    assert [order.is_open for order in orders] == [False, False, False, True]
    return orders


@pytest.mark.parametrize("row", ROWS)
def test_kept_rows_say_what_new_ones_would(book: list[SimOrder], clock: VirtualClock, row: Any) -> None:
    call = call_at(clock)
    anew = [row(order, call) for order in book]
    assert json.loads(text_of(book, call, row)) == anew
    assert json.loads(text_of(book, call, row)) == anew


@pytest.mark.parametrize("row", ROWS)
def test_an_ended_order_is_written_once_and_an_open_one_each_time(
    book: list[SimOrder], clock: VirtualClock, row: Any
) -> None:
    written: list[str] = []

    def noted(order: SimOrder, call: Call) -> dict[str, Any]:
        written.append(order.tag)
        return row(order, call)  # type: ignore[no-any-return]

    for _ in range(2):
        text_of(book, call_at(clock), noted)
    assert written == ["filled", "ioc", "refused", "rests", "rests"]


def test_what_becomes_of_an_ended_order_later_is_written_anew(book: list[SimOrder], clock: VirtualClock) -> None:
    call = call_at(clock)
    text_of(book, call, upstox_row)
    book[0].note("not cancelled", clock.epoch_ns() + 5 * SECOND)  # a cancel that crossed the fill
    assert json.loads(text_of(book, call, upstox_row)) == [upstox_row(order, call) for order in book]


@pytest.mark.parametrize("row", ROWS)
def test_a_clock_that_is_said_to_be_wrong_is_in_no_kept_row(
    book: list[SimOrder], clock: VirtualClock, row: Any
) -> None:
    right, wrong = call_at(clock), call_at(clock, skew_ns=3600 * SECOND)
    for call in (wrong, right, wrong):
        assert json.loads(text_of(book, call, row)) == [row(order, call) for order in book]


def test_what_passes_stands_beside_what_lasts(book: list[SimOrder], clock: VirtualClock) -> None:
    async def both() -> tuple[str, str]:
        call = call_at(clock)
        first = await rows_text(book, call, clock, fyers_row, lambda number, _: f'"slNo":{number}')
        return first, await rows_text(book[1:], call, clock, fyers_row, lambda number, _: f'"slNo":{number}')

    whole, rest = asyncio.run(both())
    assert [row["slNo"] for row in json.loads(whole)] == [1, 2, 3, 4]
    assert [(row["slNo"], row["id"]) for row in json.loads(rest)] == [
        (number, order.order_id) for number, order in enumerate(book[1:], 1)
    ]


@pytest.mark.parametrize(("which", "times"), [(3, 500), (0, 10_000)], ids=["written each time", "kept"])
def test_others_are_served_while_a_long_book_is_gathered(
    book: list[SimOrder], clock: VirtualClock, which: int, times: int
) -> None:
    async def turns() -> int:
        order, call = book[which], call_at(clock)
        await rows_text([order], call, clock, upstox_row)
        gathering = asyncio.create_task(rows_text([order] * times, call, clock, upstox_row))
        served = 0
        while not gathering.done():
            await asyncio.sleep(0)
            served += 1
        return served

    assert asyncio.run(turns()) >= 10
