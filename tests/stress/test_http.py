"""The same scenarios over real sockets, with the real adapters, against the simulator in a process of its own."""

from __future__ import annotations

import psutil
import pytest

from core.clock import SECOND
from core.errors import ConfigError
from core.stress.lab import Lab
from core.stress.library import load_scenario, parse_scenario
from core.stress.report import RunReport, make_report
from core.stress.scenarios import Scenario

MIXED = """
name = "mixed"
pick = "one"
wire = "http"
[arrivals]
kind = "constant"
rate = 30
duration_s = 2
[[journey]]
operation = "place_order"
weight = 4
[[journey]]
operation = "cancel_order"
[[journey]]
operation = "modify_order"
[[journey]]
operation = "get_positions"
[[brokers]]
name = "alpha"
response_ms = 10
[[brokers.budgets]]
rates = ["100/s"]
[[brokers]]
name = "upstox"
provider = "upstox"
response_ms = 10
[[brokers.budgets]]
rates = ["100/s"]
"""


def play(scenario: Scenario) -> RunReport:
    lab = Lab(scenario, seed=1)
    lab.play_to_end()
    (run,) = make_report(lab, 0).runs
    return run


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_orders_over_http_are_sent_judged_and_audited_as_in_memory() -> None:
    before = children()
    run = play(parse_scenario(MIXED, "mixed"))
    assert (run.state, run.requests.failures) == ("passed", 0), run.message
    assert (run.violations, run.orders.lost, run.orders.duplicates, run.orders.ghosts, run.orders.strangers) == (0,) * 5
    assert run.orders.acknowledged > 30
    assert sum(broker.accepted for broker in run.brokers) >= 60
    assert {broker.name for broker in run.brokers} == {"alpha", "upstox"}
    assert run.service.p50_ms > 5
    assert children() == before


def test_what_ended_leaves_the_books_of_the_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.stress.targets._ARCHIVE_AFTER_NS", 0)
    monkeypatch.setattr("core.stress.targets._ARCHIVE_EVERY_NS", SECOND // 4)
    orders_only = MIXED.replace("cancel_order", "place_order").replace("modify_order", "place_order")
    run = play(parse_scenario(orders_only, "mixed"))
    assert (run.orders.lost, run.orders.duplicates, run.orders.ghosts, run.orders.strangers) == (0, 0, 0, 0)
    assert run.orders.acknowledged > 30


def test_the_referees_keep_the_scenarios_limits_and_so_does_the_router() -> None:
    text = MIXED.replace("rate = 30", "rate = 60").replace("100/s", "15/s")
    run = play(parse_scenario(text, "mixed"))
    assert {window.limit for broker in run.brokers for window in broker.windows} == {15}
    assert max(window.most for broker in run.brokers for window in broker.windows) > 10
    assert (run.violations, run.requests.failures) == (0, 0)
    assert run.queueing.max_ms > 500


@pytest.mark.parametrize("kind", ["reset_after_accept", "down", "latency"])
def test_faults_strike_over_http_too(kind: str) -> None:
    value = 300 if kind == "latency" else 1
    text = MIXED + f'[[faults]]\nkind = "{kind}"\nbroker = "alpha"\nat_s = 0.3\nuntil_s = 0.8\nvalue = {value}\n'
    run = play(parse_scenario(text, "mixed"))
    assert (run.violations, run.orders.lost, run.orders.duplicates, run.orders.ghosts) == (0, 0, 0, 0)
    if kind == "latency":
        assert run.service.max_ms > 300
    else:
        assert sum(broker.errors for broker in run.brokers) > 0


def test_a_flag_puts_any_scenario_with_brokers_behind_sockets() -> None:
    scenario = load_scenario("orders").changed(http=True, duration_s=0.5, rate=20)
    assert scenario.wire == "http"
    run = play(scenario)
    assert (run.orders.acknowledged, run.requests.failures) == (10, 0)


def test_sockets_know_no_virtual_time() -> None:
    with pytest.raises(ConfigError, match="sockets know no virtual time"):
        Lab(load_scenario("orders").changed(http=True), virtual=True)


def test_there_are_two_wires_and_no_third() -> None:
    third = '[[brokers]]\nname = "gamma"\n[[brokers.budgets]]\nrates = ["1/s"]\n'
    with pytest.raises(ConfigError, match="two brokers, and gamma would be one more"):
        Lab(parse_scenario(MIXED + third, "mixed")).play_to_end()
