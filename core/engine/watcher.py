"""What goes on in the background: lost orders are asked for, open ones read, wanted cancels sent until they land.

One round looks at what is due and visits each broker that has something due, brokers side by side, so that a silent one
holds up no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from anyio.abc import TaskGroup

from ..clock import SECOND, Clock
from ..errors import OrderError, StoreError
from ..models import OrderStatus, Priority
from .asker import Asker
from .changer import Changer
from .orders import AT_BROKER, LOST, NEVER_NS, LiveOrder, OrderBook
from .recorder import Recorder
from .settings import EngineSettings

__all__ = ["Watcher"]

_S = OrderStatus
_RESTING: Final = frozenset({_S.ACCEPTED, _S.PARTIALLY_FILLED})
_UNSENT: Final = frozenset({_S.NEW, _S.SUBMITTING})
_CANCEL_MOST_NS: Final = 5 * SECOND  # how long a cancel may wait for its permit before the next round


@dataclass(slots=True)
class _Pace:
    """How often one broker's book is read."""

    read_ns: int = 0  # when it was read last
    pause_ns: int = 0
    moved_ns: int = 0  # the newest step of its orders at that time
    visiting: bool = False


@dataclass(frozen=True, slots=True)
class _Need:
    """What one broker has to be visited for."""

    pace: _Pace
    cancel: bool  # a wanted cancel has not been sent
    rests: bool  # an order is in its book
    ask_ns: int  # when a lost order is to be asked for
    first_ns: int  # the first step since its book was read
    newest_ns: int  # and the last of all

    @classmethod
    def of(cls, pace: _Pace, orders: Iterable[LiveOrder]) -> _Need:
        """Gathered in one pass over its orders: there may be thousands, four times a second."""
        cancel = rests = False
        ask_ns = first_ns = NEVER_NS
        newest_ns, known_ns = 0, pace.moved_ns
        for live in orders:
            status = live.status
            if status in AT_BROKER:
                rests = True
                moved_ns = live.moved_ns
                if moved_ns > newest_ns:  # noqa: PLR1730 - max() costs double
                    newest_ns = moved_ns
                if known_ns < moved_ns < first_ns:
                    first_ns = moved_ns
                if live.cancel_wanted and status in _RESTING:
                    cancel = True
            elif status in LOST and live.ask_next_ns < ask_ns:
                ask_ns = live.ask_next_ns
        return cls(pace, cancel, rests, ask_ns, first_ns, newest_ns)


