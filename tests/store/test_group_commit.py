from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from core.clock import SECOND, VirtualClock
from core.errors import StoreError, UnknownOrder
from core.models import Order, OrderStatus, Trade
from core.store import Step, TradeStore
from core.store.ledger import Ledger


def trade(order_id: str) -> Trade:
    return Trade(order_id=order_id, symbol="S", quantity=1, price=Decimal(1))


@asynccontextmanager
async def transactions(store: TradeStore) -> AsyncIterator[list[str]]:
    """The transactions that the writer begins meanwhile."""
    begun: list[str] = []
    db = store._writer.lane._db
    assert db is not None
    await db.set_trace_callback(lambda statement: begun.append(statement) if statement.startswith("BEGIN") else None)
    yield begun
    await db.set_trace_callback(lambda _: None)


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Another process's write lock: the writer's trip waits as long as it is held."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def until_on_its_way(store: TradeStore) -> None:
    """Return once the writer has taken everything that waited."""
    async with asyncio.timeout(5):
        while store._writer.lane._waiting:  # noqa: ASYNC110 - the lane has no reason to tell anybody
            await asyncio.sleep(0.001)


async def ids(store: TradeStore) -> set[str]:
    return {row.order_id for row in await store.get_recent_trades(limit=5000)}


async def test_all_that_waits_shares_one_transaction(store: TradeStore) -> None:
    async with transactions(store) as begun:
        await asyncio.gather(*(store.store_trade(trade(f"{number}")) for number in range(300)))
    assert len(begun) == 1
    assert len(await ids(store)) == 300


@pytest.mark.parametrize("count", [1, 15, 16, 17, 32, 50])  # of rows a statement takes sixteen
async def test_the_entries_of_all_who_share_a_transaction_are_one_chain(store: TradeStore, count: int) -> None:
    async def unknown() -> int:
        return await store.journal.append(Step("nobody", OrderStatus.NEW, OrderStatus.DENIED))

    orders = [Order(symbol="S", quantity=1, client_order_id=f"{number}") for number in range(count)]
    async with transactions(store) as begun:
        claims = [store.journal.claim(order) for order in orders]
        done = await asyncio.gather(*claims[:5], unknown(), *claims[5:], return_exceptions=True)
    assert len(begun) == 1
    assert [type(each) for each in done if each is not None] == [UnknownOrder]
    verdict = await store.journal.verify()
    assert (verdict.entries, verdict.orders, verdict.problems) == (count, count, ())


async def test_more_than_a_transaction_may_hold_goes_in_several(store: TradeStore) -> None:
    async with transactions(store) as begun:
        await asyncio.gather(*(store.store_trade(trade(f"{number}")) for number in range(2500)))
    assert len(begun) == 3
    assert len(await ids(store)) == 2500


async def test_writers_that_write_again_at_once_meet_in_the_next_transaction(store: TradeStore) -> None:
    async def worker(name: int) -> None:
        for number in range(10):
            await store.store_trade(trade(f"{name}-{number}"))

    async with transactions(store) as begun:
        await asyncio.gather(*(worker(name) for name in range(50)))
    assert len(begun) == 10


async def test_equal_questions_that_travel_together_are_asked_once_and_each_gets_its_own_list(
    store: TradeStore,
) -> None:
    for number in range(5):
        await store.store_trade(trade(f"{number}"))
    db = store._readers.quick_lane._db
    assert db is not None
    asked: list[str] = []
    await db.set_trace_callback(asked.append)
    *threes, pair, last = await asyncio.gather(
        *(store.get_recent_trades(limit=3) for _ in range(10)),
        store.get_recent_trades(limit=2),
        store.get_trade_by_order_id("4"),
    )
    await db.set_trace_callback(lambda _: None)
    assert len(asked) == 3
    assert (len(pair), last) == (2, pair[0])
    threes.pop().clear()
    assert [[each.order_id for each in three] for three in threes] == [["4", "3", "2"]] * 9


