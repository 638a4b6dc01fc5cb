"""The tables, their versions, and how a file is opened.

One row of `trades` is one order as it stands; what `core.store.journal` knows of it besides (`request`, `attempt`)
stands in the same row and is NULL or 0 for rows that were stored by hand. `journal` is the truth; the journaled
`trades` and `halts` are its projection. `limiter_states` stands for itself.

Ids grow with time, and 1024 neighbours are a block. The index on (block, symbol) is only ever written at its end, which
makes an insert several times cheaper than an index on (symbol, time); `blocks` says which times a block holds.
Measured with 1 M rows: 84 200 against 23 300 rows/s, 0.7 against 8.4 kB written a row.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import StoreCorrupt, StoreError, StoreReadOnly
from .faults import translate_faults

__all__ = [
    "APPLICATION_ID",
    "MIGRATIONS",
    "configure",
    "connect",
    "migrate",
    "prepare",
    "quick_faults",
    "thorough_faults",
]

APPLICATION_ID: Final = 0x68656164  # "head": tells our files from any other SQLite file

# MIGRATIONS[n] takes a file from version n to n + 1. An entry that was ever released is never edited.
MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE trades (
        id INTEGER PRIMARY KEY,
        order_id TEXT NOT NULL UNIQUE,
        symbol TEXT NOT NULL,
        side TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        price INTEGER NOT NULL,            -- rupees in units of 1e-8
        status TEXT NOT NULL,
        provider TEXT NOT NULL,
        broker_order_id TEXT NOT NULL,
        tag TEXT NOT NULL,
        filled_quantity INTEGER NOT NULL,
        simulated INTEGER NOT NULL,
        message TEXT NOT NULL,
        epoch_ns INTEGER NOT NULL,
        updated_ns INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        request TEXT,                      -- the order as JSON; NULL for a row that is not journaled
        fingerprint TEXT
    ) STRICT;
    CREATE INDEX trades_by_block_and_symbol ON trades (id >> 10, symbol);
    CREATE INDEX trades_open ON trades (id) WHERE request IS NOT NULL
        AND status NOT IN ('DENIED', 'FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED');
    CREATE TABLE blocks (
        block INTEGER PRIMARY KEY,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE journal (
        serial INTEGER PRIMARY KEY,
        epoch_ns INTEGER NOT NULL,
        version INTEGER NOT NULL,          -- of the body's form
        kind TEXT NOT NULL,
        order_id TEXT,
        body TEXT NOT NULL,
        checksum BLOB NOT NULL             -- over this row and the checksum of the row before
    ) STRICT;
    CREATE INDEX journal_by_order ON journal (order_id) WHERE order_id IS NOT NULL;
    CREATE TABLE chain (                   -- both ends of the journal: a lost last row shows too
        one INTEGER PRIMARY KEY CHECK (one = 1),
        serial INTEGER NOT NULL,
        checksum BLOB NOT NULL,
        retired_serial INTEGER NOT NULL,
        retired_checksum BLOB NOT NULL
    ) STRICT;
    INSERT INTO chain VALUES (1, 0, x'', 0, x'');
    CREATE TABLE fills (
        order_id TEXT NOT NULL,
        fill_id TEXT NOT NULL,
        broker_order_id TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        price INTEGER NOT NULL,
        epoch_ns INTEGER NOT NULL,
        PRIMARY KEY (order_id, fill_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE limiter_states (
        provider TEXT PRIMARY KEY,
        state TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE halts (                   -- one row while the kill switch is on, none otherwise
        one INTEGER PRIMARY KEY CHECK (one = 1),
        reason TEXT NOT NULL
    ) STRICT;
    """,
    # Fills are known by the quantities of the book, and nobody ever wrote one here. An index whose condition is a list
    # of texts has that list compared at every insert and every step: a third of what an order cost.
    """
    DROP TABLE fills;
    ALTER TABLE trades ADD COLUMN is_open INTEGER NOT NULL DEFAULT 0;  -- journaled, and not at its end
    UPDATE trades SET is_open = 1 WHERE request IS NOT NULL
        AND status NOT IN ('DENIED', 'FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED');
    DROP INDEX trades_open;
    CREATE INDEX trades_open ON trades (id) WHERE is_open = 1;
    """,
    # An index of the journal by order was a tenth of what an order wrote, for a question that is asked now and then.
    # Where an order's entries begin and end stands in its row, which every one of them writes anyway.
    """
    ALTER TABLE trades ADD COLUMN first_serial INTEGER NOT NULL DEFAULT 0;  -- 0 for a row that is not journaled
    ALTER TABLE trades ADD COLUMN last_serial INTEGER NOT NULL DEFAULT 0;
    UPDATE trades SET
        first_serial = coalesce((SELECT min(serial) FROM journal WHERE journal.order_id = trades.order_id
            AND kind IN ('Claimed', 'Intent')), 0),
        last_serial = coalesce((SELECT max(serial) FROM journal WHERE journal.order_id = trades.order_id), 0)
        WHERE request IS NOT NULL;
    DROP INDEX journal_by_order;
    """,
    # It follows from the request, and is asked for when an id comes twice: hashing and writing it was done for all.
    """
    ALTER TABLE trades DROP COLUMN fingerprint;
    """,
)

