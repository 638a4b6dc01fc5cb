"""One transaction on the store, in the writer's thread: rows, journal entries and their effect, all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from ..errors import EngineHalted, OrderConflict, StoreError, UnknownOrder
from ..models import FINAL, Order, OrderStatus
from .entries import (
    VERSION,
    CancelIntended,
    Claimed,
    Entry,
    Halted,
    IncidentSeen,
    Intent,
    JournaledOrder,
    Lifted,
    LimiterSaved,
    ModifyIntended,
    Step,
    fingerprint,
    json_of,
    order_from_json,
    order_json,
    step_json,
    taking_json,
)
from .rows import TRADE_COLUMNS, TradeRow, clean, money, units

__all__ = ["BLOCK_BITS", "ORDER_QUERY", "Head", "Ledger", "Mark", "link", "order_from_row"]

BLOCK_BITS: Final = 10
Mark = tuple[int, bytes, str, int, int]
Head = tuple[int, bytes, str]  # serial and checksum of the last entry, and the kill switch

_MARKS: Final = ", ".join("?" * 14)
_INSERT: Final = f"INSERT INTO trades ({TRADE_COLUMNS}) VALUES ({_MARKS}) ON CONFLICT (order_id) DO NOTHING"
_REPLACE: Final = (
    f"UPDATE trades SET ({TRADE_COLUMNS}) = ({_MARKS}) WHERE order_id = ? AND request IS NULL RETURNING id"
)
_STATUS: Final = "UPDATE trades SET status = ?, updated_ns = ? WHERE order_id = ? AND request IS NULL"
# The row of an order whose id is taken, in the order of TRADE_COLUMNS and of what only journaled rows have.
_TAKEN: Final = f"{TRADE_COLUMNS}, attempt, request, first_serial, last_serial, is_open"
_AT_FIRST: Final = "?1, ?2, ?3, ?4, ?5, ?6, ?7, '', ?8, 0, ?9, '', ?10, ?10, ?11, ?12, ?13, ?13, 1"
_TAKE: Final = f"INSERT INTO trades ({_TAKEN}) VALUES ({_AT_FIRST}) ON CONFLICT (order_id) DO NOTHING"
_TAKE_OVER: Final = f"UPDATE trades SET ({_TAKEN}) = ({_AT_FIRST}) WHERE order_id = ?1 AND request IS NULL RETURNING id"
# Each as long as the order's openness stays what it is: naming is_open would have its index written at every step.
_SEND: Final = (
    "UPDATE trades SET status = 'SUBMITTING', provider = ?1, tag = ?2, broker_order_id = '', attempt = ?3, "
    "message = '', simulated = ?4, updated_ns = ?5, last_serial = ?7 "
    "WHERE order_id = ?6 AND request IS NOT NULL AND is_open = 1"
)
_STANDS: Final = "SELECT request, attempt, status FROM trades WHERE order_id = ? AND request IS NOT NULL"
_STEP: Final = (
    "UPDATE trades SET status = ?1, provider = coalesce(nullif(?2, ''), provider), "
    "broker_order_id = coalesce(nullif(?3, ''), broker_order_id), tag = coalesce(nullif(?4, ''), tag), "
    "attempt = coalesce(nullif(?5, 0), attempt), "
    "price = CASE WHEN ?6 >= filled_quantity AND ?7 > 0 THEN ?7 ELSE price END, "
    "filled_quantity = max(filled_quantity, ?6), message = ?8, updated_ns = ?9, last_serial = ?12"
)


def _steps(more: str = "") -> tuple[tuple[str, ...], ...]:
    """A step's statements, by whether the order was at its end, and by whether it is then.

    Naming is_open has its index written, so only a step that turns it does.
    """
    where = "WHERE order_id = ?10 AND request IS NOT NULL AND is_open ="
    return tuple(
        tuple(f"{_STEP}{'' if then == was else f', is_open = {then}'} {where} {was}{more}" for then in (1, 0))
        for was in (1, 0)
    )


_ANYWHERE: Final = _steps()
_HELD: Final = _steps(" AND status = ?11 AND attempt = ?5")
_REOPEN: Final = "UPDATE trades SET is_open = 1 WHERE order_id = ? AND request IS NOT NULL"
_MENTION: Final = "UPDATE trades SET last_serial = ? WHERE order_id = ? AND request IS NOT NULL"
_EXTENT: Final = (
    "INSERT INTO blocks VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE SET "
    "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns) "
    "WHERE excluded.first_ns < first_ns OR excluded.last_ns > last_ns"
)
_MINUTE_NS: Final = 2**36 - 1  # 69 s
_COLUMNS: Final = 7
# So many rows go with one statement. A row by itself costs a third more; and at each one the interpreter is given up
# four times, which a busy loop gives back late. OR FAIL: the copies with which to take half a statement back are saved.
_AT_ONCE: Final = 16
_PORTION: Final = _AT_ONCE * _COLUMNS
_JOURNAL: Final = tuple(
    "INSERT OR FAIL INTO journal VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * count)
    for count in range(_AT_ONCE + 1)
)
_CHAIN: Final = "UPDATE chain SET serial = ?, checksum = ? WHERE one = 1"
_HEAD: Final = "SELECT serial, checksum, coalesce((SELECT reason FROM halts), '') FROM chain WHERE one = 1"
_FARTHEST_NS: Final = 2**63 - 1
_NOTHING: Final = Decimal(0)
ORDER_QUERY: Final = f"SELECT {TRADE_COLUMNS}, attempt, request FROM trades WHERE request IS NOT NULL"


def link(before: bytes, serial: int, epoch_ns: int, version: int, kind: str, order_id: str, body: str) -> bytes:
    """The checksum of a journal row, over its columns and the checksum of the row before."""
    row = f"{serial} {epoch_ns} {version} {kind} {len(order_id)} {order_id}{body}"
    # An id that has something to clean, and its clean form, have one checksum.
    return blake2b(before + row.encode("utf-8", "replace"), digest_size=16).digest()


def order_from_row(row: Sequence[Any]) -> JournaledOrder:
    """The order that ORDER_QUERY selected."""
    return JournaledOrder(
        order=order_from_json(row[15]),
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
    """What a write may do inside the writer's transaction. Lives as long as that transaction.

    `head` spares it a look where nobody else can have written since: what it was at the end of the one before.
    """

    def __init__(self, connection: sqlite3.Connection, head: Head | None = None) -> None:
        self.connection = connection
        cursor = connection.cursor()  # one for all: the connection's own `execute` makes one for every statement
        self._run, self._run_many = cursor.execute, cursor.executemany
        # Read inside the write lock, so that another process cannot append in between.
        known: Head = self._run(_HEAD).fetchone() if head is None else head
        self.serial, self._checksum, self._halt = known
        self._rows: list[Any] = []  # of the journal, column after column: they are written together
        self._written = 0  # how many of `_rows` are in the table
        self._extents: dict[int, tuple[int, int, int]] = {}

    @property
    def head(self) -> Head:
        """As it is now."""
        return self.serial, self._checksum, self._halt

    def mark(self) -> Mark:
        """Where the journal stands, to go `back` to when one write of several is undone."""
        return self.serial, self._checksum, self._halt, len(self._rows), self._written

    def back(self, mark: Mark) -> None:
        """Forget what was appended since `mark`. Block extents stay: too wide costs a look, never a row."""
        self.serial, self._checksum, self._halt, count, self._written = mark
        del self._rows[count:]

    def settle(self) -> None:
        """Write what is written together; called right before the commit, and by whoever reads the journal sooner."""
        if self._extents:
            self._run_many(_EXTENT, self._extents.values())
        rows = self._rows
        count = len(rows)
        if self._written < count:
            for first in range(self._written, count, _PORTION):
                some = rows[first : first + _PORTION]
                self._write(_JOURNAL[len(some) // _COLUMNS], some)
            self._written = count
            self._run(_CHAIN, (self.serial, self._checksum))

    # Rows that are kept by hand.

    def put_trade(self, row: TradeRow, _now_ns: int) -> None:
        """Insert the row, or replace the one of its order_id."""
        cursor = self._write(_INSERT, row)
        if cursor.rowcount == 1 and cursor.lastrowid is not None:
            self._widen(cursor.lastrowid, row[12])
            return
        replaced = self._write(_REPLACE, (*row, row[0])).fetchall()
        if not replaced:
            raise _moves_by_entries(row[0])
        self._widen(replaced[0][0], row[12])

    def set_status(self, change: tuple[str, str], now_ns: int) -> bool:
        """Set the status of the row with an order_id; False when there is none."""
        order_id, status = change
        if self._run(_STATUS, (status, now_ns, order_id)).rowcount:
            return True
        if self._run("SELECT 1 FROM trades WHERE order_id = ?", (order_id,)).fetchone():
            raise StoreError(f"order {order_id} is journaled: its status moves by journal entries only")
        return False

    # The journal.

    def append(self, entries: Iterable[Entry | LimiterSaved], now_ns: int) -> int:
        """Check, write and apply `entries`; the serial of the last one in the journal.

        Raises OrderConflict, EngineHalted or UnknownOrder; what was written before must then be undone.
        """
        return self.move(entries, now_ns, held=False)

    def move(self, entries: Iterable[Entry | LimiterSaved], now_ns: int, *, held: bool = True) -> int:
        """`append`. `held`: a step or an intent must find its order where it says that it comes from."""
        for entry in entries:
            epoch_ns = entry.epoch_ns or now_ns
            if abs(epoch_ns) > _FARTHEST_NS:
                raise _too_far(epoch_ns)
            if isinstance(entry, Step):
                body = step_json(entry)
                is_known = self._step(entry, epoch_ns, self.serial + 1, held=held)
            elif isinstance(entry, LimiterSaved):
                saved = clean(entry.provider), clean(entry.state_json)
                self._run("INSERT OR REPLACE INTO limiter_states VALUES (?, ?)", saved)
                continue
            else:
                if isinstance(entry, Intent):
                    self._check(entry, held=held)
                body = json_of(entry)
                is_known = self.apply(entry, epoch_ns, self.serial + 1)
            if not is_known:
                raise UnknownOrder(f"order {entry.order_id} is not in the journal; claim it first")
            self._link(entry, epoch_ns, body)
        return self.serial

    def order(self, order_id: str) -> JournaledOrder | None:
        row = self._run(f"{ORDER_QUERY} AND order_id = ?", (clean(order_id),)).fetchone()
        return None if row is None else order_from_row(row)

    def claim(self, entries: Sequence[Any], now_ns: int) -> JournaledOrder | None:
        """Take an id by the first of `entries`, a Claimed or an Intent, and append the others.

        Or, where the id is taken, write nothing and return its order. Raises OrderConflict if it has other content.
        """
        taking: Claimed | Intent = entries[0]
        order = taking.order
        epoch_ns = taking.epoch_ns or now_ns
        if abs(epoch_ns) > _FARTHEST_NS:
            raise _too_far(epoch_ns)
        text = order_json(order)
        if not self._halt and self._take(taking, epoch_ns, self.serial + 1, text):
            self._link(taking, epoch_ns, taking_json(taking, text))
            if len(entries) > 1:
                self.append(entries[1:], now_ns)
            return None
        existing = self.order(order.client_order_id)
        if existing is None:  # its row was stored by hand, or nothing may leave
            self.append(entries, now_ns)
        elif existing.fingerprint != fingerprint(order):
            raise _conflict(order)
        return existing

    def _expect(self, order_id: str, status: OrderStatus, attempt: int) -> None:
        """Raise OrderConflict unless the order stands as its caller believes."""
        known = self._run(
            "SELECT status, attempt FROM trades WHERE order_id = ? AND request IS NOT NULL", (clean(order_id),)
        ).fetchone()
        if known is not None and tuple(known) != (status.value, attempt):
            raise OrderConflict(
                f"order {order_id} is {known[0]} at attempt {known[1]}, by another process; here it was "
                f"{status.value} at attempt {attempt}"
            )

    def _link(self, entry: Entry, epoch_ns: int, body: str) -> None:
        """Append `entry`, as JSON its `body`, to the chain."""
        kind, order_id = type(entry).__name__, entry.order_id
        self.serial = serial = self.serial + 1
        self._checksum = checksum = link(self._checksum, serial, epoch_ns, VERSION, kind, order_id, body)
        # As a bytearray: bytes, of all types, sqlite3 first asks for an adapter of their own, at the price of the hash.
        self._rows += (serial, epoch_ns, VERSION, kind, order_id or None, body, bytearray(checksum))

    def _check(self, entry: Intent, *, held: bool) -> None:
        if held:
            self._expect(entry.order_id, OrderStatus.NEW, entry.attempt - 1)
        if self._halt:
            raise EngineHalted(f"trading is halted ({self._halt}): order {entry.order_id} stays here; lift it by name")
        row = self._run(_STANDS, (clean(entry.order_id),)).fetchone()
        if row is None:
            return
        text, attempt, status = row
        # The same text is the same content; another text may be too: 652.5 and 652.50 are one price.
        is_same = text == order_json(entry.order) and not entry.fingerprint
        if not is_same and fingerprint(order_from_json(text)) != (entry.fingerprint or fingerprint(entry.order)):
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

    def apply(self, entry: Entry, epoch_ns: int, serial: int) -> bool:
        """Move the projection by the entry of that serial; False where it names an order that nothing is known of."""
        match entry:
            case Step():
                return self._step(entry, epoch_ns, serial)
            case Claimed():
                self._take_anyhow(entry, epoch_ns, serial)
            case Intent():
                return self._send(entry, epoch_ns, serial)
            case Halted():
                self._halt = clean(entry.reason) or "no reason given"
                self._run("INSERT OR REPLACE INTO halts VALUES (1, ?)", (self._halt,))
            case Lifted():
                self._halt = ""
                self._run("DELETE FROM halts")
            case CancelIntended() | ModifyIntended() | IncidentSeen():
                if entry.order_id:  # history: no state follows from them alone, but they are of its story
                    self._write(_MENTION, (serial, entry.order_id))
        return True

    def _take(self, taking: Claimed | Intent, epoch_ns: int, serial: int, text: str) -> bool:
        """Make the row of an order whose id is taken, by an intent if it leaves at once; False if the id has a row."""
        cursor = self._write(_TAKE, _first_row(taking, epoch_ns, serial, text))
        if cursor.rowcount != 1 or cursor.lastrowid is None:
            return False
        self._widen(cursor.lastrowid, epoch_ns)
        return True

    def _take_anyhow(self, taking: Claimed | Intent, epoch_ns: int, serial: int) -> None:
        """The same; a row that was stored by hand becomes the journal's."""
        text = order_json(taking.order)
        if self._take(taking, epoch_ns, serial, text):
            return
        taken = self._write(_TAKE_OVER, _first_row(taking, epoch_ns, serial, text)).fetchall()
        if not taken:
            raise _moves_by_entries(taking.order_id)
        self._widen(taken[0][0], epoch_ns)

    def _send(self, entry: Intent, epoch_ns: int, serial: int) -> bool:
        order_id = entry.order_id
        sent = (entry.provider, entry.tag, entry.attempt, int(entry.simulated), epoch_ns, order_id, serial)
        if self._write(_SEND, sent).rowcount == 1:
            return True
        if self._write(_REOPEN, (order_id,)).rowcount == 1:
            return self._write(_SEND, sent).rowcount == 1
        self._take_anyhow(entry, epoch_ns, serial)
        return True

    def _step(self, entry: Step, epoch_ns: int, serial: int, *, held: bool = False) -> bool:
        """`held`: from `before` at this very attempt, and from nowhere else. Raises OrderConflict."""
        moved = (
            str(entry.after),
            entry.provider,
            entry.broker_order_id,
            entry.tag,
            entry.attempt,
            entry.filled_quantity,
            units(entry.average_price),
            entry.message,
            epoch_ns,
            entry.order_id,
            str(entry.before),
            serial,
        )
        statements = _HELD if held else _ANYWHERE
        was_final, is_final = entry.before in FINAL, entry.after in FINAL
        if self._write(statements[was_final][is_final], moved).rowcount == 1:
            return True
        # `before` is what its writer believed.
        if self._write(statements[not was_final][is_final], moved).rowcount == 1:
            return True
        if held:
            self._expect(entry.order_id, entry.before, entry.attempt)
        return False

    def _write(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        """Run a statement with text from outside. It is tried as it is: there is next to never anything to clean."""
        try:
            return self._run(statement, values)
        except UnicodeEncodeError:  # raised before the statement began
            return self._run(statement, [clean(value) if isinstance(value, str) else value for value in values])

    def _widen(self, trade_id: int, epoch_ns: int) -> None:
        block = trade_id >> BLOCK_BITS
        known = self._extents.get(block)
        if known is not None and known[1] <= epoch_ns <= known[2]:
            return
        # A minute ahead, so that most inserts find the block wide enough: too wide costs a look, never a row.
        first_ns, last_ns = epoch_ns, epoch_ns | _MINUTE_NS
        if known is not None:
            first_ns, last_ns = min(known[1], first_ns), max(known[2], last_ns)
        self._extents[block] = block, first_ns, last_ns


def _first_row(taking: Claimed | Intent, epoch_ns: int, serial: int, text: str) -> tuple[Any, ...]:
    """The values of _AT_FIRST."""
    order = taking.order
    return (
        order.client_order_id,
        order.symbol,
        str(order.side),
        order.quantity,
        units(order.price or order.trigger_price or _NOTHING),
        taking.status,
        taking.provider,
        taking.tag,
        int(taking.simulated),
        epoch_ns,
        taking.attempt,
        text,
        serial,
    )


def _too_far(epoch_ns: int) -> ValueError:
    return ValueError(f"epoch_ns is {epoch_ns}; give nanoseconds since 1970 that fit 63 bits")


def _moves_by_entries(order_id: str) -> StoreError:
    return StoreError(f"order {order_id} is journaled: its row moves by journal entries only")


def _conflict(order: Order) -> OrderConflict:
    return OrderConflict(
        f"order {order.client_order_id} was taken before with other content; give the new order an id of its own"
    )
