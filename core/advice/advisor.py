"""Advisor: snapshots in, suggestions out; calm, explained, and each with its way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..clock import MILLISECOND, MINUTE
from ..models import Command, Decided, RouterSnapshot, Severity, Suggestion
from . import headroom, health
from .context import AdviceSettings, Context, Finding, Levers
from .history import History

__all__ = ["KINDS", "Advisor"]

KINDS: Final[Mapping[str, Callable[[Context], Iterator[Finding]]]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            health.unknown_orders,
            health.log_in_again,
            health.blocked_for_day,
            health.no_redundancy,
            health.broker_down,
            health.drain_degrading,
            health.token_expires,
            headroom.window_exhausting,
            headroom.day_budget,
            headroom.limit_above_broker,
            health.breaker_flapping,
            health.latency_step,
            headroom.orders_squeezed,
            headroom.usage_spike,
            health.queue_dominates,
            health.clock_skew,
            health.loop_lag,
            headroom.resume_drained,
            headroom.limit_below_published,
            headroom.one_carries_all,
            headroom.headroom_unused,
            health.efficiency_low,
            headroom.cache_reads,
            headroom.batch_quotes,
            headroom.stagger_users,
            health.enable_hedging,
            health.events_dropped,
        )
    }
)
_LOUDNESS: Final = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
_ORDER: Final = {kind: place for place, kind in enumerate(KINDS)}
_SETTLE_NS: Final = 500 * MILLISECOND
# How long after a start the cause of something dismissed before it may take to show itself again.
_REMEMBERED_NS: Final = MINUTE


@dataclass(slots=True)
class _Entry:
    """One cause, from its first sight until it has been gone for a while."""

    finding: Finding
    first_ns: int
    last_ns: int
    told_ns: int
    shown: bool = False
    applied: bool = False
    dismissed: bool = False


class Advisor:
    """Judges about one snapshot a second. Asked more often, it gives the same answer again.

    It reads nothing but snapshots and changes nothing: `command_for` and `undo_for` say what a router would have to do.
    """

    def __init__(self, *, settings: AdviceSettings | None = None, levers: Levers | None = None) -> None:
        self._settings = settings or AdviceSettings()
        self.levers = levers or Levers()
        self._history = History()
        self._entries: dict[str, _Entry] = {}
        self._remembered: dict[str, Severity] = {}
        self._remembered_until_ns: int | None = None
        self._seen_ns: int | None = None
        self._suggestions: tuple[Suggestion, ...] = ()

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """What to tell now, most urgent first."""
        return self._suggestions

    @property
    def dismissed(self) -> Mapping[str, Severity]:
        """What the operator does not want to see now, and how loud it was when he said so."""
        told = {key: entry.finding.severity for key, entry in self._entries.items() if entry.dismissed}
        return {**self._remembered, **told}

    def remember(self, dismissed: Mapping[str, Severity]) -> None:
        """Take over what was dismissed before a restart: hidden while its cause stands, unless it is louder now.

        What does not show itself within a minute of the first look has gone meanwhile, and is forgotten.
        """
        self._remembered = dict(dismissed)

    def due(self, now_ns: int) -> bool:
        """Whether a snapshot of `now_ns` would be judged; within half a second of the last one it is not."""
        return self._seen_ns is None or not 0 <= now_ns - self._seen_ns < _SETTLE_NS

    def observe(self, snapshot: RouterSnapshot, decided: Sequence[Decided] | None = None) -> tuple[Suggestion, ...]:
        """Learn one snapshot and judge anew. A snapshot older than the last one begins a new history.

        `decided`: the latest decisions, newest first, of who spares himself to put them into the snapshot.
        """
        now_ns = snapshot.at_ns
        if not self.due(now_ns):
            return self._suggestions
        if self._seen_ns is not None and now_ns < self._seen_ns:
            self._history, self._entries = History(), {}
        self._seen_ns = now_ns
        if self._remembered_until_ns is None:
            self._remembered_until_ns = now_ns + _REMEMBERED_NS
        elif now_ns > self._remembered_until_ns:
            self._remembered.clear()
        self._history.add(snapshot, decided)
        shown = frozenset(key for key, entry in self._entries.items() if entry.shown)
        context = Context(snapshot, self._history, self._settings, self.levers, shown)
        for kind in KINDS.values():
            for finding in kind(context):
                self._note(finding, now_ns)
        self._settle(now_ns)
        self._suggestions = self._told()
        return self._suggestions

    def command_for(self, suggestion_id: str) -> Command | None:
        """What applying it means; None when it is gone, applied already, or only the operator can do it."""
        entry = self._entries.get(suggestion_id)
        return entry.finding.offer.command if entry is not None and entry.shown and not entry.applied else None

    def undo_for(self, suggestion_id: str) -> Command | None:
        """What takes it back; None unless it was applied."""
        entry = self._entries.get(suggestion_id)
        return entry.finding.offer.undo if entry is not None and entry.applied else None

    def mark_applied(self, suggestion_id: str) -> None:
        """It was carried out: keep it, with its undo as it is now, until it is taken back or dismissed."""
        entry = self._entries.get(suggestion_id)
        if entry is not None and entry.finding.offer.command is not None:
            entry.applied = True
            self._suggestions = self._told()

    def mark_undone(self, suggestion_id: str) -> None:
        """It was taken back: hidden until its cause has gone and come back."""
        entry = self._entries.get(suggestion_id)
        if entry is not None and entry.applied:
            entry.applied, entry.dismissed = False, True
            self._suggestions = self._told()

    def dismiss(self, suggestion_id: str) -> None:
        """Hide it until its cause has gone and come back."""
        entry = self._entries.get(suggestion_id)
        if entry is not None:
            entry.dismissed = True
            self._suggestions = self._told()

    def _note(self, finding: Finding, now_ns: int) -> None:
        entry = self._entries.get(finding.id)
        if entry is None:
            entry = self._entries[finding.id] = _Entry(finding, now_ns, now_ns, now_ns)
            before = self._remembered.pop(finding.id, None)
            entry.dismissed = before is not None and _LOUDNESS[finding.severity] >= _LOUDNESS[before]
        entry.last_ns = now_ns
        louder = _LOUDNESS[finding.severity] < _LOUDNESS[entry.finding.severity]
        if not entry.applied and (louder or now_ns - entry.told_ns >= self._settings.refresh_ns):
            entry.finding, entry.told_ns = finding, now_ns
        if louder:
            entry.dismissed = False  # it has become worse than what was dismissed
        if not entry.shown:
            critical = finding.severity is Severity.CRITICAL
            entry.shown = critical or now_ns - entry.first_ns >= self._settings.hold_ns

    def _settle(self, now_ns: int) -> None:
        for key, entry in list(self._entries.items()):
            gone_ns = now_ns - entry.last_ns
            # Before it was shown, a gap of one look is enough to start again: it has to stand, not to come and go.
            patience_ns = self._settings.linger_ns if entry.shown else self._settings.hold_ns // 2
            if gone_ns > patience_ns and not (entry.applied and not entry.dismissed):
                del self._entries[key]

    def _told(self) -> tuple[Suggestion, ...]:
        told = sorted(
            (entry for entry in self._entries.values() if entry.shown and not entry.dismissed),
            key=lambda entry: (
                _LOUDNESS[entry.finding.severity],
                _ORDER[entry.finding.kind],
                entry.first_ns,
                entry.finding.provider,
            ),
        )
        return tuple(
            Suggestion(
                id=entry.finding.id,
                kind=entry.finding.kind,
                severity=entry.finding.severity,
                title=entry.finding.title,
                evidence=entry.finding.evidence,
                effect=entry.finding.effect,
                action=entry.finding.offer.action,
                provider=entry.finding.provider,
                since_ns=entry.first_ns,
                applied=entry.applied,
            )
            for entry in told[: self._settings.shown_most]
        )
