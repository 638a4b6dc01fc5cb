"""Tags: the brokers' alphabet and length, never twice."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from core.clock import DAY, VirtualClock
from core.engine import TagMaker


class Constant(random.Random):
    """The worst generator: says the same thing for a while."""

    def __init__(self) -> None:
        super().__init__(0)
        self.calls = 0

    def getrandbits(self, k: int, /) -> int:
        self.calls += 1
        return (self.calls // 3) % (1 << k)


@given(st.lists(st.integers(-DAY, DAY), max_size=30))
def test_tags_are_19_letters_and_digits_and_differ_whatever_wall_clock_and_generator_do(jumps: list[int]) -> None:
    clock = VirtualClock()
    maker = TagMaker(clock=clock, rng=Constant())
    tags = []
    for jump_ns in jumps:
        tags += [maker.order_tag(), maker.order_tag(), maker.order_id()]
        clock.jump_epoch_ns(jump_ns)
    assert len(set(tags)) == len(tags)
    assert all(len(tag) == 19 and tag.isascii() and tag.isalnum() and tag == tag.lower() for tag in tags)


def test_two_makers_of_one_millisecond_make_different_tags() -> None:
    clock = VirtualClock()
    makers = [TagMaker(clock=clock, rng=random.Random(seed)) for seed in (1, 2)]
    tags = [maker.order_tag() for maker in makers for _ in range(1000)]
    assert len(set(tags)) == len(tags)


def test_later_tags_sort_later() -> None:
    clock = VirtualClock()
    maker = TagMaker(clock=clock, rng=random.Random(3))
    early = maker.order_tag()
    clock.jump_epoch_ns(DAY)
    assert maker.order_tag() > early
