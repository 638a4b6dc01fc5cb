"""What keeps a store small and safe: copies, checks, retention. Synchronous: `TradeStore` gives it a thread."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import StoreError
from .entries import Halted
from .faults import translate_faults
from .ledger import Ledger
from .reader import connect_reader
from .schema import thorough_faults

__all__ = ["StoreSize", "backup", "faults", "retire", "size"]

_BUSY_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class StoreSize:
    """Bytes on disk: the file, its log, and what of the file is free for new rows."""

    file_bytes: int
    wal_bytes: int
    free_bytes: int


def backup(path: Path, target: Path) -> None:
    """Copy the store at `path` to `target` in one snapshot, durable on return."""
    part = target.with_name(f"{target.name}.part")
    with translate_faults(path):
        source = connect_reader(path, busy_ms=_BUSY_MS)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            copy = sqlite3.connect(part)
            try:
                source.backup(copy)  # all pages in one step: a copy in steps starts anew at every write in between
            finally:
                copy.close()
            _sync(part)
            part.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise StoreError(f"{target}: the backup cannot be written ({error.strerror})") from error
        finally:
            source.close()
            for left in (part, part.with_name(f"{part.name}-wal"), part.with_name(f"{part.name}-shm")):
                with suppress(OSError):
                    left.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def faults(path: Path) -> tuple[str, ...]:
    """What SQLite's own check finds; empty when all is sound."""
    with translate_faults(path):
        connection = connect_reader(path, busy_ms=_BUSY_MS)
        try:
            return thorough_faults(connection)
        finally:
            connection.close()


def size(path: Path) -> StoreSize:
    """How much disk the store takes."""
    with translate_faults(path):
        connection = connect_reader(path, busy_ms=_BUSY_MS)
        try:
            page_bytes: int = connection.execute("PRAGMA page_size").fetchone()[0]
            free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
        finally:
            connection.close()
    log = path.with_name(f"{path.name}-wal")
    return StoreSize(path.stat().st_size, log.stat().st_size if log.exists() else 0, free * page_bytes)


def retire(ledger: Ledger, before_ns: int, now_ns: int) -> int:
    """Delete what ended before `before_ns`; how many rows of trades went."""
    run = ledger.connection.execute
    # What must outlive its entry is said once more at the end of the journal, so that a rebuild still finds it.
    kept = [Halted(reason) for (reason,) in run("SELECT reason FROM halts").fetchall()]
    ledger.append(kept, now_ns)
    ledger.settle()  # what this transaction has appended is looked at too
    gone = run("DELETE FROM trades WHERE request IS NULL AND epoch_ns < ?", (before_ns,)).rowcount
    (upto,) = run(
        "SELECT min(serial) - 1 FROM (SELECT min(serial) AS serial FROM journal WHERE epoch_ns >= ?1 UNION ALL "
        "SELECT min(first_serial) FROM trades WHERE request IS NOT NULL AND (updated_ns >= ?1 OR is_open = 1))",
        (before_ns,),
    ).fetchone()
    upto = ledger.serial - len(kept) if upto is None else min(upto, ledger.serial - len(kept))
    # An order whose entries lie on both sides of the cut stays whole: the cut moves before its first.
    for first, last in run(
        "SELECT first_serial, last_serial FROM trades WHERE request IS NOT NULL AND first_serial <= ? "
        "ORDER BY last_serial DESC",
        (upto,),
    ):
        if last <= upto:
            break
        upto = min(upto, first - 1)
    link = run(
        "SELECT serial, checksum FROM journal WHERE serial <= ? ORDER BY serial DESC LIMIT 1", (upto,)
    ).fetchone()
    if link is not None:
        gone += run("DELETE FROM trades WHERE request IS NOT NULL AND last_serial <= ?", (upto,)).rowcount
        run("DELETE FROM journal WHERE serial <= ?", (upto,))
        run("UPDATE chain SET retired_serial = ?, retired_checksum = ?", link)
    run(
        "DELETE FROM blocks WHERE NOT EXISTS "
        "(SELECT 1 FROM trades WHERE id BETWEEN block << 10 AND (block << 10) + 1023)"
    )
    return gone
