"""Better or worse than an earlier run, beyond noise.

Noise is what the run itself shows: a quantile has changed when its 95 % interval and the earlier one do not touch, the
difference is above a twentieth, and both runs have at least five records beyond it; a rate, when it differs by more
than a twentieth and two standard errors of the counts. Whatever must not happen at all has changed when its count has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .report import Report, RunReport, Summary

__all__ = ["Change", "compare"]

_LEAST_SHARE: Final = 0.05
_LEAST_BEYOND: Final = 5
_QUANTILES: Final = (("p50", 0.5), ("p90", 0.1), ("p99", 0.01), ("p999", 0.001))


@dataclass(frozen=True, slots=True)
class Change:
    """One figure that has moved. `verdict` is better, worse, or changed where neither can be said."""

    scenario: str
    figure: str
    before: str
    after: str
    verdict: str

    def __str__(self) -> str:
        return f"{self.scenario}: {self.figure} {self.verdict}: {self.before} before, {self.after} now"


def compare(before: Report, after: Report) -> tuple[Change, ...]:
    """Every figure that moved beyond noise, scenario by scenario; empty when nothing did."""
    earlier = {run.name: run for run in before.runs}
    changes: list[Change] = []
    for run in after.runs:
        if run.name not in earlier:
            changes.append(Change(run.name, "scenario", "absent", run.state, "changed"))
        elif others := _other_figures(earlier[run.name].scenario, run.scenario):
            changes.append(Change(run.name, "scenario", f"other {', '.join(others)}", "these", "changed"))
        else:
            changes += _run_changes(earlier[run.name], run)
    names = {run.name for run in after.runs}
    changes += [
        Change(name, "scenario", run.state, "absent", "changed") for name, run in earlier.items() if name not in names
    ]
    return tuple(changes)


def _other_figures(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The keys in which two scenarios differ. Another seed is another draw from the same one: that is noise."""
    return sorted(key for key in {*before, *after} - {"seed"} if before.get(key) != after.get(key))


def _run_changes(before: RunReport, after: RunReport) -> Iterator[Change]:
    for figure, old, new in (
        ("failures", before.requests.failures, after.requests.failures),
        ("refusals", before.requests.refusals, after.requests.refusals),
        ("limit violations", before.violations, after.violations),
        ("duplicate orders", before.orders.duplicates, after.orders.duplicates),
        ("lost orders", before.orders.lost, after.orders.lost),
    ):
        # Where faults are wanted some failures are too; their number then has the noise of a count.
        if abs(new - old) > 2 * math.sqrt(min(old, new)):
            yield Change(after.name, figure, str(old), str(new), "worse" if new > old else "better")
    for part in ("latency", "service", "queueing"):
        yield from _quantile_changes(after.name, part, getattr(before, part), getattr(after, part))
    old_rate, new_rate = before.rates.units_per_s, after.rates.units_per_s
    error = 2 * math.sqrt(1 / max(1, before.rates.units) + 1 / max(1, after.rates.units))
    if old_rate and abs(new_rate / old_rate - 1) > max(_LEAST_SHARE, error):
        verdict = "better" if new_rate > old_rate else "worse"
        yield Change(after.name, "rate", f"{old_rate:.4g}/s", f"{new_rate:.4g}/s", verdict)


def _quantile_changes(name: str, part: str, before: Summary, after: Summary) -> Iterator[Change]:
    for quantile, share_beyond in _QUANTILES:
        if min(before.count, after.count) * share_beyond < _LEAST_BEYOND:
            continue  # its interval would be the largest record or two, which is no interval
        old, new = getattr(before, f"{quantile}_ms"), getattr(after, f"{quantile}_ms")
        (old_low, old_high), (new_low, new_high) = (
            getattr(before, f"{quantile}_interval_ms"),
            getattr(after, f"{quantile}_interval_ms"),
        )
        apart = new_low > old_high or new_high < old_low
        if apart and abs(new - old) > _LEAST_SHARE * old:
            verdict = "worse" if new > old else "better"
            yield Change(name, f"{part} {quantile.replace('p999', 'p99.9')}", f"{old:.4g} ms", f"{new:.4g} ms", verdict)