_BUSY_MS: Final = 5_000
_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables


def connect(path: Path, *, busy_ms: int = _BUSY_MS, thread_bound: bool = True) -> sqlite3.Connection:
    """A connection that commits only when told to, with every fault already ours."""
    with translate_faults(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=thread_bound)
    return configure(connection, path, busy_ms=busy_ms)


def configure(connection: sqlite3.Connection, path: Path, *, busy_ms: int = _BUSY_MS) -> sqlite3.Connection:
    """Set what holds for every connection; close it when that fails."""
    try:
        with translate_faults(path):
            connection.execute(f"PRAGMA busy_timeout = {busy_ms:d}")
            # FULL: a commit returns after its fdatasync. NORMAL would be twice as fast and lose acknowledged rows
            # when the power fails.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: Path, *, busy_ms: int = _BUSY_MS, check: bool = True, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Create the file if it is missing, check it, and bring it to the present version.

    Raises StoreReadOnly, StoreLocked, StoreFull, StoreCorrupt, or StoreError for a file that is not ours or is newer.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        raise StoreError(f"SQLite {oldest} or newer is needed, this Python has {sqlite3.sqlite_version}; upgrade it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Orders are nobody else's business; SQLite gives the WAL the mode of the file.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        with translate_faults(path):
            raise _cannot_open(error) from error
    if not os.access(path, os.W_OK):
        # SQLite would open it for reading and say so only at the first write: with an order in hand.
        raise StoreReadOnly(f"{path}: cannot be opened for writing; check path, owner and mode")
    connection = connect(path, busy_ms=busy_ms)
    try:
        with translate_faults(path):
            version = _version(connection, path, newest=len(migrations))
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                message = f"{path}: this file system keeps no write-ahead log; put the store on a local disk"
                raise StoreError(message)
            if check and version and (faults := quick_faults(connection)):
                message = f"{path}: fails its check ({faults[0]}); restore a backup, keep this file aside"
                raise StoreCorrupt(message)
            migrate(connection, path, migrations=migrations)
    finally:
        connection.close()


def quick_faults(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What `PRAGMA quick_check` finds, empty when the pages are sound."""
    return _faults(connection, "PRAGMA quick_check(5)")


def thorough_faults(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What `PRAGMA integrity_check` finds: the same, and every index against its table."""
    return _faults(connection, "PRAGMA integrity_check(20)")


def _faults(connection: sqlite3.Connection, check: str) -> tuple[str, ...]:
    # A row may hold several lines; the first of all is a heading between stars.
    lines = [line for row in connection.execute(check) for line in str(row[0]).splitlines()]
    return tuple(line for line in lines if line != "ok" and not line.startswith("***"))


def _cannot_open(error: OSError) -> sqlite3.OperationalError:
    fault = sqlite3.OperationalError(error.strerror or str(error))
    no_room = error.errno in {errno.ENOSPC, errno.EDQUOT}
    fault.sqlite_errorcode = sqlite3.SQLITE_FULL if no_room else sqlite3.SQLITE_CANTOPEN
    return fault


def _version(connection: sqlite3.Connection, path: Path, *, newest: int) -> int:
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            message = f"{path}: holds another program's tables; name a path of its own for the store"
            raise StoreError(message)
        return 0
    if version > newest:
        message = f"{path}: written by a newer headroom (version {version}, this one knows {newest}); upgrade headroom"
        raise StoreError(message)
    return version


def migrate(connection: sqlite3.Connection, path: Path, *, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the file to the newest version: each step whole or not at all."""
    while True:
        # Asked again inside the lock: another process may have done it in the meantime.
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _version(connection, path, newest=len(migrations))
            if version == len(migrations):
                return
            for statement in _statements(migrations[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _statements(script: str) -> list[str]:
    # executescript() would commit first, and half a migration could then stay behind.
    found: list[str] = []
    pending = ""
    for piece in script.split(";")[:-1]:
        pending += f"{piece};"  # which may also be one inside a text, a comment or a trigger
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found
