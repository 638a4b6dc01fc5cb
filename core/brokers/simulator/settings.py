"""What the simulator is told at its start. Whoever only asks for that need not load a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ...clock import DAY, MINUTE, SECOND
from ...models import Budget, Rate
from .exchange import ExchangeSettings
from .faults import Fault, Latency

__all__ = ["FYERS_LIMITS", "UPSTOX_LIMITS", "SimulatorSettings"]

_ORDERS, _READS = frozenset({"orders"}), frozenset({"reads"})
# Written down a second time on purpose: the referee judges the limiter, so it must not learn the limits from it.
UPSTOX_LIMITS: Final = (
    Budget("orders", (Rate(10, SECOND), Rate(500, MINUTE), Rate(2000, 30 * MINUTE)), _ORDERS),
    Budget("reads", (Rate(50, SECOND), Rate(500, MINUTE), Rate(2000, 30 * MINUTE)), _READS),
)
FYERS_LIMITS: Final = (
    Budget("all", (Rate(10, SECOND), Rate(200, MINUTE), Rate(100_000, DAY)), _ORDERS | _READS),
    Budget("orders", (Rate(10, SECOND),), _ORDERS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """What the simulator is. Port 0 picks a free one.

    `separate_ports` opens a further port for each broker, so that one can be down while the other is up.
    `upstox_algo_name` is the one registered at the exchange; with one, give `upstox_limits` of 50 orders a second.
    `strict_block`: at Fyers every call refused by the minute counts as a breach. `count_refused`: refused calls use
    the windows up as well. `logout_revokes`: a log-out ends the token for everyone, as it does in earnest.
    """

    host: str = "127.0.0.1"
    port: int = 0
    separate_ports: bool = False
    seed: int = 1
    upstox_token: str = "demo-upstox-token"  # noqa: S105 - accepted by this server only
    upstox_client_id: str = "demo-upstox-key"
    upstox_secret: str = "demo-upstox-secret"  # noqa: S105
    upstox_algo_name: str = ""
    fyers_client_id: str = "DEMO0001-100"
    fyers_token: str = "demo-fyers-token"  # noqa: S105
    fyers_secret: str = "demo-fyers-secret"  # noqa: S105
    faults: tuple[Fault, ...] = ()
    latency: Latency = field(default_factory=Latency)
    upstox_limits: tuple[Budget, ...] = UPSTOX_LIMITS
    fyers_limits: tuple[Budget, ...] = FYERS_LIMITS
    strict_block: bool = False
    count_refused: bool = False
    retry_after: bool = True
    logout_revokes: bool = True
    exchange: ExchangeSettings | None = None
