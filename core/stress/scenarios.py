"""Scenarios as data: who comes when, what they do, what breaks, and what must hold all the same.

A scenario is a TOML file. The built-in ones are such files too (`builtin/`), so that each is an example to start from.
Brokers are described here and nowhere else: they are always the embedded, simulated ones. There is no key for an
address, an account or a token, so a scenario cannot name a live broker.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from ..errors import ConfigError
from ..models import APIConfig, APIProvider, Budget, Category, Rate
from .arrivals import Arrivals, ClosedUsers
from .ledger import tradable

__all__ = [
    "BUILT_IN",
    "BrokerSpec",
    "BuiltIn",
    "FaultSpec",
    "Part",
    "Scenario",
    "Step",
    "ThresholdSpec",
    "load_scenario",
    "parse_rate",
    "scenario_text",
]

_NAMES: Final = (
    "users",
    "orders",
    "burst",
    "soak",
    "failover",
    "chaos",
    "market-data",
    "store",
    "limits",
    "gauntlet",
)
_LONGEST_FILE_BYTES: Final = 32 << 20
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
]
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

    `response_ms` is the middle of its answer times. `failure_share` of its answers are lost on purpose.
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

    `value`: milliseconds more for `latency`, the share of requests that it strikes for all others.
    """

    kind: FaultKind
    broker: str
    at_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    until_s: Positive
    value: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.until_s <= self.at_s:
            message = f"the fault ends at {self.until_s:g} s, not after its start at {self.at_s:g} s"
            raise ValueError(message)
        if self.kind != "latency" and self.value > 1:
            message = f"value is {self.value:g}; for {self.kind} it is a share, 0 to 1"
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

    `pick` is `each` (an arrival goes through the whole journey, step by step) or `one` (an arrival does one step, drawn
    by weight). `timeout_s` is the deadline of every single request, waiting included.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str = ""
    seed: int = 0
    pick: Literal["each", "one"] = "each"
    symbols: Annotated[tuple[str, ...], Field(min_length=1)] = _SYMBOLS
    timeout_s: Annotated[float, Field(gt=0, le=24 * 3600, allow_inf_nan=False)] = 30.0
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
            message = f"one journey is for one of router, feed or store; this one mixes {', '.join(sorted(targets))}"
            raise ValueError(message)
        if (targets == {"router"}) != bool(self.brokers):
            message = "the journey needs [[brokers]]" if not self.brokers else "the journey asks no broker"
            raise ValueError(message)
        names = [broker.name for broker in self.brokers]
        if len(set(names)) != len(names):
            message = "two brokers of one name"
            raise ValueError(message)
        for symbol in self.symbols if self.brokers else ():
            if not tradable(symbol):
                message = f"symbols: the simulated exchange does not trade {symbol!r} in single shares"
                raise ValueError(message)
        for number, fault in enumerate(self.faults):
            if fault.broker not in names:
                message = f"faults.{number}: no broker {fault.broker!r}; there are: {', '.join(names)}"
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
    ) -> Scenario:
        """The same scenario with other figures; raises ConfigError for one that its arrivals do not have."""
        values = self.model_dump()
        arrivals = values["arrivals"] or {}
        if seed is not None:
            values["seed"] = seed
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
            key, text = _first_fault(error)
            message = f"scenario {self.name}: {key}: {text}"
            raise ConfigError(message) from None

    @property
    def closed(self) -> ClosedUsers | None:
        """The users, where the model is closed."""
        return self.arrivals if isinstance(self.arrivals, ClosedUsers) else None


def scenario_text(name: str) -> str:
    """The TOML of a built-in scenario."""
    if name not in _NAMES:
        message = f"no scenario {name!r}; built in are: {', '.join(_NAMES)}; a file ends in .toml"
        raise ConfigError(message)
    return resources.files(__package__).joinpath("builtin", f"{name}.toml").read_text(encoding="utf-8")


