"""Who is next: priority, then arrival, and nobody for ever behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.limiter.line import OVERTAKEN_MOST, Waiter, WaitingLine
from core.models import Priority


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def waiter(loop: asyncio.AbstractEventLoop, priority: int, category: str = "a", cost: int = 1) -> Waiter:
    return Waiter(category, cost, priority, granted=loop.create_future())


def test_cancel_before_modify_before_place_before_reads_then_by_arrival(loop: asyncio.AbstractEventLoop) -> None:
    line = WaitingLine(["a", "b"])
    joined = [waiter(loop, priority, category) for category in "ab" for priority in (3, 2, 1, 0, 3)]
    for one in joined:
        line.join(one)
    served = []
    while (one := line.next()) is not None:
        line.serve(one)
        served.append(one)
    assert served == sorted(joined, key=lambda one: (one.priority, one.serial))
    assert len(line) == 0


def test_who_leaves_is_out_wherever_it_stood(loop: asyncio.AbstractEventLoop) -> None:
    line = WaitingLine(["a"])
    first, middle, last = (waiter(loop, Priority.READ, cost=cost) for cost in (1, 2, 4))
    for one in (first, middle, last):
        line.join(one)
    assert line.cost_ahead("a", Priority.READ) == 7
    assert line.leave(middle)
    assert not line.leave(middle)
    assert (len(line), line.cost_ahead("a", Priority.READ), line.cost_ahead("a", Priority.PLACE)) == (2, 5, 0)
    assert list(line) == [first, last]


def test_a_read_is_served_after_a_stated_number_of_orders_that_came_later(loop: asyncio.AbstractEventLoop) -> None:
    line = WaitingLine(["orders", "reads"])
    read = waiter(loop, Priority.READ, "reads")
    line.join(read)
    served = []
    while read not in served:
        line.join(waiter(loop, Priority.PLACE, "orders"))
        turn = line.next()
        assert turn is not None
        line.serve(turn)
        served.append(turn)
    assert len(served) == OVERTAKEN_MOST + 1


def test_cancels_are_held_up_by_nobody(loop: asyncio.AbstractEventLoop) -> None:
    line = WaitingLine(["orders", "reads"])
    line.join(waiter(loop, Priority.READ, "reads"))
    for _ in range(3 * OVERTAKEN_MOST):
        cancel = waiter(loop, Priority.CANCEL, "orders")
        line.join(cancel)
        assert line.next() is cancel
        line.serve(cancel)


def test_the_oldest_that_cannot_go_does_not_turn_priorities_over(loop: asyncio.AbstractEventLoop) -> None:
    line = WaitingLine(["orders", "reads"])
    line.join(waiter(loop, Priority.READ, "reads"))
    for _ in range(OVERTAKEN_MOST + 1):
        line.join(place := waiter(loop, Priority.PLACE, "orders"))
        line.join(modify := waiter(loop, Priority.MODIFY, "orders"))
        assert line.next({"reads"}) is modify
        line.serve(modify)
    assert place.priority == Priority.PLACE


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("join"), st.integers(0, 3), st.sampled_from("ab")),
            st.tuples(st.just("serve"), st.just(0), st.just("a")),
            st.tuples(st.just("leave"), st.integers(0, 20), st.just("a")),
        ),
        max_size=120,
    )
)
def test_nobody_is_overtaken_beyond_the_bound_and_nobody_is_lost(
    loop: asyncio.AbstractEventLoop, steps: list[tuple[str, int, str]]
) -> None:
    line = WaitingLine(["a", "b"])
    inside: dict[int, Waiter] = {}
    grants_since: dict[int, int] = {}
    older_at_join: dict[int, int] = {}
    for step, number, category in steps:
        if step == "join":
            one = waiter(loop, number, category)
            line.join(one)
            older_at_join[one.serial] = len(inside)
            inside[one.serial] = one
            grants_since[one.serial] = 0
        elif step == "leave" and inside:
            one = inside.pop(sorted(inside)[number % len(inside)])
            assert line.leave(one)
        elif step == "serve" and (turn := line.next()) is not None:
            assert turn is inside[turn.serial]
            same = [one for one in inside.values() if one.category == turn.category and one.priority == turn.priority]
            assert min(one.serial for one in same) == turn.serial
            if any(one.priority == Priority.CANCEL for one in inside.values()):
                assert turn.priority == Priority.CANCEL
            line.serve(turn)
            del inside[turn.serial]
            if turn.priority != Priority.CANCEL:
                for serial in inside:
                    grants_since[serial] += 1
        assert len(line) == len(inside)
        for serial in inside:
            assert grants_since[serial] <= (older_at_join[serial] + 1) * (OVERTAKEN_MOST + 1)
