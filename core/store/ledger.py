"""One transaction on the store, in the writer's thread: rows, journal entries and their effect, all or nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from ..errors import EngineHalted, OrderConflict, StoreError, UnknownOrder
from ..models import Fill, Order, OrderStatus
from .entries import (
    VERSION,
    Claimed,
    Entry,
    FillSeen,
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

__all__ = ["BLOCK_BITS", "ORDER_QUERY", "Ledger", "link", "order_from_row"]

BLOCK_BITS: Final = 10

_MARKS: Final = ", ".join("?" * 14)
_INSERT: Final = f"INSERT INTO trades ({TRADE_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT (order_id) DO NOTHING"
_REPLACE: Final = (
    f"UPDATE trades SET ({TRADE_COLUMNS}) = ({_MARKS}) WHERE order_id = ? AND request IS NULL RETURNING id"
)
_STATUS: Final = "UPDATE trades SET status = ?, updated_ns = ? WHERE order_id = ? AND request IS NULL"
_INSERT_CLAIMED: Final = (
    f"INSERT INTO trades ({TRADE_COLUMNS}, request, fingerprint) VALUES ({_MARKS}, ?, ?) "
    "ON CONFLICT (order_id) DO NOTHING"
)
_CLAIM: Final = "UPDATE trades SET request = ?, fingerprint = ?, attempt = 0 WHERE order_id = ?"
_SEND: Final = (
    "UPDATE trades SET status = 'SUBMITTING', provider = ?, tag = ?, broker_order_id = '', attempt = ?, message = '', "
    "simulated = ?, updated_ns = ? WHERE order_id = ? AND request IS NOT NULL"
)
_STANDS: Final = (
    "SELECT reason, fingerprint, attempt, status FROM (SELECT 1) LEFT JOIN halts "
    "LEFT JOIN trades ON order_id = ? AND request IS NOT NULL"
)
_STEP: Final = (
    "UPDATE trades SET status = ?1, provider = coalesce(nullif(?2, ''), provider), "
    "broker_order_id = coalesce(nullif(?3, ''), broker_order_id), tag = coalesce(nullif(?4, ''), tag), "
    "attempt = coalesce(nullif(?5, 0), attempt), "
    "price = CASE WHEN ?6 >= filled_quantity AND ?7 > 0 THEN ?7 ELSE price END, "
    "filled_quantity = max(filled_quantity, ?6), message = ?8, updated_ns = ?9 "
    "WHERE order_id = ?10 AND request IS NOT NULL"
)
_FILL: Final = "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_FILLED: Final = (
    "UPDATE trades SET price = CASE WHEN ?1 >= filled_quantity THEN ?2 ELSE price END, "
    "filled_quantity = max(filled_quantity, ?1), updated_ns = ?3 WHERE order_id = ?4"
)
_EXTENT: Final = (
    "INSERT INTO blocks VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE SET "
    "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)"
)
ORDER_QUERY: Final = (
    f"SELECT {TRADE_COLUMNS}, attempt, request, fingerprint, (SELECT json_group_array(json_array("
    "f.fill_id, f.broker_order_id, f.quantity, f.price, f.epoch_ns)) FROM fills AS f "
    "WHERE f.order_id = trades.order_id) FROM trades WHERE request IS NOT NULL"
)


def link(before: bytes, *, serial: int, epoch_ns: int, version: int, kind: str, order_id: str, body: str) -> bytes:
    """The checksum of a journal row, over its columns and the checksum of the row before."""
    head = f"{serial} {epoch_ns} {version} {kind} {len(order_id)} {order_id}"
    return hashlib.blake2b(before + head.encode() + body.encode(), digest_size=16).digest()


def order_from_row(row: Sequence[Any]) -> JournaledOrder:
    """The order that ORDER_QUERY selected."""
    fills = tuple(
        Fill(fill_id=fill_id, broker_order_id=broker_order_id, quantity=quantity, price=money(price), epoch_ns=epoch_ns)
        for fill_id, broker_order_id, quantity, price, epoch_ns in sorted(
            json.loads(row[17]), key=lambda fill: (fill[4], fill[0])
        )
    )
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
        fills=fills,
    )


class Ledger:
    """What a write may do inside the writer's transaction. Lives as long as that transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._head: tuple[int, bytes] | None = None
        self._head_moved = False
        self._extents: dict[int, tuple[int, int]] = {}

    def mark(self) -> tuple[tuple[int, bytes] | None, bool]:
        """Where the chain stands, to go `back` to when one write of several is undone."""
        return self._head, self._head_moved

    def back(self, mark: tuple[tuple[int, bytes] | None, bool]) -> None:
        """Forget what was appended since `mark`. Block extents stay: too wide costs a look, never a row."""
        self._head, self._head_moved = mark

    def settle(self) -> None:
        """Write what is written once per transaction; called right before its commit."""
        if self._extents:
            self.connection.executemany(
                _EXTENT, [(block, first, last) for block, (first, last) in self._extents.items()]
            )
        if self._head is not None and self._head_moved:
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
            kind, order_id, body = type(entry).__name__, getattr(entry, "order_id", ""), json_of(entry)
            order_id = clean(order_id)
            serial += 1
            checksum = link(
                checksum, serial=serial, epoch_ns=epoch_ns, version=VERSION, kind=kind, order_id=order_id, body=body
            )
            self.connection.execute(
                "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)",
                (serial, epoch_ns, VERSION, kind, order_id or None, body, checksum),
            )
            if not self.apply(entry, epoch_ns):
                raise UnknownOrder(f"order {order_id} is not in the journal; claim it first")
            self._head, self._head_moved = (serial, checksum), True
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
        existing = self.order(order.client_order_id)
        if existing is None:
            self.append((Claimed(order, now_ns, simulated), *entries), now_ns)
        elif existing.fingerprint != fingerprint(order):
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
        halted, known, attempt, status = self.connection.execute(_STANDS, (clean(entry.order_id),)).fetchone()
        if halted is not None:
            raise EngineHalted(f"trading is halted ({halted}): order {entry.order_id} stays here; lift it by name")
        if known is None:
            return
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
        match entry:
            case Claimed():
                self._claim(entry.order, epoch_ns, simulated=entry.simulated)
            case Intent():
                return self._send(entry, epoch_ns)
            case Step():
                return self._step(entry, epoch_ns)
            case FillSeen():
                return self._fill(entry, epoch_ns)
            case Halted():
                reason = clean(entry.reason) or "no reason given"
                self.connection.execute("INSERT OR REPLACE INTO halts VALUES (1, ?)", (reason,))
            case Lifted():
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
        request, content = order_json(order), fingerprint(order)
        cursor = self.connection.execute(_INSERT_CLAIMED, (*row, request, content))
        if cursor.rowcount == 1 and cursor.lastrowid is not None:
            self._widen(cursor.lastrowid, epoch_ns)
        else:  # the id has a row that was stored by hand: the journal takes it over
            self.put_trade(row)
            self.connection.execute(_CLAIM, (request, content, order_id))

    def _send(self, entry: Intent, epoch_ns: int) -> bool:
        order_id = clean(entry.order_id)
        sent = (clean(entry.provider), clean(entry.tag), entry.attempt, int(entry.simulated), epoch_ns, order_id)
        if self.connection.execute(_SEND, sent).rowcount:
            return True
        self._claim(entry.order, epoch_ns, simulated=entry.simulated)
        return self.connection.execute(_SEND, sent).rowcount == 1

    def _step(self, entry: Step, epoch_ns: int) -> bool:
        moved = (
            entry.after.value,
            clean(entry.provider),
            clean(entry.broker_order_id),
            clean(entry.tag),
            entry.attempt,
            entry.filled_quantity,
            units(entry.average_price),
            clean(entry.message),
            epoch_ns,
            clean(entry.order_id),
        )
        return self.connection.execute(_STEP, moved).rowcount == 1

    def _fill(self, entry: FillSeen, epoch_ns: int) -> bool:
        order_id, fill = clean(entry.order_id), entry.fill
        seen = (
            order_id,
            clean(fill.fill_id),
            clean(fill.broker_order_id),
            fill.quantity,
            units(fill.price),
            fill.epoch_ns,
        )
        known = self.connection.execute(
            "SELECT 1 FROM trades WHERE order_id = ? AND request IS NOT NULL", (order_id,)
        ).fetchone()
        if known is None:
            return False
        if self.connection.execute(_FILL, seen).rowcount:
            # Summed here and not in SQL: quantity times price may pass 63 bits.
            fills = self.connection.execute("SELECT quantity, price FROM fills WHERE order_id = ?", (order_id,))
            pairs = fills.fetchall()
            quantity = sum(count for count, _ in pairs)
            average = round(Fraction(sum(count * price for count, price in pairs), quantity))  # half to even
            self.connection.execute(_FILLED, (quantity, average, epoch_ns, order_id))
        return True

    def _widen(self, trade_id: int, epoch_ns: int) -> None:
        block = trade_id >> BLOCK_BITS
        first, last = self._extents.get(block, (epoch_ns, epoch_ns))
        self._extents[block] = (min(first, epoch_ns), max(last, epoch_ns))


def _conflict(order: Order) -> OrderConflict:
    return OrderConflict(
        f"order {order.client_order_id} was taken before with other content; give the new order an id of its own"
    )
