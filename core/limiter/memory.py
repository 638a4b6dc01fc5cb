"""The counts, in this process."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from ..models import Budget
from .backend import Lane, Plan
from .window import SlidingWindows

__all__ = ["MemoryBackend"]


class MemoryBackend:
    """Every budget's windows in memory; a take is as atomic as one step of the event loop."""

    found = False
    relook_ns = 0

    def __init__(self) -> None:
        self.windows: Plan = ()
        self._serial = 0
        self._open_block = nullcontext()  # in one process nobody else can change them, and nothing is written back
        self._held: list[tuple[int, int, Plan, int]] = []  # until when, serial, where, how much

    def open(self, budgets: Sequence[Budget], now_ns: int) -> None:  # noqa: ARG002 - counts that start empty need no time
        self.windows = tuple(SlidingWindows(budget) for budget in budgets)

    def close(self) -> None:
        pass

    def lane(self, plan: Plan) -> Lane:
        def hold(cost: int, until_ns: int, ticket: int) -> None:  # noqa: ARG001 - in one process counts are enough
            self._serial += 1
            heapq.heappush(self._held, (until_ns, self._serial, plan, cost))

        first, *others = plan
        if not others:
            return Lane(first.take, first.settle, first.give_back, hold)
        several = _Several(plan)
        return Lane(several.take, several.settle, several.give_back, hold)

    def refresh(self, now_ns: int) -> bool:
        changed = False
        while self._held and self._held[0][0] <= now_ns:
            until_ns, _, plan, cost = heapq.heappop(self._held)
            for windows in plan:
                windows.settle(cost, until_ns)
            changed = True
        return changed

    def next_change_ns(self) -> int | None:
        return self._held[0][0] if self._held else None

    def editing(self, now_ns: int) -> AbstractContextManager[None]:
        self.refresh(now_ns)
        return self._open_block


class _Several:
    """Several budgets as one: all of them, or none."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def take(self, cost: int, now_ns: int) -> int:
        for taken, windows in enumerate(self._plan):
            if windows.take(cost, now_ns) < 0:
                for before in self._plan[:taken]:
                    before.give_back(cost)
                return -1
        return 0

    def settle(self, cost: int, anchor_ns: int, ticket: int) -> None:
        for windows in self._plan:
            windows.settle(cost, anchor_ns, ticket)

    def give_back(self, cost: int, ticket: int) -> None:
        for windows in self._plan:
            windows.give_back(cost, ticket)
