"""Who does the steps of a journey: at a router, at a feed, or at a store."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Final, Protocol

from ..errors import ConfigError, HeadroomError, OrderOutcomeUnknown
from ..models import Operation, Order, OrderOutcome, OrderStatus, Trade
from ..router import Router
from ..store.base import TradeStoreProtocol
from .ledger import Ledger
from .scenarios import Step

__all__ = ["Actor", "FeedActor", "NotPlaced", "RouterActor", "Session", "StoreActor", "TickSink"]

_RESTING_KEPT: Final = 1000
_NOT_LIVE: Final = frozenset({OrderStatus.DENIED, OrderStatus.REJECTED, OrderStatus.UNKNOWN, OrderStatus.QUARANTINED})


class NotPlaced(HeadroomError):
    """An order that came back without an error and without being live; the status is its class."""

    def __init__(self, status: OrderStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class TickSink(Protocol):
    """What a feed offers to whoever publishes."""

    def publish(self, *, symbol: str, price: Decimal, volume: int) -> None: ...


@dataclass(slots=True)
class Session:
    """What one user carries from step to step."""

    number: int
    order: Order | None = None
    steps_done: int = 0


class Actor(Protocol):
    """Does one step; its answer comes when it is done, and is HeadroomError when it failed."""

    def act(self, step: Step, session: Session, deadline_ns: int) -> Awaitable[object]: ...


class RouterActor:
    """Trades and reads through a Router."""

    def __init__(self, router: Router, ledger: Ledger, symbols: tuple[str, ...], rng: Random, *, resting: bool) -> None:
        self._router = router
        self._ledger = ledger
        self._symbols = symbols
        self._rng = rng
        self._rest = resting
        self._resting: deque[Order] = deque(maxlen=_RESTING_KEPT)
        self._steps: dict[str, Callable[[Session, int], Awaitable[object]]] = {
            "login": self._read(Operation.AUTHENTICATE),
            "logout": self._read(Operation.LOGOUT),
            "get_portfolio": self._read(Operation.GET_PORTFOLIO),
            "get_positions": self._read(Operation.GET_POSITIONS),
            "get_orders": self._read(Operation.GET_ORDERS),
            "get_market_data": self._quotes,
            "place_order": self._place,
            "modify_order": self._modify,
            "cancel_order": self._cancel,
        }

    def act(self, step: Step, session: Session, deadline_ns: int) -> Awaitable[object]:
        return self._steps[step.operation](session, deadline_ns)

    def _read(self, operation: Operation) -> Callable[[Session, int], Awaitable[object]]:
        async def read(_session: Session, deadline_ns: int) -> object:
            return await self._router.execute(operation, deadline_ns=deadline_ns)

        return read

    async def _quotes(self, session: Session, deadline_ns: int) -> None:
        symbol = self._symbols[session.number % len(self._symbols)]
        await self._router.execute(Operation.GET_MARKET_DATA, deadline_ns=deadline_ns, symbols=(symbol,))

    async def _place(self, session: Session, deadline_ns: int) -> None:
        order = self._ledger.next_order(resting=self._rest)
        try:
            outcome = await self._router.place_order(order, deadline_ns=deadline_ns)
        except OrderOutcomeUnknown:
            self._ledger.told_unsettled(order.client_order_id)
            raise
        except HeadroomError:
            self._ledger.told_not_live(order.client_order_id)
            raise
        self._ledger.told(order.client_order_id, outcome)
        _must_be_live(outcome)
        if self._rest:
            session.order = order
            self._resting.append(order)

    async def _modify(self, session: Session, deadline_ns: int) -> None:
        order = await self._resting_order(session, deadline_ns)
        price = self._ledger.changed_price(order)
        # Not lent to another session meanwhile: one change at a time is the engine's rule, and no finding.
        lent = self._take_back(order)
        try:
            _must_be_live(await self._router.modify_order(order.client_order_id, price=price, deadline_ns=deadline_ns))
        finally:
            if lent:
                self._resting.append(order)

    async def _cancel(self, session: Session, deadline_ns: int) -> None:
        order = await self._resting_order(session, deadline_ns)
        self._take_back(order)
        session.order = None
        _must_be_live(await self._router.cancel_order(order.client_order_id, deadline_ns=deadline_ns))

    def _take_back(self, order: Order) -> bool:
        """Take the order out of those that other sessions may change; False when it was not among them."""
        if order not in self._resting:
            return False
        self._resting.remove(order)
        return True

    async def _resting_order(self, session: Session, deadline_ns: int) -> Order:
        """The session's own order, else one of an earlier session; without any, a new one is placed for it."""
        if session.order is None and self._resting:
            return self._resting[self._rng.randrange(len(self._resting))]
        if session.order is None:
            await self._place(session, deadline_ns)
        if session.order is None:
            message = "this journey's orders do not rest, so none can be changed"
            raise ConfigError(message)
        return session.order


def _must_be_live(outcome: OrderOutcome) -> None:
    if outcome.status in _NOT_LIVE:
        raise NotPlaced(outcome.status, f"{outcome.order_id}: {outcome.status.value} {outcome.message}".rstrip())


@dataclass(slots=True)
class FeedActor:
    """Publishes ticks: the prices walk, the symbols take turns."""

    feed: TickSink
    symbols: tuple[str, ...]
    published: int = 0
    _price: Decimal = field(default=Decimal("100.00"))

    async def act(self, step: Step, session: Session, deadline_ns: int) -> None:  # noqa: ARG002 - a feed has no user
        publish, symbols = self.feed.publish, self.symbols
        for number in range(self.published, self.published + step.count):
            publish(symbol=symbols[number % len(symbols)], price=self._price, volume=1 + number % 500)
        self.published += step.count
        self._price += Decimal("0.05") if self.published // step.count % 2 else Decimal("-0.05")


@dataclass(slots=True)
class StoreActor:
    """Inserts, reads and updates trades, as the database test of old did."""

    store: TradeStoreProtocol
    symbols: tuple[str, ...]
    prefix: str

    async def act(self, step: Step, session: Session, deadline_ns: int) -> None:  # noqa: ARG002 - a store has no deadline
        number = session.steps_done
        if step.operation == "store_trade":
            symbol = self.symbols[number % len(self.symbols)]
            trade = Trade(order_id=self._id(session, number), symbol=symbol, quantity=10, price=Decimal("100.00"))
            await self.store.store_trade(trade)
        elif step.operation == "recent_trades":
            await self.store.get_recent_trades(limit=10)
        else:
            # The latest trade that this worker has stored before this step.
            await self.store.update_trade_status(self._id(session, number - number % 3), OrderStatus.FILLED.value)

    def _id(self, session: Session, number: int) -> str:
        return f"{self.prefix}-{session.number}-{number}"
