"""What happened, as it goes over the bus; each one frozen, with the monotonic time at which it happened."""

from __future__ import annotations

from dataclasses import dataclass

from .order import Order, OrderStatus
from .quick import quick

__all__ = ["Event", "Incident", "OrderIntended", "OrderMoved", "RequestDone"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntended:
    """An order is journaled and about to be sent."""

    at_ns: int
    order: Order
    provider: str
    tag: str
    attempt: int


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMoved:
    """An order took a step, and the journal has it."""

    at_ns: int
    order_id: str
    before: OrderStatus
    after: OrderStatus
    provider: str = ""
    message: str = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDone:
    """One request to one broker came to its end. `outcome`: ok, refused, not_sent or unknown."""

    at_ns: int
    provider: str
    operation: str
    outcome: str
    wait_ns: int
    latency_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something an operator must hear of: a 429, a foreign order, an illegal step, an audit logger that raises."""

    at_ns: int
    kind: str
    provider: str
    message: str
    evidence: str = ""


Event = OrderIntended | OrderMoved | RequestDone | Incident
