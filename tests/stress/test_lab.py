"""Scenarios played on the real router, real brokers and a real store, on the virtual clock."""

from __future__ import annotations

import os
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import pytest

from core.clock import SECOND
from core.errors import ConfigError
from core.models import RefereeReport, Threshold
from core.stress.junit import junit_xml
from core.stress.lab import Lab
from core.stress.library import load_scenario, parse_scenario, scenario_text
from core.stress.report import Report, make_report
from core.stress.result import violations_of
from core.stress.scenarios import Scenario

# What makes each of them short enough for an ordinary test; the whole ones are `headroom stress gauntlet`.
SHORT = {
    "users": [("users = 100", "users = 15"), ('["10/s", "200/min"]', '["2/s", "200/min"]'), ('"50/s"', '"10/s"')],
    "orders": [("rate = 100", "rate = 20"), ("duration_s = 10", "duration_s = 3"), ("60/s", "12/s")],
    "burst": [("count = 1000", "count = 100"), ("100/s", "20/s")],
    "soak": [("rate = 40", "rate = 10"), ("duration_s = 3600", "duration_s = 8")],
    "failover": [("rate = 20", "rate = 8"), ("40/s", "16/s")],
    "chaos": [("rate = 25", "rate = 6")],
    "market-data": [("duration_s = 5", "duration_s = 3"), ("count = 500", "count = 5")],
    "store": [("sessions = 333", "sessions = 15")],
    "limits": [("from_rate = 20", "from_rate = 2"), ("to_rate = 140", "to_rate = 14"), ("50/s", "5/s")],
}


def play(scenario: Scenario, seed: int = 1) -> Report:
    lab = Lab(scenario, seed=seed, virtual=True)
    lab.play_to_end()
    return make_report(lab, 0)


def short(name: str) -> Scenario:
    text = scenario_text(name)
    for old, new in SHORT[name]:
        assert old in text
        text = text.replace(old, new)
    return parse_scenario(text, name)


@pytest.mark.parametrize("name", list(SHORT))
def test_every_built_in_scenario_passes_and_repeats_to_the_digit(name: str) -> None:
    first, second = play(short(name)), play(short(name))
    (run,) = first.runs
    assert first.verdict == "passed", run.message
    assert first.exit_code == 0
    assert (run.violations, run.orders.lost, run.orders.duplicates, run.orders.ghosts) == (0, 0, 0, 0)
    assert run.requests.finished == run.requests.started > 0
    assert first.json_text() == second.json_text()


def test_another_seed_makes_another_run() -> None:
    assert play(short("soak"), seed=1).runs[0].latency != play(short("soak"), seed=2).runs[0].latency


def test_a_suite_plays_its_parts_in_order_with_what_it_changes() -> None:
    first = 'name = "two"\n[[parts]]\nscenario = "orders"\nduration_s = 1\nrate = 20\n'
    report = play(parse_scenario(first + '[[parts]]\nscenario = "market-data"\nduration_s = 0.5\n', "two"))
    assert [(run.name, run.requests.planned) for run in report.runs] == [("orders", 20), ("market-data", 100)]
    assert report.scenario == "two"


def test_a_suite_inside_a_suite_is_refused() -> None:
    with pytest.raises(ConfigError, match="is a suite itself"):
        play(parse_scenario('name = "x"\n[[parts]]\nscenario = "gauntlet"\n', "x"))


def test_an_impossible_threshold_fails_and_is_named() -> None:
    scenario = short("orders")
    thresholds = scenario.thresholds.model_copy(update={"p50_ms": 0.001})
    report = play(scenario.model_copy(update={"thresholds": thresholds}))
    (run,) = report.runs
    assert (report.verdict, report.exit_code) == ("failed", 1)
    assert [line.name for line in run.thresholds if not line.passed] == ["latency p50"]
    assert "latency p50" in run.message
    assert "at most 0.001 ms" in run.message


def test_while_it_plays_only_what_cannot_mend_is_judged() -> None:
    seen: list[tuple[Threshold, ...]] = []
    scenario = short("orders")
    thresholds = scenario.thresholds.model_copy(update={"max_ms": 0.001, "p99_ms": 0.001})
    scenario = scenario.model_copy(update={"thresholds": thresholds})
    Lab(scenario, virtual=True, on_tick=lambda snapshot: seen.append(snapshot.thresholds)).play_to_end()
    first, last = ({line.name: line.passed for line in lines} for lines in (seen[0], seen[-1]))
    assert first["latency max"] is last["latency max"] is False
    assert (first["latency p99"], last["latency p99"]) == (None, False)
    assert (first["lost orders"], last["lost orders"]) == (None, True)


def test_orders_above_the_limits_queue_and_their_wait_is_told_apart_from_the_service() -> None:
    (run,) = play(short("burst")).runs
    assert run.bound_s is not None
    assert run.elapsed_s >= run.bound_s
    assert run.service.max_ms < 200 < run.queueing.max_ms
    assert run.latency.max_ms >= run.queueing.max_ms


def test_the_knee_is_where_the_limits_are() -> None:
    (run,) = play(short("limits")).runs
    assert run.capacity_per_s == 10
    assert run.knee_per_s is not None
    assert 8 <= run.knee_per_s <= 11.5
    assert run.requests.finished < run.requests.planned  # it stopped there


def test_orders_leave_a_broker_that_is_down_and_come_back() -> None:
    (run,) = play(short("failover")).runs
    assert run.recovery_s is not None
    assert run.requests.failures == 0
    alpha, beta = run.brokers
    assert alpha.accepted > 8
    assert beta.accepted > 8


