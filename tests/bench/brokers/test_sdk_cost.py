"""What placing an order costs through the broker's own SDK and through ours, against one simulator, in one run.

    make test-sdk            # builds .venv-sdk with both SDKs, once
    make bench BENCH=tests/bench/brokers

The SDK runs in its own interpreter. Batches of both take turns, one order in flight (the SDKs know no more), and each
figure is the best of the rounds: building, sending, reading and parsing, without the simulator's own CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core.brokers import FyersAPI, UpstoxAPI
from core.models import APIProvider, Order
from tests.bench.brokers.test_adapter_speed import batch, best
from tests.bench.simulator.serving import serving
from tests.brokers.recorded import config

ROOT = Path(__file__).parents[3]
SDK_PYTHON = Path(os.environ.get("HEADROOM_SDK_PYTHON") or ROOT / ".venv-sdk/bin/python")
ORDER = Order(symbol="NSE:SBIN-EQ", quantity=10)


def adapter_of(name: str, base_url: str) -> FyersAPI | UpstoxAPI:
    demo = {"client_id": "DEMO0001-100", "access_token": SecretStr(f"demo-{name}-token")}
    settings = config(APIProvider(name), base_url, timeout_ms=30_000, **demo)
    return FyersAPI(name, settings) if name == "fyers" else UpstoxAPI(name, settings)


@pytest.mark.skipif(not SDK_PYTHON.exists(), reason=f"no {SDK_PYTHON}: make test-sdk builds it")
@pytest.mark.parametrize("name", ["fyers", "upstox"])
async def test_an_order_costs_no_more_than_through_the_brokers_own_sdk(benchmark: Any, name: str):
    benchmark(lambda: None)  # asked for its switch only: the figures are the printed ones
    rounds, count = (15, 100) if benchmark.enabled else (1, 5)
    async with serving() as simulator, adapter_of(name, simulator.url) as api:
        sdk = await asyncio.create_subprocess_exec(
            SDK_PYTHON, Path(__file__).with_name("sdk_orders.py"), name, simulator.url, f"demo-{name}-token",
            str(count), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert sdk.stdin is not None
        assert sdk.stdout is not None
        tags = iter(range(10**6))

        async def ours() -> None:
            await api.place_order(ORDER, tag=f"ours{next(tags)}")

        our_rounds, sdk_rounds = [], []
        for _ in range(rounds):
            our_rounds.append(await batch(ours, count, 1))
            sdk.stdin.write(b"\n")
            sdk_rounds.append(json.loads(await sdk.stdout.readline()))
        sdk.stdin.close()
        await sdk.wait()
        standing = await simulator.standing()
    assert (standing.accepted, standing.refused) == (2 * rounds * count, 0)
    (our_s, our_cpu), (sdk_s, sdk_cpu) = best(our_rounds), best(sdk_rounds)
    print(
        f"\n{name}, one in flight: {our_s * 1e6:5.0f} us a place order ({our_cpu * 1e6:4.0f} CPU), its own SDK "
        f"{sdk_s * 1e6:5.0f} ({sdk_cpu * 1e6:4.0f} CPU): {sdk_s / our_s:.1f} x the time, "
        f"{sdk_cpu / our_cpu:.1f} x the CPU"
    )
    assert our_cpu > 0
    if benchmark.enabled:
        assert our_cpu <= sdk_cpu
