"""Faults on order: by rate, by count, by schedule, per operation, drawn from a seed.

The kinds are named after what happens on the wire. Whether the broker took the request is what tells them apart, and
what a client cannot see: it must call each of the middle group unknown.

    never reached the broker   down
    unknown to the client      reset_before_read, error_before_accept, late (nothing done, or not yet)
                               reset_after_accept, error_after_accept, hang, bad_json, wrong_type (done)
    answered with a no         storm_429, firewall_429, token_expired, maintenance
    a nuisance                 slow, slow_body, clock_skew
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final

from ...clock import SECOND
from ...errors import ConfigError

__all__ = ["ACCEPTED_KINDS", "Fault", "FaultKind", "Faults"]


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
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of a fault
    STORM_429 = "storm_429"
    FIREWALL_429 = "firewall_429"
    MAINTENANCE = "maintenance"
    CLOCK_SKEW = "clock_skew"


ACCEPTED_KINDS: Final = frozenset(
    {
        FaultKind.RESET_AFTER_ACCEPT,
        FaultKind.ERROR_AFTER_ACCEPT,
        FaultKind.HANG,
        FaultKind.BAD_JSON,
        FaultKind.WRONG_TYPE,
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
            raise ConfigError(f"fault {self.kind.value}: rate is {self.rate!r}; give a number from 0 to 1")
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 0:
            raise ConfigError(f"fault {self.kind.value}: count is {self.count!r}; give a whole number of at least 0")
        if bool(self.rate) == bool(self.count):
            raise ConfigError(f"fault {self.kind.value}: give either a rate above 0 or a count of at least 1")
        if self.until_ns is not None and self.until_ns <= self.from_ns:
            raise ConfigError(f"fault {self.kind.value}: it would end before it begins")


class Faults:
    """The faults in force at one broker. `start_ns` is what schedules are counted from."""

    def __init__(self, rng: Random, *, start_ns: int = 0, faults: Iterable[Fault] = ()) -> None:
        self.start_ns = start_ns
        self._rng = rng
        self._faults: list[Fault] = list(faults)
        self.struck: dict[FaultKind, int] = {}

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def set(self, kind: FaultKind | str, amount: float, *, operations: Iterable[str] = (), **more: int) -> None:
        """Replace the faults of `kind`: a float is a rate, an int a count, 0 takes the fault away.

        1 strikes once, 1.0 every time. Raises ConfigError for an unknown kind or a bad amount.
        """
        kind = fault_kind(kind)
        self._faults = [fault for fault in self._faults if fault.kind is not kind]
        if amount == 0 and not isinstance(amount, bool):
            return
        which: Mapping[str, float] = {"rate": amount} if isinstance(amount, float) else {"count": amount}
        self.add(Fault(kind=kind, operations=frozenset(operations), **which, **more))  # type: ignore[arg-type]

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


def fault_kind(name: str) -> FaultKind:
    """The kind of that name. Raises ConfigError."""
    try:
        return FaultKind(name)
    except ValueError:
        known = ", ".join(FaultKind)
        raise ConfigError(f"unknown fault {name!r}; known: {known}") from None
