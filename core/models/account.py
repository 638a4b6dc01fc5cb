"""One broker account as it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from .api import RATE_LIMIT_WINDOWS_NS, APIProvider, Budget, Rate

__all__ = ["APIConfig"]

# The only places where a simulated account may live: this machine, and the sandboxes that brokers publish.
SIMULATED_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1", "api-sandbox.upstox.com"})


class APIConfig(BaseModel):
    """One broker account: its limits, its address, its secrets. Checks itself once, then never changes.

    Limits are given in one of two ways. `rate_limits` and `rates` together are one budget of everything; `budgets`
    tell categories apart. `shared_counts` names a file in which all processes of this host that trade on the account
    count together. Secrets print as stars.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    provider: APIProvider
    rate_limits: dict[str, int] = Field(default_factory=dict)
    rates: tuple[Rate, ...] = ()
    budgets: tuple[Budget, ...] = ()
    shared_counts: Path | None = None
    client_id: str = ""
    api_key: SecretStr = SecretStr("")
    api_secret: SecretStr = SecretStr("")
    access_token: SecretStr = SecretStr("")
    base_url: str = ""
    timeout_ms: int = Field(default=7_000, ge=1, le=120_000)
    simulated: bool = False
    algo_name: str = ""

    @field_validator("rate_limits", mode="before")
    @classmethod
    def _whole_numbers(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            message = "rate_limits is a table of window = permits"
            raise ValueError(message)
        for name, permits in value.items():
            if name not in RATE_LIMIT_WINDOWS_NS:
                known = ", ".join(RATE_LIMIT_WINDOWS_NS)
                message = f"rate_limits has no window {name!r}; known: {known}; others go into rates"
                raise ValueError(message)
            if isinstance(permits, bool) or not isinstance(permits, int) or permits < 1:
                message = f"{name} is {permits!r}; give a whole number of at least 1"
                raise ValueError(message)
        return dict(value)

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.budgets and (self.rate_limits or self.rates):
            message = "give either budgets, or rate_limits and rates, not both"
            raise ValueError(message)
        if not self.limits:
            message = f"{self.provider.value} has no rate limit; without one nothing would be kept"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _simulated_is_true(self) -> Self:
        # `simulated` lets orders be placed for show and for stress: it must not be a word that a live address can bear.
        host = urlsplit(self.base_url).hostname or ""
        if self.simulated and self.base_url and host not in SIMULATED_HOSTS:
            known = ", ".join(sorted(SIMULATED_HOSTS))
            message = f"simulated is true, but base_url leads to {host!r}; it may only lead to one of {known}"
            raise ValueError(message)
        return self

    @property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets in force; `rate_limits` and `rates` become one named `all`, shortest window first."""
        if self.budgets:
            return self.budgets
        rates = [Rate(permits, RATE_LIMIT_WINDOWS_NS[name]) for name, permits in self.rate_limits.items()]
        rates = sorted([*rates, *self.rates], key=lambda rate: rate.window_ns)
        return (Budget("all", tuple(rates)),) if rates else ()

    @property
    def registered_algo(self) -> bool:
        """Whether the account has an algo that is registered at the exchange, which may raise its limits."""
        return bool(self.algo_name)

    def public(self) -> dict[str, Any]:
        """What may be shown: everything but the secrets."""
        return self.model_dump(mode="json", exclude={"api_key", "api_secret", "access_token"})
