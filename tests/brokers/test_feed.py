"""MarketDataFeed: latest and recent ticks in bounded memory."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SECOND, VirtualClock
from core.feed import MarketDataFeed
from core.models import Quote


@given(
    ticks=st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 10**9), st.integers(0, 10**6)), max_size=60),
    capacity=st.integers(1, 20),
)
def test_it_tells_the_last_quote_and_the_recent_ticks_that_a_plain_list_would(
    ticks: list[tuple[str, int, int]], capacity: int
) -> None:
    feed = MarketDataFeed(capacity=capacity)
    model: list[Quote] = []
    for epoch_ns, (symbol, ten_thousandths, volume) in enumerate(ticks):
        price = Decimal(ten_thousandths) / 10_000
        feed.publish(symbol=symbol, price=price, volume=volume, epoch_ns=epoch_ns)
        model.append(Quote(symbol=symbol, price=price, volume=volume, epoch_ns=epoch_ns))
    for symbol in "ABC":
        of_symbol = [quote for quote in reversed(model) if quote.symbol == symbol]
        assert feed.latest(symbol) == (of_symbol[0] if of_symbol else None)
        kept = [quote for quote in reversed(model[-capacity:]) if quote.symbol == symbol]
        assert feed.recent(symbol, 100) == tuple(kept)
        assert feed.recent(symbol, 2) == tuple(kept[:2])
    assert feed.published == len(ticks)


@pytest.mark.parametrize(
    ("price", "kept"),
    [(652.5, "652.5"), ("652.05", "652.05"), (Decimal("83.4575"), "83.4575"), (7, "7"), (0.1 + 0.2, "0.3")],
)
def test_prices_are_kept_to_four_places_whatever_they_come_as(price: Decimal | float | str, kept: str) -> None:
    feed = MarketDataFeed()
    feed.publish(symbol="NSE:SBIN-EQ", price=price)
    quote = feed.latest("NSE:SBIN-EQ")
    assert quote is not None
    assert quote.price == Decimal(kept)


@pytest.mark.parametrize(
    "price", [0, -1.0, float("nan"), float("inf"), "no", None, True, Decimal("NaN"), "0.00001", 1e30, 10**40]
)
def test_a_bad_tick_never_becomes_a_quote(price: object) -> None:
    feed = MarketDataFeed(capacity=1)
    feed.publish(symbol="A", price=10)
    with pytest.raises(ValueError, match="A: price"):
        feed.publish(symbol="A", price=price)  # type: ignore[arg-type]
    for volume in (-1, 2**63, None):
        with pytest.raises(ValueError, match="volume"):
            feed.publish(symbol="A", price=1, volume=volume)  # type: ignore[arg-type]
    quote = feed.latest("A")
    assert quote is not None
    assert quote.price == 10
    assert feed.recent("A") == (quote,)
    assert feed.published == 1


def test_ticks_bear_the_clocks_date_unless_they_bring_their_own() -> None:
    clock = VirtualClock(epoch_start_ns=5 * SECOND)
    feed = MarketDataFeed(clock=clock)
    feed.publish(symbol="A", price=1)
    feed.publish(symbol="A", price=1, epoch_ns=7)
    assert [quote.epoch_ns for quote in feed.recent("A")] == [7, 5 * SECOND]


def test_of_too_many_symbols_the_ones_silent_longest_are_forgotten() -> None:
    feed = MarketDataFeed(symbols_max=4)
    for symbol in ("a", "b", "c", "d", "a", "e"):
        feed.publish(symbol=symbol, price=1)
    assert sorted(feed.symbols) == ["a", "d", "e"]
    assert feed.latest("b") is None
    assert feed.recent("b") == ()


@pytest.mark.parametrize("bounds", [{"capacity": 0}, {"symbols_max": 0}])
def test_bounds_below_one_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MarketDataFeed(**bounds)
