"""The exchange: what it takes, how it fills, and that its books add up to the last paisa."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.brokers.simulator.accounts import (
    MARGIN_PERCENT,
    Account,
    PositionBook,
    Refusal,
    RefusalReason,
    SimOrder,
    Stage,
)
from core.brokers.simulator.exchange import Exchange, ExchangeSettings
from core.brokers.simulator.listings import LISTINGS, Listing
from core.brokers.simulator.walk import Walk
from core.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, VirtualClock
from core.models import Order, OrderType, Product, Side, Validity

SBIN, FUTURE = "NSE:SBIN-EQ", "NSE:SBIN26DECFUT"
(INDEX,) = (listing for listing in LISTINGS if listing.segment == "NSE_INDEX")
MONDAY_0900_IST_NS = 1_767_585_600_000_000_000 - 30 * MINUTE  # VirtualClock starts on Monday, 5 January 2026, 09:30 IST


class Manual(VirtualClock):
    """Time in a test without a loop: the exchange asks, it never waits."""

    def pass_ns(self, by_ns: int) -> None:
        self._now_ns += by_ns


def build(**settings: object) -> tuple[Manual, Exchange, Account]:
    clock = Manual()
    exchange = Exchange(clock, ExchangeSettings(**settings))  # type: ignore[arg-type]
    return clock, exchange, exchange.open_account("one")


def order(
    symbol: str = SBIN,
    quantity: int = 10,
    price: Decimal | None = None,
    trigger: Decimal | None = None,
    *,
    side: Side = Side.BUY,
    product: Product = Product.INTRADAY,
    validity: Validity = Validity.DAY,
) -> Order:
    kinds = {
        (False, False): OrderType.MARKET,
        (True, False): OrderType.LIMIT,
        (True, True): OrderType.SL,
        (False, True): OrderType.SL_M,
    }
    return Order(
        symbol=symbol,
        quantity=quantity,
        side=side,
        order_type=kinds[price is not None, trigger is not None],
        price=price,
        trigger_price=trigger,
        product=product,
        validity=validity,
    )


def last(exchange: Exchange, symbol: str = SBIN) -> Decimal:
    return exchange.quotes([symbol])[0].price


def assert_adds_up(exchange: Exchange) -> None:
    moved = 0
    for account in exchange.accounts.values():
        positions = account.positions.values()
        cost = sum(position.cost_paise for position in positions)
        realised = sum(position.realised_paise for position in positions)
        assert account.cash_paise + cost - realised + account.fees_paise == account.opening_paise
        # What is kept as it changes is what a sum over all positions gives; sold holdings bind nothing.
        bound = sum(
            abs(position.cost_paise) * MARGIN_PERCENT[position.product] // 100
            for position in positions
            if position.product is not Product.DELIVERY or position.quantity > 0
        )
        assert account.used_paise == account.reserved_paise + bound
        assert account.available_paise == account.cash_paise + cost - account.used_paise
        moved += account.cash_paise - account.opening_paise + account.fees_paise
        traded: dict[str, int] = {}
        for placed in account.orders.values():
            parts = placed.executions
            assert placed.filled == sum(part.quantity for part in parts) <= placed.quantity
            assert placed.value_paise == sum(part.quantity * part.price_paise for part in parts)
            symbol = placed.listing.symbol
            traded[symbol] = traded.get(symbol, 0) + placed.side.sign * placed.filled
        held: dict[str, int] = {}
        for position in positions:
            held[position.listing.symbol] = held.get(position.listing.symbol, 0) + position.quantity
            assert position.quantity == position.buy_quantity - position.sell_quantity
            assert position.realised_paise == position.sell_paise - position.buy_paise + position.cost_paise
            assert (position.cost_paise > 0) - (position.cost_paise < 0) == (position.quantity > 0) - (
                position.quantity < 0
            )
            if position.product is Product.DELIVERY:  # nothing is delivered that is not there
                assert position.quantity + account.holdings.get(position.listing.symbol, (0, 0))[0] >= 0
        assert {s: q for s, q in held.items() if q} == {s: q for s, q in traded.items() if q}
        assert account.reserved_paise == sum(o.reserved_paise for o in account.orders.values())
        assert set(account.open_orders) == {o.order_id for o in account.orders.values() if o.is_open}
    assert exchange.street_paise + moved == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("place"),
            st.sampled_from([SBIN, "NSE:M&M-EQ", FUTURE]),
            st.sampled_from(Side),
            st.sampled_from([1, 7, 60, 750, 1500, 400_000]),
            st.sampled_from([None, -3, 0, 3]),
            st.sampled_from([None, None, -1, 1]),
            st.sampled_from(Product),
            st.sampled_from(Validity),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(
            st.just("modify"), st.integers(0, 30), st.sampled_from([750, 1500, 3, 60]), st.sampled_from([-2, 0, 2])
        ),
        st.tuples(st.just("wait"), st.sampled_from([0, MILLISECOND, 20 * MILLISECOND, SECOND, MINUTE])),
    ),
    max_size=40,
)


@given(steps=STEPS, seed=st.integers(0, 1000))
def test_cash_positions_and_fees_are_conserved_over_any_sequence_of_operations(
    steps: list[tuple[object, ...]], seed: int
) -> None:
    clock, exchange, one = build(seed=seed, opening_cash=Decimal(2_000_000))
    accounts = [one, exchange.open_account("two")]
    placed: list[tuple[Account, SimOrder]] = []
    tick = Decimal("0.05")
    for number, step in enumerate(steps):
        account = accounts[number % 2]
        try:
            match step:
                case (
                    "place",
                    str(symbol),
                    Side() as side,
                    int(quantity),
                    offset,
                    trigger,
                    Product() as p,
                    Validity() as v,
                ):
                    price = last(exchange, symbol)
                    wanted = order(
                        symbol,
                        quantity,
                        None if offset is None else price + offset * tick,  # type: ignore[operator]
                        None if trigger is None else price + trigger * tick,  # type: ignore[operator]
                        side=side,
                        product=p,
                        validity=v,
                    )
                    placed.append((account, exchange.place(account, wanted)))
                case ("cancel", int(which)) if placed:
                    owner, chosen = placed[which % len(placed)]
                    exchange.cancel(owner, chosen.order_id)
                case ("modify", int(which), int(quantity), int(offset)) if placed:
                    owner, chosen = placed[which % len(placed)]
                    price = last(exchange, chosen.listing.symbol) + offset * tick
                    exchange.modify(owner, chosen.order_id, quantity=quantity, order_type=OrderType.LIMIT, price=price)
                case ("wait", int(wait_ns)):
                    clock.pass_ns(wait_ns)
        except Refusal:
            pass  # a no must leave the books as they were, which the next line checks
        exchange.advance()
        assert_adds_up(exchange)


FILLS = st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=30)


@given(fills=FILLS)
def test_a_position_costs_what_an_average_says_and_realises_the_rest(fills: list[tuple[Side, int, int]]) -> None:
    book = PositionBook(LISTINGS[0], Product.INTRADAY)
    quantity, average = 0, Fraction(0)
    for side, size, price in fills:
        before = quantity
        quantity += side.sign * size
        if before * side.sign >= 0:  # it opens or widens
            average = (abs(before) * average + size * price) / abs(quantity)
        elif before * quantity < 0:  # it turns round
            average = Fraction(price)
        book.book(side, size, price)
        assert book.quantity == quantity
        # Each closing part may leave less than one paisa with the position.
        assert abs(book.cost_paise - quantity * average) <= len(fills)
        if quantity == 0:
            assert book.cost_paise == 0
        assert book.realised_paise == book.sell_paise - book.buy_paise + book.cost_paise


def test_the_same_calls_at_the_same_times_give_the_same_day() -> None:
    def day(seed: int) -> list[tuple[str, int, int, tuple[tuple[str, int], ...]]]:
        clock, exchange, account = build(seed=seed)
        for number in range(60):
            side = Side.BUY if number % 3 else Side.SELL
            price = last(exchange) if number % 2 else None
            exchange.place(account, order(quantity=50, price=price, side=side))
            clock.pass_ns(77 * MILLISECOND)
        clock.pass_ns(MINUTE)
        return [(o.order_id, o.filled, o.value_paise, tuple(o.history)) for o in exchange.orders(account)]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_a_market_order_fills_whole_in_parts_within_the_slippage() -> None:
    clock, exchange, account = build(seed=5, whole_fill=0.0, step_ns=HOUR)
    before = last(exchange)
    bought = exchange.place(account, order(quantity=100))
    assert bought.stage is Stage.TRANSIT
    assert not bought.executions
    clock.pass_ns(MINUTE)
    exchange.advance()
    assert bought.stage is Stage.COMPLETE
    assert len(bought.executions) > 1
    assert len({bought.trade_id(part) for part in bought.executions}) == len(bought.executions)
    worst = int(before * 100) + 2 * bought.listing.tick_paise
    assert all(int(before * 100) <= part.price_paise <= worst for part in bought.executions)


@pytest.mark.parametrize("side", Side)
def test_a_limit_order_rests_until_the_price_crosses_and_never_fills_worse(side: Side) -> None:
    clock, exchange, account = build(seed=11)
    limit = last(exchange) - side.sign * Decimal("1.50")
    resting = exchange.place(account, order(price=limit, side=side))
    clock.pass_ns(100 * MILLISECOND)
    exchange.advance()
    assert resting.stage is Stage.OPEN
    assert resting.filled == 0
    for _ in range(4 * 3600):
        clock.pass_ns(SECOND)
        exchange.advance()
        if not resting.is_open:
            break
    assert resting.stage is Stage.COMPLETE
    assert all(side.sign * (int(limit * 100) - part.price_paise) >= 0 for part in resting.executions)


@pytest.mark.parametrize("with_limit", [False, True])
def test_a_stop_order_sleeps_until_its_trigger_is_touched(*, with_limit: bool) -> None:
    clock, exchange, account = build(seed=3)
    trigger = last(exchange) + Decimal("1.00")
    stop = exchange.place(account, order(price=trigger + 5 if with_limit else None, trigger=trigger))
    highest = 0
    while stop.stage in {Stage.TRANSIT, Stage.TRIGGER_PENDING}:
        clock.pass_ns(250 * MILLISECOND)
        walk = exchange.walk(SBIN)
        assert walk is not None
        if stop.stage is Stage.TRIGGER_PENDING:
            highest = max(highest, walk.price_paise)
            assert highest < trigger * 100
    clock.pass_ns(MINUTE)
    exchange.advance()
    assert stop.stage is Stage.COMPLETE
    assert [words for words, _ in stop.history][:2] == ["trigger pending", "open"]


@pytest.mark.parametrize(("resting", "ends"), [(False, {"complete", "part", "too late"}), (True, {"none"})])
def test_a_cancel_may_lose_its_race_against_a_fill_and_may_win_it(*, resting: bool, ends: set[str]) -> None:
    seen: set[str] = set()
    for seed in range(60):
        clock, exchange, account = build(seed=seed, whole_fill=0.5, step_ns=HOUR)
        raced = exchange.place(account, order(quantity=100, price=last(exchange) - 9 if resting else None))
        clock.pass_ns(5 * MILLISECOND)
        try:
            exchange.cancel(account, raced.order_id)
            sent = True
        except Refusal as no:
            assert no.reason is RefusalReason.FINISHED  # noqa: PT017 - the other outcome is checked below
            sent = False
        clock.pass_ns(SECOND)
        exchange.advance()
        assert not raced.is_open
        assert_adds_up(exchange)
        words = [stage for stage, _ in raced.history]
        assert ("not cancelled" in words) == (sent and raced.stage is Stage.COMPLETE)
        if raced.stage is Stage.COMPLETE:
            seen.add("complete" if sent else "too late")
        else:
            seen.add("part" if raced.filled else "none")
    assert seen == ends


def test_messages_about_one_order_arrive_in_the_order_they_were_sent() -> None:
    for seed in range(30):
        clock, exchange, account = build(seed=seed, step_ns=HOUR)
        resting = exchange.place(account, order(price=last(exchange) - 9))
        for quantity in (11, 12, 13):
            exchange.modify(account, resting.order_id, quantity=quantity)
        exchange.cancel(account, resting.order_id)
        for act in (exchange.cancel, exchange.modify):
            with pytest.raises(Refusal, match="has a cancel under way"):
                act(account, resting.order_id)
        clock.pass_ns(SECOND)
        exchange.advance()
        assert (resting.quantity, resting.stage) == (13, Stage.CANCELLED)


def test_an_ioc_order_never_rests() -> None:
    clock, exchange, account = build()
    shy = exchange.place(account, order(price=last(exchange) - 5, validity=Validity.IOC))
    clock.pass_ns(SECOND)
    exchange.advance()
    assert (shy.stage, shy.filled) == (Stage.CANCELLED, 0)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (order("NSE:NOSUCH-EQ"), RefusalReason.UNKNOWN_SYMBOL),
        (order("NSE:NIFTY50-INDEX"), RefusalReason.NOT_TRADABLE),
        (order(FUTURE, 100), RefusalReason.LOT),
        (order(price=Decimal("820.02")), RefusalReason.TICK),
        (order(trigger=Decimal("820.01")), RefusalReason.TICK),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_what_the_gateway_does_not_take_never_reaches_the_book(wanted: Order, reason: RefusalReason) -> None:
    _, exchange, account = build()
    with pytest.raises(Refusal) as caught:
        exchange.place(account, wanted)
    assert caught.value.reason is reason
    assert not account.orders


@pytest.mark.parametrize(
    ("wanted", "reason", "settings"),
    [
        (order(price=Decimal("600.00")), RefusalReason.PRICE_BAND, {}),
        (order(price=Decimal("950.00"), trigger=Decimal("930.00")), RefusalReason.PRICE_BAND, {}),
        (order(quantity=1_000_000), RefusalReason.FUNDS, {"opening_cash": Decimal(100_000)}),
        (order(quantity=101, side=Side.SELL, product=Product.DELIVERY), RefusalReason.HOLDINGS, {}),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_what_the_risk_check_refuses_is_in_the_book_as_rejected(
    wanted: Order, reason: RefusalReason, settings: dict[str, object]
) -> None:
    clock, exchange, account = build(**settings)
    rejected = exchange.place(account, wanted, tag="seen")
    assert (rejected.stage, rejected.reason) == (Stage.REJECTED, reason)
    assert rejected.message
    clock.pass_ns(MINUTE)
    assert exchange.find(account, rejected.order_id).filled == 0
    assert account.tagged("seen") == [rejected]


@pytest.mark.parametrize(
    ("since_monday_0900_ns", "is_open"),
    [
        (0, False),
        (15 * MINUTE - 1, False),
        (15 * MINUTE, True),
        (6 * HOUR + 30 * MINUTE - 1, True),
        (6 * HOUR + 30 * MINUTE, False),
        (4 * DAY + HOUR, True),
        (5 * DAY + HOUR, False),
        (6 * DAY + HOUR, False),
    ],
)
def test_the_market_trades_on_weekdays_from_0915_to_1530(since_monday_0900_ns: int, *, is_open: bool) -> None:
    clock = VirtualClock(epoch_start_ns=MONDAY_0900_IST_NS + since_monday_0900_ns)
    exchange = Exchange(clock, ExchangeSettings(always_open=False))
    placed = exchange.place(exchange.open_account("one"), order())
    assert exchange.is_open is is_open
    assert (placed.reason is RefusalReason.MARKET_CLOSED) is not is_open
    assert Exchange(clock).is_open


@pytest.mark.parametrize("act", ["cancel", "modify"])
def test_an_order_that_came_to_its_end_can_be_neither_cancelled_nor_changed(act: str) -> None:
    clock, exchange, account = build()
    done = exchange.place(account, order())
    clock.pass_ns(MINUTE)
    change: Callable[[str], SimOrder] = {
        "cancel": lambda order_id: exchange.cancel(account, order_id),
        "modify": lambda order_id: exchange.modify(account, order_id, quantity=20),
    }[act]
    with pytest.raises(Refusal) as caught:
        change(done.order_id)
    assert caught.value.reason is RefusalReason.FINISHED
    with pytest.raises(Refusal) as caught:
        change("26010599999999")
    assert caught.value.reason is RefusalReason.UNKNOWN_ORDER


def test_a_change_of_price_lets_a_resting_order_trade() -> None:
    clock, exchange, account = build(step_ns=HOUR)
    resting = exchange.place(account, order(price=last(exchange) - 20))
    clock.pass_ns(SECOND)
    exchange.modify(account, resting.order_id, price=last(exchange) + 1, quantity=25)
    clock.pass_ns(MINUTE)
    exchange.advance()
    assert (resting.stage, resting.filled) == (Stage.COMPLETE, 25)
    assert "modified" in [words for words, _ in resting.history]
    assert_adds_up(exchange)


@given(listing=st.sampled_from(LISTINGS), seed=st.integers(0, 10_000), looks=st.lists(st.integers(1, 500), max_size=20))
@example(listing=INDEX, seed=70, looks=[100] * 19)  # its price crosses one where the length of a step would change
def test_a_price_depends_on_the_seed_and_the_time_not_on_who_looked(
    listing: Listing, seed: int, looks: list[int]
) -> None:
    watched, alone = Walk(listing, seed), Walk(listing, seed)
    step = 0
    for gap in looks:
        step += gap
        watched.step_to(step)
        assert listing.low_paise <= watched.low_paise <= watched.price_paise <= watched.high_paise <= listing.high_paise
        assert watched.price_paise % listing.tick_paise == 0
    alone.step_to(step)
    assert (watched.price_paise, watched.volume) == (alone.price_paise, alone.volume)
