"""What the simulated brokers cost: requests a second of the server, calls of its parts, ticks of the feed.

The server's limits are set above what it can serve, so that the referee counts every request and refuses none. The aim
is at least 2000 requests a second on one core, asserted by the wall and by the second of the server's CPU: the latter
is what a core of its own would serve, whoever else is on the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from core.brokers.mock import MockTradingAPI
from core.brokers.simulator.exchange import Exchange
from core.brokers.simulator.referee import Referee
from core.clock import MINUTE, SECOND, SystemClock, VirtualClock
from core.feed import MarketDataFeed
from core.models import APIConfig, APIProvider, Order, Rate
from tests.bench.simulator.serving import PLENTY, pin, serving

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

CLIENT = Path(__file__).with_name("load_client.py")
PER_S_MIN = 2000  # with the referee on, on one core


async def load(kind: str, connections: int, seconds: float) -> tuple[int, int, float, float]:
    """Requests, errors, seconds on the wall, seconds of CPU that the server took for them.

    Server and client are processes of their own, each on a processor of its own where there are two.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    server_core, client_core = (cores[-1], cores[0]) if len(cores) > 1 else (None, None)
    async with serving(core=server_core) as simulator:
        port = simulator.url.rpartition(":")[2]
        before = await simulator.standing()
        client = await asyncio.create_subprocess_exec(
            sys.executable, CLIENT, port, str(connections), str(seconds), kind, stdout=asyncio.subprocess.PIPE
        )
        pin(client.pid, client_core)
        output, _ = await client.communicate()
        after = await simulator.standing()
    requests, errors, took = json.loads(output)
    assert after.accepted - before.accepted == requests
    assert after.refused == 0
    return requests, errors, took, after.cpu_s - before.cpu_s


@pytest.mark.parametrize("kind", ["upstox", "fyers", "reads"])
def test_the_server_serves_at_least_two_thousand_requests_a_second_on_one_core(
    benchmark: BenchmarkFixture, kind: str
) -> None:
    seconds = 3.0 if benchmark.enabled else 0.2
    requests, errors, took, cpu = benchmark.pedantic(
        lambda: asyncio.run(load(kind, 20, seconds)), rounds=1, iterations=1
    )
    assert errors == 0
    assert requests > 0
    benchmark.extra_info["requests_per_s"] = round(requests / took)
    print(
        f"\n{kind}: {requests / took:,.0f} requests/s by the wall with {cpu / took:.0%} of a core, "
        f"{requests / cpu:,.0f} a second of the server's CPU ({1e6 * cpu / requests:.0f} us each), 20 connections"
    )
    if benchmark.enabled:
        assert requests / cpu >= PER_S_MIN
        assert requests / took >= PER_S_MIN, "too few by the wall: was the core shared?"


def test_an_exchange_takes_an_order(benchmark: BenchmarkFixture) -> None:
    clock = VirtualClock()
    exchange = Exchange(clock)
    account = exchange.open_account("one")
    order = Order(symbol="NSE:SBIN-EQ", quantity=10)
    benchmark(lambda: exchange.place(account, order, tag="t"))
    assert len(account.orders) >= 1


def test_the_referee_judges_an_arrival(benchmark: BenchmarkFixture) -> None:
    referee = Referee("r", PLENTY)
    times = count(step=100_000)
    benchmark(lambda: referee.arrive("orders", next(times)))
    assert referee.refused == 0


def test_a_call_of_the_mock(benchmark: BenchmarkFixture) -> None:
    config = APIConfig(provider=APIProvider.MOCK, rates=(Rate(10**6, SECOND), Rate(10**7, MINUTE)))
    broker = MockTradingAPI("mock", config, 0.0, clock=SystemClock())

    async def hundred() -> None:
        for _ in range(100):
            await broker.get_positions()

    with asyncio.Runner() as runner:
        benchmark(lambda: runner.run(hundred()))
    assert broker.referee_report().refused == 0


def test_a_hundred_thousand_ticks_take_under_a_second_and_fifty_mebibytes(benchmark: BenchmarkFixture) -> None:
    symbols = [f"NSE:S{number}-EQ" for number in range(50)]
    before = psutil.Process().memory_info().rss

    def publish() -> MarketDataFeed:
        feed = MarketDataFeed()
        for number in range(100_000):
            feed.publish(symbol=symbols[number % 50], price=100.0 + number % 1000 / 20, volume=number)
        return feed

    start = time.perf_counter()
    feed = publish()
    took = time.perf_counter() - start
    grown = psutil.Process().memory_info().rss - before
    assert feed.published == 100_000
    if benchmark.enabled:  # a floor of time belongs to a quiet machine
        assert took < 1.0
    assert grown < 50 * 2**20
    print(f"\nfeed: 100 000 ticks in {took:.3f} s, memory up by {grown / 2**20:.1f} MiB, peak "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")  # fmt: skip
    benchmark.pedantic(publish, rounds=3 if benchmark.enabled else 1)
