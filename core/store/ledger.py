"""One transaction on the store, in the writer's thread: rows, journal entries and their effect, all or nothing."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from ..errors import EngineHalted, OrderConflict, StoreError, UnknownOrder
from ..models import FINAL, Order, OrderStatus
from .entries import (
    VERSION,
    Claimed,
    Entry,
    Halted,
    Intent,
    JournaledOrder,
    Lifted,
    LimiterSaved,
    Step,
    fingerprint,
    json_of,
    order_from_json,
    order_json,
)
from .rows import TRADE_COLUMNS, TradeRow, clean, money, units

__all__ = ["BLOCK_BITS", "ORDER_QUERY", "Ledger", "Mark", "link", "order_from_row"]

BLOCK_BITS: Final = 10
Mark = tuple[tuple[int, bytes] | None, int, int]
_Row = tuple[int, int, int, str, str | None, str, bytes]

_MARKS: Final = ", ".join("?" * 14)
_INSERT: Final = f"INSERT INTO trades ({TRADE_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT (order_id) DO NOTHING"
_REPLACE: Final = (
    f"UPDATE trades SET ({TRADE_COLUMNS}) = ({_MARKS}) WHERE order_id = ? AND request IS NULL RETURNING id"
)
_STATUS: Final = "UPDATE trades SET status = ?, updated_ns = ? WHERE order_id = ? AND request IS NULL"
_INSERT_CLAIMED: Final = (
    f"INSERT INTO trades ({TRADE_COLUMNS}, request, fingerprint, is_open) VALUES ({_MARKS}, ?, ?, 1) "
    "ON CONFLICT (order_id) DO NOTHING"
)
_CLAIM: Final = "UPDATE trades SET request = ?, fingerprint = ?, attempt = 0, is_open = 1 WHERE order_id = ?"
# Each as long as the order's openness stays what it is: naming is_open would have its index written at every step.
_SEND: Final = (
    "UPDATE trades SET status = 'SUBMITTING', provider = ?1, tag = ?2, broker_order_id = '', attempt = ?3, "
    "message = '', simulated = ?4, updated_ns = ?5 WHERE order_id = ?6 AND request IS NOT NULL AND is_open = 1"
)
_STANDS: Final = "SELECT fingerprint, attempt, status FROM trades WHERE order_id = ? AND request IS NOT NULL"
_KNOWN: Final = "SELECT 1 FROM trades WHERE order_id = ? AND request IS NOT NULL"
_STEP: Final = (
    "UPDATE trades SET status = ?1, provider = coalesce(nullif(?2, ''), provider), "
    "broker_order_id = coalesce(nullif(?3, ''), broker_order_id), tag = coalesce(nullif(?4, ''), tag), "
    "attempt = coalesce(nullif(?5, 0), attempt), "
    "price = CASE WHEN ?6 >= filled_quantity AND ?7 > 0 THEN ?7 ELSE price END, "
    "filled_quantity = max(filled_quantity, ?6), message = ?8, updated_ns = ?9 "
    "WHERE order_id = ?10 AND request IS NOT NULL AND is_open = ?11"
)
_REOPEN: Final = "UPDATE trades SET is_open = ? WHERE order_id = ? AND request IS NOT NULL"
_FINAL: Final = frozenset(status.value for status in FINAL)
_EXTENT: Final = (
    "INSERT INTO blocks VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE SET "
    "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)"
)
_JOURNAL: Final = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)"
_FARTHEST_NS: Final = 2**63 - 1
ORDER_QUERY: Final = f"SELECT {TRADE_COLUMNS}, attempt, request, fingerprint FROM trades WHERE request IS NOT NULL"


def link(before: bytes, *, serial: int, epoch_ns: int, version: int, kind: str, order_id: str, body: str) -> bytes:
    """The checksum of a journal row, over its columns and the checksum of the row before."""
    head = f"{serial} {epoch_ns} {version} {kind} {len(order_id)} {order_id}"
    return hashlib.blake2b(before + head.encode() + body.encode(), digest_size=16).digest()


def order_from_row(row: Sequence[Any]) -> JournaledOrder:
    """The order that ORDER_QUERY selected."""
    return JournaledOrder(
        order=order_from_json(row[15]),
        fingerprint=row[16],
        status=OrderStatus(row[5]),
        provider=row[6],
        tag=row[8],
        broker_order_id=row[7],
        attempt=row[14],
        filled_quantity=row[9],
        average_price=money(row[4]) if row[9] else Decimal(0),
        message=row[11],
        simulated=bool(row[10]),
        epoch_ns=row[12],
        updated_ns=row[13],
    )


class Ledger:
    """What a write may do inside the writer's transaction. Lives as long as that transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._head: tuple[int, bytes] | None = None
        self._rows: list[_Row] = []  # of the journal: written together, for one at a time costs twice as much
        self._written = 0  # how many of them are in the table
        self._extents: dict[int, tuple[int, int]] = {}
        self._halt: str | None = None  # the kill switch inside this transaction; None before somebody has looked
        self._claimed: Order | None = None  # what the last entry claimed: it is NEW, without another look
        self._text: tuple[Order | None, str] = (None, "")

    def mark(self) -> Mark:
        """Where the journal stands, to go `back` to when one write of several is undone."""
        return self._head, len(self._rows), self._written

    def back(self, mark: Mark) -> None:
        """Forget what was appended since `mark`. Block extents stay: too wide costs a look, never a row."""
        self._head, count, self._written = mark
        del self._rows[count:]
        self._halt = self._claimed = None

    def settle(self) -> None:
        """Write what is written together; called right before the commit, and by whoever reads the journal sooner."""
        if self._extents:
            self.connection.executemany(
                _EXTENT, [(block, first, last) for block, (first, last) in self._extents.items()]
            )
        if self._head is not None and self._written < len(self._rows):
            self.connection.executemany(_JOURNAL, self._rows[self._written :])
            self._written = len(self._rows)
            self.connection.execute("UPDATE chain SET serial = ?, checksum = ?", self._head)

    # Rows that are kept by hand.

    def put_trade(self, row: TradeRow) -> None:
        """Insert the row, or replace the one of its order_id."""
        cursor = self.connection.execute(_INSERT, row)
        if cursor.rowcount == 1 and cursor.lastrowid is not None:
            self._widen(cursor.lastrowid, row[12])
            return
        replaced = self.connection.execute(_REPLACE, (*row, row[0])).fetchall()
        if not replaced:
            raise StoreError(f"order {row[0]} is journaled: its row moves by journal entries only")
        self._widen(replaced[0][0], row[12])

    def set_status(self, order_id: str, status: str, now_ns: int) -> bool:
        """Set the status of a row; False when there is none."""
        if self.connection.execute(_STATUS, (status, now_ns, order_id)).rowcount:
            return True
        if self.connection.execute("SELECT 1 FROM trades WHERE order_id = ?", (order_id,)).fetchone():
            raise StoreError(f"order {order_id} is journaled: its status moves by journal entries only")
        return False

    # The journal.

    def append(self, entries: Iterable[Entry | LimiterSaved], now_ns: int) -> int:
        """Check, write and apply `entries`; the serial of the last one in the journal.

        Raises OrderConflict, EngineHalted or UnknownOrder; what was written before must then be undone.
        """
        serial, checksum = self.head()
        for entry in entries:
            if isinstance(entry, LimiterSaved):
                saved = clean(entry.provider), clean(entry.state_json)
                self.connection.execute("INSERT OR REPLACE INTO limiter_states VALUES (?, ?)", saved)
                continue
            self._check(entry)
            epoch_ns = entry.epoch_ns or now_ns
            if not -_FARTHEST_NS <= epoch_ns <= _FARTHEST_NS:
                message = f"epoch_ns is {epoch_ns}; give nanoseconds since 1970 that fit 63 bits"
                raise ValueError(message)
            kind, order_id = type(entry).__name__, clean(getattr(entry, "order_id", ""))
            body = json_of(entry, self._text_of(entry.order) if isinstance(entry, Claimed | Intent) else "")
            serial += 1
            checksum = link(
                checksum, serial=serial, epoch_ns=epoch_ns, version=VERSION, kind=kind, order_id=order_id, body=body
            )
            if not self.apply(entry, epoch_ns):
                raise UnknownOrder(f"order {order_id} is not in the journal; claim it first")
            self._rows.append((serial, epoch_ns, VERSION, kind, order_id or None, body, checksum))
            self._head = serial, checksum
        return serial

    def head(self) -> tuple[int, bytes]:
        """Serial and checksum of the last entry."""
        if self._head is None:
            # Read inside the write lock, so that another process cannot append in between.
            serial, checksum = self.connection.execute("SELECT serial, checksum FROM chain").fetchone()
            self._head = (serial, checksum)
        return self._head

    def order(self, order_id: str) -> JournaledOrder | None:
        row = self.connection.execute(f"{ORDER_QUERY} AND order_id = ?", (clean(order_id),)).fetchone()
        return None if row is None else order_from_row(row)

    def claim(
        self, order: Order, entries: Sequence[Entry | LimiterSaved], now_ns: int, *, simulated: bool
    ) -> JournaledOrder | None:
        """Take the order's id and append `entries`; or, where the id is taken, write nothing and return its order.

        Raises OrderConflict where the id is taken by other content.
        """
        if not self.connection.execute(_KNOWN, (clean(order.client_order_id),)).fetchone():
            self.append((Claimed(order, now_ns, simulated), *entries), now_ns)
            return None
        existing = self.order(order.client_order_id)
        if existing is not None and existing.fingerprint != fingerprint(order):
            raise _conflict(order)
        return existing

    def expect(self, order_id: str, status: OrderStatus, attempt: int) -> None:
        """Raise OrderConflict unless the order stands as its caller believes."""
        known = self.connection.execute(
            "SELECT status, attempt FROM trades WHERE order_id = ? AND request IS NOT NULL", (clean(order_id),)
        ).fetchone()
        if known is not None and tuple(known) != (status.value, attempt):
            raise OrderConflict(
                f"order {order_id} is {known[0]} at attempt {known[1]}, by another process; here it was "
                f"{status.value} at attempt {attempt}"
            )

    def _check(self, entry: Entry) -> None:
        if not isinstance(entry, Intent):
            return
        if self._halt is None:
            row = self.connection.execute("SELECT reason FROM halts").fetchone()
            self._halt = "" if row is None else str(row[0])
        if self._halt:
            raise EngineHalted(f"trading is halted ({self._halt}): order {entry.order_id} stays here; lift it by name")
        if entry.attempt > 0 and self._claimed is not None and self._claimed == entry.order:
            return
        row = self.connection.execute(_STANDS, (clean(entry.order_id),)).fetchone()
        if row is None:
            return
        known, attempt, status = row
        if known != (entry.fingerprint or fingerprint(entry.order)):
            raise _conflict(entry.order)
        if attempt >= entry.attempt:
            raise OrderConflict(
                f"order {entry.order_id}: attempt {entry.attempt} is journaled already, by this or another process; "
                "look the order up, do not send it"
            )
        if status != OrderStatus.NEW.value:
            raise OrderConflict(
                f"order {entry.order_id} is {status}, by another process; only an order that is NEW may be sent"
            )

    def apply(self, entry: Entry, epoch_ns: int) -> bool:
        """Move the projection by one entry; False where it names an order that nothing is known of."""
        self._claimed = None
        match entry:
            case Claimed():
                self._claim(entry.order, epoch_ns, simulated=entry.simulated)
                self._claimed = entry.order
            case Intent():
                return self._send(entry, epoch_ns)
            case Step():
                return self._step(entry, epoch_ns)
            case Halted():
                reason = clean(entry.reason) or "no reason given"
                self.connection.execute("INSERT OR REPLACE INTO halts VALUES (1, ?)", (reason,))
                self._halt = None
            case Lifted():
                self._halt = None
                self.connection.execute("DELETE FROM halts")
            case _:
                pass  # CancelIntended, ModifyIntended and IncidentSeen are history: no state follows from them alone
        return True

    def _claim(self, order: Order, epoch_ns: int, *, simulated: bool) -> None:
        order_id = clean(order.client_order_id)
        row: TradeRow = (
            order_id,
            clean(order.symbol),
            order.side.value,
            order.quantity,
            units(order.price or order.trigger_price or Decimal(0)),
            OrderStatus.NEW.value,
            "",
            "",
            "",
            0,
            int(simulated),
            "",
            epoch_ns,
            epoch_ns,
        )
        request, content = self._text_of(order), fingerprint(order)
        cursor = self.connection.execute(_INSERT_CLAIMED, (*row, request, content))
        if cursor.rowcount == 1 and cursor.lastrowid is not None:
            self._widen(cursor.lastrowid, epoch_ns)
        else:  # the id has a row that was stored by hand: the journal takes it over
            self.put_trade(row)
            self.connection.execute(_CLAIM, (request, content, order_id))

    def _send(self, entry: Intent, epoch_ns: int) -> bool:
        order_id = clean(entry.order_id)
        sent = (clean(entry.provider), clean(entry.tag), entry.attempt, int(entry.simulated), epoch_ns, order_id)
        if self._moved(_SEND, sent, order_id, is_open=1):
            return True
        self._claim(entry.order, epoch_ns, simulated=entry.simulated)
        return self.connection.execute(_SEND, sent).rowcount == 1

    def _step(self, entry: Step, epoch_ns: int) -> bool:
        order_id, status = clean(entry.order_id), entry.after.value
        is_open = int(status not in _FINAL)
        moved = (
            status,
            clean(entry.provider),
            clean(entry.broker_order_id),
            clean(entry.tag),
            entry.attempt,
            entry.filled_quantity,
            units(entry.average_price),
            clean(entry.message),
            epoch_ns,
            order_id,
            is_open,
        )
        return self._moved(_STEP, moved, order_id, is_open=is_open)

    def _moved(self, query: str, values: Sequence[Any], order_id: str, *, is_open: int) -> bool:
        """Whether `query`, which asks for an order that is open or not, moved its row; the row may become so first."""
        run = self.connection.execute
        return run(query, values).rowcount == 1 or (
            run(_REOPEN, (is_open, order_id)).rowcount == 1 and run(query, values).rowcount == 1
        )

    def _text_of(self, order: Order) -> str:
        """The order as JSON, made once for the entries and the row that hold it."""
        if self._text[0] is not order:
            self._text = order, order_json(order)
        return self._text[1]

    def _widen(self, trade_id: int, epoch_ns: int) -> None:
        block = trade_id >> BLOCK_BITS
        first, last = self._extents.get(block, (epoch_ns, epoch_ns))
        self._extents[block] = (min(first, epoch_ns), max(last, epoch_ns))


def _conflict(order: Order) -> OrderConflict:
    return OrderConflict(
        f"order {order.client_order_id} was taken before with other content; give the new order an id of its own"
    )
