"""Connections that only read, each with a thread of its own, so that no reader waits for the writer's disk.

On a clock that stands still there is no disk to wait for: in place both lanes read over the writer's connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..clock import Clock
from .faults import told
from .lane import Job, Lane, LaneConnection
from .schema import configure, connect

__all__ = ["Query", "Readers", "connect_reader"]


class Query(NamedTuple):
    """What is asked, and what its rows are made into. Equal ones that travel together are asked and answered once."""

    text: str
    values: tuple[Any, ...]
    make: Callable[[list[Any]], Any]

    def ask(self, connection: sqlite3.Connection) -> Any:
        return self.make(connection.execute(self.text, self.values).fetchall())


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
        carry, look = partial(_read, path), partial(_look, path)
        self.quick_lane = Lane[Query](path, clock=clock, connect=connector, carry=carry, at_once=look)
        self.long_lane = Lane[Query](path, clock=clock, connect=connector, carry=carry, at_once=look)

    async def open(self, writing: Lane[Any]) -> None:
        """`writing`: the lane that writes the same file, open already."""
        await self.quick_lane.open(writing)
        await self.long_lane.open(writing)

    async def close(self) -> None:
        try:
            await self.quick_lane.close()
        finally:
            await self.long_lane.close()

    async def quick(self, text: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """The rows of a query that finds a few at once."""
        rows: tuple[Any, ...] = await self.quick_lane.do(Query(text, values, tuple))
        return rows

    async def long(self, text: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """The rows of a query that may find many."""
        rows: tuple[Any, ...] = await self.long_lane.do(Query(text, values, tuple))
        return rows


def _connect(path: Path, *, busy_ms: int) -> LaneConnection:
    raw = sqlite3.connect(path, isolation_level=None, factory=LaneConnection)
    configure(raw, path, busy_ms=busy_ms)
    raw.execute("PRAGMA query_only = ON")
    return raw


def _look(path: Path, connection: LaneConnection, query: Query) -> Any:
    connection.finish()
    try:
        return query.ask(connection)
    except sqlite3.Error as error:
        raise told(error, path) from error


def _read(path: Path, connection: LaneConnection, jobs: Sequence[Job[Query]]) -> None:
    answers: dict[Query, Any] = {}  # shared, so nothing in it may be changed
    connection.finish()
    for job in jobs:
        query = job.work
        try:
            if query not in answers:
                answers[query] = query.ask(connection)
            job.result = answers[query]
        except sqlite3.Error as error:
            job.error = told(error, path)
        except (ValueError, ArithmeticError) as error:  # a value that SQLite cannot take: this caller's own matter
            job.error = error
