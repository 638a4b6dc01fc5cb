"""A run on paper: one JSON document with a version, which the other formats and a later comparison are made from.

The models below are the schema; `headroom stress --schema` prints it. Times are seconds or milliseconds as their names
say. With the same scenario and seed, two virtual runs differ in `started_at` and in nothing else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..clock import MILLISECOND, SECOND
from ..errors import ConfigError
from .lab import Lab
from .result import Result
from .runner import RunState
from .scenarios import dump

__all__ = ["REPORT_VERSION", "Report", "RunReport", "Summary", "load_report", "make_report", "schema"]

REPORT_VERSION: Final = 1
_LARGEST_BYTES: Final = 256 << 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Summary(_Part):
    """Durations in milliseconds; each quantile with the 95 % interval that its rank gives."""

    count: int
    mean_ms: float
    max_ms: float
    p50_ms: float
    p50_interval_ms: tuple[float, float]
    p90_ms: float
    p90_interval_ms: tuple[float, float]
    p99_ms: float
    p99_interval_ms: tuple[float, float]
    p999_ms: float
    p999_interval_ms: tuple[float, float]


class ThresholdReport(_Part):
    """One line of the verdict."""

    name: str
    limit: str
    value: str
    passed: bool | None


class Requests(_Part):
    """Counts, and the failures by class with one example each.

    `sent`: requests that left for a broker; fewer than were finished where reads shared an answer or found a fresh one,
    more where some were sent again; None for a run without brokers.
    """

    planned: int
    started: int
    finished: int
    sent: int | None
    failures: int
    refusals: int
    failures_by_class: dict[str, int]
    examples: dict[str, str]


class Rates(_Part):
    """A second. `units` are requests, or ticks where the scenario publishes ticks."""

    offered_per_s: float | None
    achieved_per_s: float
    units: int
    units_per_s: float


class Generator(_Part):
    """The load generator itself: how late it was. A run in which it fell behind says little about the brokers."""

    fell_behind: bool
    lag: Summary


class Orders(_Part):
    """What the brokers' books and the store say of the orders; see `Audit`."""

    given_out: int
    acknowledged: int
    unsettled: int
    lost: int
    duplicates: int
    ghosts: int
    strangers: int
    examples: tuple[str, ...]


class Window(_Part):
    """The most requests that a broker saw in one of its windows."""

    rate: str
    most: int
    limit: int


class Broker(_Part):
    """One broker: what its referee counted, and its share of the work against its share of the capacity."""

    name: str
    accepted: int
    refused_for_limits: int
    windows: tuple[Window, ...]
    duplicate_tags: int
    requests: int
    errors: int
    traffic_share: float
    capacity_share: float


class MachineReport(_Part):
    """What the run took of the machine that played it. CPU in percent of one core; `disk_writes` are write calls."""

    cpu_percent: float
    rss_mib: float
    rss_growth_mib: float
    loop_lag_ms_max: float
    disk_writes: int | None


class Seconds(_Part):
    """One value for each second of the run."""

    offered: tuple[int, ...]
    finished: tuple[int, ...]
    failed: tuple[int, ...]
    queued: tuple[int, ...]
    p50_ms: tuple[float, ...]
    p99_ms: tuple[float, ...]
    max_ms: tuple[float, ...]


class RunReport(_Part):
    """One scenario. `state` is passed, failed, stopped, or broken: then the message says by what.

    `latency` counts from the intended start, `queueing` is the wait for a permit, `service` the broker's answer time;
    the latter two are per request at a broker. `bound_s`: the shortest time that the
    limits alone allow to what the users ask for; reads that share an answer are asked for and not sent, so a run can be
    faster than that. `disk_syncs`:
    commits that waited for the disk, None for a run that has none; shared by all who commit at once.
    """

    name: str
    description: str
    state: str
    message: str
    elapsed_s: float
    requests: Requests
    rates: Rates
    latency: Summary
    service: Summary
    queueing: Summary
    generator: Generator
    thresholds: tuple[ThresholdReport, ...]
    orders: Orders
    violations: int
    brokers: tuple[Broker, ...]
    efficiency: float | None
    bound_s: float | None
    capacity_per_s: float | None
    knee_per_s: float | None
    recovery_s: float | None
    disk_syncs: int | None
    machine: MachineReport | None
    seconds: Seconds
    histogram: tuple[tuple[float, int], ...] = Field(description="upper edge in ms, count of latencies")
    scenario: dict[str, Any] = Field(description="the scenario as it was played")


class Report(_Part):
    """A whole report. `exit_code`: 0 passed, 1 a threshold failed, 130 interrupted."""

    format: Literal["headroom-stress-report"] = "headroom-stress-report"
    version: Literal[1] = 1
    started_at: str
    scenario: str
    seed: int
    virtual: bool
    verdict: Literal["passed", "failed", "stopped"]
    exit_code: Literal[0, 1, 130]
    runs: tuple[RunReport, ...]

    def json_text(self) -> str:
        """The document, with line breaks, ending in one."""
        return self.model_dump_json(indent=1) + "\n"