def test_a_virtual_run_says_nothing_about_the_machine() -> None:
    (run,) = play(short("market-data")).runs
    assert run.machine is None
    assert not {line.name for line in run.thresholds} & {"rate", "memory growth"}


@pytest.mark.parametrize(
    ("report", "violations"),
    [
        (RefereeReport(name="a", accepted=9, refused=0, fullest=(("10/s", 10, 10),)), 0),
        (RefereeReport(name="a", accepted=9, refused=2, fullest=(("10/s", 10, 10),)), 2),
        (RefereeReport(name="a", accepted=9, refused=0, fullest=(("10/s", 13, 10), ("9/s", 1, 9))), 3),
    ],
)
def test_a_refusal_for_limits_or_an_overfull_window_is_a_violation(report: RefereeReport, violations: int) -> None:
    assert violations_of([report]) == violations


def test_a_stop_leaves_the_parts_that_were_played(tmp_path: Path) -> None:
    seen: list[str] = []

    def tick(snapshot: object) -> None:
        seen.append(getattr(snapshot, "state", ""))
        if len(seen) == 1:
            lab.stop()

    lab = Lab(short("orders"), virtual=True, on_tick=tick, store=tmp_path / "kept.db")
    lab.play_to_end()
    report = make_report(lab, 0)
    assert (report.verdict, report.exit_code) == ("stopped", 130)
    (run,) = report.runs
    assert 0 < run.requests.finished < run.requests.planned
    assert (run.orders.lost, run.orders.duplicates) == (0, 0)
    # What was not offered any more is no failure to achieve it.
    assert run.rates.offered_per_s == pytest.approx(20, rel=0.1)  # as `short` has it
    assert {line.name: line.passed for line in run.thresholds}["achieved of offered rate"]
    with closing(sqlite3.connect(tmp_path / "kept.db")) as kept:
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with pytest.raises(ConfigError, match="exists already"):
        Lab(load_scenario("orders"), virtual=True, store=tmp_path / "kept.db")


def test_a_run_that_breaks_is_reported_as_far_as_it_came() -> None:
    def tick(_snapshot: object) -> None:
        if not lab.results:
            raise RuntimeError("out of luck")

    lab = Lab(short("orders"), virtual=True, on_tick=tick)
    lab.play_to_end()
    report = make_report(lab, 0)
    (run,) = report.runs
    assert (report.verdict, report.exit_code, run.state) == ("failed", 1, "broken")
    assert run.message == "it broke: RuntimeError: out of luck"
    assert run.requests.finished > 0
    (error,) = ET.fromstring(junit_xml(report)).findall("testsuite/testcase/error")  # noqa: S314 - our own text
    assert "out of luck" in (error.get("message") or "")


def test_nothing_of_a_run_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    Lab(load_scenario("orders").changed(duration_s=0.2)).play_to_end()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names are enough


def test_words_from_another_thread_steer_the_run() -> None:
    lab = Lab(short("market-data"), virtual=True)
    lab.ask("rate 10")
    lab.ask("rate nonsense")
    lab.ask("dance")
    lab.play_to_end()
    (result,) = lab.results
    assert SECOND < result.run.elapsed_ns < 2 * SECOND  # one second at its own rate, until the first tick hears of it
    assert result.run.finished == 600


ONE_BROKER = """
name = "one"
[arrivals]
kind = "constant"
rate = 10
duration_s = 3
[[journey]]
operation = "place_order"
[[brokers]]
name = "alpha"
response_ms = 20
[[brokers.budgets]]
rates = ["50/s"]
"""
SLOW_DISK = """
[[faults]]
kind = "slow_disk"
at_s = 1
until_s = 2
value = 150
"""


def test_a_slow_disk_holds_orders_up_for_as_long_as_it_is_slow() -> None:
    (run,) = play(parse_scenario(ONE_BROKER + SLOW_DISK, "one")).runs
    before, slow, after = run.seconds.p50_ms[:3]
    assert before < 50
    assert slow > 450  # intent and outcome wait for it, and for those of the orders before
    assert run.seconds.p50_ms[-1] < 500
    assert after > before
    (usual,) = play(parse_scenario(ONE_BROKER, "one")).runs
    assert max(usual.seconds.p50_ms) < 50
    assert (run.orders.lost, run.orders.duplicates) == (0, 0)


def test_syncs_are_counted_and_shared_by_those_who_commit_at_once() -> None:
    (apart,) = play(parse_scenario(ONE_BROKER, "one")).runs
    assert apart.disk_syncs is not None
    assert 60 <= apart.disk_syncs <= 95  # two for each of 30 orders, and one more for each fill that was heard of
    at_once = ONE_BROKER.replace('kind = "constant"\nrate = 10\nduration_s = 3', 'kind = "burst"\ncount = 30')
    (together,) = play(parse_scenario(at_once, "one")).runs
    assert together.orders.acknowledged == 30
    assert together.disk_syncs is not None
    assert 2 <= together.disk_syncs < 60
    (ticks,) = play(short("market-data")).runs
    assert ticks.disk_syncs is None


def test_a_slow_disk_also_strikes_a_run_on_the_store_alone() -> None:
    text = 'name = "s"\n[arrivals]\nkind = "users"\nusers = 2\nsessions = 100\n[[journey]]\noperation = "store_trade"\n'
    (run,) = play(parse_scenario(text + SLOW_DISK.replace("at_s = 1", "at_s = 0"), "s")).runs
    assert run.elapsed_s == pytest.approx(2.0, abs=0.2)
    assert run.disk_syncs is not None
    assert 100 <= run.disk_syncs <= 200
