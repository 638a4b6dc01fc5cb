"""Every rule refuses at its edge, says so in numbers, and can be switched off."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brokers.mock import MockTradingAPI
from core.clock import MILLISECOND, SECOND, VirtualClock
from core.engine import Guards, GuardSettings, MarketHours, OnDuplicate
from core.errors import OrderDenied
from core.models import Order, OrderStatus, Quote
from tests.engine.bench import Opener, story

QUOTE = Quote(symbol="NSE:SBIN-EQ", price=Decimal(800), epoch_ns=0)
IST = dt.timezone(dt.timedelta(hours=5, minutes=30))


def order(quantity: int = 10, price: str | None = None, **more: Any) -> Order:
    kind = "MARKET" if price is None else "LIMIT"
    return Order(symbol="NSE:SBIN-EQ", quantity=quantity, order_type=kind, price=price, client_order_id="new", **more)


def judge(guards: Guards, wanted: Order, *, now_ns: int = 0, epoch_ns: int = 0, open_orders: int = 0) -> str:
    """The rule that refused, empty when none did."""
    try:
        guards.admit(wanted, now_ns=now_ns, epoch_ns=epoch_ns, open_orders=open_orders)
    except OrderDenied as error:
        named, _, _ = str(error).partition(": ")
        return error.rule if named == error.rule else f"{error.rule}, but told as {named}"
    return ""


@pytest.mark.parametrize(
    ("settings", "wanted", "rule"),
    [
        ({"quantity_max": 10}, order(10), ""),
        ({"quantity_max": 10}, order(11), "quantity_max"),
        ({"value_max": 8000}, order(10, "800"), ""),
        ({"value_max": 8000}, order(10, "800.05"), "value_max"),
        ({"value_max": 8000}, order(10), ""),  # a market order goes by the last quote
        ({"value_max": 8000}, order(11), "value_max"),
        ({"price_band": Decimal("0.1")}, order(1, "880"), ""),
        ({"price_band": Decimal("0.1")}, order(1, "880.05"), "price_band"),
        ({"price_band": Decimal("0.1")}, order(1, "720"), ""),
        ({"price_band": Decimal("0.1")}, order(1, "719.95"), "price_band"),
        ({"price_band": Decimal("0.1")}, order(1), ""),
        ({"symbols": frozenset({"NSE:SBIN-EQ"})}, order(), ""),
        ({"symbols": frozenset({"NSE:INFY-EQ"})}, order(), "symbols"),
        ({}, order(10**9, "900"), ""),
    ],
)
def test_an_order_is_refused_past_the_edge_of_a_rule(settings: dict[str, Any], wanted: Order, rule: str) -> None:
    assert judge(Guards(GuardSettings(**settings), quotes=lambda _: QUOTE), wanted) == rule


@pytest.mark.parametrize(
    ("settings", "judges"),
    [
        (GuardSettings.off(), False),
        (replace(GuardSettings.off(), quantity_max=1), True),
        (replace(GuardSettings.off(), value_max=Decimal(1)), True),
        (replace(GuardSettings.off(), price_band=Decimal(1)), True),
        (replace(GuardSettings.off(), orders_per_second=1), True),
        (replace(GuardSettings.off(), open_orders_max=1), True),
        (replace(GuardSettings.off(), symbols=frozenset()), True),
        (replace(GuardSettings.off(), on_duplicate=OnDuplicate.WARN), True),
        (replace(GuardSettings.off(), market_hours=MarketHours()), True),
    ],
)
def test_only_where_every_rule_is_off_no_order_needs_judging(settings: GuardSettings, judges: bool) -> None:
    class Stricter(Guards):
        """Somebody's own rule."""

    assert Guards(settings).judges is judges
    assert Stricter(settings).judges


@pytest.mark.parametrize("need_quote", [True, False])
@pytest.mark.parametrize("quote", [None, Quote(symbol="NSE:SBIN-EQ", price=Decimal(1), epoch_ns=1)])
def test_without_a_fresh_quote_a_band_judges_only_when_told_to(quote: Quote | None, need_quote: bool) -> None:
    settings = GuardSettings(price_band=Decimal("0.1"), need_quote=need_quote, quote_age_ns_max=SECOND)
    rule = judge(Guards(settings, quotes=lambda _: quote), order(1, "800"), epoch_ns=2 * SECOND)
    assert rule == ("price_band" if need_quote else "")


