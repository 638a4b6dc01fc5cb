"""Alerts: rules over snapshots, each with an edge. Pure: snapshots and the hour in, rows out; no clock, no screen.

What each rule looks at, and which key of the table `[alerts]` moves its threshold, stands in docs/alerts.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Final

from ..clock import MILLISECOND, MINUTE, SECOND
from ..errors import ConfigError
from ..models import (
    AlertRow,
    BreakerState,
    BrokerSnapshot,
    HealthStatus,
    RouterSnapshot,
    Severity,
    WindowHeadroom,
)

__all__ = ["RULES", "AlertSettings", "Alerts"]

_LOUDNESS: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
_IN_DOUBT: Final = frozenset({"UNKNOWN", "QUARANTINED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """The table `[alerts]`. Raises ConfigError for a number out of its bounds.

    `window_free_percent`: a window with less than this free is low. `exhausts_within_s`: one that will be gone so soon.
    `token_within_min`, `loop_lag_ms`: as they say. `quiet_s`: a refusal, or a fault of the store, counts as over when
    none has come for so long. `clear_after_s`: a cause must have been gone for so long before its alert clears.
    `release`: a threshold that was passed counts as this much easier, so that a figure on the edge does not flicker.
    `bell`: ring the terminal's bell when an alert is raised. `off`: rules that are not judged at all.
    """

    window_free_percent: float = 10.0
    exhausts_within_s: float = 30.0
    token_within_min: float = 30.0
    loop_lag_ms: float = 250.0
    quiet_s: float = 30.0
    clear_after_s: float = 3.0
    release: float = 1.25
    bell: bool = True
    off: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 1.0 if field.name == "release" else 0.0
            if field.name not in {"bell", "off"} and not least <= value < 1e6:
                message = f"alerts.{field.name} is {value!r}; give a number of at least {least:g}"
                raise ConfigError(message)
        if unknown := self.off - RULES.keys():
            message = f"alerts.off: there is no rule {min(unknown)!r}; there are {', '.join(RULES)}"
            raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class _Cause:
    """What a rule found. `about` tells its causes apart."""

    about: str
    severity: Severity
    message: str
    provider: str = ""


@dataclass(slots=True)
class _Totals:
    """How many refusals a broker had when they last grew, and when that was."""

    refusals: int = 0
    grew_ns: int | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """One snapshot, the settings, the refusals so far, and which alerts stand already."""

    snapshot: RouterSnapshot
    settings: AlertSettings
    totals: Mapping[str, _Totals]
    standing: Mapping[str, _Standing]

    def eased(self, rule: str, about: str) -> float:
        """1 for an alert that does not stand; above 1 for one that does: its threshold is easier to stay beyond."""
        return self.settings.release if f"{rule}:{about}" in self.standing else 1.0


@dataclass(slots=True)
class _Standing:
    """An alert that stands, and when its cause was last seen."""

    row: AlertRow
    seen_ns: int


Rule = Callable[[_Look], Iterator[_Cause]]


def window_low(look: _Look) -> Iterator[_Cause]:
    """A window longer than a second has little left; none left is critical."""
    for broker, window in _long_windows(look.snapshot):
        about = f"{broker.name} {window.name}"
        share = 100 * window.free / window.rate.permits
        if share < look.settings.window_free_percent * look.eased("window_low", about):
            full = not window.free
            text = f"{about} is full" if full else f"{about} has {share:.0f} % left, {window.free} permits"
            yield _Cause(about, Severity.CRITICAL if full else Severity.WARNING, text, broker.name)


def window_exhausts(look: _Look) -> Iterator[_Cause]:
    """A window longer than a second will be gone soon at the present rate."""
    for broker, window in _long_windows(look.snapshot):
        about = f"{broker.name} {window.name}"
        out_in_ns = window.forecast.exhausted_in_ns
        limit_ns = look.settings.exhausts_within_s * SECOND * look.eased("window_exhausts", about)
        if window.free and out_in_ns is not None and out_in_ns <= limit_ns:
            text = f"{about} is gone in {out_in_ns / SECOND:.0f} s at {window.forecast.rate_per_s:.1f}/s"
            yield _Cause(about, Severity.WARNING, text, broker.name)


def order_in_doubt(look: _Look) -> Iterator[_Cause]:
    """An order left and nobody knows whether it is live."""
    for order in look.snapshot.orders:
        if order.status in _IN_DOUBT:
            text = (
                f"{order.order_id} is {order.status} at {order.provider}: {order.side} {order.quantity} {order.symbol}"
            )
            yield _Cause(order.order_id, Severity.CRITICAL, text, order.provider)


def breaker_open(look: _Look) -> Iterator[_Cause]:
    """A circuit breaker keeps traffic away from a broker."""
    for broker in look.snapshot.brokers:
        if broker.breaker is not BreakerState.CLOSED:
            yield _Cause(broker.name, Severity.CRITICAL, f"{broker.name}: breaker open: {broker.reason}", broker.name)


def blocked_for_day(look: _Look) -> Iterator[_Cause]:
    """A broker takes nothing more today."""
    for broker in look.snapshot.brokers:
        if broker.health is HealthStatus.BLOCKED_FOR_DAY:
            yield _Cause(broker.name, Severity.CRITICAL, f"{broker.name} is blocked for the day", broker.name)


def refused(look: _Look) -> Iterator[_Cause]:
    """A broker said that we are above a limit (429 or its kin)."""
    quiet_ns = look.settings.quiet_s * SECOND
    for broker in look.snapshot.brokers:
        grew_ns = look.totals[broker.name].grew_ns
        if grew_ns is not None and look.snapshot.at_ns - grew_ns <= quiet_ns:
            text = f"{broker.name} refused us: {broker.refusals} so far"
            yield _Cause(broker.name, Severity.WARNING, text, broker.name)


def token_expires(look: _Look) -> Iterator[_Cause]:
    """A token ends soon, or was refused."""
    for broker in look.snapshot.brokers:
        left_ns = broker.token_expires_in_ns
        limit_ns = look.settings.token_within_min * MINUTE * look.eased("token_expires", broker.name)
        if broker.health is HealthStatus.AUTH_FAILED or (left_ns is not None and left_ns <= 0):
            yield _Cause(
                broker.name, Severity.CRITICAL, f"{broker.name}: log in again, its token is no good", broker.name
            )
        elif left_ns is not None and left_ns <= limit_ns:
            text = f"{broker.name}: its token expires in {left_ns / MINUTE:.0f} min"
            yield _Cause(broker.name, Severity.WARNING, text, broker.name)


def store_failing(look: _Look) -> Iterator[_Cause]:
    """The journal could not be written or read."""
    recent = [
        incident
        for incident in look.snapshot.incidents
        if incident.kind == "store" and incident.age_ns <= look.settings.quiet_s * SECOND
    ]
    if recent:
        yield _Cause("", Severity.CRITICAL, f"the store fails: {recent[0].message}")


def loop_lag(look: _Look) -> Iterator[_Cause]:
    """The engine's own loop is late: orders leave late."""
    lag_ns = look.snapshot.cost.loop_lag_ns
    # What is eased is a lower bound here, so that it goes down.
    if lag_ns >= look.settings.loop_lag_ms * MILLISECOND / look.eased("loop_lag", ""):
        yield _Cause("", Severity.WARNING, f"the engine's loop is {lag_ns / MILLISECOND:.0f} ms late")


