"""What the snapshots of the last quarter of an hour said, a second each: the ground that advice stands on."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ..clock import MINUTE, SECOND
from ..models import BreakerState, BrokerSnapshot, Decision, RouterSnapshot

__all__ = ["BrokerHistory", "History", "Sample"]

_KEPT = 900


@dataclass(frozen=True, slots=True)
class Sample:
    """One broker at one instant: its running totals, and how it stood."""

    at_ns: int
    requests: int
    errors: int
    refusals: int
    queued: int
    ewma_ns: int
    closed: bool
    burst_full: bool


class BrokerHistory:
    """The samples of one broker, oldest first; at most a quarter of an hour of them."""

    __slots__ = ("samples",)

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def add(self, at_ns: int, broker: BrokerSnapshot) -> None:
        self.samples.append(
            Sample(
                at_ns,
                broker.requests,
                broker.errors,
                broker.refusals,
                broker.queued,
                broker.latency.ewma_ns,
                broker.breaker is BreakerState.CLOSED,
                any(window.rate.window_ns <= SECOND and window.free <= 0 for window in broker.windows),
            )
        )
        if len(self.samples) > 2 * _KEPT:
            del self.samples[:-_KEPT]

    def last(self, span_ns: int, *, until_ns: int = 0) -> list[Sample]:
        """The samples of the last `span_ns`, without those of the last `until_ns`."""
        samples = self.samples
        if not samples:
            return []
        now_ns = samples[-1].at_ns
        first = bisect_left(samples, now_ns - span_ns, key=_at_ns)
        return samples[first : bisect_left(samples, now_ns - until_ns + 1, key=_at_ns)]

    def gained(self, field: str, span_ns: int, *, until_ns: int = 0) -> int:
        """How much a running total grew; a total that starts again from 0 counts as no growth."""
        seen = self.last(span_ns, until_ns=until_ns)
        return max(0, getattr(seen[-1], field) - getattr(seen[0], field)) if seen else 0

    def per_s(self, span_ns: int, *, until_ns: int = 0) -> float:
        """Requests a second, over the part of the span that was seen."""
        seen = self.last(span_ns, until_ns=until_ns)
        passed_ns = seen[-1].at_ns - seen[0].at_ns if seen else 0
        return max(0, seen[-1].requests - seen[0].requests) * SECOND / passed_ns if passed_ns else 0.0

    def peak_per_s(self, span_ns: int) -> float:
        """The busiest second."""
        seen = self.last(span_ns)
        rates = [
            (after.requests - before.requests) * SECOND / (after.at_ns - before.at_ns)
            for before, after in pairwise(seen)
            if after.at_ns > before.at_ns
        ]
        return max(rates, default=0.0)

    def usual_ewma_ns(self, span_ns: int, *, until_ns: int) -> float | None:
        """The middle of the latencies before the last `until_ns`; None without enough of them."""
        seen = [sample.ewma_ns for sample in self.last(span_ns, until_ns=until_ns) if sample.ewma_ns]
        return median(seen) if len(seen) >= 20 else None

    def trips(self, span_ns: int) -> int:
        """How often the breaker left its closed state."""
        seen = self.last(span_ns)
        return sum(before.closed and not after.closed for before, after in pairwise(seen))


def _at_ns(sample: Sample) -> int:
    return sample.at_ns


class History:
    """All brokers, and the recent decisions."""

    __slots__ = ("_serial", "brokers", "decisions", "efficiency")

    def __init__(self) -> None:
        self.brokers: dict[str, BrokerHistory] = {}
        self.decisions: deque[Decision] = deque(maxlen=2000)
        self.efficiency: deque[tuple[int, float]] = deque(maxlen=120)
        self._serial = 0

    def add(self, snapshot: RouterSnapshot) -> None:
        for broker in snapshot.brokers:
            self.brokers.setdefault(broker.name, BrokerHistory()).add(snapshot.at_ns, broker)
        present = {broker.name for broker in snapshot.brokers}
        for gone in [name for name in self.brokers if name not in present]:
            del self.brokers[gone]
        fresh = [decision for decision in snapshot.decisions if decision.serial > self._serial]
        self.decisions.extend(sorted(fresh, key=lambda decision: decision.serial))
        if fresh:
            self._serial = max(decision.serial for decision in fresh)
        while self.decisions and self.decisions[0].at_ns < snapshot.at_ns - 5 * MINUTE:
            self.decisions.popleft()
        if snapshot.efficiency is not None:
            self.efficiency.append((snapshot.at_ns, snapshot.efficiency))

    def recent(self, now_ns: int, span_ns: int) -> Iterator[Decision]:
        """The decisions of the last `span_ns`."""
        return (decision for decision in self.decisions if decision.at_ns >= now_ns - span_ns)

    def operations_per_min(self, now_ns: int) -> Counter[str]:
        """How often each operation was decided upon in the last minute, scaled when decisions were missed.

        A snapshot bears only the latest decisions. Their mix is taken as that of all, their number from the brokers.
        """
        mix = Counter(decision.operation for decision in self.recent(now_ns, MINUTE))
        seen = sum(mix.values())
        total = sum(history.gained("requests", MINUTE) for history in self.brokers.values())
        if seen and total > seen:
            return Counter({operation: round(count * total / seen) for operation, count in mix.items()})
        return mix
