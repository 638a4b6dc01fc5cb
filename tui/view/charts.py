"""Throughput, latency and balance over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from core.models import RouterSnapshot

from ..braille import area
from .text import Line, Role, Span, column, duration, fit, line, percent, rate, sparkline

__all__ = ["Flow", "chart_lines", "pulse_lines"]

_AXIS_WIDTH = 8


class Flow(NamedTuple):
    """The part of a snapshot that the charts show; it changes once a second, a snapshot ten times."""

    throughput_history: tuple[float, ...]
    latency_history_ns: tuple[int, ...]
    efficiency: float | None
    efficiency_history: tuple[float, ...]

    @classmethod
    def of(cls, snapshot: RouterSnapshot) -> Flow:
        """This part of `snapshot`."""
        return cls(
            snapshot.throughput_history, snapshot.latency_history_ns, snapshot.efficiency, snapshot.efficiency_history
        )


def pulse_lines(snapshot: RouterSnapshot | Flow, width: int, height: int | None = None) -> list[Line]:
    """Two charts, one above the other where there is height, and the balance of the load below them."""
    rows = height if height is not None else 8
    balance = _balance(snapshot, width)
    if rows <= 2:
        return [balance][:rows]
    if rows >= 13:
        above = (rows - 1) // 2
        upper = chart_lines("sent", snapshot.throughput_history, width, above, rate)
        lower = chart_lines("latency", snapshot.latency_history_ns, width, rows - 1 - above, _latency)
        return [fit(entry, width) for entry in (*upper, *lower)] + [balance]
    half = (width - 2) // 2
    left = chart_lines("sent", snapshot.throughput_history, half, rows - 1, rate)
    right = chart_lines("latency", snapshot.latency_history_ns, half, rows - 1, _latency)
    return [(*fit(a, half), Span("  "), *fit(b, half)) for a, b in zip(left, right, strict=True)] + [balance]


def _latency(ns: float) -> str:
    return duration(int(ns))


def chart_lines(
    title: str, values: Sequence[float], width: int, height: int, text: Callable[[float], str]
) -> list[Line]:
    """A title with the newest and the highest value, then the area below the values; two values a cell."""
    cells = max(1, width - _AXIS_WIDTH)
    recent = values[-2 * cells :]
    top = max(recent, default=0)
    now = recent[-1] if recent else 0
    head = line(
        Span(f" {title} ", Role.DIM),
        Span(text(now) if recent else "-", Role.STRONG),
        Span(f"  peak {text(top)} in {duration(len(recent) * 1_000_000_000)}" if recent else "  nothing yet", Role.DIM),
    )
    rows = area(recent, cells, height - 1, top)
    labels = [""] * len(rows)
    if recent and rows:
        labels[0] = text(top)
        if len(rows) > 2:
            labels[-1] = "0"
    return [head] + [
        line(Span(column(label, _AXIS_WIDTH - 1, right=True) + " ", Role.DIM), Span(row, Role.USED))
        for label, row in zip(labels, rows, strict=True)
    ]


def _balance(snapshot: RouterSnapshot | Flow, width: int) -> Line:
    """The efficiency of the balance, its trend over a minute and its history."""
    efficiency = snapshot.efficiency
    spans = [Span(" balance ", Role.DIM)]
    if efficiency is None:
        return line(*spans, Span("nothing routed yet", Role.DIM))
    level = Role.STRONG if efficiency >= 0.8 else Role.WARN
    spans.append(Span(percent(efficiency), level))
    history = snapshot.efficiency_history
    if len(history) > 1:
        seconds = min(60, len(history) - 1)
        change = (history[-1] - history[-1 - seconds]) * 100
        arrow = "→" if abs(change) < 0.5 else "↑" if change > 0 else "↓"
        spans.append(Span(f"  {arrow} {change:+.0f} points in {seconds} s  ", Role.DIM))
        room = min(60, width - sum(len(span.text) for span in spans) - 1)
        spans.append(Span(sparkline(history, room).strip(), Role.DIM))
    return fit(tuple(spans), width)
