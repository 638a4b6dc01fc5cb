"""The whole of core as one thing: opens the parts, owns every task, answers with frozen snapshots.

A screen, a report, the stress lab and a test all hold a `Router` and cannot tell which kind it is.
"""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread
import psutil

from . import brokers
from .advice import Alerts, AlertSettings
from .answers import Answers
from .bus import EventBus
from .caretaker import Caretaker
from .clock import SECOND, Clock, SystemClock
from .config import Settings, default_store_path, simulated_settings
from .controls import Controls
from .embedded import EmbeddedBrokers
from .engine import GuardSettings, TradingEngine
from .errors import ConfigError, HeadroomError
from .feed import MarketDataFeed
from .limiter import LimiterState
from .manager import MultiAPIManager
from .models import (
    BrokerOrder,
    Command,
    CostSnapshot,
    Operation,
    Order,
    OrderOutcome,
    OrderType,
    Question,
    RefereeReport,
    RouterSnapshot,
)
from .parts import checked_table, connect, embedded_brokers, instruments_of
from .seconds import Seconds
from .store import LimiterSaved, TradeStore

__all__ = ["LocalRouter", "Router", "open_router"]

_log = logging.getLogger(__name__)

SAVE_LIMITS_EVERY_S = 2
# After a crash as much as the limits allow in this time counts as used: short, but for a disk that is slow for once.
_LIMITS_SAVED_WITHIN_NS = 5 * SECOND
ORDERS_SHOWN = 200
DECISIONS_SHOWN = 100
QUOTES_SHOWN = 8

A = TypeVar("A")


class Router(Protocol):
    """What a caller may ask, whoever stands behind it. Errors are HeadroomErrors with one line for the operator."""

    @property
    def simulated(self) -> bool:
        """Whether no real account can be reached."""
        ...

    def snapshot(self) -> RouterSnapshot:
        """How everything stands now; without an await, and without a change."""
        ...

    async def send(self, command: Command) -> str:
        """Do what the operator asks; the answer is one line for him."""
        ...

    async def ask(self, question: Question[A]) -> A:
        """What a snapshot has no room for: an order's story, a broker in depth, what would become of an order."""
        ...

    async def execute(self, operation: Operation, *, deadline_ns: int | None = None, **arguments: Any) -> Any:
        """A read, a log-in or a log-out, at the broker that finishes it soonest."""
        ...

    async def place_order(
        self, order: Order, *, deadline_ns: int | None = None, only: str | None = None
    ) -> OrderOutcome: ...

    async def modify_order(
        self,
        order_id: str,
        *,
        quantity: int | None = None,
        order_type: OrderType | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        deadline_ns: int | None = None,
    ) -> OrderOutcome: ...

    async def cancel_order(self, order_id: str, *, deadline_ns: int | None = None) -> OrderOutcome: ...

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        """What the simulated brokers counted themselves. Raises ConfigError for a real account."""
        ...

    async def broker_books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        """Every order that the simulated brokers ever accepted. Raises ConfigError for a real account."""
        ...

    async def set_fault(self, broker: str, kind: str, value: float) -> None:
        """Make a simulated broker misbehave. Raises ConfigError for a real account."""
        ...


