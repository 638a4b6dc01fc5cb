"""Small policies around reads: how much may be asked twice. Orders are never asked twice; see the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..clock import MILLISECOND, SECOND
from ..models import WindowRoom
from .load import PeakEwma

__all__ = ["HedgePolicy", "RetryBudget"]


class RetryBudget:
    """Retries are at most a share of the requests, so that a failing broker does not double the load on the others.

    Each request earns `share` of a retry, each retry spends a whole one; at most `most` are saved up, and `reserve` a
    second may always be made, so that a quiet client is not left without any.

    >>> budget = RetryBudget(share=0.1, reserve_per_s=0.0)
    >>> for _ in range(20):
    ...     budget.asked()
    >>> [budget.try_retry(0) for _ in range(3)]
    [True, True, False]
    """

    __slots__ = ("_most", "_reserve_per_s", "_reserved_at_ns", "_saved", "_share")

    def __init__(self, *, share: float = 0.1, most: float = 10.0, reserve_per_s: float = 0.2) -> None:
        if not 0 <= share <= 1:
            message = f"the share of retries is {share!r}; give a number from 0 to 1"
            raise ValueError(message)
        self._share = share
        self._most = most
        self._reserve_per_s = reserve_per_s
        self._saved = 0.0
        self._reserved_at_ns: int | None = None

    def asked(self) -> None:
        """A request was made for the first time."""
        self._saved = min(self._most, self._saved + self._share)

    def try_retry(self, now_ns: int) -> bool:
        """Whether one more retry is within the budget; it is then spent."""
        if self._saved >= 1.0 - 1e-9:
            self._saved -= 1.0
            return True
        if self._reserve_per_s <= 0:
            return False
        if self._reserved_at_ns is not None and now_ns - self._reserved_at_ns < SECOND / self._reserve_per_s:
            return False
        self._reserved_at_ns = now_ns
        return True


class HedgePolicy:
    """When a read that is still unanswered may go to a second broker too. No operation is hedged unless asked for.

    After the p95 of the operation's answers there: then about one read in twenty goes out twice. Only where both
    brokers have half of every window free: a hedge must not take a permit that somebody waits for.
    """

    __slots__ = ("_least", "operations")

    def __init__(self, operations: Iterable[str] = (), *, least_answers: int = 50) -> None:
        self.operations = frozenset(operations)
        self._least = least_answers

    def after_ns(self, operation: str, answers: PeakEwma | None, rooms: Sequence[WindowRoom]) -> int | None:
        """Nanoseconds to wait for a broker that answers so and has such rooms; None when no second one may be asked."""
        if operation not in self.operations or answers is None or answers.count < self._least:
            return None
        if not self.has_room(rooms):
            return None
        return max(10 * MILLISECOND, answers.quantile_ns(0.95) + MILLISECOND)  # longer than the p95, not as long

    @staticmethod
    def has_room(rooms: Sequence[WindowRoom]) -> bool:
        """Whether half of every window is free."""
        return all(2 * free >= permits for free, permits, _ in rooms)
