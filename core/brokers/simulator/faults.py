"""Faults on order: by rate, by count, by schedule, per operation, drawn from a seed.

The kinds are named after what happens on the wire. Whether the broker took the request is what tells them apart, and
what a client cannot see: it must call each of the middle group unknown.

    never reached the broker   down
    unknown to the client      reset_before_read, error_before_accept, late (nothing done, or not yet)
                               reset_after_accept, error_after_accept, hang, bad_json, wrong_type (done)
                               unacknowledged (done; the broker itself says that it does not know yet)
    answered with a no         storm_429, soft_429 (under HTTP 200), firewall_429 (no JSON), token_expired, maintenance,
                               wrong_ip (orders only: they are taken from registered addresses alone)
    a nuisance                 slow, slow_body, clock_skew
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any, Final

from ...clock import MILLISECOND, SECOND
from ...errors import ConfigError

__all__ = ["ACCEPTED_KINDS", "Fault", "FaultKind", "FaultPlan", "Faults", "Latency", "read_fault_file", "read_plan"]


class FaultKind(StrEnum):
    """What goes wrong."""

    DOWN = "down"
    SLOW = "slow"
    SLOW_BODY = "slow_body"
    RESET_BEFORE_READ = "reset_before_read"
    RESET_AFTER_ACCEPT = "reset_after_accept"
    ERROR_BEFORE_ACCEPT = "error_before_accept"
    ERROR_AFTER_ACCEPT = "error_after_accept"
    HANG = "hang"
    LATE = "late"
    BAD_JSON = "bad_json"
    WRONG_TYPE = "wrong_type"
    UNACKNOWLEDGED = "unacknowledged"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of a fault
    STORM_429 = "storm_429"
    SOFT_429 = "soft_429"
    FIREWALL_429 = "firewall_429"
    MAINTENANCE = "maintenance"
    WRONG_IP = "wrong_ip"
    CLOCK_SKEW = "clock_skew"


MS_MAX: Final = 86_400_000.0  # a day; also the furthest that dates may be off
ACCEPTED_KINDS: Final = frozenset(
    {
        FaultKind.RESET_AFTER_ACCEPT,
        FaultKind.ERROR_AFTER_ACCEPT,
        FaultKind.HANG,
        FaultKind.BAD_JSON,
        FaultKind.WRONG_TYPE,
        FaultKind.UNACKNOWLEDGED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault that may strike. Give `rate` (0 to 1] or `count` (the next so many), not both.

    `operations` are names of operations, all when empty. It strikes from `from_ns` until `until_ns` after the start
    of its `Faults` (None: for ever). `delay_ns` is how much later a slow, hanging or late one is; for clock_skew, how
    far the dates are off. Raises ConfigError.
    """

    kind: FaultKind
    rate: float = 0.0
    count: int = 0
    operations: frozenset[str] = frozenset()
    broker: str = ""
    from_ns: int = 0
    until_ns: int | None = None
    delay_ns: int = SECOND

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not 0.0 <= self.rate <= 1.0:
            raise ConfigError(f"{self.kind.value}: rate is {self.rate!r}; give a number from 0 to 1")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 0:
            raise ConfigError(f"{self.kind.value}: count is {self.count!r}; give a whole number of at least 0")
        if bool(self.rate) == bool(self.count):
            raise ConfigError(f"{self.kind.value}: give either a rate above 0 or a count of at least 1")
        if self.until_ns is not None and self.until_ns <= self.from_ns:
            raise ConfigError(f"{self.kind.value}: it would end before it begins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long an answer takes: `floor_ms`, and above it a lognormal tail of median `median_ms - floor_ms`.

    `sigma` is the shape of the tail, up to 3; 0 makes every answer take `median_ms`. Raises ConfigError.
    """

    floor_ms: float = 0.0
    median_ms: float = 0.0
    sigma: float = 0.5

    def __post_init__(self) -> None:
        for name, most in (("floor_ms", MS_MAX), ("median_ms", MS_MAX), ("sigma", 3.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise ConfigError(f"latency.{name} is {value!r}; give a number from 0 to {most:g}")
        if self.median_ms < self.floor_ms:
            raise ConfigError(f"latency.median_ms is {self.median_ms:g}, below floor_ms of {self.floor_ms:g}")

    @classmethod
    def around(cls, median_ms: float) -> Latency:
        """Answers of about `median_ms`, none in less than half of it."""
        return cls(floor_ms=median_ms / 2, median_ms=median_ms)

    def draw_ns(self, rng: Random) -> int:
        above_ms = self.median_ms - self.floor_ms
        if above_ms and self.sigma:
            above_ms *= rng.lognormvariate(0.0, self.sigma)
        return round((self.floor_ms + above_ms) * MILLISECOND)


class Faults:
    """The faults in force at one broker. `start_ns` is what schedules are counted from."""

    def __init__(self, rng: Random, *, start_ns: int = 0, faults: Iterable[Fault] = ()) -> None:
        self.start_ns = start_ns
        self._rng = rng
        self._faults: list[Fault] = list(faults)
        self.struck: dict[FaultKind, int] = {}

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def set(self, kind: FaultKind | str, amount: float, *, operations: Iterable[str] = (), broker: str = "") -> None:
        """Replace the faults of `kind` at `broker` (empty: at both): a float is a rate, an int a count, 0 ends it.

        1 strikes once, 1.0 every time. Raises ConfigError for an unknown kind or a bad amount.
        """
        kind = fault_kind(kind)
        self._faults = [fault for fault in self._faults if fault.kind is not kind or broker not in {"", fault.broker}]
        if amount == 0 and not isinstance(amount, bool):
            return
        which: Mapping[str, float] = {"rate": amount} if isinstance(amount, float) else {"count": amount}
        self.add(Fault(kind=kind, operations=frozenset(operations), broker=broker, **which))  # type: ignore[arg-type]

    def clear(self) -> None:
        self._faults.clear()

    @property
    def active(self) -> tuple[Fault, ...]:
        return tuple(self._faults)

    def draw(self, operation: str, now_ns: int, *, broker: str = "") -> Fault | None:
        """The fault that strikes this request, None for none: the first in the list that applies and is drawn."""
        if not self._faults:
            return None
        since_ns = now_ns - self.start_ns
        for place, fault in enumerate(self._faults):
            if fault.operations and operation not in fault.operations:
                continue
            if fault.broker and broker != fault.broker:
                continue
            if since_ns < fault.from_ns or (fault.until_ns is not None and since_ns >= fault.until_ns):
                continue
            if fault.rate:
                if self._rng.random() >= fault.rate:
                    continue
            elif fault.count == 1:
                del self._faults[place]
            else:
                self._faults[place] = replace(fault, count=fault.count - 1)
            self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
            return fault
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """What a fault file says."""

    faults: tuple[Fault, ...] = ()
    latency: Latency = field(default_factory=Latency)


_FAULT_KEYS: Final = ("kind", "rate", "count", "operations", "broker", "from_s", "until_s", "delay_ms")
_LATENCY_KEYS: Final = ("floor_ms", "median_ms", "sigma")
_BROKERS: Final = ("upstox", "fyers")


def read_fault_file(path: Path) -> FaultPlan:
    """Read a TOML file of `[[fault]]` tables and one `[latency]`. Raises ConfigError, in one line.

    [latency]
    floor_ms = 5
    median_ms = 20
    sigma = 0.5

    [[fault]]
    kind = "reset_after_accept"
    broker = "upstox"             # both when left out
    operations = ["place_order"]  # all when left out
    rate = 0.01                   # or count = 3; neither: every request
    from_s = 10                   # after the start; until_s: until then
    delay_ms = 1000               # of slow, hang, late, slow_body; of clock_skew, how far off
    """
    try:
        plan = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return read_plan(plan)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_plan(plan: object) -> FaultPlan:
    """The plan that a parsed file (or a JSON body of the same shape) describes. Raises ConfigError."""
    known = _only(plan, ("fault", "latency"), "the file")
    tables = known.get("fault", [])
    if not isinstance(tables, list):
        raise ConfigError("fault is no list of tables; write [[fault]]")
    latency = {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in _only(known.get("latency", {}), _LATENCY_KEYS, "latency").items()
    }
    return FaultPlan(
        faults=tuple(_read_fault(table, f"fault {number}") for number, table in enumerate(tables, 1)),
        latency=Latency(**latency),
    )


def _read_fault(table: object, where: str) -> Fault:
    known = _only(table, _FAULT_KEYS, where)
    if "kind" not in known:
        raise ConfigError(f"{where} has no kind; known: {', '.join(FaultKind)}")
    kind = fault_kind(str(known["kind"]), where)
    operations = known.get("operations", [])
    if not isinstance(operations, list) or not all(isinstance(name, str) for name in operations):
        raise ConfigError(f"{where}: operations is {operations!r}; give a list of names")
    broker = known.get("broker", "")
    if broker not in {"", *_BROKERS}:
        raise ConfigError(f"{where}: broker is {broker!r}; known: {', '.join(_BROKERS)}")
    until_s = known.get("until_s")
    delay_ms_min = -MS_MAX if kind is FaultKind.CLOCK_SKEW else 0.0
    try:
        return Fault(
            kind=kind,
            rate=_number(known.get("rate", 0.0 if "count" in known else 1.0), "rate", 0.0, 1.0),
            count=known.get("count", 0),
            operations=frozenset(operations),
            broker=broker,
            from_ns=round(_number(known.get("from_s", 0), "from_s", 0.0, MS_MAX) * SECOND),
            until_ns=None if until_s is None else round(_number(until_s, "until_s", 0.0, MS_MAX) * SECOND),
            delay_ns=round(_number(known.get("delay_ms", 1000), "delay_ms", delay_ms_min, MS_MAX) * MILLISECOND),
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _only(table: object, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is no table")
    for key in table:
        if key not in keys:
            raise ConfigError(f"{where}: unknown key {key!r}; known: {', '.join(keys)}")
    return table


def _number(value: object, name: str, least: float, most: float) -> float:
    """A finite number; JSON's are Decimals, TOML's may be nan."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not least <= value <= most:
        raise ConfigError(f"{name} is {value!s}; give a number from {least:g} to {most:g}")
    return float(value)


def fault_kind(name: str, where: str = "") -> FaultKind:
    """The kind of that name. Raises ConfigError, beginning with `where`."""
    try:
        return FaultKind(name)
    except ValueError:
        known = ", ".join(FaultKind)
        raise ConfigError(f"{where and where + ': '}unknown kind {name!r}; known: {known}") from None