def half_done(ledger: Ledger, _what: None, now_ns: int) -> None:
    ledger.put_trade(("half", "S", "BUY", 1, 1, "NEW", "", "", "", 0, 1, "", 1, 1), now_ns)
    message = "changed its mind"
    raise LookupError(message)


async def test_one_bad_write_leaves_nothing_and_takes_no_other_with_it(store: TradeStore) -> None:
    done = await asyncio.gather(
        store.store_trade(trade("before")),
        store._writer.write((half_done, None, 0)),
        store.journal.claim(Order(symbol="S", quantity=1, client_order_id="order")),
        store.journal.append(Step("nobody", OrderStatus.NEW, OrderStatus.DENIED)),
        store.store_trade(trade("after")),
        return_exceptions=True,
    )
    assert [type(each) for each in done] == [type(None), LookupError, type(None), UnknownOrder, type(None)]
    assert await ids(store) == {"before", "order", "after"}
    assert (await store.journal.verify()).problems == ()


async def test_a_row_that_the_table_refuses_is_one_callers_matter(store: TradeStore) -> None:
    def refused(ledger: Ledger, _what: None, _now_ns: int) -> None:
        ledger.connection.execute("INSERT INTO chain VALUES (2, 0, x'', 0, x'')")

    done = await asyncio.gather(
        store.store_trade(trade("a")),
        store._writer.write((refused, None, 0)),
        store.store_trade(trade("b")),
        return_exceptions=True,
    )
    assert isinstance(done[1], StoreError)
    assert "CHECK constraint" in str(done[1])
    assert await ids(store) == {"a", "b"}


async def test_a_write_cancelled_before_its_turn_leaves_no_trace(path: Path, clock: VirtualClock) -> None:
    async with TradeStore(path, clock=clock) as store:
        with write_lock(path):
            first = asyncio.create_task(store.store_trade(trade("first")))
            await until_on_its_way(store)
            second = asyncio.create_task(store.store_trade(trade("second")))
            third = asyncio.create_task(store.store_trade(trade("third")))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
        await asyncio.gather(first, third)
        assert await ids(store) == {"first", "third"}


async def test_a_write_cancelled_on_its_way_lands_whole(path: Path, clock: VirtualClock) -> None:
    async with TradeStore(path, clock=clock) as store:
        claim = store.journal.claim(Order(symbol="S", quantity=1, client_order_id="a"))
        with write_lock(path):
            on_its_way = asyncio.create_task(claim)
            await asyncio.sleep(0)
            await until_on_its_way(store)
            on_its_way.cancel()
            with pytest.raises(asyncio.CancelledError):
                await on_its_way
        await store.store_trade(trade("b"))
        assert await ids(store) == {"a", "b"}
        assert (await store.journal.verify()).problems == ()


async def test_leaving_the_block_writes_what_waits(path: Path) -> None:
    async with TradeStore(path) as store:
        with write_lock(path):
            waiting = [asyncio.create_task(store.store_trade(trade(f"{number}"))) for number in range(10)]
            await asyncio.sleep(0)
            closed = asyncio.create_task(store.__aexit__(None, None, None))
            await asyncio.sleep(0.01)
            assert not closed.done()
        await closed
        await asyncio.gather(*waiting)
    async with TradeStore(path) as store:
        assert len(await ids(store)) == 10


async def test_a_cancelled_block_still_closes_all(path: Path) -> None:
    async def main() -> None:
        async with TradeStore(path) as store:
            await store.store_trade(trade("a"))
            entered.set()
            await asyncio.sleep(3600)

    entered = asyncio.Event()
    task = asyncio.create_task(main())
    await entered.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # and once more while it closes
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [found.name for found in path.parent.iterdir()] == [path.name]


