"""The whole of core as one thing: opens the parts, owns every task, answers with frozen snapshots.

A screen, a report, the stress lab and a test all hold a `Router` and cannot tell which kind it is.
"""

from __future__ import annotations

import random
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread
import psutil
from pydantic import TypeAdapter, ValidationError

from . import brokers
from .brokers.base import TradingAPI
from .bus import EventBus
from .calls import symbols_of
from .caretaker import Caretaker
from .clock import MILLISECOND, MINUTE, SECOND, Clock, SystemClock
from .config import Instruments, Settings, default_store_path, simulated_settings, token_dir
from .embedded import EmbeddedBrokers, in_a_process, in_memory, on_the_wire
from .engine import GuardSettings, TradingEngine
from .errors import ConfigError, HeadroomError
from .feed import MarketDataFeed
from .limiter import LimiterState
from .manager import MultiAPIManager
from .models import (
    APIConfig,
    ApplySuggestion,
    BrokerOrder,
    BrokerSnapshot,
    CancelAllOrders,
    CancelOrder,
    Command,
    CostSnapshot,
    DismissSuggestion,
    DrainProvider,
    HaltTrading,
    Incident,
    IncidentRow,
    Operation,
    Order,
    OrderOutcome,
    Quote,
    RefereeReport,
    RequestDone,
    ResumeProvider,
    ResumeTrading,
    RouterSnapshot,
    SetRateCap,
    SetReadCache,
    SetRouteWeight,
    StartScenario,
    StopScenario,
    SubmitOrder,
    UndoSuggestion,
)
from .store import LimiterSaved, TradeStore

__all__ = ["LocalRouter", "Router", "open_router"]

