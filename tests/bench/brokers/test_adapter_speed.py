"""What an adapter costs: without a network, and as a share of a bare aiohttp POST of the same bytes over loopback.

    pytest tests/bench/brokers --benchmark-enable -s

Without --benchmark-enable everything runs once and small, as a smoke test. The bare and the adapter's batches take
turns against one server in a process of its own, so that a busy machine slows both; each figure is the best of the
rounds. The target: a place-order round trip costs at most 1.5 x of the bare one, by the wall and in CPU.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from core.brokers import FyersAPI, UpstoxAPI
from core.brokers.fyers import place_body as fyers_body
from core.brokers.reply import Reply
from core.brokers.upstox import place_body as upstox_body
from core.errors import OrderRefused
from core.models import APIProvider, Order, OrderAck, OrderType
from tests.brokers.recorded import config

ORDER = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type=OrderType.LIMIT, price="652.55")
TAG = "hr7k2m9q4x8w1z5t3ab"
TARGET = 1.5
ANSWERS = {
    "fyers": '{"s":"ok","code":1101,"message":"placed","id":"26010500004711"}',
    "upstox": '{"status":"success","data":{"order_ids":["260105000004711"]},"metadata":{"latency":18}}',
}
REFUSALS = {
    "fyers": '{"s":"error","code":-50,"message":"qty: please provide a valid value"}',
    "upstox": '{"status":"error","errors":[{"errorCode":"UDAPI1052","message":"The quantity cannot be zero",'
    '"error_code":"UDAPI1052","property_path":"quantity","invalid_value":0}]}',
}
BOOK_ROW = (
    '{"exchange":"NSE","product":"I","price":652.5,"quantity":10,"status":"open","guid":null,"tag":"hr7k2m9q4x8w1z5t3ab",'
    '"instrument_token":"NSE_EQ|INE062A01020","placed_by":"AB1234","trading_symbol":"SBIN-EQ","order_type":"LIMIT",'
    '"validity":"DAY","trigger_price":0.0,"disclosed_quantity":0,"transaction_type":"BUY","average_price":0.0,'
    '"filled_quantity":4,"pending_quantity":6,"status_message":null,"order_id":"260105000004711",'
    '"order_timestamp":"2026-01-05 10:15:02"}'
)


def adapter_of(name: str, base_url: str) -> FyersAPI | UpstoxAPI:
    settings = config(APIProvider(name), base_url, timeout_ms=30_000)
    return FyersAPI(name, settings) if name == "fyers" else UpstoxAPI(name, settings)


class AtOnce:
    """In the place of the network: the same answer, at once."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.reply = Reply(status=status, body=body, headers={"date": "Mon, 05 Jan 2026 04:00:30 GMT"}, begun_ns=1)

    async def request(self, *_: Any, **__: Any) -> Reply:
        return self.reply


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing, without a loop; that it lets others go first costs a step."""
    try:
        while True:
            assert work.send(None) is None
    except StopIteration as done:
        return done.value


@pytest.mark.parametrize("name", ["fyers", "upstox"])
def test_placing_an_order_without_a_network(benchmark: Any, name: str):
    api = adapter_of(name, "")
    api._http = AtOnce(ANSWERS[name].encode())  # type: ignore[assignment]
    ack: OrderAck = benchmark(lambda: finished(api.place_order(ORDER, tag=TAG)))
    assert ack.broker_order_id.endswith("4711")


@pytest.mark.parametrize("name", ["fyers", "upstox"])
def test_an_order_that_is_refused_without_a_network(benchmark: Any, name: str):
    api = adapter_of(name, "")
    api._http = AtOnce(REFUSALS[name].encode(), status=400)  # type: ignore[assignment]

    def refused() -> OrderRefused:
        try:
            finished(api.place_order(ORDER, tag=TAG))
        except OrderRefused as error:
            return error
        raise AssertionError

    error: OrderRefused = benchmark(refused)
    assert not error.elsewhere


def test_reading_a_book_of_1000_orders_without_a_network(benchmark: Any):
    api = adapter_of("upstox", "")
    body = '{"status":"success","data":[' + ",".join([BOOK_ROW] * 1000) + "]}"
    api._http = AtOnce(body.encode())  # type: ignore[assignment]
    assert len(benchmark(lambda: finished(api.get_orders()))) == 1000


@pytest.fixture(scope="module", params=["fyers", "upstox"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The broker's name and the address of a server that gives its answer."""
    script = Path(__file__).with_name("plain_server.py")
    command = [sys.executable, str(script), ANSWERS[request.param]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield request.param, f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate()


async def batch(call: Callable[[], Awaitable[object]], count: int, in_flight: int) -> tuple[float, float]:
    """Wall and CPU seconds for each of `count` calls, `in_flight` at a time."""
    todo = iter(range(count))

    async def worker() -> None:
        for _ in todo:
            await call()

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def best(rounds: Iterable[Sequence[float]]) -> list[float]:
    """The least wall and the least CPU seconds of the rounds."""
    return [min(column) for column in zip(*rounds, strict=True)]


@pytest.mark.parametrize("in_flight", [1, 20, 100])
async def test_a_round_trip_against_a_bare_post(benchmark: Any, server: tuple[str, str], in_flight: int):
    name, base_url = server
    benchmark(lambda: None)  # asked for its switch only: the figures are the printed ones
    rounds, count = (40, max(60, 2 * in_flight)) if benchmark.enabled else (1, in_flight)
    async with aiohttp.ClientSession() as session, adapter_of(name, base_url) as api:
        url = api._order_url if isinstance(api, FyersAPI) else api._place_url
        body = fyers_body(ORDER, TAG) if name == "fyers" else upstox_body(ORDER, "NSE_EQ|INE062A01020", TAG)

        async def bare() -> None:
            async with session.post(url, data=body, headers=api._headers) as response:
                assert await response.read()

        async def ours() -> None:
            await api.place_order(ORDER, tag=TAG)

        await batch(bare, in_flight, in_flight)  # connections first
        await batch(ours, in_flight, in_flight)
        bare_rounds, our_rounds = [], []
        for _ in range(rounds):
            bare_rounds.append(await batch(bare, count, in_flight))
            our_rounds.append(await batch(ours, count, in_flight))
    (bare_s, bare_cpu), (our_s, our_cpu) = best(bare_rounds), best(our_rounds)
    print(
        f"\n{name} {in_flight:3d} in flight: {our_s * 1e6:6.0f} us a place order ({our_cpu * 1e6:4.0f} CPU), "
        f"bare POST {bare_s * 1e6:6.0f} ({bare_cpu * 1e6:4.0f}): {our_s / bare_s:.2f} x, CPU {our_cpu / bare_cpu:.2f} x"
    )
    assert our_s > 0
    if benchmark.enabled:
        assert our_s / bare_s <= TARGET
        assert our_cpu / bare_cpu <= TARGET
