"""The orders in memory: every open one, and the last that ended, for the screen and for late news."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from operator import attrgetter
from types import MappingProxyType
from typing import Final

import anyio

from ..models import OPEN, Order, OrderOutcome, OrderRow, OrderStatus, maker
from ..store import JournaledOrder

__all__ = ["AT_BROKER", "LOST", "LiveOrder", "OrderBook"]

_S = OrderStatus
# Sent, and no answer that tells whether it is live.
LOST: Final = frozenset({_S.SUBMITTING, _S.UNKNOWN, _S.QUARANTINED})
# Known to rest at a broker.
AT_BROKER: Final = frozenset({_S.ACCEPTED, _S.PARTIALLY_FILLED, _S.CANCEL_REQUESTED, _S.MODIFY_REQUESTED})

NEVER_NS: Final = 2**63  # later than any clock reaches
_NOTHING: Final = Decimal(0)
_NEW: Final = _S.NEW
_outcome: Final = maker(OrderOutcome)
_status_of: Final = attrgetter("status")


class LiveOrder:
    """One order as this process knows it. Changed only by the Recorder, after the journal has it.

    `order` is what the caller asked for, `terms` what is in force after changes. Times named `_ns` are monotonic, those
    named `epoch_ns` of the wall clock. The class's fields and those below the line are this process's own and are
    never stored.
    """

    # What most orders never change.
    give_up: anyio.CancelScope | None = None  # cancels the wait for a permit; None once something may have left
    give_up_because: str = ""
    fault: str = ""  # why the last attempt did not become live
    lost_ns: int = 0  # since when nobody knows
    absent_from_ns: int = NEVER_NS  # a question put from then on that does not find it proves that it was never placed
    ask_next_ns: int = 0
    ask_pause_ns: int = 0
    cancel_wanted: bool = False
    cancels_sent: int = 0
    is_changing: bool = False  # a task of this process waits for the answer to a cancel or change
    changed_ns: int = 0  # when the last cancel or change was sent
    wanted: Order | None = None  # the terms that an unanswered change asks for
    earlier_tags: frozenset[str] = frozenset()  # of attempts that did not become live
    _settled: asyncio.Event | None = None  # made by the first who waits for the end of the placement
    _in_line: deque[asyncio.Future[None]] | None = None  # who waits for his turn; made by the first
    _told: Mapping[str, str] = MappingProxyType({})  # the last incident of each kind

    def __init__(self, order: Order, created_epoch_ns: int) -> None:
        """A new order, which a task of this process is about to place."""
        # What every order sets sooner or later is set here: orders share the layout that the first of them had, and one
        # that gets another attribute afterwards gets a dict of its own with it.
        self.id = order.client_order_id
        self.order = self.terms = order
        self.created_epoch_ns = created_epoch_ns
        self.status = _NEW
        self.provider = self.broker_order_id = self.tag = self.message = ""
        self.attempt = self.filled_quantity = self.updated_epoch_ns = 0
        self.average_price = _NOTHING
        self.simulated = True
        # --------------------------------------------------------------------------------------------------------------
        self.is_held = False  # by the one task whose turn it is, from reading the state to journaling a step
        self.is_claimed = False  # the journal has it: with its first entry it comes to be
        self.is_placing = True  # a task of this process is about to send it, or waits for the answer
        self.in_doubt = False  # a write ended without an answer: the journal may hold more than we know
        self.moved_ns = 0  # when this process took the last step
        self.asked_ns: int | None = None  # when the last question about it was put that the broker answered

    @classmethod
    def of(cls, known: JournaledOrder) -> LiveOrder:
        """An order of the journal."""
        live = cls(known.order, known.epoch_ns)
        live.is_claimed, live.is_placing = True, False
        live.know(known)
        return live

    def stands(self, status: OrderStatus) -> bool:
        """Whether this is its status now; a question, so that no type checker takes the answer for lasting."""
        return self.status is status

    async def turn(self) -> None:
        """Wait while it is held, in the order of the calls; it is then held for the caller, until his `end_turn`.

        Where it is free, setting `is_held` is enough: a coroutine or a lock for each step costs as much as the step.
        """
        if self.is_held:
            if self._in_line is None:
                self._in_line = deque()
            called = asyncio.get_running_loop().create_future()
            self._in_line.append(called)
            try:
                await called
            except asyncio.CancelledError:
                if not called.cancelled():  # called in the very moment
                    self.end_turn()
                raise
        self.is_held = True

    def end_turn(self) -> None:
        """The next in line has his turn at once, so that nobody comes in between."""
        while self._in_line:
            called = self._in_line.popleft()
            if not called.done():
                called.set_result(None)
                return
        self.is_held = False

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    def is_told(self, kind: str, message: str) -> bool:
        """Whether this was the last incident of its kind; from now on it is."""
        if self._told.get(kind) == message:
            return True
        self._told = {**self._told, kind: message}
        return False

    async def settled(self) -> None:
        """Wait until its placement, if one is under way in this process, has ended."""
        if self.is_placing:
            if self._settled is None:
                self._settled = asyncio.Event()
            await self._settled.wait()

    def settle(self) -> None:
        """Its placement has ended, and who waits for that is told."""
        self.is_placing = False
        if self._settled is not None:
            self._settled.set()
            self._settled = None

    @property
    def resting_status(self) -> OrderStatus:
        """What it is while it rests at the broker untouched."""
        return OrderStatus.PARTIALLY_FILLED if self.filled_quantity else OrderStatus.ACCEPTED

    def lost(self, now_ns: int, horizon_ns: int) -> None:
        """From now on nobody knows; it may turn up for `horizon_ns` more."""
        self.lost_ns = self.ask_next_ns = now_ns
        self.absent_from_ns = now_ns + horizon_ns
        self.asked_ns, self.ask_pause_ns = None, 0

    def know(self, known: JournaledOrder) -> None:
        """Take over what the journal holds."""
        self.status = known.status
        self.provider, self.tag, self.attempt = known.provider, known.tag, known.attempt
        self.broker_order_id = known.broker_order_id
        self.filled_quantity, self.average_price = known.filled_quantity, known.average_price
        self.message, self.simulated = known.message, known.simulated
        self.updated_epoch_ns = known.updated_ns

    def outcome(self) -> OrderOutcome:
        return _outcome(
            order_id=self.id,
            status=self.status,
            provider=self.provider,
            broker_order_id=self.broker_order_id,
            tag=self.tag,
            attempt=self.attempt or 1,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            message=self.message,
            epoch_ns=self.updated_epoch_ns,
        )

    def row(self, *, epoch_ns: int) -> OrderRow:
        price = self.average_price if self.filled_quantity else (self.terms.price or Decimal(0))
        return OrderRow(
            order_id=self.id,
            symbol=self.order.symbol,
            side=str(self.order.side),
            quantity=self.terms.quantity,
            filled_quantity=self.filled_quantity,
            price=price,
            status=str(self.status),
            provider=self.provider,
            broker_order_id=self.broker_order_id,
            tag=self.tag,
            simulated=self.simulated,
            epoch_ns=self.created_epoch_ns,
            age_ns=max(0, epoch_ns - self.created_epoch_ns),
            message=self.message,
        )


class OrderBook:
    """Orders by id and by tag, in the order in which they came. Every open one is kept; of the ended ones the last."""

    def __init__(self, *, recent_max: int) -> None:
        self._recent_max = recent_max
        self._orders: dict[str, LiveOrder] = {}
        self._by_tag: dict[str, LiveOrder] = {}
        self._open: dict[str, LiveOrder] = {}
        self._sent: defaultdict[str, dict[str, LiveOrder]] = defaultdict(dict)  # the open ones by broker
        self._watched: dict[str, LiveOrder] = {}
        self._ended: deque[LiveOrder] = deque()  # in the order in which they ended, which is that of forgetting them
        # The dicts' own, not methods around them: a book that was read is looked up row by row.
        self.get = self._orders.get
        self.by_tag = self._by_tag.get

    def __len__(self) -> int:
        return len(self._orders)

    def begin(self, live: LiveOrder) -> None:
        """Add an order that is new."""
        self._orders[live.id] = self._open[live.id] = live

    def add(self, live: LiveOrder) -> None:
        """Add an order of the journal."""
        self._orders[live.id] = live
        self.reindex(live)
        if live.status not in OPEN:
            self._ended.append(live)

    def drop(self, live: LiveOrder) -> None:
        """Forget an order that never came to be; not another one that has got its id meanwhile."""
        if self._orders.get(live.id) is live:
            del self._orders[live.id]
            self._open.pop(live.id, None)
            self._watched.pop(live.id, None)
            self._sent[live.provider].pop(live.id, None)
        self._forget_tags(live)

    def reindex(self, live: LiveOrder) -> None:
        """After news that may have changed its broker, its tag and its openness."""
        if live.tag:
            self.tagged(live)
        if live.status in OPEN:
            self._open[live.id] = self._watched[live.id] = live
        else:
            self.ended(live)

    def tagged(self, live: LiveOrder) -> None:
        """It goes to a broker under a tag; it is still found by the tags it had."""
        self._by_tag[live.tag] = live
        if live.attempt > 1:
            for there in self._sent.values():
                there.pop(live.id, None)
        self._sent[live.provider][live.id] = live

    def placed(self, live: LiveOrder) -> None:
        """Its placement has ended, whatever came of it."""
        if not live.is_claimed:
            self.drop(live)  # it never came to be
        elif live.status not in AT_BROKER:
            self.watch(live)
        live.settle()

    def ended(self, live: LiveOrder) -> None:
        """It is open no more."""
        self._sent[live.provider].pop(live.id, None)
        if self._watched:
            self._watched.pop(live.id, None)
        if self._open.pop(live.id, None) is not None:
            self._ended.append(live)
            if len(self._ended) > self._recent_max:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._ended) > self._recent_max:
            live = self._ended.popleft()
            if live.is_placing:  # somebody still waits to be told
                self._ended.append(live)
                return
            if not live.is_open and self._orders.get(live.id) is live:
                del self._orders[live.id]
                self._forget_tags(live)

    def _forget_tags(self, live: LiveOrder) -> None:
        for tag in {live.tag, *live.earlier_tags}:
            self._by_tag.pop(tag, None)

    def open(self) -> Iterator[LiveOrder]:
        """Every open order, as of now: steps may be taken while the caller goes through them."""
        return iter(tuple(self._open.values()))

    def open_at(self, provider: str) -> list[LiveOrder]:
        """Those that went to one broker last, in the order in which they did; a list of the caller's own."""
        return list(self._sent[provider].values())

    def resting_at(self, provider: str) -> Iterator[LiveOrder]:
        """Those of them that rest there; no step may be taken meanwhile."""
        return (live for live in self._sent[provider].values() if live.status in AT_BROKER)

    def providers(self) -> list[str]:
        """The brokers at which orders are open: first the one that was sent the oldest of them."""
        first = [(next(iter(there.values())).created_epoch_ns, name) for name, there in self._sent.items() if there]
        return [name for _, name in sorted(first)]

    def watch(self, live: LiveOrder) -> None:
        """An open order that is to be looked after: nobody is placing it, or its cancel is wanted."""
        if self._open.get(live.id) is live:
            self._watched[live.id] = live

    def want_cancel(self, live: LiveOrder) -> None:
        """From now on its cancel is wanted."""
        live.cancel_wanted = True
        self.watch(live)

    def watched(self) -> list[LiveOrder]:
        """Those that are still to be looked after, oldest first; a list of the caller's own.

        Not those that simply rest at a broker: of the thousands that may be open these are few.
        """
        for live in tuple(self._watched.values()):
            if not live.cancel_wanted and (live.is_placing or live.status in AT_BROKER):
                del self._watched[live.id]
        return sorted(self._watched.values(), key=_age)

    def count_open(self) -> int:
        return len(self._open)

    def count(self, statuses: Iterable[OrderStatus]) -> int:
        # In C: of the thousands that may be open nearly none is meant.
        return sum(map(frozenset(statuses).__contains__, map(_status_of, self._open.values())))

    def recent(self, limit: int) -> tuple[LiveOrder, ...]:
        """The newest `limit` orders, newest first."""
        newest: list[LiveOrder] = []
        for live in reversed(self._orders.values()):
            if len(newest) >= limit:
                break
            newest.append(live)
        return tuple(newest)


def _age(live: LiveOrder) -> int:
    return live.created_epoch_ns
