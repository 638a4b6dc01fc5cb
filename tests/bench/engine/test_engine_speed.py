"""What the engine costs per order, and how long a start takes over a long journal.

    pytest tests/bench/engine --benchmark-enable -s

Aims, asserted when measured: at most 300 us of CPU an order with 50 in flight; a start over 100 000 orders, 1000 of
them open, in under 3 s. One order at a time costs more and is only printed: two trips to the disk, each with two hops
between threads that nobody shares, are most of it.

The broker answers at once and inside this process, so that what is left is ours: guards, claim, choice, permit, intent,
state, store, events. The store is a real file with FULL durability; CPU is of the whole process, its threads included.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from core.clock import SECOND
from core.engine import GuardSettings, TradingEngine
from core.manager import MultiAPIManager
from core.models import APIConfig, APIProvider, BrokerOrder, Operation, Order, OrderAck, OrderStatus, Side
from core.store import Claimed, Intent, Step, TradeStore
from core.store.ledger import Ledger
from core.store.schema import connect, prepare

CONFIG = APIConfig(provider=APIProvider.MOCK, rate_limits={"requests_per_second": 100_000}, simulated=True)


@dataclass(slots=True)
class InstantBroker:
    """Takes every order at once; knows those it is given."""

    name: str
    book: tuple[BrokerOrder, ...] = ()
    serial: int = 0
    absence_proven_after_ns: int = SECOND

    config: APIConfig = CONFIG

    def cost(self, _operation: Operation, **_: int) -> int:
        return 1

    async def place_order(self, _order: Order, **_: str) -> OrderAck:
        self.serial += 1
        return OrderAck(provider=self.name, broker_order_id=f"{self.name}{self.serial}")

    async def get_orders(self) -> Sequence[BrokerOrder]:
        return self.book


def manager_of(*brokers: InstantBroker) -> MultiAPIManager:
    manager = MultiAPIManager({})
    manager.apis = {broker.name: cast("Any", broker) for broker in brokers}
    return manager


@pytest.mark.parametrize("in_flight", [1, 50])
def test_what_one_order_costs(benchmark: Any, tmp_path: Path, in_flight: int) -> None:
    count = 200 if benchmark.disabled else 1000 if in_flight == 1 else 4000
    figures: list[tuple[float, float, float]] = []  # CPU, that of the threads beside the loop's, and time, an order

    async def place(engine: TradingEngine, orders: list[Order]) -> None:
        while orders:
            await engine.place_order(orders.pop())

    async def main() -> None:
        async with TradeStore(tmp_path / f"{len(figures)}.db") as store:
            engine = TradingEngine(
                manager_of(InstantBroker("upstox"), InstantBroker("fyers")),
                store,
                guards=GuardSettings(orders_per_second=None, quantity_max=1000),
            )
            await engine.start()
            orders = [Order(symbol="NSE:SBIN-EQ", quantity=1 + i % 900) for i in range(count)]
            gc.collect()
            began, cpu, loops = time.perf_counter(), time.process_time(), time.thread_time()
            await asyncio.gather(*(place(engine, orders) for _ in range(in_flight)))
            cpu, loops = time.process_time() - cpu, time.thread_time() - loops
            figures.append((cpu / count, (cpu - loops) / count, (time.perf_counter() - began) / count))
            assert engine.open_orders == count

    benchmark.pedantic(lambda: asyncio.run(main()), rounds=1 if benchmark.disabled else 3)
    cpu, store, wall = (figure * 1e6 for figure in min(figures))
    print(
        f"\n{in_flight} in flight: {cpu:.0f} us CPU an order, {store:.0f} of them in the store's threads; "
        f"{wall:.0f} us of time"
    )
    if not benchmark.disabled and in_flight == 50:
        assert cpu <= 300


def test_how_long_a_start_over_a_long_journal_takes(benchmark: Any, tmp_path: Path) -> None:
    total, open_count = (2000, 100) if benchmark.disabled else (100_000, 1000)
    path = tmp_path / "long.db"
    book = write_journal(path, total=total, open_count=open_count)
    figures: list[tuple[float, float]] = []

    async def main() -> None:
        async with TradeStore(path, check=False) as store:
            engine = TradingEngine(manager_of(InstantBroker("upstox", book)), store)
            began, cpu = time.perf_counter(), time.process_time()
            await engine.start()
            figures.append((time.perf_counter() - began, time.process_time() - cpu))
            assert (engine.open_orders, engine.unknown_orders) == (open_count, 0)

    benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)  # a second start would find nothing left to do
    (took, cpu), *_ = figures
    print(f"\nrecovery of {total} orders, {open_count} of them open: {took:.2f} s, {cpu:.2f} s of CPU")
    assert benchmark.disabled or took < 3


def write_journal(path: Path, *, total: int, open_count: int) -> tuple[BrokerOrder, ...]:
    """A journal of orders that are filled, but for the last, which were in flight; and the book that knows those."""
    prepare(path)
    now_ns = time.time_ns()
    book: list[BrokerOrder] = []
    db: sqlite3.Connection = connect(path)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN IMMEDIATE")
    ledger = Ledger(db)
    for number in range(total):
        order = Order(symbol="NSE:SBIN-EQ", quantity=1, client_order_id=f"o{number}")
        tag = f"h{number:018d}"
        entries: list[Any] = [Claimed(order, now_ns), Intent(order, tag, "upstox", 1, now_ns)]
        if number < total - open_count:
            entries.append(
                Step(order.client_order_id, OrderStatus.SUBMITTING, OrderStatus.FILLED, broker_order_id=str(number))
            )
        else:
            book.append(
                BrokerOrder(
                    provider="upstox",
                    broker_order_id=str(number),
                    tag=tag,
                    symbol=order.symbol,
                    side=Side.BUY,
                    quantity=1,
                    filled_quantity=0,
                    average_price=Decimal(0),
                    status=OrderStatus.ACCEPTED,
                )
            )
        ledger.append(entries, now_ns)
    ledger.settle()
    db.execute("COMMIT")
    db.close()
    return tuple(book)
