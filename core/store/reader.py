"""Connections that only read, each with a thread of its own, so that no reader waits for the writer's disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..clock import Clock
from .faults import told
from .lane import Job, Lane, LaneConnection
from .schema import configure, connect

__all__ = ["Readers", "connect_reader"]


def connect_reader(path: Path, *, busy_ms: int, thread_bound: bool = True) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = connect(path, busy_ms=busy_ms, thread_bound=thread_bound)
    connection.execute("PRAGMA query_only = ON")
    return connection


class Readers:
    """Two lanes: one for queries of a few rows, one for those that may take long, so that they hold up only each other.

    Every query is one statement and one transaction: a long transaction would keep the log from being reset.
    """

    def __init__(self, path: Path, *, clock: Clock, busy_ms: int) -> None:
        connector = partial(_connect, path, busy_ms=busy_ms)
        carry = partial(_read, path)
        self.quick_lane = Lane[sqlite3.Connection](path, clock=clock, connect=connector, carry=carry)
        self.long_lane = Lane[sqlite3.Connection](path, clock=clock, connect=connector, carry=carry)

    async def open(self) -> None:
        await self.quick_lane.open()
        await self.long_lane.open()

    async def close(self) -> None:
        try:
            await self.quick_lane.close()
        finally:
            await self.long_lane.close()

    async def quick(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query that finds a few at once."""
        return await self._rows(self.quick_lane, query, values)

    async def long(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query that may find many."""
        return await self._rows(self.long_lane, query, values)

    @staticmethod
    async def _rows(lane: Lane[sqlite3.Connection], query: str, values: Sequence[Any]) -> list[Any]:
        def work(db: sqlite3.Connection) -> list[Any]:
            return db.execute(query, values).fetchall()

        rows: list[Any] = await lane.do(work)
        return rows


def _connect(path: Path, *, busy_ms: int) -> LaneConnection:
    raw = sqlite3.connect(path, isolation_level=None, factory=LaneConnection)
    configure(raw, path, busy_ms=busy_ms)
    raw.execute("PRAGMA query_only = ON")
    return raw


def _read(path: Path, connection: sqlite3.Connection, jobs: Sequence[Job[sqlite3.Connection]]) -> None:
    for job in jobs:
        try:
            job.result = job.work(connection)
        except sqlite3.Error as error:
            job.error = told(error, path)
        except (ValueError, ArithmeticError) as error:  # a value that SQLite cannot take: this caller's own matter
            job.error = error