@asynccontextmanager
async def open_router(
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    store_path: Path | None = None,
    scratch: bool = False,
    guards: GuardSettings | None = None,
) -> AsyncIterator[LocalRouter]:
    """Connect the accounts, recover the orders, then route until the block ends: tasks end first, then brokers close.

    Without settings: two embedded brokers and a store that goes away with the block. `scratch`: as of a `TradeStore`.
    `guards`: instead of those of the settings.
    """
    settings = settings or simulated_settings(brokers.published_limits)
    clock = clock or SystemClock()
    rng = random.Random(settings.seed)
    async with _plainly(), AsyncExitStack() as stack:
        path = store_path or settings.store
        if path is None and not settings.simulated:
            path = default_store_path()  # orders that are live somewhere must be known at the next start
        if path is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headroom-"))) / "headroom.db"
        store = await stack.enter_async_context(TradeStore(path, clock=clock, scratch=scratch))
        bus = EventBus()
        feed = MarketDataFeed(clock=clock)
        manager = MultiAPIManager(settings.routing, clock=clock, rng=random.Random(rng.random()), bus=bus, feed=feed)
        manager.set_read_cache(Operation.GET_MARKET_DATA, settings.quote_max_age_ms / 1000)
        stack.callback(manager.close)
        embedded = await stack.enter_async_context(embedded_brokers(settings, clock, random.Random(rng.random())))
        apis = dict(embedded.apis) if embedded is not None else {}
        instruments = await instruments_of(settings.instruments)
        for name, config in settings.brokers.items():
            if name not in apis:
                apis[name] = await stack.enter_async_context(connect(name, config, clock, instruments))
        manager.apis = {name: apis[name] for name in settings.brokers}
        engine = TradingEngine(
            manager,
            store,
            clock=clock,
            rng=random.Random(rng.random()),
            guards=guards or checked_table(settings.guards, GuardSettings, "guards"),
            quotes=feed.latest,
        )
        known = instruments or brokers.InstrumentTable.sample()
        router = LocalRouter(settings, clock, manager, engine, store, feed, embedded, known)
        await router.load_limits()
        stack.push_async_callback(router.save_limits, final=True)
        await router.controls.load_dismissed()
        await engine.start()
        _log.info("the journal is read, %d accounts are connected: %s", len(apis), ", ".join(settings.brokers))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(engine.watch)
        tasks.start_soon(Caretaker(manager).watch)
        tasks.start_soon(router.watch)
        yield router
        _log.info("closing: tasks first, then brokers, then the store")
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _plainly() -> AsyncIterator[None]:
    """A task group wraps whatever ends it in a group; one error alone comes out as it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group:
            raise
        raise error from None


class LocalRouter:
    """The Router of this process, made by `open_router`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        manager: MultiAPIManager,
        engine: TradingEngine,
        store: TradeStore,
        feed: MarketDataFeed,
        embedded: EmbeddedBrokers | None,
        instruments: brokers.InstrumentTable,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.manager = manager
        self.engine = engine
        self.store = store
        self.feed = feed
        self.alerts = Alerts(checked_table(settings.alerts, AlertSettings, "alerts"))
        self.embedded = embedded
        self._seconds = Seconds(manager)
        self._answers = Answers(manager, engine, self._seconds.chronicle, instruments, self._stands_for_show)
        self.controls = Controls(
            manager,
            engine,
            self.alerts,
            clock=clock,
            notes=store.path.with_name(f"{store.path.name}.notes.json"),
            set_fault=self.set_fault,
        )
        self._cost = CostSnapshot()
        # The engine's own: a method around each would be one coroutine more on the way of every order.
        self.place_order, self.modify_order = engine.place_order, engine.modify_order
        self.cancel_order = engine.cancel_order

    @property
    def simulated(self) -> bool:
        return self.settings.simulated

    def _stands_for_show(self, name: str) -> bool:
        """Whether this account is one of the embedded ones."""
        return self.embedded is not None and name in self.embedded.apis

    # -- requests -----------------------------------------------------------------------------------------------------

    async def execute(self, operation: Operation, *, deadline_ns: int | None = None, **arguments: Any) -> Any:
        return await self.manager.execute_with_fallback(operation, deadline_ns=deadline_ns, **arguments)

    # -- the operator --------------------------------------------------------------------------------------------------

    async def send(self, command: Command) -> str:
        return await self.controls.obey(command)

    async def ask(self, question: Question[A]) -> A:
        return await self._answers.to(question)

    # -- simulated brokers --------------------------------------------------------------------------------------------

    @property
    def _brokers(self) -> EmbeddedBrokers:
        if self.embedded is None or not self.simulated:
            message = "only embedded brokers can be judged or made to fail, and these accounts are none"
            raise ConfigError(message)
        return self.embedded

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        return await self._brokers.referee_reports()

    async def broker_books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        return await self._brokers.books()

    async def set_fault(self, broker: str, kind: str, value: float) -> None:
        await self._brokers.set_fault(broker, kind, value)

    async def set_latency(self, broker: str, typical_ms: float) -> None:
        """How long a simulated broker takes to answer. Raises ConfigError for a real account."""
        await self._brokers.set_latency(broker, typical_ms)

    # -- what the router does by itself -------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Once a second: close the second's figures, ask the advisor, now and then save the limits. Ends cancelled."""
        process = psutil.Process()
        process.cpu_percent()
        due_ns = self.clock.now_ns()
        beat = 0
        while True:
            due_ns += SECOND
            await self.clock.sleep_until_ns(due_ns)
            lag_ns = self.clock.now_ns() - due_ns
            if lag_ns > 10 * SECOND:
                due_ns = self.clock.now_ns()  # the machine slept: do not race through the seconds it missed
            if not self.clock.stands_still:  # else this second was none of the machine's
                self._cost = CostSnapshot(
                    cpu_percent=process.cpu_percent(), rss_bytes=process.memory_info().rss, loop_lag_ns=lag_ns
                )
            self._seconds.close()
            snapshot = self._stand(shown=False)
            self._seconds.chronicle.stand(snapshot)
            self.manager.advise(snapshot, self.manager.balancer.decided(DECISIONS_SHOWN))
            self.alerts.observe(snapshot)
            beat += 1
            if beat % SAVE_LIMITS_EVERY_S == 0:
                await self.save_limits()

    async def load_limits(self) -> None:
        """Give each limiter the long windows that it had when this store was last in use, and save them at once.

        Requests that leave before the first save of this run would else be known to nobody after a crash.
        """
        epoch_ns = self.clock.epoch_ns()
        for name, text in (await self.store.journal.limiter_states()).items():
            if name not in self.manager.apis:
                continue
            state = LimiterState.from_json(text)
            if self.manager.limiter(name).load_state(state, epoch_now_ns=epoch_ns):
                blind_s = (state.covers_until_epoch_ns - state.saved_epoch_ns) / SECOND
                self.manager.incident(
                    "crash",
                    name,
                    f"the last run broke off: what the limits let through in its last {blind_s:.0f} s counts as used",
                )
        await self.save_limits()

    async def save_limits(self, *, final: bool = False) -> None:
        """Save what each limiter has counted. `final`: nothing is sent after it."""
        entries = [
            LimiterSaved(
                provider=name,
                state_json=self.manager.limiter(name)
                .save_state(next_within_ns=_LIMITS_SAVED_WITHIN_NS, final=final)
                .to_json(),
                epoch_ns=self.clock.epoch_ns(),
            )
            for name in self.manager.apis
        ]
        try:
            with anyio.CancelScope(shield=final):  # whoever ends us by cancelling would break it off
                await self.store.journal.append(*entries)
        except HeadroomError as error:
            self.manager.incident("store", "", str(error))

    # -- how things stand ---------------------------------------------------------------------------------------------

    def snapshot(self) -> RouterSnapshot:
        return self._stand(shown=True)

    def _stand(self, *, shown: bool) -> RouterSnapshot:
        """A snapshot; where it is not shown, it bears less.

        Only orders in doubt are asked for, and without one it bears none; and no decisions.
        """
        base, unknown_orders = self.manager.snapshot(), self.engine.unknown_orders
        return replace(
            base,
            simulated=self.simulated,
            brokers=self._seconds.with_rates(base.brokers),
            efficiency_history=tuple(self._seconds.efficiency),
            throughput_history=tuple(self._seconds.throughput),
            latency_history_ns=tuple(self._seconds.latency_ns),
            decisions=self.manager.balancer.decisions(DECISIONS_SHOWN) if shown else (),
            suggestions=self.manager.advisor.suggestions,
            alerts=self.alerts.rows,
            orders=self.engine.recent_orders(ORDERS_SHOWN) if shown or unknown_orders else (),
            quotes=self.feed.newest(QUOTES_SHOWN),
            open_orders=self.engine.open_orders,
            unknown_orders=unknown_orders,
            incidents=self._seconds.incidents(base.at_ns),
            cost=self._cost,
            halted=self.engine.halted,
        )
