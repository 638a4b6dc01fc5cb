"""When a window runs out, with an interval, and how often such forecasts came true.

The arrival rate of a window is learned from its own counts: what is gone now, less what was gone before, plus what
came back in between, smoothed with a trend (Holt). It is then played against the window's arithmetic: every permit
comes back one window after its use. The interval is the 80 % one that the scatter of the recent seconds leaves open.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..clock import MINUTE, SECOND
from ..models import WindowForecast, WindowHeadroom

__all__ = ["ForecastScorer", "Forecaster"]

_Z80 = 1.2816  # a normal value stays within this many deviations in 80 % of cases
_BUCKETS = 60


class _Arrivals:
    """What one window receives a second, and what it will give back."""

    __slots__ = ("_buckets", "_last_ns", "_seen", "gone", "mean", "old", "old_until_ns", "trend", "variance")

    def __init__(self, window: WindowHeadroom, now_ns: int) -> None:
        self.gone = window.used + window.in_flight
        self.mean = 0.0
        self.trend = 0.0
        self.variance = 0.0
        self.old = float(self.gone)  # used before we looked: they come back evenly until the window would be empty
        self.old_until_ns = now_ns + window.all_free_in_ns
        self._buckets: deque[tuple[int, float]] = deque()
        self._last_ns = now_ns
        self._seen = 0

    def observe(self, window: WindowHeadroom, now_ns: int) -> None:
        passed_s = (now_ns - self._last_ns) / SECOND
        if passed_s < 0.2:
            return
        gone = window.used + window.in_flight
        if window.rate.window_ns <= 2 * SECOND:
            arrived = gone * passed_s / (window.rate.window_ns / SECOND)
        else:
            arrived = max(0.0, gone - self.gone + self._come_back(window, now_ns))
            width_ns = window.rate.window_ns // _BUCKETS
            if self._buckets and now_ns - self._buckets[-1][0] < width_ns:
                at_ns, amount = self._buckets[-1]
                self._buckets[-1] = (at_ns, amount + arrived)
            elif arrived:
                self._buckets.append((now_ns, arrived))
        rate = arrived / passed_s
        self._seen += 1
        share = max(0.1, 1 / self._seen)
        before = self.mean
        self.mean += share * (rate - before - self.trend) + self.trend
        self.mean = max(0.0, self.mean)
        self.trend += 0.02 * (self.mean - before - self.trend) if self._seen > 10 else 0.0
        self.variance += share * ((rate - before) ** 2 - self.variance)
        self.gone = gone
        self._last_ns = now_ns
        if window.rate.window_ns > 2 * SECOND:
            self._agree_with(gone)

    def _agree_with(self, gone: int) -> None:
        """Scale what we believe is in the window to what is: else an error would echo one window later."""
        believed = self.old + sum(amount for _, amount in self._buckets)
        if abs(believed - gone) < 0.5:
            return
        if believed:
            factor = gone / believed
            self.old *= factor
            self._buckets = deque((at_ns, amount * factor) for at_ns, amount in self._buckets)
        else:
            self._buckets.append((self._last_ns, float(gone)))

    def _come_back(self, window: WindowHeadroom, now_ns: int) -> float:
        """Permits that came back since the last look."""
        back = 0.0
        if self.old:
            left_ns = self.old_until_ns - self._last_ns
            share = min(1.0, (now_ns - self._last_ns) / left_ns) if left_ns > 0 else 1.0
            back += self.old * share
            self.old -= self.old * share
        while self._buckets and self._buckets[0][0] + window.rate.window_ns <= now_ns:
            back += self._buckets.popleft()[1]
        return back

    def returning(self, window: WindowHeadroom, now_ns: int) -> list[tuple[int, float]]:
        """When how many permits come back, in nanoseconds from now."""
        coming = [(max(0, at_ns + window.rate.window_ns - now_ns), amount) for at_ns, amount in self._buckets]
        if self.old >= 0.5:
            left_ns = max(0, self.old_until_ns - now_ns)
            coming += [(left_ns * part // 10, self.old / 10) for part in range(1, 11)]
        return sorted(coming)

    @property
    def deviation(self) -> float:
        """Of the mean rate, a second: the scatter of recent seconds, and at least that of a random stream."""
        return math.sqrt(max(self.variance, self.mean, 0.01))


class Forecaster:
    """Forecasts of one broker's windows, and their scores.

    `observe` learns and judges: once a second. `latest` tells what is known, at any time in between.
    """

    __slots__ = ("_arrivals", "_latest", "_observed_ns", "_scorer")

    def __init__(self) -> None:
        self._arrivals: dict[tuple[str, int], _Arrivals] = {}
        self._latest: dict[tuple[str, int], WindowForecast] = {}
        self._observed_ns = 0
        self._scorer = ForecastScorer()

    def observe(self, now_ns: int, windows: Sequence[WindowHeadroom]) -> None:
        """Make the forecasts of these windows, scores filled in. `now_ns` never goes back."""
        self._latest = {(window.budget, window.rate.window_ns): self._one(now_ns, window) for window in windows}
        self._observed_ns = now_ns

    def latest(self, now_ns: int) -> Mapping[tuple[str, int], WindowForecast]:
        """The forecasts of the last `observe`, as seen from now, by budget and window; empty before the first."""
        passed_ns = now_ns - self._observed_ns
        return {key: _seen_later(forecast, passed_ns) for key, forecast in self._latest.items()}

    def _one(self, now_ns: int, window: WindowHeadroom) -> WindowForecast:
        key = (window.budget, window.rate.window_ns)
        arrivals = self._arrivals.get(key)
        if arrivals is None:
            arrivals = self._arrivals[key] = _Arrivals(window, now_ns)
        arrivals.observe(window, now_ns)
        exhausted = window.free <= 0
        self._scorer.seen(now_ns, key, exhausted=exhausted)
        forecast = _project(window, arrivals, now_ns, self._scorer.hit_rate(key), self._scorer.brier_60s(key))
        self._scorer.made(now_ns, key, forecast, exhausted=exhausted)
        return forecast


def _seen_later(forecast: WindowForecast, by_ns: int) -> WindowForecast:
    """The same instants, counted from `by_ns` later."""
    if not by_ns or forecast.exhausted_in_ns is None:
        return forecast
    # Field by field: `replace` asks the class for its fields first, for five times the price.
    return WindowForecast(
        exhausted_in_ns=max(0, forecast.exhausted_in_ns - by_ns),
        earliest_in_ns=None if forecast.earliest_in_ns is None else max(0, forecast.earliest_in_ns - by_ns),
        latest_in_ns=None if forecast.latest_in_ns is None else max(0, forecast.latest_in_ns - by_ns),
        probability_60s=forecast.probability_60s,
        rate_per_s=forecast.rate_per_s,
        hit_rate=forecast.hit_rate,
        brier_60s=forecast.brier_60s,
    )


def _project(
    window: WindowHeadroom, arrivals: _Arrivals, now_ns: int, hit_rate: float | None, brier_60s: float | None
) -> WindowForecast:
    if window.free <= 0:
        return WindowForecast(
            exhausted_in_ns=0,
            earliest_in_ns=0,
            latest_in_ns=0,
            probability_60s=1.0,
            rate_per_s=arrivals.mean,
            hit_rate=hit_rate,
            brier_60s=brier_60s,
        )
    mean, spread = arrivals.mean, arrivals.deviation
    coming = arrivals.returning(window, now_ns) if window.rate.window_ns > 2 * SECOND else []
    horizon_ns = window.rate.window_ns
    middle = _runs_out(window.free, mean, 0.0, arrivals.trend, coming, horizon_ns)
    early = late = middle
    if middle is not None:
        early = _runs_out(window.free, mean, _Z80 * spread, arrivals.trend, coming, horizon_ns)
        late = _runs_out(window.free, mean, -_Z80 * spread, arrivals.trend, coming, horizon_ns)
        late = horizon_ns if late is None else late
    return WindowForecast(
        exhausted_in_ns=middle,
        earliest_in_ns=early,
        latest_in_ns=late,
        probability_60s=_within_a_minute(window, mean, spread, coming),
        rate_per_s=mean,
        hit_rate=hit_rate,
        brier_60s=brier_60s,
    )


def _runs_out(
    free: int, mean: float, spread: float, trend: float, coming: Sequence[tuple[int, float]], horizon_ns: int
) -> int | None:
    """Nanoseconds until `free` permits are gone; `spread` above (or below) the mean rate."""
    if _arrived(mean, spread, trend, horizon_ns / SECOND) < free and spread >= 0:
        return None
    begin_ns, back = 0, 0.0
    for end_ns, amount in [*coming, (horizon_ns, 0.0)]:
        # Until the next permit comes back the room stays as it is: the last instant before it is the likeliest.
        end_ns = min(end_ns, horizon_ns)  # noqa: PLW2901 - what comes back later than we look
        if end_ns > begin_ns and _arrived(mean, spread, trend, end_ns / SECOND) >= free + back:
            return _crossing(free + back, mean, spread, trend, begin_ns, end_ns)
        begin_ns, back = end_ns, back + amount
    return None


def _crossing(room: float, mean: float, spread: float, trend: float, low_ns: int, high_ns: int) -> int:
    """When `room` requests have come, to a tenth of a second."""
    while high_ns - low_ns > SECOND // 10:
        middle_ns = (low_ns + high_ns) // 2
        if _arrived(mean, spread, trend, middle_ns / SECOND) >= room:
            high_ns = middle_ns
        else:
            low_ns = middle_ns
    return high_ns


def _arrived(mean: float, spread: float, trend: float, seconds: float) -> float:
    """Requests within `seconds`: the trend is trusted for a quarter of a minute only.

    Asked dozens of times for each window and second; spelt out, because min() and max() would be most of it.
    """
    trusted_s = seconds if seconds < 15.0 else 15.0  # noqa: FURB136 - see above
    expected = mean * seconds + trend * trusted_s * (seconds - trusted_s / 2)
    expected = expected if expected > 0.0 else 0.0  # noqa: FURB136 - see above
    return expected + spread * math.sqrt(seconds + seconds * seconds / 20)


def _within_a_minute(window: WindowHeadroom, mean: float, spread: float, coming: Sequence[tuple[int, float]]) -> float:
    """The chance that the permits are gone at some step of the next 60 s."""
    chance, back, returned = 0.0, 0.0, 0
    span_ns = min(MINUTE, window.rate.window_ns)
    for part in range(1, 13):
        at_ns = span_ns * part // 12
        while returned < len(coming) and coming[returned][0] <= at_ns:
            back += coming[returned][1]
            returned += 1
        chance = max(chance, _chance(window.free + back, mean, spread, at_ns / SECOND))
    if window.rate.window_ns < MINUTE:
        # Several windows pass within the minute, each with a chance of its own.
        each = _chance(window.rate.permits, mean, spread, window.rate.window_ns / SECOND)
        chance = 1.0 - (1.0 - chance) * (1.0 - each) ** (MINUTE / window.rate.window_ns - 1)
    return chance


def _chance(room: float, mean: float, spread: float, seconds: float) -> float:
    """The chance that `room` requests come within `seconds`."""
    deviation = spread * math.sqrt(seconds + seconds * seconds / 20)
    # Half a request below: arrivals are whole, and the permit that is the last one already counts.
    return 0.5 * math.erfc((room - 0.5 - mean * seconds) / deviation / math.sqrt(2))


@dataclass(slots=True)
class _Pending:
    made_ns: int
    earliest_ns: int
    latest_ns: int


class ForecastScorer:
    """Forecasts against what happened. One key per window; a score is None until enough forecasts came due.

    The interval: one forecast at a time is kept until its window ran out, or its interval passed without. It hit when
    the window ran out inside the interval. Forecasts are sampled like that, not counted at each look: neighbours in
    time are almost the same forecast.
    The chance to run out within 60 s is taken every ten seconds and scored by Brier: the mean squared distance from
    what happened, 0 perfect, 0.25 for one who always says one half.
    """

    __slots__ = ("_brier", "_chances", "_hits", "_pending")

    enough_hits = 10
    enough_chances = 30
    every_ns = 10 * SECOND

    def __init__(self) -> None:
        self._pending: dict[tuple[str, int], _Pending] = {}
        self._hits: dict[tuple[str, int], deque[bool]] = {}
        self._chances: dict[tuple[str, int], deque[tuple[int, float]]] = {}
        self._brier: dict[tuple[str, int], deque[float]] = {}

    def made(self, now_ns: int, key: tuple[str, int], forecast: WindowForecast, *, exhausted: bool) -> None:
        """Take a forecast to score. One made while the window is exhausted tells nothing and is left out."""
        if exhausted:
            return
        if key not in self._pending and forecast.earliest_in_ns is not None and forecast.latest_in_ns is not None:
            # A look comes about once a second: the window cannot be seen to run out more finely than that.
            self._pending[key] = _Pending(
                now_ns, now_ns + forecast.earliest_in_ns - SECOND, now_ns + forecast.latest_in_ns + SECOND
            )
        chances = self._chances.setdefault(key, deque(maxlen=16))
        if not chances or now_ns - chances[-1][0] >= self.every_ns:
            chances.append((now_ns, forecast.probability_60s))

    def seen(self, now_ns: int, key: tuple[str, int], *, exhausted: bool) -> None:
        """Tell how the window stands now, before the next forecast is made."""
        pending = self._pending.get(key)
        if pending is not None and (exhausted or now_ns > pending.latest_ns):
            hit = exhausted and pending.earliest_ns <= now_ns <= pending.latest_ns
            self._hits.setdefault(key, deque(maxlen=200)).append(hit)
            del self._pending[key]
        chances = self._chances.get(key)
        if not chances:
            return
        brier = self._brier.setdefault(key, deque(maxlen=200))
        if exhausted:
            brier.extend((1.0 - chance) ** 2 for _, chance in chances)
            chances.clear()
        while chances and now_ns - chances[0][0] > MINUTE:
            brier.append(chances.popleft()[1] ** 2)

    def hit_rate(self, key: tuple[str, int]) -> float | None:
        hits = self._hits.get(key, ())
        return sum(hits) / len(hits) if len(hits) >= self.enough_hits else None

    def brier_60s(self, key: tuple[str, int]) -> float | None:
        scores = self._brier.get(key, ())
        return sum(scores) / len(scores) if len(scores) >= self.enough_chances else None
