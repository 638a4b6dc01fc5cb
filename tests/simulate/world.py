"""One seeded world: two brokers, a file, and a process that trades, crashes and comes back.

Everything runs on the virtual clock in one loop. The core is the real one: engine, manager, limiter, balancer and
journal. The brokers are `MockTradingAPI` with its exchange, its referee and its faults. A crash ends every task of the
process at its present await, whatever it shields, and nothing that the dead process still tries reaches broker or file.

What is checked, from the brokers' own books and never from ours:
- at most one order per client order id is live, over all brokers together, at any time
- what a broker has accepted is known to us, with its state and its fills, once the last life has settled
- what a caller was told stands in the file, after every crash
- nothing leaves while the kill switch is on
- no tag is used twice; positions at the brokers are the sum of our fills
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, NoReturn, cast

import anyio

from core.brokers.mock import MockTradingAPI
from core.brokers.simulator.exchange import Exchange, ExchangeSettings
from core.brokers.simulator.faults import Fault, FaultKind
from core.clock import MICROSECOND, MILLISECOND, SECOND, VirtualClock
from core.engine import EngineSettings, GuardSettings, TradingEngine
from core.errors import EngineHalted, IllegalStep, OrderConflict, StoreError, UnknownOrder
from core.manager import MultiAPIManager
from core.models import (
    FINAL,
    APIConfig,
    APIProvider,
    BrokerOrder,
    Event,
    Incident,
    Order,
    OrderOutcome,
    OrderStatus,
    OrderType,
    Side,
)
from core.store import TradeStore

from .disk import Disk, SimStore

SYMBOLS = ("NSE:SBIN-EQ", "NSE:RELIANCE-EQ")
KINDS = tuple(kind for kind in FaultKind if kind is not FaultKind.CLOCK_SKEW)
SETTLES_WITHIN_NS = 600 * SECOND
SETTINGS = EngineSettings(deadline_ns=8 * SECOND, quarantine_after_ns=6 * SECOND, recovery_ns=20 * SECOND)


class Crash(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Report:
    """What one seed showed. `violations` is empty when every promise held."""

    seed: int
    violations: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    orders: int = 0
    live: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    incidents: Counter[str] = field(default_factory=Counter)
    digest: str = ""


# The process that a task belongs to: a task belongs to its maker's.
LIFE: ContextVar[Life | None] = ContextVar("LIFE", default=None)


class Life:
    """One run of one process, from start to crash."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.rng = Random(f"{world.seed}/life/{number}")
        self.is_last = number == world.lives - 1
        self.dead = False
        self.crashed = asyncio.Event()
        self.halted_at: int | None = None  # the lifts there had been when it threw the switch itself
        self.tasks: list[asyncio.Task[Any]] = []

    # -- what happens at a seam -------------------------------------------------------------------------------------

    def check(self) -> None:
        if self.dead:
            raise Crash

    def die(self) -> NoReturn:
        self.dead = True
        self.crashed.set()
        raise Crash

    def strikes(self, kind: str) -> bool:
        if self.is_last or self.rng.random() >= self.world.seam_rate:
            return False
        self.world.report.faults[kind] += 1
        return True

    def jitter_ns(self) -> int:
        return self.rng.randrange(50 * MICROSECOND, 4 * MILLISECOND)

    # -- what it does -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        LIFE.set(self)
        world = self.world
        manager = MultiAPIManager({}, clock=world.clock, rng=Random(f"{world.seed}/manager/{self.number}"))
        manager.apis = {name: cast("Any", Seam(api, self)) for name, api in world.brokers.items()}
        store = SimStore(world.disk, self, world.clock)
        engine = TradingEngine(
            manager,
            cast("TradeStore", store),
            rng=Random(f"{world.seed}/tags/{self.number}"),
            guards=GuardSettings.off(),
            settings=SETTINGS,
            on_event=world.hear,
        )
        async with engine:
            world.note(f"life {self.number} began, {engine.open_orders} open, {engine.unknown_orders} unknown")
            if self.is_last:
                await self._settle(engine)
                return
            async with anyio.create_task_group() as tasks:
                for number in range(world.callers):
                    tasks.start_soon(Caller(self, engine, number).run)

    async def kill(self) -> None:
        """End every task at its present await, in the order in which they were made; shields do not count."""
        self.dead = True
        while alive := [task for task in self.tasks if not task.done()]:
            for task in alive:
                task.cancel()
            await asyncio.sleep(0)
        for task in self.tasks:
            if not task.cancelled():
                task.exception()  # seen: a dead process complains to nobody
        self.tasks.clear()

    async def _settle(self, engine: TradingEngine) -> None:
        if engine.halted:
            self.world.lifts += 1
            await engine.lift("simulation")
        deadline_ns = self.world.clock.now_ns() + SETTLES_WITHIN_NS
        while engine.open_orders and self.world.clock.now_ns() < deadline_ns:
            await engine.cancel_all()
            await self.world.clock.sleep_until_ns(self.world.clock.now_ns() + SECOND)
        if engine.open_orders:
            left = [row for row in engine.recent_orders(500) if row.status not in FINAL]
            self.world.violate(f"never settled: {[(row.order_id, row.status, row.message) for row in left]}")
        # Once more over the whole book, for fills that crossed the last cancel.
        await self.world.clock.sleep_until_ns(self.world.clock.now_ns() + 30 * SECOND)


