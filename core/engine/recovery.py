"""The start: every order of the last run is looked up before new ones are taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import anyio

from ..clock import Clock
from ..errors import StoreError
from ..manager import MultiAPIManager
from ..models import OrderStatus, Priority
from ..store import TradeStore
from .asker import Asker
from .orders import LOST, LiveOrder, OrderBook
from .recorder import Recorder
from .settings import EngineSettings
from .watcher import Watcher

__all__ = ["Recovery"]

_S = OrderStatus


class Recovery:
    """Loads the open orders and waits until brokers have told what became of them, or cannot be asked in time."""

    def __init__(
        self,
        manager: MultiAPIManager,
        store: TradeStore,
        recorder: Recorder,
        asker: Asker,
        watcher: Watcher,
        book: OrderBook,
        *,
        clock: Clock,
        settings: EngineSettings,
    ) -> None:
        self._manager = manager
        self._store = store
        self._recorder = recorder
        self._asker = asker
        self._watcher = watcher
        self._book = book
        self._clock = clock
        self._settings = settings

    async def run(self, *, halted: bool) -> None:
        """Leave every order settled, resting, or QUARANTINED; or UNKNOWN where its broker's horizon outlasts the wait.

        While trading is halted, a cancel is wanted of every order that still rests.
        """
        for known in await self._store.journal.open_orders():
            live = LiveOrder.of(known)
            live.cancel_wanted = halted or live.status is _S.CANCEL_REQUESTED
            if live.status in LOST:
                live.lost(self._clock.now_ns(), self._asker.orphan_horizon_ns(live.provider))
            self._book.add(live)
        deadline_ns = self._clock.now_ns() + self._settings.recovery_ns
        await _all(
            partial(self._watcher.adopt, live) for live in self._book.open() if live.status in {_S.NEW, _S.SUBMITTING}
        )
        providers = sorted({live.provider for live in self._book.open()})
        await _all(partial(self._ask, provider, deadline_ns) for provider in providers)

    async def _ask(self, provider: str, deadline_ns: int) -> None:
        answered = False
        pause_ns = self._settings.ask_first_ns
        while provider in self._manager.apis:
            now_ns = self._clock.now_ns()
            answered |= await self._asker.ask(
                provider, since_ns=now_ns, deadline_ns=deadline_ns, priority=Priority.MODIFY
            )
            lost = self._lost_at(provider)
            now_ns = self._clock.now_ns()
            if (answered and not lost) or now_ns >= deadline_ns:
                break
            provable_ns = [live.absent_from_ns for live in lost if live.absent_from_ns > now_ns]
            await self._clock.sleep_until_ns(min(now_ns + pause_ns, deadline_ns, *provable_ns))
            pause_ns = min(2 * pause_ns, self._settings.ask_most_ns)
        if not answered:
            why = self._asker.fault(provider) or "no account of that name is configured"
            self._recorder.tell("recovery", provider, f"{provider} could not be asked for its open orders: {why}")
            for live in self._lost_at(provider):
                await self._asker.quarantine(live)

    def _lost_at(self, provider: str) -> list[LiveOrder]:
        return [live for live in self._book.open_at(provider) if live.status in LOST]


async def _all(works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all of them at once, to the end; then raise the first StoreError, if there was one, as itself."""
    faults: list[StoreError] = []

    async def do(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreError as error:
            faults.append(error)

    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(do, work)
    if faults:
        raise faults[0]
