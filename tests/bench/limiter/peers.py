"""The peers on the play's clock, at 10 a second, each asked as its documentation says: what the referee makes of them.

None takes a clock but pyrate-limiter, so the `time` that their modules see is replaced for the length of a test.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from core.clock import MILLISECOND, SECOND
from tests.limiter.referee import Anyhow, HandClock

Take = Callable[[], bool]
EPOCH_S = 1_000_000_000


class Peer:
    """A limiter that can only be asked now: when it says no, it is asked again a millisecond later."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.said_no = False

    def try_acquire(self) -> Anyhow | None:
        self.said_no = not self.take()
        return None if self.said_no else Anyhow()

    def time_to_available_ns(self) -> int:
        return MILLISECOND if self.said_no else 0


def aiolimiter_(clock: HandClock, _: pytest.MonkeyPatch) -> Take:
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(10, 1)
    limiter._event_loop = SimpleNamespace(time=lambda: clock.at_ns / SECOND, is_closed=lambda: False)
    return lambda: limiter.has_capacity() and _at_once(limiter.acquire())


def asyncio_throttle_(clock: HandClock, patch: pytest.MonkeyPatch) -> Take:
    import asyncio_throttle.throttler as module

    patch.setattr(module, "time", _time(clock))
    throttler = module.Throttler(10, 1)

    def take() -> bool:
        throttler.flush()
        return len(throttler._task_logs) < 10 and _at_once(throttler.acquire())

    return take


def pyrate_limiter_(clock: HandClock, _: pytest.MonkeyPatch) -> Take:
    from pyrate_limiter import AbstractClock, InMemoryBucket, Limiter, Rate
    from pyrate_limiter.limiter import SingleBucketFactory

    class Hand(AbstractClock):
        def now(self) -> int:
            return clock.at_ns // MILLISECOND

    bucket = InMemoryBucket([Rate(10, 1000)])
    bucket._clock = Hand()
    limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))
    return lambda: limiter.try_acquire("all", blocking=False)


def limits_(clock: HandClock, patch: pytest.MonkeyPatch) -> Take:
    import limits

    patch.setattr(limits.storage.memory, "time", _time(clock))
    strategy = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())
    item = limits.RateLimitItemPerSecond(10, 1)
    return lambda: strategy.hit(item, "all")


def throttled_(clock: HandClock, patch: pytest.MonkeyPatch) -> Take:
    import throttled
    import throttled.utils

    patch.setattr(throttled.utils, "time", _time(clock))
    limiter = throttled.Throttled(key="all", using="gcra", quota=throttled.per_sec(10))
    return lambda: not limiter.limit().limited


TRUTH: dict[str, Callable[[HandClock, pytest.MonkeyPatch], Take]] = {
    "aiolimiter": aiolimiter_,
    "asyncio-throttle": asyncio_throttle_,
    "pyrate-limiter": pyrate_limiter_,
    "limits, moving window": limits_,
    "throttled-py, GCRA": throttled_,
}


def _time(clock: HandClock) -> SimpleNamespace:
    def now_s() -> float:
        return EPOCH_S + clock.at_ns / SECOND

    return SimpleNamespace(time=now_s, monotonic=now_s, perf_counter_ns=clock.now_ns)


def _at_once(acquire: Coroutine[Any, Any, object]) -> bool:
    """An acquire that need not wait ends in its first step."""
    try:
        acquire.send(None)
    except StopIteration:
        return True
    raise AssertionError("it said that there was room, and waits")