def halted(look: _Look) -> Iterator[_Cause]:
    """The kill switch is on."""
    if look.snapshot.halted:
        yield _Cause("", Severity.CRITICAL, f"trading is halted: {look.snapshot.halted}")


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            order_in_doubt,
            halted,
            store_failing,
            blocked_for_day,
            breaker_open,
            window_low,
            window_exhausts,
            refused,
            token_expires,
            loop_lag,
        )
    }
)


def _long_windows(snapshot: RouterSnapshot) -> Iterator[tuple[BrokerSnapshot, WindowHeadroom]]:
    """Windows of a second or less fill and empty all day: they are nobody's alarm."""
    for broker in snapshot.brokers:
        for window in broker.windows:
            if window.rate.window_ns > SECOND:
                yield broker, window


class Alerts:
    """Judges about one snapshot a second, keeps what stands and the last `kept` that cleared."""

    def __init__(self, settings: AlertSettings | None = None, *, kept: int = 100) -> None:
        self.settings = settings or AlertSettings()
        self._standing: dict[str, _Standing] = {}
        self._cleared: deque[AlertRow] = deque(maxlen=kept)
        self._totals: dict[str, _Totals] = {}
        self._rows: tuple[AlertRow, ...] = ()

    @property
    def rows(self) -> tuple[AlertRow, ...]:
        """What stands, loudest first and then oldest first; then what cleared, newest first."""
        return self._rows

    def observe(self, snapshot: RouterSnapshot) -> tuple[AlertRow, ...]:
        """Judge one snapshot: raise what is met, clear what has been over for long enough."""
        self._count_refusals(snapshot)
        look = _Look(snapshot, self.settings, self._totals, self._standing)
        found = {
            f"{name}:{cause.about}": (name, cause)
            for name, rule in RULES.items()
            if name not in self.settings.off
            for cause in rule(look)
        }
        for id_, (name, cause) in found.items():
            self._raise(id_, name, cause, snapshot)
        patience_ns = self.settings.clear_after_s * SECOND
        for id_, standing in list(self._standing.items()):
            if id_ not in found and snapshot.at_ns - standing.seen_ns >= patience_ns:
                del self._standing[id_]
                self._cleared.appendleft(replace(standing.row, cleared_epoch_ns=snapshot.epoch_ns))
        self._tell()
        return self._rows

    def acknowledge(self, alert_id: str, *, epoch_ns: int) -> int:
        """Somebody has seen it, or all of them for an empty id; how many that were.

        Raises ConfigError for an id that does not stand.
        """
        if alert_id and alert_id not in self._standing:
            message = f"no alert {alert_id!r} stands; it may have cleared"
            raise ConfigError(message)
        seen = [
            standing
            for id_, standing in self._standing.items()
            if alert_id in {"", id_} and not standing.row.acknowledged_epoch_ns
        ]
        for standing in seen:
            standing.row = replace(standing.row, acknowledged_epoch_ns=epoch_ns)
        self._tell()
        return len(seen)

    def _count_refusals(self, snapshot: RouterSnapshot) -> None:
        for broker in snapshot.brokers:
            known = self._totals.get(broker.name)
            if known is None:
                # What was refused before we looked is history, unless there was no before.
                known = self._totals[broker.name] = _Totals(
                    0 if broker.requests == broker.refusals else broker.refusals
                )
            if broker.refusals > known.refusals:
                known.grew_ns = snapshot.at_ns
            known.refusals = broker.refusals

    def _raise(self, id_: str, rule: str, cause: _Cause, snapshot: RouterSnapshot) -> None:
        standing = self._standing.get(id_)
        if standing is None:
            row = AlertRow(
                id=id_,
                rule=rule,
                severity=cause.severity,
                message=cause.message,
                provider=cause.provider,
                raised_epoch_ns=snapshot.epoch_ns,
            )
            self._standing[id_] = _Standing(row, snapshot.at_ns)
            return
        standing.seen_ns = snapshot.at_ns
        louder = _LOUDNESS[cause.severity] < _LOUDNESS[standing.row.severity]
        standing.row = replace(
            standing.row,
            severity=cause.severity,
            message=cause.message,
            # It has become worse than what was acknowledged.
            acknowledged_epoch_ns=0 if louder else standing.row.acknowledged_epoch_ns,
        )

    def _tell(self) -> None:
        standing = sorted(
            (standing.row for standing in self._standing.values()),
            key=lambda row: (bool(row.acknowledged_epoch_ns), _LOUDNESS[row.severity], row.raised_epoch_ns),
        )
        self._rows = (*standing, *self._cleared)
