"""A router as snapshots tell of it: brokers with totals that grow, a second at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.advice import AdviceSettings, Advisor, Levers
from core.clock import MILLISECOND, MINUTE, SECOND
from core.models import (
    APIProvider,
    BreakerState,
    BrokerSnapshot,
    CandidateTerms,
    Command,
    CostSnapshot,
    Counters,
    Decision,
    DrainProvider,
    HealthStatus,
    LatencySnapshot,
    Operation,
    Rate,
    ResumeProvider,
    RouterSnapshot,
    SetHedging,
    SetRateCap,
    SetReadCache,
    SetRouteWeight,
    Suggestion,
    WindowForecast,
    WindowHeadroom,
)

EVERY_LEVER = frozenset({DrainProvider, ResumeProvider, SetRateCap, SetRouteWeight, SetReadCache, SetHedging})


def window(
    permits: int = 200,
    window_ns: int = MINUTE,
    free: int | None = None,
    *,
    budget: str = "all",
    runs_out_s: float | None = None,
    chance: float = 0.0,
) -> WindowHeadroom:
    left = permits if free is None else free
    out_ns = None if runs_out_s is None else round(runs_out_s * SECOND)
    return WindowHeadroom(
        budget=budget,
        rate=Rate(permits, window_ns),
        used=permits - left,
        in_flight=0,
        free=left,
        next_free_in_ns=0 if left else SECOND,
        all_free_in_ns=window_ns // 2 if left < permits else 0,
        soft=left <= 0.2 * permits,
        forecast=WindowForecast(
            exhausted_in_ns=out_ns,
            earliest_in_ns=None if out_ns is None else out_ns * 8 // 10,
            latest_in_ns=None if out_ns is None else out_ns * 12 // 10,
            probability_60s=chance,
            rate_per_s=3.0,
        ),
    )


class Desk:
    """`brokers` by name; `second` lets one pass with so many requests, errors and refusals at each."""

    def __init__(self, *names: str, levers: Levers | None = None, settings: AdviceSettings | None = None) -> None:
        self.levers = levers or Levers(commands=EVERY_LEVER)
        self.advisor = Advisor(levers=self.levers, settings=settings)
        self.at_s = 0
        self.serial = 0
        self.rest: dict[str, Any] = {}
        self.decisions: list[Decision] = []
        share = 1.0 / len(names)
        self.brokers = {
            name: BrokerSnapshot(
                name=name,
                provider=APIProvider.MOCK,
                simulated=True,
                health=HealthStatus.HEALTHY,
                windows=(window(10, SECOND), window(200, MINUTE)),
                latency=LatencySnapshot(
                    count=500, ewma_ns=50 * MILLISECOND, p50_ns=50 * MILLISECOND, p99_ns=90 * MILLISECOND
                ),
                traffic_share=share,
                capacity_share=share,
            )
            for name in names
        }

    def set(self, name: str, **changes: Any) -> None:
        self.brokers[name] = replace(self.brokers[name], **changes)

    def grow(self, name: str, **by: int) -> None:
        broker = self.brokers[name]
        self.set(name, **{field: getattr(broker, field) + count for field, count in by.items()})

    def decide(self, operation: str, *, wait_s: float = 0.0, latency_s: float = 0.05) -> None:
        self.serial += 1
        name = next(iter(self.brokers))
        self.decisions.append(
            Decision(
                serial=self.serial,
                at_ns=self.at_s * SECOND,
                operation=operation,
                chosen=name,
                reason="soonest done",
                candidates=(CandidateTerms(name=name, wait_s=wait_s, latency_s=latency_s),),
            )
        )

    def snapshot(self) -> RouterSnapshot:
        return RouterSnapshot(
            sequence=self.at_s,
            at_ns=self.at_s * SECOND,
            epoch_ns=self.at_s * SECOND,
            simulated=True,
            brokers=tuple(self.brokers.values()),
            decisions=tuple(self.decisions[::-1]),
            **self.rest,
        )

    def second(self, per_s: int = 0, **at: dict[str, int]) -> tuple[Suggestion, ...]:
        """One second, `per_s` requests at each broker and what `at` says on top; then one look."""
        for name in self.brokers:
            self.grow(name, requests=per_s)
        for name, by in at.items():
            self.grow(name, **by)
        self.at_s += 1
        told = self.advisor.observe(self.snapshot())
        self.decisions.clear()
        return told

    def seconds(self, count: int, per_s: int = 0, **at: dict[str, int]) -> tuple[Suggestion, ...]:
        told: tuple[Suggestion, ...] = ()
        for _ in range(count):
            told = self.second(per_s, **at)
        return told

    def told(self, kind: str) -> Suggestion | None:
        return next((one for one in self.advisor.suggestions if one.kind == kind), None)


class Configuration:
    """What a router would change: enough to see that an undo leads back."""

    def __init__(self, levers: Levers) -> None:
        self.drained: set[str] = set()
        self.caps = dict(levers.caps)
        self.weights = dict(levers.weights)
        self.caches = dict(levers.caches)
        self.hedging = levers.hedging

    def carry_out(self, command: Command | None) -> None:
        match command:
            case DrainProvider(name):
                self.drained.add(name)
            case ResumeProvider(name):
                self.drained.discard(name)
            case SetRateCap(name, share):
                self.caps[name] = share
            case SetRouteWeight(name, category, weight):
                self.weights[name, category] = weight
            case SetReadCache(operation, seconds):
                self.caches[operation] = seconds
            case SetHedging(enabled):
                self.hedging = enabled
            case _:
                raise AssertionError(command)

    def as_told(self) -> tuple[object, ...]:
        """Without what stands at its default, which is the same as not being named."""
        return (
            frozenset(self.drained),
            {name: cap for name, cap in self.caps.items() if cap != 1.0},
            {key: weight for key, weight in self.weights.items() if weight != 1.0},
            {operation: seconds for operation, seconds in self.caches.items() if seconds},
            self.hedging,
        )


__all__ = [
    "EVERY_LEVER",
    "BreakerState",
    "Configuration",
    "CostSnapshot",
    "Counters",
    "Desk",
    "Operation",
    "window",
]
