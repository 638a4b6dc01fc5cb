"""Group commit: everything that waits goes into one transaction, one fdatasync and one hop to the writer's thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from ..clock import Clock
from ..errors import StoreError
from .faults import is_about_the_file, told
from .ledger import Ledger
from .schema import configure

__all__ = ["BATCH_MAX", "Writer"]

T = TypeVar("T")
BATCH_MAX: Final = 1024
_WAL_BYTES_KEPT: Final = 64 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Write:
    """One caller's share of a transaction."""

    work: Callable[[Ledger], Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class _BatchConnection(sqlite3.Connection):
    """A connection whose `commit` writes a whole batch.

    aiosqlite carries each call to its thread and back, about 60 us a trip. Begin, statements and commit as calls of
    their own are as many trips; as one `commit` they are one.
    """

    path: Path
    batch: Sequence[_Write] = ()

    def commit(self) -> None:
        if not self._write(careful=False):
            # One write failed after it had changed something. Once more, each behind a savepoint of its own: the
            # savepoints cost too much to have them always.
            self._write(careful=True)

    def _write(self, *, careful: bool) -> bool:
        batch = self.batch
        try:
            # IMMEDIATE: a transaction that reads first and locks later is refused at once when another process got
            # in between, whatever the busy timeout says.
            self.execute("BEGIN IMMEDIATE")
            ledger = Ledger(self)
            for write in batch:
                if not self._apply(write, ledger, careful=careful):
                    return False
            ledger.settle()
            self.execute("COMMIT")
        except sqlite3.Error as error:
            for write in batch:
                write.error = told(error, self.path)
        finally:
            if self.in_transaction:
                self.execute("ROLLBACK")
        return True

    def _apply(self, write: _Write, ledger: Ledger, *, careful: bool) -> bool:
        """Run one write; False when it left something behind that only a rollback of the whole can undo."""
        write.error = None
        changes, mark = self.total_changes, ledger.mark()
        if careful:
            self.execute("SAVEPOINT one")
        try:
            write.result = write.work(ledger)
        except Exception as error:  # whatever it is, it goes to the caller who handed in the work
            if is_about_the_file(error):
                raise
            write.error = told(error, self.path) if isinstance(error, sqlite3.Error) else error
            ledger.back(mark)
            if careful:
                self.execute("ROLLBACK TO one")
            elif self.total_changes != changes:
                return False
        if careful:
            self.execute("RELEASE one")
        return True


class Writer:
    """The one task that writes. Between `open` and `close` it owns the file's writing connection.

    A write that has returned is durable. A write that is cancelled before its transaction begins leaves no trace; one
    that is cancelled later lands whole, and its caller, who was cancelled, cannot tell: he has to look.
    """

    def __init__(self, path: Path, *, clock: Clock, busy_ms: int, max_bytes: int | None) -> None:
        self._path = path
        self._clock = clock
        self._busy_ms = busy_ms
        self._max_bytes = max_bytes
        self._waiting: list[_Write] = []  # as long as its callers are many: each waits for his own
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closing = False
        self._raw: _BatchConnection | None = None
        self._db: aiosqlite.Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        with self._clock.outside():
            self._db = await aiosqlite.Connection(self._connect, iter_chunk_size=64)
        self._task = asyncio.create_task(self._work(self._db), name="store writer")

    async def close(self) -> None:
        """Write what waits, then end."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._db is not None:
            with self._clock.outside():
                await self._db.close()

    async def write(self, work: Callable[[Ledger], T]) -> T:
        """Run `work` inside the next transaction and return its result once that is durable.

        `work` runs in the writer's thread and may run twice; it changes nothing but the ledger.
        Raises what `work` raised, or a StoreError; in both cases nothing of this write is in the file.
        """
        if self._closing or self._task is None:
            raise StoreError(f"{self._path}: the store is closed; write inside its `async with` block")
        write = _Write(work, asyncio.get_running_loop().create_future())
        self._waiting.append(write)
        self._wake.set()
        result: T = await write.done
        return result

    async def alone(self, statement: str) -> None:
        """Run one statement outside any transaction, with the writing connection to itself."""
        if self._closing or self._db is None:
            raise StoreError(f"{self._path}: the store is closed; use it inside its `async with` block")
        async with self._turn:
            with self._clock.outside():
                try:
                    await self._db.execute_fetchall(statement)
                except sqlite3.Error as error:
                    raise told(error, self._path) from error

    def _connect(self) -> sqlite3.Connection:
        raw = sqlite3.connect(self._path, isolation_level=None, factory=_BatchConnection)
        raw.path = self._path
        configure(raw, self._path, busy_ms=self._busy_ms)
        # A limit of 0 would truncate the log at every checkpoint, which costs 28 %.
        raw.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
        if self._max_bytes is not None:
            page_bytes: int = raw.execute("PRAGMA page_size").fetchone()[0]
            raw.execute(f"PRAGMA max_page_count = {max(1, self._max_bytes // page_bytes)}")
        self._raw = raw
        return raw

    async def _work(self, db: aiosqlite.Connection) -> None:
        try:
            while self._waiting or not self._closing:
                batch = [write for write in self._waiting[:BATCH_MAX] if not write.done.done()]
                del self._waiting[:BATCH_MAX]
                if batch:
                    await self._commit(db, batch)
                    # One pass of the loop: who has just been told may hand in his next write for the next batch.
                    await asyncio.sleep(0)
                elif not self._waiting and not self._closing:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            self._closing = True
            for write in self._waiting:
                if not write.done.done():
                    write.done.set_exception(StoreError(f"{self._path}: the store was closed before this was written"))

    async def _commit(self, db: aiosqlite.Connection, batch: list[_Write]) -> None:
        assert self._raw is not None  # noqa: S101 - set by _connect, before this task began
        try:
            async with self._turn:
                with self._clock.outside():
                    self._raw.batch = batch
                    await db.commit()
        except sqlite3.Error as error:
            for write in batch:
                write.error = told(error, self._path)
        except BaseException:
            # This task was cancelled from outside, and the transaction may still land.
            for write in batch:
                if not write.done.done():
                    write.done.set_exception(StoreError(f"{self._path}: stopped in mid-write; look whether it landed"))
            raise
        for write in batch:
            if write.done.done():
                continue
            if write.error is None:
                write.done.set_result(write.result)
            else:
                write.done.set_exception(write.error)
