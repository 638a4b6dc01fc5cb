"""The write-ahead journal: what we are about to do, before we do it; what came of it, before we tell.

Append-only, checksummed in a chain, versioned; in the same file and the same group commit as the trade store, whose
journaled rows are nothing but its projection. Durable means: after the fdatasync of the transaction.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import tempfile
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from ..clock import Clock
from ..errors import OrderError, StoreCorrupt, StoreError
from ..models import Order
from .entries import Claimed, Entry, Intent, JournaledOrder, JournalRow, LimiterSaved, entry_from_json
from .faults import told, translate_faults
from .ledger import ORDER_QUERY, Ledger, link, order_from_row
from .reader import Readers, connect_reader
from .rows import TRADE_COLUMNS, clean
from .schema import connect, migrate
from .writer import Writer

__all__ = ["Journal", "Verdict"]

_OPEN: Final = f"{ORDER_QUERY} AND is_open = 1 ORDER BY trades.id"
_ROWS: Final = (
    "SELECT serial, epoch_ns, version, kind, coalesce(order_id, ''), body, checksum FROM journal "
    "WHERE serial > ? AND serial <= ? ORDER BY serial LIMIT 5000"
)
_STORY: Final = (
    "SELECT serial, journal.epoch_ns, version, kind, body FROM trades CROSS JOIN journal "
    "ON serial BETWEEN first_serial AND last_serial AND journal.order_id = trades.order_id "
    "WHERE trades.order_id = ? ORDER BY serial"
)
_Raw = tuple[int, int, int, str, str, str, bytes]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `Journal.verify` found; `problems` is empty when all is well."""

    entries: int
    orders: int
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


class Journal:
    """Made by `TradeStore`; lives as long as its block."""

    def __init__(self, path: Path, *, writer: Writer, readers: Readers, clock: Clock, busy_ms: int) -> None:
        self._path = path
        self._writer = writer
        self._readers = readers
        self._clock = clock
        self._busy_ms = busy_ms
        self._glance: sqlite3.Cursor | None = None

    async def open(self) -> None:
        connection: sqlite3.Connection | None = self._writer.lane.connection_in_place
        if connection is None:
            # Used by the loop's own thread alone, whichever thread opened it.
            opening = partial(connect_reader, self._path, busy_ms=0, thread_bound=False)
            with self._clock.outside():
                connection = await anyio.to_thread.run_sync(opening)
        self._glance = connection.cursor()

    async def close(self) -> None:
        if self._glance is not None and self._glance.connection is not self._writer.lane.connection_in_place:
            self._glance.connection.close()
        self._glance = None

    # Writing.

    def append(self, *entries: Entry | LimiterSaved) -> Awaitable[int]:
        """Append `entries` in one transaction, move the projection with them, and return the last serial: all durable.

        Handed in at once, to be awaited: what is handed in before the next await shares the transaction.

        Raises EngineHalted for an Intent while the kill switch is on, in whichever process it was thrown; OrderConflict
        for an Intent of an order that is not NEW, whose attempt is not above its last one, or whose content differs;
        UnknownOrder for a step of an order that was never claimed; StoreError when it cannot be written. Then
        none of them is written.
        """
        return self._writer.write((Ledger.append, entries, self._clock.epoch_ns()))

    def move(self, *entries: Entry) -> Awaitable[int]:
        """`append`, for whoever knows where the order stands: OrderConflict when another process has moved it on since.

        A step must find it at its `before` and its `attempt`, an intent at NEW and the attempt before its own.
        """
        return self._writer.write((Ledger.move, entries, entries[0].epoch_ns or self._clock.epoch_ns()))

    async def claim(
        self, order: Order, *entries: Entry | LimiterSaved, simulated: bool = True
    ) -> JournaledOrder | None:
        """Take the order's client_order_id: None when it is ours now, the order that has it otherwise.

        `entries` are appended in the same transaction when the id was free; the order's Intent as the first of them
        takes the id itself, without a Claimed. Of any number of tasks and processes that claim one id, exactly one gets
        None. Raises OrderConflict where the id has other content.
        """
        if not order.client_order_id:
            message = "an order needs a client_order_id before it can be claimed"
            raise OrderError(message)
        first = entries[0] if entries else None
        now_ns = (first.epoch_ns if first else 0) or self._clock.epoch_ns()
        # An intent takes the id with it; only an order that is to wait is claimed by an entry of its own.
        if not isinstance(first, Intent) or first.attempt < 1 or (first.order is not order and first.order != order):
            entries = (Claimed(order, now_ns, simulated), *entries)
        known: JournaledOrder | None = await self._writer.write((Ledger.claim, entries, now_ns))
        return known

    # Asking.

    async def order(self, order_id: str) -> JournaledOrder | None:
        """The order as the journal knows it now."""
        rows = await self._readers.quick(f"{ORDER_QUERY} AND order_id = ?", (clean(order_id),))
        return order_from_row(rows[0]) if rows else None

    async def open_orders(self) -> tuple[JournaledOrder, ...]:
        """Every order that has not reached a final state, oldest first."""
        return tuple(order_from_row(row) for row in await self._readers.long(_OPEN))

    async def story(self, order_id: str) -> tuple[JournalRow, ...]:
        """All that was journaled about one order since its id was taken, oldest first.

        Goes through what was journaled of any order in that time.
        """
        rows = await self._readers.long(_STORY, (clean(order_id),))
        return tuple(JournalRow(row[0], row[1], entry_from_json(row[3], row[2], row[4])) for row in rows)

    async def halted(self) -> str:
        """Why trading is halted, by this or any other process; empty when it is not."""
        return self.halted_now()

    def halted_now(self) -> str:
        """The same without an await: one look at shared memory and one row, some microseconds.

        Raises StoreError when the file cannot be read; who cannot know must not send.
        """
        if self._glance is None:
            raise StoreError(f"{self._path}: the store is closed; use it inside its `with` block")
        try:
            row = self._glance.execute("SELECT reason FROM halts").fetchone()
        except sqlite3.Error as error:
            raise told(error, self._path) from error
        return "" if row is None else str(row[0])

    async def limiter_states(self) -> dict[str, str]:
        """The last saved state of each provider's limiter."""
        return dict(await self._readers.quick("SELECT provider, state FROM limiter_states ORDER BY provider"))

    # Proving.

    async def verify(self) -> Verdict:
        """Check every checksum, both ends of the chain, and that the projection is what the entries make."""
        with self._clock.outside():
            return await anyio.to_thread.run_sync(_verify, self._path)

    async def rebuild(self) -> int:
        """Make the projection anew from the entries; how many there were.

        Raises StoreCorrupt, and changes nothing, when the entries themselves fail their checksums.
        """
        count: int = await self._writer.write((_rebuild, None, self._clock.epoch_ns()))
        return count

    async def export_csv(self, target: Path | str) -> int:
        """Write every entry to `target` as CSV; how many there were. The file appears whole or not at all."""
        with self._clock.outside():
            return await anyio.to_thread.run_sync(_export, self._path, Path(target))