class Seam:
    """A broker as one life sees it: a dead process sends nothing, and every placement is noted."""

    def __init__(self, api: MockTradingAPI, life: Life) -> None:
        self._api = api
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._api, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            self._life.check()
            if name == "place_order":
                self._life.world.sent(self._life, arguments[0], named["tag"], self._api.name)
            else:
                self._life.world.note(f"asked {self._api.name}: {name} {arguments}")
            result = await found(*arguments, **named)
            self._life.check()
            return result

        return call


class Caller:
    """Somebody who trades: places, repeats himself, changes his mind, gives up waiting."""

    def __init__(self, life: Life, engine: TradingEngine, number: int) -> None:
        self._life = life
        self._world = life.world
        self._engine = engine
        self._rng = Random(f"{life.world.seed}/caller/{life.number}/{number}")

    async def run(self) -> None:
        rng = self._rng
        for _ in range(self._world.acts):
            await self._pause(rng.randrange(2 * SECOND))
            act = rng.choices(ACTS, WEIGHTS)[0]
            try:
                await act(self)
            except (OrderConflict, EngineHalted, UnknownOrder, IllegalStep, StoreError) as error:
                self._world.note(f"told {type(error).__name__}")

    async def _pause(self, for_ns: int) -> None:
        await self._world.clock.sleep_until_ns(self._world.clock.now_ns() + for_ns)

    async def place(self) -> None:
        await self._place(self._world.new_order(self._rng))

    async def place_again(self) -> None:
        """The same id and content as an order of any life."""
        if self._world.orders:
            await self._place(self._rng.choice(list(self._world.orders.values())))

    async def place_twice_at_once(self) -> None:
        order = self._world.new_order(self._rng)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._quietly, order)
            tasks.start_soon(self._quietly, order)

    async def place_other_content(self) -> None:
        claimed = [order for order_id, order in self._world.orders.items() if self._world.disk.steps(order_id)]
        if not claimed:
            return
        order = self._rng.choice(claimed)
        other = Order(symbol=order.symbol, quantity=order.quantity + 1, client_order_id=order.client_order_id)
        try:
            await self._engine.place_order(other)
        except (OrderConflict, EngineHalted, StoreError):
            return
        self._world.violate(f"{order.client_order_id} was taken with two contents")

    async def place_and_give_up(self) -> None:
        """The caller is cancelled, by a scope or by a bare `Task.cancel` that no shield keeps out."""
        order = self._world.new_order(self._rng)
        task = asyncio.create_task(self._quietly(order))
        await self._pause(self._rng.randrange(300 * MILLISECOND))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and isinstance(task.exception(), Crash):
            raise Crash

    async def cancel(self) -> None:
        if self._world.orders:
            order_id = self._rng.choice(list(self._world.orders))
            self._world.told(await self._engine.cancel_order(order_id))

    async def modify(self) -> None:
        if self._world.orders:
            order = self._rng.choice(list(self._world.orders.values()))
            quantity = self._rng.randrange(1, 60)
            self._world.told(await self._engine.modify_order(order.client_order_id, quantity=quantity))

    async def cancel_all(self) -> None:
        await self._engine.cancel_all()

    async def halt_and_lift(self) -> None:
        self._life.halted_at = self._world.lifts
        with suppress(StoreError):
            await self._engine.halt("simulated")
        await self._pause(self._rng.randrange(2 * SECOND))
        self._world.lifts += 1  # whoever lifts it, lifts it for all
        await self._engine.lift("simulation")

    async def _quietly(self, order: Order) -> None:
        with suppress(EngineHalted, StoreError):
            await self._place(order)

    async def _place(self, order: Order) -> None:
        deadline_ns = self._world.clock.now_ns() + self._rng.randrange(100 * MILLISECOND, 10 * SECOND)
        self._world.told(await self._engine.place_order(order, deadline_ns=deadline_ns))


