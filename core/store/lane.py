"""One connection, its thread, and the one task that feeds it: all that waits goes over in one trip.

On a clock that stands still while the loop works there is neither: nobody is held up by a trip made in place, and two
hops and a task's two turns for every trip cost such a run as much as the trips. Where no commit is to be shared either,
there are no trips: what is handed in is done.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import aiosqlite

from ..clock import Clock
from ..errors import StoreError
from .faults import told

__all__ = ["BATCH_MAX", "Job", "Lane", "LaneConnection"]

BATCH_MAX: Final = 1024
_LOOK_S: Final = 5.0
W = TypeVar("W")


@dataclass(slots=True, eq=False)
class Job(Generic[W]):
    """One caller's share of a trip: what to do, and what came of it."""

    work: W
    done: asyncio.Future[Any] | concurrent.futures.Future[Any]
    result: Any = None
    error: BaseException | None = None


class LaneConnection(sqlite3.Connection):
    """A connection whose `commit` does a whole trip's work. `syncs`: how many commits waited for the disk.

    aiosqlite carries each call to its thread and back, and the trip costs more than most statements. Begin, statements
    and commit as calls of their own are as many trips; inside one `commit` they are one.
    """

    trip: Callable[[], None]
    syncs: int = 0
    at_once: bool = False  # in place, nothing waits for others to share a trip with

    def commit(self) -> None:
        self.trip()

    def finish(self) -> None:
        """Commit what the connection has left open; for whoever reads, or runs a statement of his own."""


