from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import SECOND, VirtualClock
from core.errors import StoreError
from core.models import Order, OrderStatus, Side, Trade
from core.store import TradeStore
from core.store.ledger import BLOCK_BITS


def trade(order_id: str, **changes: Any) -> Trade:
    return Trade(
        **{"order_id": order_id, "symbol": "NSE:SBIN-EQ", "quantity": 10, "price": Decimal("652.55"), **changes}
    )


text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
whole = st.integers(-(2**63) + 1, 2**63 - 1)
trades = st.builds(
    Trade,
    order_id=text.filter(bool),
    symbol=text,
    quantity=whole,
    price=st.decimals(-(10**10), 10**10, places=8),
    status=text,
    side=text,
    provider=text,
    broker_order_id=text,
    tag=text,
    filled_quantity=whole,
    simulated=st.booleans(),
    message=text,
    epoch_ns=whole.filter(bool),
    updated_ns=whole.filter(bool),
)


def test_a_row_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(TradeStore(tmp_path / "law.db").__aenter__())

        @given(trades)
        @settings(max_examples=60)
        def law(one: Trade) -> None:
            runner.run(store.store_trade(one))
            assert runner.run(store.get_trade_by_order_id(one.order_id)) == one

        try:
            law()
        finally:
            runner.run(store.__aexit__(None, None, None))


async def test_what_returned_is_there_after_the_file_is_opened_again(path: Path) -> None:
    async with TradeStore(path) as store:
        await store.store_trade(trade("a", epoch_ns=1, updated_ns=2))
    async with TradeStore(path) as store:
        assert await store.get_trade_by_order_id("a") == trade("a", epoch_ns=1, updated_ns=2)


async def test_a_row_without_a_time_gets_the_clocks(store: TradeStore, clock: VirtualClock) -> None:
    await clock.advance_ns(5 * SECOND)
    await store.store_trade(trade("a"))
    found = await store.get_trade_by_order_id("a")
    assert found is not None
    assert (found.epoch_ns, found.updated_ns) == (clock.epoch_ns(), clock.epoch_ns())


async def test_the_same_order_id_replaces_its_row_and_keeps_its_place(store: TradeStore) -> None:
    for order_id in ("a", "b", "c"):
        await store.store_trade(trade(order_id))
    await store.store_trade(trade("b", quantity=99))
    assert [(row.order_id, row.quantity) for row in await store.get_recent_trades()] == [
        ("c", 10),
        ("b", 99),
        ("a", 10),
    ]


@pytest.mark.parametrize(("limit", "found"), [(0, []), (1, ["e"]), (3, ["e", "d", "c"]), (100, list("edcba"))])
async def test_recent_means_the_newest_first_and_no_more_than_asked(
    store: TradeStore, limit: int, found: list[str]
) -> None:
    for order_id in "abcde":
        await store.store_trade(trade(order_id))
    assert [row.order_id for row in await store.get_recent_trades(limit=limit)] == found
    assert list(await store.get_recent_places(limit=limit)) == found


async def test_a_place_is_the_broker_and_its_own_id(store: TradeStore) -> None:
    await store.store_trade(trade("a", provider="fyers", broker_order_id="b1"))
    await store.store_trade(trade("b"))
    places = await store.get_recent_places()
    assert places == {"a": ("fyers", "b1"), "b": ("", "")}
    places.clear()  # the caller's own
    assert len(await store.get_recent_places()) == 2


@pytest.mark.parametrize("limit", [-1, True, 2.5, "10", None])
async def test_a_limit_that_is_no_count_is_refused(store: TradeStore, limit: Any) -> None:
    with pytest.raises(ValueError, match="limit is"):
        await store.get_recent_trades(limit=limit)
    with pytest.raises(ValueError, match="limit is"):
        await store.get_recent_places(limit=limit)


async def test_a_status_is_set_where_the_row_is_and_nowhere_else(store: TradeStore, clock: VirtualClock) -> None:
    await store.store_trade(trade("a", epoch_ns=7))
    await clock.advance_ns(SECOND)
    assert await store.update_trade_status("a", "COMPLETE") is True
    assert await store.update_trade_status("b", "COMPLETE") is False
    assert await store.get_trade_by_order_id("a") == trade(
        "a", status="COMPLETE", epoch_ns=7, updated_ns=clock.epoch_ns()
    )
    assert await store.get_trade_by_order_id("b") is None


async def test_anything_with_the_four_attributes_can_be_stored(store: TradeStore) -> None:
    await store.store_trade(SimpleNamespace(order_id="plain", symbol="S", quantity=10, price=100.05))
    await store.store_trade(MagicMock(order_id="mock", symbol="S", quantity=10, price=100.0))
    plain, mock = await store.get_trade_by_order_id("plain"), await store.get_trade_by_order_id("mock")
    assert plain is not None
    assert mock is not None
    assert plain.price == Decimal("100.05")
    assert (mock.price, mock.status, mock.side, mock.provider) == (Decimal(100), "NEW", Side.BUY.value, "")


