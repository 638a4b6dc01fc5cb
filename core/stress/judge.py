"""Pass or fail: the thresholds of a scenario against what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ..clock import SECOND
from ..models import Threshold
from .ledger import Audit
from .measure import Histogram
from .scenarios import ThresholdSpec

__all__ = ["ONLY_GROWS", "Evidence", "judge"]

# Thresholds that, once failed, stay failed however the run goes on.
ONLY_GROWS: Final = frozenset({"unexpected errors", "limit violations", "failures", "latency max"})
_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the judge is shown. None where the run could not measure it, which fails a threshold on it."""

    finished: int
    failures: int
    bugs: int
    violations: int
    latency: Histogram
    service: Histogram
    audit: Audit
    offered_per_s: float
    achieved_per_s: float
    units_per_s: float
    elapsed_ns: int
    bound_ns: int | None
    knee_per_s: float | None
    capacity_per_s: float | None
    efficiency: float | None
    recovery_ns: int | None
    memory_growth_bytes: int | None
    virtual: bool


def judge(spec: ThresholdSpec, seen: Evidence) -> tuple[Threshold, ...]:
    """Every threshold with its limit and its value. What must never happen is judged first, in every run."""
    never = (
        ("unexpected errors", seen.bugs),
        ("limit violations", seen.violations),
        ("duplicate orders", seen.audit.duplicates),
        ("lost orders", seen.audit.lost),
        ("ghost orders", seen.audit.ghosts + seen.audit.strangers),
    )
    p50, p99, p999 = (value_ns / _MS for value_ns in seen.latency.quantiles(0.5, 0.99, 0.999))
    (service_p99,) = (value_ns / _MS for value_ns in seen.service.quantiles(0.99))
    measured = seen.latency.count > 0
    at_most = (
        ("failures", spec.failures, seen.failures, ""),
        ("failure share", spec.failure_share, _ratio(seen.failures, seen.finished), "%"),
        ("latency p50", spec.p50_ms, p50 if measured else None, " ms"),
        ("latency p99", spec.p99_ms, p99 if measured else None, " ms"),
        ("latency p99.9", spec.p999_ms, p999 if measured else None, " ms"),
        ("latency max", spec.max_ms, seen.latency.max_ns / _MS if measured else None, " ms"),
        ("service p99", spec.service_p99_ms, service_p99 if seen.service.count else None, " ms"),
        ("time over what the limits alone allow", spec.of_bound, _ratio(seen.elapsed_ns, seen.bound_ns), " x"),
        ("recovery after the last fault", spec.recovery_s, _ratio(seen.recovery_ns, SECOND), " s"),
    )
    at_least = (
        ("achieved of offered rate", spec.achieved_share, _ratio(seen.achieved_per_s, seen.offered_per_s), "%"),
        ("knee of capacity", spec.of_capacity, _ratio(seen.knee_per_s, seen.capacity_per_s), "%"),
    )
    lines = [_line(name, 0, value, "", most=True) for name, value in never]
    lines += [_line(name, limit, value, unit, most=True) for name, limit, value, unit in at_most if limit is not None]
    lines += [_line(name, limit, value, unit, most=False) for name, limit, value, unit in at_least if limit is not None]
    if spec.efficiency is not None:
        line = _line("load-balance efficiency", spec.efficiency, seen.efficiency, "%", most=False)
        # None: there was never enough to do for one placement to be worse than another.
        lines.append(line if seen.efficiency is not None else replace(line, passed=None))
    # A run in virtual time says nothing about how fast, or how large, this machine makes it.
    if spec.per_second is not None and not seen.virtual:
        lines.append(_line("rate", spec.per_second, seen.units_per_s, "/s", most=False))
    if spec.memory_growth_mib is not None and not seen.virtual:
        growth = _ratio(seen.memory_growth_bytes, 2**20)
        lines.append(_line("memory growth", spec.memory_growth_mib, growth, " MiB", most=True))
    return tuple(lines)


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _line(name: str, limit: float, value: float | None, unit: str, *, most: bool) -> Threshold:
    passed = value is not None and (value <= limit if most else value >= limit)
    word = "at most" if most else "at least"
    return Threshold(name=name, limit=f"{word} {_text(limit, unit)}", value=_text(value, unit), passed=passed)


def _text(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    if unit == "%":
        return f"{value * 100:.4g} %"
    return f"{value:.4g}{unit}" if value < 1_000_000 else f"{value:.0f}{unit}"
