"""The broker's own count: exact windows over the times at which requests ARRIVE.

It judges what the limiter promised, so it shares no code with it: plain queues of arrival times, one for each rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ...clock import DAY, HOUR, MINUTE
from ...models import Budget, Rate, RefereeReport

__all__ = ["IST_OFFSET_NS", "Breach", "DayBlock", "Referee"]

IST_OFFSET_NS: Final = 5 * HOUR + 30 * MINUTE


@dataclass(frozen=True, slots=True)
class Breach:
    """A refused arrival: the window it would have overfilled, and when that window has room again."""

    budget: str
    rate: Rate
    retry_in_ns: int


class _Window:
    """One rate of a budget. `arrivals` are the accepted ones of (now - window, now], oldest first."""

    __slots__ = ("arrivals", "budget", "fullest", "permits", "rate", "refused", "window_ns")

    def __init__(self, budget: Budget, rate: Rate) -> None:
        self.budget = budget
        self.rate = rate
        self.permits = rate.permits
        self.window_ns = rate.window_ns
        self.arrivals: deque[int] = deque()
        self.fullest = 0
        self.refused = 0

    def retry_in_ns(self, now_ns: int, cost: int) -> int:
        """From now until `cost` more would fit; the whole window when they never do."""
        leaving = len(self.arrivals) + cost - self.permits
        if leaving > len(self.arrivals):
            return self.window_ns
        return self.arrivals[leaving - 1] + self.window_ns - now_ns


class Referee:
    """Counts the arrivals of one account against `budgets` and says no where a broker would.

    An arrival that is refused uses nothing up, unless `count_refused` is set: brokers do not say which they do. With
    it, a caller that goes on knocking stays locked out.
    """

    def __init__(self, name: str, budgets: Iterable[Budget], *, count_refused: bool = False) -> None:
        self.name = name
        self.budgets = tuple(budgets)
        self.accepted = 0
        self.refused = 0
        self._count_refused = count_refused
        self._tags: set[str] = set()
        self._twice: dict[str, None] = {}
        self._windows = tuple(_Window(budget, rate) for budget in self.budgets for rate in budget.rates)
        self._concerned: dict[str, tuple[_Window, ...]] = {}  # by category

    def arrive(self, category: str, now_ns: int, *, cost: int = 1) -> Breach | None:
        """Judge one request that arrives now; None when it may pass. Times must not go back.

        The breach named is the one that lasts longest, because that is when trying again makes sense.
        """
        concerned = self._concerned.get(category)
        if concerned is None:
            concerned = self._concerned[category] = tuple(w for w in self._windows if category in w.budget.categories)
        breach: Breach | None = None
        for window in concerned:
            arrivals, since_ns = window.arrivals, now_ns - window.window_ns
            while arrivals and arrivals[0] <= since_ns:
                arrivals.popleft()
            if len(arrivals) + cost > window.permits:
                window.refused += 1
                retry_in_ns = window.retry_in_ns(now_ns, cost)
                if breach is None or retry_in_ns > breach.retry_in_ns:
                    breach = Breach(window.budget.name, window.rate, retry_in_ns)
        if breach is None or self._count_refused:
            counted = (now_ns,) * cost
            for window in concerned:
                arrivals = window.arrivals
                arrivals += counted
                if len(arrivals) > window.fullest:  # noqa: PLR1730 - for every arrival; max() costs five times as much
                    window.fullest = len(arrivals)
        if breach is None:
            self.accepted += 1
        else:
            self.refused += 1
        return breach

    def saw_tag(self, tag: str) -> None:
        """Note the tag of an order that was accepted: no tag may ever be seen twice."""
        if tag:
            if tag in self._tags:
                self._twice[tag] = None
            self._tags.add(tag)

    def forget_tags(self, tags: Iterable[str]) -> None:
        """Those of orders that have left the book; what was seen twice stays."""
        self._tags.difference_update(tag for tag in tags if tag not in self._twice)

    def report(self) -> RefereeReport:
        """What was seen so far."""
        windows = [
            (f"{window.budget.name} {window.rate}" if len(self.budgets) > 1 else str(window.rate), window)
            for window in self._windows
        ]
        return RefereeReport(
            name=self.name,
            accepted=self.accepted,
            refused=self.refused,
            fullest=tuple((text, window.fullest, window.permits) for text, window in windows),
            duplicate_tags=tuple(self._twice),
            breached=sum(1 for _, window in windows if window.refused),
        )


class DayBlock:
    """Fyers' penalty: more than three minutes of a day above the per-minute limit, and the user is out for the day.

    Source: myapi.fyers.in/docsv3, "User blocking", read January 2026. What counts as once is not said there; here a
    minute of the wall clock, from midnight IST, with at least one request refused by the per-minute limit counts once.
    `strict` counts every such refusal instead. The day ends at midnight IST.
    """

    def __init__(self, *, strict: bool = False, breaches_allowed: int = 3) -> None:
        self._strict = strict
        self._allowed = breaches_allowed
        self._day = -1
        self._minute = -1
        self.breaches = 0

    def breached(self, breach: Breach, epoch_ns: int) -> None:
        """Take note of a refusal; only those of a per-minute limit count."""
        if breach.rate.window_ns != MINUTE:
            return
        self._turn_day(epoch_ns)
        minute = (epoch_ns + IST_OFFSET_NS) // MINUTE
        if self._strict or minute != self._minute:
            self._minute = minute
            self.breaches += 1

    def blocked_for_ns(self, epoch_ns: int) -> int:
        """Nanoseconds until the block ends; 0 without a block."""
        self._turn_day(epoch_ns)
        if self.breaches <= self._allowed:
            return 0
        return DAY - (epoch_ns + IST_OFFSET_NS) % DAY

    def _turn_day(self, epoch_ns: int) -> None:
        day = (epoch_ns + IST_OFFSET_NS) // DAY
        if day != self._day:
            self._day = day
            self.breaches = 0
            self._minute = -1
