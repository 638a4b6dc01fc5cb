"""What the limits alone allow."""

from __future__ import annotations

from bisect import bisect_right
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import MILLISECOND, MINUTE, SECOND
from core.models import Budget, Category, Rate
from core.stress.bound import capacity_per_s, earliest_ns, limits_alone_ns

ORDERS, READS = frozenset({Category.ORDERS}), frozenset({Category.READS})
FYERS = (Budget("all", (Rate(10, SECOND), Rate(200, MINUTE))), Budget("orders", (Rate(10, SECOND),), ORDERS))
UPSTOX = (
    Budget("orders", (Rate(10, SECOND), Rate(500, MINUTE)), ORDERS),
    Budget("reads", (Rate(50, SECOND), Rate(500, MINUTE)), READS),
)


@pytest.mark.parametrize(
    ("horizon_ns", "passed"),
    [(0, 10), (SECOND - 1, 10), (SECOND, 20), (19 * SECOND, 200), (MINUTE - 1, 200), (MINUTE, 210)],
)
def test_a_budget_passes_a_full_window_at_its_start_and_one_more_when_it_has_gone_by(
    horizon_ns: int, passed: int
) -> None:
    assert bisect_right(earliest_ns(FYERS[0], 1000), horizon_ns) == passed


@pytest.mark.parametrize("horizon_ns", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("rates", [(Rate(1, 2),), (Rate(2, 3),), (Rate(3, 5), Rate(1, 2)), (Rate(3, 4), Rate(2, 2))])
def test_no_schedule_passes_more_than_the_greedy_one(rates: tuple[Rate, ...], horizon_ns: int) -> None:
    best = 0
    # Every way of sending 0..3 requests at each instant; no rate above lets more than 3 go at once.
    for counts in product(range(4), repeat=horizon_ns + 1):
        times = [at_ns for at_ns, count in enumerate(counts) for _ in range(count)]
        if all(sum(a <= t < a + rate.window_ns for t in times) <= rate.permits for rate in rates for a in times):
            best = max(best, len(times))
    assert bisect_right(earliest_ns(Budget("all", rates), 100), horizon_ns) == best


@pytest.mark.parametrize(
    ("demand", "seconds"),
    [
        ({Category.ORDERS: 20}, 0),
        ({Category.ORDERS: 21}, 1),
        ({Category.READS: 60}, 0),
        ({Category.READS: 61}, 1),
        # 100 users x (5 reads, 1 order): 8 s of 60 reads and 10 orders of Upstox, the rest through Fyers.
        ({Category.ORDERS: 100, Category.READS: 500}, 8),
        ({Category.ORDERS: 0, Category.READS: 0}, 0),
    ],
)
def test_two_brokers_together_need_the_time_that_their_budgets_leave_them(
    demand: dict[Category, int], seconds: int
) -> None:
    assert limits_alone_ns({"fyers": FYERS, "upstox": UPSTOX}, demand) == seconds * SECOND


@pytest.mark.parametrize(
    ("reads", "milliseconds"),
    [
        (0, 0),
        (10, 50),  # all of them at the quicker one
        (11, 100),
        (60, 100),
        (70, 1050),
        (71, 1100),
    ],
)
def test_the_last_answers_are_part_of_the_time(reads: int, milliseconds: int) -> None:
    answer_ns = {"fyers": 50 * MILLISECOND, "upstox": 100 * MILLISECOND}
    taken_ns = limits_alone_ns({"fyers": FYERS, "upstox": UPSTOX}, {Category.READS: reads}, answer_ns)
    assert taken_ns == milliseconds * MILLISECOND


@settings(max_examples=25)
@given(st.integers(0, 120), st.integers(0, 120))
def test_more_demand_never_takes_less_time(orders: int, reads: int) -> None:
    brokers = {"fyers": FYERS, "upstox": UPSTOX}
    less = limits_alone_ns(brokers, {Category.ORDERS: orders, Category.READS: reads})
    more = limits_alone_ns(brokers, {Category.ORDERS: orders + 1, Category.READS: reads + 1})
    assert less <= more


def test_the_steady_capacity_is_that_of_the_tightest_window() -> None:
    assert capacity_per_s(FYERS, Category.READS) == pytest.approx(200 / 60)
    assert capacity_per_s(UPSTOX, Category.ORDERS) == pytest.approx(500 / 60)
