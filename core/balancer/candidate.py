"""What the balancer is told of one broker at the moment of a choice: a frozen value, made by the manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..models import HealthStatus, WindowHeadroom

__all__ = ["NO_RULES", "Candidate", "RoutingRules"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One broker as it stands for one operation.

    `wait_ns`: time until the limiter has a permit for this category and cost, 0 when it has one now. `queued`: waiters
    that go first. `windows`: those that count this category. `barred` is a reason of the manager's own.
    """

    name: str
    wait_ns: int = 0
    queued: int = 0
    in_flight: int = 0
    windows: tuple[WindowHeadroom, ...] = ()
    health: HealthStatus = HealthStatus.UNKNOWN
    drained: bool = False
    auth_failed: bool = False
    blocked: bool = False
    weight: float = 1.0
    barred: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRules:
    """An operator's word on where an operation may go; the empty rules leave the choice to the figures.

    `pin`: there or nowhere. `prefer`: the first of these that has a permit now goes before any other. `exclude`: never
    these. `weights`: a broker of weight 2 is taken at twice the cost; 0 excludes it; missing is 1. `chain`: the order
    in which the others are tried once a request has failed somewhere.

    Raises ValueError for a weight below 0 and for a broker that is both pinned and excluded.
    """

    pin: str = ""
    prefer: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    weights: Mapping[str, float] = field(default_factory=dict)
    chain: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not weight >= 0 or weight == float("inf"):
                message = f"the routing weight of {name} is {weight!r}; give a number of at least 0"
                raise ValueError(message)
        if self.pin and self.pin in self.exclude:
            message = f"{self.pin} is pinned and excluded at once; drop one of the two"
            raise ValueError(message)


NO_RULES = RoutingRules()
