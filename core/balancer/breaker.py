"""CircuitBreaker: closed, open, half open. Values in, a state out; no clock, no await.

    closed     > open        failures in a row, a share of failures or of slow answers, requests that nobody answers
    open       > half open   its time has passed: `open_ns`, doubled at each trip that follows soon, with jitter
    half open  > closed      `probes` answers in a row; then a slow start
    half open  > open        one failure

Probes are reads, never orders: an order breaker is closed again by reads that succeed at the same broker, and stays on
probation until an order has succeeded, so that one more failed order opens it again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..clock import SECOND
from ..models import BreakerState

__all__ = ["BreakerSettings", "CircuitBreaker"]

_BUCKETS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a breaker opens and how it closes again.

    `consecutive` failures in a row open it, or a share `rate` of at least `minimum` requests within `window_ns`; slow
    answers count with `slow_rate`. `stalled` requests without an answer for far longer than usual open it too. The
    longest pause, jitter included, stays below 5 s: both probes are through within 10 s of a recovery. A breaker that
    stayed closed for `forgive_ns` starts again from the shortest pause.
    """

    consecutive: int = 5
    rate: float = 0.5
    slow_rate: float = 0.8
    minimum: int = 10
    stalled: int = 3
    window_ns: int = 10 * SECOND
    open_ns: int = SECOND
    open_ns_max: int = 4 * SECOND
    jitter: float = 0.15
    probes: int = 2
    probe_patience_ns: int = 3 * SECOND
    slow_start_ns: int = 5 * SECOND
    forgive_ns: int = 30 * SECOND


