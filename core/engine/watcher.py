"""What goes on in the background: lost orders are asked for, open ones read, wanted cancels sent until they land.

One round looks at what is due and visits each broker that has something due, brokers side by side, so that a silent one
holds up no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Final

from anyio.abc import TaskGroup

from ..clock import SECOND, Clock
from ..errors import OrderError, StoreError
from ..models import OrderStatus, Priority
from .asker import Asker
from .changer import Changer
from .orders import AT_BROKER, LOST, LiveOrder, OrderBook
from .recorder import Recorder
from .settings import EngineSettings

__all__ = ["Watcher"]

_S = OrderStatus
_RESTING: Final = frozenset({_S.ACCEPTED, _S.PARTIALLY_FILLED})
_UNSENT: Final = frozenset({_S.NEW, _S.SUBMITTING})
_moved_ns_of: Final = attrgetter("moved_ns")
_CANCEL_MOST_NS: Final = 5 * SECOND  # how long a cancel may wait for its permit before the next round


@dataclass(slots=True)
class _Pace:
    """How often one broker's book is read."""

    read_ns: int = 0  # when it was read last
    pause_ns: int = 0
    moved_ns: int = 0  # the newest step of its orders at that time
    visiting: bool = False


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
        urgent = self._look_after(tasks, now_ns)
        for provider in self._book.providers():
            pace = self._paces.setdefault(provider, _Pace())
            if not pace.visiting and (provider in urgent or self._is_book_due(provider, pace, now_ns)):
                pace.visiting = True
                tasks.start_soon(self._safely, partial(self.visit, provider))

    def _look_after(self, tasks: TaskGroup, now_ns: int) -> set[str]:
        """Take on the orders that nobody is placing; the brokers at which one is to be asked for or cancelled now."""
        urgent: set[str] = set()
        for live in self._book.watched():
            if live.status in AT_BROKER:
                if live.status in _RESTING:
                    urgent.add(live.provider)  # for the cancel that is wanted
            elif not live.is_placing:  # else its own task asks
                if live.status in _UNSENT:
                    tasks.start_soon(self._safely, partial(self.adopt, live))
                if live.status in LOST and live.ask_next_ns <= now_ns:
                    urgent.add(live.provider)
        return urgent

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
        lost = [
            live
            for live in self._book.watched()
            if live.provider == provider and live.status in LOST and not live.is_placing
        ]
        if self._is_book_due(provider, pace, now_ns):
            newest_ns = max(map(_moved_ns_of, self._book.resting_at(provider)))
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
        for live in self._book.watched():
            if live.provider != provider or not live.cancel_wanted or live.status not in _RESTING:
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

    def _is_book_due(self, provider: str, pace: _Pace, now_ns: int) -> bool:
        """Whether the book has to be read of the broker at which orders rest."""
        least_ns = pace.read_ns + self._settings.poll_least_ns
        if pace.pause_ns and now_ns < least_ns:
            return False  # it was read a moment ago, whatever has moved since
        # Something moved: look soon, however long the pauses have become, but a fill takes a moment too. The moment of
        # the first one: in a steady flow there is always one that has just moved, and the book would never be read.
        soon_ns = now_ns - self._settings.ask_first_ns
        rests = has_moved = False
        for live in self._book.resting_at(provider):
            rests = True
            if live.moved_ns > pace.moved_ns:
                if now_ns < least_ns or live.moved_ns <= soon_ns:
                    return now_ns >= least_ns
                has_moved = True
        return rests and not has_moved and now_ns >= pace.read_ns + pace.pause_ns
