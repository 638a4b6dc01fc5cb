"""The decision log, and why a decision fell as it did."""

from __future__ import annotations

from typing import Final

from core.models import CandidateTerms, Decision

from .table import Column
from .text import Line, Role, Span, bar, clean, column, fit, line

__all__ = ["DECISION_COLUMNS", "decision_lines"]

_BAD: Final = {"refused": Role.WARN, "not_sent": Role.WARN, "not sent": Role.WARN, "unknown": Role.CRIT}


def _chosen_role(decision: Decision) -> Role:
    return Role.STRONG if decision.chosen else Role.CRIT


def _outcome_role(decision: Decision) -> Role:
    return _BAD.get(decision.outcome, Role.TEXT if decision.outcome == "ok" else Role.DIM)


def _runner_up(decision: Decision) -> CandidateTerms | None:
    others = [candidate for candidate in decision.candidates if candidate.name != decision.chosen]
    return min(others, key=lambda candidate: candidate.total_s, default=None)


def _margin(decision: Decision) -> str:
    second = _runner_up(decision)
    if second is None:
        return "-"
    return f"{clean(second.name)} {'barred' if second.barred else _seconds(second.total_s)}"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _total(decision: Decision) -> float:
    return next((entry.total_s for entry in decision.candidates if entry.name == decision.chosen), float("inf"))


DECISION_COLUMNS: Final[tuple[Column[Decision], ...]] = (
    Column(
        key="serial", title="no.", width=7, right=True, need=2, role=lambda _: Role.DIM,
        text=lambda decision: f"{decision.serial}", raw=lambda decision: decision.serial,
    ),
    Column(
        key="operation", title="operation", width=18, need=0,
        text=lambda decision: clean(decision.operation).replace("_", " "), raw=lambda decision: decision.operation,
    ),
    Column(
        key="broker", title="broker", width=11, need=0, role=_chosen_role,
        text=lambda decision: clean(decision.chosen) or "✖ none", raw=lambda decision: decision.chosen,
    ),
    Column(
        key="cost", title="cost", width=8, need=3, right=True,
        text=lambda decision: _seconds(_total(decision)) if decision.chosen else "-", raw=_total,
    ),
    Column(
        key="second", title="runner-up", width=18, need=4, role=lambda _: Role.DIM,
        text=_margin, raw=lambda decision: getattr(_runner_up(decision), "name", ""),
    ),
    Column(
        key="outcome", title="outcome", width=10, need=1, role=_outcome_role,
        text=lambda decision: clean(decision.outcome).replace("_", " "), raw=lambda decision: decision.outcome,
    ),
    Column(
        key="reason", title="why", width=22, need=1, grows=True, role=lambda _: Role.DIM,
        text=lambda decision: clean(decision.reason), raw=lambda decision: decision.reason,
    ),
)  # fmt: skip

_TERMS: Final = ("wait", "queue", "latency", "failure", "headroom")


def decision_lines(decision: Decision, width: int, _height: int | None = None) -> list[Line]:
    """Every candidate's terms, cheapest first, with bars of the total; barred ones last with their reason."""
    lines = [
        line(Span(" chose ", Role.DIM), Span(clean(decision.chosen) or "no broker", _chosen_role(decision)),
             Span(f" for {clean(decision.operation).replace('_', ' ')}", Role.DIM)),
        line(Span(f" {clean(decision.reason)}")),
        (),
        line(Span(f" {column('expected cost', 13)}", Role.DIM),
             Span("".join(column(term, 10, right=True) for term in (*_TERMS, "total")), Role.DIM)),
    ]  # fmt: skip
    ranked = sorted(decision.candidates, key=lambda candidate: candidate.total_s)
    most = max((entry.total_s for entry in ranked if not entry.barred), default=0.0)
    for entry in ranked:
        name_role = Role.STRONG if entry.name == decision.chosen else Role.TEXT
        mark = "▸" if entry.name == decision.chosen else " "
        name = Span(f"{mark}{column(clean(entry.name), 13)}", name_role)
        if entry.barred:
            lines.append(line(name, Span(f" ▲ barred: {clean(entry.barred)}", Role.WARN)))
            continue
        terms = (entry.wait_s, entry.queue_s, entry.latency_s, entry.failure_s, entry.headroom_s)
        largest = max(terms)
        spans = [
            Span(column(_seconds(term), 10, right=True), Role.TEXT if term == largest else Role.DIM) for term in terms
        ]
        lines.append(line(name, *spans, Span(column(_seconds(entry.total_s), 10, right=True), name_role)))
        room = min(50, width - 15)
        if most > 0 and room > 0:
            length = round(entry.total_s / most * 1000)
            lines.append((Span(" " * 14), *bar(length, 0, 1000, room, Role.OK)))
    return [fit(entry, width) for entry in lines]
