"""The dashboard on its demo, with the simulator in a thread or in a process: what each loop and each order feel.

    python -m tests.bench.simulator.demo_probe wire|process SECONDS REPORT

The real screen on the terminal it is started in, the real engine on its own thread, the demo's own flow; the brokers
answer at once, so that what an order takes is what the place costs. REPORT becomes JSON: lists of figures, one a second
or one an order.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from core.brokers import published_limits
from core.config import simulated_settings
from core.errors import HeadroomError
from core.models import Order
from core.router import LocalRouter
from tui.app import HeadroomApp
from tui.live import LivePort, open_live_port

BEAT_S = 0.005


async def feel(p99_ms: list[float]) -> None:
    """For each second, how late 99 of 100 beats of 5 ms come on this loop; a missed beat counts with all it missed."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        lags_s = []
        for _ in range(round(1 / BEAT_S)):
            due += BEAT_S
            await asyncio.sleep(max(0.0, due - loop.time()))
            lags_s.append(loop.time() - due)
        p99_ms.append(1000 * sorted(lags_s)[-1 - len(lags_s) // 100])


async def order_on(router: LocalRouter, took_ms: list[float]) -> None:
    """An order every 0.4 s, on the engine's loop, at brokers that answer at once."""
    for name in router.manager.apis:
        await router._brokers.set_latency(name, 0.0)
    while True:
        await asyncio.sleep(0.4)
        begun = time.perf_counter()
        with suppress(HeadroomError):
            await router.place_order(Order(symbol="NSE:SBIN-EQ", quantity=1))
            took_ms.append(1000 * (time.perf_counter() - begun))


class Probe(HeadroomApp):
    """The dashboard, looked at from inside for some seconds, once its start is over."""

    def __init__(self, port: LivePort, seconds: float) -> None:
        super().__init__(port)
        self.live, self.seconds = port, seconds
        self.felt: dict[str, list[float]] = {"screen p99 ms": [], "engine p99 ms": [], "order ms": []}

    def on_mount(self) -> None:
        self.set_timer(1.5, self.begin)

    async def begin(self) -> None:
        engine, router = self.live._loop, self.live._router
        assert engine is not None
        assert router is not None
        there = [
            asyncio.run_coroutine_threadsafe(feel(self.felt["engine p99 ms"]), engine),
            asyncio.run_coroutine_threadsafe(order_on(router, self.felt["order ms"]), engine),
        ]
        here = asyncio.create_task(feel(self.felt["screen p99 ms"]))

        def end() -> None:
            here.cancel()
            for future in there:
                future.cancel()
            self.exit()

        self.set_timer(self.seconds, end)


def main(where: str, seconds: float, report: Path) -> None:
    settings = simulated_settings(published_limits, seed=3).model_copy(update={"embedded": where})
    with open_live_port(settings, background=True) as port:
        start_s = time.time() - psutil.Process().create_time()
        app = Probe(port, seconds)
        app.run()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    once = {
        "start ms": [1000 * start_s],
        "CPU s": [sum(one.ru_utime + one.ru_stime for one in used)],
        "MiB": [sum(one.ru_maxrss for one in used) / 1024],
    }
    report.write_text(json.dumps(once | app.felt), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
