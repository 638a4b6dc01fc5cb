"""The referee: exact windows over arrivals, and Fyers' block for the day."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brokers.simulator.referee import IST_OFFSET_NS, Breach, DayBlock, Referee
from core.clock import DAY, HOUR, MINUTE, SECOND
from core.models import Budget, Rate

EDGES = st.lists(st.sampled_from([0, 1, SECOND // 2, SECOND - 1, SECOND, 3 * SECOND - 1]), max_size=60)


@given(gaps_ns=EDGES)
def test_it_refuses_exactly_the_arrivals_that_would_overfill_a_window(gaps_ns: list[int]) -> None:
    rates = (Rate(3, SECOND), Rate(5, 3 * SECOND))
    referee = Referee("r", [Budget("all", rates)])
    accepted: list[int] = []
    for now_ns in accumulate(gaps_ns):
        full = [r for r in rates if sum(now_ns - r.window_ns < t <= now_ns for t in accepted) >= r.permits]
        breach = referee.arrive("reads", now_ns)
        assert (breach is not None) == bool(full)
        if breach is None:
            accepted.append(now_ns)
        else:
            assert breach.rate in full
    report = referee.report()
    assert (report.accepted, report.refused) == (len(accepted), len(gaps_ns) - len(accepted))
    for (text, fullest, limit), rate in zip(report.fullest, rates, strict=True):
        assert (text, limit) == (str(rate), rate.permits)
        assert fullest == max((sum(t - rate.window_ns < a <= t for a in accepted) for t in accepted), default=0)


@given(gaps_ns=EDGES)
def test_after_the_time_it_names_a_refused_request_fits(gaps_ns: list[int]) -> None:
    referee = Referee("r", [Budget("all", (Rate(3, SECOND), Rate(5, 3 * SECOND)))])
    for now_ns in accumulate(gaps_ns):
        breach = referee.arrive("reads", now_ns)
        if breach is not None:
            assert breach.retry_in_ns > 0
            assert referee.arrive("reads", now_ns + breach.retry_in_ns) is None
            return


def test_a_refusal_by_one_budget_uses_up_nothing_in_the_other() -> None:
    referee = Referee(
        "fyers",
        [Budget("all", (Rate(4, MINUTE),)), Budget("orders", (Rate(1, MINUTE),), frozenset({"orders"}))],
    )
    assert referee.arrive("orders", 0) is None
    assert referee.arrive("orders", 1) == Breach("orders", Rate(1, MINUTE), MINUTE - 1)
    assert [referee.arrive("reads", now_ns) for now_ns in (2, 3, 4)] == [None, None, None]
    assert referee.arrive("reads", 5) is not None
    assert referee.report().fullest == (("all 4/min", 4, 4), ("orders 1/min", 1, 1))
    assert referee.report().breached == 2


def test_where_refusals_count_knocking_on_keeps_the_door_shut() -> None:
    patient = Referee("r", [Budget("all", (Rate(1, SECOND),))])
    knocking = Referee("r", [Budget("all", (Rate(1, SECOND),))], count_refused=True)
    for now_ns in range(0, 3 * SECOND + 1, SECOND // 2):
        patient.arrive("reads", now_ns)
        knocking.arrive("reads", now_ns)
    assert (patient.report().accepted, knocking.report().accepted) == (4, 1)


def test_a_request_that_costs_several_takes_all_of_them_or_none() -> None:
    referee = Referee("r", [Budget("all", (Rate(10, SECOND),))])
    assert referee.arrive("orders", 0, cost=8) is None
    assert referee.arrive("orders", 1, cost=3) is not None
    assert referee.arrive("orders", 1, cost=2) is None
    refused = referee.arrive("orders", 2, cost=11)
    assert refused is not None
    assert refused.retry_in_ns == SECOND


def test_a_tag_seen_twice_is_reported_and_no_tag_is_no_tag() -> None:
    referee = Referee("r", [Budget("all", (Rate(10, SECOND),))])
    for tag in ("a", "b", "a", "", "", "a"):
        referee.saw_tag(tag)
    assert referee.report().duplicate_tags == ("a",)


MIDNIGHT_IST_NS = 20_000 * DAY - IST_OFFSET_NS
PER_MINUTE = Breach("all", Rate(200, MINUTE), 1)


def test_the_fourth_breached_minute_blocks_until_midnight_ist() -> None:
    block, start_ns = DayBlock(), MIDNIGHT_IST_NS + 10 * HOUR
    for minute in range(3):
        for second in (1, 2, 3):
            block.breached(PER_MINUTE, start_ns + minute * MINUTE + second * SECOND)
            assert block.blocked_for_ns(start_ns + minute * MINUTE + second * SECOND) == 0
    fourth_ns = start_ns + 5 * MINUTE
    block.breached(PER_MINUTE, fourth_ns)
    assert block.blocked_for_ns(fourth_ns) == 14 * HOUR - 5 * MINUTE
    assert block.blocked_for_ns(MIDNIGHT_IST_NS + DAY - 1) == 1
    assert block.blocked_for_ns(MIDNIGHT_IST_NS + DAY) == 0
    assert block.breaches == 0


def test_read_strictly_every_refused_call_is_a_breach() -> None:
    block = DayBlock(strict=True)
    for call in range(4):
        assert block.blocked_for_ns(MIDNIGHT_IST_NS + call) == 0
        block.breached(PER_MINUTE, MIDNIGHT_IST_NS + call)
    assert block.blocked_for_ns(MIDNIGHT_IST_NS + 4) == DAY - 4


@pytest.mark.parametrize("rate", [Rate(10, SECOND), Rate(100_000, DAY)])
def test_breaches_of_other_windows_do_not_block(rate: Rate) -> None:
    block = DayBlock(strict=True)
    for call in range(20):
        block.breached(Breach("all", rate, 1), MIDNIGHT_IST_NS + call)
    assert block.blocked_for_ns(MIDNIGHT_IST_NS + 20) == 0
