"""What the accounts of a manager amount to, as values for screen, advisor and caller. Reading changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .accounts import Account
from .advice import Levers, predictive_analytics
from .balancer import IntelligentLoadBalancer, Room, room_of
from .brokers.limits import published_limits
from .clock import SECOND, Clock
from .models import (
    BrokerSnapshot,
    DrainProvider,
    HealthStatus,
    Operation,
    ResumeProvider,
    SetHedging,
    SetRateCap,
    SetReadCache,
    SetRouteWeight,
    Suggestion,
)

__all__ = ["broker_snapshots", "levers_of", "rate_limit_analytics", "suggestion_row", "usable_rooms"]

_USABLE: Final = frozenset({HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.DEGRADED})


def broker_snapshots(
    accounts: Mapping[str, Account], balancer: IntelligentLoadBalancer, clock: Clock
) -> tuple[BrokerSnapshot, ...]:
    """Every account as it stands now."""
    traffic = balancer.traffic_shares()
    capacity = balancer.capacity_shares({name: account.limiter.rooms() for name, account in accounts.items()})
    return tuple(
        account.snapshot(balancer, clock, traffic_share=traffic.get(name, 0.0), capacity_share=capacity.get(name, 0.0))
        for name, account in accounts.items()
    )


def usable_rooms(accounts: Mapping[str, Account], balancer: IntelligentLoadBalancer, now_ns: int) -> dict[str, Room]:
    """What every account that may be routed to has free."""
    return {
        name: room_of(account.limiter.rooms(), account.counting)
        for name, account in accounts.items()
        if account.health(balancer, now_ns)[0] in _USABLE
    }


def rate_limit_analytics(accounts: Mapping[str, Account], now_ns: int) -> dict[str, dict[str, Any]]:
    """Per account how full each window is, and when it ends."""
    analytics = {}
    for name, account in accounts.items():
        windows = account.windows(now_ns)
        status = account.limiter.get_status(windows)
        status["usage_percentages"] = {window: row["usage_percentage"] for window, row in status["windows"].items()}
        analytics[name] = {"rate_limit_status": status, "predictive_analytics": predictive_analytics(windows)}
    return analytics


def levers_of(accounts: Mapping[str, Account], read_max_age_ns: Mapping[Operation, int], *, hedging: bool) -> Levers:
    """What the advisor may propose to move, and how it stands now."""
    configs = {name: account.api.config for name, account in accounts.items()}
    return Levers(
        commands=frozenset({DrainProvider, ResumeProvider, SetRateCap, SetRouteWeight, SetReadCache, SetHedging}),
        hedging=hedging,
        caps={name: account.limiter.cap for name, account in accounts.items()},
        weights={
            (name, category): weight
            for name, account in accounts.items()
            for category, weight in account.weights.items()
        },
        caches={operation: age_ns / SECOND for operation, age_ns in read_max_age_ns.items()},
        published={
            name: published_limits(config.provider, registered_algo=config.registered_algo)
            for name, config in configs.items()
        },
    )


def suggestion_row(suggestion: Suggestion) -> dict[str, Any]:
    """A suggestion as plain values."""
    return {
        "id": suggestion.id,
        "kind": suggestion.kind,
        "severity": suggestion.severity.value,
        "title": suggestion.title,
        "evidence": suggestion.evidence,
        "effect": suggestion.effect,
        "action": suggestion.action,
        "provider": suggestion.provider,
    }
