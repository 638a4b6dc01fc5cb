"""A full disk, a file that cannot be written, another process's lock, a damaged file: all for real."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreReadOnly
from core.models import Order, Trade
from core.store import TradeStore


def trade(order_id: str, message: str = "") -> Trade:
    return Trade(order_id=order_id, symbol="S", quantity=1, price=Decimal(1), message=message)


async def make(path: Path, *, rows: int = 1) -> None:
    async with TradeStore(path) as store:
        await asyncio.gather(*(store.store_trade(trade(f"{number}", "x" * 200)) for number in range(rows)))
        await store.journal.claim(Order(symbol="S", quantity=1, client_order_id="order"))


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def one_line(error: BaseException) -> str:
    said = str(error)
    assert "\n" not in said
    return said


async def test_above_the_bound_writes_are_refused_and_what_was_told_is_kept(path: Path) -> None:
    async with TradeStore(path, max_bytes=256 * 1024) as store:
        told = 0
        refused = ""
        while not refused:
            try:
                await store.store_trade(trade(f"{told}", "x" * 1000))
                told += 1
            except StoreFull as error:
                refused = str(error)
        assert "no room left; nothing of this was written; free disk space or raise max_bytes" in refused
        assert told > 50
        assert (await store.size()).file_bytes <= 256 * 1024
        with pytest.raises(StoreFull):
            await store.journal.claim(Order(symbol="S", quantity=1, client_order_id="order" * 2000))
        assert len(await store.get_recent_trades(limit=5000)) == told
        assert await store.update_trade_status("0", "DONE")  # what needs no room still works
        assert (await store.integrity_check(), (await store.journal.verify()).ok) == ((), True)
    async with TradeStore(path, max_bytes=1024 * 1024) as store:
        await store.store_trade(trade("more", "x" * 1000))
        assert len(await store.get_recent_trades(limit=5000)) == told + 1


FILLER = """
import asyncio, os, resource, signal, sys
from decimal import Decimal
from core.errors import StoreError
from core.models import Trade
from core.store import TradeStore

async def main():
    async with TradeStore(sys.argv[1]) as store:
        await store.store_trade(Trade(order_id="first", symbol="S", quantity=1, price=Decimal(1)))
        if sys.argv[2] == "limit":
            # The kernel refuses every byte beyond: what a quota does.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        number = 0
        try:
            while number < 100_000:
                await store.store_trade(Trade(order_id=f"{number}", symbol="S" * 64, quantity=1, price=Decimal(1)))
                print(number, flush=True)
                number += 1
        except StoreError as error:
            print(type(error).__name__, error, flush=True)
    # Closing folds the log into the file, for which there is no room either: that loses nothing.
asyncio.run(main())
"""


def fill_up(path: Path, how: str) -> tuple[list[str], str]:
    """What the child was told is stored, and its last word."""
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(path), how], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    *told, last = done.stdout.splitlines()
    return told, last


async def kept(path: Path) -> set[str]:
    async with TradeStore(path) as store:
        assert (await store.journal.verify()).ok
        return {row.order_id for row in await store.get_recent_trades(limit=200_000)}


async def test_a_quota_refuses_writes_and_loses_none(path: Path) -> None:
    told, last = await asyncio.to_thread(fill_up, path, "limit")
    assert last.startswith(("StoreFull", "StoreError"))
    assert str(path) in last
    assert len(told) > 10
    assert {"first", *told} <= await kept(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk; the quota and max_bytes tests cover the same errors")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_refuses_writes_and_loses_none(small_disk: Path, tmp_path: Path) -> None:
    told, last = await asyncio.to_thread(fill_up, small_disk / "headroom.db", "disk")
    assert last.startswith("StoreFull")
    assert len(told) > 10
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    for found in small_disk.iterdir():
        (roomy / found.name).write_bytes(found.read_bytes())
    assert {"first", *told} <= await kept(roomy / "headroom.db")


# Locked.


async def test_a_lock_that_stays_is_told_and_nothing_of_the_write_lands(path: Path) -> None:
    async with TradeStore(path, busy_ms=50) as store:
        await store.store_trade(trade("before"))
        with write_lock(path):
            with pytest.raises(StoreLocked, match="another process holds the store; nothing of this was written") as no:
                await store.store_trade(trade("during"))
            assert one_line(no.value)
            assert await store.get_trade_by_order_id("before") is not None  # readers do not wait for writers
        await store.store_trade(trade("after"))
        assert {row.order_id for row in await store.get_recent_trades()} == {"before", "after"}


async def test_a_lock_that_goes_in_time_is_waited_for(path: Path) -> None:
    async with TradeStore(path, busy_ms=20_000) as store:
        with write_lock(path):
            waiting = asyncio.create_task(store.store_trade(trade("patient")))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        await waiting
        assert await store.get_trade_by_order_id("patient") is not None


async def test_a_file_locked_for_itself_cannot_be_opened(path: Path) -> None:
    await make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreLocked):
            async with TradeStore(path, busy_ms=50):
                pytest.fail("opened")
        other.execute("ROLLBACK")


# Read-only.

OPENER = """
import asyncio, os, sys
from core.errors import StoreError
from core.models import Trade
from core.store import TradeStore
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)   # to root nothing is read-only
async def main():
    try:
        async with TradeStore(sys.argv[1]):
            print("opened")
    except StoreError as error:
        print(type(error).__name__, error)
