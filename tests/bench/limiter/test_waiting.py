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


@pytest.mark.parametrize("cancelled", [False, True], ids=["all stay", "half leave"])
def test_a_thousand_waiters_on_500_a_second(full: bool, cancelled: bool) -> None:
    permits = 500 if full else 250
    window_ns = SECOND if full else SECOND // 20
    waiters = 2 * permits * (2 if cancelled else 1)

    async def run() -> tuple[list[int], float, float]:
        clock = SystemClock()
        limiter = EnhancedRateLimiter(budgets=[Budget("all", (Rate(permits, window_ns),))], clock=clock)
        left: list[tuple[int, int]] = []
        for _ in range(permits):
            limiter.record_request()

        async def waiter(number: int) -> None:
            with await limiter.acquire() as permit:
                permit.sent()
                left.append((number, clock.now_ns()))
                permit.done()

        tasks = [asyncio.create_task(waiter(number)) for number in range(waiters)]
        await asyncio.sleep(0)
        assert limiter.waiting == waiters
        if cancelled:
            for task in tasks[::2]:
                task.cancel()
            await asyncio.sleep(0)
        start_ns, cpu_ns = clock.now_ns(), time.process_time_ns()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.waiting == limiter.in_flight == 0
        cpu = (time.process_time_ns() - cpu_ns) / (clock.now_ns() - start_ns)
        # From the first permit of one window to the first of the next: what a window's permits took.
        return [number for number, _ in left], window_ns / (left[permits][1] - left[0][1]), cpu

    left, goodput, cpu = asyncio.run(run())
    expected = list(range(1, waiters, 2)) if cancelled else list(range(waiters))
    who = "half of 2000 cancelled" if cancelled else "1000 waiters"
    print(f"\n{who} on {permits} a window: {goodput:.2%} of the limit, {cpu:.2%} CPU")
    assert left == expected
    if full:
        assert goodput >= 0.995
        assert cpu < 0.01 or cancelled
