"""Group commit: everything that waits goes into one transaction and one fdatasync.

A scratch store leaves its transaction open from write to write instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..clock import Clock, Passes, VirtualClock
from .faults import is_about_the_file, told
from .lane import Job, Lane, LaneConnection
from .ledger import Head, Ledger
from .schema import configure

__all__ = ["Work", "Writer"]

# What is done, with what, and when it was handed in, in epoch nanoseconds. Three values, not a function made for each
# write: those would be five objects more.
Work = tuple[Callable[[Ledger, Any, int], Any], Any, int]
_WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
_LEFT_OPEN: Final = 512  # writes: what an open transaction holds in memory stays small


class Writer:
    """The one way to write: the lane that owns the file's writing connection.

    `write` does its work inside the next transaction; its result, to be awaited, once that is durable. The work is done
    in the writer's thread and may be done twice; it changes nothing but the ledger. Raises what the work raised, or a
    StoreError; in both cases nothing of this write is in the file.
    """

    def __init__(self, path: Path, *, clock: Clock, busy_ms: int, max_bytes: int | None, scratch: bool) -> None:
        self.lane = Lane[Work](
            path,
            clock=clock,
            connect=partial(_connect, path, clock=clock, busy_ms=busy_ms, max_bytes=max_bytes, scratch=scratch),
            carry=_carry_on if scratch else partial(_commit, path),
            at_once=_ScratchConnection.do,  # type: ignore[arg-type]  # no other connection is `at_once`
        )
        self.write = self.lane.do
        self.open = self.lane.open
        self.close = self.lane.close
        self.alone = self.lane.alone


class _ScratchConnection(LaneConnection):
    """Has the file for itself until it is closed: nobody waits for a commit, which costs as much as the write.

    A fault of the file takes back all that the open transaction holds, answered or not.
    """

    at_once = True
    path: Path
    loop: Passes

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ledger: Ledger | None = None  # of the open transaction
        self._head: Head | None = None  # where the one before ended
        self._works: list[Work] = []  # what the open transaction holds
        self._pass = -1  # of the loop, in which the last write was

    def do(self, work: Work) -> Any:
        """Do one write. Those of one pass of the loop would share a commit elsewhere, and count as one sync."""
        if self._pass != (now := self.loop.passes):
            self._pass = now
            self.syncs += 1
        try:
            act, what, now_ns = work
            ledger = self._ledger or self._begin()
            before = self.total_changes, ledger.serial
            try:
                result = act(ledger, what, now_ns)
            except Exception as error:
                if is_about_the_file(error):
                    raise
                if before != (self.total_changes, ledger.serial):
                    self._again()
                if isinstance(error, sqlite3.Error):
                    raise told(error, self.path) from error
                raise
            self._works.append(work)
            if len(self._works) >= _LEFT_OPEN:
                self._commit()
        except sqlite3.Error as error:
            self._give_up()
            raise told(error, self.path) from error
        return result

    def finish(self) -> None:
        try:
            if self._ledger is not None:
                self._commit()
        except sqlite3.Error as error:
            self._give_up()
            raise told(error, self.path) from error

    def close(self) -> None:
        try:
            self.finish()
            # A statement that the traceback of an error still holds keeps a closed file open, and would keep its lock.
            self.execute("PRAGMA locking_mode = NORMAL")
            self.execute("SELECT 1 FROM chain").fetchone()
        finally:
            super().close()

    def _begin(self) -> Ledger:
        self.execute("BEGIN IMMEDIATE")
        ledger = self._ledger = Ledger(self, self._head)
        return ledger

    def _again(self) -> None:
        """Begin anew with all that the transaction held: another write failed after it had changed something."""
        self.execute("ROLLBACK")
        ledger = self._begin()
        for act, what, now_ns in self._works:
            act(ledger, what, now_ns)

    def _commit(self) -> None:
        assert self._ledger is not None  # noqa: S101 - as long as a transaction is open
        self._ledger.settle()
        self.execute("COMMIT")
        self._head = self._ledger.head
        self._ledger = None
        self._works.clear()

    def _give_up(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")
        self._ledger = None
        self._works.clear()


def _connect(path: Path, *, clock: Clock, busy_ms: int, max_bytes: int | None, scratch: bool) -> LaneConnection:
    raw = sqlite3.connect(path, isolation_level=None, factory=_ScratchConnection if scratch else LaneConnection)
    configure(raw, path, busy_ms=busy_ms)
    if isinstance(raw, _ScratchConnection):
        assert isinstance(clock, VirtualClock)  # noqa: S101 - `TradeStore` has seen to it
        raw.path, raw.loop = path, clock.loop
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = MEMORY", "synchronous = OFF"):
            raw.execute(f"PRAGMA {pragma}")
    # A limit of 0 would truncate the log at every checkpoint, which costs 28 %.
    raw.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
    if max_bytes is not None:
        page_bytes: int = raw.execute("PRAGMA page_size").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page_bytes)}")
    return raw


def _carry_on(connection: LaneConnection, jobs: Sequence[Job[Work]]) -> None:
    assert isinstance(connection, _ScratchConnection)  # noqa: S101 - `_connect` made it
    for job in jobs:
        try:
            job.result = connection.do(job.work)
        except Exception as error:  # noqa: BLE001 - as in `Lane.do`
            job.error = error


def _commit(path: Path, connection: LaneConnection, jobs: Sequence[Job[Work]]) -> None:
    if not _attempt(path, connection, jobs, _do_all):
        # One write failed after it had changed something. Once more, each behind a savepoint of its own: savepoints
        # cost too much to have them always.
        _attempt(path, connection, jobs, _do_each)


_Doing = Callable[[Path, Ledger, Sequence[Job[Work]]], bool]


def _attempt(path: Path, connection: LaneConnection, jobs: Sequence[Job[Work]], do: _Doing) -> bool:
    try:
        # IMMEDIATE: a transaction that reads first and locks later is refused at once when another process got in
        # between, whatever the busy timeout says.
        connection.execute("BEGIN IMMEDIATE")
        changes = connection.total_changes
        ledger = Ledger(connection)
        if not do(path, ledger, jobs):
            return False
        ledger.settle()
        connection.execute("COMMIT")
        # A commit of nothing writes nothing, and SQLite then asks the disk for nothing.
        connection.syncs += connection.total_changes != changes
    except sqlite3.Error as error:
        for job in jobs:
            job.error = told(error, path)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return True


def _do_all(path: Path, ledger: Ledger, jobs: Sequence[Job[Work]]) -> bool:
    """Do the writes; False when one left something behind that only a rollback of the whole can undo."""
    connection = ledger.connection
    for job in jobs:
        act, what, now_ns = job.work
        before = connection.total_changes, ledger.serial
        try:
            job.result = act(ledger, what, now_ns)
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to the caller who handed in the work
            job.error = _told(error, path)
            if before != (connection.total_changes, ledger.serial):
                return False
    return True


def _do_each(path: Path, ledger: Ledger, jobs: Sequence[Job[Work]]) -> bool:
    """Do the writes, and undo those that fail, each by itself."""
    run = ledger.connection.execute
    for job in jobs:
        act, what, now_ns = job.work
        mark, job.error = ledger.mark(), None
        run("SAVEPOINT one")
        try:
            job.result = act(ledger, what, now_ns)
        except Exception as error:  # noqa: BLE001 - as in `_do_all`
            job.error = _told(error, path)
            ledger.back(mark)
            run("ROLLBACK TO one")
        run("RELEASE one")
    return True


def _told(error: Exception, path: Path) -> Exception:
    """What the caller of one write is told. Raises what befalls the file, and so all who share it."""
    if is_about_the_file(error):
        raise error
    return told(error, path) if isinstance(error, sqlite3.Error) else error
