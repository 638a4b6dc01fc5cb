"""The whole of core as one thing: opened, commanded, looked at and closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from core import ConfigError, Operation, Order, OrderStatus, VirtualClock, open_router
from core.brokers import published_limits
from core.clock import SECOND
from core.config import Settings, simulated_settings
from core.errors import EngineHalted
from core.models import (
    APIConfig,
    APIProvider,
    CancelAllOrders,
    DrainProvider,
    HaltTrading,
    HealthStatus,
    OrderType,
    ResumeProvider,
    ResumeTrading,
    SetRateCap,
    SetReadCache,
    SetRouteWeight,
    StartScenario,
    SubmitOrder,
    UndoSuggestion,
)
from core.router import LocalRouter
from core.stress.background import play_background

ORDER = Order(symbol="NSE:SBIN-EQ", quantity=1)


def on_virtual_time(story: Callable[[LocalRouter, VirtualClock], Awaitable[None]], settings: Settings) -> VirtualClock:
    clock = VirtualClock()

    async def main() -> None:
        async with open_router(settings, clock=clock) as router:
            await story(router, clock)

    clock.run(main)
    return clock


def settings(store: Path | None = None, seed: int = 1) -> Settings:
    return simulated_settings(published_limits, seed=seed, store=store)


def test_two_minutes_of_the_background_flow_passes_no_limit_and_loses_no_order() -> None:
    async def story(router: LocalRouter, clock: VirtualClock) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(play_background, router, 1)
            await clock.sleep_until_ns(clock.now_ns() + 120 * SECOND)
            tasks.cancel_scope.cancel()
        snapshot = router.snapshot()
        reports = await router.referee_reports()
        assert sum(report.refused for report in reports) == snapshot.counters.refusals == 0
        assert not [report for report in reports if report.duplicate_tags]
        assert snapshot.counters.requests > 200
        assert snapshot.unknown_orders == 0
        assert sum(broker.traffic_share for broker in snapshot.brokers) == pytest.approx(1)
        assert snapshot.efficiency is not None
        assert snapshot.efficiency > 0.9
        books = await router.broker_books()
        known = {order.broker_order_id for order in snapshot.orders}
        latest = [row for book in books.values() for row in sorted(book, key=lambda row: row.epoch_ns)[-5:]]
        assert {row.broker_order_id for row in latest} <= known

    on_virtual_time(story, settings())


def test_a_seed_repeats_a_run_to_the_digit() -> None:
    def run() -> list[object]:
        seen: list[object] = []

        async def story(router: LocalRouter, clock: VirtualClock) -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(play_background, router, 7)
                await clock.sleep_until_ns(clock.now_ns() + 30 * SECOND)
                tasks.cancel_scope.cancel()
            snapshot = router.snapshot()
            seen.extend((snapshot.brokers, snapshot.orders, snapshot.counters, snapshot.throughput_history))

        on_virtual_time(story, settings(seed=7))
        return seen

    assert run() == run()


def test_every_adjusting_command_shows_in_a_later_snapshot() -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        assert "drained" in await router.send(DrainProvider("fyers"))
        assert router.snapshot().brokers[0].health is HealthStatus.DRAINED
        await router.send(ResumeProvider("fyers"))
        assert router.snapshot().brokers[0].health is HealthStatus.UNKNOWN
        assert "50%" in await router.send(SetRateCap("fyers", 0.5))
        assert router.manager.limiter("fyers").cap == 0.5
        await router.send(SetRouteWeight("upstox", "reads", 2.0))
        assert router.manager.levers().weights == {("upstox", "reads"): 2.0}
        await router.send(SetReadCache("get_positions", 2.0))
        assert router.manager.levers().caches == {"get_market_data": 0.25, "get_positions": 2.0}

    on_virtual_time(story, settings())


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (DrainProvider("nobody"), "nobody"),
        (SetRateCap("fyers", 0.0), "0.0"),
        (SetRateCap("fyers", 1.5), "1.5"),
        (SetRouteWeight("fyers", "reads", -1.0), "weight"),
        (SetReadCache("place_order", 1.0), "place_order"),
        (UndoSuggestion("nothing"), "nothing to undo"),
        (StartScenario("users"), "not known here"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_one_line(command: object, says: str) -> None:
    async def story(router: LocalRouter, _: VirtualClock) -> None:
        with pytest.raises(ValueError, match=says) as caught:
            await router.send(command)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    on_virtual_time(story, settings())


def test_the_kill_switch_stops_everything_until_it_is_lifted_and_survives_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "headroom.db"

    async def halt(router: LocalRouter, _: VirtualClock) -> None:
        resting = Order(
            symbol="NSE:SBIN-EQ", quantity=1, order_type=OrderType.LIMIT, price="780", client_order_id="rests"
        )
        await router.execute(Operation.GET_MARKET_DATA, symbols=["NSE:SBIN-EQ"])
        await router.place_order(resting)
        assert "halted" in await router.send(HaltTrading("the screen smokes"))
        assert router.snapshot().halted == "the screen smokes"
        with pytest.raises(EngineHalted, match="the screen smokes"):
            await router.send(SubmitOrder(ORDER))
        assert (await router.engine.order("rests")).status in {OrderStatus.CANCELLED, OrderStatus.FILLED}

    async def lift(router: LocalRouter, _: VirtualClock) -> None:
        assert router.snapshot().halted == "the screen smokes"
        await router.send(ResumeTrading("the operator"))
        assert "DENIED" not in await router.send(SubmitOrder(ORDER))
        assert "nothing rests" in await router.send(CancelAllOrders())

    on_virtual_time(halt, settings(store))
    on_virtual_time(lift, settings(store))


def test_the_long_windows_survive_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "headroom.db"

    def used(router: LocalRouter) -> int:
        return next(window.used for window in router.snapshot().brokers[0].windows if str(window.rate) == "100000/day")

    counted: list[int] = []

    async def first(router: LocalRouter, clock: VirtualClock) -> None:
        router.manager.drain("upstox")
        for _ in range(20):
            await router.execute(Operation.GET_POSITIONS)
        await clock.sleep_until_ns(clock.now_ns() + 10 * SECOND)
        counted.append(used(router))

    async def second(router: LocalRouter, _: VirtualClock) -> None:
        counted.append(used(router))

    on_virtual_time(first, settings(store))
    on_virtual_time(second, settings(store))
    assert counted[0] >= 20
    assert counted[0] <= counted[1] <= counted[0] + 4, "all that a broker still counts, and the requests of the start"


def test_after_a_crash_what_nobody_saw_counts_as_used_and_the_operator_is_told(tmp_path: Path) -> None:
    store, crashed, again = (tmp_path / name for name in ("headroom.db", "crashed.db", "again.db"))

    def used(router: LocalRouter) -> int:
        return next(window.used for window in router.snapshot().brokers[0].windows if str(window.rate) == "100000/day")

    async def ask(router: LocalRouter, times: int) -> None:
        router.manager.drain("upstox")
        for _ in range(times):
            await router.execute(Operation.GET_POSITIONS)

    async def first(router: LocalRouter, _: VirtualClock) -> None:
        await ask(router, 30)
        await router.store.backup(crashed)  # the file as a crash in this moment leaves it
        counted.append(used(router))

    async def second(router: LocalRouter, clock: VirtualClock) -> None:
        await clock.sleep_until_ns(clock.now_ns() + 11 * SECOND // 10)
        assert [row.kind for row in router.snapshot().incidents].count("crash") == 2
        counted.append(used(router))
        await ask(router, 5)  # before anything is saved again
        await router.store.backup(again)

    async def third(router: LocalRouter, _: VirtualClock) -> None:
        counted.append(used(router))

    counted: list[int] = []
    on_virtual_time(first, settings(store))
    on_virtual_time(second, settings(crashed))
    on_virtual_time(third, settings(again))
    blind = 10 * 6  # five seconds of 10/s, whatever their beginning
    assert counted[0] <= counted[1] <= counted[0] + blind + 4
    assert counted[1] + 5 <= counted[2] <= counted[1] + 5 + blind + 4


def test_two_routers_that_share_an_account_s_counts_keep_its_limits_together_and_a_restart_adds_nothing(
    tmp_path: Path,
) -> None:
    limits = {"requests_per_second": 5, "requests_per_day": 100}
    account = APIConfig(
        provider=APIProvider.FYERS, rate_limits=limits, simulated=True, shared_counts=tmp_path / "fyers.ring"
    )
    clock = VirtualClock()
    store = tmp_path / "headroom.db"
    sent_ns: list[int] = []

    async def trade(router: LocalRouter) -> None:
        for _ in range(10):
            await router.execute(Operation.GET_POSITIONS, deadline_ns=clock.now_ns() + 60 * SECOND)
            sent_ns.append(clock.now_ns())
            await clock.sleep_until_ns(clock.now_ns() + SECOND // 100)

    def used(router: LocalRouter) -> int:
        return router.snapshot().brokers[0].windows[1].used

    async def main() -> None:
        one = settings(store).model_copy(update={"brokers": {"fyers": account}})
        async with open_router(one, clock=clock) as first:
            async with open_router(one.model_copy(update={"store": None}), clock=clock) as second:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(trade, first)
                    tasks.start_soon(trade, second)
                counted = used(first)
                assert counted == used(second) >= len(sent_ns)
            await clock.sleep_until_ns(clock.now_ns() + 10 * SECOND)
            counted = used(first)
        async with open_router(one, clock=clock) as again:
            assert used(again) - counted <= 1

    clock.run(main)
    sent_ns.sort()
    assert all(later - earlier >= SECOND for earlier, later in zip(sent_ns, sent_ns[5:], strict=False))


def test_real_accounts_can_be_neither_judged_nor_made_to_fail() -> None:
    account = APIConfig(
        provider=APIProvider.FYERS,
        budgets=published_limits(APIProvider.FYERS),
        base_url="http://127.0.0.1:9",
        client_id="X",
    )
    real = Settings(brokers={"fyers": account})
    assert not real.simulated

    async def main() -> None:
        async with open_router(real, store_path=Path(folder) / "headroom.db") as router:
            assert not router.simulated
            for refused in (router.referee_reports(), router.broker_books(), router.set_fault("fyers", "down", 1)):
                with pytest.raises(ConfigError, match="embedded"):
                    await refused
            with pytest.raises(ConfigError, match="simulated brokers only"):
                await play_background(router, 1)

    with pytest.MonkeyPatch.context() as patch:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            patch.setenv("XDG_STATE_HOME", folder)
            anyio.run(main)


def test_a_fresh_quote_of_the_feed_costs_no_permit_and_only_the_rest_is_asked_for() -> None:
    async def story(router: LocalRouter, clock: VirtualClock) -> None:
        router.feed.publish(symbol="NSE:SBIN-EQ", price="800.05", volume=7)
        quotes = await router.execute(Operation.GET_MARKET_DATA, symbol="NSE:SBIN-EQ")
        assert [quote.price for quote in quotes] == [Decimal("800.05")]
        assert router.snapshot().counters.requests == 0
        both = await router.execute(Operation.GET_MARKET_DATA, symbols=["NSE:TCS-EQ", "NSE:SBIN-EQ"])
        assert [quote.symbol for quote in both] == ["NSE:TCS-EQ", "NSE:SBIN-EQ"]
        assert both[1].price == Decimal("800.05")
        assert router.snapshot().counters.requests == 1
        assert {quote.symbol for quote in router.snapshot().quotes} == {"NSE:TCS-EQ", "NSE:SBIN-EQ"}
        await clock.sleep_until_ns(clock.now_ns() + SECOND)
        (stale,) = await router.execute(Operation.GET_MARKET_DATA, symbol="NSE:SBIN-EQ")
        assert stale.price != Decimal("800.05")
        assert router.snapshot().counters.requests == 2

    on_virtual_time(story, settings())


def test_what_the_caller_raises_comes_out_as_it_is() -> None:
    async def main() -> None:
        async with open_router(settings(), clock=VirtualClock()):
            raise ConfigError("mine")

    with pytest.raises(ConfigError, match="mine"):
        anyio.run(main)


@pytest.mark.parametrize(
    ("broken", "says"),
    [({"guards": {"colour": 1}}, "guards.colour"), ({"guards": {"quantity_max": 0}}, "quantity_max")],
)
def test_wrong_guards_are_told_before_anything_opens(broken: dict[str, object], says: str) -> None:
    async def main() -> None:
        async with open_router(settings().model_copy(update=broken)):
            pytest.fail("it opened")

    with pytest.raises(ValueError, match=says):
        anyio.run(main)


async def test_on_the_wire_the_real_adapters_trade_and_no_limit_is_passed() -> None:
    wired = simulated_settings(published_limits, seed=3, embedded="wire")
    async with open_router(wired) as router:
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                order = Order(symbol="NSE:SBIN-EQ", quantity=1 + number)
                tasks.start_soon(router.place_order, order)
                tasks.start_soon(lambda: router.execute(Operation.GET_PORTFOLIO))
        reports = await router.referee_reports()
        assert sum(report.refused for report in reports) == 0
        books = await router.broker_books()
        placed = [row for book in books.values() for row in book]
        assert len(placed) == len({row.tag for row in placed})
        denied = [row for row in router.snapshot().orders if row.status == "DENIED"]
        assert len(placed) + len(denied) == 12
        assert len(denied) == 2, "our own guard takes ten orders a second over all brokers together"
