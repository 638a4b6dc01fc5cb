"""The only hand that changes an order: journal first, then memory, then the news of it.

Every step is made under the order's own lock, from a state that is checked inside it, so that two tasks that hear of
one order at once (the answer to a cancel, a read of the book) cannot both act on what was true before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType

import anyio

from ..clock import Clock
from ..errors import EngineHalted, OrderError, StoreError
from ..models import BrokerOrder, Event, Incident, OrderIntended, OrderMoved, OrderStatus, check_step
from ..store import Entry, IncidentSeen, Intent, Journal, Step
from .news import Folded, fold
from .orders import LiveOrder, OrderBook

__all__ = ["Recorder"]


class Recorder:
    """Takes the steps of orders. `emit` gets each event after the journal has it."""

    def __init__(self, journal: Journal, book: OrderBook, *, clock: Clock, emit: Callable[[Event], None]) -> None:
        self._journal = journal
        self._book = book
        self._clock = clock
        self._emit = emit

    async def intend(self, live: LiveOrder, *, provider: str, tag: str, simulated: bool) -> bool:
        """Journal that `live` is about to leave for `provider`; False when it is not NEW any more.

        Raises EngineHalted when the kill switch was thrown, in whichever process: nothing may leave.
        """
        attempt = live.attempt + 1
        async with self._hold(live):
            if live.status is not OrderStatus.NEW or live.attempt + 1 != attempt:
                return False
            epoch_ns = self._clock.epoch_ns()
            intent = Intent(live.order, tag, provider, attempt, epoch_ns, simulated=simulated)
            if not await self._append(live, intent):
                return False
            live.status = OrderStatus.SUBMITTING
            live.provider, live.tag, live.attempt, live.simulated = provider, tag, attempt, simulated
            live.broker_order_id = ""
            live.updated_epoch_ns, live.moved_ns = epoch_ns, self._clock.now_ns()
            self._book.reindex(live)
        now_ns = self._clock.now_ns()
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

        `first` is journaled before the step, in the same write.
        """
        async with self._hold(live):
            if live.status not in from_statuses:
                return False
            state = Folded(after, live.filled_quantity, live.average_price)
            return await self._step(live, state, message=message, broker_order_id=broker_order_id, first=first)

    async def hear(self, live: LiveOrder, row: BrokerOrder) -> None:
        """Fold one row of a broker's order book into the order it belongs to."""
        async with self._hold(live):
            heard = fold(live.status, live.filled_quantity, live.average_price, live.terms, row)
            changed = (
                heard.status is not live.status
                or heard.filled_quantity != live.filled_quantity
                or heard.average_price != live.average_price
                or row.broker_order_id != live.broker_order_id
            )
            if changed:
                await self._step(live, heard, message=row.message, broker_order_id=row.broker_order_id)
        if heard.incident:
            await self.incident("contradiction", row.provider, heard.incident, live=live, evidence=_words(row))

    async def incident(
        self, kind: str, provider: str, message: str, *, live: LiveOrder | None = None, evidence: str = ""
    ) -> None:
        """Tell the operator and the journal; of one order once each text: brokers repeat themselves.

        A failing store keeps nobody from being told.
        """
        order_id = ""
        if live is not None:
            if live.told.get(kind) == message:
                return
            live.told[kind] = message
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

    def _hold(self, live: LiveOrder) -> _Hold:
        return _Hold(self, live)

    async def _append(self, live: LiveOrder, *entries: Entry) -> bool:
        """Make `entries` durable; False when the journal knows of a step that this process does not.

        However else it fails, nobody knows what the file holds: the next step reads it first.
        """
        live.in_doubt = True
        try:
            await self._journal.append(*entries, expected=(live.id, live.status, live.attempt))
        except EngineHalted:
            live.in_doubt = False  # the whole was refused
            raise
        except OrderError as error:
            await self.reload(live)
            self.tell("other_process", live.provider, f"{live.id}: {error}")
            return False
        live.in_doubt = False
        return True

    async def reload(self, live: LiveOrder) -> None:
        """Bring memory to what the journal holds."""
        known = await self._journal.order(live.id)
        if known is not None:
            live.know(known)
            self._book.reindex(live)
        live.in_doubt = False

    async def _step(
        self, live: LiveOrder, state: Folded, *, message: str, broker_order_id: str, first: Entry | None = None
    ) -> bool:
        before, after = live.status, state.status
        check_step(before, after)
        step = Step(
            order_id=live.id,
            before=before,
            after=after,
            provider=live.provider,
            broker_order_id=broker_order_id or live.broker_order_id,
            tag=live.tag,
            attempt=live.attempt,
            filled_quantity=state.filled_quantity,
            average_price=state.average_price,
            message=message,
            epoch_ns=self._clock.epoch_ns(),
        )
        if not await self._append(live, *((step,) if first is None else (first, step))):
            return False
        self.follow(live, step)
        return True

    def follow(self, live: LiveOrder, step: Step) -> None:
        """Take a step in memory that the journal has already, and tell of it."""
        live.status = step.after
        live.broker_order_id = step.broker_order_id
        live.filled_quantity, live.average_price = step.filled_quantity, step.average_price
        live.message = step.message or live.message
        now_ns = self._clock.now_ns()
        live.updated_epoch_ns, live.moved_ns = step.epoch_ns, now_ns
        self._book.reindex(live)
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


class _Hold:
    """The block of one step: the order's lock, its state as the journal has it, and no cancellation.

    A cancelled write may land all the same, so whoever begins a step ends it. A class, because it stands on the way of
    every order: a generator with two nested blocks costs three times as much.
    """

    __slots__ = ("_live", "_recorder", "_scope")

    def __init__(self, recorder: Recorder, live: LiveOrder) -> None:
        self._recorder = recorder
        self._live = live
        self._scope = anyio.CancelScope(shield=True)

    async def __aenter__(self) -> None:
        self._scope.__enter__()
        try:
            await self._live.lock.acquire()
            if self._live.in_doubt:
                try:
                    await self._recorder.reload(self._live)
                except BaseException:
                    self._live.lock.release()
                    raise
        except BaseException as error:
            self._scope.__exit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.lock.release()
        self._scope.__exit__(exc_type, exc, traceback)


def _words(row: BrokerOrder) -> str:
    return (
        f"{row.provider} {row.broker_order_id} tag {row.tag}: {row.side.value} {row.filled_quantity}/{row.quantity} "
        f"{row.symbol} {row.status.value} {row.message}"
    )
