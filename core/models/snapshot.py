"""How things stand at one instant: frozen values, tuples only, no live object, no secret.

Times that matter relative to now are given as nanoseconds *from* the snapshot (`..._in_ns`), so that a screen, a
recording and a report need no clock of their own. Text that a broker wrote is marked so; it is never markup.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from .api import APIProvider, HealthStatus, Rate
from .order import Quote
from .quick import quick

__all__ = [
    "AlertRow",
    "BreakerState",
    "BrokerSnapshot",
    "CandidateTerms",
    "CostSnapshot",
    "Counters",
    "Decided",
    "Decision",
    "IncidentRow",
    "LatencySnapshot",
    "OrderRow",
    "RefereeReport",
    "RouterSnapshot",
    "Severity",
    "StressSnapshot",
    "Suggestion",
    "Threshold",
    "WindowForecast",
    "WindowHeadroom",
]


class BreakerState(StrEnum):
    """Closed lets all through, open nothing, half open a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Severity(StrEnum):
    """How loud to say it."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowForecast:
    """When a window runs out at the present rate.

    `exhausted_in_ns` is the middle, `earliest_in_ns` and `latest_in_ns` the interval; all None when it will not within
    the horizon. `probability_60s`: that it runs out within 60 s. `hit_rate` and `brier_60s` score the forecasts that
    came due; None until there are enough of them.
    """

    exhausted_in_ns: int | None = None
    earliest_in_ns: int | None = None
    latest_in_ns: int | None = None
    probability_60s: float = 0.0
    rate_per_s: float = 0.0
    hit_rate: float | None = None
    brier_60s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowHeadroom:
    """One window of one budget: `used + in_flight + free == rate.permits`.

    `used` are permits whose window has not passed yet, `in_flight` those sent or taken and not answered.
    `next_free_in_ns` is 0 when one is free now. `all_free_in_ns`: when the window would be empty if nothing more were
    sent. `soft` is True from 80 % on.
    """

    budget: str
    rate: Rate
    used: int
    in_flight: int
    free: int
    next_free_in_ns: int
    all_free_in_ns: int
    soft: bool
    forecast: WindowForecast = field(default_factory=WindowForecast)

    @property
    def fraction(self) -> float:
        """The share that is gone, 0..1."""
        return (self.used + self.in_flight) / self.rate.permits

    @property
    def name(self) -> str:
        """`<budget> <limit>/<window>`, unique among the windows of one limiter."""
        return _window_name(self.budget, self.rate.permits, self.rate.window_ns)


@lru_cache(maxsize=1024)  # every figure of a window stands under its name
def _window_name(budget: str, permits: int, window_ns: int) -> str:
    return f"{budget} {Rate(permits, window_ns)}"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySnapshot:
    """Latency of the recent requests; `history_ns` one mean a second, oldest first, 0 for a second without any."""

    count: int = 0
    ewma_ns: int = 0
    p50_ns: int = 0
    p99_ns: int = 0
    max_ns: int = 0
    history_ns: tuple[int, ...] = ()


_NO_LATENCY: Final = LatencySnapshot()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSnapshot:
    """One broker. `reason` says in one line why `health` is what it is; `cap` is the share of its limits in use."""

    name: str
    provider: APIProvider
    simulated: bool
    health: HealthStatus
    reason: str = ""
    breaker: BreakerState = BreakerState.CLOSED
    breaker_retry_in_ns: int = 0
    limited_for_ns: int = 0
    drained: bool = False
    cap: float = 1.0
    token_expires_in_ns: int | None = None
    windows: tuple[WindowHeadroom, ...] = ()
    latency: LatencySnapshot = _NO_LATENCY
    requests: int = 0
    errors: int = 0
    refusals: int = 0
    in_flight: int = 0
    queued: int = 0
    traffic_share: float = 0.0
    capacity_share: float = 0.0
    rate_per_s: float = 0.0


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateTerms:
    """What one broker would have cost, every term in seconds; `barred` says why it could not be chosen at all."""

    name: str
    wait_s: float = 0.0
    queue_s: float = 0.0
    latency_s: float = 0.0
    failure_s: float = 0.0
    headroom_s: float = 0.0
    barred: str = ""

    @property
    def total_s(self) -> float:
        """The expected cost; infinite for a barred broker."""
        if self.barred:
            return float("inf")
        return self.wait_s + self.queue_s + self.latency_s + self.failure_s + self.headroom_s


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why one request went where it went. `chosen` is empty when no broker could take it."""

    serial: int
    at_ns: int
    operation: str
    chosen: str
    reason: str
    candidates: tuple[CandidateTerms, ...]
    outcome: str = "in flight"


