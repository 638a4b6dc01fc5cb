"""Which broker is best now."""

from __future__ import annotations

from .balancer import BalancerSettings, BreakerView, IntelligentLoadBalancer
from .breaker import BreakerSettings, CircuitBreaker
from .candidate import NO_RULES, Candidate, RoutingRules
from .choice import Choice
from .cost import Prices
from .efficiency import Counting, EfficiencyMeter, Room, most, room_of
from .load import BrokerLoad, LatencyMeter, PeakEwma
from .policy import HedgePolicy, RetryBudget

__all__ = [
    "NO_RULES",
    "BalancerSettings",
    "BreakerSettings",
    "BreakerView",
    "BrokerLoad",
    "Candidate",
    "Choice",
    "CircuitBreaker",
    "Counting",
    "EfficiencyMeter",
    "HedgePolicy",
    "IntelligentLoadBalancer",
    "LatencyMeter",
    "PeakEwma",
    "Prices",
    "RetryBudget",
    "Room",
    "RoutingRules",
    "most",
    "room_of",
]
