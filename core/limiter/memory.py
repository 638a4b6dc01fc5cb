"""The counts, in this process."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..models import Budget
from .backend import Plan
from .window import SlidingWindows

__all__ = ["MemoryBackend"]


class MemoryBackend:
    """Every budget's windows in memory; a take is as atomic as one step of the event loop."""

    relook_ns = 0

    def __init__(self) -> None:
        self.windows: Plan = ()
        self._serial = 0
        self._held: list[tuple[int, int, Plan, int]] = []  # until when, serial, where, how much

    def open(self, budgets: Sequence[Budget], now_ns: int) -> None:  # noqa: ARG002 - counts that start empty need no time
        self.windows = tuple(SlidingWindows(budget) for budget in budgets)

    def close(self) -> None:
        pass

    def take(self, plan: Plan, cost: int, now_ns: int) -> int:
        if self._held:
            self.refresh(now_ns)
        for windows in plan:
            if not windows.fits(cost, now_ns):
                return -1
        for windows in plan:
            windows.in_flight += cost
        return 0

    def give_back(self, plan: Plan, cost: int, ticket: int) -> None:  # noqa: ARG002 - in one process counts are enough
        for windows in plan:
            windows.in_flight -= cost

    def settle(self, plan: Plan, cost: int, ticket: int, anchor_ns: int, now_ns: int) -> None:  # noqa: ARG002 - as above
        if self._held:
            self.refresh(now_ns)
        for windows in plan:
            windows.settle(cost, anchor_ns)

    def hold(self, plan: Plan, cost: int, ticket: int, until_ns: int) -> None:  # noqa: ARG002 - as above
        self._serial += 1
        heapq.heappush(self._held, (until_ns, self._serial, plan, cost))

    def refresh(self, now_ns: int) -> None:
        while self._held and self._held[0][0] <= now_ns:
            until_ns, _, plan, cost = heapq.heappop(self._held)
            for windows in plan:
                windows.settle(cost, until_ns)

    def next_change_ns(self) -> int | None:
        return self._held[0][0] if self._held else None

    @contextmanager
    def editing(self, now_ns: int) -> Iterator[None]:
        self.refresh(now_ns)
        yield
