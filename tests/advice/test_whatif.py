"""What would happen, as a fluid."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.advice.whatif
from core.advice import predictive_analytics, what_if
from core.clock import DAY, HOUR, MINUTE, SECOND
from tests.advice.desk import window


def test_the_documented_example_holds() -> None:
    result = doctest.testmod(core.advice.whatif)
    assert (result.failed, result.attempted > 3) == (0, True)


def test_shares_follow_the_free_headroom() -> None:
    told = what_if({"a": [window(300, MINUTE)], "b": [window(100, MINUTE)]}, 4.0)
    assert told.shares == pytest.approx({"a": 0.75, "b": 0.25})
    assert told.served == pytest.approx(1.0)


def test_a_drained_broker_carries_nothing_and_the_others_all() -> None:
    told = what_if({"a": [window(300, MINUTE)], "b": [window(300, MINUTE)]}, 4.0, drained=["a"])
    assert told.shares == {"a": 0.0, "b": 1.0}
    assert told.exhausted_in_ns["a"] is None


@pytest.mark.parametrize(
    ("permits", "gone", "per_s", "exhausted_s"),
    [(120, 0, 1.0, None), (120, 0, 4.0, 30), (120, 60, 4.0, None), (120, 90, 10.0, 3), (120, 120, 1.0, 1)],
)
def test_exhaustion_comes_when_the_permits_are_gone(
    permits: int, gone: int, per_s: float, exhausted_s: float | None
) -> None:
    told = what_if({"a": [window(permits, MINUTE, permits - gone)]}, per_s, horizon_ns=MINUTE, steps=60)
    found_ns = told.exhausted_in_ns["a"]
    if exhausted_s is None and gone == 0:
        assert found_ns is None
    elif exhausted_s is not None:
        assert found_ns is not None
        assert abs(found_ns / SECOND - exhausted_s) <= 2
    else:  # sixty come back within half a minute, 120 are taken
        assert found_ns == pytest.approx(27 * SECOND, abs=5 * SECOND)


def test_a_window_gives_back_what_it_took_one_window_later() -> None:
    told = what_if({"a": [window(60, MINUTE)]}, 2.0, horizon_ns=4 * MINUTE, steps=240)
    assert told.served == pytest.approx(0.5, abs=0.05)


def test_a_cap_halves_what_a_broker_takes_of_an_overload() -> None:
    full = what_if({"a": [window(100, SECOND)]}, 100.0)
    half = what_if({"a": [window(100, SECOND)]}, 100.0, caps={"a": 0.5})
    assert (full.served, half.served) == pytest.approx((1.0, 0.5))


def test_fixed_shares_are_kept_and_what_does_not_fit_is_not_served() -> None:
    windows = {"a": [window(10, SECOND)], "b": [window(100, SECOND)]}
    told = what_if(windows, 40.0, fixed={"a": 0.5, "b": 0.5})
    assert told.served == pytest.approx(0.75)
    assert what_if(windows, 40.0).served == pytest.approx(1.0)


@pytest.mark.parametrize("demand", [-1.0, math.nan])
def test_a_demand_that_is_none_is_refused(demand: float) -> None:
    with pytest.raises(ValueError, match="demand_per_s"):
        what_if({}, demand)


windows = st.builds(
    lambda permits, length_ns, gone: window(permits, length_ns, max(0, permits - gone)),
    st.integers(1, 500),
    st.sampled_from([SECOND, 10 * SECOND, MINUTE, HOUR, DAY]),
    st.integers(0, 500),
)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(windows, min_size=1, max_size=3), max_size=4),
    st.floats(0, 500),
    st.sets(st.sampled_from("abcd")),
)
def test_shares_sum_to_one_and_nothing_is_served_beyond_demand_or_by_the_drained(
    brokers: dict[str, list[object]], demand: float, drained: set[str]
) -> None:
    told = what_if(brokers, demand, drained=drained, steps=20)  # type: ignore[arg-type]
    assert 0 <= told.served <= 1
    assert sum(told.shares.values()) == pytest.approx(1.0) or not any(told.shares.values())
    assert all(told.shares[name] == 0 for name in drained & set(brokers))
    assert all(fullest >= 0 for fullest in told.fullest.values())


def test_the_analytics_name_the_window_that_runs_out_first() -> None:
    told = predictive_analytics(
        (window(10, SECOND), window(200, MINUTE, 50, runs_out_s=14), window(2000, DAY, 9, runs_out_s=3))
    )
    assert told["exhausted_window"] == "all 2000/day"
    assert told["exhausted_in_s"] == 3.0
    assert told["windows"]["all 200/min"]["usage_percentage"] == 75.0
    assert told["windows"]["all 200/min"]["forecast_hit_rate"] is None
    assert predictive_analytics(())["exhausted_in_s"] is None
