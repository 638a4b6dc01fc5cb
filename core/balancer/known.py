"""What the balancer keeps of one broker."""

from __future__ import annotations

import math
import random

from ..clock import SECOND
from .breaker import BreakerSettings, CircuitBreaker
from .load import BrokerLoad

__all__ = ["Known", "Recent"]


class Recent:
    """Requests of about the last minute: each counts 1 when it comes, and less as it ages."""

    __slots__ = ("_at_ns", "_count")

    tau_ns = 60 * SECOND

    def __init__(self) -> None:
        self._count = 0.0
        self._at_ns = 0

    def add(self, now_ns: int) -> None:
        self._count = self.at(now_ns) + 1.0
        self._at_ns = now_ns

    def at(self, now_ns: int) -> float:
        return self._count * math.exp((self._at_ns - now_ns) / self.tau_ns) if self._count else 0.0


class Known:
    """What the balancer keeps of one broker; the breakers are those of reads and of orders, in this order."""

    __slots__ = ("asked_ns", "auth_failed", "breakers", "load", "refusals", "routed", "suspect", "traffic")

    def __init__(self, settings: BreakerSettings, rng: random.Random) -> None:
        self.load = BrokerLoad()
        self.breakers = (CircuitBreaker(settings, rng), CircuitBreaker(settings, rng))
        self.auth_failed = ""
        self.refusals = 0
        self.routed = 0
        self.traffic = Recent()
        self.asked_ns = 0  # when the last read left
        self.suspect = False  # the last that was heard of it is a failure

    def probe_due(self, now_ns: int) -> bool:
        """Whether a health check should go now: a breaker is half open, or one failure is all that is known of late.

        Traffic leaves a broker at its first failure. Without a check nobody would learn whether that was the only one.
        """
        if any(breaker.probe_due(now_ns) for breaker in self.breakers):
            return True
        if now_ns - self.asked_ns < SECOND or self.auth_failed or any(breaker.is_open for breaker in self.breakers):
            return False
        return self.suspect or self.load.stalled(now_ns) > 0
