"""When a window runs out at its present rate."""

from __future__ import annotations

import math
from typing import Final

from ..clock import MINUTE, SECOND
from ..models import WindowForecast
from .window import SlidingWindows

__all__ = ["forecast_window"]

ROUNDS: Final = 12
SPREAD: Final = 1.2816  # standard deviations that hold 80 % of a normal distribution between them


def forecast_window(windows: SlidingWindows, limit: int, window_ns: int, span_ns: int, now_ns: int) -> WindowForecast:
    """The present rate is that of the last window, of at least 1 s and at most 60 s; the interval holds 80 %."""
    horizon_ns = min(max(window_ns, SECOND), MINUTE)
    seen = windows.younger(now_ns - horizon_ns) + windows.in_flight
    rate = seen / horizon_ns
    if not seen:
        return WindowForecast()
    used = windows.younger(now_ns - span_ns) + windows.in_flight
    spread = SPREAD * math.sqrt(seen) / horizon_ns
    middle = _exhausted_in_ns(windows, limit - used, used, rate, span_ns, now_ns)
    soon = min(MINUTE, span_ns)
    room = limit - used + _leaving(windows, used, soon, span_ns, now_ns)
    mean = rate * soon
    within = 1.0 if limit <= used else 0.5 * math.erfc((room - 0.5 - mean) / math.sqrt(2 * mean))
    return WindowForecast(
        exhausted_in_ns=middle,
        earliest_in_ns=_exhausted_in_ns(windows, limit - used, used, rate + spread, span_ns, now_ns),
        latest_in_ns=_exhausted_in_ns(windows, limit - used, used, max(0.0, rate - spread), span_ns, now_ns),
        probability_60s=within,
        rate_per_s=rate * SECOND,
    )


def _leaving(windows: SlidingWindows, used: int, in_ns: int, span_ns: int, now_ns: int) -> int:
    """How many of the used permits come back within `in_ns`; what is in flight does not."""
    return used - windows.in_flight - windows.younger(now_ns - span_ns + in_ns) if in_ns < span_ns else used


def _exhausted_in_ns(
    windows: SlidingWindows, free: int, used: int, rate: float, span_ns: int, now_ns: int
) -> int | None:
    """The first t at which `rate * t` has taken what is free now and what has come back by t; None within a window.

    Each step is a lower bound of it and starts from the last, so the steps close in on the first crossing from below.
    """
    if free <= 0:
        return 0
    if rate <= 0:
        return None
    in_ns = math.ceil(free / rate)
    for _ in range(ROUNDS):
        if in_ns >= span_ns:
            return None
        next_ns = math.ceil((free + _leaving(windows, used, in_ns, span_ns, now_ns)) / rate)
        if next_ns <= in_ns:
            return in_ns
        in_ns = next_ns
    return in_ns if in_ns < span_ns else None
