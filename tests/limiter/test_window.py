"""The arithmetic, to the nanosecond: when a place is free, and that the one look agrees with counting by hand."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY, SECOND, VirtualClock
from core.limiter import NEVER, EnhancedRateLimiter, SlidingWindows, stretch
from core.models import Budget, Rate

W = 1_000_000  # a short window: stretched by 201 ns
STRETCHED = stretch(W)


def windows_of(*rates: tuple[int, int]) -> SlidingWindows:
    return SlidingWindows(Budget("all", tuple(Rate(*rate) for rate in rates)))


@pytest.mark.parametrize(
    ("window_ns", "stretched_ns"),
    [(1, 2), (4_999, 5_000), (5_000, 5_002), (SECOND, 1_000_200_001), (DAY, 86_417_280_000_001)],
)
def test_a_window_is_stretched_by_200_ppm_and_at_least_1_ns(window_ns: int, stretched_ns: int) -> None:
    assert stretch(window_ns) == stretched_ns


@pytest.mark.parametrize(
    ("now_ns", "granted"),
    [(0, False), (1, False), (W, False), (STRETCHED - 1, False), (STRETCHED, True), (2 * W, True)],
)
def test_a_place_is_free_again_exactly_one_stretched_window_after_the_answer(now_ns: int, granted: bool) -> None:
    windows = windows_of((1, W))
    assert windows.take(1, 0) == 0
    windows.settle(1, 0)
    assert windows.free_at(1, 0) == STRETCHED
    assert windows.fits(1, now_ns) is granted
    assert (windows.take(1, now_ns) == 0) is granted


def test_what_is_in_flight_keeps_its_place_however_long_it_takes() -> None:
    windows = windows_of((1, W))
    assert windows.take(1, 0) == 0
    assert windows.take(1, 1000 * W) == -1
    assert windows.free_at(1, 1000 * W) is None
    windows.settle(1, 1000 * W)
    assert windows.free_at(1, 1000 * W) == 1000 * W + STRETCHED


def test_a_take_that_is_given_back_has_never_been() -> None:
    windows = windows_of((2, W))
    windows.take(2, 0)
    windows.give_back(1)
    assert windows.take(1, 0) == 0
    assert windows.take(1, 0) == -1


def test_every_window_must_have_room() -> None:
    windows = windows_of((2, W), (3, 10 * W))
    for now_ns in (0, STRETCHED):
        while windows.take(1, now_ns) == 0:
            windows.settle(1, now_ns)
    assert windows.in_flight == 0
    assert windows.younger(NEVER) == 3
    assert windows.free_at(1, STRETCHED) == stretch(10 * W)


@pytest.mark.parametrize("used_before", range(12))
def test_a_short_window_is_kept_wherever_its_burst_stands_in_the_ring(used_before: int) -> None:
    windows = windows_of((3, W), (9, 10 * W))
    now_ns = 0
    for _ in range(used_before):
        assert windows.take(1, now_ns) == 0
        windows.settle(1, now_ns)
        now_ns += 3 * W
    for _ in range(5):
        now_ns += 20 * W
        assert [windows.take(1, now_ns) for _ in range(5)] == [0, 0, 0, -1, -1]
        windows.settle(3, now_ns)
        assert windows.take(1, now_ns) == -1


def test_an_answer_out_of_order_is_anchored_no_earlier_than_the_last() -> None:
    windows = windows_of((2, W))
    windows.take(2, 0)
    windows.settle(1, 500)
    windows.settle(1, 100)
    assert windows.free_at(2, 500) == 500 + STRETCHED


def test_what_is_recorded_above_the_limit_counts() -> None:
    windows = windows_of((2, W))
    for now_ns in (1, 2, 3, 4):
        windows.add(1, now_ns)
    assert windows.free_at(1, 4) == 3 + STRETCHED
    assert windows.free_at(2, 4) == 4 + STRETCHED


def test_a_closed_gate_lets_nothing_through_until_its_instant() -> None:
    windows = windows_of((2, W))
    windows.shut_until(70)
    assert windows.take(1, 69) == -1
    assert windows.free_at(1, 5) == 70
    assert windows.take(1, 70) == 0


def test_a_full_limiter_takes_at_most_8_5_bytes_for_each_permit_of_the_largest_limit() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        limiter = EnhancedRateLimiter(10, 200, None, 50_000, clock=VirtualClock())
        for _ in range(50_000):
            limiter.record_request()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert limiter.headroom()[2].used == 50_000
    assert taken <= 8.5 * 50_000


class ListModel:
    """The same rules by brute force: every take is kept for ever, every decision counts them all."""

    def __init__(self, *rates: tuple[int, int]) -> None:
        self.rates = [(permits, window_ns + window_ns * 200 // 1_000_000 + 1) for permits, window_ns in rates]
        self.in_flight = 0
        self.shut_until = 0
        self.anchors: list[int] = []

    def used(self, now_ns: int, span_ns: int) -> int:
        return sum(anchor + span_ns > now_ns for anchor in self.anchors)

    def take(self, cost: int, now_ns: int) -> bool:
        if now_ns < self.shut_until:
            return False
        if any(self.used(now_ns, span) + self.in_flight + cost > permits for permits, span in self.rates):
            return False
        self.in_flight += cost
        return True

    def settle(self, cost: int, at_ns: int) -> None:
        self.in_flight -= cost
        self.anchors += [max([at_ns, *self.anchors])] * cost


GAPS = st.sampled_from([0, 1, W // 2, W - 1, W, STRETCHED - 1, STRETCHED, STRETCHED + 1, 3 * W, 10 * W])
STEPS = st.lists(
    st.tuples(
        GAPS, st.sampled_from(["take", "take", "settle", "late", "give_back", "record", "shut"]), st.integers(1, 3)
    ),
    max_size=60,
)
RATES = st.sampled_from(
    [
        ((3, W), (5, 4 * W), (7, 9 * W)),
        ((9, W), (24, 4 * W), (25, 9 * W)),  # room to look several places ahead
        ((12, 3 * W),),
        ((5, W), (4, 4 * W)),  # the longer window is the smaller one
    ]
)


@given(RATES, STEPS)
def test_one_look_in_the_ring_decides_as_counting_every_request_does(
    rates: tuple[tuple[int, int], ...], steps: list[tuple[int, str, int]]
) -> None:
    windows, model = windows_of(*rates), ListModel(*rates)
    taken: list[int] = []
    now_ns = 0
    for gap_ns, step, cost in steps:
        now_ns += gap_ns
        if step == "take":
            assert windows.fits(cost, now_ns) == (windows.free_at(cost, now_ns) == now_ns)
            granted = windows.take(cost, now_ns) == 0
            assert granted == model.take(cost, now_ns)
            if granted:
                taken.append(cost)
        elif step == "shut":
            windows.shut_until(now_ns + W)
            model.shut_until = now_ns + W
        elif step == "record":
            windows.add(1, now_ns)
            model.in_flight += 1
            model.settle(1, now_ns)
        elif taken:
            first = taken.pop(0)
            if step == "give_back":
                windows.give_back(first)
                model.in_flight -= first
            else:
                at_ns = now_ns - W // 3 if step == "late" else now_ns
                windows.settle(first, at_ns)
                model.settle(first, at_ns)
        assert windows.in_flight == model.in_flight
        for (permits, span_ns), (limit, its_span_ns) in zip(model.rates, windows.spans, strict=True):
            assert its_span_ns == span_ns
            assert min(windows.younger(now_ns - span_ns), limit) == min(model.used(now_ns, span_ns), permits)


@given(STEPS, st.integers(1, 3))
def test_free_at_is_the_first_instant_at_which_it_fits(steps: list[tuple[int, str, int]], cost: int) -> None:
    windows = windows_of((3, W), (5, 4 * W))
    now_ns = 0
    for gap_ns, step, much in steps:
        now_ns += gap_ns
        if step == "take" and windows.take(much, now_ns) == 0:
            windows.settle(much, now_ns)
    at_ns = windows.free_at(cost, now_ns)
    assert at_ns is not None
    assert windows.fits(cost, at_ns)
    assert at_ns == now_ns or not windows.fits(cost, at_ns - 1)


@given(STEPS, st.integers(1, 12))
def test_the_earliest_instant_is_never_later_than_what_a_run_achieves(
    steps: list[tuple[int, str, int]], wanted: int
) -> None:
    windows = windows_of((3, W), (5, 4 * W))
    now_ns = 0
    for gap_ns, step, much in steps:
        now_ns += gap_ns
        if step == "take" and windows.take(much, now_ns) == 0:
            windows.settle(much, now_ns)
    promised_ns = windows.earliest_ns(wanted, now_ns)
    for _ in range(wanted):
        free_ns = windows.free_at(1, now_ns)
        assert free_ns is not None
        now_ns = free_ns
        assert windows.take(1, now_ns) == 0
        windows.settle(1, now_ns)
    assert promised_ns <= now_ns


@given(st.lists(GAPS, max_size=40), st.lists(st.integers(0, 12 * W), max_size=20))
def test_filling_in_old_anchors_keeps_the_order_and_the_latest(gaps: list[int], old: list[int]) -> None:
    windows = windows_of((3, W), (7, 9 * W))
    now_ns, anchors = 0, []
    for gap_ns in gaps:
        now_ns += gap_ns
        windows.add(1, now_ns)
        anchors.append(now_ns)
    windows.fill((anchor, 1) for anchor in old)
    expected = sorted([*anchors[-7:], *old])[-7:]
    for than_ns in [-1, *expected]:
        assert windows.younger(than_ns) == sum(anchor > than_ns for anchor in expected)


@given(st.lists(GAPS, max_size=40), st.integers(1, 12), st.data())
def test_counting_up_to_so_many_of_the_newest_is_counting_all_of_them_and_stopping_there(
    gaps: list[int], places: int, data: st.DataObject
) -> None:
    windows, now_ns = windows_of((places, W)), 0
    anchors = []
    for gap_ns in gaps:
        now_ns += gap_ns
        windows.add(1, now_ns)
        anchors.append(now_ns)
    most = data.draw(st.integers(0, places))
    than_ns = data.draw(st.sampled_from([NEVER, *anchors, *(anchor - 1 for anchor in anchors)]))
    younger = sum(anchor > than_ns for anchor in anchors[-places:])
    assert windows.younger(than_ns) == younger
    assert windows.younger(than_ns, most) == min(younger, most)


def test_a_clock_that_goes_backwards_frees_nothing_early() -> None:
    windows = windows_of((2, W))
    for now_ns in (5 * W, 2 * W):
        assert windows.take(1, now_ns) == 0
        windows.settle(1, now_ns)
    assert windows.take(1, 4 * W) == -1
    assert windows.take(1, 5 * W + STRETCHED - 1) == -1
    assert windows.take(1, 5 * W + STRETCHED) == 0
