"""The only hand that changes an order: journal first, then memory, then the news of it.

Every step is made while the order is held, from a state that is checked inside it, so that two tasks that hear of
one order at once (the answer to a cancel, a read of the book) cannot both act on what was true before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from decimal import Decimal
from typing import Any, Final

import anyio

from ..clock import Clock
from ..errors import EngineHalted, HeadroomError, IllegalStep, OrderError, StoreError
from ..models import FINAL, BrokerOrder, Event, Incident, OrderIntended, OrderMoved, OrderStatus, check_step, maker
from ..store import Entry, IncidentSeen, Intent, Journal, JournaledOrder, Step
from .news import Folded, fold
from .orders import LiveOrder, OrderBook

__all__ = ["IdTaken", "Recorder"]

_NEW: Final = OrderStatus.NEW
_SUBMITTING: Final = OrderStatus.SUBMITTING
_intent: Final = maker(Intent)
_step: Final = maker(Step)


class IdTaken(Exception):
    """The order's id has an order already: of an earlier run, or of another process."""

    def __init__(self, known: JournaledOrder) -> None:
        super().__init__(known.order_id)
        self.known = known


class Recorder:
    """Takes the steps of orders. `emit` gets each event that it `hears`, after the journal has it."""

    def __init__(
        self,
        journal: Journal,
        book: OrderBook,
        *,
        clock: Clock,
        emit: Callable[[Event], None],
        hears: Callable[[type[Event]], object],
    ) -> None:
        self._journal = journal
        self._book = book
        self._clock = clock
        self._emit = emit
        self._hears = hears

    async def claim(self, live: LiveOrder) -> None:
        """Take the order's id, before it waits for anything. The caller is shielded.

        Raises IdTaken, or OrderConflict where the id has other content. An order that was not claimed is so with the
        first entry that is written of it.
        """
        await self._take(live)
        try:
            if not live.is_claimed:
                await self._end(live, self._begin(live, ()))
        finally:
            live.end_turn()

    async def intend(self, live: LiveOrder, *, provider: str, tag: str, simulated: bool) -> bool:
        """Journal that `live` is about to leave for `provider`; False when it is not NEW any more. Caller is shielded.

        Raises EngineHalted when the kill switch was thrown, in whichever process: nothing may leave. And what `claim`
        raises, for an order that was not claimed: the claim is then part of this very write.
        """
        attempt = live.attempt + 1
        if live.is_held or live.in_doubt:
            await self._take(live)
        live.is_held = True
        try:
            if live.status is not _NEW or live.attempt + 1 != attempt:
                return False
            epoch_ns = self._clock.epoch_ns()
            intent = _intent(live.order, tag, provider, attempt, epoch_ns, simulated=simulated)
            if not await self._end(live, self._begin(live, (intent,))):
                return False
            live.status = _SUBMITTING
            live.provider, live.tag, live.attempt, live.simulated = provider, tag, attempt, simulated
            live.broker_order_id = ""
            now_ns = self._clock.now_ns()
            live.updated_epoch_ns, live.moved_ns = epoch_ns, now_ns
            self._book.tagged(live)
        finally:
            live.end_turn()
        if self._hears(OrderIntended):
            self._emit(OrderIntended(at_ns=now_ns, order=live.order, provider=provider, tag=tag, attempt=attempt))
        return True

    async def move(
        self,
        live: LiveOrder,
        from_statuses: Collection[OrderStatus],
        after: OrderStatus,
        *,
        message: str = "",
        broker_order_id: str = "",
        first: Entry | None = None,
    ) -> bool:
        """Take one step if the order is still where the caller saw it; False when something else came between.

        `first` is journaled before the step, in the same write. A cancelled write may land all the same, so whoever
        begins a step ends it. Raises IllegalStep, and journals the incident, for a step that the table does not allow.
        """
        with anyio.CancelScope(shield=True):
            moved = await self.move_shielded(
                live, from_statuses, after, message=message, broker_order_id=broker_order_id, first=first
            )
        return moved  # noqa: RET504 - inside the scope, mypy would miss a return after it

    async def move_shielded(
        self,
        live: LiveOrder,
        from_statuses: Collection[OrderStatus],
        after: OrderStatus,
        *,
        message: str = "",
        broker_order_id: str = "",
        first: Entry | None = None,
    ) -> bool:
        """`move` for a caller whom no cancellation reaches anyway: a scope less on the way of every order."""
        if live.is_held or live.in_doubt:
            await self._take(live)
        live.is_held = True
        try:
            if live.status not in from_statuses:
                return False
            try:
                step = self._step_to(live, after, live.filled_quantity, live.average_price, message, broker_order_id)
            except IllegalStep as error:
                await self.incident("illegal_step", live.provider, str(error), live=live)
                raise
            if not await self._end(live, self._begin(live, (step,) if first is None else (first, step))):
                return False
            self.follow(live, step)
            return True
        finally:
            live.end_turn()

    def knows(self, live: LiveOrder, row: BrokerOrder) -> bool:
        """Whether this row tells nothing new, so that there is nothing to `hear`. Where a step is under way: False."""
        if live.in_doubt or live.is_held or row.filled_quantity > live.filled_quantity:
            return False
        heard = _folded(live, row)
        return not heard.incident and not _is_news(live, row, heard)

    async def hear(self, news: Sequence[tuple[LiveOrder, BrokerOrder]]) -> None:
        """Fold rows of a broker's order book into the orders they belong to, each another's; their steps go together.

        Raises the first fault, after the others have been heard.
        """
        faults: list[HeadroomError] = []
        with anyio.CancelScope(shield=True):
            contradictions = await self._hear(news, faults)
        for live, row, incident in contradictions:
            await self.incident("contradiction", row.provider, incident, live=live, evidence=_words(row))
        if faults:
            raise faults[0]

    async def _hear(
        self, news: Sequence[tuple[LiveOrder, BrokerOrder]], faults: list[HeadroomError]
    ) -> list[tuple[LiveOrder, BrokerOrder, str]]:
        """Raises nothing of ours: faults go to `faults`. What contradicts what we know is returned."""
        contradictions: list[tuple[LiveOrder, BrokerOrder, str]] = []
        steps: list[tuple[LiveOrder, Step, Awaitable[Any]]] = []
        held: list[LiveOrder] = []
        try:
            # By id: two who hear of the same orders, holding them one way round, never wait for each other.
            for live, row in sorted(news, key=_id_of):
                try:
                    if live.is_held or live.in_doubt:
                        await self._take(live)
                    live.is_held = True
                    held.append(live)
                    state = _folded(live, row)
                    if state.incident:
                        contradictions.append((live, row, state.incident))
                    if _is_news(live, row, state):
                        step = self._step_to(
                            live,
                            state.status,
                            state.filled_quantity,
                            state.average_price,
                            row.message,
                            row.broker_order_id,
                        )
                        steps.append((live, step, self._begin(live, (step,))))
                except HeadroomError as error:
                    faults.append(error)
            for live, step, write in steps:
                try:
                    if await self._end(live, write):
                        self.follow(live, step)
                except HeadroomError as error:
                    faults.append(error)
        finally:
            for live in held:
                live.end_turn()
        return contradictions

    async def incident(
        self, kind: str, provider: str, message: str, *, live: LiveOrder | None = None, evidence: str = ""
    ) -> None:
        """Tell the operator and the journal; of one order once each text: brokers repeat themselves.

        A failing store keeps nobody from being told.
        """
        order_id = ""
        if live is not None:
            if live.is_told(kind, message):
                return
            order_id = live.id
            message = f"{order_id}: {message}"
        self.tell(kind, provider, message, evidence)
        with anyio.CancelScope(shield=True):
            try:
                await self._journal.append(
                    IncidentSeen(kind, provider, message, evidence, order_id, self._clock.epoch_ns())
                )
            except StoreError as error:
                self.tell("store", "", str(error))

    def tell(self, kind: str, provider: str, message: str, evidence: str = "") -> None:
        """Tell the operator alone."""
        now_ns = self._clock.now_ns()
        self._emit(Incident(at_ns=now_ns, kind=kind, provider=provider, message=message, evidence=evidence))

    async def _take(self, live: LiveOrder) -> None:
        """Hold `live` for a step, until its `end_turn`; with what the journal knows of it, where that is in doubt."""
        await live.turn()
        try:
            if live.in_doubt:
                await self.reload(live)
        except BaseException:
            live.end_turn()
            raise

    def _begin(self, live: LiveOrder, entries: tuple[Entry, ...]) -> Awaitable[Any]:
        """Hand a write in, for `_end`; it goes with all that are handed in before the next await."""
        live.in_doubt = True
        if live.is_claimed:
            return self._journal.move(*entries)
        return self._journal.claim(live.order, *entries, simulated=live.simulated)

    async def _end(self, live: LiveOrder, write: Awaitable[Any]) -> bool:
        """Wait until a write that was begun is durable; False when the journal knows a step that this process does not.

        However else it fails, nobody knows what the file holds: the next step reads it first.
        """
        try:
            known = await write
            if not live.is_claimed:
                if known is not None:
                    live.in_doubt = False
                    raise IdTaken(known)
                live.is_claimed = True
        except EngineHalted:
            live.in_doubt = False  # the whole was refused
            raise
        except OrderError as error:
            if not live.is_claimed:
                live.in_doubt = False
                raise
            await self.reload(live)
            self.tell("other_process", live.provider, f"{live.id}: {error}")
            return False
        live.in_doubt = False
        return True

    async def reload(self, live: LiveOrder) -> None:
        """Bring memory to what the journal holds."""
        known = await self._journal.order(live.id)
        if known is not None and known.order == live.order:
            live.is_claimed = True
            live.know(known)
            self._book.reindex(live)
        live.in_doubt = False

    def _step_to(
        self,
        live: LiveOrder,
        after: OrderStatus,
        filled_quantity: int,
        average_price: Decimal,
        message: str,
        broker_order_id: str,
    ) -> Step:
        """The step to `after`. Raises IllegalStep."""
        check_step(live.status, after)
        return _step(
            order_id=live.id,
            before=live.status,
            after=after,
            provider=live.provider,
            broker_order_id=broker_order_id or live.broker_order_id,
            tag=live.tag,
            attempt=live.attempt,
            filled_quantity=filled_quantity,
            average_price=average_price,
            message=message,
            epoch_ns=self._clock.epoch_ns(),
        )

    def follow(self, live: LiveOrder, step: Step) -> None:
        """Take a step in memory that the journal has already, and tell of it."""
        live.status = step.after
        live.broker_order_id = step.broker_order_id
        live.filled_quantity, live.average_price = step.filled_quantity, step.average_price
        live.message = step.message or live.message
        now_ns = self._clock.now_ns()
        live.updated_epoch_ns, live.moved_ns = step.epoch_ns, now_ns
        if step.after in FINAL:
            self._book.ended(live)
        if self._hears(OrderMoved):
            self._emit(
                OrderMoved(
                    at_ns=now_ns,
                    order_id=live.id,
                    before=step.before,
                    after=step.after,
                    provider=live.provider,
                    message=step.message,
                )
            )


def _id_of(news: tuple[LiveOrder, BrokerOrder]) -> str:
    return news[0].id


def _folded(live: LiveOrder, row: BrokerOrder) -> Folded:
    return fold(live.status, live.filled_quantity, live.average_price, live.terms, row)


def _is_news(live: LiveOrder, row: BrokerOrder, heard: Folded) -> bool:
    return (
        heard.status is not live.status
        or heard.filled_quantity != live.filled_quantity
        or heard.average_price != live.average_price
        or row.broker_order_id != live.broker_order_id
    )


def _words(row: BrokerOrder) -> str:
    return (
        f"{row.provider} {row.broker_order_id} tag {row.tag}: {row.side.value} {row.filled_quantity}/{row.quantity} "
        f"{row.symbol} {row.status.value} {row.message}"
    )
