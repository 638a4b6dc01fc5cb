"""Scenarios as data: who comes when, what they do, what breaks, and what must hold all the same.

A scenario is a TOML file. The built-in ones are such files too (`builtin/`), so that each is an example to start from.
Brokers are described here and nowhere else: they are always the embedded, simulated ones. There is no key for an
address, an account or a token, so a scenario cannot name a live broker.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from ..errors import ConfigError
from ..models import APIConfig, APIProvider, Budget, Category, Rate
from .arrivals import Arrivals, ClosedUsers
from .ledger import tradable
from .places import first_fault

__all__ = [
    "BrokerSpec",
    "FaultSpec",
    "Part",
    "Scenario",
    "Step",
    "ThresholdSpec",
    "dump",
    "parse_rate",
]

_UNITS_NS: Final = {"ms": MILLISECOND, "s": SECOND, "min": MINUTE, "h": HOUR, "day": DAY}
_RATE: Final = re.compile(r"\s*(\d+)\s*/\s*(\d*)\s*(ms|s|min|h|day)\s*\Z")

StepOperation = Literal[
    "login",
    "get_portfolio",
    "get_market_data",
    "place_order",
    "modify_order",
    "cancel_order",
    "get_positions",
    "get_orders",
    "logout",
    "publish_ticks",
    "store_trade",
    "recent_trades",
    "update_status",
]
FaultKind = Literal[
    "latency",
    "down",
    "reset_before_read",
    "reset_after_accept",
    "error_before_accept",
    "error_after_accept",
    "hang",
    "late",
    "bad_json",
    "storm_429",
    "token_expired",
    "maintenance",
    "slow_disk",
]
_IN_MS: Final = frozenset({"latency", "slow_disk"})
_SYMBOLS: Final = ("NSE:SBIN-EQ", "NSE:RELIANCE-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ", "NSE:HDFCBANK-EQ")
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def parse_rate(text: str) -> Rate:
    """`10/s`, `200/min`, `5/250ms` as a Rate. Raises ValueError for anything else."""
    match = _RATE.match(text)
    if match is None:
        message = f"{text!r} is no rate; write permits/window such as 10/s, 200/min or 2000/30min"
        raise ValueError(message)
    permits, count, unit = match.groups()
    return Rate(int(permits), int(count or 1) * _UNITS_NS[unit])


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BudgetSpec(_Part):
    """One budget of a broker: `rates` such as `["10/s", "200/min"]`, shared by its `categories`."""

    name: str = "all"
    rates: Annotated[tuple[str, ...], Field(min_length=1)]
    categories: tuple[Category, ...] = tuple(Category)

    @field_validator("rates")
    @classmethod
    def _readable(cls, rates: tuple[str, ...]) -> tuple[str, ...]:
        for rate in rates:
            parse_rate(rate)
        return rates

    def budget(self) -> Budget:
        """The same as the limiter takes it."""
        return Budget(self.name, tuple(parse_rate(rate) for rate in self.rates), frozenset(self.categories))


class BrokerSpec(_Part):
    """One embedded broker: its limits, how fast it answers, how often it fails by itself.

    `response_ms` is the middle of its answer times. `failure_share` of its requests end in an error that took nothing.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    provider: APIProvider = APIProvider.MOCK
    budgets: Annotated[tuple[BudgetSpec, ...], Field(min_length=1)]
    response_ms: Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)] = 20.0
    failure_share: Share = 0.0

    def config(self) -> APIConfig:
        """As the router takes it: simulated, without address or secret."""
        budgets = tuple(budget.budget() for budget in self.budgets)
        return APIConfig(provider=self.provider, budgets=budgets, simulated=True)


class Step(_Part):
    """One thing a user does. `weight` counts where steps are drawn; `count` is ticks in one `publish_ticks`."""

    operation: StepOperation
    weight: Positive = 1.0
    count: Annotated[int, Field(ge=1, le=100_000)] = 1

    @property
    def target(self) -> str:
        """What the step needs: router, feed or store."""
        if self.operation == "publish_ticks":
            return "feed"
        return "store" if self.operation in {"store_trade", "recent_trades", "update_status"} else "router"


class FaultSpec(_Part):
    """Something that breaks at `at_s` and is whole again at `until_s`.

    `value`: milliseconds more of every answer for `latency`, of every commit for `slow_disk`, which has no broker; the
    share of the broker's requests that it strikes for all others.
    """

    kind: FaultKind
    broker: str = ""
    at_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    until_s: Positive
    value: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.until_s <= self.at_s:
            message = f"the fault ends at {self.until_s:g} s, not after its start at {self.at_s:g} s"
            raise ValueError(message)
        if self.kind not in _IN_MS and self.value > 1:
            message = f"value is {self.value:g}; for {self.kind} it is a share, 0 to 1"
            raise ValueError(message)
        if (self.kind == "slow_disk") == bool(self.broker):
            message = "slow_disk has no broker" if self.broker else f"{self.kind} needs a broker"
            raise ValueError(message)
        return self