def make_report(lab: Lab, epoch_ns: int) -> Report:
    """The report of a lab that has played. `epoch_ns` is when it began, by the wall clock."""
    verdict: Literal["passed", "failed", "stopped"] = "passed" if lab.passed else "failed"
    if lab.stopped:
        verdict = "stopped"
    codes: Mapping[str, Literal[0, 1, 130]] = {"passed": 0, "failed": 1, "stopped": 130}
    started_at = dt.datetime.fromtimestamp(epoch_ns // SECOND, dt.UTC)
    return Report(
        started_at=started_at.isoformat(),
        scenario=lab.scenario.name,
        seed=lab.seed,
        virtual=lab.virtual,
        verdict=verdict,
        exit_code=codes[verdict],
        runs=tuple(_run_report(result) for result in lab.results),
    )


def _run_report(result: Result) -> RunReport:
    run = result.run
    elapsed_s = run.elapsed_ns / SECOND
    audit = result.audit
    return RunReport(
        name=run.scenario.name,
        description=run.scenario.description,
        state=(run.state if run.state is not RunState.RUNNING else RunState.STOPPED).value,
        message=run.message,
        elapsed_s=round(elapsed_s, 3),
        requests=Requests(
            planned=run.planned,
            started=run.started,
            finished=run.finished,
            sent=None if result.final is None else result.final.counters.requests,
            failures=run.failures.total(),
            refusals=run.refusals,
            failures_by_class=dict(sorted(run.failures.items())),
            examples=dict(sorted(run.examples.items())),
        ),
        rates=Rates(
            offered_per_s=None if run.offered_per_s is None else round(run.offered_per_s, 3),
            achieved_per_s=_per_s(run.finished, elapsed_s),
            units=result.units,
            units_per_s=_per_s(result.units, elapsed_s),
        ),
        latency=Summary(**run.latency.summary()),
        service=Summary(**run.service.summary()),
        queueing=Summary(**run.queueing.summary()),
        generator=Generator(fell_behind=run.fell_behind, lag=Summary(**run.lag.summary())),
        thresholds=tuple(
            ThresholdReport(name=line.name, limit=line.limit, value=line.value, passed=line.passed)
            for line in result.thresholds
        ),
        orders=Orders(
            given_out=audit.given_out,
            acknowledged=audit.acknowledged,
            unsettled=audit.unsettled,
            lost=audit.lost,
            duplicates=audit.duplicates,
            ghosts=audit.ghosts,
            strangers=audit.strangers,
            examples=audit.examples,
        ),
        violations=result.violations,
        brokers=_brokers(result),
        efficiency=None if result.final is None else result.final.efficiency,
        bound_s=None if result.bound_ns is None else round(result.bound_ns / SECOND, 3),
        capacity_per_s=result.capacity_per_s,
        knee_per_s=None if run.knee_per_s is None else round(run.knee_per_s, 1),
        recovery_s=None if run.recovered_ns is None else round(run.recovered_ns / SECOND, 3),
        disk_syncs=result.disk_syncs,
        machine=_machine(result),
        seconds=_seconds(result),
        histogram=tuple((edge_ns / MILLISECOND, count) for edge_ns, count in run.latency.bars()),
        scenario=dump(run.scenario),
    )


def _per_s(count: int, elapsed_s: float) -> float:
    """0 for a run that took no time at all, as one of pure disk work does on the virtual clock."""
    return round(count / elapsed_s, 3) if elapsed_s else 0.0


def _brokers(result: Result) -> tuple[Broker, ...]:
    if result.final is None:
        return ()
    referees = {report.name: report for report in result.referees}
    return tuple(
        Broker(
            name=broker.name,
            accepted=referees[broker.name].accepted,
            refused_for_limits=referees[broker.name].refused,
            windows=tuple(
                Window(rate=rate, most=most, limit=limit) for rate, most, limit in referees[broker.name].fullest
            ),
            duplicate_tags=len(referees[broker.name].duplicate_tags),
            requests=broker.requests,
            errors=broker.errors,
            traffic_share=round(broker.traffic_share, 4),
            capacity_share=round(broker.capacity_share, 4),
        )
        for broker in result.final.brokers
    )


def _machine(result: Result) -> MachineReport | None:
    machine = result.machine
    if machine is None:
        return None
    return MachineReport(
        cpu_percent=machine.cpu_percent,
        rss_mib=round(machine.rss_bytes / 2**20, 1),
        rss_growth_mib=round(machine.rss_growth_bytes / 2**20, 1),
        loop_lag_ms_max=round(machine.loop_lag_ns_max / MILLISECOND, 3),
        disk_writes=machine.disk_writes,
    )


def _seconds(result: Result) -> Seconds:
    rows = result.run.timeline.rows()
    return Seconds(
        offered=tuple(row.offered for row in rows),
        finished=tuple(row.finished for row in rows),
        failed=tuple(row.failed for row in rows),
        queued=tuple(row.queued for row in rows),
        p50_ms=tuple(row.p50_ns / MILLISECOND for row in rows),
        p99_ms=tuple(row.p99_ns / MILLISECOND for row in rows),
        max_ms=tuple(row.max_ns / MILLISECOND for row in rows),
    )


def load_report(path: Path) -> Report:
    """An earlier report. Raises ConfigError in one line for a file that is none."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            message = f"{path}: larger than {_LARGEST_BYTES >> 20} MiB; not a report of headroom stress"
            raise ConfigError(message)
        text = path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise ConfigError(message) from None
    try:
        return Report.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "document"
        message = f"{path}: not a report of headroom stress, version {REPORT_VERSION}: {place}: {fault['msg']}"
        raise ConfigError(message) from None


def schema() -> dict[str, Any]:
    """The JSON Schema of a report."""
    return Report.model_json_schema()
