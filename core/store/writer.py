"""Group commit: everything that waits goes into one transaction and one fdatasync."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from ..clock import Clock
from .faults import is_about_the_file, told
from .lane import Job, Lane, LaneConnection
from .ledger import Head, Ledger
from .schema import configure

__all__ = ["Work", "Writer"]

T = TypeVar("T")
Work = Callable[[Ledger], Any]
_WAL_BYTES_KEPT: Final = 64 * 1024 * 1024


class Writer:
    """The one way to write: the lane that owns the file's writing connection."""

    def __init__(self, path: Path, *, clock: Clock, busy_ms: int, max_bytes: int | None, scratch: bool) -> None:
        self.lane = Lane[Work](
            path,
            clock=clock,
            connect=partial(_connect, path, busy_ms=busy_ms, max_bytes=max_bytes, scratch=scratch),
            carry=partial(_commit, path, _Kept() if scratch else None),
        )
        self.open = self.lane.open
        self.close = self.lane.close
        self.alone = self.lane.alone

    def write(self, work: Callable[[Ledger], T]) -> Awaitable[T]:
        """Run `work` inside the next transaction; its result, to be awaited, once that is durable.

        `work` runs in the writer's thread and may run twice; it changes nothing but the ledger.
        Raises what `work` raised, or a StoreError; in both cases nothing of this write is in the file.
        """
        return self.lane.do(work)


@dataclass(slots=True)
class _Kept:
    """What one transaction leaves to the next where nobody else can write in between."""

    head: Head | None = None


class _ScratchConnection(LaneConnection):
    """Has the file for itself until it is closed."""

    def close(self) -> None:
        # A statement that the traceback of an error still holds keeps a closed file open, and would keep its lock.
        self.execute("PRAGMA locking_mode = NORMAL")
        self.execute("SELECT 1 FROM chain").fetchone()
        super().close()


def _connect(path: Path, *, busy_ms: int, max_bytes: int | None, scratch: bool) -> LaneConnection:
    raw = sqlite3.connect(path, isolation_level=None, factory=_ScratchConnection if scratch else LaneConnection)
    configure(raw, path, busy_ms=busy_ms)
    if scratch:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = MEMORY", "synchronous = OFF"):
            raw.execute(f"PRAGMA {pragma}")
    # A limit of 0 would truncate the log at every checkpoint, which costs 28 %.
    raw.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
    if max_bytes is not None:
        page_bytes: int = raw.execute("PRAGMA page_size").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_bytes)}")
    return raw


def _commit(path: Path, kept: _Kept | None, connection: LaneConnection, jobs: Sequence[Job[Work]]) -> None:
    if not _attempt(path, kept, connection, jobs, careful=False):
        # One write failed after it had changed something. Once more, each behind a savepoint of its own: savepoints
        # cost too much to have them always.
        _attempt(path, kept, connection, jobs, careful=True)


def _attempt(
    path: Path, kept: _Kept | None, connection: LaneConnection, jobs: Sequence[Job[Work]], *, careful: bool
) -> bool:
    head = None
    if kept is not None:
        head, kept.head = kept.head, None
    try:
        # IMMEDIATE: a transaction that reads first and locks later is refused at once when another process got in
        # between, whatever the busy timeout says.
        connection.execute("BEGIN IMMEDIATE")
        changes = connection.total_changes
        ledger = Ledger(connection, head)
        for job in jobs:
            if not _apply(path, job, ledger, careful=careful):
                return False
        ledger.settle()
        connection.execute("COMMIT")
        # A commit of nothing writes nothing, and SQLite then asks the disk for nothing.
        connection.syncs += connection.total_changes != changes
        if kept is not None:
            kept.head = ledger.reached
    except sqlite3.Error as error:
        for job in jobs:
            job.error = told(error, path)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return True


def _apply(path: Path, job: Job[Work], ledger: Ledger, *, careful: bool) -> bool:
    """Do one write; False when it left something behind that only a rollback of the whole can undo."""
    job.error = None
    connection = ledger.connection
    changes, mark = connection.total_changes, ledger.mark()
    if careful:
        connection.execute("SAVEPOINT one")
    try:
        job.result = job.work(ledger)
    except Exception as error:  # whatever it is, it goes to the caller who handed in the work
        if is_about_the_file(error):
            raise
        job.error = told(error, path) if isinstance(error, sqlite3.Error) else error
        ledger.back(mark)
        if careful:
            connection.execute("ROLLBACK TO one")
        elif connection.total_changes != changes:
            return False
    if careful:
        connection.execute("RELEASE one")
    return True
