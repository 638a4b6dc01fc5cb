"""Suggestions and incidents as rows, and either in full."""

from __future__ import annotations

from typing import Final

from core.clock import MINUTE
from core.models import IncidentRow, Severity, Suggestion

from .table import Column
from .text import MARK, Line, Role, Span, clean, column, duration, fit, level_of, line

__all__ = ["INCIDENT_COLUMNS", "SUGGESTION_COLUMNS", "incident_lines", "suggestion_lines", "suggestion_rows"]


def _level(suggestion: Suggestion) -> Role:
    return Role.OK if suggestion.applied else level_of(suggestion.severity)


def _role(suggestion: Suggestion) -> Role:
    return Role.DIM if suggestion.applied else Role.TEXT


def _word_role(suggestion: Suggestion) -> Role:
    level = _level(suggestion)
    return _role(suggestion) if level is Role.OK else level


def _fresh_role(entry: IncidentRow) -> Role:
    return Role.WARN if entry.age_ns < MINUTE else Role.TEXT


def suggestion_rows(suggestions: tuple[Suggestion, ...]) -> list[Suggestion]:
    """What is to be decided, loudest first, then what was applied."""
    loudness = list(Severity)
    return sorted(suggestions, key=lambda entry: (entry.applied, -loudness.index(entry.severity)))


SUGGESTION_COLUMNS: Final[tuple[Column[Suggestion], ...]] = (
    Column(
        key="severity", title="  how loud", width=11, role=_word_role,
        text=lambda entry: "✓ applied" if entry.applied else f"{MARK[_level(entry)]} {entry.severity.value}",
        raw=lambda entry: entry.severity.value,
    ),
    Column(
        key="title", title="suggestion", width=30, grows=True, role=_word_role,
        text=lambda entry: clean(entry.title), raw=lambda entry: entry.title,
    ),
    Column(
        key="effect", title="effect", width=24, grows=True, need=2, role=_role,
        text=lambda entry: clean(entry.effect), raw=lambda entry: entry.effect,
    ),
    Column(
        key="broker", title="broker", width=10, need=3, role=_role,
        text=lambda entry: clean(entry.provider) or "-", raw=lambda entry: entry.provider,
    ),
    Column(
        key="key", title="by key", width=8, need=1, role=_role,
        text=lambda entry: "u undo" if entry.applied else "a apply" if entry.action else "by hand",
        raw=lambda entry: entry.action,
    ),
    Column(
        key="evidence", title="evidence", width=30, grows=True, need=5, role=lambda _: Role.DIM,
        text=lambda entry: clean(entry.evidence), raw=lambda entry: entry.evidence,
    ),
    Column(
        key="id", title="id", width=16, need=9, role=lambda _: Role.DIM,
        text=lambda entry: clean(entry.id), raw=lambda entry: entry.id,
    ),
)  # fmt: skip

INCIDENT_COLUMNS: Final[tuple[Column[IncidentRow], ...]] = (
    Column(
        key="age", title="ago", width=7, right=True, role=lambda _: Role.DIM,
        text=lambda entry: duration(entry.age_ns), raw=lambda entry: entry.age_ns,
    ),
    Column(
        key="count", title="times", width=6, right=True, need=3,
        text=lambda entry: f"{entry.count}", raw=lambda entry: entry.count,
    ),
    Column(
        key="broker", title="broker", width=10, need=1,
        text=lambda entry: clean(entry.provider) or "-", raw=lambda entry: entry.provider,
    ),
    Column(
        key="kind", title="kind", width=16, role=_fresh_role,
        text=lambda entry: clean(entry.kind).replace("_", " "), raw=lambda entry: entry.kind,
    ),
    Column(
        key="message", title="message", width=24, grows=True,
        text=lambda entry: clean(entry.message), raw=lambda entry: entry.message,
    ),
    Column(
        key="evidence", title="evidence", width=24, grows=True, need=4, role=lambda _: Role.DIM,
        text=lambda entry: clean(entry.evidence), raw=lambda entry: entry.evidence,
    ),
)  # fmt: skip


def suggestion_lines(entry: Suggestion, width: int, _height: int | None = None) -> list[Line]:
    """One suggestion with the figures behind it and what its key would do."""
    facts = (
        ("evidence", clean(entry.evidence) or "-"),
        ("effect", clean(entry.effect) or "-"),
        ("action", clean(entry.action) or "none: only you can do this"),
    )
    lines = [line(Span(f" {MARK[_level(entry)]} {clean(entry.title)}", _word_role(entry)))]
    lines += [line(Span(f"   {column(name, 10)}", Role.DIM), text) for name, text in facts]
    return [fit(row, width) for row in lines]


def incident_lines(entry: IncidentRow, width: int, _height: int | None = None) -> list[Line]:
    """One incident with its evidence."""
    lines = [
        line(Span(f" {clean(entry.provider)} {clean(entry.kind).replace('_', ' ')}", Role.STRONG)),
        line(Span(f" {clean(entry.message)}")),
        line(Span(f" {clean(entry.evidence) or 'no evidence kept'}", Role.DIM)),
    ]
    return [fit(row, width) for row in lines]
