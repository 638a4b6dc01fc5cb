"""What one permit costs, side by side with the peers in one run: CPU time of this process, the best of several rounds.

pytest tests/bench/limiter/test_speed.py --benchmark-enable -s
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.clock import DAY, MINUTE, SECOND, SystemClock
from core.limiter import EnhancedRateLimiter, SharedMemoryBackend, stretch
from core.models import Budget, Rate
from tests.limiter.referee import HandClock

PERMITS = 200_000
WINDOWS = (SECOND, MINUTE, DAY)
Once = Callable[[], object]


def ns_each(make: Callable[[], Once], *, rounds: int, requests: int) -> float:
    """CPU nanoseconds of one call, each round on a fresh limiter."""
    best = float("inf")
    for _ in range(rounds):
        once = make()
        start_ns = time.process_time_ns()
        for _ in range(requests):
            once()
        best = min(best, (time.process_time_ns() - start_ns) / requests)
    return best


def budget(permits: int = PERMITS) -> Budget:
    return Budget("all", tuple(Rate(permits, window_ns) for window_ns in WINDOWS))


def ours(limiter: EnhancedRateLimiter) -> Once:
    def once() -> None:
        permit = limiter.try_acquire()
        assert permit is not None
        permit.sent()
        permit.done()

    return once


def headroom_() -> Once:
    return ours(EnhancedRateLimiter(budgets=[budget()]))


def pyrate_limiter_() -> Once:
    from pyrate_limiter import InMemoryBucket, Limiter
    from pyrate_limiter import Rate as PyrateRate

    # No leaking thread: it would only add to what its log costs.
    rates = [PyrateRate(PERMITS + place, window_ns // 1_000_000) for place, window_ns in enumerate(WINDOWS)]
    from pyrate_limiter.limiter import SingleBucketFactory

    limiter = Limiter(SingleBucketFactory(InMemoryBucket(rates), schedule_leak=False))
    return lambda: limiter.try_acquire("all", blocking=False)


def limits_() -> Once:
    import limits

    storage = limits.storage.MemoryStorage()
    strategy = limits.strategies.MovingWindowRateLimiter(storage)
    items = [limits.RateLimitItemPerSecond(PERMITS, window_ns // SECOND) for window_ns in WINDOWS]
    return lambda: all(strategy.hit(item, "all") for item in items)


def throttled_() -> Once:
    import throttled

    quotas = [throttled.per_duration(_timedelta(window_ns), PERMITS) for window_ns in WINDOWS]
    several = [throttled.Throttled(key="all", using="sliding_window", quota=quota) for quota in quotas]
    return lambda: [one.limit().limited for one in several]


def _timedelta(window_ns: int) -> object:
    from datetime import timedelta

    return timedelta(seconds=window_ns // SECOND)


PEERS: dict[str, tuple[str, Callable[[], Once]]] = {
    "pyrate-limiter": ("pyrate_limiter", pyrate_limiter_),
    "limits": ("limits", limits_),
    "throttled-py": ("throttled", throttled_),
}

LOGS = ("pyrate-limiter",)  # what its log costs depends on how long it is: as many requests as ours


def test_a_permit_costs_less_than_any_peer_s(full: bool) -> None:
    missing = [name for name, (module, _) in PEERS.items() if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"peers are not installed ({', '.join(missing)}): pip install -r requirements/bench.txt")
    rounds, requests = (7, 20_000) if full else (2, 500)
    costs = {"headroom": ns_each(headroom_, rounds=rounds, requests=requests)}
    for name, (_, make) in PEERS.items():
        costs[name] = ns_each(make, rounds=min(rounds, 3), requests=requests if name in LOGS else requests // 10)
    print("\n| try + sent + done, three windows | us of CPU | times ours |\n|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost / 1000:.2f} | {cost / costs['headroom']:.1f} |")
    assert min(costs, key=costs.__getitem__) == "headroom"
    if full:
        # The aims; a busy machine misses them, so they are told here and judged by who reads the table.
        times = costs["pyrate-limiter"] / costs["headroom"]
        print(f"aim: at most 1.50 us ({_met(costs['headroom'] <= 1500)}), 9 x pyrate-limiter ({_met(times >= 9)})")
        assert times >= 3


def _met(aim: bool) -> str:
    return "met" if aim else "missed"


def test_a_full_day_costs_no_more_than_an_empty_one(full: bool) -> None:
    requests = 20_000 if full else 1000
    per_day = 100_000 if full else 5_000
    step_ns = stretch(DAY) // per_day + 1

    def stepping(limiter: EnhancedRateLimiter, clock: HandClock) -> Once:
        send = ours(limiter)

        def once() -> None:
            clock.at_ns += step_ns
            send()

        return once

    def limiter_at(clock: HandClock) -> EnhancedRateLimiter:
        rates = (Rate(10, SECOND), Rate(200, MINUTE), Rate(per_day, DAY))
        return EnhancedRateLimiter(budgets=[Budget("all", rates)], clock=clock)

    def empty() -> Once:
        clock = HandClock()
        return stepping(limiter_at(clock), clock)

    def filled() -> Once:
        clock = HandClock()
        limiter = limiter_at(clock)
        once = stepping(limiter, clock)
        for _ in range(per_day):
            once()
        assert limiter.headroom()[2].used >= per_day - 1
        return once

    rounds = 5 if full else 1
    empty_ns, full_ns = (ns_each(make, rounds=rounds, requests=min(requests, per_day)) for make in (empty, filled))
    print(f"\n{per_day}/day: empty {empty_ns:.0f} ns, full {full_ns:.0f} ns ({full_ns / empty_ns - 1:+.1%})")
    if full:
        assert full_ns <= 1.1 * empty_ns


def test_the_shared_ring_costs_microseconds(full: bool, tmp_path: Path) -> None:
    made = 0

    def shared() -> Once:
        nonlocal made
        made += 1
        return ours(EnhancedRateLimiter(budgets=[budget()], backend=SharedMemoryBackend(tmp_path / f"{made}.ring")))

    each_ns = ns_each(shared, rounds=3 if full else 1, requests=5_000 if full else 200)
    print(f"\nshared by processes: try + sent + done {each_ns / 1000:.1f} us of CPU")
    assert each_ns < 100_000


def test_an_acquire_that_need_not_wait_costs_two_microseconds(full: bool) -> None:
    requests = 20_000 if full else 500

    async def rounds() -> float:
        best = float("inf")
        for _ in range(7 if full else 1):
            limiter = EnhancedRateLimiter(budgets=[budget()])
            start_ns = time.process_time_ns()
            for _ in range(requests):
                await limiter.acquire()
            best = min(best, (time.process_time_ns() - start_ns) / requests)
        return best

    each_ns = asyncio.run(rounds())
    print(f"\nasync acquire, free: {each_ns / 1000:.2f} us of CPU")
    if full:
        assert each_ns <= 2000


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
