"""Alerts: raised at an edge, calm on it, cleared when the cause has been gone, acknowledged by a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.advice.alerts import RULES, Alerts, AlertSettings
from core.clock import MILLISECOND, MINUTE, SECOND
from core.errors import ConfigError
from core.models import (
    AlertRow,
    APIProvider,
    BreakerState,
    BrokerSnapshot,
    CostSnapshot,
    HealthStatus,
    IncidentRow,
    OrderRow,
    RouterSnapshot,
    Severity,
)
from tests.advice.desk import window

EPOCH_NS = 1_767_585_600_000_000_000
BROKER = BrokerSnapshot(
    name="upstox",
    provider=APIProvider.UPSTOX,
    simulated=True,
    health=HealthStatus.HEALTHY,
    requests=100,
    windows=(window(200, MINUTE, 150), window(10, SECOND, 0)),
)


def snapshot(second: float = 0, *, broker: BrokerSnapshot = BROKER, **changes: object) -> RouterSnapshot:
    at_ns = round(second * SECOND)
    base = RouterSnapshot(sequence=1, at_ns=at_ns, epoch_ns=EPOCH_NS + at_ns, simulated=True, brokers=(broker,))
    return replace(base, **changes)


def free(permits: int, **changes: object) -> BrokerSnapshot:
    return replace(BROKER, windows=(window(200, MINUTE, permits, **changes), BROKER.windows[1]))


def lost(status: str) -> OrderRow:
    return OrderRow(
        order_id="mine", symbol="NSE:SBIN-EQ", side="BUY", quantity=5, filled_quantity=0, price=0, status=status,
        provider="upstox", broker_order_id="", tag="t", simulated=True, epoch_ns=0, age_ns=0,
    )  # fmt: skip


STORE = IncidentRow(at_ns=0, age_ns=5 * SECOND, kind="store", provider="", message="the disk is full")

# What meets each rule, and what is just short of it.
CASES: dict[str, tuple[Severity, Callable[[], RouterSnapshot], Callable[[], RouterSnapshot]]] = {
    "order_in_doubt": (
        Severity.CRITICAL,
        lambda: snapshot(orders=(lost("QUARANTINED"),)),
        lambda: snapshot(orders=(lost("SUBMITTING"),)),
    ),
    "halted": (Severity.CRITICAL, lambda: snapshot(halted="kill switch"), snapshot),
    "store_failing": (
        Severity.CRITICAL,
        lambda: snapshot(incidents=(STORE,)),
        lambda: snapshot(incidents=(replace(STORE, age_ns=31 * SECOND),)),
    ),
    "blocked_for_day": (
        Severity.CRITICAL,
        lambda: snapshot(broker=replace(BROKER, health=HealthStatus.BLOCKED_FOR_DAY)),
        lambda: snapshot(broker=replace(BROKER, health=HealthStatus.LIMITED)),
    ),
    "breaker_open": (
        Severity.CRITICAL,
        lambda: snapshot(broker=replace(BROKER, breaker=BreakerState.OPEN)),
        lambda: snapshot(broker=replace(BROKER, health=HealthStatus.DEGRADED)),
    ),
    "window_low": (
        Severity.WARNING,
        lambda: snapshot(broker=free(19)),
        lambda: snapshot(broker=free(20)),
    ),
    "window_exhausts": (
        Severity.WARNING,
        lambda: snapshot(broker=free(90, runs_out_s=30)),
        lambda: snapshot(broker=free(90, runs_out_s=31)),
    ),
    "token_expires": (
        Severity.WARNING,
        lambda: snapshot(broker=replace(BROKER, token_expires_in_ns=30 * MINUTE)),
        lambda: snapshot(broker=replace(BROKER, token_expires_in_ns=31 * MINUTE)),
    ),
    "loop_lag": (
        Severity.WARNING,
        lambda: snapshot(cost=CostSnapshot(loop_lag_ns=250 * MILLISECOND)),
        lambda: snapshot(cost=CostSnapshot(loop_lag_ns=249 * MILLISECOND)),
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_is_met_at_its_threshold_and_not_before(rule: str) -> None:
    severity, met, short = CASES[rule]
    [row] = Alerts().observe(met())
    assert (row.rule, row.severity, row.calls) == (rule, severity, True)
    assert row.raised_epoch_ns == EPOCH_NS
    assert Alerts().observe(short()) == ()


def test_every_rule_has_a_case_here_and_a_row_in_its_document() -> None:
    assert CASES.keys() | {"refused"} == RULES.keys()
    told = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text("utf-8")
    listed = [line.split("`")[1] for line in told.splitlines() if line.startswith("| `")]
    assert listed == list(RULES)
    for key in ("window_free_percent", "exhausts_within_s", "token_within_min", "loop_lag_ms", "quiet_s", "release"):
        assert f"{key} = {getattr(AlertSettings(), key):g}" in told


def test_a_full_window_and_a_refused_token_are_critical() -> None:
    [row] = Alerts().observe(snapshot(broker=free(0)))
    assert row.severity is Severity.CRITICAL
    [row] = Alerts().observe(snapshot(broker=replace(BROKER, health=HealthStatus.AUTH_FAILED)))
    assert (row.rule, row.severity) == ("token_expires", Severity.CRITICAL)


def test_refusals_call_when_they_grow_and_are_over_after_a_quiet_time() -> None:
    alerts = Alerts()
    assert alerts.observe(snapshot(0, broker=replace(BROKER, refusals=7))) == ()  # before we looked
    [row] = alerts.observe(snapshot(1, broker=replace(BROKER, refusals=8)))
    assert row.rule == "refused"
    assert alerts.observe(snapshot(31, broker=replace(BROKER, refusals=8)))[0].calls
    alerts.observe(snapshot(32, broker=replace(BROKER, refusals=8)))
    [row] = alerts.observe(snapshot(34, broker=replace(BROKER, refusals=8)))
    assert row.cleared_epoch_ns == EPOCH_NS + 34 * SECOND


def test_a_figure_on_the_edge_does_not_flicker() -> None:
    alerts = Alerts()
    for second, permits in enumerate((19, 21, 19, 24, 20, 22)):  # 10 % raises, 12.5 % lets go
        rows = alerts.observe(snapshot(second, broker=free(permits)))
        assert [row.raised_epoch_ns for row in rows if not row.cleared_epoch_ns] == [EPOCH_NS]
    for second in (6, 7):
        assert not alerts.observe(snapshot(second, broker=free(26)))[0].cleared_epoch_ns
    [row] = alerts.observe(snapshot(8, broker=free(26)))
    assert row.cleared_epoch_ns == EPOCH_NS + 8 * SECOND
    # Once it has let go, the plain threshold counts again.
    assert len(alerts.observe(snapshot(9, broker=free(21)))) == 1


def test_what_was_acknowledged_stays_listed_and_calls_again_only_when_it_is_worse() -> None:
    alerts = Alerts()
    [row] = alerts.observe(snapshot(0, broker=free(10)))
    assert alerts.acknowledge(row.id, epoch_ns=EPOCH_NS + 5) == 1
    [row] = alerts.observe(snapshot(1, broker=free(9)))
    assert (row.calls, row.acknowledged_epoch_ns) == (False, EPOCH_NS + 5)
    [row] = alerts.observe(snapshot(2, broker=free(0)))
    assert row.calls


def test_one_word_acknowledges_all_and_an_id_that_is_gone_is_refused_by_name() -> None:
    alerts = Alerts()
    alerts.observe(snapshot(0, broker=free(0), halted="kill switch"))
    assert alerts.acknowledge("", epoch_ns=1) == 2
    assert alerts.acknowledge("", epoch_ns=2) == 0
    with pytest.raises(ConfigError, match="'nothing'"):
        alerts.acknowledge("nothing", epoch_ns=3)


def test_the_loudest_stand_first_and_the_history_is_bounded() -> None:
    alerts = Alerts(AlertSettings(clear_after_s=0), kept=3)
    for second in range(0, 20, 2):
        alerts.observe(snapshot(second, broker=free(10)))
        alerts.observe(snapshot(second + 1))
    rows = alerts.observe(snapshot(30, broker=free(10), halted="kill switch"))
    assert [row.rule for row in rows[:2]] == ["halted", "window_low"]
    cleared: list[AlertRow] = [row for row in rows if row.cleared_epoch_ns]
    assert [row.raised_epoch_ns - EPOCH_NS for row in cleared] == [18 * SECOND, 16 * SECOND, 14 * SECOND]


def test_a_rule_that_is_off_is_not_judged() -> None:
    assert Alerts(AlertSettings(off=frozenset({"halted"}))).observe(snapshot(halted="kill switch")) == ()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"window_free_percent": -1.0}, "alerts.window_free_percent is -1.0"),
        ({"release": 0.5}, "alerts.release is 0.5"),
        ({"off": frozenset({"haltet"})}, "no rule 'haltet'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AlertSettings(**values)
