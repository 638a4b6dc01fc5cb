"""The whole report of a finished stress run, and what moved since an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .text import Line, Role, Span, clean, column, count, duration, fit, line, percent, rate, sparkline

if TYPE_CHECKING:
    from core.stress.baseline import Change
    from core.stress.report import Report, RunReport, Summary

__all__ = ["report_lines"]

_LIGHTS: Final = {True: ("✓ pass", Role.OK), False: ("✖ FAIL", Role.CRIT), None: ("○ open", Role.DIM)}
_CHANGES: Final = {"better": Role.OK, "worse": Role.CRIT}
_COLUMNS: Final = ("count", "mean", "p50", "p90", "p99", "p99.9", "max")
_FEW_COLUMNS: Final = ("count", "p50", "p99", "max")
_ALL_COLUMNS_WIDTH: Final = 90
_NS_PER_MS: Final = 1_000_000


def report_lines(report: Report, compared: tuple[str, Sequence[Change]] | None, width: int) -> list[Line]:
    """Verdict, then each scenario: thresholds, latencies, rates, orders, brokers, failures, machine.

    `compared`: when the earlier run was, and what moved since.
    """
    level = {"passed": Role.OK, "failed": Role.CRIT}.get(report.verdict, Role.WARN)
    clock = "virtual time" if report.virtual else "real time"
    lines = [
        line(
            Span(f" {report.verdict.upper()} ", level),
            Span(clean(report.scenario), Role.STRONG),
            Span(f"  {clean(report.started_at)}  seed {report.seed}  {clock}  simulated brokers", Role.DIM),
        )
    ]
    if compared is not None:
        lines += _comparison(*compared)
    for run in report.runs:
        lines += _run(run, width)
    return [fit(entry, width) for entry in lines]


def _comparison(earlier: str, changes: Sequence[Change]) -> list[Line]:
    lines = [_head(f"against the run of {clean(earlier)}")]
    if not changes:
        return [*lines, line(Span("   no figure moved beyond noise", Role.DIM))]
    for change in changes:
        role = _CHANGES.get(change.verdict, Role.WARN)
        lines.append(
            line(
                Span(f"   {column(change.verdict, 9)}", role),
                Span(column(clean(f"{change.scenario}: {change.figure}"), 34)),
                Span(f"{clean(change.before)} before, {clean(change.after)} now", Role.STRONG),
            )
        )
    return lines


def _head(text: str) -> Line:
    return line(Span(f" {text}", Role.TITLE))


def _run(run: RunReport, width: int) -> list[Line]:
    level = {"passed": Role.OK, "failed": Role.CRIT, "broken": Role.CRIT}.get(run.state, Role.WARN)
    lines = [
        (),
        line(
            Span(f" {clean(run.name)} ", Role.TITLE),
            Span(f"{run.state} ", level),
            Span(f"in {run.elapsed_s:.2f} s: {clean(run.description)}", Role.DIM),
        ),
    ]
    if run.message:
        lines.append(line(Span(f"   {clean(run.message)}", level)))
    name_width = max((len(threshold.name) for threshold in run.thresholds), default=0) + 2
    for threshold in run.thresholds:
        light, role = _LIGHTS[threshold.passed]
        lines.append(
            line(
                Span(f"   {light}  ", role),
                Span(column(clean(threshold.name), min(40, name_width))),
                Span(column(clean(threshold.value), 14, right=True), Role.STRONG),
                Span(f"  wanted {clean(threshold.limit)}", Role.DIM),
            )
        )
    return [*lines, *_latencies(run, width), *_histogram(run, width), *_facts(run), *_brokers(run), *_failures(run)]


def _latencies(run: RunReport, width: int) -> list[Line]:
    shown = _COLUMNS if width >= _ALL_COLUMNS_WIDTH else _FEW_COLUMNS
    lines = [line(Span(f"   {column('', 14)}" + "".join(column(head, 10, right=True) for head in shown), Role.DIM))]
    for name, summary in (
        ("latency", run.latency),
        ("service", run.service),
        ("queueing", run.queueing),
        ("generator lag", run.generator.lag),
    ):
        if summary.count:
            figures = "".join(column(_figure(summary, head), 10, right=True) for head in shown)
            lines.append(line(Span(f"   {column(name, 14)}", Role.DIM), Span(figures)))
    return lines if len(lines) > 1 else []


def _figure(summary: Summary, head: str) -> str:
    if head == "count":
        return count(summary.count)
    value_ms: float = getattr(summary, f"{head.replace('.', '')}_ms")
    return duration(int(value_ms * _NS_PER_MS))


def _histogram(run: RunReport, width: int) -> list[Line]:
    if not run.histogram:
        return []
    first, last = (duration(int(run.histogram[place][0] * _NS_PER_MS)) for place in (0, -1))
    bars = sparkline([number for _, number in run.histogram], max(1, min(len(run.histogram), width - 40)))
    return [line(Span("   how long      ", Role.DIM), Span(f"{first} "), Span(bars, Role.USED), Span(f" {last}"))]


def _facts(run: RunReport) -> list[Line]:
    orders, rates = run.orders, run.rates
    offered = f" of {rate(rates.offered_per_s)} offered" if rates.offered_per_s else ""
    facts = [
        ("rate", f"{rate(rates.units_per_s)}{offered}; {count(rates.units)} done, {run.requests.failures} failed"),
        (
            "orders",
            (
                f"{count(orders.given_out)} given out, {count(orders.acknowledged)} acknowledged, {orders.unsettled} "
                f"unsettled; {orders.lost} lost, {orders.duplicates} doubled, {orders.ghosts} ghosts"
            ),
        ),
    ]
    if run.bound_s is not None:
        facts.append(("limits", f"alone allow it in {run.bound_s:.2f} s; passed {run.violations} times"))
    if run.knee_per_s is not None and run.capacity_per_s is not None:
        facts.append(("knee", f"{rate(run.knee_per_s)} of a capacity of {rate(run.capacity_per_s)}"))
    if run.recovery_s is not None:
        facts.append(("recovery", f"{run.recovery_s:.1f} s after the last fault"))
    if run.efficiency is not None:
        facts.append(("balance", percent(run.efficiency)))
    if run.disk_syncs is not None:
        facts.append(("disk", f"{count(run.disk_syncs)} syncs"))
    if (machine := run.machine) is not None:
        facts.append(
            (
                "machine",
                (
                    f"{machine.cpu_percent:.0f} % of a core, {machine.rss_mib:.0f} MiB grown by "
                    f"{machine.rss_growth_mib:.1f}, loop late by at most {machine.loop_lag_ms_max:.1f} ms"
                ),
            )
        )
    return [line(Span(f"   {column(name, 14)}", Role.DIM), Span(text)) for name, text in facts]


def _brokers(run: RunReport) -> list[Line]:
    return [
        line(
            Span(f"   {column(clean(broker.name), 14)}", Role.DIM),
            Span(
                f"{percent(broker.traffic_share)} of the work for {percent(broker.capacity_share)} of the capacity; "
                f"{count(broker.requests)} requests, {count(broker.errors)} errors, "
                f"{broker.refused_for_limits} refused for limits"
            ),
        )
        for broker in run.brokers
    ]


def _failures(run: RunReport) -> list[Line]:
    return [
        line(
            Span(f"   {column(count(number), 6, right=True)} x ", Role.CRIT),
            Span(f"{clean(name)}: {clean(run.requests.examples.get(name, ''))}"),
        )
        for name, number in run.requests.failures_by_class.items()
    ]
