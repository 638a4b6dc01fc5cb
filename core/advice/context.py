"""What every kind of suggestion is judged on, and what it gives back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..clock import HOUR, MILLISECOND, MINUTE, SECOND
from ..models import (
    BrokerSnapshot,
    Budget,
    Category,
    Command,
    DrainProvider,
    HealthStatus,
    ResumeProvider,
    RouterSnapshot,
    SetRateCap,
    SetRouteWeight,
    Severity,
    WindowHeadroom,
)
from .history import BrokerHistory, History
from .whatif import Projection, what_if

__all__ = ["AdviceSettings", "Context", "Finding", "Levers", "Offer", "percent", "seconds"]

USABLE = frozenset({HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.DEGRADED})
_SINGLE = frozenset(Category)


@dataclass(frozen=True, slots=True)
class Levers:
    """What can be moved, and how it stands: a suggestion offers only these, and its undo leads back to them.

    `commands`: the kinds of command that the router carries out. `caps`: the share of its windows that a broker may
    use, 1 where it is not named. `weights`: by broker and category, 1 where not named. `caches`: seconds by operation,
    0 where not named. `published`: the limits that a broker publishes, by its name here.
    """

    commands: frozenset[type] = frozenset({DrainProvider, ResumeProvider, SetRateCap})
    caps: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[tuple[str, str], float] = field(default_factory=dict)
    caches: Mapping[str, float] = field(default_factory=dict)
    hedging: bool = False
    published: Mapping[str, tuple[Budget, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceSettings:
    """When a cause counts, and how calmly it is told.

    A cause must stand for `hold_ns` before it is shown, a critical one at once; shown, it stays until it has been gone
    for `linger_ns`, and its threshold counts as `release` (at most 1) of itself: it neither flickers nor nags.
    """

    hold_ns: int = 3 * SECOND
    linger_ns: int = 10 * SECOND
    refresh_ns: int = 2 * SECOND
    release: float = 0.8
    shown_most: int = 12
    exhausts_within_ns: int = 60 * SECOND
    exhausts_chance: float = 0.5
    failure_share: float = 0.2
    failure_minimum: int = 8
    latency_step: float = 2.5
    latency_floor_ns: int = 50 * MILLISECOND
    spike: float = 3.0
    spike_floor_per_s: float = 2.0
    trips: int = 3
    refusals: int = 2
    token_warning_ns: int = HOUR
    token_critical_ns: int = 10 * 60 * SECOND
    one_carries: float = 0.9
    unused_share: float = 0.02
    efficiency: float = 0.8
    tail: float = 5.0
    cache_s: float = 5.0
    cacheable_per_min: int = 24
    lag_ns: int = 50 * MILLISECOND


class Offer(NamedTuple):
    """What one key would do, in words and as a command, and what takes it back; empty where only the operator can."""

    action: str = ""
    command: Command | None = None
    undo: Command | None = None


NO_OFFER = Offer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause that stands now, and what a key could do about it."""

    kind: str
    severity: Severity
    title: str
    evidence: str
    effect: str
    provider: str = ""
    offer: Offer = NO_OFFER

    @property
    def id(self) -> str:
        return finding_id(self.kind, self.provider)


def finding_id(kind: str, provider: str) -> str:
    """What tells a cause from others of its kind."""
    return f"{kind}:{provider}" if provider else kind