async def test_a_block_in_a_cancelled_scope_still_closes_all(path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with TradeStore(path) as store:
            await store.store_trade(trade("a"))
            scope.cancel()
            await asyncio.sleep(3600)
    assert scope.cancelled_caught
    assert [found.name for found in path.parent.iterdir()] == [path.name]


async def test_an_opening_that_is_cancelled_leaves_nothing_open(path: Path) -> None:
    async def main() -> None:
        async with TradeStore(path):
            pytest.fail("was cancelled before")

    for passes in range(12):
        task = asyncio.create_task(main())
        for _ in range(passes):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {found.name for found in path.parent.iterdir()} <= {path.name}


async def test_virtual_time_stands_still_while_the_disk_works(path: Path) -> None:
    clock = VirtualClock()
    slept: list[int] = []

    async def sleeper() -> None:
        await clock.sleep_until_ns(3600 * SECOND)
        slept.append(clock.now_ns())

    async def main() -> list[int]:
        async with TradeStore(path, clock=clock) as store:
            task = asyncio.create_task(sleeper())
            instants: list[int] = []
            for number in range(20):
                await store.store_trade(trade(f"{number}"))
                await store.get_recent_trades()
                await store.journal.verify()
                instants.append(clock.now_ns())
            await task
            return instants

    instants: list[int] = await asyncio.to_thread(clock.run, main)
    assert set(instants) == {0}
    assert slept == [3600 * SECOND]


def test_inside_a_virtual_run_the_store_needs_no_thread(path: Path) -> None:
    clock = VirtualClock()
    made_before = TradeStore(path, clock=clock)

    async def main() -> None:
        before = set(threading.enumerate())
        async with made_before as store:
            writes = [store.store_trade(trade(f"{number}")) for number in range(50)]
            with pytest.raises(ZeroDivisionError):
                await asyncio.gather(store._writer.write((lambda *_: 1 // 0, None, 0)), *writes)
            await store.vacuum()
            assert await ids(store) == {f"{number}" for number in range(50)}
            assert not [thread for thread in set(threading.enumerate()) - before if "connection" in thread.name]

    clock.run(main)


def test_leaving_the_block_waits_for_a_slow_disk_in_a_virtual_run_too(path: Path) -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with TradeStore(path, clock=clock) as store:
            store.slow_down(3 * SECOND)
            writes = [asyncio.create_task(store.store_trade(trade(f"{number}"))) for number in range(3)]
            await asyncio.sleep(0)
        await asyncio.gather(*writes)
        assert clock.now_ns() == 3 * SECOND
        async with TradeStore(path, clock=clock) as store:
            assert await ids(store) == {"0", "1", "2"}

    clock.run(main)


def test_a_slow_disk_holds_up_every_commit_and_no_read(path: Path) -> None:
    clock = VirtualClock()

    async def main() -> list[int]:
        async with TradeStore(path, clock=clock) as store:
            instants = []
            for slower_ns in (SECOND, 0):
                store.slow_down(slower_ns)
                await asyncio.gather(*(store.store_trade(trade(f"{number}")) for number in range(20)))
                instants.append(clock.now_ns())
                await store.get_recent_trades()
                await store.store_trade(trade("last"))
                instants.append(clock.now_ns())
            return instants

    assert clock.run(main) == [SECOND, 2 * SECOND, 2 * SECOND, 2 * SECOND]


async def test_commits_that_had_something_to_write_are_counted(store: TradeStore) -> None:
    before = store.disk_syncs
    await asyncio.gather(*(store.store_trade(trade(f"{number}")) for number in range(20)))
    assert store.disk_syncs == before + 1
    await store.update_trade_status("nobody's", "X")
    await store.get_recent_trades()
    assert store.disk_syncs == before + 1


async def test_a_statement_alone_takes_its_turn_between_transactions(store: TradeStore) -> None:
    async def vacuum() -> Any:
        for _ in range(3):
            await store.vacuum()

    async def worker(name: int) -> None:
        for number in range(30):
            await store.store_trade(trade(f"{name}-{number}"))

    await asyncio.gather(vacuum(), *(worker(name) for name in range(5)))
    assert len(await ids(store)) == 150
