"""How a manager routes: rules per operation, the fallback chain, patience. Checked once, then frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from .balancer import RoutingRules
from .calls import SHARED_READS
from .errors import ConfigError
from .models import Operation

__all__ = ["ManagerConfig", "RoutingRule", "checked_config"]


class RoutingRule(BaseModel):
    """Where one operation may go. `pin` leaves one broker; `prefer` goes first while it can take the request at once;
    `exclude` never; `weights` multiply a broker's share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pin: str = ""
    prefer: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    weights: dict[str, float] = Field(default_factory=dict)

    def compiled(self, operation: Operation, chain: tuple[str, ...]) -> RoutingRules:
        """The rule as the balancer takes it. Raises ConfigError for one that contradicts itself."""
        try:
            return RoutingRules(
                pin=self.pin, prefer=self.prefer, exclude=frozenset(self.exclude), weights=self.weights, chain=chain
            )
        except ValueError as error:
            message = f"routing_rules.{operation.value}: {error}"
            raise ConfigError(message) from None


class ManagerConfig(BaseModel):
    """How a MultiAPIManager routes. `deadline_ms` bounds the wait for a permit where the caller names no deadline.

    `hedged_reads`: a read of these that takes longer than most is asked at a second broker too; none unless named.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled_apis: tuple[str, ...] = ()
    routing_rules: dict[Operation, RoutingRule] = Field(default_factory=dict)
    fallback_chain: tuple[str, ...] = ()
    deadline_ms: int = Field(default=30_000, ge=1)
    hedged_reads: tuple[Operation, ...] = ()

    @field_validator("hedged_reads")
    @classmethod
    def _only_reads(cls, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        for operation in operations:
            if operation not in SHARED_READS:
                message = f"{operation.value} cannot be asked twice; hedge any of {', '.join(sorted(SHARED_READS))}"
                raise ValueError(message)
        return operations


def checked_config(config: ManagerConfig | Mapping[str, Any]) -> ManagerConfig:
    """The config of a dict. Raises ConfigError with the key that is wrong."""
    if isinstance(config, ManagerConfig):
        return config
    try:
        return ManagerConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "config"
        message = f"manager config: {where}: {first['msg']}"
        raise ConfigError(message) from None
