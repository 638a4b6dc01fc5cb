"""Connections that only read, each with a thread of its own, so that no reader waits for the writer's disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite

from ..clock import Clock
from ..errors import StoreError
from .faults import told
from .schema import connect

__all__ = ["Readers", "connect_reader"]


def connect_reader(path: Path, *, busy_ms: int, thread_bound: bool = True) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = connect(path, busy_ms=busy_ms, thread_bound=thread_bound)
    connection.execute("PRAGMA query_only = ON")
    return connection


@dataclass(slots=True, eq=False)
class _Reader:
    db: aiosqlite.Connection
    waiting: int = 0


class Readers:
    """A few reading connections; each query goes to the one with the fewest before it.

    Every query is one statement and one transaction: a long one would keep the log from being reset.
    """

    def __init__(self, path: Path, *, clock: Clock, busy_ms: int, count: int) -> None:
        self._path = path
        self._clock = clock
        self._busy_ms = busy_ms
        self._count = count
        self._readers: list[_Reader] = []

    async def open(self) -> None:
        for _ in range(self._count):
            connector = partial(connect_reader, self._path, busy_ms=self._busy_ms)
            with self._clock.outside():
                self._readers.append(_Reader(await aiosqlite.Connection(connector, iter_chunk_size=64)))

    async def close(self) -> None:
        while self._readers:
            with self._clock.outside():
                await self._readers.pop().db.close()

    async def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of one query."""
        if not self._readers:
            raise StoreError(f"{self._path}: the store is closed; read inside its `async with` block")
        reader = min(self._readers, key=lambda each: each.waiting)
        reader.waiting += 1
        try:
            with self._clock.outside():
                return list(await reader.db.execute_fetchall(query, values))
        except sqlite3.Error as error:
            raise told(error, self._path) from error
        finally:
            reader.waiting -= 1