@dataclass(frozen=True)
class Context:
    """One snapshot, its history, and what is shown already. What every kind asks for is reckoned once."""

    snapshot: RouterSnapshot
    history: History
    settings: AdviceSettings
    levers: Levers
    shown: Collection[str] = frozenset()

    def of(self, broker: BrokerSnapshot) -> BrokerHistory:
        return self.history.brokers[broker.name]

    def least(self, kind: str, threshold: float, provider: str = "") -> float:
        """What counts as reaching the threshold: once the kind is shown of `provider`, a little less is enough."""
        return threshold * (self.settings.release if finding_id(kind, provider) in self.shown else 1.0)

    def over(self, kind: str, value: float, threshold: float, provider: str = "") -> bool:
        """Whether `value` reaches the least that counts."""
        return value >= threshold or (
            value >= threshold * self.settings.release and value >= self.least(kind, threshold, provider)
        )

    def offer(self, action: str, command: Command, undo: Command, *, when: bool = True) -> Offer:
        """A key for it, where the router carries out such a command and `when` allows it; else none."""
        return Offer(action, command, undo) if when and type(command) in self.levers.commands else NO_OFFER

    def lighter(self, broker: BrokerSnapshot, weight: float, *, when: bool = True) -> Offer:
        """A key that sends fewer reads to a broker."""
        before = self.levers.weights.get((broker.name, Category.READS), 1.0)
        return self.offer(
            f"weigh {broker.name} {weight:g} instead of {before:g} for reads",
            SetRouteWeight(broker.name, Category.READS, weight),
            SetRouteWeight(broker.name, Category.READS, before),
            when=when and before > weight,
        )

    @cached_property
    def usable(self) -> tuple[BrokerSnapshot, ...]:
        """The brokers that may be chosen now."""
        return tuple(broker for broker in self.snapshot.brokers if is_usable(broker))

    def others(self, broker: BrokerSnapshot) -> tuple[BrokerSnapshot, ...]:
        return tuple(other for other in self.usable if other.name != broker.name)

    def windows(self, category: Category | None = None) -> dict[str, tuple[WindowHeadroom, ...]]:
        """Per usable broker the windows that count `category`, or those that bound its total."""
        return {broker.name: counting(broker, category) for broker in self.usable}

    @cached_property
    def demand_per_s(self) -> float:
        """What all brokers together were asked a second, in the last minute: the recorded demand of the what-ifs."""
        return sum(history.per_s(MINUTE) for history in self.history.brokers.values())

    @cached_property
    def asked_per_min(self) -> Mapping[str, int]:
        """How often each operation was asked for in the last minute."""
        return self.history.operations_per_min()

    def total_gained(self, field: str, span_ns: int) -> int:
        """How much a running total grew at all brokers together."""
        return sum(history.gained(field, span_ns) for history in self.history.brokers.values())

    def what_if(self, *, drained: Collection[str] = (), caps: Mapping[str, float] | None = None) -> Projection:
        """The recorded demand poured into the usable brokers, were some drained or capped."""
        return what_if(self.windows(), self.demand_per_s, drained=drained, caps=caps)

    def as_now(self) -> Projection:
        """The recorded demand, split as it is split now."""
        shares = {broker.name: broker.traffic_share for broker in self.snapshot.brokers}
        return what_if(self.windows(), self.demand_per_s, fixed=shares)


def is_usable(broker: BrokerSnapshot) -> bool:
    return broker.health in USABLE and not broker.drained


def counting(broker: BrokerSnapshot, category: Category | None) -> tuple[WindowHeadroom, ...]:
    """The windows that count `category`; without one, those of the budgets that count everything or most.

    A budget that is named like a category counts that one, any other counts all: that is how the broker files name
    them.
    """
    if category is not None:
        return tuple(window for window in broker.windows if window.budget == category or window.budget not in _SINGLE)
    whole = tuple(window for window in broker.windows if window.budget not in _SINGLE)
    return whole or tuple(window for window in broker.windows if window.budget == Category.READS) or broker.windows


def percent(share: float) -> str:
    """0.25 as 25%."""
    return f"{share:.0%}"


def seconds(span_ns: float | None) -> str:
    """A span as one reads it: 14 s, 12 min, 3.5 h; `not within 2 min` for None, the horizon of a what-if."""
    if span_ns is None:
        return "not within 2 min"
    span_s = span_ns / SECOND
    if span_s < 1:
        return f"{span_s * 1000:.0f} ms"
    if span_s < 120:
        return f"{span_s:.0f} s"
    if span_s < 7200:
        return f"{span_s / 60:.0f} min"
    return f"{span_s / 3600:.1f} h"