asyncio.run(main())
"""


def opened_by_nobody(path: Path) -> str:
    for folder in path.parents:
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IXGRP)
    done = subprocess.run(
        [sys.executable, "-c", OPENER, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("another user cannot read this Python, so read-only cannot be tried as one")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("what", ["file", "folder", "new file in folder"])
async def test_what_cannot_be_written_is_told_at_the_start(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    path = folder / "headroom.db"
    if what != "new file in folder":
        await make(path)
        path.chmod(0o444 if what == "file" else 0o666)
    folder.chmod(0o777 if what == "file" else 0o555)
    try:
        said = await asyncio.to_thread(opened_by_nobody, path)
    finally:
        folder.chmod(0o755)
    assert said.startswith("StoreReadOnly")
    assert str(path) in said
    assert "check path, owner and mode" in said


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="check path, owner and mode"):
        async with TradeStore(tmp_path):
            pytest.fail("opened")


async def test_a_file_as_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreReadOnly):
        async with TradeStore(tmp_path / "file" / "headroom.db"):
            pytest.fail("opened")


# Damaged.


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize("length", [100, 5000])
async def test_a_file_that_is_no_database_is_refused(path: Path, length: int) -> None:
    path.write_bytes(b"not a database, " * (length // 16))
    with pytest.raises(StoreCorrupt, match=r"not a sound store.*restore a backup") as refused:
        async with TradeStore(path):
            pytest.fail("opened")
    assert one_line(refused.value)


async def test_a_damaged_page_is_found_at_the_start(path: Path) -> None:
    await make(path, rows=500)
    pages = path.stat().st_size // 4096
    for page in range(1, pages):
        sound = path.read_bytes()
        overwrite(path, page * 4096, b"\xff" * 4096)
        with pytest.raises(StoreCorrupt, match="restore a backup") as refused:
            async with TradeStore(path):
                pytest.fail("opened")
        assert one_line(refused.value)
        path.write_bytes(sound)


async def test_a_file_that_was_cut_off_is_found_at_the_start(path: Path) -> None:
    await make(path, rows=500)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreCorrupt):
        async with TradeStore(path):
            pytest.fail("opened")


async def test_damage_in_use_is_told_and_the_next_write_too(path: Path) -> None:
    await make(path, rows=500)
    async with TradeStore(path) as store:
        overwrite(path, 4096, b"\xff" * (path.stat().st_size - 4096))
        with pytest.raises(StoreCorrupt):
            await store.get_trades(symbol="S")
        with pytest.raises(StoreCorrupt):
            await store.store_trade(trade("new"))


async def test_the_integrity_check_names_what_is_wrong(path: Path) -> None:
    await make(path, rows=500)
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'trades_open'").fetchone()
    async with TradeStore(path) as store:
        assert await store.integrity_check() == ()
        overwrite(path, (root - 1) * 4096, b"\x0a" + bytes(4095))  # an index that holds nothing, in perfect form
        assert any("trades_open" in fault for fault in await store.integrity_check())


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="holds another program's tables"):
        async with TradeStore(path):
            pytest.fail("opened")
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_headroom_is_left_alone(path: Path) -> None:
    await make(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"written by a newer headroom \(version 99"):
        async with TradeStore(path):
            pytest.fail("opened")
