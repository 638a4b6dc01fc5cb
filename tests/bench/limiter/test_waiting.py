"""A thousand who wait: how much of the limit they get, in which order, and what it costs.

pytest tests/bench/limiter/test_waiting.py --benchmark-enable -s
"""

from __future__ import annotations

import asyncio
import time

import pytest

from core.clock import SECOND, SystemClock
from core.limiter import EnhancedRateLimiter
from core.models import Budget, Rate


@pytest.mark.parametrize("leaving", [False, True], ids=["all stay", "half leave"])
def test_a_thousand_waiters_on_500_a_second(full: bool, leaving: bool) -> None:
    permits, waiters, times = (500, 1000, 3) if full else (50, 100, 2)
    window_ns = SECOND if full else SECOND // 5

    async def run() -> tuple[list[int], float, float]:
        clock = SystemClock()
        limiter = EnhancedRateLimiter(budgets=[Budget("all", (Rate(permits, window_ns),))], clock=clock)
        left: list[tuple[int, int]] = []
        for _ in range(permits):
            limiter.record_request()

        async def waiter(number: int) -> None:
            for _ in range(times):  # who was served comes back, to the end of the line
                with await limiter.acquire() as permit:
                    permit.sent()
                    left.append((number, clock.now_ns()))
                    permit.done()

        tasks = [asyncio.create_task(waiter(number)) for number in range(2 * waiters if leaving else waiters)]
        await asyncio.sleep(0)
        assert limiter.waiting == len(tasks)
        if leaving:
            gone = tasks[::2]
            for task in gone:
                task.cancel()
            await asyncio.wait(gone)
        assert limiter.waiting == waiters
        start_ns, cpu_ns = clock.now_ns(), time.process_time_ns()
        await asyncio.gather(*tasks, return_exceptions=True)
        cpu = (time.process_time_ns() - cpu_ns) / (clock.now_ns() - start_ns)
        assert limiter.waiting == limiter.in_flight == 0
        # From the first permit of the first window to the first of the last: what the windows between them took.
        windows = times * waiters // permits - 1
        took_ns = left[permits * windows][1] - left[0][1]
        return [number for number, _ in left], windows * window_ns / took_ns, cpu

    left, goodput, cpu = asyncio.run(run())
    who = f"half of {2 * waiters} waiters leave" if leaving else f"{waiters} waiters"
    print(f"\n{who}, {permits} a window: {goodput:.2%} of the limit, {cpu:.2%} CPU")
    assert left == (list(range(1, 2 * waiters, 2)) if leaving else list(range(waiters))) * times
    if full:
        assert goodput >= 0.995
        assert cpu < 0.01