_TABLE: dict[Callable[[Caller], Awaitable[None]], int] = {
    Caller.place: 60,
    Caller.place_again: 10,
    Caller.place_twice_at_once: 6,
    Caller.place_other_content: 3,
    Caller.place_and_give_up: 10,
    Caller.cancel: 10,
    Caller.modify: 6,
    Caller.cancel_all: 1,
    Caller.halt_and_lift: 1,
}
ACTS, WEIGHTS = tuple(_TABLE), tuple(_TABLE.values())


class World:
    """What outlives the process. `fsync` off is one of the mutations."""

    def __init__(self, seed: int, *, fsync: bool = True) -> None:
        self.seed = seed
        self.rng = Random(f"{seed}/world")
        self.clock = VirtualClock()
        self.report = Report(seed)
        self.disk = Disk(fsync=fsync)
        self.lives = self.rng.randrange(3, 6)
        self.callers = self.rng.randrange(3, 10)
        self.acts = self.rng.randrange(3, 10)
        self.seam_rate = self.rng.choice((0.0, 0.001, 0.004))
        self.orders: dict[str, Order] = {}
        self._sent: dict[str, str] = {}  # client order id of every tag that reached a broker's door
        self.error: BaseException | None = None
        self._told: list[OrderOutcome] = []
        self._trace = hashlib.blake2b(digest_size=16)
        self._lines: list[str] = []
        self.lifts = 0
        self.has_rivals = self.rng.random() < 0.4  # other processes on the same store and accounts
        settings = ExchangeSettings(seed=seed)
        exchange = Exchange(self.clock, settings)
        self.brokers = {name: self._broker(name, exchange) for name in ("upstox", "fyers")}

    def _broker(self, name: str, exchange: Exchange) -> MockTradingAPI:
        config = APIConfig(
            provider=APIProvider.MOCK,
            rate_limits={"requests_per_second": 20, "requests_per_minute": 600},
            simulated=True,
            timeout_ms=1_000,
        )
        api = MockTradingAPI(
            name,
            config,
            response_time=self.rng.choice((0.005, 0.03, 0.1)),
            clock=self.clock,
            rng=Random(f"{self.seed}/broker/{name}"),
            exchange=exchange,
            absence_proven_after=2.0,
        )
        hostility = self.rng.choice((0.0, 0.02, 0.05, 0.1))
        for kind in KINDS:
            rate = hostility * self.rng.random()
            if rate:
                api.faults.add(Fault(kind=kind, rate=rate, delay_ns=self.rng.randrange(1, 3 * SECOND)))
        if self.rng.random() < 0.4:
            from_ns = self.rng.randrange(10 * SECOND)
            until_ns = from_ns + self.rng.randrange(1, 15 * SECOND)
            api.faults.add(Fault(kind=FaultKind.DOWN, rate=1.0, from_ns=from_ns, until_ns=until_ns))
        return api

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Live it all; the same seed gives the same report to the digit."""
        self.clock.run(self._main)
        report = self.report
        report.digest = self._trace.hexdigest()
        report.orders = len(self.orders)
        for api in self.brokers.values():
            report.faults.update({kind.value: count for kind, count in api.faults.struck.items()})
        return report

    async def _main(self) -> None:
        asyncio.get_running_loop().set_task_factory(_make_task)
        rivals = [self._rival(number) for number in (100, 200)] if self.has_rivals else []
        done = [asyncio.create_task(rival) for rival in rivals]
        for number in range(self.lives - 1):
            await self._live(Life(self, number), self.rng)
        if done:
            await asyncio.wait(done)
            for task in done:
                task.result()
        for api in self.brokers.values():
            api.faults.clear()
        await self._live(Life(self, self.lives - 1), self.rng)
        self._check_books()

    async def _rival(self, first: int) -> None:
        rng = Random(f"{self.seed}/rival/{first}")
        for number in range(first, first + rng.randrange(1, 4)):
            await self._live(Life(self, number), rng)

    async def _live(self, life: Life, rng: Random) -> None:
        """Let one life go to its end, or to its crash, and then some time pass."""
        task = asyncio.create_task(life.run())
        life.tasks.append(task)
        timer = asyncio.create_task(self.clock.sleep_until_ns(self.clock.now_ns() + rng.randrange(1, 20 * SECOND)))
        crashed = asyncio.create_task(life.crashed.wait())
        ends = [task, crashed] if life.is_last else [task, crashed, timer]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() or life.dead:
            self.report.crashes += 1
            self.note(f"crash of life {life.number}")
        elif (fault := task.exception()) is not None:
            if isinstance(fault, StoreError) and not life.is_last:
                self.note(f"life {life.number} ended: {fault}")  # it could not even start: the operator's turn
            else:
                self.violate(f"the engine raised {fault!r}")
                self.error = fault
        await life.kill()
        timer.cancel()
        crashed.cancel()
        self.disk.crash()
        self._check_told(f"after life {life.number}")
        await self.clock.sleep_until_ns(self.clock.now_ns() + rng.randrange(1, 4 * SECOND))

    # -- what is noted ----------------------------------------------------------------------------------------------

    def note(self, line: str) -> None:
        line = f"{self.clock.now_ns()} {line}"
        self._trace.update(line.encode())
        self._lines.append(line)

    @property
    def lines(self) -> list[str]:
        return self._lines

    def violate(self, what: str) -> None:
        self.note(f"VIOLATION {what}")
        self.report.violations.append(what)

    def hear(self, event: Event) -> None:
        if isinstance(event, Incident):
            self.report.incidents[event.kind] += 1
        self.note(repr(event))

    def new_order(self, rng: Random) -> Order:
        order_id = f"order{len(self.orders):04d}"
        symbol, side, quantity = rng.choice(SYMBOLS), rng.choice(list(Side)), rng.randrange(1, 50)
        if rng.random() < 0.6:
            order = Order(symbol=symbol, side=side, quantity=quantity, client_order_id=order_id)
        else:
            quote = next(iter(self.brokers.values())).exchange.quotes((symbol,))[0].price
            price = (quote * Decimal(rng.choice(("0.98", "1", "1.02")))).quantize(Decimal("0.1"))
            order = Order(
                symbol=symbol,
                side=side,
                quantity=quantity,
                order_type=OrderType.LIMIT,
                price=price,
                client_order_id=order_id,
            )
        self.orders[order_id] = order
        return order

    def sent(self, life: Life, order: Order, tag: str, broker: str) -> None:
        self.note(f"sent {order.client_order_id} as {tag} to {broker}")
        if tag in self._sent:
            self.violate(f"the tag {tag} was sent twice")
        self._sent[tag] = order.client_order_id
        if life.halted_at == self.lifts or self.disk.halted():
            self.violate(f"{order.client_order_id} left while trading was halted")
        if "SUBMITTING" not in self.disk.steps(order.client_order_id):
            self.violate(f"{order.client_order_id} left before its intent was durable")

    def told(self, outcome: OrderOutcome) -> None:
        self.note(f"told {outcome.order_id} {outcome.status} {outcome.filled_quantity}")
        self.report.statuses[outcome.status.value] += 1
        self._told.append(outcome)
        self._check_durable(outcome, "at once")
        self._check_doubles(f"when {outcome.order_id} was told")

    # -- what must hold ---------------------------------------------------------------------------------------------

    def _check_told(self, when: str) -> None:
        for outcome in self._told:
            self._check_durable(outcome, when)

    def _check_durable(self, outcome: OrderOutcome, when: str) -> None:
        if outcome.status.value not in self.disk.steps(outcome.order_id):
            self.violate(f"{outcome.order_id} was told to be {outcome.status.value}, which the file lacks {when}")

    def _placed(self) -> dict[str, list[BrokerOrder]]:
        """What the brokers took and did not reject, by client order id."""
        placed: dict[str, list[BrokerOrder]] = {}
        for api in self.brokers.values():
            for row in api.books():
                if row.status is not OrderStatus.REJECTED:
                    placed.setdefault(self._sent.get(row.tag, f"?{row.tag}"), []).append(row)
        return placed

    def _check_doubles(self, when: str) -> None:
        for order_id, rows in self._placed().items():
            if len(rows) > 1:
                where = ", ".join(f"{row.provider} {row.broker_order_id} {row.status.value}" for row in rows)
                self.violate(f"{order_id} is live twice {when}: {where}")

    def _check_books(self) -> None:
        self._check_doubles("at the end")
        placed = self._placed()
        self.report.live = len(placed)
        known = {
            row[0]: row[1:]
            for row in self.disk.connection.execute(
                "SELECT order_id, status, provider, broker_order_id, filled_quantity, symbol, side FROM trades"
            )
        }
        for order_id, rows in placed.items():
            row = rows[0]
            ours = known.get(order_id)
            theirs = (row.status.value, row.provider, row.broker_order_id, row.filled_quantity)
            if ours is None:
                self.violate(f"{order_id} was accepted by {row.provider} and is not known")
            elif ours[:4] != theirs:
                self.violate(f"{order_id} is {ours[:4]} here and {theirs} there")
        for order_id, ours in known.items():
            if order_id not in placed and (ours[3] or ours[0] in {"ACCEPTED", "PARTIALLY_FILLED", "FILLED"}):
                self.violate(f"{order_id} is {ours[:4]} here and nowhere there")
        for name, api in self.brokers.items():
            self._check_positions(name, api, known)
            if tags := api.referee_report().duplicate_tags:
                self.violate(f"{name} saw the tags {tags} twice")

    def _check_positions(self, name: str, api: MockTradingAPI, known: dict[str, tuple[Any, ...]]) -> None:
        ours: Counter[str] = Counter()
        for _, provider, _, filled, symbol, side in known.values():
            if provider == name:
                ours[symbol] += Side(side).sign * filled
        theirs: Counter[str] = Counter()
        for book in api.account.positions.values():
            theirs[book.listing.symbol] += book.quantity
        for symbol in SYMBOLS:
            if ours[symbol] != theirs[symbol]:
                self.violate(f"{name} holds {theirs[symbol]} of {symbol}, our fills make {ours[symbol]}")


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
    """Every task is known to its process, so that a crash ends it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **named)
    life = LIFE.get()
    if life is not None:
        life.tasks.append(task)
    return task