async def test_an_enum_is_stored_as_its_value(store: TradeStore) -> None:
    await store.store_trade(trade("a", status=OrderStatus.FILLED))
    await store.update_trade_status("a", OrderStatus.EXPIRED)
    found = await store.get_trade_by_order_id("a")
    assert found is not None
    assert found.status == "EXPIRED"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"order_id": ""}, "needs an order_id"),
        ({"order_id": 5}, "order_id is 5"),
        ({"symbol": None}, "symbol is None"),
        ({"quantity": 1.5}, "quantity is 1.5"),
        ({"quantity": True}, "quantity is True"),
        ({"quantity": 2**63}, "quantity is"),
        ({"price": "cheap"}, "price is 'cheap'"),
        ({"price": None}, "price is None"),
        ({"price": Decimal("NaN")}, "price is NaN"),
        ({"price": Decimal("Infinity")}, "price is Infinity"),
        ({"price": Decimal("1e12")}, "92 billion"),
        ({"price": Decimal("1e999999")}, "92 billion"),
    ],
)
async def test_what_no_row_can_hold_is_refused_before_it_is_written(
    store: TradeStore, changes: dict[str, Any], says: str
) -> None:
    given = {"order_id": "a", "symbol": "S", "quantity": 1, "price": Decimal(1), **changes}
    with pytest.raises(ValueError, match=says):
        await store.store_trade(SimpleNamespace(**given))
    assert await store.get_recent_trades() == []


async def test_text_that_no_database_can_hold_is_mended_and_not_lost(store: TradeStore) -> None:
    await store.store_trade(trade("a", message="half a pair: \ud83d"))
    found = await store.get_trade_by_order_id("a")
    assert found is not None
    assert found.message == "half a pair: ?"


async def test_an_average_with_too_many_places_is_rounded_and_a_price_is_not(store: TradeStore) -> None:
    await store.store_trade(trade("average", price=Decimal(1000) / Decimal(3)))
    await store.store_trade(trade("price", price=Decimal("0.00250001")))
    average, price = await store.get_trade_by_order_id("average"), await store.get_trade_by_order_id("price")
    assert average is not None
    assert price is not None
    assert average.price == Decimal("333.33333333")
    assert price.price == Decimal("0.00250001")


SYMBOLS = ("A", "B", "C")
rows = st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 60)), max_size=40)
ends = st.none() | st.integers(0, 61)