class ThresholdSpec(_Part):
    """What must hold. Violations, duplicates, ghosts, lost orders and bugs must always be 0; that is no choice.

    Shares are 0..1, times are milliseconds; what is absent is not judged.
    """

    failures: Annotated[int, Field(ge=0)] | None = None
    failure_share: Share | None = None
    p50_ms: Positive | None = None
    p99_ms: Positive | None = None
    p999_ms: Positive | None = None
    max_ms: Positive | None = None
    service_p99_ms: Positive | None = None
    achieved_share: Share | None = None
    per_second: Positive | None = None
    of_bound: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    of_capacity: Share | None = None
    efficiency: Share | None = None
    recovery_s: Positive | None = None
    memory_growth_mib: Positive | None = None


class Part(_Part):
    """One scenario of a suite, with what is changed in it."""

    scenario: str
    duration_s: Positive | None = None
    rate: Positive | None = None
    users: Annotated[int, Field(ge=1)] | None = None


class Scenario(_Part):
    """A whole scenario; see `builtin/*.toml` for examples.

    `wire`: the brokers live in memory, or behind HTTP on this machine, where the real adapters speak to them.
    `pick` is `each` (an arrival goes through the whole journey, step by step) or `one` (an arrival does one step, drawn
    by weight). `timeout_s` is the deadline of every single request, waiting included.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str = ""
    seed: int = 0
    pick: Literal["each", "one"] = "each"
    symbols: Annotated[tuple[str, ...], Field(min_length=1)] = _SYMBOLS
    timeout_s: Annotated[float, Field(gt=0, le=24 * 3600, allow_inf_nan=False)] = 30.0
    wire: Literal["memory", "http"] = "memory"
    in_flight_max: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    warm_up_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    arrivals: Arrivals | None = None
    journey: tuple[Step, ...] = ()
    brokers: tuple[BrokerSpec, ...] = ()
    faults: tuple[FaultSpec, ...] = ()
    thresholds: ThresholdSpec = ThresholdSpec()
    parts: tuple[Part, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.parts:
            if self.arrivals or self.journey or self.brokers or self.faults:
                message = "a scenario of parts has no arrivals, journey, brokers or faults of its own"
                raise ValueError(message)
            return self
        if self.arrivals is None or not self.journey:
            message = "give [arrivals] and at least one [[journey]], or [[parts]]"
            raise ValueError(message)
        self._check_brokers()
        return self

    def _check_brokers(self) -> None:
        targets = {step.target for step in self.journey}
        if len(targets) > 1:
            odd = next(number for number, step in enumerate(self.journey) if step.target != self.target)
            mixed = f"one journey is for one of router, feed or store; this one mixes {', '.join(sorted(targets))}"
            message = f"journey.{odd}.operation: {mixed}"
            raise ValueError(message)
        if (targets == {"router"}) != bool(self.brokers):
            message = "the journey needs [[brokers]]" if not self.brokers else "the journey asks no broker"
            raise ValueError(message)
        names = [broker.name for broker in self.brokers]
        for number, name in enumerate(names):
            if name in names[:number]:
                message = f"brokers.{number}.name: two brokers of one name, {name!r}"
                raise ValueError(message)
        for symbol in self.symbols if self.brokers else ():
            if not tradable(symbol):
                message = f"symbols: the simulated exchange does not trade {symbol!r} in single shares"
                raise ValueError(message)
        for number, fault in enumerate(self.faults):
            if fault.kind == "slow_disk" and targets == {"feed"}:
                message = f"faults.{number}: ticks touch no disk"
                raise ValueError(message)
            if fault.broker and fault.broker not in names:
                message = f"faults.{number}: no broker {fault.broker!r}; there are: {', '.join(names) or 'none'}"
                raise ValueError(message)

    @property
    def target(self) -> str:
        """What is loaded: router, feed or store; suite for a scenario of parts."""
        return self.journey[0].target if self.journey else "suite"

    def changed(
        self,
        *,
        rate: float | None = None,
        duration_s: float | None = None,
        users: int | None = None,
        seed: int | None = None,
        http: bool = False,
    ) -> Scenario:
        """The same scenario with other figures; raises ConfigError for one that its arrivals do not have."""
        values = self.model_dump()
        arrivals = values["arrivals"] or {}
        if seed is not None:
            values["seed"] = seed
        if http:
            if not self.brokers and not self.parts:
                message = f"scenario {self.name}: --http does not fit, it asks no broker"
                raise ConfigError(message)
            values["wire"] = "http"
        for flag, value, keys in (
            ("rate", rate, ("rate", "to_rate")),
            ("duration", duration_s, ("duration_s",)),
            ("users", users, ("users",)),
        ):
            if value is None:
                continue
            fitting = [key for key in keys if key in arrivals]
            if not fitting:
                kind = arrivals.get("kind", "parts")
                message = f"scenario {self.name}: --{flag} does not fit its arrivals, which are of kind {kind}"
                raise ConfigError(message)
            arrivals[fitting[0]] = value
        try:
            return Scenario.model_validate(values)
        except ValidationError as error:
            key, text = first_fault(error)
            message = f"scenario {self.name}: {key}: {text}"
            raise ConfigError(message) from None

    @property
    def closed(self) -> ClosedUsers | None:
        """The users, where the model is closed."""
        return self.arrivals if isinstance(self.arrivals, ClosedUsers) else None


def dump(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain values, for a report."""
    return scenario.model_dump(mode="json", exclude_none=True)
