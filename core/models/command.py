"""What may be asked of a router; its effect shows in a later snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field

from .order import Order

__all__ = [
    "ApplySuggestion",
    "CancelAllOrders",
    "CancelOrder",
    "Command",
    "DismissSuggestion",
    "DrainProvider",
    "HaltTrading",
    "ResumeProvider",
    "ResumeTrading",
    "SetRateCap",
    "StartScenario",
    "StopScenario",
    "SubmitOrder",
    "UndoSuggestion",
]


@dataclass(frozen=True, slots=True)
class SubmitOrder:
    """Place an order."""

    order: Order


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
class StartScenario:
    """Run a stress scenario; `overrides` are the flags of `headroom stress` by name."""

    name: str
    overrides: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StopScenario:
    """Stop the running scenario; what it measured so far is kept."""


Command = (
    SubmitOrder
    | CancelOrder
    | CancelAllOrders
    | DrainProvider
    | ResumeProvider
    | SetRateCap
    | HaltTrading
    | ResumeTrading
    | ApplySuggestion
    | UndoSuggestion
    | DismissSuggestion
    | StartScenario
    | StopScenario
)
