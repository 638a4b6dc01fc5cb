"""When work arrives."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core.clock import SECOND
from core.stress.arrivals import Arrivals, Burst, ClosedUsers, Constant, Poisson, Ramp, Replay, Spike

RATES = st.floats(0.5, 500)
DURATIONS = st.floats(0.5, 5)


def offsets(arrivals: Constant | Ramp | Spike | Poisson | Burst | Replay, seed: int = 0) -> list[int]:
    return list(arrivals.offsets_ns(Random(seed)))


def test_a_constant_rate_is_spaced_evenly_and_never_drifts() -> None:
    times = offsets(Constant(rate=3, duration_s=100))
    assert len(times) == 300
    assert times[3] == SECOND
    assert times[297] == 99 * SECOND  # an interval of 333 333 333 ns added 297 times would be 99 ns early
    assert {b - a for a, b in pairwise(times)} <= {333_333_333, 333_333_334}


@given(RATES, RATES, DURATIONS)
def test_a_ramp_offers_the_area_under_its_line(from_rate: float, to_rate: float, duration_s: float) -> None:
    ramp = Ramp(from_rate=from_rate, to_rate=to_rate, duration_s=duration_s)
    times = offsets(ramp)
    assert len(times) == ramp.planned
    assert times == sorted(times)
    assert all(0 <= at_ns <= duration_s * SECOND + 1000 for at_ns in times)
    # Until half time the mean rate is that of the first quarter point.
    half_ns = duration_s * SECOND / 2
    expected = (from_rate + (from_rate + to_rate) / 2) / 2 * duration_s / 2
    assert abs(sum(at_ns < half_ns for at_ns in times) - expected) <= 1.5


def test_the_rate_of_a_ramp_is_known_at_every_instant() -> None:
    ramp = Ramp(from_rate=10, to_rate=30, duration_s=10)
    assert [ramp.rate_at(at_s * SECOND) for at_s in (0, 5, 10, 99)] == [10, 20, 30, 30]


def test_a_spike_is_its_base_rate_with_a_peak_inside() -> None:
    times = offsets(Spike(rate=10, peak=100, at_s=2, for_s=1, duration_s=5))
    per_second = [sum(second * SECOND <= at_ns < (second + 1) * SECOND for at_ns in times) for second in range(5)]
    assert per_second == [10, 10, 100, 10, 10]
    with pytest.raises(ValidationError, match="after the run"):
        Spike(rate=10, peak=100, at_s=4.5, for_s=1, duration_s=5)


@given(st.integers(0, 2**32), RATES)
def test_poisson_arrivals_are_those_of_their_seed(seed: int, rate: float) -> None:
    poisson = Poisson(rate=rate, duration_s=5)
    times = offsets(poisson, seed)
    assert times == offsets(poisson, seed)
    assert times == sorted(times)
    assert all(0 <= at_ns < 5 * SECOND for at_ns in times)


def test_poisson_arrivals_have_the_mean_and_the_spread_of_their_name() -> None:
    counts = [len(offsets(Poisson(rate=100, duration_s=1), seed)) for seed in range(400)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert 98 <= mean <= 102
    assert 75 <= variance <= 130  # an even schedule would have none


def test_a_burst_arrives_at_one_instant() -> None:
    assert offsets(Burst(count=4)) == [0, 0, 0, 0]


def test_a_replay_keeps_its_recorded_times_and_may_be_sped_up() -> None:
    assert offsets(Replay(at_s=(0.0, 0.5, 4.0), speed=2)) == [0, SECOND // 4, 2 * SECOND]


@pytest.mark.parametrize(
    ("at_s", "reason"), [((1.0, 0.5), "back in time"), ((-1.0,), "negative"), ((0.0, float("nan")), "no number")]
)
def test_a_replay_that_is_no_timeline_is_refused(at_s: tuple[float, ...], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Replay(at_s=at_s)


def test_users_come_evenly_over_their_ramp_and_think_around_their_mean() -> None:
    users = ClosedUsers(users=4, ramp_s=2, think_s=1)
    assert list(users.starts_ns()) == [0, SECOND // 2, SECOND, SECOND * 3 // 2]
    pauses = [users.think_ns(Random(seed)) for seed in range(200)]
    assert all(SECOND // 2 <= pause <= SECOND * 3 // 2 for pause in pauses)
    assert ClosedUsers(users=1).think_ns(Random(0)) == 0


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_rate_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Arrivals).validate_python({"kind": "constant", "rate": bad, "duration_s": 1})
