"""The order ticket: judged as it is typed, sent once it is confirmed, and never where it may only be looked at."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from textual.widgets import Input, Static

from core.clock import SECOND
from core.errors import EngineHalted
from core.models import (
    Command,
    ModifyOrder,
    Order,
    OrderPreview,
    OrderType,
    Product,
    RouterSnapshot,
    Side,
    SubmitOrder,
)
from tests.screen import samples
from tests.screen.hands import Bench, press, until
from tui.screens.dialogs import Ask, Confirm
from tui.screens.ticket import TicketScreen
from tui.view.ticket import AUTO, Draft, asked, command_of, faults_of, headline

NEW = ["4", "n", *"NSE:SBIN-EQ", "tab", *"10", "tab"]
LIMIT = [*NEW, "tab", *"820.5"]
WANTED = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type=OrderType.LIMIT, price="820.5")


def resting(*, simulated: bool = True) -> RouterSnapshot:
    """One limit order that rests, 24 at 612.85."""
    row = samples.order(1, "ACCEPTED", symbol="NSE:SBIN-EQ", quantity=24, simulated=simulated)
    return replace(samples.normal(), simulated=simulated, orders=(row,))


async def typed(bench: Bench, pilot: object, keys: list[str]) -> None:
    await press(pilot, *keys)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


CONFIRMED: tuple[tuple[str, list[str], list[Command]], ...] = (
    ("a limit", [*LIMIT, "enter", "y"], [SubmitOrder(WANTED)]),
    ("a market order", [*NEW, "m", "enter", "y"], [SubmitOrder(Order(symbol="NSE:SBIN-EQ", quantity=10))]),
    ("a sell", ["4", "n", "shift+tab", "s", "tab", *NEW[2:], "tab", *"820.5", "enter", "y"],
     [SubmitOrder(replace(WANTED, side=Side.SELL))]),
    ("pinned, for delivery", [*LIMIT, "tab", "d", "tab", "tab", "u", "enter", "y"],
     [SubmitOrder(replace(WANTED, product=Product.DELIVERY), "upstox")]),
    ("nothing at no", [*LIMIT, "enter", "n"], []),
    ("nothing at escape", [*LIMIT, "escape"], []),
    ("nothing off the tick", [*NEW, "tab", *"820.53", "enter", "y"], []),
    ("nothing without a price", [*NEW, "enter", "y"], []),
    ("nothing for a quantity in words", ["4", "n", *"NSE:SBIN-EQ", "tab", *"ten", "tab", "m", "enter", "y"], []),
    ("nothing for an unknown symbol", ["4", "n", *"NSE:ABC", "tab", "1", "tab", "m", "enter", "y"], []),
)  # fmt: skip


@pytest.mark.parametrize(("keys", "sent"), [row[1:] for row in CONFIRMED], ids=[row[0] for row in CONFIRMED])
async def test_what_is_typed_and_confirmed_is_sent_and_nothing_else(keys: list[str], sent: list[Command]) -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        for key in keys:
            await typed(bench, pilot, [key])
        assert bench.sent == sent


async def test_faults_stand_beside_their_fields_and_go_when_they_are_mended() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, [*NEW, "tab", *"820.53"])
        fault = bench.app.screen.query_one("#price-fault", Static)
        assert fault.has_class("-wrong")
        assert "no multiple of the tick size 0.05" in bench.text()
        await typed(bench, pilot, ["enter"])
        assert bench.app.screen.focused.id == "price"
        await typed(bench, pilot, ["backspace"])
        assert not fault.has_class("-wrong")
        assert "value 8,205.00" in bench.text()
        assert "chose upstox" in bench.text()
        assert "12 ms sooner than fyers" in bench.text()


async def test_a_symbol_is_taken_in_small_letters_too() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, ["4", "n", *"nse:sbin-eq", "tab", *"10", "tab", "m", "enter"])
        await typed(bench, pilot, ["y"])
        assert bench.sent == [SubmitOrder(Order(symbol="NSE:SBIN-EQ", quantity=10))]


@pytest.mark.parametrize(
    ("word", "sent"), [("BUY 10", [SubmitOrder(WANTED)]), ("buy 10", []), ("BUY 1", []), ("y", []), ("", [])]
)
async def test_a_live_order_takes_its_own_words_to_confirm(word: str, sent: list[Command]) -> None:
    bench = Bench(replace(samples.live(), orders=()))
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, LIMIT)
        assert "LIVE · REAL MONEY" in bench.text()
        await typed(bench, pilot, ["enter"])
        assert isinstance(bench.app.screen, Ask)
        await typed(bench, pilot, [*["space" if letter == " " else letter for letter in word], "enter"])
        assert bench.sent == sent


async def test_a_halt_keeps_an_order_from_being_confirmed() -> None:
    bench = Bench(samples.critical())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, [*LIMIT, "enter"])
        assert isinstance(bench.app.screen, TicketScreen)
        assert "trading is halted" in bench.text()


async def test_an_engine_that_cannot_answer_is_said_on_the_ticket() -> None:
    bench = Bench(samples.normal())
    bench.port.silent = EngineHalted("the engine stopped: OSError: the disk melted")
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, [*LIMIT, "enter"])
        assert isinstance(bench.app.screen, TicketScreen)
        assert "the disk melted" in bench.text()
        await typed(bench, pilot, ["escape", "s"])
        assert "the disk melted" in bench.text()


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        (["2", "5", "enter", "y"], [ModifyOrder("ord-000001", quantity=25)]),
        (["tab", "tab", *"613", "enter", "y"], [ModifyOrder("ord-000001", price=Decimal(613))]),
        (["tab", "m", "enter", "y"], [ModifyOrder("ord-000001", order_type=OrderType.MARKET)]),
        (["enter", "y"], []),
    ],
)
async def test_a_change_sends_only_what_is_changed(keys: list[str], sent: list[Command]) -> None:
    bench = Bench(resting())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, ["4", "M"])
        assert [entry.value for entry in bench.app.screen.query(Input)][:3] == ["NSE:SBIN-EQ", "24", "612.85"]
        for key in keys:
            await typed(bench, pilot, [key])
        if sent and sent[0].order_type is OrderType.MARKET:
            sent = [replace(sent[0], price=None)]
        assert bench.sent == sent


async def test_a_live_change_takes_a_word() -> None:
    bench = Bench(resting(simulated=False))
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, ["4", "M", "2", "5"])
        await typed(bench, pilot, ["enter"])
        assert isinstance(bench.app.screen, Ask)
        await typed(bench, pilot, ["y", "enter"])
        assert bench.sent == []
        await typed(bench, pilot, ["backspace", *"CHANGE", "enter"])
        assert bench.sent == [ModifyOrder("ord-000001", quantity=25)]


async def test_what_has_ended_cannot_be_changed() -> None:
    bench = Bench(replace(samples.normal(), orders=(samples.order(1, "FILLED"),)))
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, ["4", "M"])
        assert not isinstance(bench.app.screen, TicketScreen)
        assert "it is FILLED; only a resting order can be changed" in bench.text()


@pytest.mark.parametrize("key", ["n", "M", "c", "C"])
async def test_a_screen_that_may_only_look_opens_no_ticket_and_no_question(key: str) -> None:
    bench = Bench(resting(), read_only=True)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, ["4", key])
        assert not isinstance(bench.app.screen, TicketScreen | Confirm | Ask)
        assert bench.sent == []


async def test_the_mouse_turns_a_choice() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, ["4", "n"])
        await pilot.click("#order_type")
        await until(pilot, lambda: "SL ▸" in bench.text())


# The draft, without a screen


def test_text_becomes_values_and_what_is_none_is_told() -> None:
    draft = Draft(symbol=" nse:sbin-eq ", quantity="1,000", price="820.50", trigger_price="9", provider=AUTO)
    question = asked(draft)
    assert (question.symbol, question.quantity, question.price) == ("NSE:SBIN-EQ", 1000, Decimal("820.50"))
    assert question.trigger_price is None  # a LIMIT takes none
    assert headline(draft) == "BUY 1,000 NSE:SBIN-EQ LIMIT at 820.50"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "ten", "1e3", "٣", "9" * 13])
def test_a_quantity_that_is_no_count_is_told_beside_its_field(text: str) -> None:
    assert asked(Draft(quantity=text)).quantity is None
    assert "is not a whole number" in faults_of(Draft(quantity=text), None)["quantity"]


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e40", "8,2,0x"])
def test_a_price_that_is_none_is_told_beside_its_field(text: str) -> None:
    assert asked(Draft(price=text)).price is None
    assert "is not a price" in faults_of(Draft(price=text), None)["price"]


def test_the_texts_own_fault_wins_over_the_routers() -> None:
    preview = OrderPreview(faults=(("quantity", "a whole number of at least 1"), ("order", "halted")))
    assert faults_of(Draft(quantity="ten"), preview) == {
        "quantity": "'ten' is not a whole number of at least 1",
        "order": "halted",
    }


def test_the_same_terms_are_no_change() -> None:
    terms = replace(WANTED, client_order_id="mine")
    assert command_of(Draft.of(terms, "fyers"), terms) is None
    assert command_of(replace(Draft.of(terms, "fyers"), price="821"), terms) == ModifyOrder("mine", price=Decimal(821))


async def test_a_ticket_looks_again_once_a_second_and_once_the_engine_answers() -> None:
    bench = Bench(samples.normal())
    bench.port.silent = EngineHalted("the engine is still starting")
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await typed(bench, pilot, LIMIT)
        assert "the engine is still starting" in bench.text()
        bench.port.silent = None
        for second in (1, 2):
            bench.port.now = replace(
                samples.normal(), sequence=90 + second, at_ns=samples.normal().at_ns + second * SECOND
            )
            bench.app.tick()
            await pilot.app.workers.wait_for_complete()
        await until(pilot, lambda: "chose upstox" in bench.text())
