"""What came of one run, and how it is laid before the judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..clock import SECOND
from ..models import RefereeReport, RouterSnapshot, Threshold
from .judge import Evidence
from .ledger import Audit
from .machine import Machine
from .runner import Run, RunState
from .scenarios import Scenario

__all__ = ["Result", "evidence_of", "violations_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run with its verdict. `machine` is None for a virtual run: it says nothing about one.

    `disk_syncs`: commits of the run that waited for the disk; None where it has none.
    """

    run: Run
    virtual: bool
    epoch_ns: int
    thresholds: tuple[Threshold, ...]
    audit: Audit
    referees: tuple[RefereeReport, ...] = ()
    final: RouterSnapshot | None = None
    bound_ns: int | None = None
    capacity_per_s: float | None = None
    units: int = 0
    news_dropped: int = 0
    disk_syncs: int | None = None
    machine: Machine | None = None

    @property
    def scenario(self) -> Scenario:
        return self.run.scenario

    @property
    def passed(self) -> bool:
        return self.run.state is RunState.PASSED

    @property
    def violations(self) -> int:
        """Requests that a broker refused for its limits, and places by which one of its windows was overfull."""
        return violations_of(self.referees)


def evidence_of(result: Result, *, violations: int | None = None) -> Evidence:
    """The figures that thresholds are about; `violations` as seen while it plays, before the last reports."""
    run, machine = result.run, result.machine
    elapsed_s = max(run.elapsed_ns, 1) / SECOND
    # The last arrival is due before the schedule's own end: time short of that is no speed. A stopped run has no end.
    schedule_s = 0.0 if run.state is RunState.STOPPED else run.scenario_s or 0.0
    return Evidence(
        finished=run.finished,
        failures=run.failures.total(),
        bugs=run.bugs,
        violations=result.violations if violations is None else violations,
        latency=run.latency,
        service=run.service,
        audit=result.audit,
        offered_per_s=run.offered_per_s or 0.0,
        achieved_per_s=(run.finished - run.failures.total()) / max(elapsed_s, schedule_s),
        units_per_s=result.units / elapsed_s,
        elapsed_ns=run.elapsed_ns,
        bound_ns=result.bound_ns,
        knee_per_s=run.knee_per_s,
        capacity_per_s=result.capacity_per_s,
        efficiency=result.final.efficiency if result.final else None,
        recovery_ns=run.recovered_ns,
        memory_growth_bytes=machine.rss_growth_bytes if machine else None,
        virtual=result.virtual,
    )


def violations_of(referees: Iterable[RefereeReport]) -> int:
    """Requests that a broker refused for its limits, and places by which one of its windows was overfull."""
    return sum(report.refused + sum(max(0, most - limit) for _, most, limit in report.fullest) for report in referees)
