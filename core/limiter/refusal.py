"""What a refusal means: which budgets it closes, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import DAY
from ..errors import BlockedForDay, RateLimited
from .backend import Plan
from .window import stretch

__all__ = ["Closing", "RefusalMemory"]


@dataclass(frozen=True, slots=True)
class Closing:
    """Close the gate of `plan` for `for_ns`."""

    plan: Plan
    for_ns: int
    reason: str


class RefusalMemory:
    """Explains refusals; remembers the last explanation, so that the same one is not believed twice in a row."""

    def __init__(self) -> None:
        self._closed_until_ns = 0
        self._window_ns = 0

    def explain(self, error: RateLimited, plan: Plan, everything: Plan, now_ns: int) -> Closing:
        """The closing that `error` asks for. `plan` are the budgets that counted the refused request."""
        if isinstance(error, BlockedForDay):
            return Closing(everything, DAY if error.retry_in_ns is None else error.retry_in_ns, "the day is blocked")
        if error.retry_in_ns is not None:
            return Closing(plan, max(0, error.retry_in_ns), "as the broker advised")
        if error.window_ns is not None:
            return Closing(plan, stretch(error.window_ns), "the window that the broker named")
        window_ns = self._shortest_that_explains(plan, now_ns)
        return Closing(plan, stretch(window_ns), "the shortest window that explains it")

    def _shortest_that_explains(self, plan: Plan, now_ns: int) -> int:
        """The shortest window that we count as full; the shortest of all when none is, for then somebody else sends.

        A refusal soon after a closing that waited this window out cannot be explained by it: the next longer one is
        taken. Refusals while closed are answers to requests that left before, and change nothing.
        """
        lengths = sorted({rate.window_ns for windows in plan for rate in windows.budget.rates})
        full = [
            rate.window_ns
            for windows in plan
            for rate, (limit, span_ns) in zip(windows.budget.rates, windows.spans, strict=True)
            if windows.younger(now_ns - span_ns) + windows.in_flight >= limit
        ]
        window_ns = min(full, default=lengths[0])
        if self._window_ns and now_ns < self._closed_until_ns + stretch(self._window_ns):
            longer = [length for length in lengths if length > self._window_ns]
            at_least = self._window_ns if now_ns < self._closed_until_ns or not longer else longer[0]
            window_ns = max(window_ns, at_least)
        self._window_ns = window_ns
        self._closed_until_ns = now_ns + stretch(window_ns)
        return window_ns
