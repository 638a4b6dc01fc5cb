"""What the snapshots of the last quarter of an hour said, a second each: the ground that advice stands on."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from ..clock import MINUTE, SECOND
from ..models import BreakerState, BrokerSnapshot, Decided, Decision, RouterSnapshot

__all__ = ["BrokerHistory", "History", "Sample"]

_KEPT = 900
_DECISIONS_KEPT = 2000
_USUAL_EVERY_NS = 5 * SECOND  # what is usual changes slowly, and a median of hundreds is a sort


class Sample(NamedTuple):
    """One broker at one instant: its running totals, and how it stood.

    `bursts`: how many samples before this one found a window of a second full.
    """

    at_ns: int
    requests: int
    errors: int
    refusals: int
    queued: int
    ewma_ns: int
    trips: int
    bursts: int


class BrokerHistory:
    """The samples of one broker, oldest first; at most a quarter of an hour of them."""

    __slots__ = ("_at_ns", "_bursts", "_closed", "_spans", "_trips", "_usual", "samples")

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._closed = True
        self._trips = 0
        self._bursts = 0
        self._usual: tuple[int, float | None] = (-_USUAL_EVERY_NS, None)
        self._at_ns: list[int] = []  # theirs, apart: a search by key would call for each step
        self._spans: dict[tuple[int, int], tuple[int, int]] = {}  # looked up since the last sample: rules share them

    def add(self, at_ns: int, broker: BrokerSnapshot) -> None:
        closed = broker.breaker is BreakerState.CLOSED
        self._trips += bool(self.samples) and self._closed and not closed
        self._closed = closed
        self._at_ns.append(at_ns)
        self._spans.clear()
        self.samples.append(
            Sample(
                at_ns,
                broker.requests,
                broker.errors,
                broker.refusals,
                broker.queued,
                broker.latency.ewma_ns,
                self._trips,
                self._bursts,
            )
        )
        for window in broker.windows:
            if window.free <= 0 and window.rate.window_ns <= SECOND:
                self._bursts += 1
                break
        if len(self.samples) > 2 * _KEPT:
            del self.samples[:-_KEPT]
            del self._at_ns[:-_KEPT]

    def bursts(self, span_ns: int) -> int:
        """In how many samples of the last `span_ns` a window of a second was full."""
        first, end = self._between(span_ns, 0)
        return self._bursts - self.samples[first].bursts if end else 0

    def last(self, span_ns: int, *, until_ns: int = 0) -> list[Sample]:
        """The samples of the last `span_ns`, without those of the last `until_ns`."""
        first, end = self._between(span_ns, until_ns)
        return self.samples[first:end]

    def count(self, span_ns: int, *, until_ns: int = 0) -> int:
        """How many samples `last` would give."""
        first, end = self._between(span_ns, until_ns)
        return max(0, end - first)

    def _between(self, span_ns: int, until_ns: int) -> tuple[int, int]:
        known = self._spans.get((span_ns, until_ns))
        if known is not None:
            return known
        at_ns = self._at_ns
        if not at_ns:
            return 0, 0
        first = bisect_left(at_ns, at_ns[-1] - span_ns)
        end = bisect_left(at_ns, at_ns[-1] - until_ns + 1) if until_ns else len(at_ns)
        self._spans[span_ns, until_ns] = first, end
        return first, end

    def gained(self, field: str, span_ns: int, *, until_ns: int = 0) -> int:
        """How much a running total grew; a total that starts again from 0 counts as no growth."""
        samples = self.samples
        # Most brokers have never failed or refused: what is 0 at the end has not grown.
        if not samples or not (until_ns or getattr(samples[-1], field)):
            return 0
        first, end = self._between(span_ns, until_ns)
        return max(0, getattr(samples[end - 1], field) - getattr(samples[first], field)) if end > first else 0

    def per_s(self, span_ns: int, *, until_ns: int = 0) -> float:
        """Requests a second, over the part of the span that was seen."""
        first, end = self._between(span_ns, until_ns)
        if end <= first + 1:
            return 0.0
        before, after = self.samples[first], self.samples[end - 1]
        gained, passed_ns = after.requests - before.requests, after.at_ns - before.at_ns
        return gained * SECOND / passed_ns if gained > 0 and passed_ns else 0.0

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
        """The middle of the latencies before the last `until_ns`, as of a few seconds ago; None without enough."""
        now_ns = self._at_ns[-1] if self._at_ns else 0
        if now_ns - self._usual[0] >= _USUAL_EVERY_NS:
            seen = [sample.ewma_ns for sample in self.last(span_ns, until_ns=until_ns) if sample.ewma_ns]
            self._usual = now_ns, median(seen) if len(seen) >= 20 else None
        return self._usual[1]

    def trips(self, span_ns: int) -> int:
        """How often the breaker left its closed state."""
        return self.gained("trips", span_ns)


class History:
    """All brokers, and the decisions of the last minute.

    `placed`: those of them that chose a broker; `held_up`: those that wait longer for the permit than for the answer.
    """

    __slots__ = ("_decisions", "_operations", "_serial", "brokers", "efficiency", "held_up", "placed")

    def __init__(self) -> None:
        self.brokers: dict[str, BrokerHistory] = {}
        self.efficiency: deque[tuple[int, float]] = deque(maxlen=120)
        self.placed = 0
        self.held_up = 0
        self._decisions: deque[Decided] = deque()
        self._operations: Counter[str] = Counter()
        self._serial = 0

    def add(self, snapshot: RouterSnapshot, decided: Sequence[Decided] | None = None) -> None:
        """Learn one snapshot. `decided`: the latest decisions, where they are not to be read from it."""
        for broker in snapshot.brokers:
            self.brokers.setdefault(broker.name, BrokerHistory()).add(snapshot.at_ns, broker)
        present = {broker.name for broker in snapshot.brokers}
        for gone in [name for name in self.brokers if name not in present]:
            del self.brokers[gone]
        if decided is None:
            decided = [_decided(decision) for decision in snapshot.decisions]
        fresh = sorted([one for one in decided if one.serial > self._serial])  # a tuple's first is its serial
        if fresh:
            self._serial = fresh[-1].serial
            self._decisions.extend(fresh)
            self._count(fresh, 1)
        aged: list[Decided] = []
        while self._decisions and (
            len(self._decisions) > _DECISIONS_KEPT or self._decisions[0].at_ns < snapshot.at_ns - MINUTE
        ):
            aged.append(self._decisions.popleft())
        self._count(aged, -1)
        if snapshot.efficiency is not None:
            self.efficiency.append((snapshot.at_ns, snapshot.efficiency))

    def _count(self, decided: Sequence[Decided], by: int) -> None:
        """Counted as they come and go: rules ask every second, and there may be thousands."""
        for operation, number in Counter([one.operation for one in decided]).items():
            self._operations[operation] += by * number
        self.placed += by * sum([one.placed for one in decided])
        self.held_up += by * sum([one.held_up for one in decided])

    @property
    def mean_wait_s(self) -> float:
        """What those of the last minute that chose a broker wait for the permit; 0 without any."""
        return sum(decided.wait_s for decided in self._decisions) / max(1, self.placed)

    def operations_per_min(self) -> Counter[str]:
        """How often each operation was decided upon in the last minute, scaled when decisions were missed.

        A snapshot bears only the latest decisions. Their mix is taken as that of all, their number from the brokers.
        """
        mix, seen = self._operations, len(self._decisions)
        total = sum(history.gained("requests", MINUTE) for history in self.brokers.values())
        if seen and total > seen:
            return Counter({operation: round(count * total / seen) for operation, count in mix.items()})
        return mix.copy()


def _decided(decision: Decision) -> Decided:
    for terms in decision.candidates:
        if terms.name == decision.chosen:
            wait_s = terms.wait_s + terms.queue_s
            held_up = wait_s > terms.latency_s
            return Decided(decision.serial, decision.at_ns, decision.operation, wait_s, placed=True, held_up=held_up)
    return Decided(decision.serial, decision.at_ns, decision.operation, 0.0, placed=False, held_up=False)
