"""One run of one process in a simulated world, and those who trade through it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, cast

import anyio

from core.brokers.mock import MockTradingAPI
from core.clock import MICROSECOND, MILLISECOND, SECOND
from core.engine import EngineSettings, GuardSettings, TradingEngine
from core.errors import EngineHalted, IllegalStep, OrderConflict, StoreError, UnknownOrder
from core.manager import MultiAPIManager
from core.models import FINAL, Order
from core.store import TradeStore

from .disk import SimStore
from .kinds import CRASH, CRASH_AFTER, CRASH_BEFORE, DISK_FULL, GAVE_UP, RESTART

if TYPE_CHECKING:
    from .world import World

SETTLES_WITHIN_NS = 600 * SECOND
SETTINGS = EngineSettings(deadline_ns=8 * SECOND, quarantine_after_ns=6 * SECOND, recovery_ns=20 * SECOND)


class Crash(BaseException):
    """The process is gone."""


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
        # The halts and the lifts there had been in the file when it threw the switch. That holds at once, until its own
        # entry is there or, where the disk refuses it, a lift of its own; then until a lift of anyone is there.
        self.halts_at: int | None = None
        self.lifts_at: int | None = None
        self.throws = 0
        self.tasks: list[asyncio.Task[Any]] = []
        # How it is to end, unless its callers are done before.
        self.end = "" if self.is_last else self.rng.choice((CRASH, CRASH_BEFORE, CRASH_AFTER))
        self.writes_left = self.rng.randrange(1, 25)
        self.disk_full_rate = self.rng.choice((0.0, 0.0, 0.01, 0.1))

    # -- what happens at a seam -------------------------------------------------------------------------------------

    def check(self) -> None:
        if self.dead:
            raise Crash

    def die(self) -> NoReturn:
        self.dead = True
        self.crashed.set()
        raise Crash

    def strikes(self, kind: str) -> bool:
        """Whether this fault of the disk, or this crash at it, comes now; asked once a write for each."""
        if self.is_last:
            return False
        if kind == DISK_FULL:
            strikes = self.rng.random() < self.disk_full_rate
        else:
            self.writes_left -= kind == self.end
            strikes = kind == self.end and self.writes_left == 0
        self.world.report.faults[kind] += strikes
        return strikes

    def jitter_ns(self) -> int:
        return self.rng.randrange(50 * MICROSECOND, 4 * MILLISECOND)

    # -- what it does -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        LIFE.set(self)
        world = self.world
        world.report.faults[RESTART] += world.disk.has_orders()
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
        """The same id and content as an order of any life; often a new one, which somebody else may be placing."""
        if self._world.orders:
            orders = list(self._world.orders.values())
            await self._place(self._rng.choice(orders[-10:] if self._rng.random() < 0.7 else orders))

    async def place_twice_at_once(self) -> None:
        order = self._world.new_order(self._rng)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._quietly, order)
            tasks.start_soon(self._quietly, order)

    async def place_other_content(self) -> None:
        known = self._world.disk.order_ids()
        claimed = [order for order_id, order in self._world.orders.items() if order_id in known]
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
        self._world.report.faults[GAVE_UP] += task.cancel()
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
        life, disk = self._life, self._world.disk
        life.throws += 1
        life.halts_at, life.lifts_at = disk.count("Halted"), disk.count("Lifted")
        with suppress(StoreError):
            await self._engine.halt("simulated")
        await self._pause(self._rng.randrange(2 * SECOND))
        throws = life.throws
        await self._engine.lift("simulation")
        if throws == life.throws:
            life.halts_at = None

    async def _quietly(self, order: Order) -> None:
        with suppress(EngineHalted, StoreError):
            await self._place(order)

    async def _place(self, order: Order) -> None:
        deadline_ns = self._world.clock.now_ns() + self._rng.randrange(100 * MILLISECOND, 10 * SECOND)
        with self._world.submitting(self._life, order):
            self._world.told(await self._engine.place_order(order, deadline_ns=deadline_ns))


_TABLE: dict[Callable[[Caller], Awaitable[None]], int] = {
    Caller.place: 50,
    Caller.place_again: 24,
    Caller.place_twice_at_once: 10,
    Caller.place_other_content: 3,
    Caller.place_and_give_up: 20,
    Caller.cancel: 8,
    Caller.modify: 6,
    Caller.cancel_all: 1,
    Caller.halt_and_lift: 1,
}
ACTS, WEIGHTS = tuple(_TABLE), tuple(_TABLE.values())
