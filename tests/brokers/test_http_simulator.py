"""Both adapters against the embedded exchange, over real sockets: one suite, every rule for either broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from core.brokers import FyersAPI, UpstoxAPI, published_limits
from core.brokers.base import ANSWER_IS_IN
from core.brokers.oauth import code_in_answer, exchange_code, login_url
from core.brokers.simulator.faults import Fault, FaultKind
from core.brokers.simulator.server import Simulator, serve
from core.brokers.simulator.settings import SimulatorSettings
from core.clock import MILLISECOND, MINUTE, SECOND
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
    FINAL,
    APIConfig,
    APIProvider,
    BrokerOrder,
    Budget,
    HealthStatus,
    Order,
    OrderStatus,
    OrderType,
    Rate,
    Side,
)

API = FyersAPI | UpstoxAPI
SBIN = "NSE:SBIN-EQ"


@dataclass
class Account:
    simulator: Simulator
    api: API
    config: APIConfig
    tags: int = 0

    def tag(self) -> str:
        self.tags += 1
        return f"tag{self.tags}"

    @property
    def book(self) -> dict[str, BrokerOrder]:
        """By tag: what the broker itself has."""
        return {row.tag: row for row in self.simulator.books()[self.api.name]}

    async def until_final(self, broker_order_id: str) -> BrokerOrder:
        while True:
            row = await self.api.get_order(broker_order_id)
            if row.status in FINAL:
                return row
            await asyncio.sleep(0.15)

    async def near_price(self, side: Side, percent: int) -> Decimal:
        """A price on the tick, `percent` away from the last one on the side where it rests."""
        (quote,) = await self.api.get_market_data([SBIN])
        away = quote.price * (100 - side.sign * percent) / 100
        return (away / Decimal("0.05")).to_integral_value() * Decimal("0.05")


def account_config(provider: APIProvider, simulator: Simulator, **changes: Any) -> APIConfig:
    settings = simulator.settings
    fyers = provider is APIProvider.FYERS
    fields: dict[str, Any] = {
        "provider": provider,
        "budgets": published_limits(provider),
        "client_id": settings.fyers_client_id if fyers else settings.upstox_client_id,
        "api_secret": SecretStr(settings.fyers_secret if fyers else settings.upstox_secret),
        "access_token": SecretStr(settings.fyers_token if fyers else settings.upstox_token),
        "base_url": simulator.base_url,
        "simulated": True,
        "timeout_ms": 2_000,
    }
    return APIConfig(**(fields | changes))


@asynccontextmanager
async def opened(
    provider: APIProvider, settings: SimulatorSettings | None = None, **changes: Any
) -> AsyncIterator[Account]:
    adapter = FyersAPI if provider is APIProvider.FYERS else UpstoxAPI
    async with serve(settings or SimulatorSettings()) as simulator:
        config = account_config(provider, simulator, **changes)
        async with adapter(provider.value, config) as api:
            yield Account(simulator, api, config)


@pytest.fixture(params=[APIProvider.FYERS, APIProvider.UPSTOX])
def provider(request: pytest.FixtureRequest) -> APIProvider:
    broker: APIProvider = request.param
    return broker


# --- a day


async def test_a_day_from_log_in_to_log_out(provider: APIProvider):
    wide = (Budget("all", (Rate(1000, SECOND),)),)
    async with opened(provider, SimulatorSettings(fyers_limits=wide, upstox_limits=wide)) as account:
        api = account.api
        session = await api.authenticate()
        assert session.user_id
        assert await api.health_check() is HealthStatus.HEALTHY
        before = await api.get_portfolio()
        assert before.funds.available > 0
        assert SBIN in {holding.symbol for holding in before.holdings}
        quotes = await api.get_market_data(["NSE:RELIANCE-EQ", "NSE:NOBODY-EQ", "NSE:M&M-EQ", "NSE:NIFTY50-INDEX"])
        assert [quote.symbol for quote in quotes] == ["NSE:RELIANCE-EQ", "NSE:M&M-EQ", "NSE:NIFTY50-INDEX"]
        assert all(quote.price > 0 for quote in quotes)

        bought = await api.place_order(Order(symbol=SBIN, quantity=7), tag="market1")
        filled = await account.until_final(bought.broker_order_id)
        assert (filled.status, filled.filled_quantity, filled.tag) == (OrderStatus.FILLED, 7, "market1")
        fills = [fill for fill in await api.get_fills() if fill.broker_order_id == bought.broker_order_id]
        assert sum(fill.quantity for fill in fills) == 7
        assert sum(fill.quantity * fill.price for fill in fills) / 7 == pytest.approx(
            filled.average_price, abs=Decimal("0.01")
        )
        (position,) = [row for row in await api.get_positions() if row.symbol == SBIN]
        assert position.quantity == 7

        price = await account.near_price(Side.BUY, 3)
        resting = await api.place_order(
            Order(symbol=SBIN, quantity=5, order_type=OrderType.LIMIT, price=price), tag="limit1"
        )
        await asyncio.sleep(0.05)
        lower = price - Decimal("0.05")
        await api.modify_order(resting.broker_order_id, price=lower, quantity=4)
        await asyncio.sleep(0.05)
        changed = await api.get_order(resting.broker_order_id)
        assert (changed.price, changed.quantity, changed.order_type) == (lower, 4, OrderType.LIMIT)
        assert changed.status is OrderStatus.ACCEPTED
        await api.cancel_order(resting.broker_order_id)
        assert (await account.until_final(resting.broker_order_id)).status is OrderStatus.CANCELLED

        assert {row.tag for row in await api.get_orders()} == {"market1", "limit1"}
        (found,) = await api.find_orders_by_tag("limit1")
        assert found.broker_order_id == resting.broker_order_id
        assert await api.find_orders_by_tag("limit") == ()
        skew_ns = api.clock_skew_ns
        assert skew_ns is not None
        assert abs(skew_ns) < 2 * SECOND
        await api.logout()
        report = account.simulator.referee_reports()[provider.value]
        assert (report.refused, report.duplicate_tags) == (0, ())


@pytest.mark.parametrize("order_type", [OrderType.SL, OrderType.SL_M])
async def test_stop_orders_rest_and_can_be_taken_back(provider: APIProvider, order_type: OrderType):
    async with opened(provider) as account:
        trigger = await account.near_price(Side.SELL, 4)  # above the market: a stop to buy
        price = trigger + 1 if order_type is OrderType.SL else None
        order = Order(symbol=SBIN, quantity=2, order_type=order_type, price=price, trigger_price=trigger)
        ack = await account.api.place_order(order, tag="stop1")
        await asyncio.sleep(0.05)
        row = await account.api.get_order(ack.broker_order_id)
        assert (row.order_type, row.trigger_price, row.status) == (order_type, trigger, OrderStatus.ACCEPTED)
        await account.api.cancel_order(ack.broker_order_id)
        assert (await account.until_final(ack.broker_order_id)).status is OrderStatus.CANCELLED


async def test_a_code_fetched_by_a_browser_becomes_a_token_that_works(provider: APIProvider):
    import aiohttp

    redirect = "http://127.0.0.1:9/"
    async with opened(provider, access_token=SecretStr("")) as account, aiohttp.ClientSession() as browser:
        url = login_url(account.config, redirect_uri=redirect, state="st4te")
        async with browser.get(url, allow_redirects=False) as sent_back:
            assert sent_back.status in {302, 303, 307}
            code = code_in_answer(sent_back.headers["Location"], state="st4te")
        token = await exchange_code(account.config, code, redirect_uri=redirect)
        with pytest.raises(AuthenticationFailed):
            await exchange_code(account.config, code, redirect_uri=redirect)  # a code works once
        fresh = account_config(provider, account.simulator, access_token=token.access_token)
        async with type(account.api)(provider.value, fresh) as api:
            assert (await api.authenticate()).user_id


# --- refusals


@pytest.mark.parametrize("call", ["get_orders", "get_positions", "get_portfolio", "health_check"])
async def test_a_wrong_token_is_told_on_every_path(provider: APIProvider, call: str):
    async with opened(provider, access_token=SecretStr("wrong-token")) as account:
        with pytest.raises(AuthenticationFailed) as raised:
            await getattr(account.api, call)()
        assert raised.value.elsewhere
        assert "wrong-token" not in raised.value.evidence
        with pytest.raises(AuthenticationFailed):
            await account.api.get_market_data([SBIN])


async def test_an_unknown_order_is_told_by_its_code(provider: APIProvider):
    async with opened(provider) as account:
        for call in (account.api.get_order, account.api.cancel_order):
            with pytest.raises(OrderRefused) as raised:
                await call("26010500009999")
            assert (raised.value.code, raised.value.elsewhere) == ("unknown_order", False)


async def test_a_finished_order_cannot_be_cancelled(provider: APIProvider):
    async with opened(provider) as account:
        ack = await account.api.place_order(Order(symbol=SBIN, quantity=1), tag="m1")
        await account.until_final(ack.broker_order_id)
        with pytest.raises(OrderRefused) as raised:
            await account.api.cancel_order(ack.broker_order_id)
        assert not isinstance(raised.value, RateLimited | AuthenticationFailed)
        assert raised.value.elsewhere is False


async def test_a_burst_beyond_the_limit_is_refused_for_the_rate_and_the_rest_is_accepted(provider: APIProvider):
    async with opened(provider) as account:
        orders = [account.api.place_order(Order(symbol=SBIN, quantity=1), tag=account.tag()) for _ in range(25)]
        outcomes = await asyncio.gather(*orders, return_exceptions=True)
        accepted = [one for one in outcomes if not isinstance(one, BaseException)]
        refused = [one for one in outcomes if isinstance(one, BaseException)]
        assert len(accepted) >= 10
        assert refused
        assert all(isinstance(one, RateLimited) and not isinstance(one, BlockedForDay) for one in refused)
        assert len(account.book) == len(accepted)
        if provider is APIProvider.FYERS:
            # "Retry-After: 1" is about the second: it closes no minute
            assert {one.window_ns for one in refused if isinstance(one, RateLimited)} == {SECOND}


async def test_fyers_closes_a_minute_when_it_gives_no_advice():
    async with opened(APIProvider.FYERS, SimulatorSettings(retry_after=False)) as account:
        account.simulator.set_fault(FaultKind.STORM_429, 1)
        with pytest.raises(RateLimited) as raised:
            await account.api.get_orders()
        assert (raised.value.retry_in_ns, raised.value.window_ns) == (MINUTE, MINUTE)


# --- faults: what the operator is told, and what the broker has


@dataclass(frozen=True)
class Case:
    kind: FaultKind
    expected: type[BrokerError] | None
    accepted: bool
    operation: str = "place_order"


CASES = [
    Case(FaultKind.SLOW, None, accepted=True),
    Case(FaultKind.SLOW_BODY, None, accepted=True),
    Case(FaultKind.CLOCK_SKEW, None, accepted=True),
    Case(FaultKind.RESET_BEFORE_READ, OrderOutcomeUnknown, accepted=False),
    Case(FaultKind.ERROR_BEFORE_ACCEPT, OrderOutcomeUnknown, accepted=False),
    Case(FaultKind.RESET_AFTER_ACCEPT, OrderOutcomeUnknown, accepted=True),
    Case(FaultKind.ERROR_AFTER_ACCEPT, OrderOutcomeUnknown, accepted=True),
    Case(FaultKind.HANG, OrderOutcomeUnknown, accepted=True),
    Case(FaultKind.BAD_JSON, OrderOutcomeUnknown, accepted=True),
    Case(FaultKind.WRONG_TYPE, OrderOutcomeUnknown, accepted=True),
    Case(FaultKind.UNACKNOWLEDGED, OrderOutcomeUnknown, accepted=True),
    Case(FaultKind.TOKEN_EXPIRED, AuthenticationFailed, accepted=False),
    Case(FaultKind.STORM_429, RateLimited, accepted=False),
    Case(FaultKind.SOFT_429, RateLimited, accepted=False),
    Case(FaultKind.FIREWALL_429, RateLimited, accepted=False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.value)
async def test_every_fault_is_told_for_what_it_is_and_unknown_orders_are_found_by_their_tag(
    provider: APIProvider, case: Case
):
    fault = Fault(kind=case.kind, count=1, operations=frozenset({case.operation}), delay_ns=50 * MILLISECOND)
    async with opened(provider, SimulatorSettings(faults=(fault,)), timeout_ms=400) as account:
        order = Order(symbol=SBIN, quantity=1)
        if case.expected is None:
            ack = await account.api.place_order(order, tag="faulty")
            assert ack.broker_order_id == account.book["faulty"].broker_order_id
        else:
            with pytest.raises(BrokerError) as raised:
                await account.api.place_order(order, tag="faulty")
            assert type(raised.value) is case.expected, raised.value
            assert str(raised.value).isprintable()
        assert ("faulty" in account.book) is case.accepted
        assert len(await account.api.find_orders_by_tag("faulty")) == int(case.accepted)
        assert account.simulator.referee_reports()[provider.value].duplicate_tags == ()


async def test_an_order_held_back_on_the_way_turns_up_within_the_time_after_which_absence_counts(provider: APIProvider):
    late = Fault(kind=FaultKind.LATE, count=1, operations=frozenset({"place_order"}), delay_ns=600 * MILLISECOND)
    async with opened(provider, SimulatorSettings(faults=(late,)), timeout_ms=200) as account:
        with pytest.raises(OrderOutcomeUnknown):
            await account.api.place_order(Order(symbol=SBIN, quantity=1), tag="late1")
        assert await account.api.find_orders_by_tag("late1") == ()  # absent now proves nothing
        await asyncio.sleep(0.6)
        assert len(await account.api.find_orders_by_tag("late1")) == 1
        assert account.api.absence_proven_after_ns > late.delay_ns


async def test_a_broker_that_is_down_gets_nothing_and_one_that_comes_back_is_used_again(provider: APIProvider):
    async with opened(provider, timeout_ms=1_000) as account:
        await account.api.health_check()
        account.simulator.set_fault(FaultKind.DOWN, 1)
        await asyncio.sleep(0.05)
        with pytest.raises(BrokerError) as raised:
            await account.api.place_order(Order(symbol=SBIN, quantity=1), tag="down1")
        assert type(raised.value) is OrderNotSent
        account.simulator.set_fault(FaultKind.DOWN, 0)
        await asyncio.sleep(0.05)
        await account.api.place_order(Order(symbol=SBIN, quantity=1), tag="up1")
        assert set(account.book) == {"up1"}


async def test_a_maintenance_window_at_upstox_is_a_refusal_that_others_may_take():
    async with opened(APIProvider.UPSTOX) as account:
        account.simulator.set_fault(FaultKind.MAINTENANCE, 1)
        with pytest.raises(OrderRefused, match="closed from 00:00") as raised:
            await account.api.place_order(Order(symbol=SBIN, quantity=1), tag="m1")
        assert raised.value.elsewhere


async def test_a_maintenance_window_at_fyers_is_a_503_and_therefore_unknown():
    async with opened(APIProvider.FYERS) as account:
        account.simulator.set_fault(FaultKind.MAINTENANCE, 1)
        with pytest.raises(OrderOutcomeUnknown):
            await account.api.place_order(Order(symbol=SBIN, quantity=1), tag="m1")
        assert account.book == {}


async def test_the_skew_of_a_brokers_clock_is_seen(provider: APIProvider):
    skewed = Fault(kind=FaultKind.CLOCK_SKEW, rate=1.0, delay_ns=90 * SECOND)
    async with opened(provider, SimulatorSettings(faults=(skewed,))) as account:
        await account.api.health_check()
        skew_ns = account.api.clock_skew_ns
        assert skew_ns is not None
        assert abs(skew_ns - 90 * SECOND) < 2 * SECOND


async def test_a_book_says_that_its_answer_is_there_before_it_is_read(provider: APIProvider):
    async with opened(provider) as account:
        heard: list[str] = []
        ANSWER_IS_IN.set(lambda: heard.append("book"))
        await account.api.place_order(Order(symbol=SBIN, quantity=1), tag="long1")
        await account.api.get_positions()
        assert heard == [], "short ones are read at one go"
        await account.api.get_orders()
        assert heard == ["book"]
