"""A report as one page with charts: no script, no font, no picture from anywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from .baseline import Change
from .report import Broker, Report, RunReport, Summary

__all__ = ["html_page"]

_WIDTH: Final = 560
_HEIGHT: Final = 190
_LEFT: Final = 58
_BOTTOM: Final = 26
_TOP: Final = 10
_POINTS_MAX: Final = 600
_WORDS: Final = {True: "pass", False: "FAIL", None: "not judged"}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #667; --line: #c8ccd4; --paper: #fff;
  --a: #0072b2; --b: #d55e00; --c: #999; --fault: #e69f0033; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --dim: #9aa; --line: #444c56; --paper: #14181d; --a: #56b4e9; --b: #e69f00; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: 1rem; } h3 { font-size: 0.95rem; margin: 0.5rem 0; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; font-variant-numeric: tabular-nums; }
td, th { padding: 0.15rem 0.9rem 0.15rem 0; text-align: left; vertical-align: top; }
th { color: var(--dim); font-weight: normal; border-bottom: 1px solid var(--line); }
td.n { text-align: right; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem 2rem; } figure { margin: 0; }
figcaption { color: var(--dim); } .passed::before { content: "\\2713  "; } .failed::before { content: "\\2717  "; }
.failed { font-weight: bold; color: var(--b); } .note { color: var(--b); }
svg text { fill: var(--dim); font-size: 11px; }
"""


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    colour: str
    values: Sequence[float]


def html_page(report: Report, changes: Sequence[Change] | None = None) -> str:
    """The whole document. All text of scenarios and brokers is escaped: it may say anything."""
    title = f"headroom stress {report.scenario}: {report.verdict}"
    verdict = f'<span class="{_mark(report.verdict)}">{report.verdict}</span>'
    clock = "virtual clock" if report.virtual else "real time"
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>headroom stress {escape(report.scenario)} {verdict}</h1>",
        f"<p>{escape(report.started_at)}, seed {report.seed}, {clock}, simulated brokers</p>",
        _changes(changes),
        *(_run(run) for run in report.runs),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _mark(verdict: str) -> str:
    return "passed" if verdict == "passed" else "failed"


def _changes(changes: Sequence[Change] | None) -> str:
    if changes is None:
        return ""
    if not changes:
        return "<p>Against the baseline: no figure moved beyond noise.</p>"
    rows = [(each.scenario, each.figure, each.before, each.after, each.verdict) for each in changes]
    return "<h3>Against the baseline</h3>" + _table(("scenario", "figure", "before", "now", ""), rows)


def _run(run: RunReport) -> str:
    seconds = run.seconds
    note = f'<p class="note">{escape(run.message)}</p>' if run.message else ""
    return "\n".join(
        (
            f'<h2>{escape(run.name)} <span class="{_mark(run.state)}">{escape(run.state)}</span></h2>',
            f"<p>{escape(run.description)}</p>{note}",
            _table(
                ("", "threshold", "value", "limit"),
                [(_WORDS[line.passed], line.name, line.value, line.limit) for line in run.thresholds],
            ),
            '<div class="charts">',
            _chart(
                "requests a second",
                (_Series("offered", "--c", seconds.offered), _Series("finished", "--a", seconds.finished)),
                _faults(run),
            ),
            _chart(
                "latency from the intended start, ms",
                (
                    _Series("max", "--c", seconds.max_ms),
                    _Series("p99", "--b", seconds.p99_ms),
                    _Series("p50", "--a", seconds.p50_ms),
                ),
                _faults(run),
                logarithmic=True,
            ),
            _histogram(run),
            _brokers_chart(run.brokers),
            "</div>",
            _latencies(run),
            _facts(run),
            _failures(run),
        )
    )


def _latencies(run: RunReport) -> str:
    rows = [
        (name, *_figures(summary))
        for name, summary in (
            ("latency", run.latency),
            ("service", run.service),
            ("queueing", run.queueing),
            ("generator lag", run.generator.lag),
        )
        if summary.count
    ]
    return _table(("ms", "count", "mean", "p50", "p90", "p99", "p99.9", "max"), rows)


def _figures(summary: Summary) -> tuple[str, ...]:
    values = (summary.mean_ms, summary.p50_ms, summary.p90_ms, summary.p99_ms, summary.p999_ms, summary.max_ms)
    return (str(summary.count), *(f"{value:.2f}" for value in values))


def _facts(run: RunReport) -> str:
    facts = [
        ("elapsed", f"{run.elapsed_s:.2f} s"),
        ("achieved", f"{run.rates.units_per_s:.1f}/s"),
        ("requests done / sent to brokers",
         f"{run.requests.finished} / {'-' if run.requests.sent is None else run.requests.sent}"),
        ("orders given out / acknowledged / unsettled",
         f"{run.orders.given_out} / {run.orders.acknowledged} / {run.orders.unsettled}"),
        ("lost / duplicate / ghost orders", f"{run.orders.lost} / {run.orders.duplicates} / {run.orders.ghosts}"),
    ]  # fmt: skip
    for name, value, unit in (
        ("the limits alone allow it in", run.bound_s, "s"),
        ("capacity by the limits", run.capacity_per_s, "/s"),
        ("knee", run.knee_per_s, "/s"),
        ("recovered after", run.recovery_s, "s"),
        ("load-balance efficiency", run.efficiency, ""),
    ):
        if value is not None:
            facts.append((name, f"{value:.4g} {unit}"))
    if run.disk_syncs is not None:
        facts.append(("disk syncs", str(run.disk_syncs)))
    if run.machine is not None:
        facts.append(("CPU", f"{run.machine.cpu_percent:.0f} % of one core"))
        facts.append(("memory", f"{run.machine.rss_mib:.0f} MiB, grown by {run.machine.rss_growth_mib:.1f} MiB"))
        facts.append(("loop lag, most", f"{run.machine.loop_lag_ms_max:.1f} ms"))
        facts.append(("disk writes", str(run.machine.disk_writes)))
    return _table(("figure", "value"), facts)