def load_scenario(name_or_path: str) -> Scenario:
    """A built-in scenario by name, or the one in a `.toml` file.

    Raises ConfigError in one line that names file, line and key.
    """
    if name_or_path in _NAMES:
        return parse_scenario(scenario_text(name_or_path), f"built-in {name_or_path}")
    if not name_or_path.endswith(".toml") and "/" not in name_or_path:
        scenario_text(name_or_path)  # raises, with the list of names
    path = Path(name_or_path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_FILE_BYTES + 1)
        if len(raw) > _LONGEST_FILE_BYTES:
            message = f"{path}: longer than {_LONGEST_FILE_BYTES >> 20} MiB; a scenario is small"
            raise ConfigError(message)
        text = raw.decode("utf-8")
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise ConfigError(message) from None
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 at byte {error.start}"
        raise ConfigError(message) from None
    return parse_scenario(text, str(path))


def parse_scenario(text: str, source: str) -> Scenario:
    """The scenario in `text`; `source` names it in messages. Raises ConfigError with line and key."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column \d+\)|\(at end of document\)", str(error))
        line = int(match[1]) if match and match[1] else text.count("\n") + 1
        reason = re.sub(r"\s*\(at .*\)", "", str(error))
        message = f"{source}:{line}: {_key_on_line(text, line)}{reason}"
        raise ConfigError(message) from None
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        key, reason = _first_fault(error)
        message = f"{source}:{_line_of(text, key)}: {key or 'scenario'}: {reason}"
        raise ConfigError(message) from None


def _first_fault(error: ValidationError) -> tuple[str, str]:
    """Key path and reason of the first fault, each in one line."""
    fault = error.errors(include_url=False, include_input=True)[0]
    # The tag of a union, which pydantic puts into the path and no file holds.
    kinds = {"constant", "ramp", "spike", "poisson", "burst", "replay", "users"}
    path = [str(part) for number, part in enumerate(fault["loc"]) if not (number == 1 and part in kinds)]
    reason = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "union_tag_invalid":
        context = fault["ctx"]
        return f"{path[0]}.kind", f"is {context['tag']!r}; known: {context['expected_tags']}"
    if fault["type"] == "extra_forbidden":
        reason = "no such key"
    elif not isinstance(fault["input"], Mapping | list | tuple):
        reason = f"is {fault['input']!r}; {reason[0].lower()}{reason[1:]}"
    # A rule about several parts names its place itself.
    if not path and (named := re.match(r"(symbols|faults\.\d+): ", reason)):
        return named[1], " ".join(reason[named.end() :].split())
    return ".".join(path), " ".join(reason.split())


def _line_of(text: str, key: str) -> int:
    """The line on which `key` (such as `faults.1.kind`) stands; of its nearest table when it is absent; else 1."""
    lines = _lines_by_key(text)
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return 1


def _lines_by_key(text: str) -> dict[str, int]:
    """Where each key of a TOML text stands: tomllib keeps no positions. Keys inside inline tables get no line."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\"-]+)\s*\]", line):
            table = header[2].replace('"', "")
            head, dot, tail = table.partition(".")
            if dot and head in counts:  # [[brokers.budgets]] belongs to the latest [[brokers]]
                table = f"{head}.{counts[head]}.{tail}"
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}.{counts[table]}"
            lines.setdefault(table, number)
            lines.setdefault(table.partition(".")[0], number)
        elif entry := re.match(r"\s*([\w\"-]+)\s*=", line):
            name = entry[1].replace('"', "")
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def _key_on_line(text: str, line: int) -> str:
    lines = text.splitlines()
    match = re.match(r"\s*([\w.-]+)\s*=", lines[line - 1]) if 0 < line <= len(lines) else None
    return f"{match[1]}: " if match else ""


def dump(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain values, for a report."""
    return scenario.model_dump(mode="json", exclude_none=True)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A scenario that comes with headroom."""

    name: str

    @property
    def description(self) -> str:
        """What it does, in one line."""
        return load_scenario(self.name).description


BUILT_IN: Final[Mapping[str, BuiltIn]] = MappingProxyType({name: BuiltIn(name) for name in _NAMES})
