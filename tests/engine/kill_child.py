"""A process that trades until it is killed: `python -m tests.engine.kill_child STORE ROUND UPSTOX_URL FYERS_URL`.

Prints `recovered` when its start has looked everything up, then waits for a line; after it, prints every outcome that
it tells a caller. With the line `settle` it cancels what is open, waits for the end of all, prints `settled` and ends.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from random import Random

import anyio
from pydantic import SecretStr

from core.brokers import adapter_of
from core.brokers.base import TradingAPI
from core.brokers.simulator.settings import SimulatorSettings
from core.clock import MILLISECOND, SECOND
from core.engine import EngineSettings, GuardSettings, TradingEngine
from core.manager import MultiAPIManager
from core.models import APIConfig, APIProvider, Order
from core.store import TradeStore

CALLERS = 12
SETTINGS = EngineSettings(
    deadline_ns=5 * SECOND, ask_first_ns=50 * MILLISECOND, poll_least_ns=200 * MILLISECOND, tick_ns=50 * MILLISECOND
)


async def main(path: str, run: int, urls: dict[str, str]) -> None:
    demo = SimulatorSettings()
    credentials = {
        "upstox": (demo.upstox_client_id, demo.upstox_token),
        "fyers": (demo.fyers_client_id, demo.fyers_token),
    }
    async with AsyncExitStack() as stack:
        apis: dict[str, TradingAPI] = {}
        for name, url in urls.items():
            config = APIConfig(
                provider=APIProvider(name),
                rate_limits={"requests_per_second": 400},
                client_id=credentials[name][0],
                access_token=SecretStr(credentials[name][1]),
                base_url=url,
                timeout_ms=600,
                simulated=True,
            )
            api = adapter_of(config.provider)(name, config, absence_proven_after_ns=300 * MILLISECOND)
            apis[name] = await stack.enter_async_context(api)
        manager = MultiAPIManager({})
        manager.apis = apis
        store = await stack.enter_async_context(TradeStore(path))
        engine = TradingEngine(manager, store, guards=GuardSettings.off(), settings=SETTINGS)
        await stack.enter_async_context(engine)
        print("recovered", flush=True)
        if (await anyio.to_thread.run_sync(sys.stdin.readline)).strip() == "settle":
            while engine.open_orders:
                await engine.cancel_all()
            await anyio.sleep(0.5)
            print("settled", flush=True)
            return
        earlier = [row.order_id for row in engine.recent_orders(50)]
        async with anyio.create_task_group() as tasks:
            for number in range(CALLERS):
                tasks.start_soon(trade, engine, Random(f"{run}/{number}"), f"r{run}c{number}", earlier)


async def trade(engine: TradingEngine, rng: Random, prefix: str, earlier: list[str]) -> None:
    """Place, repeat, cancel, for ever."""
    number = 0
    while True:
        act = rng.random()
        if act < 0.1 and earlier:
            outcome = await engine.cancel_order(rng.choice(earlier))
        else:
            number += act > 0.2  # sometimes the same id again, which may not have come back yet
            order = Order(symbol="NSE:SBIN-EQ", quantity=1 + number % 5, client_order_id=f"{prefix}n{number}")
            outcome = await engine.place_order(order)
        print("told", outcome.order_id, outcome.status.value, flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), {"upstox": sys.argv[3], "fyers": sys.argv[4]})