def _failures(run: RunReport) -> str:
    failures = run.requests.failures_by_class
    if not failures:
        return ""
    rows = [(str(count), name, run.requests.examples.get(name, "")) for name, count in failures.items()]
    return _table(("failed", "class", "example"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


# -- charts ------------------------------------------------------------------------------------------------------------


def _faults(run: RunReport) -> list[tuple[float, float]]:
    return [(float(fault["at_s"]), float(fault["until_s"])) for fault in run.scenario.get("faults", ())]


def _chart(
    title: str, series: Sequence[_Series], faults: Sequence[tuple[float, float]], *, logarithmic: bool = False
) -> str:
    """Lines over the seconds of a run; the spans of faults lie behind them."""
    count = max((len(each.values) for each in series), default=0)
    if not count:
        return ""
    values = [value for each in series for value in each.values if value > 0] or [1.0]
    top = max(values)
    low = 10 ** math.floor(math.log10(min(values))) if logarithmic else 0.0
    high = 10 ** math.ceil(math.log10(top)) if logarithmic else _round_up(top)
    high = high if high > low else low * 10

    def y(value: float) -> float:
        share = math.log(max(value, low) / low) / math.log(high / low) if logarithmic else (value - low) / (high - low)
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)

    def x(second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT) * min(1.0, second / count)

    marks = [
        f'<rect x="{x(at_s):.1f}" y="{_TOP}" width="{max(1.0, x(until_s) - x(at_s)):.1f}" '
        f'height="{_HEIGHT - _TOP - _BOTTOM}" fill="var(--fault)"/>'
        for at_s, until_s in faults
    ]
    lines = [_polyline(each, x, y) for each in series]
    return _figure(title, [*marks, *_axes(low, high, y, logarithmic=logarithmic), *lines, _seconds_axis(count)], series)


def _polyline(series: _Series, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    step = max(1, math.ceil(len(series.values) / _POINTS_MAX))
    # Of several seconds in one point the highest is drawn: a peak must not be averaged away.
    points = [
        (start + 0.5 * step, max(series.values[start : start + step])) for start in range(0, len(series.values), step)
    ]
    path = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in points)
    return f'<polyline points="{path}" fill="none" stroke="var({series.colour})" stroke-width="1.5"/>'


def _axes(low: float, high: float, y: Callable[[float], float], *, logarithmic: bool) -> list[str]:
    if logarithmic:
        decades = range(round(math.log10(low)), round(math.log10(high)) + 1)
        ticks = [10.0**power for power in decades]
    else:
        ticks = [low + (high - low) * part / 4 for part in range(5)]
    return [
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="var(--line)" '
        f'stroke-width="0.5"/><text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        for tick in ticks
    ]


def _seconds_axis(count: int) -> str:
    return (
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">0 s</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 8}" text-anchor="end">{count} s</text>'
    )


def _figure(title: str, shapes: Sequence[str], series: Sequence[_Series] = ()) -> str:
    legend = " ".join(
        f'<tspan style="fill:var({each.colour})">\N{BLACK SQUARE} {escape(each.name)}</tspan>' for each in series
    )
    key = f'<text x="{_LEFT + 8}" y="{_TOP + 12}">{legend}</text>' if legend else ""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(shapes)}{key}</svg></figure>'
    )


def _histogram(run: RunReport) -> str:
    if not run.histogram:
        return ""
    most = max(count for _, count in run.histogram)
    width = (_WIDTH - _LEFT) / len(run.histogram)
    room = _HEIGHT - _TOP - _BOTTOM
    bars = [
        f'<rect x="{_LEFT + place * width:.1f}" y="{_TOP + room * (1 - count / most):.1f}" '
        f'width="{max(1.0, width - 1):.1f}" height="{room * count / most:.1f}" fill="var(--a)">'
        f"<title>up to {edge_ms:.4g} ms: {count}</title></rect>"
        for place, (edge_ms, count) in enumerate(run.histogram)
    ]
    first, last = run.histogram[0][0], run.histogram[-1][0]
    bars.append(f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{first:.3g} ms</text>')
    bars.append(f'<text x="{_WIDTH}" y="{_HEIGHT - 8}" text-anchor="end">{last:.4g} ms</text>')
    bars.append(f'<text x="{_LEFT - 6}" y="{_TOP + 10}" text-anchor="end">{most}</text>')
    return _figure("how many requests took how long (logarithmic)", bars)


def _brokers_chart(brokers: Sequence[Broker]) -> str:
    if not brokers:
        return ""
    shapes = []
    full = _WIDTH - _LEFT - 120
    height = min(26.0, (_HEIGHT - _TOP) / (len(brokers) * 2))
    for place, broker in enumerate(brokers):
        top = _TOP + place * 2 * height
        shapes.append(f'<text x="{_LEFT - 6}" y="{top + height:.1f}" text-anchor="end">{escape(broker.name)}</text>')
        for row, (share, colour, name) in enumerate(
            ((broker.traffic_share, "--a", "of the work"), (broker.capacity_share, "--c", "of the capacity"))
        ):
            y = top + row * height * 0.8
            shapes.append(
                f'<rect x="{_LEFT}" y="{y:.1f}" width="{full * share:.1f}" height="{height * 0.7:.1f}" '
                f'fill="var({colour})"/><text x="{_LEFT + full * share + 6:.1f}" y="{y + height * 0.6:.1f}">'
                f"{share:.1%} {name}</text>"
            )
    return _figure("share of each broker", shapes)


def _round_up(value: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value)
