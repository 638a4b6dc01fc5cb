"""load_balance_efficiency: work done by the most that could have been done."""

from __future__ import annotations

import doctest
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.balancer.efficiency
from core.balancer import EfficiencyMeter, Room, most
from core.clock import MINUTE, SECOND
from core.models import Category

ORDERS, READS = Category.ORDERS, Category.READS


def everything(permits: int) -> Room:
    return Room({ORDERS: permits, READS: permits}, permits)


def test_the_documented_examples_hold() -> None:
    assert doctest.testmod(core.balancer.efficiency).failed == 0
    assert doctest.testmod(core.balancer.efficiency).attempted > 10


rooms = st.lists(
    st.builds(
        lambda orders, reads, together: Room({ORDERS: orders, READS: reads}, together),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 6),
    ),
    max_size=3,
)


@given(orders=st.integers(0, 6), reads=st.integers(0, 6), given_rooms=rooms)
def test_water_filling_equals_the_best_of_all_ways_to_place_the_demand(
    orders: int, reads: int, given_rooms: list[Room]
) -> None:
    ways: set[tuple[int, int]] = {(0, 0)}
    for room in given_rooms:
        can = [
            (o, r) for o, r in product(range(room.of[ORDERS] + 1), range(room.of[READS] + 1)) if o + r <= room.together
        ]
        ways = {(done_o + o, done_r + r) for done_o, done_r in ways for o, r in can}
    best = max(min(o, orders) + min(r, reads) for o, r in ways)
    assert most({ORDERS: orders, READS: reads}, given_rooms) == best


def one_slice(meter: EfficiencyMeter, at_s: int, rooms: dict[str, Room]) -> None:
    meter.tick(at_s * SECOND, rooms)


@pytest.mark.parametrize(
    ("asked", "routed", "free_elsewhere", "efficiency"),
    [
        (1, 1, 100, 1.0),  # low load
        (10, 10, 0, 1.0),  # all served
        (20, 10, 0, 1.0),  # overload: nothing could have been placed better
        (20, 10, 5, 10 / 15),
        (20, 10, 50, 10 / 20),
        (20, 0, 10, 0.0),
    ],
)
def test_it_is_what_was_done_by_what_could_have_been(
    asked: int, routed: int, free_elsewhere: int, efficiency: float
) -> None:
    meter = EfficiencyMeter()
    one_slice(meter, 0, {})
    for _ in range(asked):
        meter.asked(READS)
    for _ in range(routed):
        meter.routed(READS, "a")
    one_slice(meter, 1, {"a": everything(0), "b": everything(free_elsewhere)})
    assert meter.value == pytest.approx(efficiency)


def test_who_left_without_a_wait_counts_as_one_who_was_asked_and_left() -> None:
    told_twice, told_once = EfficiencyMeter(), EfficiencyMeter()
    for meter in (told_twice, told_once):
        one_slice(meter, 0, {})
        meter.asked(READS)
    told_twice.asked(READS)
    told_twice.routed(READS, "a")
    told_once.routed_at_once(READS, "a")
    for meter in (told_twice, told_once):
        one_slice(meter, 1, {"a": everything(0), "b": everything(5)})
    assert told_once.value == told_twice.value == 0.5


def test_it_is_none_until_something_was_asked() -> None:
    meter = EfficiencyMeter()
    assert meter.value is None
    for second in range(5):
        one_slice(meter, second, {"a": everything(10)})
    assert meter.value is None


def test_headroom_that_the_waiting_category_cannot_use_is_no_loss() -> None:
    meter = EfficiencyMeter()
    one_slice(meter, 0, {})
    meter.asked(ORDERS)
    one_slice(meter, 1, {"a": Room({ORDERS: 0, READS: 50}, 50)})
    assert meter.value is None


def test_a_request_that_gave_up_is_no_demand_any_more() -> None:
    meter = EfficiencyMeter()
    one_slice(meter, 0, {})
    meter.asked(READS)
    meter.gave_up(READS)
    one_slice(meter, 1, {"a": everything(10)})
    assert meter.value is None


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    meter = EfficiencyMeter()
    one_slice(meter, 0, {})
    meter.asked(READS)
    one_slice(meter, 1, {"a": everything(10)})
    assert meter.value == 0.0
    meter.routed(READS, "a")
    one_slice(meter, 2, {"a": everything(10)})
    assert meter.value == pytest.approx(0.5)
    for second in range(3, 62):
        one_slice(meter, second, {"a": everything(10)})
    assert meter.value == 1.0  # the missed chance of the first slice is out, the work of the second still in
    one_slice(meter, 2 + MINUTE // SECOND, {"a": everything(10)})
    assert meter.value is None


def test_a_broker_that_fell_ill_is_no_room_but_its_work_counts() -> None:
    meter = EfficiencyMeter()
    one_slice(meter, 0, {})
    for _ in range(3):
        meter.asked(READS)
    meter.routed(READS, "gone")
    one_slice(meter, 1, {"a": everything(0)})
    assert meter.value == 1.0


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "route", "give up", "tick"]),
        st.sampled_from([ORDERS, READS]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 20),
    ),
    max_size=200,
)


@given(steps)
def test_it_stays_in_0_to_1_over_any_history(story: list[tuple[str, str, str, int]]) -> None:
    meter, now_ns = EfficiencyMeter(), 0
    for what, category, name, number in story:
        if what == "ask":
            meter.asked(category, number)
        elif what == "route":
            meter.routed(category, name, number)
        elif what == "give up":
            meter.gave_up(category, number)
        else:
            now_ns += number * SECOND // 4
            meter.tick(now_ns, {"a": everything(number), "b": everything(3)})
        assert meter.value is None or 0.0 <= meter.value <= 1.0
