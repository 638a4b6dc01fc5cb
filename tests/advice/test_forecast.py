"""When a window runs out, and how often the forecast was right."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.advice import Forecaster, ForecastScorer
from core.clock import MINUTE, SECOND
from core.models import Rate, WindowForecast, WindowHeadroom


class Exact:
    """A window that counts for real: requests at their times, each back one window later."""

    def __init__(self, permits: int, window_ns: int) -> None:
        self.rate = Rate(permits, window_ns)
        self.sent: deque[int] = deque()
        self.now_ns = 0

    def take(self, at_ns: int) -> bool:
        self.look(at_ns)
        if len(self.sent) >= self.rate.permits:
            return False
        self.sent.append(at_ns)
        return True

    def look(self, at_ns: int) -> WindowHeadroom:
        while self.sent and self.sent[0] + self.rate.window_ns <= at_ns:
            self.sent.popleft()
        used = len(self.sent)
        return WindowHeadroom(
            budget="all",
            rate=self.rate,
            used=used,
            in_flight=0,
            free=self.rate.permits - used,
            next_free_in_ns=0,
            all_free_in_ns=self.sent[-1] + self.rate.window_ns - at_ns if used else 0,
            soft=False,
        )


def told(forecaster: Forecaster, now_ns: int, window: WindowHeadroom) -> WindowForecast:
    """What it says once it has seen this window."""
    forecaster.observe(now_ns, [window])
    (forecast,) = forecaster.latest(now_ns).values()
    return forecast


def steady(permits: int, window_ns: int, per_s: float, for_s: int) -> WindowForecast:
    """The forecast after `for_s` seconds of evenly spaced requests."""
    window, forecaster = Exact(permits, window_ns), Forecaster()
    sent = 0
    for second in range(for_s + 1):
        while sent < second * per_s:
            window.take(round(sent / per_s * SECOND))
            sent += 1
        forecast = told(forecaster, second * SECOND, window.look(second * SECOND))
    return forecast


@pytest.mark.parametrize(
    ("permits", "per_s", "after_s", "runs_out_s"),
    [(200, 5.0, 20, 20), (200, 5.0, 30, 10), (300, 10.0, 20, 10), (200, 3.0, 30, None), (200, 3.0, 90, None)],
)
def test_it_says_when_a_steady_rate_empties_the_window(
    permits: int, per_s: float, after_s: int, runs_out_s: float | None
) -> None:
    forecast = steady(permits, MINUTE, per_s, after_s)
    if runs_out_s is None:
        assert forecast.exhausted_in_ns is None
        assert forecast.earliest_in_ns is None
        return
    assert forecast.exhausted_in_ns is not None
    assert forecast.earliest_in_ns is not None
    assert forecast.latest_in_ns is not None
    assert forecast.exhausted_in_ns / SECOND == pytest.approx(runs_out_s, abs=2.5)
    assert forecast.earliest_in_ns <= forecast.exhausted_in_ns <= forecast.latest_in_ns
    assert forecast.probability_60s > 0.9


@pytest.mark.parametrize(("per_s", "low", "high"), [(0.5, 0.0, 0.02), (2.0, 0.0, 0.2), (6.0, 0.9, 1.0)])
def test_the_chance_of_the_next_minute_follows_the_rate(per_s: float, low: float, high: float) -> None:
    assert low <= steady(200, MINUTE, per_s, 25).probability_60s <= high


def test_between_two_looks_the_same_instant_is_told_from_later() -> None:
    window, forecaster = Exact(200, MINUTE), Forecaster()
    assert forecaster.latest(0) == {}
    for second in range(20):
        for _ in range(5):
            window.take(second * SECOND)
        seen = told(forecaster, second * SECOND, window.look(second * SECOND))
    (later,) = forecaster.latest(19 * SECOND + SECOND // 2).values()
    assert seen.exhausted_in_ns is not None
    assert later.exhausted_in_ns == seen.exhausted_in_ns - SECOND // 2
    (past,) = forecaster.latest(500 * SECOND).values()
    assert past.exhausted_in_ns == 0


def test_an_empty_window_is_empty_now() -> None:
    forecast = steady(20, MINUTE, 5.0, 10)
    assert (forecast.exhausted_in_ns, forecast.probability_60s) == (0, 1.0)


def test_permits_that_come_back_in_time_keep_it_from_running_out() -> None:
    """150 requests at once, then 3 a second: 50 are left for the next 50 s, and 150 come back after 60."""
    window, forecaster = Exact(200, MINUTE), Forecaster()
    forecaster.observe(0, [window.look(0)])
    out = []
    for second in range(1, 110):
        for _ in range(150 if second == 1 else 3):
            window.take(second * SECOND)
        out.append(told(forecaster, second * SECOND, window.look(second * SECOND)).exhausted_in_ns)
    assert out[8] is not None
    assert out[70:] == [None] * len(out[70:])


def test_random_arrivals_fall_into_the_interval_about_as_often_as_it_promises() -> None:
    rng, forecaster = random.Random(5), Forecaster()
    window = Exact(200, MINUTE)
    at_s = 0.0
    for second in range(1, 9000):
        while at_s < second:
            busy = 4.5 if second % 600 < 300 else 1.5
            window.take(round(at_s * SECOND))
            at_s += rng.expovariate(busy)
        seen = told(forecaster, second * SECOND, window.look(second * SECOND))
    assert seen.hit_rate is not None
    assert seen.brier_60s is not None
    assert 0.5 <= seen.hit_rate <= 1.0
    assert seen.brier_60s < 0.2  # one who always says one half gets 0.25


def forecast(earliest_s: float, latest_s: float, chance: float = 0.5) -> WindowForecast:
    return WindowForecast(
        exhausted_in_ns=round((earliest_s + latest_s) / 2 * SECOND),
        earliest_in_ns=round(earliest_s * SECOND),
        latest_in_ns=round(latest_s * SECOND),
        probability_60s=chance,
    )


KEY = ("all", MINUTE)


def score(scorer: ForecastScorer, *, runs_out_after_s: int | None, times: int) -> None:
    """`times` forecasts of 10 to 20 s, each followed by what happened."""
    at_s = 0
    for _ in range(times):
        scorer.made(at_s * SECOND, KEY, forecast(10, 20), exhausted=False)
        for step in range(1, 30):
            scorer.seen((at_s + step) * SECOND, KEY, exhausted=step == runs_out_after_s)
        at_s += 100


@pytest.mark.parametrize(
    ("runs_out_after_s", "hits"), [(10, 1.0), (15, 1.0), (20, 1.0), (3, 0.0), (27, 0.0), (None, 0.0)]
)
def test_a_forecast_hits_when_the_window_runs_out_within_its_interval(
    runs_out_after_s: int | None, hits: float
) -> None:
    scorer = ForecastScorer()
    score(scorer, runs_out_after_s=runs_out_after_s, times=20)
    assert scorer.hit_rate(KEY) == hits


def test_there_is_no_score_until_enough_forecasts_came_due() -> None:
    scorer = ForecastScorer()
    score(scorer, runs_out_after_s=15, times=9)
    assert scorer.hit_rate(KEY) is None
    assert scorer.brier_60s(KEY) is None
    assert ForecastScorer().hit_rate(KEY) is None


@pytest.mark.parametrize(
    ("chance", "happens", "brier"), [(1.0, True, 0.0), (0.0, True, 1.0), (0.0, False, 0.0), (0.5, False, 0.25)]
)
def test_the_brier_score_is_the_squared_distance_from_what_happened(chance: float, happens: bool, brier: float) -> None:
    scorer = ForecastScorer()
    for turn in range(40):
        at_s = turn * 100
        scorer.made(at_s * SECOND, KEY, forecast(10, 20, chance), exhausted=False)
        scorer.seen((at_s + 30) * SECOND, KEY, exhausted=happens)
        scorer.seen((at_s + 70) * SECOND, KEY, exhausted=False)
    assert scorer.brier_60s(KEY) == pytest.approx(brier)


def test_a_forecast_made_while_the_window_is_empty_is_not_scored() -> None:
    scorer = ForecastScorer()
    for turn in range(100):
        scorer.made(turn * 100 * SECOND, KEY, forecast(0, 0, 1.0), exhausted=True)
        scorer.seen((turn * 100 + 1) * SECOND, KEY, exhausted=True)
    assert scorer.hit_rate(KEY) is None
    assert scorer.brier_60s(KEY) is None


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), min_size=1, max_size=60), st.integers(1, 50))
def test_any_history_gives_an_ordered_interval_and_a_chance_in_0_to_1(
    story: list[tuple[int, int]], permits: int
) -> None:
    window, forecaster, at_s = Exact(permits, MINUTE), Forecaster(), 0
    for count, gap_s in story:
        at_s += gap_s
        for _ in range(count):
            window.take(at_s * SECOND)
        seen = told(forecaster, at_s * SECOND, window.look(at_s * SECOND))
        assert 0 <= seen.probability_60s <= 1
        assert seen.rate_per_s >= 0
        if seen.exhausted_in_ns is not None:
            assert seen.earliest_in_ns is not None
            assert seen.latest_in_ns is not None
            assert 0 <= seen.earliest_in_ns <= seen.exhausted_in_ns <= seen.latest_in_ns <= MINUTE
