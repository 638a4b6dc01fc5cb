"""On a clock that stands still while the loop works: one connection, no thread; and the store of such a run alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.clock import MILLISECOND, VirtualClock
from core.errors import StoreError, StoreFull, StoreLocked, UnknownOrder
from core.models import Order, OrderStatus, Trade
from core.store import Intent, Step, TradeStore, Verdict

S = OrderStatus
TRADE = Trade(order_id="by hand", symbol="S", quantity=1, price=Decimal(1))
ACCEPTED = Step("a", S.SUBMITTING, S.ACCEPTED, broker_order_id="b1")

Story = Callable[[TradeStore], Awaitable[None]]


def order(order_id: str = "a") -> Order:
    return Order(symbol="NSE:SBIN-EQ", quantity=10, client_order_id=order_id)


def on_virtual_time(path: Path, story: Story, **options: Any) -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with TradeStore(path, clock=clock, **options) as store:
            await story(store)

    clock.run(main)


async def journaled(store: TradeStore) -> None:
    assert await store.journal.claim(order(), Intent(order(), tag="t", provider="fyers")) is None
    await store.journal.append(ACCEPTED)


async def written(store: TradeStore) -> None:
    await journaled(store)
    await store.store_trade(TRADE)


async def found(store: TradeStore) -> None:
    known = await store.journal.order("a")
    assert known is not None
    assert (known.status, known.broker_order_id) == (S.ACCEPTED, "b1")
    assert [row.order_id for row in await store.get_recent_trades()] == ["by hand", "a"]
    assert [one.order_id for one in await store.journal.open_orders()] == ["a"]
    assert [type(row.entry) for row in await store.journal.story("a")] == [Intent, Step]
    assert store.journal.halted_now() == ""


@pytest.mark.parametrize("scratch", [False, True])
def test_what_was_written_is_read_at_once_and_after_the_next_start(path: Path, *, scratch: bool) -> None:
    async def story(store: TradeStore) -> None:
        threads = threading.active_count()
        await written(store)
        await found(store)
        assert threading.active_count() == threads

    on_virtual_time(path, story, scratch=scratch)
    on_virtual_time(path, found)


@pytest.mark.parametrize("scratch", [False, True])
def test_a_write_that_fails_leaves_nothing_and_takes_none_with_it(path: Path, *, scratch: bool) -> None:
    async def story(store: TradeStore) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.store_trade, TRADE)
            with pytest.raises(UnknownOrder):  # after it has inserted the row of a
                await store.journal.claim(order(), Intent(order(), "t", "fyers"), Step("nobody", S.NEW, S.DENIED))
        assert [row.order_id for row in await store.get_recent_trades()] == ["by hand"]
        assert await store.journal.story("a") == ()
        await journaled(store)  # the chain goes on from where it stood before the failure

    on_virtual_time(path, story, scratch=scratch)

    async def after(store: TradeStore) -> None:
        verdict = await store.journal.verify()
        assert (verdict.entries, verdict.problems) == (2, ())

    on_virtual_time(path, after)


@pytest.mark.parametrize("scratch", [False, True])
def test_what_waits_for_a_slow_disk_is_written_before_the_end(path: Path, *, scratch: bool) -> None:
    writes: list[Any] = []

    async def story(store: TradeStore) -> None:
        store.slow_down(5 * MILLISECOND)
        writes.append(store.journal.append(Intent(order(), tag="t", provider="fyers")))
        await anyio.lowlevel.checkpoint()
        writes.append(store.journal.append(ACCEPTED))

    on_virtual_time(path, story, scratch=scratch)
    assert [write.result() for write in writes] == [1, 2]

    async def after(store: TradeStore) -> None:
        assert len(await store.journal.story("a")) == 2

    on_virtual_time(path, after)


@pytest.mark.parametrize("scratch", [False, True])
def test_what_shares_a_trip_to_a_slow_disk_is_told_its_own_fault(path: Path, *, scratch: bool) -> None:
    async def story(store: TradeStore) -> None:
        store.slow_down(5 * MILLISECOND)
        written, refused = await asyncio.gather(
            store.store_trade(TRADE),
            store.journal.claim(order(), Intent(order(), "t", "fyers"), Step("nobody", S.NEW, S.DENIED)),
            return_exceptions=True,
        )
        assert written is None
        assert isinstance(refused, UnknownOrder)
        assert [row.order_id for row in await store.get_recent_trades()] == ["by hand"]

    on_virtual_time(path, story, scratch=scratch)


@pytest.mark.parametrize("scratch", [False, True])
def test_a_store_that_is_closed_takes_nothing(path: Path, *, scratch: bool) -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with TradeStore(path, clock=clock, scratch=scratch) as store:
            await journaled(store)
        with pytest.raises(StoreError, match="the store is closed"):
            await store.journal.append(ACCEPTED)
        with pytest.raises(StoreError, match="the store is closed"):
            await store.get_recent_trades()

    clock.run(main)


def test_a_scratch_store_writes_at_once_and_commits_now_and_then(path: Path) -> None:
    rows = [Trade(order_id=f"t{n}", symbol="S", quantity=1, price=Decimal(1)) for n in range(1500)]

    async def story(store: TradeStore) -> None:
        writes = [store.journal.append(Intent(order(), tag="t", provider="fyers"))]
        assert writes[0].done()
        for row in rows:
            await store.store_trade(row)
        assert store.disk_syncs == 1  # nobody else had a turn in between
        await anyio.lowlevel.checkpoint()
        await store.store_trade(rows[0])
        assert store.disk_syncs == 2
        with pytest.raises(UnknownOrder):  # after it has written: the rows since the last commit are written once more
            await store.journal.append(ACCEPTED, Step("nobody", S.NEW, S.DENIED))
        assert len(await store.get_recent_trades(limit=2000)) == 1501
        assert [type(row.entry) for row in await store.journal.story("a")] == [Intent]
        await store.journal.append(ACCEPTED)
        await store.vacuum()
        await store.store_trade(TRADE)

    on_virtual_time(path, story, scratch=True)

    async def after(store: TradeStore) -> None:
        assert len(await store.get_recent_trades(limit=2000)) == 1502
        assert await store.journal.verify() == Verdict(entries=2, orders=1)

    on_virtual_time(path, after)


def test_a_full_disk_takes_from_a_scratch_store_what_was_not_committed_and_leaves_it_sound(path: Path) -> None:
    kept: list[int] = []

    async def story(store: TradeStore) -> None:
        answered: list[Trade] = []

        async def fill() -> None:
            while True:
                trade = Trade(order_id=f"t{len(answered)}", symbol="S" * 64, quantity=1, price=Decimal(1))
                await store.store_trade(trade)
                answered.append(trade)

        with pytest.raises(StoreFull):
            await fill()
        kept.append(len(await store.get_recent_trades(limit=100_000)))
        assert len(answered) - 512 <= kept[0] <= len(answered)

    on_virtual_time(path, story, scratch=True, max_bytes=512 * 1024)

    async def after(store: TradeStore) -> None:
        assert await store.integrity_check() == ()
        assert len(await store.get_recent_trades(limit=100_000)) == kept[0] > 512

    on_virtual_time(path, after)


def test_a_scratch_store_lets_nobody_else_in_and_is_a_store_like_any_other_afterwards(path: Path) -> None:
    async def story(store: TradeStore) -> None:
        await written(store)
        assert [file.name for file in path.parent.iterdir()] == [path.name]  # no log, and no memory shared with others
        with pytest.raises(StoreLocked):
            async with TradeStore(path, clock=VirtualClock(), busy_ms=1):
                pass

    on_virtual_time(path, story, scratch=True)

    async def after(store: TradeStore) -> None:
        assert path.with_name(f"{path.name}-wal").exists()
        assert (await store.journal.verify()).ok
        assert await store.integrity_check() == ()

    on_virtual_time(path, after)


async def test_a_scratch_store_is_refused_where_time_goes_by(path: Path) -> None:
    with pytest.raises(StoreError, match="scratch store needs a clock that stands still"):
        async with TradeStore(path, scratch=True):
            pass
