from __future__ import annotations

import collections
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import StoreError, StoreFull
from core.models import Trade
from core.store import BlockingTradeStore


def trade(order_id: str) -> Trade:
    return Trade(order_id=order_id, symbol="S", quantity=1, price=Decimal(1))


def test_ten_threads_of_mixed_operations_lose_nothing(path: Path) -> None:
    def worker(name: int) -> int:
        found = 0
        for number in range(0, 90, 3):
            store.store_trade(trade(f"{name}-{number}"))
            found += len(store.get_recent_trades(limit=10)) > 0
            found += store.update_trade_status(f"{name}-{number}", "COMPLETE")
        return found

    with BlockingTradeStore(path) as store, ThreadPoolExecutor(10) as threads:
        assert list(threads.map(worker, range(10))) == [60] * 10
        rows = store.get_recent_trades(limit=1000)
        assert {row.order_id for row in rows} == {
            f"{name}-{number}" for name in range(10) for number in range(0, 90, 3)
        }
        assert {row.status for row in rows} == {"COMPLETE"}


def test_every_method_of_the_store_is_there(path: Path, tmp_path: Path) -> None:
    with BlockingTradeStore(path) as store:
        for number in range(5):
            store.store_trade(trade(f"{number}"))
        assert [row.order_id for row in store.get_recent_trades(2)] == ["4", "3"]
        assert store.get_trade_by_order_id("nobody") is None
        assert [row.order_id for row in store.get_trades(symbol="S", limit=1)] == ["4"]
        assert store.update_trade_status("nobody", "X") is False
        store.backup(tmp_path / "backup.db")
        assert store.integrity_check() == ()
        assert store.size().file_bytes > 0
        assert store.retire(2**62) == 5
        store.vacuum()
    with BlockingTradeStore(tmp_path / "backup.db") as copy:
        assert len(copy.get_recent_trades()) == 5


def test_options_and_errors_go_through(path: Path) -> None:
    with BlockingTradeStore(path, max_bytes=100 * 1024) as store:
        with pytest.raises(ValueError, match="needs an order_id"):
            store.store_trade(trade(""))
        with pytest.raises(StoreFull):
            collections.deque((store.store_trade(trade(f"{number}")) for number in range(10_000)), maxlen=0)


def test_outside_its_block_it_says_so_and_leaves_no_thread(path: Path) -> None:
    before = set(threading.enumerate())
    store = BlockingTradeStore(path)
    with pytest.raises(StoreError, match="closed"):
        store.get_recent_trades()
    with store:
        made = set(threading.enumerate()) - before
        assert len(made) >= 4
    with pytest.raises(StoreError, match="closed"):
        store.get_recent_trades()
    for thread in made:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_a_call_that_meets_the_end_of_the_loop_is_told_and_not_kept_waiting(path: Path) -> None:
    with BlockingTradeStore(path) as store:
        kept = store._store
    with pytest.raises(StoreError, match="closed"):
        kept.asks.get_recent_trades(1).answer_for_thread()


def test_a_timeout_raised_inside_a_job_is_the_jobs_own(path: Path) -> None:
    def late(*_: object) -> None:
        raise TimeoutError("the job's own")

    with BlockingTradeStore(path) as store, pytest.raises(TimeoutError, match="the job's own"):
        store._store._writer.lane.do_for_thread((late, None, 0))


def test_a_store_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(StoreError), BlockingTradeStore(tmp_path):
        pytest.fail("opened")
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()
