"""What a run measured: HDR histograms of whole microseconds, and one row a second.

A latency is measured from the instant at which the work was meant to start, so that a generator or a queue that falls
behind shows in the figures instead of hiding them (no coordinated omission).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from ..clock import HOUR, MICROSECOND, SECOND

__all__ = ["QUANTILES", "Histogram", "Second", "Timeline"]

QUANTILES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
_LARGEST_NS: Final = 24 * HOUR
_LARGEST_US: Final = _LARGEST_NS // MICROSECOND
_DIGITS: Final = 3
_BITS: Final = 11  # that three digits take: 2000 values of the first size, and half of them of each size that follows
_SHEAF: Final = 256
_Z95: Final = 1.96


class Histogram:
    """Durations in an HDR histogram: 3 significant digits, up to a day; a longer one counts as a day."""

    __slots__ = ("_count", "_counts", "_fresh_ns", "_hdr", "_least_us", "_max_ns", "_total_ns")

    def __init__(self) -> None:
        self._hdr = HdrHistogram(1, _LARGEST_US, _DIGITS)
        self._counts = self._hdr.counts
        self._least_us = _LARGEST_US
        self._count = 0
        self._total_ns = 0
        self._max_ns = 0
        self._fresh_ns: list[int] = []  # recorded and not yet counted: less than a sheaf

    def record(self, duration_ns: int) -> None:
        fresh = self._fresh_ns
        fresh.append(duration_ns)
        if len(fresh) >= _SHEAF:
            self._count_fresh()

    def record_all(self, durations_ns: Iterable[int]) -> None:
        self._fresh_ns.extend(durations_ns)
        if len(self._fresh_ns) >= _SHEAF:
            self._count_fresh()

    def _count_fresh(self) -> None:
        """Count what was recorded since the last time; whatever looks at the figures begins with this.

        A sheaf at once, because a run records four durations an order: one by one, with the package's own
        `record_value` or in its manner, each costs twice as much.
        """
        fresh = self._fresh_ns
        if not fresh:
            return
        fresh.sort()
        tiny = bisect_left(fresh, 2 * MICROSECOND)  # to the histogram they are all one microsecond
        counts = self._counts
        counts[1] += tiny
        for duration_ns in fresh[tiny:]:
            duration_us = duration_ns // MICROSECOND if duration_ns < _LARGEST_NS else _LARGEST_US
            shift = duration_us.bit_length() - _BITS if duration_us >> _BITS else 0
            counts[(shift << (_BITS - 1)) + (duration_us >> shift)] += 1
        self._count += len(fresh)
        self._total_ns += sum(fresh[bisect_left(fresh, 0) :])
        self._max_ns = max(self._max_ns, fresh[-1])
        self._least_us = min(self._least_us, max(1, fresh[0] // MICROSECOND))
        fresh.clear()

    @property
    def count(self) -> int:
        self._count_fresh()
        return self._count

    @property
    def total_ns(self) -> int:
        self._count_fresh()
        return self._total_ns

    @property
    def max_ns(self) -> int:
        """The longest so far, to the nanosecond."""
        self._count_fresh()
        return self._max_ns

    def quantiles(self, *shares: float) -> tuple[int, ...]:
        """The duration, in ns, that each share of the records does not pass; 0 without records.

        One pass over the counts: the package's own look-up takes 2.7 ms, which a live figure would pay every tick.
        """
        if not self.count:
            return (0,) * len(shares)
        running = self._running()
        return tuple(self._at_rank(running, math.ceil(share * self.count)) for share in shares)

    def intervals(self, *shares: float) -> tuple[tuple[int, int], ...]:
        """The 95 % interval of each quantile, in ns, from the ranks alone: no shape of the distribution is assumed."""
        if not self.count:
            return ((0, 0),) * len(shares)
        running = self._running()
        found = []
        for share in shares:
            spread = _Z95 * math.sqrt(self.count * share * (1 - share))
            low, high = math.floor(self.count * share - spread), math.ceil(self.count * share + spread) + 1
            found.append((self._at_rank(running, low), self._at_rank(running, high)))
        return tuple(found)

    def _running(self) -> list[int]:
        return list(accumulate(self._used()))

    def _used(self) -> list[int]:
        """The counts up to the last one that is used: for short durations a sixth of them all."""
        last: int = self._hdr.get_counts_array_index(self._largest_us)
        counts: list[int] = self._counts[: last + 1]
        return counts

    def _at_rank(self, running: list[int], rank: int) -> int:
        rank = min(self.count, max(1, rank))
        value_us = self._hdr.get_value_from_index(bisect_left(running, rank))
        highest_ns: int = self._hdr.get_highest_equivalent_value(value_us) * MICROSECOND
        return min(highest_ns, self.max_ns)

    def bars(self, per_decade: int = 10) -> tuple[tuple[int, int], ...]:
        """(upper edge in ns, count) for bars of equal width on a logarithmic axis, from the first to the last used."""
        if not self.count:
            return ()
        counts: dict[int, int] = {}
        for index, count in enumerate(self._used()):
            if count:
                value_us = max(1, self._hdr.get_value_from_index(index))
                bar = math.floor(math.log10(value_us) * per_decade)
                counts[bar] = counts.get(bar, 0) + count
        return tuple(
            (round(10 ** ((bar + 1) / per_decade) * MICROSECOND), counts.get(bar, 0))
            for bar in range(min(counts), max(counts) + 1)
        )

    def summary(self) -> dict[str, Any]:
        """Milliseconds: mean, max and every quantile with its 95 % interval."""
        values: dict[str, Any] = {
            "count": self.count,
            "mean_ms": _ms(self.total_ns / self.count) if self.count else 0.0,
            "max_ms": _ms(self.max_ns),
        }
        shares = [share for _, share in QUANTILES]
        for (name, _), value_ns, (low_ns, high_ns) in zip(
            QUANTILES, self.quantiles(*shares), self.intervals(*shares), strict=True
        ):
            values[f"{name}_ms"] = _ms(value_ns)
            values[f"{name}_interval_ms"] = [_ms(low_ns), _ms(high_ns)]
        return values

    @property
    def hdr(self) -> HdrHistogram:
        """The histogram itself, in microseconds, for an HDR log."""
        hdr = self._hdr
        if self.count:
            hdr.total_count, hdr.min_value, hdr.max_value = self.count, self._least_us, self._largest_us
        return hdr

    @property
    def _largest_us(self) -> int:
        return min(_LARGEST_US, max(1, self.max_ns // MICROSECOND))


def _ms(duration_ns: float) -> float:
    return round(duration_ns / 1_000_000, 3)


@dataclass(frozen=True, slots=True)
class Second:
    """One second of a run. Latencies are those of the requests that ended in it, in ns."""

    offered: int
    finished: int
    failed: int
    queued: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class Timeline:
    """One row for each second, in columns: a run of hours takes 56 bytes a second."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self._columns = tuple(array("q") for _ in range(7))
        self._ends_ns = start_ns + SECOND
        self._offered = 0
        self._failed = 0
        self._latencies: list[int] = []
        self.queued = 0

    def offered(self, now_ns: int) -> None:
        if now_ns >= self._ends_ns:
            self.close_until(now_ns)
        self._offered += 1

    def ended(self, now_ns: int, latency_ns: int, *, failed: bool) -> None:
        if now_ns >= self._ends_ns:
            self.close_until(now_ns)
        self._latencies.append(latency_ns)
        self._failed += failed

    def close_until(self, now_ns: int) -> None:
        """Fold every second that has passed."""
        while now_ns >= self._ends_ns:
            self._fold()

    def finish(self) -> None:
        """Fold what is left, when the last request has ended."""
        if self._offered or self._latencies:
            self._fold()

    def _fold(self) -> None:
        latencies = sorted(self._latencies)
        count = len(latencies)
        row = (
            self._offered,
            count,
            self._failed,
            self.queued,
            latencies[(count - 1) // 2] if count else 0,
            latencies[math.ceil(count * 0.99) - 1] if count else 0,
            latencies[-1] if count else 0,
        )
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        self._ends_ns += SECOND
        self._offered = self._failed = 0
        self._latencies.clear()

    def __len__(self) -> int:
        return len(self._columns[0])

    def last(self, count: int) -> tuple[Second, ...]:
        """The latest `count` whole seconds, oldest first."""
        start = max(0, len(self) - count)
        return tuple(Second(*row) for row in zip(*(column[start:] for column in self._columns), strict=True))

    def rows(self) -> tuple[Second, ...]:
        """All seconds, oldest first."""
        return self.last(len(self))