class CircuitBreaker:
    """One broker, one class of operations."""

    __slots__ = (
        "_bucket",
        "_bucket_ends_ns",
        "_closed_at_ns",
        "_count",
        "_counts",
        "_in_a_row",
        "_probe_until_ns",
        "_proven",
        "_random",
        "_retry_at_ns",
        "_settings",
        "_streak",
        "_tripped_at_ns",
        "is_open",
        "probation",
        "reason",
        "trips",
        "trusted_at_ns",
    )

    def __init__(self, settings: BreakerSettings, rng: random.Random) -> None:
        self._settings = settings
        self._random = rng
        self._retry_at_ns = 0
        self._closed_at_ns = -(10**18)
        self._in_a_row = 0
        self._streak = 0
        self._proven = 0
        self._tripped_at_ns = 0
        self._bucket = -1
        self._forget_counts()
        self._bucket_ends_ns = 0
        self.is_open = False  # open or half open
        self.trusted_at_ns = 0  # when the slow start ends
        self._probe_until_ns = 0
        self.probation = False
        self.reason = ""
        self.trips = 0

    def state(self, now_ns: int) -> BreakerState:
        if not self.is_open:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_ns < self._retry_at_ns else BreakerState.HALF_OPEN

    def retry_in_ns(self, now_ns: int) -> int:
        """Nanoseconds until the next probe may go; 0 unless open."""
        return max(0, self._retry_at_ns - now_ns) if self.is_open else 0

    def half_open_for_ns(self, now_ns: int) -> int:
        """How long a probe has been due; 0 when none is."""
        return max(0, now_ns - self._retry_at_ns) if self.is_open else 0

    def probe_due(self, now_ns: int) -> bool:
        """Whether a probe may go: half open, and none under way."""
        return self.is_open and now_ns >= self._retry_at_ns and now_ns >= self._probe_until_ns

    def probe_sent(self, now_ns: int) -> None:
        """A read leaves for a broker that is half open: no other probe until it ends, or has taken too long."""
        if self.is_open and now_ns >= self._retry_at_ns:
            self._probe_until_ns = now_ns + self._settings.probe_patience_ns

    def probe_ended(self) -> None:
        """It ended in a way that says nothing of the broker's health, or well."""
        self._probe_until_ns = 0

    def hurry(self, now_ns: int) -> None:
        """The others have no permit left: wait no longer than the shortest pause for the next probe.

        The back-off grows to spare a broken broker and its callers. While nobody else can take the requests it spares
        nobody.
        """
        if self.is_open and now_ns < self._retry_at_ns:
            self._retry_at_ns = max(now_ns, min(self._retry_at_ns, self._tripped_at_ns + self._settings.open_ns))

    def slow_start_share(self, now_ns: int) -> float:
        """0..1: how much of its usual load a broker that has just recovered should get; 1 once it is trusted."""
        if self.is_open:
            return 0.0
        return 1.0 - max(0, self.trusted_at_ns - now_ns) / self._settings.slow_start_ns

    def succeeded(self, now_ns: int, sent_ns: int, *, slow: bool = False) -> None:
        """An answer came to what was sent at `sent_ns`, `slow` when it took far longer than elsewhere."""
        if self.is_open:
            self._answered_while_open(now_ns, sent_ns, slow=slow)
            return
        if now_ns >= self._bucket_ends_ns:
            self._go_on_to(now_ns)
        counts = self._count
        counts[0] += 1
        self._in_a_row = 0
        self.probation = False
        if slow:
            counts[2] += 1
            requests, _, slow_answers = self._totals()
            if requests >= self._settings.minimum and slow_answers >= self._settings.slow_rate * requests:
                self.trip(now_ns, f"{slow_answers} of {requests} answers far slower than elsewhere")

    def proved(self, now_ns: int, sent_ns: int) -> None:
        """A read of the same broker succeeded: a probe for a class that cannot be probed itself."""
        if self.is_open:
            self._answered_while_open(now_ns, sent_ns, slow=False)
            self.probation = not self.is_open

    def failed(self, now_ns: int, sent_ns: int, reason: str) -> None:
        """What was sent at `sent_ns` failed in a way that speaks of the broker's health.

        A request sent before the breaker opened, or before it closed again, says nothing of the broker as it is now.
        """
        if sent_ns < (self._retry_at_ns if self.is_open else self._closed_at_ns):
            return
        if self.is_open:
            self.trip(now_ns, f"probe failed: {reason}")
            return
        if now_ns >= self._bucket_ends_ns:
            self._go_on_to(now_ns)
        self._count[0] += 1
        self._count[1] += 1
        self._in_a_row += 1
        settings = self._settings
        if self.probation:
            self.trip(now_ns, f"failed again after recovery: {reason}")
        elif self._in_a_row >= settings.consecutive:
            self.trip(now_ns, f"{self._in_a_row} failures in a row: {reason}")
        else:
            requests, failures, _ = self._totals()
            if requests >= settings.minimum and failures >= settings.rate * requests:
                self.trip(now_ns, f"{failures} of {requests} requests failed: {reason}")

    def trip(self, now_ns: int, reason: str) -> None:
        """Open now, for longer than the last time when that was not long ago."""
        settings = self._settings
        if not self.is_open and now_ns - self._closed_at_ns > settings.forgive_ns:
            self._streak = 0
        pause_ns = min(settings.open_ns << min(self._streak, 20), settings.open_ns_max)
        self._retry_at_ns = now_ns + round(pause_ns * (1 + settings.jitter * (2 * self._random.random() - 1)))
        self._tripped_at_ns = now_ns
        self._streak += 1
        self.trips += 1
        self.is_open = True
        self._probe_until_ns = self._proven = self._in_a_row = 0
        self.reason = reason

    def reset(self) -> None:
        """Closed, nothing counted: an operator's word."""
        self.is_open = self.probation = False
        self.reason = ""
        self._in_a_row = self._streak = self._probe_until_ns = self._proven = 0
        self._forget_counts()

    def _answered_while_open(self, now_ns: int, sent_ns: int, *, slow: bool) -> None:
        if sent_ns < self._retry_at_ns:
            return
        if slow:
            self.trip(now_ns, "the probe was answered, but far slower than elsewhere")
            return
        self._probe_until_ns = 0
        self._proven += 1
        if self._proven >= self._settings.probes:
            self.is_open = False
            self._closed_at_ns = now_ns
            self.trusted_at_ns = now_ns + self._settings.slow_start_ns
            self.reason = ""
            self._in_a_row = 0
            self._forget_counts()

    def _forget_counts(self) -> None:
        self._counts = [[0, 0, 0] for _ in range(_BUCKETS)]  # requests, failures, slow answers
        self._count = self._counts[self._bucket % _BUCKETS]  # those of now

    def _go_on_to(self, now_ns: int) -> None:
        """Empty the buckets from the last one on, up to that of `now_ns`."""
        window_ns = self._settings.window_ns
        bucket = now_ns * _BUCKETS // window_ns
        for stale in range(max(self._bucket + 1, bucket - _BUCKETS + 1), bucket + 1):
            self._counts[stale % _BUCKETS] = [0, 0, 0]
        self._bucket = bucket
        self._count = self._counts[bucket % _BUCKETS]
        self._bucket_ends_ns = -(-(bucket + 1) * window_ns // _BUCKETS)

    def _totals(self) -> tuple[int, int, int]:
        requests, failures, slow = (sum(column) for column in zip(*self._counts, strict=True))
        return requests, failures, slow