def test_a_range_finds_exactly_its_rows_whatever_order_the_times_came_in(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        serial = 0

        @given(rows, st.none() | st.sampled_from(SYMBOLS), ends, ends, st.none() | st.integers(0, 10))
        @settings(max_examples=25)
        def law(
            pairs: list[tuple[str, int]], symbol: str | None, since: int | None, until: int | None, limit: int | None
        ) -> None:
            nonlocal serial
            serial += 1

            async def main() -> None:
                async with TradeStore(tmp_path / f"{serial}.db") as store:
                    stored = [trade(f"{number}", symbol=s, epoch_ns=at) for number, (s, at) in enumerate(pairs)]
                    # Far apart, so that the rows fall into several blocks.
                    await asyncio.gather(*(store.store_trade(one) for one in stored))
                    await asyncio.gather(*(_move(store, one.order_id, int(one.order_id) * 300) for one in stored))
                    found = await store.get_trades(symbol=symbol, since_ns=since, until_ns=until, limit=limit)
                    wanted = [
                        one.order_id
                        for one in reversed(stored)
                        if symbol in {None, one.symbol}
                        and (since is None or one.epoch_ns >= since)
                        and (until is None or one.epoch_ns < until)
                    ]
                    assert [one.order_id for one in found] == wanted[:limit]

            runner.run(main())

        law()


async def _move(store: TradeStore, order_id: str, trade_id: int) -> None:
    """Give a row another id, as thousands of rows before it would have done, and its block its times."""

    def work(ledger: Any, *_: Any) -> None:
        ledger.connection.execute("UPDATE trades SET id = ? WHERE order_id = ?", (10_000 + trade_id, order_id))
        (at,) = ledger.connection.execute("SELECT epoch_ns FROM trades WHERE order_id = ?", (order_id,)).fetchone()
        ledger._widen(10_000 + trade_id, at)

    await store._writer.write((work, None, 0))


async def test_a_replaced_row_is_found_by_its_new_time(store: TradeStore) -> None:
    count = 1 << BLOCK_BITS
    await asyncio.gather(*(store.store_trade(trade(f"{number}", epoch_ns=1000 + number)) for number in range(count)))
    await store.store_trade(trade("5", epoch_ns=5))
    await store.store_trade(trade("6", epoch_ns=10**6))
    assert [row.order_id for row in await store.get_trades(symbol="NSE:SBIN-EQ", until_ns=6)] == ["5"]
    assert [row.order_id for row in await store.get_trades(since_ns=10**6)] == ["6"]


async def test_queries_by_symbol_and_by_id_use_an_index(store: TradeStore) -> None:
    from core.store.asks import BY_ORDER, BY_SYMBOL, BY_TIME

    async def plan(query: str, values: tuple[Any, ...]) -> str:
        return " / ".join(str(row[3]) for row in await store._readers.quick(f"EXPLAIN QUERY PLAN {query}", values))

    assert "SEARCH trades USING INDEX trades_by_block_and_symbol (<expr>=? AND symbol=?)" in await plan(
        BY_SYMBOL, (0, 9, 5, "A")
    )
    assert "SEARCH trades USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in await plan(BY_TIME, (0, 9, 5))
    assert "(order_id=?)" in await plan(BY_ORDER, ("a",))


async def test_a_hundred_tasks_lose_nothing(store: TradeStore) -> None:
    async def worker(name: int) -> None:
        for number in range(20):
            await store.store_trade(trade(f"{name}-{number}"))
            assert await store.update_trade_status(f"{name}-{number}", "COMPLETE")
            found = await store.get_trade_by_order_id(f"{name}-{number}")
            assert found is not None
            assert found.status == "COMPLETE"

    async with asyncio.TaskGroup() as tasks:
        for name in range(100):
            tasks.create_task(worker(name))
    assert len(await store.get_recent_trades(limit=5000)) == 2000


async def test_two_stores_on_one_file_see_each_others_rows(path: Path, clock: VirtualClock) -> None:
    async with TradeStore(path, clock=clock) as one, TradeStore(path, clock=clock) as other:

        async def worker(store: TradeStore, name: str) -> None:
            for number in range(50):
                await store.store_trade(trade(f"{name}-{number}"))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker(one, "one"))
            tasks.create_task(worker(other, "other"))
        assert await one.get_recent_trades(limit=200) == await other.get_recent_trades(limit=200)
        assert len(await one.get_recent_trades(limit=200)) == 100


async def test_a_journaled_row_moves_with_the_journal_only(store: TradeStore) -> None:
    await store.journal.claim(Order(symbol="S", quantity=1, client_order_id="a"))
    with pytest.raises(StoreError, match="order a is journaled"):
        await store.store_trade(trade("a"))
    with pytest.raises(StoreError, match="order a is journaled"):
        await store.update_trade_status("a", "COMPLETE")
    found = await store.get_trade_by_order_id("a")
    assert found is not None
    assert (found.status, found.symbol) == ("NEW", "S")


CALLS: list[Callable[[TradeStore], Any]] = [
    lambda store: store.store_trade(trade("a")),
    lambda store: store.update_trade_status("a", "X"),
    lambda store: store.get_recent_trades(),
    lambda store: store.get_trades(symbol="S"),
    lambda store: store.get_trade_by_order_id("a"),
    lambda store: store.vacuum(),
    lambda store: store.journal.halted(),
    lambda store: store.journal.open_orders(),
]


@pytest.mark.parametrize("call", CALLS)
async def test_a_closed_store_says_so(path: Path, call: Callable[[TradeStore], Any]) -> None:
    store = TradeStore(path)
    with pytest.raises(StoreError, match="the store is closed; use it inside its `with` block"):
        await call(store)
    async with store:
        pass
    with pytest.raises(StoreError, match="the store is closed; use it inside its `with` block"):
        await call(store)


@pytest.mark.parametrize("name", [":memory:", ""])
def test_a_store_needs_a_file(name: str) -> None:
    with pytest.raises(StoreError, match="needs a file"):
        TradeStore(name)


async def test_no_thread_and_no_log_stays_behind(path: Path) -> None:
    before = set(threading.enumerate())
    async with TradeStore(path) as store:
        await store.store_trade(trade("a"))
        lanes = {thread for thread in threading.enumerate() if thread not in before}
        assert len(lanes) >= 3
    for thread in lanes:
        if "AnyIO" not in thread.name:  # those are the loop's own, and end with it
            thread.join(timeout=5)
            assert not thread.is_alive()
    assert [found.name for found in path.parent.iterdir()] == [path.name]


async def test_the_file_is_its_owners_alone(store: TradeStore, path: Path) -> None:
    await store.store_trade(trade("a"))
    modes = {found.name: found.stat().st_mode & 0o777 for found in path.parent.iterdir()}
    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 384)


async def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    async with TradeStore(tmp_path / "state" / "headroom" / "headroom.db") as store:
        await store.store_trade(trade("a"))
        assert await store.get_trade_by_order_id("a") is not None