class Decided(NamedTuple):
    """What advice is made of in a decision; a tuple, for there is one of every request.

    `wait_s`: until the permit, 0 where no broker was chosen. `held_up`: that is longer than the answer takes.
    """

    serial: int
    at_ns: int
    operation: str
    wait_s: float
    placed: bool
    held_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One piece of advice. `action` is what one key would do, empty when only the operator can do it."""

    id: str
    kind: str
    severity: Severity
    title: str
    evidence: str
    effect: str
    action: str = ""
    provider: str = ""
    since_ns: int = 0
    applied: bool = False


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """One order of the blotter."""

    order_id: str
    symbol: str
    side: str
    quantity: int
    filled_quantity: int
    price: Decimal
    status: str
    provider: str
    broker_order_id: str
    tag: str
    simulated: bool
    epoch_ns: int
    age_ns: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One thing that should not have happened; `count` repeats of it within a minute stand in one row."""

    at_ns: int
    age_ns: int
    kind: str
    provider: str
    message: str
    evidence: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """A rule that is or was met: when it was raised, when it cleared (0: it stands), when somebody acknowledged it.

    `id` names the rule and what it is about; `rule` is one of docs/alerts.md.
    """

    id: str
    rule: str
    severity: Severity
    message: str
    raised_epoch_ns: int
    provider: str = ""
    cleared_epoch_ns: int = 0
    acknowledged_epoch_ns: int = 0

    @property
    def calls(self) -> bool:
        """It stands, and nobody has said that he has seen it."""
        return not self.cleared_epoch_ns and not self.acknowledged_epoch_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class RefereeReport:
    """What a simulated broker counted of one account: the judgement on whoever had to keep the limits.

    `fullest` holds, for each rate, its text, the most arrivals ever seen in one of its windows, and its limit.
    `duplicate_tags` are order tags accepted more than once. `breached`: how many of the rates refused something.
    """

    name: str
    accepted: int
    refused: int
    fullest: tuple[tuple[str, int, int], ...]
    duplicate_tags: tuple[str, ...] = ()
    breached: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A pass/fail line of a stress run. `passed` is None until it can be judged."""

    name: str
    limit: str
    value: str
    passed: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StressSnapshot:
    """A stress run under way or at its end. `state`: idle, running, passed, failed, stopped or broken.

    The histories hold one value a second, oldest first, at most the last 60. `histogram`: upper edge of each bar in ns,
    and the requests in it. `shares`: what part of the requests each broker answered. `lag_p99_ns`: how late the
    generator itself was. `rate_factor`: how many times as fast as written the arrivals come. `report`: where the whole
    report of the finished run lies.
    """

    state: str = "idle"
    scenario: str = ""
    started: int = 0
    finished: int = 0
    planned: int = 0
    elapsed_ns: int = 0
    offered_per_s: float = 0.0
    achieved_per_s: float = 0.0
    p50_ns: int = 0
    p99_ns: int = 0
    max_ns: int = 0
    failures: int = 0
    refusals: int = 0
    violations: int = 0
    thresholds: tuple[Threshold, ...] = ()
    message: str = ""
    virtual: bool = False
    paused: bool = False
    rate_factor: float = 1.0
    report: str = ""
    disk_syncs: int = 0
    queued: int = 0
    lag_p99_ns: int = 0
    offered_history: tuple[int, ...] = ()
    achieved_history: tuple[int, ...] = ()
    p50_history_ns: tuple[int, ...] = ()
    p99_history_ns: tuple[int, ...] = ()
    failure_classes: tuple[tuple[str, int], ...] = ()
    shares: tuple[tuple[str, float], ...] = ()
    histogram: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Totals since the start."""

    requests: int = 0
    orders: int = 0
    reads: int = 0
    failures: int = 0
    refusals: int = 0
    waited: int = 0
    timeouts: int = 0
    events_dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSnapshot:
    """What headroom itself takes of the machine."""

    cpu_percent: float = 0.0
    rss_bytes: int = 0
    loop_lag_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSnapshot:
    """Everything a screen, a report or a recording shows.

    `failure` is not empty when the engine has died: the figures are then the last ones. `efficiency` is None until
    something was routed. The histories hold one value a second, oldest first.
    """

    sequence: int
    at_ns: int
    epoch_ns: int
    simulated: bool
    brokers: tuple[BrokerSnapshot, ...]
    efficiency: float | None = None
    efficiency_history: tuple[float, ...] = ()
    throughput_history: tuple[float, ...] = ()
    latency_history_ns: tuple[int, ...] = ()
    decisions: tuple[Decision, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    alerts: tuple[AlertRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    quotes: tuple[Quote, ...] = ()
    open_orders: int = 0
    unknown_orders: int = 0
    incidents: tuple[IncidentRow, ...] = ()
    stress: StressSnapshot = field(default_factory=StressSnapshot)
    counters: Counters = field(default_factory=Counters)
    cost: CostSnapshot = field(default_factory=CostSnapshot)
    halted: str = ""
    failure: str = ""
