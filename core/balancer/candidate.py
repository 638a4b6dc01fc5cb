"""What the balancer is told of one broker at the moment of a choice: a frozen value, made by the manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..models import WindowRoom

__all__ = ["NO_RULES", "Candidate", "RoutingRules"]


class Candidate(NamedTuple):
    """One broker as it stands for one operation. A tuple: one is made per broker and decision.

    `wait_ns`: time until the limiter has the permits for what goes out at once, 0 when it has them now. `queued`:
    waiters that go first. `rooms`: those of the windows that count this category. `limited`: the broker has refused us
    for its limit and the gate is closed. `barred`: why it takes nothing now, in the manager's words; empty when it
    does. `cost`: permits that the operation takes there, one request each.
    """

    name: str
    wait_ns: int = 0
    queued: int = 0
    in_flight: int = 0
    rooms: tuple[WindowRoom, ...] = ()
    limited: bool = False
    barred: str = ""
    weight: float = 1.0
    cost: int = 1


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
    bars: bool = field(init=False)  # whether they keep the operation from any broker

    def __post_init__(self) -> None:
        object.__setattr__(self, "bars", bool(self.pin or self.exclude or self.weights))
        for name, weight in self.weights.items():
            if not weight >= 0 or weight == float("inf"):
                message = f"the routing weight of {name} is {weight!r}; give a number of at least 0"
                raise ValueError(message)
        if self.pin and self.pin in self.exclude:
            message = f"{self.pin} is pinned and excluded at once; drop one of the two"
            raise ValueError(message)


NO_RULES = RoutingRules()