class Lane(Generic[W]):
    """What waits together travels together. `carry` does the jobs of one trip in the connection's own thread.

    `at_once` does one piece of work by itself, over a connection that is `at_once`; its result, or what it raises.

    A job that is cancelled before its trip begins is not done; one that is cancelled later is done to its end, and its
    caller, who was cancelled, cannot tell: he has to look.

    `slower_ns`: how much longer every trip takes than it does by itself, for whoever plays a slow disk.
    """

    slower_ns: int = 0

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        connect: Callable[[], LaneConnection],
        carry: Callable[[LaneConnection, Sequence[Job[W]]], None],
        at_once: Callable[[LaneConnection, W], Any],
    ) -> None:
        self._path = path
        self._clock = clock
        self._connect = connect
        self._carry = carry
        self._do_at_once = at_once
        self._waiting: list[Job[W]] = []  # as long as its callers are many: each waits for his own
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = True
        self._raw: LaneConnection | None = None
        self._db: aiosqlite.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_place = False
        self._at_once: LaneConnection | None = None  # where what is handed in is done, as long as the lane is open
        self._shares = False  # the connection of another lane, which closes it
        self._under_way = False  # a trip in place is about to begin, or held up by a slow disk
        self._ended: asyncio.Future[None] | None = None  # of a lane in place that is closing

    async def open(self, beside: Lane[Any] | None = None) -> None:
        """`beside`: a lane that is open already and closes later. In place its connection is enough for both."""

        def connector() -> sqlite3.Connection:
            self._raw = self._connect()
            return self._raw

        self._loop = asyncio.get_running_loop()
        self._in_place = self._clock.stands_still
        if self._in_place:
            self._shares = beside is not None
            self._raw = beside.connection_in_place if beside is not None else self._connect()
            self._at_once = self._raw if self._raw is not None and self._raw.at_once else None
        else:
            self._db = await aiosqlite.Connection(connector, iter_chunk_size=64)
            self._task = asyncio.create_task(self._work(), name="store lane")
        self._closed = False

    async def close(self) -> None:
        """Do what waits, then end."""
        self._closed, self._at_once = True, None
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._under_way:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended
        if self._db is not None:
            await self._db.close()
        elif self._raw is not None and not self._shares:
            self._raw.close()

    @property
    def connection_in_place(self) -> LaneConnection | None:
        """The connection where the loop's own thread works with it; None where a thread of its own does."""
        return self._raw if self._in_place else None

    @property
    def syncs(self) -> int:
        """How many trips waited for the disk so far."""
        return 0 if self._raw is None else self._raw.syncs

    def do(self, work: W) -> asyncio.Future[Any]:
        """Do `work` on the next trip; its result, to be awaited. Raises what it raised."""
        done: asyncio.Future[Any] = asyncio.Future()  # of the running loop; `create_future` is two calls more
        if self._at_once is None or self.slower_ns or self._under_way:
            self._accept(Job(work, done))
        else:
            try:
                done.set_result(self._do_at_once(self._at_once, work))
            except Exception as error:  # noqa: BLE001 - whatever it is, it goes to the caller who handed in the work
                done.set_exception(error)
        return done

    def do_for_thread(self, work: W) -> Any:
        """`do` for a plain thread, which blocks; not for the loop's own, which would wait for itself.

        Handed to the lane as it is: a coroutine and a task for every call would cost twice the time.
        """
        if self._loop is None:
            raise self._closed_error()
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            self._loop.call_soon_threadsafe(self._accept, Job(work, done))
        except RuntimeError:  # the loop has ended
            raise self._closed_error() from None
        while True:
            try:
                return done.result(timeout=_LOOK_S)
            except TimeoutError:
                if done.done():  # the job's own, or done in this very moment
                    return done.result()
                if self._loop.is_closed():  # it ended in the very moment, and nobody took the job
                    raise self._closed_error() from None

    async def alone(self, statement: str) -> None:
        """Run one statement outside any transaction, between two trips."""
        if self._closed:
            raise self._closed_error()
        assert self._raw is not None  # noqa: S101 - an open lane has one
        async with self._turn:
            try:
                if self._db is None:
                    self._raw.finish()
                    self._raw.execute(statement)
                else:
                    await self._db.execute_fetchall(statement)
            except sqlite3.Error as error:
                raise told(error, self._path) from error

    def _closed_error(self) -> StoreError:
        return StoreError(f"{self._path}: the store is closed; use it inside its `with` block")

    def _accept(self, job: Job[W]) -> None:
        if self._closed:
            job.done.set_exception(self._closed_error())
        else:
            self._waiting.append(job)
            if self._in_place:
                self._set_out()
            else:
                self._wake.set()

    def _next_batch(self) -> list[Job[W]]:
        batch = [job for job in self._waiting[:BATCH_MAX] if not job.done.done()]
        del self._waiting[:BATCH_MAX]
        return batch

    def _set_out(self) -> None:
        if not self._under_way:
            self._under_way = True
            asyncio.get_running_loop().call_soon(self._travel_in_place)

    def _travel_in_place(self) -> None:
        assert self._raw is not None  # noqa: S101 - an open lane has one
        batch = self._next_batch()
        if batch:
            try:
                self._carry(self._raw, batch)
            except Exception as error:  # noqa: BLE001 - as in `_travel`
                _fail(batch, error)
        if self.slower_ns and batch:
            self._clock.call_at_ns(self._clock.now_ns() + self.slower_ns, lambda: self._arrive(batch))
        else:
            self._arrive(batch)

    def _arrive(self, batch: list[Job[W]]) -> None:
        _answer(batch)
        self._under_way = False
        if self._waiting:
            self._set_out()
        elif self._ended is not None:
            self._ended.set_result(None)

    async def _work(self) -> None:
        try:
            while self._waiting or not self._closed:
                batch = self._next_batch()
                if batch:
                    await self._travel(batch)
                    # One pass of the loop: who has just been told may hand in his next job for the next trip.
                    await asyncio.sleep(0)
                elif not self._waiting and not self._closed:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            self._closed = True
            self._refuse(self._waiting, "the store was closed before this was done")

    async def _travel(self, batch: list[Job[W]]) -> None:
        raw, db = self._raw, self._db
        assert raw is not None  # noqa: S101 - an open lane has one
        assert db is not None  # noqa: S101 - and so has one with a thread
        try:
            async with self._turn:
                raw.trip = lambda: self._carry(raw, batch)
                await db.commit()
                if self.slower_ns:
                    await self._clock.sleep_until_ns(self._clock.now_ns() + self.slower_ns)
        except Exception as error:  # noqa: BLE001 - a fault of the whole trip, such as memory running out: all of it failed
            _fail(batch, error)
        except BaseException:
            # This task was cancelled from outside, and the trip may still come to its end.
            self._refuse(batch, "stopped in mid-way; look whether it was done")
            raise
        _answer(batch)

    def _refuse(self, jobs: list[Job[W]], why: str) -> None:
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(StoreError(f"{self._path}: {why}"))


def _fail(batch: list[Job[W]], error: Exception) -> None:
    for job in batch:
        job.error = error


def _answer(batch: list[Job[W]]) -> None:
    for job in batch:
        done = job.done
        if done.done():
            continue
        if job.error is None:
            done.set_result(job.result)
        else:
            done.set_exception(job.error)