class _Chain:
    """The journal, read from its beginning link by link."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._beginning = self._retired()
        self.serial, self._checksum = self._beginning

    def entries(self) -> Iterator[tuple[Entry, int, int]]:
        """Each entry with its time and serial, from where we are to the end; StoreCorrupt at the first that is amiss.

        In portions of a few thousand, so that no long read keeps the write-ahead log from being reset.
        """
        serial, checksum = self._connection.execute("SELECT serial, checksum FROM chain").fetchone()
        while self.serial < serial and (rows := self._connection.execute(_ROWS, (self.serial, serial)).fetchall()):
            for row in rows:
                entry, epoch_ns = self._follow(row)
                yield entry, epoch_ns, self.serial
        if (self.serial, self._checksum) != (serial, checksum):
            raise StoreCorrupt(f"journal: ends at entry {self.serial}, its chain at {serial}; restore a backup")

    def was_cut(self) -> bool:
        """Whether entries were retired since we began to read."""
        return self._retired() != self._beginning

    def _retired(self) -> tuple[int, bytes]:
        found: tuple[int, bytes] = self._connection.execute(
            "SELECT retired_serial, retired_checksum FROM chain"
        ).fetchone()
        return found

    def _follow(self, row: _Raw) -> tuple[Entry, int]:
        serial, epoch_ns, version, kind, order_id, body, checksum = row
        if serial != self.serial + 1:
            raise StoreCorrupt(f"journal: entry {self.serial + 1} is missing; restore a backup")
        expected = link(self._checksum, serial, epoch_ns, version, kind, order_id, body)
        if expected != checksum:
            raise StoreCorrupt(f"journal: entry {serial} fails its checksum; restore a backup")
        self.serial, self._checksum = serial, expected
        return entry_from_json(kind, version, body), epoch_ns


def _rebuild(ledger: Ledger, _what: None, _now_ns: int) -> int:
    ledger.settle()  # what others have appended in this very transaction is replayed too
    connection = ledger.connection
    connection.execute(
        "CREATE TEMP TABLE kept AS SELECT id, order_id FROM trades WHERE order_id IN (SELECT order_id FROM journal)"
    )
    try:
        connection.execute("DELETE FROM trades WHERE order_id IN (SELECT order_id FROM kept) OR request IS NOT NULL")
        connection.execute("DELETE FROM halts")
        count = 0
        for entry, epoch_ns, serial in _Chain(connection).entries():
            ledger.apply(entry, epoch_ns, serial)
            count += 1
        # The old ids, so that the newest rows stay the newest beside those that are kept by hand. Out of each other's
        # way first: one row's old id may be another's new one. Rows that were lost come last.
        connection.execute("UPDATE trades SET id = -id WHERE request IS NOT NULL")
        connection.execute(
            "UPDATE trades SET id = (SELECT kept.id FROM kept WHERE kept.order_id = trades.order_id) "
            "WHERE order_id IN (SELECT order_id FROM kept)"
        )
        (last,) = connection.execute("SELECT max(0, coalesce(max(id), 0)) FROM trades").fetchone()
        connection.execute("UPDATE trades SET id = ? - id WHERE id < 0", (last,))
    finally:
        connection.execute("DROP TABLE kept")
    connection.execute("DELETE FROM blocks")
    connection.execute("INSERT INTO blocks SELECT id >> 10, min(epoch_ns), max(epoch_ns) FROM trades GROUP BY 1")
    return count


def _verify(path: Path) -> Verdict:
    with translate_faults(path), tempfile.TemporaryDirectory(prefix="headroom-verify-") as folder:
        while True:
            # On disk and not in memory: a journal of years may be larger than the memory.
            again = Path(folder) / "replayed.db"
            ours, replayed = connect_reader(path, busy_ms=5_000), connect(again)
            try:
                verdict = _compare(ours, replayed, path)
            finally:
                ours.close()
                replayed.close()
            if verdict is not None:
                return verdict
            again.unlink()


def _compare(ours: sqlite3.Connection, replayed: sqlite3.Connection, path: Path) -> Verdict | None:
    """What differs between the projection and a replay; None when entries were retired meanwhile: once more, then."""
    replayed.execute("PRAGMA synchronous = OFF")
    migrate(replayed, path)
    replayed.execute("BEGIN")
    ledger, chain, entries = Ledger(replayed), _Chain(ours), 0
    problems: list[str] = []
    try:
        # All but the newest without a transaction; then those that came meanwhile, and the comparison, in a short one.
        for snapshot in ("SELECT 1", "BEGIN"):
            ours.execute(snapshot)
            if chain.was_cut():
                return None
            for entry, epoch_ns, serial in chain.entries():
                ledger.apply(entry, epoch_ns, serial)
                entries += 1
        problems += _differences(ours, replayed)
    except StoreCorrupt as error:
        if not ours.in_transaction and chain.was_cut():
            return None
        problems.append(str(error))
    (orders,) = ours.execute("SELECT count(*) FROM trades WHERE request IS NOT NULL").fetchone()
    return Verdict(entries, orders, tuple(problems))


def _differences(ours: sqlite3.Connection, replayed: sqlite3.Connection) -> Iterator[str]:
    columns = f"{TRADE_COLUMNS}, attempt, request, is_open, first_serial, last_serial"
    tables = {
        "trades": f"SELECT {columns} FROM trades WHERE request IS NOT NULL ORDER BY order_id",
        "halts": "SELECT * FROM halts",
    }
    for table, query in tables.items():
        mine, other = ours.execute(query), replayed.execute(query)
        while True:
            left, right = mine.fetchone(), other.fetchone()
            if left != right:
                where = min(row[0] for row in (left, right) if row is not None)  # both are sorted: this one is amiss
                yield f"{table}: the row of {where} is not what the journal makes; run headroom journal rebuild"
                break
            if left is None:
                break


def _export(path: Path, target: Path) -> int:
    part = target.with_name(f"{target.name}.part")
    count = 0
    with translate_faults(path):
        connection = connect_reader(path, busy_ms=5_000)
        try:
            with part.open("w", newline="", encoding="utf-8") as file:
                rows = csv.writer(file)
                rows.writerow(("serial", "epoch_ns", "version", "kind", "order_id", "body", "checksum"))
                (last,) = connection.execute("SELECT serial FROM chain").fetchone()
                before = 0
                while portion := connection.execute(_ROWS, (before, last)).fetchall():
                    rows.writerows((*row[:6], row[6].hex()) for row in portion)
                    count += len(portion)
                    before = portion[-1][0]
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written ({error.strerror})") from error
        finally:
            connection.close()
            part.unlink(missing_ok=True)
    return count
