"""One broker in depth, a page each: windows over time, answers, operations, breaker, refusals, limits and token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from core.models import BrokerDetail

from ..braille import area
from .text import Line, Role, Span, bar, clean, clock_time, column, count, duration, fit, line, percent

__all__ = ["PAGES", "Depth", "depth_lines"]


@dataclass(frozen=True, slots=True)
class Depth:
    """Which page, and what is known; `silence` says why nothing is."""

    page: str
    detail: BrokerDetail | None
    silence: str = ""


def depth_lines(depth: Depth, width: int, height: int | None = None) -> list[Line]:
    """The page, as much of it as fits."""
    if depth.detail is None:
        return [fit(line(Span(f" {clean(depth.silence) or 'asking'}", Role.DIM)), width)]
    rows = 12 if height is None else height
    lines = PAGES[depth.page](depth.detail, width, rows)
    return [fit(entry, width) for entry in lines[:rows]]


def _over_time(detail: BrokerDetail, width: int, height: int) -> list[Line]:
    """How full each window was, the fullest first where not all have room."""
    courses = sorted(detail.windows, key=lambda course: -max(course.fractions, default=0.0))
    if not courses:
        return [line(Span(" nothing seen yet", Role.DIM))]
    kept = courses[: max(1, height // 3)]
    courses = [course for course in detail.windows if course in kept]
    each = max(1, height // len(courses))
    lines: list[Line] = []
    head = 26
    cells = max(8, width - head)
    for course in courses:
        recent = course.fractions[-2 * cells :]
        now, most = (recent[-1], max(recent)) if recent else (0.0, 0.0)
        role = Role.CRIT if most >= 1 else Role.WARN if most >= 0.8 else Role.USED
        told = [
            f" {column(f'{clean(course.budget)} {course.rate}', 17)}",
            f"   now {percent(now)}",
            f"   peak {percent(most)}",
            f"   in {duration(len(recent) * 1_000_000_000)}",
        ]
        if each == 1:
            told = [f" {column(f'{clean(course.budget)} {course.rate}', 16)}{column(percent(most), 7, right=True)}"]
        picture = area(recent, cells, each, 1.0)
        lines += [
            line(
                Span(column(told[row] if row < len(told) else "", head), Role.STRONG if not row else Role.DIM),
                Span(picture[row], role),
            )
            for row in range(each)
        ]
    return lines


def _answers(detail: BrokerDetail, width: int, height: int) -> list[Line]:
    """A histogram of latencies, lying; neighbours are taken together where there are more bars than lines."""
    bars = list(detail.histogram)
    if not bars:
        return [line(Span(" no answer yet", Role.DIM))]
    room = max(1, height - 1)
    while len(bars) > room:
        paired = [bars[at : at + 2] for at in range(0, len(bars), 2)]
        bars = [(pair[-1][0], sum(number for _, number in pair)) for pair in paired]
    most = max(number for _, number in bars)
    total = sum(number for _, number in bars)
    lines = [line(Span(f" {count(total)} answers since the start; each line is up to that time", Role.DIM))]
    cells = max(4, width - 30)
    for edge_ns, number in bars:
        lines.append(
            (
                Span(f" {column(duration(edge_ns), 9, right=True)} ", Role.DIM),
                *bar(round(number / most * 1000), 0, 1000, cells, Role.OK),
                Span(f" {column(count(number), 8, right=True)} {column(percent(number / total), 7, right=True)}"),
            )
        )
    return lines


def _operations(detail: BrokerDetail, width: int, height: int) -> list[Line]:
    titles = (
        ("asked", 9),
        ("failed", 8),
        ("refused", 9),
        ("p50", 9),
        ("p99", 9),
        ("max", 9),
        ("our wait", 10),
        ("last at", 10),
    )
    shown = [
        title for number, title in enumerate(titles) if 20 + sum(cells for _, cells in titles[: number + 1]) <= width
    ]
    lines = [line(Span(f" {column('operation', 19)}" + "".join(column(t, c, right=True) for t, c in shown), Role.DIM))]
    for row in detail.operations[: height - 1]:
        cells = (
            (count(row.requests), Role.STRONG),
            (count(row.failures), Role.WARN if row.failures else Role.DIM),
            (count(row.refusals), Role.WARN if row.refusals else Role.DIM),
            (duration(row.p50_ns or None), Role.TEXT),
            (duration(row.p99_ns or None), Role.TEXT),
            (duration(row.max_ns or None), Role.TEXT),
            (duration(row.wait_mean_ns), Role.DIM),
            (clock_time(row.ended_epoch_ns), Role.DIM),
        )
        spans = [
            Span(column(text, size, right=True), role) for (text, role), (_, size) in zip(cells, shown, strict=False)
        ]
        lines.append(line(Span(f" {column(clean(row.operation).replace('_', ' '), 19)}"), *spans))
    return lines if detail.operations else [line(Span(" nothing asked yet", Role.DIM))]


def _breaker(detail: BrokerDetail, _width: int, _height: int) -> list[Line]:
    if not detail.breaker:
        return [line(Span(" closed since the start", Role.DIM))]
    return [
        line(
            Span(f" {clock_time(move.epoch_ns)}  ", Role.DIM),
            Span(
                column(f"{_words(move.before)} > {_words(move.after)}", 24),
                Role.TEXT if move.after == "closed" else Role.WARN,
            ),
            Span(clean(move.reason) or "-"),
        )
        for move in detail.breaker
    ]


def _refusals(detail: BrokerDetail, width: int, _height: int) -> list[Line]:
    if not detail.refusals:
        return [line(Span(" never refused us since the start", Role.DIM))]
    lines: list[Line] = []
    for row in detail.refusals:
        lines.append(line(Span(f" {clock_time(row.epoch_ns)}  ", Role.DIM), Span(clean(row.message), Role.WARN)))
        said = clean(row.evidence) or "it gave no evidence"
        room = max(20, width - 12)
        lines += [line(Span(" " * 11), Span(said[at : at + room], Role.DIM)) for at in range(0, len(said), room)]
    return lines


def _limits(detail: BrokerDetail, _width: int, _height: int) -> list[Line]:
    ends = f"until {clock_time(detail.token_expires_epoch_ns)} IST" if detail.token_expires_epoch_ns else "no end known"
    lines = [
        line(
            Span(f" {column('token', 20)}", Role.DIM),
            Span(ends),
            Span(f"  from {clean(detail.token_source)}", Role.DIM),
        )
    ]
    lines += [
        line(
            Span(f" {column(clean(limit.budget), 8)}{column(str(limit.rate), 12)}"),
            Span(clean(limit.source), Role.DIM),
        )
        for limit in detail.limits
    ]
    ours = {(limit.budget, limit.rate) for limit in detail.limits}
    lines += [
        line(
            Span(f" {column(clean(budget.name), 8)}{column(str(each), 12)}", Role.DIM),
            Span("published, not in force here", Role.DIM),
        )
        for budget in detail.published
        for each in budget.rates
        if (budget.name, each) not in ours
    ]
    return lines


def _words(state: str) -> str:
    return state.replace("_", " ")


PAGES: Final[dict[str, Callable[[BrokerDetail, int, int], Sequence[Line]]]] = {
    "over time": _over_time,
    "answers": _answers,
    "operations": _operations,
    "breaker": _breaker,
    "refusals": _refusals,
    "limits": _limits,
}
