"""One broker account as a manager holds it: its adapter, its limiter, and what has become of its requests."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .advice import Forecaster
from .balancer import Candidate, Counting, IntelligentLoadBalancer
from .brokers.base import HasSession, TradingAPI
from .clock import HOUR, SECOND, Clock
from .errors import CostTooHigh
from .limiter import EnhancedRateLimiter
from .models import (
    CATEGORY_OF,
    PRIORITY_OF,
    BrokerSnapshot,
    Category,
    HealthStatus,
    Operation,
    Priority,
    WindowHeadroom,
)

__all__ = ["Account"]

SYMBOLS_MAX: Final = 1000
_new: Final = tuple.__new__  # what a named tuple calls, without the call around it


class Ask(NamedTuple):
    """What an operation asks of the limiter: `cost` permits for one call, about one symbol where it has any."""

    category: Category
    priority: Priority
    cost: int


@dataclass(slots=True)
class Account:
    """`requests`, `errors` and `refusals` count since the start; `weights` are the operator's, by category."""

    name: str
    api: TradingAPI
    limiter: EnhancedRateLimiter
    drained: bool = False
    blocked_until_ns: int = 0
    requests: int = 0
    errors: int = 0
    refusals: int = 0
    weights: dict[Category, float] = field(default_factory=dict)
    forecaster: Forecaster = field(default_factory=Forecaster)
    session: HasSession | None = field(init=False)  # what the adapter of a real log-in tells besides
    counting: Counting = field(init=False)
    carries: int = field(init=False)  # the symbols of one request for quotes
    asks: Mapping[Operation, Ask] = field(init=False)

    def __post_init__(self) -> None:
        # Asked once: to see whether a class has all methods of a protocol costs more than a whole snapshot.
        self.session = self.api if isinstance(self.api, HasSession) else None
        self.carries = bisect_right(
            range(1, SYMBOLS_MAX + 1), 1, key=lambda count: self.api.cost(Operation.GET_MARKET_DATA, symbols=count)
        )
        self.asks = {
            operation: Ask(CATEGORY_OF[operation], PRIORITY_OF[operation], self.api.cost(operation))
            for operation in Operation
        }
        counted = [budget.categories for budget in self.limiter.budgets for _ in budget.rates]
        self.counting = Counting(
            {
                category: tuple(place for place, known in enumerate(counted) if category in known)
                for category in Category
            },
            tuple(place for place, known in enumerate(counted) if known.issuperset(Category)),
        )

    def candidate(self, operation: Operation, symbols: int, now_ns: int) -> Candidate:
        """The account as the balancer sees it, for one operation.

        Quotes of more symbols than one request carries take as many permits as requests, but one at a time.
        """
        category, priority, cost = self.asks[operation]
        at_once = cost
        if symbols > 1:
            cost = at_once = self.api.cost(operation, symbols=symbols)
            if symbols > self.carries:
                at_once = self.api.cost(operation, symbols=self.carries)
        weight = self.weights.get(category, 1.0)
        try:
            wait_ns, queued, in_flight, limited, rooms = self.limiter.look(category, at_once, priority, now_ns)
        except CostTooHigh:
            return Candidate(self.name, barred=f"needs {at_once} permits at once, more than it allows")
        barred = self.barred(now_ns) if self.drained or self.blocked_until_ns else ""
        return _new(Candidate, (self.name, wait_ns, queued, in_flight, rooms, limited, barred, weight, cost))

    def barred(self, now_ns: int) -> str:
        """Why nothing new may go there, whatever its answers tell; empty when it may."""
        return "drained" if self.drained else "blocked for the day" if self.blocked_until_ns > now_ns else ""

    def windows(self, now_ns: int) -> tuple[WindowHeadroom, ...]:
        """Every window with its forecast: the scored one where somebody looks after the account, else the limiter's."""
        return self.limiter.headroom(forecasts=self.forecaster.latest(now_ns) or True)

    def health(self, balancer: IntelligentLoadBalancer, now_ns: int) -> tuple[HealthStatus, str]:
        """How the account is, and why in one line: the operator's word first, then the broker's, then what we saw."""
        if self.drained:
            return HealthStatus.DRAINED, "drained by the operator"
        closed_ns = self.limiter.limited_for_ns
        if self.blocked_until_ns > now_ns:
            return HealthStatus.BLOCKED_FOR_DAY, f"the broker takes nothing more for {closed_ns / HOUR:.1f} h"
        if closed_ns > 0:
            return HealthStatus.LIMITED, f"the broker refused us; closed for {closed_ns / SECOND:.1f} s more"
        return balancer.health(self.name)

    def token_left_ns(self, clock: Clock) -> int | None:
        """How long the access token is still good; None when nobody says."""
        expires_ns = self.session.token_expires_epoch_ns if self.session is not None else 0
        return expires_ns - clock.epoch_ns() if expires_ns else None

    def snapshot(
        self, balancer: IntelligentLoadBalancer, clock: Clock, *, traffic_share: float, capacity_share: float
    ) -> BrokerSnapshot:
        """The account as it stands now; reading changes nothing."""
        now_ns, limiter, config = clock.now_ns(), self.limiter, self.api.config
        health, reason = self.health(balancer, now_ns)
        limited_for_ns, in_flight = limiter.standing()
        breaker = balancer.breaker(self.name)
        return BrokerSnapshot(
            name=self.name,
            provider=config.provider,
            simulated=config.simulated,
            health=health,
            reason=reason,
            breaker=breaker.state,
            breaker_retry_in_ns=breaker.retry_in_ns,
            limited_for_ns=limited_for_ns,
            drained=self.drained,
            cap=limiter.cap,
            token_expires_in_ns=self.token_left_ns(clock),
            windows=self.windows(now_ns),
            latency=balancer.latency(self.name),
            requests=self.requests,
            errors=self.errors,
            refusals=self.refusals,
            in_flight=in_flight,
            queued=limiter.waiting,
            traffic_share=traffic_share,
            capacity_share=capacity_share,
        )
