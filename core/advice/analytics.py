"""The forecasts of one broker as plain values, for `get_rate_limit_analytics`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..clock import SECOND
from ..models import WindowHeadroom

__all__ = ["predictive_analytics"]


def predictive_analytics(windows: Sequence[WindowHeadroom]) -> dict[str, Any]:
    """Per window when it runs out, in seconds, and how such forecasts did so far; the soonest one by name.

    `forecast_hit_rate` and `forecast_brier_60s` are None until enough forecasts have come due.
    """
    plain = {}
    soonest: tuple[int | None, str] = (None, "")
    slowest: float | None = None
    for window in windows:
        forecast, name, rate = window.forecast, window.name, window.rate
        ends_in_ns, earliest_in_ns, latest_in_ns = (
            forecast.exhausted_in_ns,
            forecast.earliest_in_ns,
            forecast.latest_in_ns,
        )
        plain[name] = {
            "free": window.free,
            "usage_percentage": 100.0 * ((window.used + window.in_flight) / rate.permits),
            "rate_per_s": forecast.rate_per_s,
            "exhausted_in_s": None if ends_in_ns is None else ends_in_ns / SECOND,
            "earliest_in_s": None if earliest_in_ns is None else earliest_in_ns / SECOND,
            "latest_in_s": None if latest_in_ns is None else latest_in_ns / SECOND,
            "probability_60s": forecast.probability_60s,
            "forecast_hit_rate": forecast.hit_rate,
            "forecast_brier_60s": forecast.brier_60s,
        }
        if ends_in_ns is not None and (soonest[0] is None or ends_in_ns < soonest[0]):
            soonest = ends_in_ns, name
        sustained = rate.permits * SECOND / rate.window_ns
        if slowest is None or sustained < slowest:
            slowest = sustained
    return {
        "windows": plain,
        "exhausted_in_s": None if soonest[0] is None else soonest[0] / SECOND,
        "exhausted_window": soonest[1],
        "recommended_rate_per_s": slowest or 0.0,
    }
