"""TradingEngine: the life of an order, from a caller's hand to its end.

For every order id there is at most one live order at all brokers together; every order that a broker accepted from us
is known to us before new ones are taken; every state that a caller hears of was durable before. How, and what a broker
could do to break it: docs/order-safety.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from ..clock import Clock
from ..errors import OrderConflict, OrderDenied, StoreError, UnknownOrder
from ..manager import MultiAPIManager
from ..models import (
    BrokerOrder,
    Event,
    Order,
    OrderOutcome,
    OrderRow,
    OrderStatus,
    OrderStory,
    OrderType,
    Priority,
    Quote,
)
from ..store import JournaledOrder, TradeStore
from .asker import Asker
from .changer import Changer
from .guards import Guards, GuardSettings
from .orders import AT_BROKER, LOST, LiveOrder, OrderBook
from .placer import Placer
from .recorder import IdTaken, Recorder
from .recovery import Recovery
from .settings import EngineSettings
from .story import story_of
from .switch import KillSwitch
from .tags import TagMaker
from .watcher import Watcher

__all__ = ["TradingEngine"]

_S = OrderStatus


class TradingEngine:
    """Places, changes and cancels orders through `manager`, with `store` as its memory.

        async with TradingEngine(manager, store) as engine:
            outcome = await engine.place_order(Order(symbol="NSE:SBIN-EQ", quantity=10))

    The block begins with the orders of the last run and keeps a task that asks after open ones. Without the block,
    `start` is called by the first order, and `watch` may be run by whoever owns the tasks.

    `clock` defaults to the manager's. `on_event` gets what goes over the manager's bus otherwise. `guards` may be
    settings or Guards; `quotes` gives Guards made from settings the last quote of a symbol.
    """

    def __init__(
        self,
        manager: MultiAPIManager,
        store: TradeStore,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        guards: Guards | GuardSettings | None = None,
        settings: EngineSettings | None = None,
        quotes: Callable[[str], Quote | None] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._clock = clock or manager.clock
        self.settings = settings or EngineSettings()
        self.guards = guards if isinstance(guards, Guards) else Guards(guards, quotes=quotes)
        self._manager = manager
        self._store = store
        self._journal = store.journal
        self._book = OrderBook(recent_max=self.settings.recent_max)
        # Seeded by the system: two processes must never make one tag.
        self._tags = TagMaker(clock=self._clock, rng=rng or random.Random(random.SystemRandom().getrandbits(256)))
        self._recorder = Recorder(
            self._journal,
            self._book,
            clock=self._clock,
            emit=on_event or manager.bus.publish,
            hears=_everything if on_event else manager.bus.hears,
        )
        self._switch = KillSwitch(self._journal, self._recorder, clock=self._clock)
        clock, settings = self._clock, self.settings
        self._asker = Asker(manager, self._recorder, self._book, clock=clock, settings=settings)
        self._changer = Changer(manager, self._recorder, clock=clock)
        self._placer = Placer(
            manager,
            self._recorder,
            self._asker,
            self._tags,
            clock=clock,
            settings=settings,
            halted=self._switch.anywhere,
        )
        self._watcher = Watcher(self._recorder, self._asker, self._changer, self._book, clock=clock, settings=settings)
        self._recovery = Recovery(
            manager, store, self._recorder, self._asker, self._watcher, self._book, clock=clock, settings=settings
        )
        self._starting = anyio.Lock()
        self._started = False
        self._earlier: tuple[OrderRow, ...] = ()  # what ended before this process began
        self._block = AsyncExitStack()
        if self.guards.warn is None:
            self.guards.warn = partial(self._recorder.tell, "duplicate_looking", "")

    # -- its life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        tasks = await self._block.enter_async_context(anyio.create_task_group())
        self._block.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self.watch)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._block.__aexit__(exc_type, exc, traceback)

    async def start(self) -> None:
        """Look every open order of the last run up; the first call does it, the others wait for its end.

        Takes up to `settings.recovery_ns` when a broker does not answer.
        """
        if not self._started:
            async with self._starting:
                await self._start_once()

    async def _start_once(self) -> None:
        if self._started:
            return
        self._switch.notice()
        await self._recovery.run(halted=bool(self._switch.reason))
        self._earlier = await self._ended_before()
        self._started = True

    async def watch(self) -> None:
        """Ask after lost and open orders for ever; run it in a task of your own, or use the engine as a block."""
        await self.start()
        async with anyio.create_task_group() as tasks:
            while True:
                self._notice_halt()
                await self._watcher.watch(tasks)
                await self._clock.sleep_until_ns(self._clock.now_ns() + self.settings.tick_ns)

    # -- orders -------------------------------------------------------------------------------------------------------

    async def place_order(
        self, order: Order, *, deadline_ns: int | None = None, only: str | None = None
    ) -> OrderOutcome:
        """Place `order` at the best broker, or at `only`, once; what is known of it when it is durable.

        The same `client_order_id` again, at the same time, later, after a crash or in another process on the store,
        gives the first one's outcome. `deadline_ns`, an instant of the clock, bounds the wait for a permit and for a
        lost order to be found; an order may then be UNKNOWN or QUARANTINED, and is asked for in the background.
        DENIED: a guard said no, or it could not be sent; nothing left, and the message says why.

        Raises EngineHalted (the id stays free), OrderConflict for a used id with other content, ConfigError for an
        `only` that is no account, StoreError when a state could not be made durable: then look the order up. Cancelled
        before it was sent, the order is DENIED; later, UNKNOWN until found.
        """
        if only is not None:
            self._manager.limiter(only)  # an unknown name is the caller's mistake, not an order that no broker takes
        if not self._started:
            await self.start()
        deadline_ns = self._deadline(deadline_ns)
        if not order.client_order_id:
            order = order.with_id(self._tags.order_id())
        while (first := self._book.get(order.client_order_id)) is not None:
            await self._settled(first, order)
            if first.is_claimed:
                return first.outcome()
            # The first never came to be, or its id is another run's: this one goes its own way.
        self._switch.check()
        live = LiveOrder(order, self._clock.epoch_ns())
        live.simulated = self._manager.simulated
        self._book.begin(live)  # no await since the look: two tasks cannot both be the first
        try:
            if self.guards.judges and (denial := self._denial(order)):
                await self._placer.deny(live, denial)
            else:
                await self._placer.place(live, deadline_ns=deadline_ns, only=only)
        except IdTaken as taken:
            self._book.drop(live)
            return await self._of_another(live, taken.known, deadline_ns)
        except anyio.get_cancelled_exc_class():
            # A write that was broken off may have landed: what is not the caller's to know any more, is ours to end.
            with anyio.CancelScope(shield=True), suppress(IdTaken, OrderConflict):
                await self._placer.deny(live, live.give_up_because or "nothing was sent: the caller gave up")
            raise
        finally:
            self._book.placed(live)
        return live.outcome()

    async def modify_order(
        self,
        order_id: str,
        *,
        quantity: int | None = None,
        order_type: OrderType | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        deadline_ns: int | None = None,
    ) -> OrderOutcome:
        """Change what is given of a resting order. MODIFY_REQUESTED: no answer yet, the book will show.

        `message` says why a change was refused or not sent; the order then rests as before. Raises UnknownOrder,
        IllegalStep when it does not rest, OrderDenied by a guard, EngineHalted, ValueError for terms that do not fit.
        """
        await self.start()
        deadline_ns = self._deadline(deadline_ns)
        live = await self._known(order_id)
        wanted = changed_terms(live.terms, quantity, order_type, price, trigger_price)
        self.guards.check_terms(wanted, epoch_ns=self._clock.epoch_ns())
        self._switch.check_anywhere()
        fault = await self._changer.modify(live, wanted, deadline_ns=deadline_ns)
        await self._ask_while(live, _S.MODIFY_REQUESTED, deadline_ns)
        return replace(live.outcome(), message=fault or live.message)

    async def cancel_order(self, order_id: str, *, deadline_ns: int | None = None) -> OrderOutcome:
        """Cancel one order wherever it stands, and wait until its end is known or `deadline_ns` has come.

        An order that ended before stays as it ended. One that still rests has a `message` that says why; the cancel is
        then sent again in the background. Raises UnknownOrder.
        """
        await self.start()
        deadline_ns = self._deadline(deadline_ns)
        while True:
            live = await self._known(order_id)
            fault = await self._cancel(live, deadline_ns, "cancelled before it was sent")
            if live.is_claimed:
                break
            # It never came to be, or its id is another run's, which the journal knows.
        return replace(live.outcome(), message=fault or live.message)

    async def cancel_all(self, *, deadline_ns: int | None = None) -> tuple[OrderOutcome, ...]:
        """Cancel every open order, at all brokers at once; those that were still open at `deadline_ns`."""
        await self.start()
        return await self._cancel_all(self._deadline(deadline_ns), "cancelled before it was sent")

    async def halt(self, reason: str) -> tuple[OrderOutcome, ...]:
        """The kill switch. From this instant nothing new leaves, in this and every process on the store, until `lift`.

        Cancels every open order before anything else is sent; returns those that could not be cancelled in time. Also
        after a crash. Raises StoreError, with this process halted all the same, when the others could not be told.
        """
        self._switch.throw(reason)
        why = f"halted: {self._switch.reason}"
        self._give_up_unsent(why)
        fault = await self._switch.publish()
        left = await self._cancel_all(self._deadline(None), why)
        if fault is not None:
            raise fault
        return left

    async def lift(self, name: str) -> None:
        """Take orders again; `name` is who decided it. Raises ValueError without a name."""
        await self._switch.lift(name)

    # -- what is known ------------------------------------------------------------------------------------------------

    @property
    def halted(self) -> str:
        """Why trading is halted; empty when it is not."""
        return self._switch.reason

    @property
    def open_orders(self) -> int:
        """Orders that have not ended, lost ones among them."""
        return self._book.count_open()

    @property
    def unknown_orders(self) -> int:
        """Orders of which nobody knows whether they are live."""
        return self._book.count((_S.UNKNOWN, _S.QUARANTINED))

    @property
    def foreign_orders(self) -> tuple[BrokerOrder, ...]:
        """Orders in our accounts that headroom never placed, as last seen. They are never touched."""
        return tuple(self._asker.foreign.values())

    async def order(self, order_id: str) -> OrderOutcome:
        """What is known of an order. Raises UnknownOrder."""
        live = self._book.get(order_id)
        if live is not None and not live.in_doubt:
            return live.outcome()
        known = await self._journal.order(order_id)
        if known is None:
            raise _no_such(order_id)
        return LiveOrder.of(known).outcome()

    async def story(self, order_id: str) -> OrderStory:
        """All that the journal holds of an order, and what is being done while it is lost. Raises UnknownOrder."""
        known = await self._journal.order(order_id)
        if known is None:
            raise _no_such(order_id)
        rows = await self._journal.story(order_id)
        return story_of(known, rows, self._book.get(order_id), self._asker, self._clock)

    def recent_orders(self, limit: int = 50) -> tuple[OrderRow, ...]:
        """The newest orders, newest first, from memory."""
        epoch_ns = self._clock.epoch_ns()
        rows = tuple(live.row(epoch_ns=epoch_ns) for live in self._book.recent(limit))
        if len(rows) < limit:
            older = self._earlier[: limit - len(rows)]
            rows += tuple(replace(row, age_ns=max(0, epoch_ns - row.epoch_ns)) for row in older)
        return rows

    # -- inside -------------------------------------------------------------------------------------------------------

    def _denial(self, order: Order) -> str:
        try:
            self.guards.admit(
                order,
                now_ns=self._clock.now_ns(),
                epoch_ns=self._clock.epoch_ns(),
                open_orders=self._book.count_open() - 1,  # itself apart
            )
        except OrderDenied as error:
            return str(error)
        return ""

    async def _settled(self, first: LiveOrder, order: Order) -> None:
        if order != first.order:
            message = f"order {order.client_order_id} was used before with other content; give the new one another id"
            raise OrderConflict(message)
        await first.settled()

    async def _of_another(self, live: LiveOrder, known: JournaledOrder, deadline_ns: int) -> OrderOutcome:
        """The outcome of an order that ended before, or that another process is placing."""
        pause_ns = self.settings.ask_first_ns
        while known.status in {_S.NEW, _S.SUBMITTING} and self._clock.now_ns() < deadline_ns:
            await self._clock.sleep_until_ns(min(self._clock.now_ns() + pause_ns, deadline_ns))
            known = await self._journal.order(live.id) or known
        return LiveOrder.of(known).outcome()

    async def _known(self, order_id: str) -> LiveOrder:
        live = self._book.get(order_id)
        if live is not None:
            return live
        known = await self._journal.order(order_id)
        if known is None:
            raise _no_such(order_id)
        live = LiveOrder.of(known)
        if live.is_open and live.status not in {_S.NEW, _S.SUBMITTING}:
            # Another process's, and nobody is placing it: from now on we follow it too.
            live.lost(self._clock.now_ns(), self._asker.orphan_horizon_ns(live.provider))
            self._book.add(live)
        return live

    async def _cancel(self, live: LiveOrder, deadline_ns: int, why: str) -> str:
        self._book.want_cancel(live)
        if live.status is _S.NEW:
            _give_up(live, why)
        await live.settled()  # its own deadline, and the broker's timeout, bound this
        while live.status in LOST and self._clock.now_ns() < deadline_ns:
            await self._asker.ask_about(live, since_ns=self._clock.now_ns(), deadline_ns=deadline_ns)
            await self._pause(deadline_ns)
        fault = ""
        if live.status in AT_BROKER:
            fault = await self._changer.cancel(live, deadline_ns=deadline_ns)
            if fault and live.status in AT_BROKER:
                # Refused: perhaps because it ended in the meantime.
                await self._asker.ask(live.provider, since_ns=self._clock.now_ns(), priority=Priority.CANCEL)
        await self._ask_while(live, _S.CANCEL_REQUESTED, deadline_ns)
        return fault if live.is_open else ""

    async def _cancel_all(self, deadline_ns: int, why: str) -> tuple[OrderOutcome, ...]:
        self._give_up_unsent(why)
        orders = tuple(self._book.open())
        for live in orders:
            self._book.want_cancel(live)
        faults: dict[str, str] = {}

        async def cancel(live: LiveOrder) -> None:
            try:
                faults[live.id] = await self._cancel(live, deadline_ns, why)
            except StoreError as error:
                faults[live.id] = str(error)  # one order's trouble must not leave the others open

        async with anyio.create_task_group() as tasks:
            for live in orders:
                tasks.start_soon(cancel, live)
        return tuple(
            replace(live.outcome(), message=faults.get(live.id) or live.message)
            for live in orders
            if live.is_claimed and live.is_open
        )

    async def _ask_while(self, live: LiveOrder, status: OrderStatus, deadline_ns: int) -> None:
        """Read the book until the order has left `status`, or the deadline has come."""
        while live.status is status and self._clock.now_ns() < deadline_ns:
            now_ns = self._clock.now_ns()
            await self._asker.ask(live.provider, since_ns=now_ns, deadline_ns=deadline_ns, priority=Priority.MODIFY)
            if live.status is status:
                await self._pause(deadline_ns)

    async def _pause(self, deadline_ns: int) -> None:
        await self._clock.sleep_until_ns(min(self._clock.now_ns() + self.settings.ask_first_ns, deadline_ns))

    def _give_up_unsent(self, why: str) -> None:
        for live in self._book.open():
            if live.status is _S.NEW:
                _give_up(live, why)

    def _notice_halt(self) -> None:
        """Follow what another process did with the kill switch."""
        try:
            if self._switch.notice():
                self._give_up_unsent(f"halted: {self._switch.reason}")
        except StoreError as error:
            self._recorder.tell("store", "", str(error))

    async def _ended_before(self) -> tuple[OrderRow, ...]:
        trades = await self._store.get_recent_trades(limit=min(200, self.settings.recent_max))
        return tuple(
            OrderRow(
                order_id=trade.order_id,
                symbol=trade.symbol,
                side=trade.side,
                quantity=trade.quantity,
                filled_quantity=trade.filled_quantity,
                price=trade.price,
                status=trade.status,
                provider=trade.provider,
                broker_order_id=trade.broker_order_id,
                tag=trade.tag,
                simulated=trade.simulated,
                epoch_ns=trade.epoch_ns,
                age_ns=0,
                message=trade.message,
            )
            for trade in trades
            if self._book.get(trade.order_id) is None
        )

    def _deadline(self, deadline_ns: int | None) -> int:
        return self._clock.now_ns() + self.settings.deadline_ns if deadline_ns is None else deadline_ns


def changed_terms(
    terms: Order,
    quantity: int | None,
    order_type: OrderType | None,
    price: Decimal | None,
    trigger_price: Decimal | None,
) -> Order:
    """`terms` with what is given; a type that takes no price, or no trigger, loses it."""
    kind = OrderType(order_type or terms.order_type)
    keeps_price = kind in {OrderType.LIMIT, OrderType.SL}
    keeps_trigger = kind in {OrderType.SL, OrderType.SL_M}
    return replace(
        terms,
        quantity=terms.quantity if quantity is None else quantity,
        order_type=kind,
        price=price if price is not None else terms.price if keeps_price else None,
        trigger_price=trigger_price if trigger_price is not None else terms.trigger_price if keeps_trigger else None,
    )


def _everything(_kind: type[Event]) -> bool:
    return True


def _give_up(live: LiveOrder, why: str) -> None:
    live.give_up_because = live.give_up_because or why
    if live.give_up is not None:
        live.give_up.cancel()


def _no_such(order_id: str) -> UnknownOrder:
    return UnknownOrder(f"no order is known here by the id {order_id!r}")
