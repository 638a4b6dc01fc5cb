from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from core.clock import DAY, VirtualClock
from core.errors import StoreError
from core.models import Order, OrderStatus, Trade
from core.store import Halted, Intent, LimiterSaved, Step, TradeStore

S = OrderStatus


def trade(order_id: str, epoch_ns: int = 0) -> Trade:
    return Trade(order_id=order_id, symbol="S", quantity=1, price=Decimal(1), epoch_ns=epoch_ns, message="x" * 100)


async def ended(store: TradeStore, order_id: str) -> None:
    """An order from its claim to its fill."""
    one = Order(symbol="S", quantity=1, client_order_id=order_id)
    await store.journal.claim(one)
    await store.journal.append(
        Intent(one, tag=order_id, provider="fyers"), Step(order_id, S.SUBMITTING, S.ACCEPTED, broker_order_id="b")
    )
    await store.journal.append(Step(order_id, S.ACCEPTED, S.FILLED, filled_quantity=1, average_price=Decimal(1)))


async def ids(store: TradeStore) -> set[str]:
    return {row.order_id for row in await store.get_recent_trades(limit=100_000)}


async def test_a_backup_made_while_rows_are_written_is_one_moment_of_the_store(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copies" / "backup.db"
    async with TradeStore(path) as store:
        told: set[str] = set()
        stop = asyncio.Event()

        async def worker(name: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await ended(store, f"{name}-{number}")
                told.add(f"{name}-{number}")

        async with asyncio.TaskGroup() as tasks:
            for name in range(5):
                tasks.create_task(worker(name))
            while len(told) < 20:
                await store.get_recent_trades(limit=1)
            before = set(told)
            await store.backup(target)
            stop.set()
        after = await ids(store)
    async with TradeStore(target) as copy:
        assert before <= await ids(copy) <= after
        assert (await copy.journal.verify()).problems == ()
        assert await copy.integrity_check() == ()
        await copy.store_trade(trade("the copy is a store itself"))
    assert [found.name for found in target.parent.iterdir()] == ["backup.db"]
    assert target.stat().st_mode & 0o777 == 0o600


async def test_a_backup_replaces_the_one_before(store: TradeStore, tmp_path: Path) -> None:
    for name in ("first", "second"):
        await store.store_trade(trade(name))
        await store.backup(tmp_path / "backup.db")
    async with TradeStore(tmp_path / "backup.db") as copy:
        assert await ids(copy) == {"first", "second"}


async def test_a_backup_that_cannot_be_written_says_where(store: TradeStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/backup.db: the backup cannot be written"):
        await store.backup(tmp_path / "file" / "backup.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"folder: the backup cannot be written"):
        await store.backup(tmp_path / "folder")
    assert not (tmp_path / "folder.part").exists()


async def test_retirement_takes_what_ended_before_and_nothing_else(store: TradeStore, clock: VirtualClock) -> None:
    for day in range(4):
        await ended(store, f"order-{day}")
        await store.store_trade(trade(f"hand-{day}"))
        await clock.advance_ns(DAY)
    gone = await store.retire(clock.epoch_ns() - 2 * DAY)
    assert gone == 4
    assert await ids(store) == {"order-2", "hand-2", "order-3", "hand-3"}
    assert await store.journal.story("order-1") == ()
    assert len(await store.journal.story("order-2")) == 4
    assert (await store.journal.verify()).problems == ()
    assert await store.journal.rebuild() == 8
    assert await ids(store) == {"order-2", "hand-2", "order-3", "hand-3"}
    assert await store.retire(clock.epoch_ns() - 2 * DAY) == 0


async def test_retirement_stops_at_the_first_order_that_is_still_open(store: TradeStore, clock: VirtualClock) -> None:
    await ended(store, "first")
    await store.journal.claim(Order(symbol="S", quantity=1, client_order_id="open"))
    await ended(store, "last")
    await clock.advance_ns(DAY)
    assert await store.retire(clock.epoch_ns()) == 1
    assert await ids(store) == {"open", "last"}
    assert (await store.journal.verify()).problems == ()


async def test_an_order_is_retired_whole_or_not_at_all(store: TradeStore, clock: VirtualClock) -> None:
    await ended(store, "first")
    long = Order(symbol="S", quantity=1, client_order_id="long")
    await store.journal.claim(long)
    await ended(store, "between")
    await store.journal.claim(Order(symbol="S", quantity=1, client_order_id="open"))
    await store.journal.append(Step("long", S.NEW, S.DENIED))
    await clock.advance_ns(DAY)
    assert await store.retire(clock.epoch_ns()) == 1  # "long" reaches past "open", and so holds "between" too
    assert await ids(store) == {"long", "between", "open"}
    assert len(await store.journal.story("long")) == 2
    assert (await store.journal.verify()).problems == ()


async def test_retirement_forgets_neither_a_halt_nor_a_limiter(store: TradeStore, clock: VirtualClock) -> None:
    await store.journal.append(LimiterSaved("fyers", '{"used": 9}'), Halted("loss limit"))
    await ended_long_ago(store, clock)
    await store.retire(clock.epoch_ns())
    for _ in range(2):
        assert await store.journal.halted() == "loss limit"
        assert await store.journal.limiter_states() == {"fyers": '{"used": 9}'}
        assert (await store.journal.verify()).problems == ()
        await store.journal.rebuild()


async def ended_long_ago(store: TradeStore, clock: VirtualClock) -> None:
    await store.store_trade(trade("old"))
    await clock.advance_ns(30 * DAY)


async def test_a_chain_goes_on_after_all_of_it_was_retired(store: TradeStore, clock: VirtualClock) -> None:
    await ended(store, "old")
    await clock.advance_ns(DAY)
    await store.retire(clock.epoch_ns())
    await ended(store, "new")
    assert (await store.journal.verify()) == type(await store.journal.verify())(entries=4, orders=1)
    assert [row.serial for row in await store.journal.story("new")] == [5, 6, 7, 8]


async def test_a_vacuum_gives_the_room_back(store: TradeStore, clock: VirtualClock) -> None:
    await asyncio.gather(*(store.store_trade(trade(f"{number}")) for number in range(5000)))
    await clock.advance_ns(DAY)
    full = await store.size()
    assert await store.retire(clock.epoch_ns()) == 5000
    await store.vacuum()
    empty = await store.size()
    assert empty.file_bytes < (full.file_bytes + full.wal_bytes) / 4
    assert (empty.wal_bytes, empty.free_bytes) == (0, 0)
    await store.store_trade(trade("after"))
    assert await ids(store) == {"after"}


async def test_the_log_stays_bounded_under_writes_and_reads(path: Path) -> None:
    async with TradeStore(path) as store:
        stop = asyncio.Event()

        async def reader() -> None:
            while not stop.is_set():
                await store.get_recent_trades(limit=50)
                await store.get_trades(symbol="S", limit=50)

        async def writer(name: int) -> None:
            for number in range(100):
                await store.store_trade(trade(f"{name}-{number}"))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reader())
            await asyncio.gather(*(writer(name) for name in range(100)))
            stop.set()
        # SQLite folds the log back every 1000 pages of 4 KiB; a reader in mid-query puts it off, once or twice.
        assert (await store.size()).wal_bytes < 16 * 1024 * 1024