HISTORY_S = 240
RATE_WINDOW_S = 10
INCIDENTS_KEPT = 200
SAVE_LIMITS_EVERY_S = 5
ORDERS_SHOWN = 200
DECISIONS_SHOWN = 100
QUOTES_SHOWN = 8


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

    async def execute(self, operation: Operation, *, deadline_ns: int | None = None, **arguments: Any) -> Any:
        """A read, a log-in or a log-out, at the broker that finishes it soonest."""
        ...

    async def place_order(self, order: Order, *, deadline_ns: int | None = None) -> OrderOutcome: ...

    async def modify_order(
        self,
        order_id: str,
        *,
        quantity: int | None = None,
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
    settings: Settings | None = None, *, clock: Clock | None = None, store_path: Path | None = None
) -> AsyncIterator[LocalRouter]:
    """Connect the accounts, recover the orders, then route until the block ends: tasks end first, then brokers close.

    Without settings: two embedded brokers and a store that goes away with the block.
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
        store = await stack.enter_async_context(TradeStore(path, clock=clock))
        bus = EventBus()
        manager = MultiAPIManager(settings.routing, clock=clock, rng=random.Random(rng.random()), bus=bus)
        feed = MarketDataFeed(clock=clock)
        embedded = await stack.enter_async_context(_embedded(settings, clock, random.Random(rng.random())))
        apis = dict(embedded.apis) if embedded is not None else {}
        instruments = await _instruments(settings.instruments)
        for name, config in settings.brokers.items():
            if name not in apis:
                apis[name] = await stack.enter_async_context(_connect(name, config, clock, instruments))
        manager.apis = {name: apis[name] for name in settings.brokers}
        engine = TradingEngine(
            manager,
            store,
            clock=clock,
            rng=random.Random(rng.random()),
            guards=_guards(settings),
            quotes=feed.latest,
        )
        router = LocalRouter(settings, clock, manager, engine, store, feed, embedded)
        await router.load_limits()
        await engine.start()
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(engine.watch)
        tasks.start_soon(Caretaker(manager).watch)
        tasks.start_soon(router.watch)
        yield router
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


@asynccontextmanager
async def _embedded(settings: Settings, clock: Clock, rng: random.Random) -> AsyncIterator[EmbeddedBrokers | None]:
    """The simulated accounts that have no address of their own; None when there are none."""
    configs = {name: config for name, config in settings.brokers.items() if config.simulated and not config.base_url}
    if not configs:
        yield None
    elif settings.embedded == "wire":
        async with on_the_wire(configs, clock, settings.seed) as embedded:
            yield embedded
    elif settings.embedded == "process":
        async with in_a_process(configs, clock, settings.seed) as embedded:
            yield embedded
    else:
        async with in_memory(configs, clock, rng) as embedded:
            yield embedded


@asynccontextmanager
async def _connect(
    name: str, config: APIConfig, clock: Clock, instruments: brokers.InstrumentTable | None
) -> AsyncIterator[TradingAPI]:
    """The adapter of one account behind an address, closed at the end of the block."""
    try:
        adapter = brokers.adapter_of(config.provider)
    except ConfigError as error:
        message = f"brokers.{name}: {error}"
        raise ConfigError(message) from None
    tokens = brokers.TokenStore(token_dir())
    async with adapter(name, config, clock=clock, instruments=instruments, tokens=tokens) as api:
        yield api


async def _instruments(files: Instruments | None) -> brokers.InstrumentTable | None:
    """The symbols of the files named, read off the loop: the whole of them take seconds."""
    if files is None:
        return None
    return await anyio.to_thread.run_sync(partial(brokers.InstrumentTable.load, fyers=files.fyers, upstox=files.upstox))


def _guards(settings: Settings) -> GuardSettings:
    """The [guards] table as values. Raises ConfigError with the key."""
    unknown = settings.guards.keys() - {field.name for field in fields(GuardSettings)}
    if unknown:
        known = ", ".join(field.name for field in fields(GuardSettings))
        message = f"guards.{min(unknown)} is not known; known: {known}"
        raise ConfigError(message)
    try:
        return TypeAdapter(GuardSettings).validate_python(settings.guards)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("guards", *first["loc"]))
        raise ConfigError(f"{where}: {first['msg']}") from None


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
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.manager = manager
        self.engine = engine
        self.store = store
        self.feed = feed
        self.embedded = embedded
        self._news = manager.bus.subscribe()
        self._incidents: deque[IncidentRow] = deque(maxlen=INCIDENTS_KEPT)
        self._throughput: deque[float] = deque(maxlen=HISTORY_S)
        self._latency_ns: deque[int] = deque(maxlen=HISTORY_S)
        self._efficiency: deque[float] = deque(maxlen=HISTORY_S)
        self._requests_by_second: deque[dict[str, int]] = deque(maxlen=RATE_WINDOW_S)
        self._cost = CostSnapshot()

    @property
    def simulated(self) -> bool:
        return self.settings.simulated

    # -- requests -----------------------------------------------------------------------------------------------------

    async def execute(self, operation: Operation, *, deadline_ns: int | None = None, **arguments: Any) -> Any:
        if operation is Operation.GET_MARKET_DATA and "only" not in arguments:
            return await self._quotes(symbols_of(arguments), deadline_ns)
        return await self.manager.execute_with_fallback(operation, deadline_ns=deadline_ns, **arguments)

    async def _quotes(self, symbols: Sequence[str], deadline_ns: int | None) -> tuple[Quote, ...]:
        """From the feed where it is fresh; only the rest costs a permit. In the order asked."""
        oldest_ns = self.clock.epoch_ns() - self.settings.quote_max_age_ms * MILLISECOND
        found: dict[str, Quote] = {}
        for symbol in symbols:
            quote = self.feed.latest(symbol)
            if quote is not None and quote.epoch_ns > oldest_ns:
                found[symbol] = quote
        missing = [symbol for symbol in dict.fromkeys(symbols) if symbol not in found]
        if missing:
            fresh = await self.manager.execute_with_fallback(
                Operation.GET_MARKET_DATA, deadline_ns=deadline_ns, symbols=missing
            )
            for quote in fresh:
                self.feed.publish(symbol=quote.symbol, price=quote.price, volume=quote.volume)
                found[quote.symbol] = quote
        return tuple(found[symbol] for symbol in symbols if symbol in found)

    async def place_order(self, order: Order, *, deadline_ns: int | None = None) -> OrderOutcome:
        return await self.engine.place_order(order, deadline_ns=deadline_ns)

    async def modify_order(
        self,
        order_id: str,
        *,
        quantity: int | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        deadline_ns: int | None = None,
    ) -> OrderOutcome:
        return await self.engine.modify_order(
            order_id, quantity=quantity, price=price, trigger_price=trigger_price, deadline_ns=deadline_ns
        )

    async def cancel_order(self, order_id: str, *, deadline_ns: int | None = None) -> OrderOutcome:
        return await self.engine.cancel_order(order_id, deadline_ns=deadline_ns)

    # -- the operator's commands --------------------------------------------------------------------------------------

    async def send(self, command: Command) -> str:
        match command:
            case SubmitOrder(order):
                outcome = await self.place_order(order)
                return f"{outcome.order_id}: {outcome.status.value} {outcome.message}".rstrip()
            case CancelOrder(order_id):
                outcome = await self.cancel_order(order_id)
                return f"{order_id}: {outcome.status.value}"
            case CancelAllOrders():
                outcomes = await self.engine.cancel_all()
                return f"asked to cancel {len(outcomes)} orders"
            case HaltTrading(reason):
                left = await self.engine.halt(reason)
                return f"halted; {len(left)} orders could not be cancelled" if left else "halted; nothing rests"
            case ResumeTrading(name):
                await self.engine.lift(name)
                return "trading resumed"
            case StartScenario() | StopScenario():
                message = "stress runs have brokers of their own: run them with `headroom stress`"
                raise ConfigError(message)
            case _:
                return self._adjust(command)

    def _adjust(self, command: Command) -> str:  # noqa: PLR0911 - a table, one row per command
        """The commands that change how we route, and touch no order."""
        match command:
            case DrainProvider(provider):
                self.manager.drain(provider)
                return f"{provider} is drained: nothing new goes there"
            case ResumeProvider(provider):
                self.manager.resume(provider)
                return f"{provider} is back"
            case SetRateCap(provider, share):
                self.manager.limiter(provider).set_cap(share)
                return f"{provider} uses at most {share:.0%} of each window"
            case SetRouteWeight(provider, category, weight):
                self.manager.set_weight(provider, category, weight)
                return f"{provider} now weighs {weight:g} for {category}"
            case SetReadCache(operation, seconds):
                self.manager.set_read_cache(operation, seconds)
                return f"{operation} is answered from memory for {seconds:g} s"
            case ApplySuggestion(suggestion_id):
                return self._apply(suggestion_id)
            case UndoSuggestion(suggestion_id):
                return self._undo(suggestion_id)
            case DismissSuggestion(suggestion_id):
                self.manager.advisor.dismiss(suggestion_id)
                return "dismissed until its cause has gone and come back"
            case _:
                message = f"{type(command).__name__} is not known here"
                raise ConfigError(message)

    def _apply(self, suggestion_id: str) -> str:
        command = self.manager.advisor.command_for(suggestion_id)
        if command is None:
            message = "that suggestion has gone, or only the operator can do what it says"
            raise ConfigError(message)
        answer = self._adjust(command)
        self.manager.advisor.mark_applied(suggestion_id)
        return answer

    def _undo(self, suggestion_id: str) -> str:
        command = self.manager.advisor.undo_for(suggestion_id)
        if command is None:
            message = "there is nothing to undo"
            raise ConfigError(message)
        answer = self._adjust(command)
        self.manager.advisor.mark_undone(suggestion_id)
        return answer

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
            self._cost = CostSnapshot(
                cpu_percent=process.cpu_percent(), rss_bytes=process.memory_info().rss, loop_lag_ns=lag_ns
            )
            self._close_second()
            self.manager.advise(self.snapshot())
            beat += 1
            if beat % SAVE_LIMITS_EVERY_S == 0:
                await self._save_limits()

    def _close_second(self) -> None:
        counts: dict[str, int] = {}
        latency_ns = requests = 0
        for event in self._news.drain():
            if isinstance(event, RequestDone):
                counts[event.provider] = counts.get(event.provider, 0) + 1
                latency_ns += event.wait_ns + event.latency_ns
                requests += 1
            elif isinstance(event, Incident):
                self._note(event)
        self._requests_by_second.append(counts)
        self._throughput.append(float(requests))
        self._latency_ns.append(latency_ns // requests if requests else 0)
        efficiency = self.manager.efficiency
        if efficiency is not None:
            self._efficiency.append(efficiency)

    def _note(self, event: Incident) -> None:
        """One row per kind and broker and minute, with a count: a storm stays readable."""
        last = self._incidents[-1] if self._incidents else None
        if (
            last is not None
            and (last.kind, last.provider, last.message) == (event.kind, event.provider, event.message)
            and event.at_ns - last.at_ns < MINUTE
        ):
            self._incidents[-1] = replace(last, count=last.count + 1)
            return
        self._incidents.append(
            IncidentRow(
                at_ns=event.at_ns,
                age_ns=0,
                kind=event.kind,
                provider=event.provider,
                message=event.message,
                evidence=event.evidence,
            )
        )

    async def load_limits(self) -> None:
        """Give each limiter the long windows that it had when this store was last in use."""
        states = await self.store.journal.limiter_states()
        for name, state in states.items():
            if name in self.manager.apis:
                self.manager.limiter(name).load_state(LimiterState.from_json(state), epoch_now_ns=self.clock.epoch_ns())

    async def _save_limits(self) -> None:
        entries = [
            LimiterSaved(
                provider=name,
                state_json=self.manager.limiter(name).save_state().to_json(),
                epoch_ns=self.clock.epoch_ns(),
            )
            for name in self.manager.apis
        ]
        try:
            await self.store.journal.append(*entries)
        except HeadroomError as error:
            self.manager.incident("store", "", str(error))

    # -- how things stand ---------------------------------------------------------------------------------------------

    def snapshot(self) -> RouterSnapshot:
        base = self.manager.snapshot()
        return replace(
            base,
            simulated=self.simulated,
            brokers=self._with_rates(base.brokers),
            efficiency_history=tuple(self._efficiency),
            throughput_history=tuple(self._throughput),
            latency_history_ns=tuple(self._latency_ns),
            decisions=self.manager.balancer.decisions(DECISIONS_SHOWN),
            suggestions=self.manager.advisor.suggestions,
            orders=self.engine.recent_orders(ORDERS_SHOWN),
            quotes=self.feed.newest(QUOTES_SHOWN),
            open_orders=self.engine.open_orders,
            unknown_orders=self.engine.unknown_orders,
            incidents=tuple(replace(row, age_ns=base.at_ns - row.at_ns) for row in reversed(self._incidents)),
            cost=self._cost,
            halted=self.engine.halted,
        )

    def _with_rates(self, rows: tuple[BrokerSnapshot, ...]) -> tuple[BrokerSnapshot, ...]:
        seconds = len(self._requests_by_second)
        if not seconds:
            return rows
        return tuple(
            replace(row, rate_per_s=sum(second.get(row.name, 0) for second in self._requests_by_second) / seconds)
            for row in rows
        )
