"""A stress run as it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from core.models import StressSnapshot

from .charts import chart_lines
from .text import MARK, Line, Role, Span, bar, clean, column, count, duration, fit, join, line, percent, rate, sparkline

__all__ = ["Scenarios", "course_lines", "run_lines", "scenario_lines", "threshold_lines"]

Scenarios: TypeAlias = Sequence[tuple[str, str]]

_THREE_CHARTS_WIDTH: Final = 110
_FOUR_FIGURES_WIDTH: Final = 97
_STATE_LEVEL: Final = {"failed": Role.CRIT, "broken": Role.CRIT, "stopped": Role.WARN}


def scenario_lines(scenarios: Scenarios, selected: int, width: int, height: int | None = None) -> list[Line]:
    """The scenarios to pick from, one a line, scrolled so that the picked one is in sight."""
    first = 0 if height is None else max(0, min(selected - height // 2, len(scenarios) - height))
    lines: list[Line] = []
    for number, (name, description) in enumerate(scenarios):
        chosen = number == selected
        lines.append(
            fit(
                line(
                    Span(" ▸ " if chosen else "   ", Role.KEY),
                    Span(column(name, 16), Role.CURSOR if chosen else Role.STRONG),
                    Span(f" {description}", Role.TEXT if chosen else Role.DIM),
                ),
                width,
            )
        )
    return lines[first:] if height is None else lines[first : first + height]


def run_lines(stress: StressSnapshot, width: int, _height: int | None = None) -> list[Line]:
    """State, progress, rates, latencies and what went wrong."""
    level = _STATE_LEVEL.get(stress.state, Role.OK)
    if stress.state == "idle":
        return [
            fit(line(Span("   no run yet", Role.DIM)), width),
            fit(line(Span("   pick a scenario, set its size, press s", Role.DIM)), width),
        ]
    marks = {"passed": "✓", "running": "‖" if stress.paused else "▶"}
    mark = marks.get(stress.state, MARK[level])
    state = "PAUSED" if stress.paused and stress.state == "running" else stress.state.upper()
    share = stress.finished / stress.planned if stress.planned else None
    lines = [
        line(
            Span(f" {mark} {state} ", level if level is not Role.OK else Role.STRONG),
            Span(f" {clean(stress.scenario)}", Role.STRONG),
            Span(f"  {duration(stress.elapsed_ns)}", Role.DIM),
            Span(f"  {stress.rate_factor:.3g} x the rate" if stress.rate_factor != 1 else "", Role.KEY),
            Span(f"  {clean(stress.message)}" if stress.message else "", level if level is not Role.OK else Role.DIM),
        ),
        (
            Span(" "),
            *bar(
                min(stress.finished, stress.planned),
                max(0, min(stress.started, stress.planned) - stress.finished),
                max(1, stress.planned),
                max(4, width - 34),
                level,
            ),
            Span(f" {count(stress.finished)} of {count(stress.planned)} done, {percent(share)}", Role.TEXT),
        ),
        _figures(
            ("offered", rate(stress.offered_per_s), Role.TEXT),
            ("achieved", rate(stress.achieved_per_s), Role.STRONG),
            ("under way", count(max(0, stress.started - stress.finished)), Role.TEXT),
            *((("disk syncs", count(stress.disk_syncs), Role.TEXT),) if width >= _FOUR_FIGURES_WIDTH else ()),
        ),
        _figures(
            ("p50", duration(stress.p50_ns), Role.TEXT),
            ("p99", duration(stress.p99_ns), Role.STRONG),
            ("max", duration(stress.max_ns), Role.TEXT),
        ),
        _figures(
            ("failures", count(stress.failures), Role.CRIT if stress.failures else Role.TEXT),
            ("refusals", count(stress.refusals), Role.WARN if stress.refusals else Role.TEXT),
            ("limits passed", count(stress.violations), Role.CRIT if stress.violations else Role.TEXT),
        ),
    ]
    return [fit(entry, width) for entry in lines]


def _figures(*figures: tuple[str, str, Role]) -> Line:
    spans: list[Span] = [Span(" ")]
    for name, text, role in figures:
        spans += [Span(column(name, 14), Role.DIM), Span(column(text, 10), role)]
    return tuple(spans)


def threshold_lines(stress: StressSnapshot, width: int, _height: int | None = None) -> list[Line]:
    """A light for each threshold: passed, failed, or not to be judged yet."""
    if not stress.thresholds:
        return [fit(line(Span("   none yet", Role.DIM)), width)]
    lights = {True: ("✓", "pass", Role.OK), False: ("✖", "FAIL", Role.CRIT), None: ("○", "open", Role.DIM)}
    name_width = min(34, max(len(clean(threshold.name)) for threshold in stress.thresholds) + 2)
    lines: list[Line] = []
    for threshold in stress.thresholds:
        mark, word, role = lights[threshold.passed]
        lines.append(
            fit(
                line(
                    Span(f" {mark} {word}  ", role),
                    Span(column(clean(threshold.name), name_width), Role.TEXT),
                    Span(column(clean(threshold.value), 14, right=True), role if role is not Role.OK else Role.STRONG),
                    Span(f"  wanted {clean(threshold.limit)}", Role.DIM),
                ),
                width,
            )
        )
    return lines


def course_lines(stress: StressSnapshot, width: int, height: int | None = None) -> list[Line]:
    """The last minute of the run: rate and latency; below them how long, who answered and what failed."""
    rows = 10 if height is None else height
    extra = [entry for entry in (_histogram(stress, width), _shares(stress), _failures(stress)) if entry]
    charted = rows - len(extra)
    lines: list[Line] = []
    if charted >= 3 and stress.achieved_history:
        charts: list[tuple[str, Sequence[float], Callable[[float], str]]] = [
            ("achieved", stress.achieved_history, rate),
            ("p50", stress.p50_history_ns, _latency),
            ("p99", stress.p99_history_ns, _latency),
        ]
        if width < _THREE_CHARTS_WIDTH:
            del charts[1]
        each = (width - 2 * (len(charts) - 1)) // len(charts)
        columns = [chart_lines(title, values, each, charted, text) for title, values, text in charts]
        lines = [join([fit(part, each) for part in parts], Span("  ")) for parts in zip(*columns, strict=True)]
    return [fit(entry, width) for entry in (*lines, *extra)][:rows]


def _latency(ns: float) -> str:
    return duration(int(ns))


def _histogram(stress: StressSnapshot, width: int) -> Line:
    """How many requests took how long, on a logarithmic axis."""
    if not stress.histogram:
        return ()
    edges = [edge_ns for edge_ns, _ in stress.histogram]
    bars = sparkline([number for _, number in stress.histogram], max(1, min(len(edges), width - 34)))
    return line(
        Span(" how long     ", Role.DIM),
        Span(f"{duration(edges[0])} ", Role.TEXT),
        Span(bars, Role.USED),
        Span(f" {duration(edges[-1])}", Role.TEXT),
    )


def _shares(stress: StressSnapshot) -> Line:
    if not stress.shares:
        return ()
    spans = [Span(" answered by  ", Role.DIM)]
    for name, share in stress.shares:
        spans += [Span(f"{clean(name)} ", Role.TEXT), Span(f"{percent(share)}   ", Role.STRONG)]
    if stress.lag_p99_ns:
        spans += [
            Span("generator late by ", Role.DIM),
            Span(duration(stress.lag_p99_ns), Role.TEXT),
            Span(" at p99", Role.DIM),
        ]
    return tuple(spans)


def _failures(stress: StressSnapshot) -> Line:
    if not stress.failure_classes:
        return ()
    spans = [Span(" failed with  ", Role.DIM)]
    for name, number in stress.failure_classes:
        spans += [Span(f"{clean(name)} ", Role.TEXT), Span(f"{count(number)}   ", Role.CRIT)]
    return tuple(spans)
