"""How the windows stand, as values for the screen and as plain JSON; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from ..models import WindowForecast, WindowHeadroom, WindowRoom
from .backend import Plan
from .forecast import forecast_window

__all__ = ["Forecasts", "Look", "analytics_of", "headroom_of", "windows_of"]

SOFT_SHARE: Final = 0.8
NO_FORECAST: Final = WindowForecast()
MILLION: Final = 1_000_000
SECOND: Final = 1_000_000_000
_new: Final = object.__new__
_set_budget, _set_rate, _set_used, _set_in_flight, _set_free, _set_next, _set_all, _set_soft, _set_forecast = (
    getattr(WindowHeadroom, field.name).__set__ for field in fields(WindowHeadroom)
)


class Look(NamedTuple):
    """One category at one instant, as a router that chooses sees it.

    `wait_ns`: until a newcomer could have what was asked, 0 when now. `queued`: permits that go before his. `limited`:
    a broker's refusal keeps a gate closed. `rooms`: the windows that count the category. `in_flight` counts the whole
    account.
    """

    wait_ns: int
    queued: int
    in_flight: int
    limited: bool
    rooms: tuple[WindowRoom, ...]


Forecasts = bool | Mapping[tuple[str, int], WindowForecast]
"""Whether windows come with the limiter's own forecasts; or those of whoever knows better, by budget and window."""


def headroom_of(plan: Plan, now_ns: int, *, forecasts: Forecasts) -> tuple[WindowHeadroom, ...]:
    """Every window of every budget of the plan, budgets and rates in their order."""
    headroom = []
    for windows in plan:
        budget, taken, newest_ns = windows.budget.name, windows.in_flight, windows.newest_ns
        closed_ns = windows.opens_ns - now_ns
        for rate, tally in zip(windows.rates, windows.tallies or windows.begin_tallies(), strict=True):
            limit, span_ns = tally.limit, tally.span_ns
            free = windows.free(tally, now_ns)
            in_flight = taken if taken < limit else limit  # noqa: FURB136 - a call costs as much as the line above
            used = limit - in_flight - free
            next_ns = closed_ns
            if not free:
                behind = limit - taken
                # All in flight: answered now at the earliest, and one window later free.
                free_ns = windows.ring[windows.head - behind] + span_ns - now_ns if behind >= 1 else span_ns
                next_ns = max(next_ns, free_ns)
            all_ns = span_ns if in_flight else newest_ns + span_ns - now_ns
            if forecasts is True:
                forecast = forecast_window(windows, limit, rate.window_ns, span_ns, now_ns)
            elif forecasts:
                forecast = forecasts.get((budget, rate.window_ns), NO_FORECAST)
            else:
                forecast = NO_FORECAST
            # A frozen value sets each field by name; by its slots it costs a third, and a screen wants thousands a
            # second.
            window = _new(WindowHeadroom)
            _set_budget(window, budget)
            _set_rate(window, rate)
            _set_used(window, used)
            _set_in_flight(window, in_flight)
            _set_free(window, free)
            _set_next(window, next_ns if next_ns > 0 else 0)  # noqa: FURB136 - as above
            _set_all(window, all_ns if all_ns > 0 else 0)  # noqa: FURB136 - as above
            _set_soft(window, used + in_flight >= SOFT_SHARE * limit)
            _set_forecast(window, forecast)
            headroom.append(window)
    return tuple(headroom)


def windows_of(headroom: Sequence[WindowHeadroom]) -> dict[str, Any]:
    """The windows by name, as plain JSON values."""
    plain = {}
    for window in headroom:
        limit, used, in_flight = window.rate.permits, window.used, window.in_flight
        plain[window.name] = {
            "limit": limit,
            "used": used,
            "in_flight": in_flight,
            "free": window.free,
            "usage_percentage": round(100 * ((used + in_flight) / limit), 2),
            "next_free_ms": window.next_free_in_ns / MILLION,
            "all_free_ms": window.all_free_in_ns / MILLION,
        }
    return plain


def analytics_of(headroom: Sequence[WindowHeadroom]) -> dict[str, Any]:
    """Usage and forecast by window name, as plain JSON values."""
    usage = {window.name: round(100 * window.fraction, 2) for window in headroom}
    return {
        "usage_percentage": usage,
        "usage_percentage_max": max(usage.values()),
        "approaching_limit": any(window.soft for window in headroom),
        "forecast": {window.name: _seconds(window.forecast.exhausted_in_ns) for window in headroom},
        "rate_per_s": {window.name: round(window.forecast.rate_per_s, 3) for window in headroom},
    }


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / SECOND
