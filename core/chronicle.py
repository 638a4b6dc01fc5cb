"""What became of each broker's requests and windows since the start: for whoever looks at one broker in depth.

Fed once a second by the router, with what went over the bus and with its own snapshot. A breaker that opens and closes
again between two looks is seen as its reason says, one move at most a second.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Final

from .models import (
    BreakerMove,
    BreakerState,
    BrokerSnapshot,
    Incident,
    OperationRow,
    Rate,
    RefusalRow,
    RequestDone,
    RouterSnapshot,
    WindowCourse,
)

__all__ = ["BrokerChronicle", "Chronicle"]

COURSE_S: Final = 240
KEPT: Final = 50
_FLOOR_NS: Final = 100_000
_STEP: Final = math.log(1.1)  # a bucket of latencies is a tenth wider than the one before
_BAR: Final = 4  # buckets to a bar of the picture
_REFUSED: Final = frozenset({"limited", "refused"})


@dataclass(slots=True)
class _Latencies:
    """How many answers took how long, to a tenth."""

    buckets: Counter[int] = field(default_factory=Counter)
    max_ns: int = 0

    @property
    def count(self) -> int:
        return self.buckets.total()

    def add(self, latencies_ns: Sequence[int]) -> None:
        """Count these answers."""
        self.buckets.update(map(_bucket, latencies_ns))
        self.max_ns = max(self.max_ns, max(latencies_ns, default=0))

    def join(self, other: _Latencies) -> None:
        """Count what `other` has counted too."""
        self.buckets.update(other.buckets)
        self.max_ns = max(self.max_ns, other.max_ns)

    def quantile_ns(self, share: float) -> int:
        """The upper edge of the bucket that `share` (0..1) of the answers stayed within; 0 before the first."""
        left = share * self.count
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return min(self.max_ns, _edge_ns(bucket))
        return self.max_ns

    def bars(self) -> tuple[tuple[int, int], ...]:
        """Upper edge and number of each bar, without gaps between the first and the last."""
        if not self.buckets:
            return ()
        bars: dict[int, int] = {}
        for bucket, number in self.buckets.items():
            bars[bucket // _BAR] = bars.get(bucket // _BAR, 0) + number
        return tuple((_edge_ns(bar * _BAR + _BAR - 1), bars.get(bar, 0)) for bar in range(min(bars), max(bars) + 1))


def _edge_ns(bucket: int) -> int:
    return round(_FLOOR_NS * math.exp(_STEP * bucket))


_EDGES_NS: Final = tuple(_edge_ns(bucket) for bucket in range(250))  # to the days that no request lasts
_bucket: Final = partial(bisect_left, _EDGES_NS)
_WAIT_NS: Final = attrgetter("wait_ns")


@dataclass(slots=True)
class _Operation:
    failures: int = 0
    refusals: int = 0
    wait_ns: int = 0
    ended_epoch_ns: int = 0
    latencies: _Latencies = field(default_factory=_Latencies)

    @property
    def requests(self) -> int:
        return self.latencies.count + self.failures + self.refusals


@dataclass(slots=True)
class BrokerChronicle:
    """One broker's."""

    operations: dict[str, _Operation] = field(default_factory=dict)
    courses: dict[tuple[str, int], deque[float]] = field(default_factory=dict)
    rates: dict[tuple[str, int], Rate] = field(default_factory=dict)
    breaker: BreakerState = BreakerState.CLOSED
    moves: deque[BreakerMove] = field(default_factory=lambda: deque(maxlen=KEPT))
    refusals: deque[RefusalRow] = field(default_factory=lambda: deque(maxlen=KEPT))

    def done(self, operation: str, events: Sequence[RequestDone], epoch_at_zero_ns: int) -> None:
        """These requests of one operation came to their ends, the last one's last."""
        row = self.operations.get(operation)
        if row is None:
            row = self.operations[operation] = _Operation()
        row.wait_ns += sum(map(_WAIT_NS, events))
        row.ended_epoch_ns = epoch_at_zero_ns + events[-1].at_ns
        answered_ns = [event.latency_ns for event in events if event.outcome == "ok"]
        row.latencies.add(answered_ns)
        if len(answered_ns) < len(events):
            refusals = sum([event.outcome in _REFUSED for event in events])
            row.refusals += refusals
            row.failures += len(events) - len(answered_ns) - refusals

    @property
    def latencies(self) -> _Latencies:
        """Those of all operations: put together when somebody looks, for requests are far more than looks."""
        together = _Latencies()
        for row in self.operations.values():
            together.join(row.latencies)
        return together

    def stands(self, broker: BrokerSnapshot, epoch_ns: int) -> None:
        """How the broker stands at the end of this second."""
        for window in broker.windows:
            place = (window.budget, window.rate.window_ns)
            self.rates[place] = window.rate
            self.courses.setdefault(place, deque(maxlen=COURSE_S)).append(window.fraction)
        if broker.breaker is not self.breaker:
            reason = broker.reason if broker.breaker is not BreakerState.CLOSED else "its probes were answered"
            self.moves.appendleft(
                BreakerMove(epoch_ns=epoch_ns, before=self.breaker.value, after=broker.breaker.value, reason=reason)
            )
            self.breaker = broker.breaker

    def windows(self) -> tuple[WindowCourse, ...]:
        return tuple(
            WindowCourse(budget=place[0], rate=self.rates[place], fractions=tuple(course))
            for place, course in self.courses.items()
        )

    def operation_rows(self) -> tuple[OperationRow, ...]:
        """The operations, the most used first."""
        ranked = sorted(self.operations.items(), key=lambda entry: -entry[1].requests)
        return tuple(
            OperationRow(
                operation=name,
                requests=row.requests,
                failures=row.failures,
                refusals=row.refusals,
                p50_ns=row.latencies.quantile_ns(0.5),
                p99_ns=row.latencies.quantile_ns(0.99),
                max_ns=row.latencies.max_ns,
                wait_mean_ns=row.wait_ns // row.requests,
                ended_epoch_ns=row.ended_epoch_ns,
            )
            for name, row in ranked
        )


class Chronicle:
    """All brokers', by name."""

    def __init__(self) -> None:
        self._brokers: dict[str, BrokerChronicle] = {}

    def of(self, name: str) -> BrokerChronicle:
        """One broker's; empty for a name that nothing was heard of."""
        known = self._brokers.get(name)
        if known is None:
            known = self._brokers[name] = BrokerChronicle()
        return known

    def refused(self, event: Incident, epoch_ns: int) -> None:
        """A broker said that we are above a limit; the event has its words."""
        self.of(event.provider).refusals.appendleft(
            RefusalRow(epoch_ns=epoch_ns, message=event.message, evidence=event.evidence)
        )

    def stand(self, snapshot: RouterSnapshot) -> None:
        """How everything stands at the end of this second."""
        for broker in snapshot.brokers:
            self.of(broker.name).stands(broker, snapshot.epoch_ns)
