"""Asking brokers what became of orders: one read of a book serves all that are open there.

A question proves absence only when it was put after the broker's horizon: before that, a request that was lost on the
way may still arrive, and a book may still be catching up.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress, count, repeat
from typing import Final

import anyio

from ..clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Clock
from ..errors import BrokerError, LimiterError, NoBrokerAvailable
from ..manager import MultiAPIManager, Reservation
from ..models import FINAL, BrokerOrder, Operation, OrderStatus, Priority
from ..slices import Slices
from .news import has_terms, rows_by_tag, terms_of
from .orders import AT_BROKER, LOST, LiveOrder, OrderBook
from .recorder import Recorder
from .settings import EngineSettings
from .tags import TAG_LENGTH

__all__ = ["Asker", "check_place"]

_S = OrderStatus
_IST_OFFSET_NS: Final = 5 * HOUR + 30 * MINUTE
_FOREIGN_MAX: Final = 1000
_HEARD_AT_ONCE: Final = 16  # steps of one trip to the disk; those of orders on their way wait for it
_LOOKED_AT_AT_ONCE: Final = 250
_PUT_MOST_NS: Final = 5 * SECOND  # how long a question may wait for its permit


@dataclass(slots=True)
class _Desk:
    """What one broker told last."""

    lock: anyio.Lock = field(default_factory=partial(anyio.Lock, fast_acquire=True))
    answered_ns: int = -1  # when the last whole book was asked for that came
    silent_since_ns: int | None = None  # the first of the failed questions in a row
    fault: str = ""
    # The last whole book: the rows of orders that have ended as their row says, and None for each of the others.
    settled: Sequence[BrokerOrder | None] = ()

    def unsettled(self, rows: Sequence[BrokerOrder]) -> list[int]:
        """The places of the rows of this whole book that may tell something.

        A day's book is mostly orders that have long ended, and adapters keep a row whose text has not changed. The very
        same one in the same place is passed over without a look; in C, because a look at each made every order dearer
        than the one before.
        """
        is_same = map(operator.is_, rows, chain(self.settled, repeat(None)))
        return list(compress(count(), map(operator.not_, is_same)))


class Asker:
    """Puts questions to brokers and folds the answers into the orders."""

    def __init__(
        self,
        manager: MultiAPIManager,
        recorder: Recorder,
        book: OrderBook,
        *,
        clock: Clock,
        settings: EngineSettings,
    ) -> None:
        self._manager = manager
        self._recorder = recorder
        self._book = book
        self._clock = clock
        self._settings = settings
        self._desks: dict[str, _Desk] = {}
        self.foreign: dict[tuple[str, str], BrokerOrder] = {}  # orders in our accounts that we never placed

    def silent_since_ns(self, provider: str) -> int | None:
        """Since when this broker answers no question; None while it does."""
        return self._desk(provider).silent_since_ns

    def fault(self, provider: str) -> str:
        """Why the last question failed."""
        return self._desk(provider).fault

    def horizon_ns(self, provider: str) -> int:
        """How long an order may turn up after its request was lost; a day where the account is gone."""
        api = self._manager.apis.get(provider)
        return DAY if api is None else api.absence_proven_after_ns

    def orphan_horizon_ns(self, provider: str) -> int:
        """The same for an order whose process has ended, or lives on elsewhere and still waits for its answer."""
        api = self._manager.apis.get(provider)
        return DAY if api is None else api.absence_proven_after_ns + api.config.timeout_ms * MILLISECOND

    async def ask(
        self,
        provider: str,
        *,
        since_ns: int,
        deadline_ns: int | None = None,
        only: LiveOrder | None = None,
        priority: Priority | None = None,
    ) -> bool:
        """Ask one broker for its book, or for one order by its tag; True when it answered.

        An answer that another task got to a question put at or after `since_ns` will do. `only`: by its tag.
        """
        desk = self._desk(provider)
        deadline_ns = self._clock.now_ns() + _PUT_MOST_NS if deadline_ns is None else deadline_ns
        async with desk.lock:
            if desk.answered_ns >= since_ns:
                return True
            concerned = self._book.open_at(provider) if only is None else (only,)
            operation = Operation.GET_ORDERS if only is None else Operation.FIND_ORDERS_BY_TAG
            asked_ns = self._clock.now_ns()
            try:
                with await self._manager.reserve(
                    operation, only=provider, deadline_ns=deadline_ns, priority=priority
                ) as place:
                    check_place(place, provider)
                    asked_ns = self._clock.now_ns()
                    tag = "" if only is None else only.tag
                    rows = await place.call(
                        lambda api: api.find_orders_by_tag(tag) if tag else api.get_orders(),
                    )
            except (LimiterError, NoBrokerAvailable, BrokerError) as error:
                if desk.silent_since_ns is None:
                    desk.silent_since_ns = asked_ns
                desk.fault = str(error)
                return False
            except Exception as error:  # noqa: BLE001 - a bug of an adapter must not end the asking for all the others
                fault = f"{type(error).__name__}: {error}"
                if desk.fault != fault:
                    await self._recorder.incident("adapter", provider, f"{operation.value}: {fault}")
                desk.silent_since_ns = asked_ns if desk.silent_since_ns is None else desk.silent_since_ns
                desk.fault = fault
                return False
            desk.silent_since_ns, desk.fault = None, ""
            if only is not None:
                await self._compare(provider, concerned, rows, asked_ns)
                return True
            desk.answered_ns = asked_ns
            places = desk.unsettled(rows)
            await self._compare(provider, concerned, [rows[place] for place in places], asked_ns)
            desk.settled = await self._look_at_strays(provider, rows, places)
        return True

    async def ask_about(self, live: LiveOrder, *, since_ns: int, deadline_ns: int | None = None) -> bool:
        """Ask what became of a lost order: by its tag when it is alone, else by the book, once for all."""
        lost = sum(other.status in LOST for other in self._book.open_at(live.provider))
        only = live if lost <= 1 else None
        return await self.ask(
            live.provider, since_ns=since_ns, deadline_ns=deadline_ns, only=only, priority=Priority.MODIFY
        )

    async def quarantine(self, live: LiveOrder) -> None:
        """Say loudly that nobody can tell what became of an order. It keeps being asked for."""
        why = self.fault(live.provider) or "no answer"
        message = f"may be live at {live.provider} under tag {live.tag}, which cannot be asked: {why}"
        if await self._recorder.move(live, {_S.UNKNOWN}, _S.QUARANTINED, message=message):
            await self._recorder.incident("quarantined", live.provider, message, live=live)

    def _desk(self, provider: str) -> _Desk:
        return self._desks.setdefault(provider, _Desk())

    # -- our open orders against the answer ---------------------------------------------------------------------------

    async def _compare(
        self, provider: str, concerned: Sequence[LiveOrder], rows: Sequence[BrokerOrder], asked_ns: int
    ) -> None:
        slices = Slices(self._clock)
        by_tag = rows_by_tag(rows)
        news: list[tuple[LiveOrder, BrokerOrder]] = []
        for first in range(0, len(concerned), _LOOKED_AT_AT_ONCE):
            if first:
                await slices.pause()
            for live in concerned[first : first + _LOOKED_AT_AT_ONCE]:
                # It may have moved on to another attempt, elsewhere, while we asked.
                if live.provider != provider or not live.tag:
                    continue
                found = by_tag.get(live.tag)
                if not found:
                    await self._not_found(live, asked_ns)
                    continue
                row = found[0] if len(found) == 1 else await self._one_of(live, found)
                live.asked_ns = asked_ns
                if self._recorder.knows(live, row):
                    await self._judge(live, row, asked_ns)
                else:
                    news.append((live, row))
        await self._hear(provider, news, asked_ns, slices)

    async def _hear(
        self, provider: str, news: Sequence[tuple[LiveOrder, BrokerOrder]], asked_ns: int, slices: Slices
    ) -> None:
        for first in range(0, len(news), _HEARD_AT_ONCE):
            if first:
                await slices.pause()
            # Still there, after the trips of those before.
            heard = [(live, row) for live, row in news[first : first + _HEARD_AT_ONCE] if live.provider == provider]
            await self._recorder.hear(heard)
            for live, row in heard:
                if live.status in AT_BROKER:  # most have just ended
                    await self._judge(live, row, asked_ns)

    async def _one_of(self, live: LiveOrder, found: Sequence[BrokerOrder]) -> BrokerOrder:
        """The row that is the order's, where its tag stands on several; which must not be."""
        ids = ", ".join(row.broker_order_id for row in found)
        await self._recorder.incident(
            "two_orders", live.provider, f"the tag {live.tag} stands on {len(found)} orders: {ids}", live=live
        )
        return next((row for row in found if row.broker_order_id == live.broker_order_id), found[0])

    async def _judge(self, live: LiveOrder, row: BrokerOrder, asked_ns: int) -> None:
        """What follows for a change or a cancel, and for the terms in force, from a row that was heard."""
        if live.status is _S.MODIFY_REQUESTED:
            await self._judge_change(live, row, asked_ns)
        elif live.status is _S.CANCEL_REQUESTED:
            await self._judge_cancel(live, row, asked_ns)
        elif live.status in AT_BROKER:
            live.terms = terms_of(row, live.terms)

    async def _judge_change(self, live: LiveOrder, row: BrokerOrder, asked_ns: int) -> None:
        if live.is_changing:
            return  # its own answer tells more, and is on the way
        if live.wanted is not None and has_terms(row, live.wanted):
            live.terms = live.wanted
        elif asked_ns < live.changed_ns + self.horizon_ns(live.provider):
            return
        elif live.wanted is not None:
            await self._recorder.incident("change_lost", live.provider, "the change did not arrive", live=live)
        live.wanted = None
        live.terms = terms_of(row, live.terms)
        await self._recorder.move(live, {_S.MODIFY_REQUESTED}, live.resting_status)

    async def _judge_cancel(self, live: LiveOrder, row: BrokerOrder, asked_ns: int) -> None:
        if live.is_changing or row.status in FINAL or asked_ns < live.changed_ns + self.horizon_ns(live.provider):
            return
        message = f"the cancel did not arrive at {live.provider}: the order still rests there"
        if await self._recorder.move(live, {_S.CANCEL_REQUESTED}, live.resting_status, message=message):
            await self._recorder.incident("cancel_lost", live.provider, message, live=live)

    async def _not_found(self, live: LiveOrder, asked_ns: int) -> None:
        if live.status in {_S.UNKNOWN, _S.QUARANTINED}:
            live.asked_ns = asked_ns
            if asked_ns >= live.absent_from_ns:
                waited_s = (asked_ns - live.lost_ns) / SECOND
                message = (
                    f"not placed: {live.provider} has no order with tag {live.tag} {waited_s:.1f} s after it was lost"
                )
                await self._recorder.move(
                    live, {_S.UNKNOWN, _S.QUARANTINED}, self._after_absence(live), message=message
                )
        elif live.status in AT_BROKER and self._is_of_an_earlier_day(live):
            message = f"a day order of an earlier day: no more in the book of {live.provider}"
            if await self._recorder.move(live, AT_BROKER, _S.EXPIRED, message=message):
                await self._recorder.incident("expired_unseen", live.provider, message, live=live)
        elif live.status in AT_BROKER and asked_ns >= live.moved_ns + self.horizon_ns(live.provider):
            message = f"no more in the book of {live.provider}, though it was {live.status.value} there"
            await self._recorder.incident("vanished", live.provider, message, live=live)

    def _after_absence(self, live: LiveOrder) -> OrderStatus:
        resend = self._settings.resend_absent and live.is_placing and live.status is _S.UNKNOWN
        return _S.NEW if resend else _S.DENIED

    def _is_of_an_earlier_day(self, live: LiveOrder) -> bool:
        today = (self._clock.epoch_ns() + _IST_OFFSET_NS) // DAY
        return (live.created_epoch_ns + _IST_OFFSET_NS) // DAY < today

    # -- the rest of the answer ---------------------------------------------------------------------------------------

    async def _look_at_strays(
        self, provider: str, rows: Sequence[BrokerOrder], places: Sequence[int]
    ) -> list[BrokerOrder | None]:
        """Late news of orders that have ended, tags of earlier attempts, and orders that are not ours.

        Only the rows at these places are looked at. Returns what is `settled` of the book now.
        """
        settled: list[BrokerOrder | None] = list(rows)
        slices = Slices(self._clock)
        for first in range(0, len(places), _LOOKED_AT_AT_ONCE):
            if first:
                await slices.pause()
            for place in places[first : first + _LOOKED_AT_AT_ONCE]:
                row = rows[place]
                live = self._book.by_tag(row.tag)
                if live is None:
                    if not _looks_ours(row.tag):
                        await self._remember_foreign(provider, row)
                elif live.tag != row.tag or live.provider != provider:
                    await self._earlier_attempt(live, provider, row)
                elif live.status in FINAL:
                    if row.status == live.status and row.filled_quantity == live.filled_quantity:
                        continue
                    await self._recorder.hear([(live, row)])
                settled[place] = None
        return settled

    async def _earlier_attempt(self, live: LiveOrder, provider: str, row: BrokerOrder) -> None:
        if _is_live(row):
            message = f"an earlier attempt is live after all: tag {row.tag}, {row.broker_order_id} at {provider}"
            await self._recorder.incident("earlier_attempt_live", provider, message, live=live)

    async def _remember_foreign(self, provider: str, row: BrokerOrder) -> None:
        key = (provider, row.broker_order_id)
        is_new = key not in self.foreign
        self.foreign[key] = row
        if len(self.foreign) > _FOREIGN_MAX:
            del self.foreign[next(iter(self.foreign))]
        if is_new:
            what = f"{row.broker_order_id} {row.side.value} {row.quantity} {row.symbol}"
            message = f"an order that headroom never placed: {what}"
            await self._recorder.incident("foreign_order", provider, message)


def check_place(place: Reservation, provider: str) -> None:
    """Another account's book proves nothing, least of all that an order was never placed; its ids are other orders."""
    if place.name != provider:
        message = f"{place.operation.value} for {provider} was routed to {place.name}"
        raise NoBrokerAvailable(message)


def _looks_ours(tag: str) -> bool:
    """Made by a TagMaker: of an order that ended before this process began, or of another process on the store."""
    return len(tag) == TAG_LENGTH and tag.startswith("h") and tag.isalnum()


def _is_live(row: BrokerOrder) -> bool:
    return row.status not in FINAL or row.filled_quantity > 0
