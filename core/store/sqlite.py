"""The trade store on SQLite: one writer with group commit, readers apart, everything durable on return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.to_thread

from ..clock import Clock, SystemClock, VirtualClock
from ..errors import StoreError
from ..models import Trade
from . import upkeep
from .asks import Asks
from .journal import Journal
from .reader import Readers
from .schema import prepare
from .upkeep import StoreSize
from .writer import Writer

__all__ = ["TradeStore"]

T = TypeVar("T")


class TradeStore:
    """Orders as rows, and the journal they follow from: one file, used as an `async with` block.

        async with TradeStore("headroom.db") as store:
            await store.store_trade(trade)          # durable when it returns
            await store.get_recent_trades(limit=10)

    Any number of tasks may use it at once, and any number of processes may open one file.

    `max_bytes` bounds the file (StoreFull above it), `busy_ms` the wait for another process (StoreLocked after it).
    `check` reads every page once at the start, about half a second for a million rows; a damaged file is refused with
    StoreCorrupt.
    `scratch`: the store of a run in virtual time, for that run alone. Nothing else can open the file meanwhile, nothing
    waits for the disk, and writes are committed by hundreds: a full disk takes back what was answered since, a kill or
    a power failure may ruin the file. Who opens it afterwards finds a store like any other.
    Opening raises StoreReadOnly, StoreLocked, StoreFull, StoreCorrupt, or StoreError for a file that is not a store.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock | None = None,
        max_bytes: int | None = None,
        busy_ms: int = 5_000,
        check: bool = True,
        scratch: bool = False,
    ) -> None:
        if str(path) in {"", ":memory:"}:
            message = f"the store needs a file, not {str(path)!r}: its connections would each see a memory of their own"
            raise StoreError(message)
        self.path = Path(path)
        self._clock = clock or SystemClock()
        self._busy_ms = busy_ms
        self._check = check
        self._scratch = scratch
        self._writer = Writer(self.path, clock=self._clock, busy_ms=busy_ms, max_bytes=max_bytes, scratch=scratch)
        self._readers = Readers(self.path, clock=self._clock, busy_ms=busy_ms)
        self.asks = Asks(
            writes=self._writer.lane,
            quick=self._readers.quick_lane,
            long=self._readers.long_lane,
            clock=self._clock,
        )
        self.journal = Journal(
            self.path, writer=self._writer, readers=self._readers, clock=self._clock, busy_ms=busy_ms
        )

    async def __aenter__(self) -> Self:
        try:
            await _finish(self._open())
        except BaseException:
            await _finish(self._close())
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _finish(self._close())

    async def store_trade(self, trade: Trade | object) -> None:
        """Insert, or replace the row of the same `order_id`; durable on return.

        Takes a Trade, or anything with order_id, symbol, quantity and price. A time of 0 becomes now. Raises ValueError
        for a value that no row can hold, StoreError for the row of a journaled order: that one moves with the journal.
        """
        await self.asks.store_trade(trade).answer()

    async def update_trade_status(self, order_id: str, status: str) -> bool:
        """Set the status, durable on return; False when no such row exists. StoreError for a journaled order."""
        return await self.asks.update_trade_status(order_id, status).answer()

    async def get_recent_trades(self, limit: int = 100) -> list[Trade]:
        """The rows stored last, newest first."""
        return await self.asks.get_recent_trades(limit).answer()

    async def get_recent_places(self, limit: int = 100) -> dict[str, tuple[str, str]]:
        """Broker and the broker's own id of the rows stored last, by `order_id`: for whoever compares very many."""
        return await self.asks.get_recent_places(limit).answer()

    async def get_trade_by_order_id(self, order_id: str) -> Trade | None:
        return await self.asks.get_trade_by_order_id(order_id).answer()

    async def get_trades(
        self,
        *,
        symbol: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int | None = None,
    ) -> list[Trade]:
        """The rows of a symbol and of `since_ns <= epoch_ns < until_ns`, stored last first; None means: any."""
        return await self.asks.get_trades(symbol, since_ns, until_ns, limit).answer()

    # Upkeep.

    async def backup(self, target: Path | str) -> None:
        """Copy the store to `target` while it is in use; it appears whole or not at all, and is a store itself."""
        await self._in_thread(partial(upkeep.backup, self.path, Path(target)))

    async def integrity_check(self) -> tuple[str, ...]:
        """What is wrong with pages and indexes; empty when nothing is. `journal.verify` checks the content."""
        return await self._in_thread(partial(upkeep.faults, self.path))

    async def size(self) -> StoreSize:
        """Bytes of the file and of its log, and how many of the file's are free."""
        return await self._in_thread(partial(upkeep.size, self.path))

    async def retire(self, before_ns: int) -> int:
        """Delete what ended before an epoch time, rows and journal entries; how many rows went.

        Journaled orders go oldest first and only as far as nothing before them is still open: the journal loses its
        beginning, never a piece from its middle. An id that is gone can be used again. Other writes wait meanwhile.
        """
        rows: int = await self._writer.write((upkeep.retire, before_ns, self._clock.epoch_ns()))
        return rows

    @property
    def disk_syncs(self) -> int:
        """How many commits have waited for the disk. The log's heads and checkpoints, one in hundreds, come on top."""
        return self._writer.lane.syncs

    def slow_down(self, by_ns: int) -> None:
        """Let every commit take that much longer from now on, as on a slow disk; 0 ends it. For drills only."""
        self._writer.lane.slower_ns = by_ns

    async def vacuum(self) -> None:
        """Give free pages back to the disk. Writes wait meanwhile; needs room for a second copy."""
        await self._writer.alone("VACUUM")
        await self._writer.alone("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._clock.stands_still:  # nobody is held up
            return work()
        with self._clock.outside():
            return await anyio.to_thread.run_sync(work)

    async def _open(self) -> None:
        if self._scratch and not (isinstance(self._clock, VirtualClock) and self._clock.stands_still):
            message = f"{self.path}: a scratch store needs a clock that stands still while the loop works"
            raise StoreError(message)
        await self._in_thread(partial(prepare, self.path, busy_ms=self._busy_ms, check=self._check))
        await self._writer.open()
        await self._readers.open(self._writer.lane)
        await self.journal.open()

    async def _close(self) -> None:
        try:
            await self.journal.close()
            await self._readers.close()
        finally:
            # Last: the last connection to close folds the log into the file.
            await self._writer.close()


async def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even when the caller is cancelled, and only then let the cancellation through.

    An aiosqlite connection that stays open keeps its thread, and the thread keeps the process from ending.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    # The scope holds anyio's cancellation off, which would come again at every wait; the loop holds off asyncio's own.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()