def test_the_rate_is_counted_over_a_sliding_second_and_refused_orders_do_not_count() -> None:
    guards = Guards(GuardSettings(orders_per_second=10, on_duplicate=OnDuplicate.ALLOW))
    assert [judge(guards, order(), now_ns=i * 50 * MILLISECOND) for i in range(10)] == [""] * 10
    with pytest.raises(OrderDenied, match="10 orders within the last second, the most is 10 over all brokers") as no:
        guards.admit(order(), now_ns=500 * MILLISECOND, epoch_ns=0, open_orders=0)
    assert no.value.rule == "orders_per_second"
    assert "in 500 ms" in str(no.value)
    assert judge(guards, order(), now_ns=SECOND - 1) == "orders_per_second"
    assert judge(guards, order(), now_ns=SECOND) == ""


@given(st.lists(st.sampled_from([0, 1, SECOND // 10, SECOND - 1, SECOND]), max_size=60), st.integers(1, 5))
def test_no_second_ever_admits_more_than_the_rate(gaps_ns: list[int], most: int) -> None:
    guards = Guards(GuardSettings(orders_per_second=most, on_duplicate=OnDuplicate.ALLOW))
    now_ns, admitted = 0, []
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        if not judge(guards, order(), now_ns=now_ns):
            admitted.append(now_ns)
    assert all(sum(at <= other < at + SECOND for other in admitted) <= most for at in admitted)


@pytest.mark.parametrize(("open_orders", "rule"), [(4, ""), (5, "open_orders_max")])
def test_open_orders_are_bounded(open_orders: int, rule: str) -> None:
    assert judge(Guards(GuardSettings(open_orders_max=5)), order(), open_orders=open_orders) == rule


@pytest.mark.parametrize(
    ("second", "gap_ns", "alike"),
    [
        (order(), SECOND - 1, True),
        (order(), SECOND, False),
        (order(11), 0, False),
        (order(side="SELL"), 0, False),
        (order(10, "800"), 0, False),
    ],
)
def test_an_order_like_the_one_within_a_second_before_is_warned_about_or_denied(
    second: Order, gap_ns: int, alike: bool
) -> None:
    warned: list[str] = []
    warning = Guards(GuardSettings(on_duplicate=OnDuplicate.WARN), warn=warned.append)
    denying = Guards(GuardSettings(on_duplicate=OnDuplicate.DENY))
    for guards in (warning, denying):
        assert judge(guards, order()) == ""
    assert judge(warning, second, now_ns=gap_ns) == ""
    assert len(warned) == alike
    assert judge(denying, second, now_ns=gap_ns) == ("on_duplicate" if alike else "")


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        (dt.datetime(2026, 1, 5, 9, 14, 59, tzinfo=IST), False),
        (dt.datetime(2026, 1, 5, 9, 15, tzinfo=IST), True),
        (dt.datetime(2026, 1, 5, 15, 29, 59, tzinfo=IST), True),
        (dt.datetime(2026, 1, 5, 15, 30, tzinfo=IST), False),
        (dt.datetime(2026, 1, 4, 12, 0, tzinfo=IST), False),  # a Sunday
    ],
)
def test_market_hours_are_indian_time_and_off_by_default(at: dt.datetime, is_open: bool) -> None:
    epoch_ns = int(at.timestamp()) * SECOND
    assert judge(Guards(GuardSettings(market_hours=MarketHours())), order(), epoch_ns=epoch_ns) == (
        "" if is_open else "market_hours"
    )
    assert judge(Guards(GuardSettings()), order(), epoch_ns=epoch_ns) == ""


@pytest.mark.parametrize("name", ["quantity_max", "value_max", "price_band", "orders_per_second", "open_orders_max"])
@pytest.mark.parametrize("value", [0, -1, True])
def test_a_limit_that_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        GuardSettings(**{name: value})


@story
async def test_a_denied_order_is_durable_shown_and_never_sent(
    clock: VirtualClock, opened: Opener, brokers: dict[str, MockTradingAPI]
) -> None:
    async with opened(guards=GuardSettings(quantity_max=5)) as bench:
        outcome = await bench.engine.place_order(order(6))
        assert (outcome.status, outcome.message) == (OrderStatus.DENIED, "quantity_max: quantity 6 is above 5")
        assert (await bench.engine.place_order(order(6))).status is OrderStatus.DENIED
        known = await bench.store.journal.order("new")
        assert known is not None
        assert (known.status, known.message) == (outcome.status, outcome.message)
        assert [row.status for row in bench.engine.recent_orders()] == ["DENIED"]
        assert sum(api.request_count for api in brokers.values()) == 0


@story
async def test_the_same_id_again_is_no_duplicate_looking_order(clock: VirtualClock, opened: Opener) -> None:
    async with opened(guards=GuardSettings(on_duplicate=OnDuplicate.DENY)) as bench:
        first = await bench.engine.place_order(order())
        assert await bench.engine.place_order(order()) == first
        twin = await bench.engine.place_order(order().with_id("twin"))
        assert twin.status is OrderStatus.DENIED
        assert "looks like new" in twin.message
