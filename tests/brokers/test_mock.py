"""MockTradingAPI: a broker in this process whose failures mean what a real broker's mean."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brokers.base import TradingAPI
from core.brokers.mock import MockTradingAPI
from core.brokers.simulator.exchange import Exchange
from core.brokers.simulator.faults import FaultKind
from core.clock import DAY, MILLISECOND, MINUTE, SECOND, Clock, SystemClock, VirtualClock
from core.errors import (
    AuthenticationFailed,
    BlockedForDay,
    BrokerError,
    ConfigError,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    RateLimited,
)
from core.models import APIConfig, APIProvider, HealthStatus, Operation, Order, OrderStatus, OrderType, Rate, Side

SBIN = "NSE:SBIN-EQ"
ORDER = Order(symbol=SBIN, quantity=10)


def make(clock: Clock, response_time: float = 0.1, failure_rate: float = 0.0, **more: object) -> MockTradingAPI:
    provider = more.pop("provider", APIProvider.MOCK)
    limits = more.pop("rate_limits", {"requests_per_second": 100_000})
    config = APIConfig(provider=provider, rate_limits=limits, timeout_ms=2_000)  # type: ignore[arg-type]
    return MockTradingAPI("mock", config, response_time, failure_rate, clock=clock, **more)  # type: ignore[arg-type]


def tags(broker: MockTradingAPI) -> list[str]:
    return [row.tag for row in broker.books()]


def test_it_is_a_trading_api(clock: VirtualClock) -> None:
    assert isinstance(make(clock), TradingAPI)


@pytest.mark.parametrize(
    ("kind", "error", "in_book"),
    [
        ("down", OrderNotSent, False),
        ("reset_before_read", OrderOutcomeUnknown, False),
        ("error_before_accept", OrderOutcomeUnknown, False),
        ("reset_after_accept", OrderOutcomeUnknown, True),
        ("error_after_accept", OrderOutcomeUnknown, True),
        ("bad_json", OrderOutcomeUnknown, True),
        ("wrong_type", OrderOutcomeUnknown, True),
        ("unacknowledged", OrderOutcomeUnknown, True),
        ("hang", OrderOutcomeUnknown, True),
        ("late", OrderOutcomeUnknown, True),
        ("storm_429", RateLimited, False),
        ("soft_429", RateLimited, False),
        ("firewall_429", RateLimited, False),
        ("token_expired", AuthenticationFailed, False),
        ("maintenance", OrderRefused, False),
        ("wrong_ip", OrderRefused, False),
        ("slow", None, True),
        ("slow_body", None, True),
        ("clock_skew", None, True),
    ],
)
def test_each_fault_tells_what_is_known_and_leaves_the_book_as_it_says(
    kind: str, error: type[BrokerError] | None, *, in_book: bool
) -> None:
    clock = VirtualClock()
    broker = make(clock, faults={kind: 1})

    async def story() -> None:
        if error is None:
            await broker.place_order(ORDER, tag="t1")
        else:
            with pytest.raises(BrokerError) as caught:
                await broker.place_order(ORDER, tag="t1")
            assert type(caught.value) is error
            assert caught.value.provider == "mock"
        await clock.sleep_until_ns(clock.now_ns() + broker.absence_proven_after_ns)
        assert tags(broker) == (["t1"] if in_book else [])
        assert (await broker.find_orders_by_tag("t1") != ()) is in_book  # and the fault has passed

    clock.run(story)


KINDS = st.lists(st.sampled_from([None, *FaultKind]), min_size=1, max_size=12)


@given(
    kinds=KINDS,
    seed=st.integers(0, 1000),
    gap_ns=st.sampled_from([0, 50 * MILLISECOND, SECOND]),
    response_time=st.sampled_from([0.0, 0.1, 3.0, 60.0]),
)
def test_whatever_happens_what_a_caller_is_told_is_true(
    kinds: list[FaultKind | None], seed: int, gap_ns: int, response_time: float
) -> None:
    """Accepted is in the book, not sent and refused are not, once; unknown is settled when absence counts as proven."""
    clock = VirtualClock()
    broker = make(clock, response_time, rng=Random(seed), rate_limits={"requests_per_second": 4})
    told: dict[str, str] = {}

    async def send(tag: str) -> None:
        try:
            await broker.place_order(ORDER, tag=tag)
            told[tag] = "accepted"
        except OrderOutcomeUnknown as error:
            told[tag] = "unknown"
            await clock.sleep_until_ns(clock.now_ns() + max(error.arrives_within_ns, broker.absence_proven_after_ns))
            settled[tag] = tag in tags(broker)
        except (OrderNotSent, OrderRefused):
            told[tag] = "not accepted"

    settled: dict[str, bool] = {}

    async def story() -> None:
        async with anyio.create_task_group() as tasks:
            for number, kind in enumerate(kinds):
                if kind is not None:
                    broker.set_fault(kind, 1)
                tasks.start_soon(send, f"t{number}")
                await clock.sleep_until_ns(clock.now_ns() + gap_ns)
        await clock.sleep_until_ns(clock.now_ns() + MINUTE)

    clock.run(story)
    book = tags(broker)
    assert len(set(book)) == len(book)
    assert len(told) == len(kinds)
    for tag, words in told.items():
        assert (tag in book) == {"accepted": True, "not accepted": False, "unknown": settled.get(tag)}[words]
    assert broker.referee_report().duplicate_tags == ()
    assert all(most <= limit for _, most, limit in broker.referee_report().fullest)


async def test_an_order_that_was_late_is_absent_first_and_there_before_absence_counts_as_proven(
    clock: VirtualClock,
) -> None:
    broker = make(clock, faults={"late": 1})
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            with pytest.raises(OrderOutcomeUnknown) as caught:
                await broker.place_order(ORDER, tag="t1")
            assert caught.value.arrives_within_ns == broker.absence_proven_after_ns

        tasks.start_soon(send)
        await clock.advance_ns(2 * SECOND)
        assert tags(broker) == []
        await clock.advance_ns(broker.absence_proven_after_ns)
        assert tags(broker) == ["t1"]


async def test_a_call_given_up_on_its_way_still_arrives(clock: VirtualClock) -> None:
    broker = make(clock)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: broker.place_order(ORDER, tag="gone"))
            await clock.advance_ns(MILLISECOND)
            scope.cancel()
    assert tags(broker) == []
    await clock.advance_ns(SECOND)
    assert tags(broker) == ["gone"]
    assert broker.referee_report().accepted == 1


def test_faults_by_rate_strike_their_share_and_a_seed_repeats_them() -> None:
    def outcomes(seed: int) -> list[str]:
        clock = VirtualClock()
        broker = make(clock, 0.0, rng=Random(seed))
        broker.set_fault("reset_after_accept", 0.2, operations=["place_order"])
        seen: list[str] = []

        async def story() -> None:
            for number in range(500):
                try:
                    await broker.place_order(ORDER, tag=f"t{number}")
                    seen.append("ok")
                except OrderOutcomeUnknown:
                    seen.append("unknown")
                await broker.get_positions()
            assert tags(broker) == [f"t{number}" for number in range(500)]

        clock.run(story)
        return seen

    assert 60 <= outcomes(1).count("unknown") <= 140
    assert outcomes(1) == outcomes(1) != outcomes(2)


def test_failure_rate_is_the_share_that_never_leaves() -> None:
    clock = VirtualClock()
    broker = make(clock, 0.01, 0.3)

    async def story() -> None:
        failed = 0
        for number in range(400):
            try:
                await broker.place_order(ORDER, tag=f"t{number}")
            except OrderNotSent:
                failed += 1
        assert 80 <= failed <= 160
        assert len(broker.books()) == 400 - failed
        assert broker.request_count == 400

    clock.run(story)


def test_latency_has_a_floor_and_the_mean_that_was_asked_for() -> None:
    clock = VirtualClock()
    broker = make(clock, 0.1)
    took_ns: list[int] = []

    async def story() -> None:
        for _ in range(2000):
            before_ns = clock.now_ns()
            await broker.get_positions()
            took_ns.append(clock.now_ns() - before_ns)

    clock.run(story)
    assert min(took_ns) >= 40 * MILLISECOND
    assert sum(took_ns) / len(took_ns) == pytest.approx(100 * MILLISECOND, rel=0.03)
    assert max(took_ns) > 140 * MILLISECOND


async def test_above_its_limits_it_refuses_and_the_refused_order_is_nowhere(clock: VirtualClock) -> None:
    broker = make(clock, 0.0, rate_limits={"requests_per_second": 10, "requests_per_minute": 15})
    refused: list[RateLimited] = []
    for number in range(12):
        try:
            await broker.place_order(ORDER, tag=f"t{number}")
        except RateLimited as error:
            refused.append(error)
    assert tags(broker) == [f"t{number}" for number in range(10)]
    assert [(error.retry_in_ns, error.elsewhere) for error in refused] == [(SECOND, True)] * 2
    report = broker.referee_report()
    assert report.fullest == (("10/s", 10, 10), ("15/min", 10, 15))
    assert (report.accepted, report.refused, report.breached) == (10, 2, 1)


async def test_as_fyers_it_blocks_for_the_day_after_the_fourth_breached_minute(clock: VirtualClock) -> None:
    broker = make(clock, 0.0, provider=APIProvider.FYERS, rate_limits={"requests_per_minute": 2})
    for _ in range(4):
        for _ in range(2):
            await broker.get_orders()
        with pytest.raises(RateLimited) as caught:
            await broker.get_orders()
        assert type(caught.value) is RateLimited
        await clock.advance_ns(MINUTE)
    with pytest.raises(BlockedForDay) as blocked:
        await broker.get_orders()
    assert blocked.value.retry_in_ns is not None
    await clock.advance_ns(blocked.value.retry_in_ns)
    assert await broker.get_orders() == ()


async def test_as_upstox_it_advises_nothing(clock: VirtualClock) -> None:
    broker = make(clock, 0.0, provider=APIProvider.UPSTOX, rate_limits={"requests_per_minute": 1})
    await broker.get_orders()
    with pytest.raises(RateLimited) as caught:
        await broker.get_orders()
    assert (caught.value.retry_in_ns, caught.value.window_ns) == (None, None)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Order(symbol="NSE:NOSUCH-EQ", quantity=1), "unknown_symbol"),
        (Order(symbol=SBIN, quantity=1, order_type=OrderType.LIMIT, price=Decimal("820.01")), "tick"),
        (Order(symbol=SBIN, quantity=1, order_type=OrderType.LIMIT, price=Decimal("1.00")), "price_band"),
        (Order(symbol="NSE:SBIN26DECFUT", quantity=1), "lot"),
    ],
)
async def test_a_no_to_the_order_itself_is_a_no_everywhere(clock: VirtualClock, wanted: Order, code: str) -> None:
    broker = make(clock, 0.0)
    with pytest.raises(OrderRefused) as caught:
        await broker.place_order(wanted, tag="t1")
    assert (caught.value.code, caught.value.elsewhere) == (code, False)
    assert [row.status for row in broker.books()] in ([], [OrderStatus.REJECTED])


async def test_an_order_lives_through_its_life(clock: VirtualClock) -> None:
    broker = make(clock, 0.0)
    quote = (await broker.get_market_data([SBIN]))[0]
    limit = Order(symbol=SBIN, quantity=10, side=Side.BUY, order_type=OrderType.LIMIT, price=quote.price - 30)
    ack = await broker.place_order(limit, tag="life")
    await clock.advance_ns(SECOND)
    assert (await broker.get_order(ack.broker_order_id)).status is OrderStatus.ACCEPTED
    await broker.modify_order(ack.broker_order_id, price=quote.price - 20, quantity=5)
    await clock.advance_ns(SECOND)
    changed = await broker.get_order(ack.broker_order_id)
    assert (changed.price, changed.quantity, changed.tag) == (quote.price - 20, 5, "life")
    before = (await broker.get_portfolio()).funds
    assert before.used > 0
    await broker.cancel_order(ack.broker_order_id)
    await clock.advance_ns(SECOND)
    assert (await broker.find_orders_by_tag("life"))[0].status is OrderStatus.CANCELLED
    assert (await broker.get_portfolio()).funds.used == 0
    with pytest.raises(OrderRefused) as caught:
        await broker.cancel_order(ack.broker_order_id)
    assert caught.value.code == "finished"
    with pytest.raises(OrderRefused) as caught:
        await broker.get_order("1")
    assert caught.value.code == "unknown_order"


async def test_a_fill_shows_in_positions_and_funds(clock: VirtualClock) -> None:
    broker = make(clock, 0.0)
    await broker.place_order(ORDER, tag="buy")
    await clock.advance_ns(MINUTE)
    position = (await broker.get_positions())[0]
    row = broker.books()[0]
    assert (position.quantity, position.average_price) == (10, row.average_price)
    assert row.status is OrderStatus.FILLED
    portfolio = await broker.get_portfolio()
    assert portfolio.funds.used == (row.average_price * 10 * Decimal("0.2")).quantize(Decimal("0.01"))
    assert {holding.symbol for holding in portfolio.holdings} >= {SBIN}


async def test_brokers_that_share_an_exchange_see_one_price_and_keep_their_own_books(clock: VirtualClock) -> None:
    exchange = Exchange(clock)
    config = APIConfig(provider=APIProvider.MOCK, rate_limits={"requests_per_second": 100})
    one, two = (MockTradingAPI(name, config, 0.0, clock=clock, exchange=exchange) for name in ("one", "two"))
    await one.place_order(ORDER, tag="t1")
    assert (tags(one), tags(two)) == (["t1"], [])
    assert await one.get_market_data([SBIN]) == await two.get_market_data([SBIN])


@pytest.mark.parametrize(("provider", "cost"), [(APIProvider.FYERS, 3), (APIProvider.UPSTOX, 1), (APIProvider.MOCK, 3)])
async def test_quotes_cost_a_request_for_as_many_symbols_as_the_broker_takes(
    clock: VirtualClock, provider: APIProvider, cost: int
) -> None:
    broker = make(clock, 0.0, provider=provider, rate_limits={"requests_per_second": cost})
    symbols = [SBIN] * 101
    assert broker.cost(Operation.GET_MARKET_DATA, symbols=len(symbols)) == cost
    assert len(await broker.get_market_data(symbols)) == 101
    with pytest.raises(RateLimited):
        await broker.get_positions()


async def test_it_runs_on_the_machines_own_clock() -> None:
    broker = make(SystemClock(), 0.001)
    assert (await broker.authenticate()).provider == "mock"
    assert await broker.health_check() is HealthStatus.HEALTHY
    async with anyio.create_task_group() as tasks:
        for number in range(50):

            async def place(tag: str) -> None:
                await broker.place_order(ORDER, tag=tag)

            tasks.start_soon(place, f"t{number}")
    assert sorted(tags(broker)) == sorted(f"t{number}" for number in range(50))
    await broker.logout()
    assert broker.request_count == 53


@pytest.mark.parametrize(
    "arguments",
    [
        {"response_time": -0.1},
        {"response_time": float("nan")},
        {"failure_rate": 1.1},
        {"jitter": -1.0},
        {"faults": {"nonsense": 1}},
        {"faults": {"down": 1.5}},
        {"faults": {"down": -1}},
        {"faults": {"down": True}},
    ],
)
def test_figures_that_make_no_sense_are_refused_in_one_line(clock: VirtualClock, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        make(clock, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("per_second", "some_refused"), [(4, True), (3, False)])
def test_sends_paced_at_the_limit_are_refused_now_and_then_because_arrivals_are_what_counts(
    per_second: int, *, some_refused: bool
) -> None:
    clock = VirtualClock()
    config = APIConfig(provider=APIProvider.MOCK, rates=(Rate(4, SECOND), Rate(200, DAY)))
    broker = MockTradingAPI("mock", config, 0.1, clock=clock)
    refused = 0

    async def send(tag: str) -> None:
        nonlocal refused
        try:
            await broker.place_order(ORDER, tag=tag)
        except RateLimited:
            refused += 1

    async def story() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                await clock.sleep_until_ns(clock.now_ns() + SECOND // per_second)
                tasks.start_soon(send, f"t{number}")

    clock.run(story)
    assert (refused > 0) is some_refused
    assert broker.referee_report().refused == refused
    assert len(broker.books()) == 200 - refused


def test_a_fault_is_felt_where_it_changed_an_answer_and_struck_wherever_it_was_drawn(clock: VirtualClock) -> None:
    async def main() -> None:
        broker = make(clock)
        broker.set_fault("wrong_ip", 2)
        await broker.get_orders()  # reads are taken from any address
        with pytest.raises(OrderRefused):
            await broker.place_order(ORDER, tag="a")
        assert broker.faults.struck == {FaultKind.WRONG_IP: 2}
        assert broker.felt == {FaultKind.WRONG_IP: 1}
        broker.set_fault("hang", 1)
        with anyio.move_on_after(0):  # nobody waits for what would have hung
            await broker.get_orders()
        assert FaultKind.HANG not in broker.felt

    clock.run(main)


async def test_what_ended_long_ago_leaves_the_book_once_and_what_rests_stays(clock: VirtualClock) -> None:
    broker = make(clock, 0.0)
    now = Order(symbol="NSE:SBIN-EQ", quantity=1)
    rests = Order(symbol="NSE:SBIN-EQ", quantity=1, order_type="LIMIT", price="780")
    for number, order in enumerate((now, rests, now)):
        await broker.place_order(order, tag=f"t{number}")
    await clock.advance_ns(60 * SECOND)
    await broker.place_order(now, tag="t3")
    await clock.advance_ns(10 * SECOND)
    before = broker.books()
    gone = broker.archive(clock.epoch_ns() - 30 * SECOND)
    assert [row.tag for row in gone] == ["t0", "t2"]
    assert set(gone) | set(broker.books()) == set(before)
    assert [row.tag for row in broker.books()] == ["t1", "t3"]
    assert await broker.find_orders_by_tag("t0") == ()
    assert broker.archive(clock.epoch_ns() - 30 * SECOND) == ()
