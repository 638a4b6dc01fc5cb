"""Every order is told apart by what it is, and held against what its caller was told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from core.brokers.simulator.listings import LISTINGS
from core.models import BrokerOrder, Order, OrderOutcome, OrderStatus
from core.stress.ledger import Ledger, tradable

SYMBOLS = ("NSE:SBIN-EQ", "NSE:TATASTEEL-EQ", "NSE:TCS-EQ")


def row_of(order: Order, broker_id: str = "b1", status: OrderStatus = OrderStatus.FILLED) -> BrokerOrder:
    return BrokerOrder(
        provider="alpha",
        broker_order_id=broker_id,
        tag="whatever",
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        filled_quantity=0,
        average_price=Decimal(0),
        status=status,
        order_type=order.order_type,
        price=order.price,
    )


def stored(order: Order, provider: str = "alpha", broker_id: str = "b1") -> dict[str, tuple[str, str]]:
    return {order.client_order_id: (provider, broker_id)}


def outcome_of(order: Order, status: OrderStatus = OrderStatus.ACCEPTED) -> OrderOutcome:
    return OrderOutcome(order_id=order.client_order_id, status=status, provider="alpha", broker_order_id="b1")


@pytest.mark.parametrize("resting", [False, True])
def test_every_order_of_a_long_run_is_unlike_all_others_and_within_the_days_band(resting: bool) -> None:
    ledger = Ledger(SYMBOLS, "run")
    bands = {listing.symbol: listing for listing in LISTINGS}
    seen = set()
    for number in range(5000):
        order = ledger.next_order(resting=resting)
        assert order.client_order_id == f"run-{number}"
        assert order.price is not None
        paise = int(order.price * 100)
        assert bands[order.symbol].low_paise <= paise <= bands[order.symbol].high_paise
        assert paise % bands[order.symbol].tick_paise == 0
        seen.add((order.symbol, order.side, order.quantity, order.price))
        if resting:
            changed = ledger.changed_price(order)
            assert changed != order.price
            seen.add((order.symbol, order.side, order.quantity, changed))
    assert len(seen) == 5000 * (2 if resting else 1)


@pytest.mark.parametrize("resting", [False, True])
def test_a_clean_run_has_nothing_lost_doubled_or_strange(resting: bool) -> None:
    ledger = Ledger(SYMBOLS, "run")
    rows: list[BrokerOrder] = []
    places: dict[str, tuple[str, str]] = {}
    for number in range(2000):
        order = ledger.next_order(resting=resting)
        ledger.told(order.client_order_id, outcome_of(order))
        row = row_of(order, f"b{number}")
        if resting and number % 3 == 0:
            row = replace(row, price=ledger.changed_price(order))
        rows.append(row)
        places |= stored(order, broker_id=f"b{number}")
    audit = ledger.audit({"alpha": rows}, places)
    assert (audit.given_out, audit.acknowledged) == (2000, 2000)
    assert (audit.lost, audit.duplicates, audit.ghosts, audit.strangers) == (0, 0, 0, 0)


class TestOneOrderGoneWrong:
    @pytest.fixture
    def ledger(self) -> Ledger:
        return Ledger(SYMBOLS, "run")

    def test_acknowledged_but_at_no_broker_is_lost(self, ledger: Ledger) -> None:
        order = ledger.next_order(resting=False)
        ledger.told(order.client_order_id, outcome_of(order))
        audit = ledger.audit({"alpha": []}, stored(order))
        assert audit.lost == 1
        assert "run-0" in audit.examples[0]

    @pytest.mark.parametrize("places", [{}, {"run-0": ("alpha", "b2")}, {"run-0": ("beta", "b1")}])
    def test_acknowledged_but_absent_or_other_in_the_store_is_lost(
        self, ledger: Ledger, places: dict[str, tuple[str, str]]
    ) -> None:
        order = ledger.next_order(resting=False)
        ledger.told(order.client_order_id, outcome_of(order))
        audit = ledger.audit({"alpha": [row_of(order)]}, places)
        assert audit.lost == 1

    def test_live_at_two_brokers_is_a_duplicate_whatever_their_tags_say(self, ledger: Ledger) -> None:
        order = ledger.next_order(resting=False)
        ledger.told(order.client_order_id, outcome_of(order))
        rows = {"alpha": [row_of(order)], "beta": [replace(row_of(order), tag="other")]}
        assert ledger.audit(rows, stored(order)).duplicates == 1

    def test_a_rejected_row_beside_a_live_one_is_no_duplicate(self, ledger: Ledger) -> None:
        order = ledger.next_order(resting=False)
        ledger.told(order.client_order_id, outcome_of(order))
        rows = {"alpha": [row_of(order)], "beta": [row_of(order, status=OrderStatus.REJECTED)]}
        assert ledger.audit(rows, stored(order)).duplicates == 0

    def test_live_though_the_caller_was_told_no_is_a_ghost(self, ledger: Ledger) -> None:
        for tell in (
            lambda order: ledger.told(order.client_order_id, outcome_of(order, OrderStatus.DENIED)),
            lambda order: ledger.told_not_live(order.client_order_id),
        ):
            order = ledger.next_order(resting=False)
            tell(order)
            assert ledger.audit({"alpha": [row_of(order)]}, {}).ghosts == 1

    def test_unknown_is_neither_lost_nor_ghost(self, ledger: Ledger) -> None:
        order = ledger.next_order(resting=False)
        ledger.told_unsettled(order.client_order_id)
        for rows in ([], [row_of(order)]):
            audit = ledger.audit({"alpha": rows}, {})
            assert (audit.lost, audit.ghosts, audit.unsettled) == (0, 0, 1)

    def test_a_row_that_nobody_gave_out_is_a_stranger(self, ledger: Ledger) -> None:
        order = ledger.next_order(resting=False)
        ledger.told(order.client_order_id, outcome_of(order))
        strange = replace(row_of(order), quantity=order.quantity + 7)
        audit = ledger.audit({"alpha": [row_of(order), strange]}, stored(order))
        assert (audit.strangers, audit.lost) == (1, 0)


def test_rows_that_left_their_book_count_as_much_as_those_in_it() -> None:
    ledger = Ledger(SYMBOLS, "run")
    orders = [ledger.next_order(resting=False) for _ in range(4)]
    for order in orders:
        ledger.told(order.client_order_id, outcome_of(order))
    ledger.saw({"alpha": [row_of(orders[0]), row_of(orders[1])], "beta": []})
    later = ledger.next_order(resting=False)
    ledger.told_not_live(later.client_order_id)
    books = {"alpha": [row_of(orders[1])], "beta": [row_of(orders[2], "b9"), row_of(later)]}
    places = stored(orders[0]) | stored(orders[1]) | stored(orders[2], "beta", "b9")
    for _ in range(2):  # an audit changes nothing
        audit = ledger.audit(books, places)
        assert (audit.lost, audit.duplicates, audit.ghosts, audit.strangers) == (1, 1, 1, 0)
    assert audit.examples == (
        "run-3: acknowledged, at no broker", "run-1: live 2 times", "run-4: said not to be live, is at beta"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("symbol", "may"), [("NSE:SBIN-EQ", True), ("NSE:NIFTY50-INDEX", False), ("NSE:SBIN26DECFUT", False), ("X", False)]
)
def test_only_single_shares_of_the_simulated_exchange_are_traded(symbol: str, may: bool) -> None:
    assert tradable(symbol) is may
