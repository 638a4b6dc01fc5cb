"""Who is next: the order of those who wait. No clock, no await.

Cancel goes before modify, modify before place, place before reads, and within one priority in the order of arrival.
Nobody starves: after `OVERTAKEN_MOST` grants in a row that went past the one who has waited longest, the turn is that
one's. So a waiter with k older ones is served after at most (k + 1) * (OVERTAKEN_MOST + 1) grants, cancels not counted.
Cancels are never held up and never counted: each needs an order that was placed before it, in its own turn, so they
cannot fill a limit for long.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ..models import Priority

if TYPE_CHECKING:
    from .permit import Permit

__all__ = ["OVERTAKEN_MOST", "Waiter", "WaitingLine"]

OVERTAKEN_MOST: Final = 9


class Waiter:
    """One who waits. `serial` is its place in the order of arrival, given by the line."""

    __slots__ = ("category", "cost", "deadline_ns", "granted", "priority", "serial", "since_ns")

    def __init__(
        self,
        category: str,
        cost: int,
        priority: int,
        *,
        since_ns: int = 0,
        deadline_ns: int | None = None,
        granted: asyncio.Future[Permit],
    ) -> None:
        self.category = category
        self.cost = cost
        self.priority = priority
        self.since_ns = since_ns
        self.deadline_ns = deadline_ns
        self.granted = granted
        self.serial = -1


class WaitingLine:
    """Those who wait, by category and priority; to join, to leave and to be next cost the same at any length."""

    def __init__(self, categories: Iterable[str]) -> None:
        # OrderedDict, not dict: taking the first of a dict again and again steps over every one taken before.
        self._queues: dict[str, tuple[OrderedDict[int, Waiter], ...]] = {
            category: tuple(OrderedDict() for _ in Priority) for category in categories
        }
        self._cost: dict[str, list[int]] = {category: [0] * len(Priority) for category in self._queues}
        self._serial = 0
        self._length = 0
        self._overtakes = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Waiter]:
        """Everyone, in the order of arrival within one category and priority."""
        return (waiter for queues in self._queues.values() for queue in queues for waiter in queue.values())

    def join(self, waiter: Waiter) -> None:
        self._serial += 1
        waiter.serial = self._serial
        self._queues[waiter.category][waiter.priority][waiter.serial] = waiter
        self._cost[waiter.category][waiter.priority] += waiter.cost
        self._length += 1

    def leave(self, waiter: Waiter) -> bool:
        """Take `waiter` out, wherever it stands; False when it is not in the line."""
        if self._queues[waiter.category][waiter.priority].pop(waiter.serial, None) is None:
            return False
        self._cost[waiter.category][waiter.priority] -= waiter.cost
        self._length -= 1
        return True

    def serve(self, waiter: Waiter) -> None:
        """Take out the one whose turn it is, and remember whom it went past."""
        oldest = self._oldest()
        self.leave(waiter)
        if oldest is None or oldest is waiter:
            self._overtakes = 0
        elif waiter.priority != Priority.CANCEL:
            self._overtakes += 1

    def waits(self, category: str) -> bool:
        """Whether anyone waits in `category`."""
        return any(self._queues[category])

    def cost_ahead(self, category: str, priority: int) -> int:
        """The permits wanted by those of `category` who go before a newcomer of `priority` for certain."""
        return sum(self._cost[category][: priority + 1])

    def next(self, without: Collection[str] = ()) -> Waiter | None:
        """Whose turn it is among the categories that are not in `without`."""
        best: Waiter | None = None
        for category, queues in self._queues.items():
            if category in without:
                continue
            for queue in queues:
                if queue:
                    first = queue[next(iter(queue))]
                    if best is None or (first.priority, first.serial) < (best.priority, best.serial):
                        best = first
                    break
        if best is None or best.priority == Priority.CANCEL or self._overtakes < OVERTAKEN_MOST:
            return best
        oldest = self._oldest()
        return best if oldest is None or oldest.category in without else oldest

    def _oldest(self) -> Waiter | None:
        firsts = [queue[next(iter(queue))] for queues in self._queues.values() for queue in queues if queue]
        return min(firsts, key=lambda waiter: waiter.serial, default=None)
