"""The file as fsynced, and the store's own code on it without its threads.

The journal, its SQL and its checksums are the real ones; only the hop to the writer's thread is replaced, because the
instant at which a thread answers cannot be repeated. The real threads are under test in tests/store and in the kill
test beside this.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from core.clock import MICROSECOND, Clock
from core.errors import StoreFull
from core.models import Trade
from core.store import Journal
from core.store.ledger import Ledger
from core.store.reader import Readers
from core.store.rows import TRADE_COLUMNS, trade_from_row
from core.store.schema import migrate
from core.store.writer import Work, Writer

PATH = Path("simulated.db")
_MADE_BY = {"Claimed": "NEW", "Intent": "SUBMITTING"}


class Fate(Protocol):
    """What happens to a process at a seam."""

    def check(self) -> None:
        """Raise when the process is dead."""

    def strikes(self, kind: str) -> bool: ...
    def die(self) -> None: ...
    def jitter_ns(self) -> int: ...


class Disk:
    """Survives every crash. With `fsync` off, a crash takes back all since the last time the system wrote by itself."""

    def __init__(self, *, fsync: bool = True) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection, PATH)
        self._fsync = fsync
        self._commits = 0
        self._written = self.connection.serialize()
        self._steps: dict[str, set[str]] = {}
        self._read_upto = 0

    def transact(self, work: Work) -> Any:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            ledger = Ledger(self.connection)
            act, what, now_ns = work
            result = act(ledger, what, now_ns)
            ledger.settle()
            self.connection.execute("COMMIT")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        self._commits += 1
        if not self._fsync and self._commits % 25 == 0:
            self._written = self.connection.serialize()
        return result

    def crash(self) -> None:
        if not self._fsync:
            self.connection.deserialize(self._written)
            self._steps, self._read_upto = {}, 0

    def steps(self) -> dict[str, set[str]]:
        """Every status that the journal has made of each order; read on from where it was read last."""
        rows = self.connection.execute(
            "SELECT serial, order_id, coalesce(json_extract(body, '$.after'), kind) FROM journal "
            "WHERE serial > ? AND order_id IS NOT NULL ORDER BY serial",
            (self._read_upto,),
        )
        for self._read_upto, order_id, step in rows:
            self._steps.setdefault(order_id, set()).add(_MADE_BY.get(step, step))
        return self._steps

    def order_ids(self) -> set[str]:
        return {row[0] for row in self.connection.execute("SELECT order_id FROM trades")}

    def has_orders(self) -> bool:
        return bool(self.connection.execute("SELECT EXISTS (SELECT 1 FROM trades)").fetchone()[0])

    def count(self, kind: str) -> int:
        """How many entries of that kind the journal has."""
        count: int = self.connection.execute("SELECT count(*) FROM journal WHERE kind = ?", (kind,)).fetchone()[0]
        return count

    def halted(self) -> bool:
        return self.connection.execute("SELECT count(*) FROM halts").fetchone()[0] > 0


class InlineWriter:
    def __init__(self, disk: Disk, fate: Fate, clock: Clock) -> None:
        self._disk = disk
        self._fate = fate
        self._clock = clock

    def write(self, work: Work) -> Awaitable[Any]:
        return asyncio.create_task(self._write(work))

    async def _write(self, work: Work) -> Any:
        self._fate.check()
        if self._fate.strikes("disk_full"):
            raise StoreFull("simulated: no room left")
        if self._fate.strikes("crash_before_commit"):
            self._fate.die()
        await self._clock.sleep_until_ns(self._clock.now_ns() + self._fate.jitter_ns())
        self._fate.check()
        result = self._disk.transact(work)
        if self._fate.strikes("crash_after_commit"):
            self._fate.die()
        await self._clock.sleep_until_ns(self._clock.now_ns() + self._fate.jitter_ns())
        self._fate.check()
        return result


class InlineReaders:
    def __init__(self, disk: Disk, fate: Fate, clock: Clock) -> None:
        self._disk = disk
        self._fate = fate
        self._clock = clock

    async def quick(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        self._fate.check()
        await self._clock.sleep_until_ns(self._clock.now_ns() + 50 * MICROSECOND)
        self._fate.check()
        return self._disk.connection.execute(query, values).fetchall()

    long = quick


class SimStore:
    """What the engine uses of a TradeStore."""

    def __init__(self, disk: Disk, fate: Fate, clock: Clock) -> None:
        self._readers = InlineReaders(disk, fate, clock)
        self.journal = Journal(
            PATH,
            writer=cast("Writer", InlineWriter(disk, fate, clock)),
            readers=cast("Readers", self._readers),
            clock=clock,
            busy_ms=0,
        )
        self.journal._glance = disk.connection.cursor()  # what `open` does, without a file

    async def get_recent_trades(self, limit: int = 100) -> list[Trade]:
        rows = await self._readers.quick(f"SELECT {TRADE_COLUMNS} FROM trades ORDER BY id DESC LIMIT ?", (limit,))
        return [trade_from_row(row) for row in rows]
