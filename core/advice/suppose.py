"""A what-if for an operator: the present demand as it is split now, and as it would be after a change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from ..clock import MINUTE
from ..models import RouterSnapshot
from .context import counting, is_usable
from .whatif import Projection, what_if

__all__ = ["HORIZON_NS", "Supposition", "suppose"]

HORIZON_NS: Final = 10 * MINUTE
_STEPS: Final = 120


@dataclass(frozen=True, slots=True)
class Supposition:
    """`now` is the demand split as it is, `then` with the change; both over the next ten minutes."""

    demand_per_s: float
    now: Projection
    then: Projection


def suppose(
    snapshot: RouterSnapshot, *, drained: Collection[str] = (), caps: Mapping[str, float] | None = None
) -> Supposition:
    """`drained` would take nothing; `caps` by broker name, as shares of the broker's own limits, where they differ.

    Brokers that cannot be used now take nothing in either, unless they are drained now and not in `drained`.
    """
    demand_per_s = sum(broker.rate_per_s for broker in snapshot.brokers)
    able = {broker.name: is_usable(broker) or broker.drained for broker in snapshot.brokers}
    windows = {broker.name: counting(broker, None) for broker in snapshot.brokers if able[broker.name]}
    present = {broker.name: broker.cap for broker in snapshot.brokers}
    # The windows bear the present cap already: what is left to say is the change.
    changed = {name: cap / present[name] for name, cap in (caps or {}).items() if name in present}
    out_now = [broker.name for broker in snapshot.brokers if broker.drained]
    now = what_if(
        windows,
        demand_per_s,
        drained=out_now,
        fixed={broker.name: broker.traffic_share for broker in snapshot.brokers},
        horizon_ns=HORIZON_NS,
        steps=_STEPS,
    )
    then = what_if(windows, demand_per_s, drained=drained, caps=changed, horizon_ns=HORIZON_NS, steps=_STEPS)
    return Supposition(demand_per_s, now, then)
