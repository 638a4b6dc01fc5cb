"""SQLite's errors, told in ours: one line that says what was wrong, where, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreReadOnly

__all__ = ["is_about_the_file", "told", "translate_faults"]

_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_ABOUT_THE_FILE = _LOCKED | _READ_ONLY | _CORRUPT | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}


def _primary(error: sqlite3.Error) -> int:
    # An extended code keeps its primary code in the low byte. Errors of the Python module itself have none.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_about_the_file(error: BaseException) -> bool:
    """Whether the fault is the file's, so that it meets every write of a batch, and not one row's."""
    return isinstance(error, sqlite3.Error) and _primary(error) in _ABOUT_THE_FILE


def told(error: sqlite3.Error, path: Path) -> StoreError:
    """`error` as the StoreError that says what to do next."""
    code = _primary(error)
    extended = getattr(error, "sqlite_errorcode", 0)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in _LOCKED:
        return StoreLocked(f"{path}: another process holds the store; nothing of this was written; end it or try again")
    # The shared-memory file of the WAL reports a full disk under a name of its own.
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreFull(f"{path}: no room left; nothing of this was written; free disk space or raise max_bytes")
    if code in _READ_ONLY:
        return StoreReadOnly(f"{path}: cannot be opened for writing ({error}); check path, owner and mode")
    if code in _CORRUPT:
        return StoreCorrupt(f"{path}: not a sound store ({error}); restore a backup, keep this file aside")
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(f"{path}: the disk refuses ({name}); nothing of this was written; check disk and quota")
    return StoreError(f"{path}: {error} ({name})")


@contextmanager
def translate_faults(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise told(error, path) from error
