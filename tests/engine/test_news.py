"""What a broker says, in whatever order and however often, lands right."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engine.news import Folded, fold, has_terms, rows_by_tag, terms_of
from core.models import ALLOWED_STEPS, FINAL, BrokerOrder, Order, OrderStatus, Side

S = OrderStatus
ORDER = Order(symbol="NSE:SBIN-EQ", quantity=10)


def row(status: S, filled: int = 0, **more: Any) -> BrokerOrder:
    given = {
        "provider": "upstox",
        "broker_order_id": "1",
        "tag": "t",
        "symbol": "NSE:SBIN-EQ",
        "side": Side.BUY,
        "quantity": 10,
        **more,
    }
    return BrokerOrder(**given, status=status, filled_quantity=filled, average_price=Decimal(100 if filled else 0))


def heard(start: S, *rows: BrokerOrder) -> Folded:
    state = Folded(start, 0, Decimal(0))
    for one in rows:
        state = fold(state.status, state.filled_quantity, state.average_price, ORDER, one)
    return state


@pytest.mark.parametrize(
    ("before", "said", "filled", "after"),
    [
        (S.SUBMITTING, S.ACCEPTED, 0, S.ACCEPTED),
        (S.SUBMITTING, S.FILLED, 10, S.FILLED),  # a fill before the acceptance
        (S.UNKNOWN, S.PARTIALLY_FILLED, 3, S.PARTIALLY_FILLED),
        (S.QUARANTINED, S.REJECTED, 0, S.REJECTED),
        (S.ACCEPTED, S.PARTIALLY_FILLED, 3, S.PARTIALLY_FILLED),
        (S.CANCEL_REQUESTED, S.ACCEPTED, 0, S.CANCEL_REQUESTED),  # a look from before the cancel
        (S.CANCEL_REQUESTED, S.FILLED, 10, S.FILLED),  # a fill on the way of a cancel
        (S.CANCEL_REQUESTED, S.CANCELLED, 3, S.CANCELLED),
        (S.MODIFY_REQUESTED, S.PARTIALLY_FILLED, 3, S.MODIFY_REQUESTED),
        (S.CANCELLED, S.FILLED, 10, S.FILLED),  # the last fill crossed the confirmed cancel
        (S.CANCELLED, S.ACCEPTED, 0, S.CANCELLED),  # yesterday's state after today's
        (S.FILLED, S.ACCEPTED, 0, S.FILLED),
        (S.FILLED, S.CANCELLED, 0, S.FILLED),
        (S.ACCEPTED, S.UNKNOWN, 0, S.ACCEPTED),  # says nothing
    ],
)
def test_news_take_an_order_only_forward(before: S, said: S, filled: int, after: S) -> None:
    result = heard(before, row(said, filled))
    assert (result.status, result.filled_quantity, result.incident) == (after, filled, "")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (S.REJECTED, S.FILLED),
        (S.DENIED, S.ACCEPTED),
        (S.DENIED, S.FILLED),
        (S.FILLED, S.REJECTED),
        (S.EXPIRED, S.FILLED),
    ],
)
def test_what_contradicts_an_end_is_an_incident_and_changes_no_state(before: S, said: S) -> None:
    result = heard(before, row(said, 10 if said is S.FILLED else 0))
    assert result.status is before
    assert said.value in result.incident or "ACCEPTED" in result.incident or "rest" in result.incident


@pytest.mark.parametrize(
    "wrong", [{"symbol": "NSE:INFY-EQ"}, {"side": Side.SELL}], ids=["another symbol", "the other side"]
)
def test_our_tag_on_another_order_is_an_incident(wrong: dict[str, Any]) -> None:
    assert "our tag stands on another order" in heard(S.ACCEPTED, row(S.ACCEPTED, **wrong)).incident


def test_more_fills_than_were_ordered_are_an_incident() -> None:
    assert "11 are filled, but only 10" in heard(S.ACCEPTED, row(S.FILLED, 11)).incident


@pytest.mark.parametrize("end", [S.FILLED, S.CANCELLED, S.EXPIRED])
def test_the_same_news_in_any_order_and_twice_end_alike(end: S) -> None:
    news = [row(S.ACCEPTED), row(S.PARTIALLY_FILLED, 4), row(end, 10 if end is S.FILLED else 4)]
    ends = {heard(S.SUBMITTING, *order, *order) for order in permutations(news)}
    assert len(ends) == 1
    assert ends.pop().status is end


SAID = st.sampled_from([S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.UNKNOWN])


@given(st.sampled_from(list(S)), st.lists(st.tuples(SAID, st.integers(0, 12)), max_size=8))
def test_no_news_takes_an_illegal_step_or_a_fill_back(start: S, news: list[tuple[S, int]]) -> None:
    state = Folded(start, 0, Decimal(0))
    for said, filled in news:
        after = fold(state.status, state.filled_quantity, state.average_price, ORDER, row(said, filled))
        assert after.status is state.status or after.status in ALLOWED_STEPS[state.status]
        assert after.filled_quantity >= state.filled_quantity
        assert not (state.status in FINAL and state.status is not S.CANCELLED and after.status is not state.status)
        state = after


def test_only_rows_with_exactly_our_tag_are_ours() -> None:
    rows = [row(S.ACCEPTED, tag=tag) for tag in ("t", "T", "t ", "", "tt")]
    assert rows_by_tag(rows)["t"] == [rows[0]]


def test_terms_are_read_from_the_book() -> None:
    resting = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type="LIMIT", price="780")
    there = row(S.ACCEPTED, quantity=7, order_type=resting.order_type, price=Decimal("781.5"))
    assert not has_terms(there, resting)
    assert has_terms(there, terms_of(there, resting))
    assert terms_of(row(S.ACCEPTED), resting) == resting  # a row that shows no terms changes none