class Watcher:
    """Keeps asking. Used by one background task, and by the start, which waits for what it finds."""

    def __init__(
        self,
        recorder: Recorder,
        asker: Asker,
        changer: Changer,
        book: OrderBook,
        *,
        clock: Clock,
        settings: EngineSettings,
    ) -> None:
        self._recorder = recorder
        self._asker = asker
        self._changer = changer
        self._book = book
        self._clock = clock
        self._settings = settings
        self._paces: dict[str, _Pace] = {}

    async def watch(self, tasks: TaskGroup) -> None:
        """Start what is due now in `tasks`; does not wait for it."""
        now_ns = self._clock.now_ns()
        for provider, orders in self._concerned(tasks, now_ns).items():
            pace = self._paces[provider]
            if not pace.visiting and self._due_ns(_Need.of(pace, orders)) <= now_ns:
                pace.visiting = True
                tasks.start_soon(self._safely, partial(self.visit, provider))

    def _concerned(self, tasks: TaskGroup, now_ns: int) -> dict[str, list[LiveOrder]]:
        """The orders for which each broker may have to be visited; those that nobody is placing are taken on."""
        concerned: dict[str, list[LiveOrder]] = {}
        calm: set[str] = set()
        for live in self._book.open():
            provider, status = live.provider, live.status
            if status in AT_BROKER:
                if provider in calm and not live.cancel_wanted:
                    continue  # of thousands, most of the time
            elif live.is_placing:
                if status in LOST:
                    continue  # its own task asks
            elif status in _UNSENT:
                tasks.start_soon(self._safely, partial(self.adopt, live))
            orders = concerned.get(provider)
            if orders is not None:
                orders.append(live)
            elif provider:
                concerned[provider] = [live]
                if self._is_calm(provider, now_ns):
                    calm.add(provider)
        return concerned

    async def adopt(self, live: LiveOrder) -> None:
        """Take on an order that no task of this process is placing: its process, or its task, has ended."""
        if live.status is _S.NEW:
            why = "nothing was sent: whoever placed it ended before it left"
            await self._recorder.move(live, {_S.NEW}, _S.DENIED, message=why)
        elif live.status is _S.SUBMITTING:
            live.lost(self._clock.now_ns(), self._asker.orphan_horizon_ns(live.provider))
            why = "whoever placed it ended before the answer came"
            await self._recorder.move(live, {_S.SUBMITTING}, _S.UNKNOWN, message=why)

    async def visit(self, provider: str) -> None:
        """Ask one broker what is due, and send the cancels that are wanted there."""
        pace = self._paces.setdefault(provider, _Pace())
        pace.visiting = True
        try:
            await self._ask(provider, pace)
            await self._cancel_wanted(provider)
        finally:
            pace.visiting = False

    async def _ask(self, provider: str, pace: _Pace) -> None:
        now_ns = self._clock.now_ns()
        orders = self._book.open_at(provider)
        need = _Need.of(pace, orders)
        lost = [live for live in orders if live.status in LOST and not live.is_placing]
        if self._book_due_ns(need) <= now_ns:
            newest_ns = need.newest_ns
            await self._asker.ask(provider, since_ns=now_ns, priority=Priority.MODIFY if lost else None)
            is_quiet = newest_ns <= pace.moved_ns
            pace.pause_ns = min(2 * pace.pause_ns, self._settings.poll_most_ns) if is_quiet else 0
            pace.pause_ns = max(pace.pause_ns, self._settings.poll_least_ns)
            pace.read_ns, pace.moved_ns = self._clock.now_ns(), newest_ns
        elif lost:
            await self._asker.ask_about(lost[0], since_ns=now_ns)
        for live in lost:
            if live.status in LOST:
                await self._still_lost(live)

    async def _still_lost(self, live: LiveOrder) -> None:
        now_ns = self._clock.now_ns()
        live.ask_pause_ns = min(max(2 * live.ask_pause_ns, self._settings.ask_first_ns), self._settings.ask_most_ns)
        live.ask_next_ns = now_ns + live.ask_pause_ns
        if now_ns < live.absent_from_ns:
            live.ask_next_ns = min(live.ask_next_ns, live.absent_from_ns)
        silent_since_ns = self._asker.silent_since_ns(live.provider)
        if live.status is _S.UNKNOWN and silent_since_ns is not None:
            silent_ns = now_ns - max(silent_since_ns, live.lost_ns)
            if silent_ns >= self._settings.quarantine_after_ns:
                await self._asker.quarantine(live)

    async def _cancel_wanted(self, provider: str) -> None:
        for live in self._book.open_at(provider):
            if not live.cancel_wanted or live.status not in _RESTING:
                continue
            if live.cancels_sent >= self._settings.cancels_max:
                live.cancel_wanted = False
                message = f"still rests at {provider} after {live.cancels_sent} cancels: {live.message}"
                await self._recorder.incident("cannot_cancel", provider, message, live=live)
            elif fault := await self._changer.cancel(live, deadline_ns=self._clock.now_ns() + _CANCEL_MOST_NS):
                await self._recorder.incident("cancel", provider, fault, live=live)

    async def _safely(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreError as error:
            # What was not written is asked for again in the next round.
            self._recorder.tell("store", "", str(error))
        except OrderError as error:
            self._recorder.tell("illegal_step", "", str(error))

    def _is_calm(self, provider: str, now_ns: int) -> bool:
        """Its book is being read or was a moment ago: it is not due again, whatever has moved."""
        pace = self._paces.setdefault(provider, _Pace())
        return pace.visiting or (pace.pause_ns > 0 and now_ns < pace.read_ns + self._settings.poll_least_ns)

    def _due_ns(self, need: _Need) -> int:
        """When its broker has to be visited."""
        return 0 if need.cancel else min(need.ask_ns, self._book_due_ns(need))

    def _book_due_ns(self, need: _Need) -> int:
        pace = need.pace
        if not need.rests:
            return NEVER_NS
        if need.first_ns == NEVER_NS:
            return pace.read_ns + pace.pause_ns
        # Something moved: look soon, however long the pauses have become, but a fill takes a moment too. The moment of
        # the first one: in a steady flow there is always one that has just moved, and the book would never be read.
        return max(pace.read_ns + self._settings.poll_least_ns, need.first_ns + self._settings.ask_first_ns)
