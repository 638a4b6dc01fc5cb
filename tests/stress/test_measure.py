"""Histograms and timelines."""

from __future__ import annotations

import math

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import DAY, MICROSECOND, MILLISECOND, SECOND
from core.stress.measure import Histogram, Timeline

DURATIONS = st.integers(MICROSECOND, 60 * SECOND)


def filled(durations: list[int]) -> Histogram:
    histogram = Histogram()
    for duration_ns in durations:
        histogram.record(duration_ns)
    return histogram


@settings(max_examples=60)
@given(st.lists(DURATIONS, min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_that_of_the_sorted_records_to_a_thousandth(durations: list[int], share: float) -> None:
    histogram = filled(durations)
    exact = sorted(durations)[math.ceil(share * len(durations)) - 1]
    (measured,) = histogram.quantiles(share)
    assert abs(measured - exact) <= max(2 * MICROSECOND, exact * 0.001)
    assert histogram.max_ns == max(durations)


@settings(max_examples=60)
@given(st.lists(DURATIONS, min_size=1, max_size=60), st.sampled_from([0.5, 0.99]))
def test_the_interval_holds_its_quantile(durations: list[int], share: float) -> None:
    histogram = filled(durations)
    ((low, high),) = histogram.intervals(share)
    (middle,) = histogram.quantiles(share)
    assert low <= middle <= high


def test_the_interval_narrows_with_the_number_of_records() -> None:
    few, many = (filled([n * MILLISECOND for n in range(1, 101)] * times) for times in (1, 50))
    widths = [high - low for low, high in (*few.intervals(0.5), *many.intervals(0.5))]
    assert widths[1] < widths[0] / 3


@settings(max_examples=60)
@given(st.lists(DURATIONS, min_size=1, max_size=60))
def test_the_bars_hold_every_record_once_in_rising_order(durations: list[int]) -> None:
    bars = filled(durations).bars()
    assert sum(count for _, count in bars) == len(durations)
    assert [edge for edge, _ in bars] == sorted({edge for edge, _ in bars})


@settings(max_examples=60)
@given(st.lists(st.integers(-SECOND, 2 * DAY), min_size=1, max_size=60))
def test_a_record_lies_where_the_package_itself_would_put_it(durations: list[int]) -> None:
    ours, theirs = filled(durations).hdr, HdrHistogram(1, DAY // MICROSECOND, 3)
    for duration_ns in durations:
        assert theirs.record_value(min(DAY // MICROSECOND, max(1, duration_ns // MICROSECOND)))
    assert list(ours.counts) == list(theirs.counts)
    assert (ours.total_count, ours.min_value, ours.max_value) == (
        theirs.total_count,
        theirs.min_value,
        theirs.max_value,
    )
    assert ours.encode() == theirs.encode()


def test_every_record_is_in_the_figures_at_once_however_many_came_before_it() -> None:
    histogram, theirs = Histogram(), HdrHistogram(1, DAY // MICROSECOND, 3)
    for number in range(1, 1000):
        histogram.record(number * 77 * MICROSECOND)
        theirs.record_value(number * 77)
        if number % 9 == 0:  # now and then somebody looks, and most often nobody
            assert histogram.count == number
            assert histogram.max_ns == number * 77 * MICROSECOND
    assert histogram.total_ns == sum(range(1, 1000)) * 77 * MICROSECOND
    assert list(histogram.hdr.counts) == list(theirs.counts)


def test_what_no_histogram_can_hold_is_held_at_its_edges() -> None:
    histogram = filled([-5, 0, 3 * DAY])
    assert histogram.count == 3
    assert histogram.max_ns == 3 * DAY
    assert histogram.quantiles(0.1)[0] <= MICROSECOND


def test_an_empty_histogram_says_nothing_rather_than_failing() -> None:
    summary = Histogram().summary()
    assert summary["count"] == 0
    assert summary["p99_interval_ms"] == [0.0, 0.0]
    assert Histogram().bars() == ()


def test_each_second_of_a_timeline_is_one_row_also_when_nothing_happened() -> None:
    timeline = Timeline(start_ns=10 * SECOND)
    timeline.offered(10 * SECOND)
    timeline.ended(10 * SECOND + 5, 3 * MILLISECOND, failed=False)
    timeline.ended(10 * SECOND + 6, 9 * MILLISECOND, failed=True)
    timeline.offered(12 * SECOND + 1)
    timeline.ended(12 * SECOND + 2, MILLISECOND, failed=False)
    timeline.finish()
    assert [(row.offered, row.finished, row.failed) for row in timeline.rows()] == [(1, 2, 1), (0, 0, 0), (1, 1, 0)]
    assert timeline.rows()[0].p50_ns == 3 * MILLISECOND
    assert timeline.rows()[0].max_ns == timeline.rows()[0].p99_ns == 9 * MILLISECOND
    assert len(timeline.last(2)) == 2
