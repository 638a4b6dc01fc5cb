"""What is learned from a broker's answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.balancer import BrokerLoad, LatencyMeter, PeakEwma
from core.clock import MILLISECOND, MINUTE, SECOND


def test_a_step_up_is_seen_within_a_few_answers_and_a_step_down_takes_longer() -> None:
    ewma = PeakEwma()
    for turn in range(50):
        ewma.record(50 * MILLISECOND, 0, turn * SECOND // 10)
    up = 0
    while ewma.value_ns < 250 * MILLISECOND:
        ewma.record(500 * MILLISECOND, 0, 5 * SECOND)
        up += 1
    down = 0
    while ewma.value_ns > 100 * MILLISECOND:
        ewma.record(50 * MILLISECOND, 0, 5 * SECOND)
        down += 1
    assert up <= 3
    assert up < down <= 20


def test_one_late_answer_does_not_count_for_all() -> None:
    ewma = PeakEwma()
    for turn in range(50):
        ewma.record(50 * MILLISECOND, 0, turn * SECOND // 10)
    ewma.record(SECOND, 0, 5 * SECOND)
    assert ewma.value_ns < SECOND // 2


@pytest.mark.parametrize(("grows", "low", "high"), [(True, 2.0, 4.5), (False, 0.9, 1.5)])
def test_it_learns_whether_latency_grows_with_load(grows: bool, low: float, high: float) -> None:
    ewma = PeakEwma()
    for turn in range(400):
        in_flight = turn % 8
        latency_ns = 20 * MILLISECOND * (in_flight + 1) if grows else 50 * MILLISECOND
        ewma.record(latency_ns, in_flight, turn * 50 * MILLISECOND)
    calm_s, busy_s = ewma.expected_s(1), ewma.expected_s(7)
    assert low <= busy_s / calm_s <= high


@given(st.lists(st.tuples(st.integers(0, 30 * SECOND), st.integers(0, 50), st.integers(0, MINUTE)), min_size=1))
def test_the_estimate_stays_within_what_was_seen(samples: list[tuple[int, int, int]]) -> None:
    ewma, at_ns = PeakEwma(), 0
    for latency_ns, in_flight, gap_ns in samples:
        at_ns += gap_ns
        ewma.record(latency_ns, in_flight, at_ns)
    seen = [latency_ns for latency_ns, _, _ in samples]
    assert min(seen) - 1 <= ewma.value_ns <= max(seen) + 1
    assert ewma.expected_s(0) >= 0


def test_the_snapshot_holds_quantiles_and_one_mean_a_second() -> None:
    meter = LatencyMeter()
    for second, latency_ms in enumerate([100, 200, 300]):
        for _ in range(10):
            meter.record(latency_ms * MILLISECOND, second * SECOND)
    meter.record(900 * MILLISECOND, 5 * SECOND)
    snapshot = meter.snapshot(6 * SECOND)
    assert snapshot.count == 31
    assert snapshot.p50_ns == 200 * MILLISECOND
    assert snapshot.p99_ns == snapshot.max_ns == 900 * MILLISECOND
    assert [mean // MILLISECOND for mean in snapshot.history_ns] == [100, 200, 300, 0, 0, 900]


def test_the_history_is_bounded_however_long_nothing_came() -> None:
    meter = LatencyMeter()
    meter.record(MILLISECOND, 0)
    assert meter.snapshot(10_000 * SECOND).history_ns == (0,) * 60


def test_an_end_belongs_to_the_request_that_left_then() -> None:
    load = BrokerLoad()
    for at_ms in (0, 100, 200):
        load.started(at_ms * MILLISECOND, orders=False)
    load.ended(200 * MILLISECOND, 300 * MILLISECOND, orders=False, heard=True)  # that of 100 ms
    assert load.sent_ns == ([0, 200 * MILLISECOND], [])
    assert load.oldest_ns(300 * MILLISECOND) == 300 * MILLISECOND
    assert load.in_flight == 2


def test_the_given_up_still_end_and_no_longer_count_as_stalled() -> None:
    load = BrokerLoad()
    for at_ms in range(3):
        load.started(at_ms * MILLISECOND, orders=at_ms == 1)
    assert load.stalled(10 * SECOND) == 3
    load.give_up()
    assert load.stalled(10 * SECOND) == 0
    load.started(20 * SECOND, orders=False)
    assert load.in_flight == 4
    for at_ms in range(3):
        load.ended(30 * SECOND - at_ms * MILLISECOND, 30 * SECOND, orders=at_ms == 1, heard=False)
    assert load.sent_ns == ([20 * SECOND], [])
    assert load.in_flight == 1


def test_silence_is_counted_from_what_left_after_the_last_that_was_answered() -> None:
    load = BrokerLoad()
    for at_ms in (0, 100, 200):
        load.started(at_ms * MILLISECOND, orders=False)
    assert load.silent_ns(300 * MILLISECOND) == 300 * MILLISECOND
    load.ended(200 * MILLISECOND, 300 * MILLISECOND, orders=False, heard=True)  # that of 100 ms: the first is just late
    assert load.silent_ns(300 * MILLISECOND) == 100 * MILLISECOND
    load.ended(150 * MILLISECOND, 350 * MILLISECOND, orders=False, heard=False)  # a time-out is no answer
    assert load.silent_ns(350 * MILLISECOND) == 0
    load.started(400 * MILLISECOND, orders=True)
    load.started(450 * MILLISECOND, orders=False)
    load.ended(50 * MILLISECOND, 500 * MILLISECOND, orders=False, heard=True)
    assert load.silent_ns(500 * MILLISECOND) == 100 * MILLISECOND, "an answered read says nothing of orders"


def answering(usual_ms: int, tail_ms: int) -> BrokerLoad:
    load = BrokerLoad()
    for number in range(256):
        load.answered(
            "get_orders", (tail_ms if number % 50 == 0 else usual_ms) * MILLISECOND, number * 100 * MILLISECOND
        )
    return load


@pytest.mark.parametrize(
    ("usual_ms", "tail_ms", "unanswered", "calm_ms", "suspect_ms"),
    [
        (40, 100, 1, 110, 150),  # one alone: beyond the tail
        (40, 100, 3, 70, 90),  # three at once: sooner
        (400, 1000, 1, 1100, 1500),  # a slow broker has more time
        (2, 4, 3, 79, 81),  # no quick one is suspected for what our own loop may be late
    ],
)
def test_silence_is_suspect_by_the_brokers_own_answers_and_the_sooner_the_more_are_late(
    usual_ms: int, tail_ms: int, unanswered: int, calm_ms: int, suspect_ms: int
) -> None:
    load, at_ns = answering(usual_ms, tail_ms), 60 * SECOND
    assert load.suspicion(at_ns) == 0.0
    for _ in range(unanswered):
        load.started(at_ns, orders=False)
    assert load.suspicion(at_ns + calm_ms * MILLISECOND) < 1.0 <= load.suspicion(at_ns + suspect_ms * MILLISECOND)


def test_of_a_broker_that_is_hardly_known_nothing_is_suspected_for_seconds() -> None:
    load = BrokerLoad()
    load.started(0, orders=True)
    assert load.suspicion(SECOND) < 1.0 <= load.suspicion(2 * SECOND)


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, SECOND), st.integers(0, 3 * SECOND)),
        max_size=100,
    )
)
def test_in_flight_is_never_below_what_started_without_an_end(
    story: list[tuple[bool, bool, bool, int, int]],
) -> None:
    load, at_ns, open_, last_heard_ns = BrokerLoad(), 0, [0, 0], [-1, -1]
    for starts, orders, heard, gap_ns, latency_ns in story:
        at_ns += gap_ns
        if starts:
            load.started(at_ns, orders=orders)
            open_[orders] += 1
        else:
            load.ended(latency_ns, at_ns, orders=orders, heard=heard)
            if heard:
                last_heard_ns[orders] = max(last_heard_ns[orders], at_ns - latency_ns)
            open_[orders] = max(0, open_[orders] - 1)
        assert load.in_flight == load.unanswered == sum(open_)
        assert [len(sent_ns) for sent_ns in load.sent_ns] == open_
        assert all(sent_ns == sorted(sent_ns) for sent_ns in load.sent_ns)
        assert 0 <= load.silent_ns(at_ns) <= load.oldest_ns(at_ns)
        unheard = [left_ns for kind in (False, True) for left_ns in load.sent_ns[kind] if left_ns > last_heard_ns[kind]]
        assert load.silent_ns(at_ns) == at_ns - min([*unheard, at_ns])


def test_failures_fade_when_nothing_is_heard_of_the_broker() -> None:
    load = BrokerLoad()
    for _ in range(20):
        load.failed(0, lost=False)
    assert load.failures.at(0) > 0.8
    assert load.lost.at(0) == 0.0
    assert load.failures.at(15 * SECOND) == pytest.approx(load.failures.at(0) / 2.718, rel=0.01)
    load.recovered()
    assert load.failures.at(0) == 0.0
