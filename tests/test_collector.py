"""The collector of a long run: seldom, undone afterwards, and still there for what libraries leave in cycles."""

from __future__ import annotations

import gc
import weakref

from core.collector import settled


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_a_long_run_is_looked_at_seldom_and_the_settings_come_back() -> None:
    before = gc.get_threshold()
    with settled():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_what_lies_in_a_cycle_goes_before_a_hundred_thousand_more_have_come() -> None:
    with settled():
        gone: list[weakref.ref[Knot]] = []
        knot = weakref.ref(Knot(), gone.append)  # to look at it would hold it, just when 3.12 and later collect
        kept: list[list[int]] = []
        while not gone and len(kept) < 100_000:
            kept.append([])
    assert gone == [knot]
