"""What the balancer keeps of one broker."""

from __future__ import annotations

import math
import random
from typing import Final

from ..clock import SECOND
from ..models import BreakerState
from .breaker import BreakerSettings, CircuitBreaker
from .load import STALL_LEAST_NS, BrokerLoad

__all__ = ["DOUBT", "HALF_OPEN", "OPEN", "Known", "Recent"]

OPEN: Final = "breaker open"
HALF_OPEN: Final = "breaker half open, probes only"
CHECK_EVERY_NS: Final = 3 * SECOND // 4
NEGLECTED_NS: Final = 15 * SECOND  # a check costs a permit: four a minute at a broker that nothing goes to
DOUBT: Final = 0.01  # the failure rate below which a broker that failed is trusted again


class Recent:
    """Requests of about the last minute: each counts 1 when it comes, and less as it ages."""

    __slots__ = ("_count", "last_ns")

    tau_ns = 60 * SECOND

    def __init__(self) -> None:
        self._count = 0.0
        self.last_ns = 0

    def add(self, now_ns: int) -> None:
        self._count = self._count * math.exp((self.last_ns - now_ns) / self.tau_ns) + 1.0
        self.last_ns = now_ns

    def at(self, now_ns: int) -> float:
        return self._count * math.exp((self.last_ns - now_ns) / self.tau_ns)


class Known:
    """What the balancer keeps of one broker; the breakers are those of reads and of orders, in this order."""

    __slots__ = ("asked_ns", "auth_failed", "breakers", "load", "routed", "stalled", "suspect", "traffic")

    def __init__(self, settings: BreakerSettings, rng: random.Random) -> None:
        self.stalled = settings.stalled  # so many without an answer for far longer than usual open its breakers
        self.load = BrokerLoad()
        self.breakers = (CircuitBreaker(settings, rng), CircuitBreaker(settings, rng))
        self.auth_failed = ""
        self.routed = 0
        self.traffic = Recent()
        self.asked_ns = 0  # when the last read left
        self.suspect = False  # it failed of late, and too little has worked since

    def probe_due(self, now_ns: int, wanted_ns: int) -> bool:
        """Whether a health check should go now: a breaker is half open, it failed of late and is not asked any more, or
        nothing has gone there for long, although something did go out, the last time at `wanted_ns`.

        Traffic leaves a broker at its first failure, and one that is slow too. Without checks nobody would learn that
        it works again.
        """
        if any(breaker.probe_due(now_ns) for breaker in self.breakers):
            return True
        if (
            now_ns - self.asked_ns < CHECK_EVERY_NS
            or self.auth_failed
            or any(breaker.is_open for breaker in self.breakers)
        ):
            return False
        neglected = wanted_ns - self.traffic.last_ns >= NEGLECTED_NS and self.load.latency.count > 0
        return self.suspect or neglected or self.load.stalled(now_ns) > 0

    def bar(self, now_ns: int, *, orders: bool) -> str:
        """Why this broker takes nothing now, by what its answers tell; empty when it does."""
        self.look_for_stalls(now_ns)
        if self.auth_failed:
            return "log-in refused"
        breaker = self.breakers[orders]
        if not breaker.is_open:
            return ""
        return OPEN if breaker.state(now_ns) is BreakerState.OPEN else HALF_OPEN

    def look_for_stalls(self, now_ns: int) -> None:
        """Open both breakers when so many requests look lost: whoever answers neither is as good as down."""
        if self.load.unanswered < self.stalled:
            return
        oldest_ns = self.load.oldest_ns(now_ns)
        if oldest_ns < STALL_LEAST_NS:
            return
        stalled = self.load.stalled(now_ns)
        if stalled < self.stalled:
            return
        reason = f"{stalled} unanswered for {oldest_ns / SECOND:.1f} s"
        self.load.give_up()
        for breaker in self.breakers:
            if not breaker.is_open:
                breaker.trip(now_ns, reason)
