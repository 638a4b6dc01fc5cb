"""What may be asked of a router; its effect shows in a later snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .order import Order, OrderType

__all__ = [
    "AcknowledgeAlerts",
    "ApplySuggestion",
    "CancelAllOrders",
    "CancelOrder",
    "Command",
    "DismissSuggestion",
    "DrainProvider",
    "HaltTrading",
    "ModifyOrder",
    "ResumeProvider",
    "ResumeTrading",
    "SetFault",
    "SetHedging",
    "SetRateCap",
    "SetReadCache",
    "SetRouteWeight",
    "SubmitOrder",
    "UndoSuggestion",
]


@dataclass(frozen=True, slots=True)
class SubmitOrder:
    """Place an order; at `provider` and nowhere else when that is given."""

    order: Order
    provider: str = ""


@dataclass(frozen=True, slots=True)
class ModifyOrder:
    """Change what is given of a resting order; None stays as it is."""

    order_id: str
    quantity: int | None = None
    order_type: OrderType | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel one order by our id."""

    order_id: str


@dataclass(frozen=True, slots=True)
class CancelAllOrders:
    """Cancel every open order."""


@dataclass(frozen=True, slots=True)
class DrainProvider:
    """Send nothing new to this broker; what is in flight ends by itself."""

    provider: str


@dataclass(frozen=True, slots=True)
class ResumeProvider:
    """Take a drained broker back."""

    provider: str


@dataclass(frozen=True, slots=True)
class SetRateCap:
    """Use at most `share` (0 to 1] of each window of a broker."""

    provider: str
    share: float


@dataclass(frozen=True, slots=True)
class SetRouteWeight:
    """Weigh a broker for one category (`orders` or `reads`): 1 is neutral, 0.5 counts it as twice as costly."""

    provider: str
    category: str
    weight: float


@dataclass(frozen=True, slots=True)
class SetReadCache:
    """Answer an identical read from memory for `seconds`; 0 asks the broker every time."""

    operation: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SetHedging:
    """Send a read that takes longer than most to a second broker too, where the headroom allows it.

    `operation` names one kind of read; empty means every one that may be asked twice.
    """

    enabled: bool
    operation: str = ""


@dataclass(frozen=True, slots=True)
class HaltTrading:
    """The kill switch: nothing new leaves, open orders are cancelled."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResumeTrading:
    """Lift the kill switch; `name` is the operator who does it."""

    name: str


@dataclass(frozen=True, slots=True)
class ApplySuggestion:
    """Do what a suggestion proposes."""

    suggestion_id: str


@dataclass(frozen=True, slots=True)
class UndoSuggestion:
    """Take an applied suggestion back."""

    suggestion_id: str


@dataclass(frozen=True, slots=True)
class DismissSuggestion:
    """Hide a suggestion until its cause has gone and come back."""

    suggestion_id: str


@dataclass(frozen=True, slots=True)
class AcknowledgeAlerts:
    """Somebody has seen an alert; all of them for an empty id."""

    alert_id: str = ""


@dataclass(frozen=True, slots=True)
class SetFault:
    """Make a simulated broker misbehave: in `share` (0..1) of its requests, 0 ends it. Never a real account."""

    provider: str
    kind: str
    share: float


Command = (
    SubmitOrder
    | ModifyOrder
    | CancelOrder
    | CancelAllOrders
    | DrainProvider
    | ResumeProvider
    | SetRateCap
    | SetRouteWeight
    | SetReadCache
    | SetHedging
    | HaltTrading
    | ResumeTrading
    | ApplySuggestion
    | UndoSuggestion
    | DismissSuggestion
    | AcknowledgeAlerts
    | SetFault
)
