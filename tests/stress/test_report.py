"""Reports: what moved beyond noise, and text that cannot break the page it stands on."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.clock import MILLISECOND
from core.errors import ConfigError
from core.stress.baseline import Change, compare
from core.stress.junit import junit_xml
from core.stress.measure import Histogram
from core.stress.page import html_page
from core.stress.report import (
    Broker,
    Generator,
    MachineReport,
    Orders,
    Rates,
    Report,
    Requests,
    RunReport,
    Seconds,
    Summary,
    ThresholdReport,
    Window,
    load_report,
    schema,
)

NASTY = '<script>alert("x")</script> & \x00\x1b[31m \ud7ff'


@cache
def summary(*, around_ms: float = 10.0, count: int = 1000) -> Summary:
    histogram = Histogram()
    for number in range(count):
        histogram.record(int((around_ms * (0.9 + 0.2 * number / count)) * MILLISECOND))
    return Summary(**histogram.summary())


def run(*, name: str = "orders", latency: Summary | None = None, failures: int = 0, units: int = 1000, lost: int = 0,
        state: str = "passed", text: str = "all well", seconds: int = 3) -> RunReport:  # fmt: skip
    latency = latency or summary()
    return RunReport(
        name=name,
        description=text,
        state=state,
        message=text,
        elapsed_s=10.0,
        requests=Requests(
            planned=1000, started=1000, finished=1000, sent=900, failures=failures, refusals=0,
            failures_by_class={"OrderNotSent": failures} if failures else {}, examples={"OrderNotSent": text},
        ),
        rates=Rates(offered_per_s=100.0, achieved_per_s=100.0, units=units, units_per_s=units / 10),
        latency=latency,
        service=summary(),
        queueing=summary(),
        generator=Generator(fell_behind=False, lag=summary()),
        thresholds=(
            ThresholdReport(name="failures", limit="at most 0", value=str(failures), passed=not failures),
            ThresholdReport(name=text, limit="x", value="y", passed=None),
        ),
        orders=Orders(
            given_out=9, acknowledged=9, unsettled=0, lost=lost, duplicates=0, ghosts=0, strangers=0, examples=()
        ),
        violations=0,
        brokers=(
            Broker(
                name=text, accepted=9, refused_for_limits=0, windows=(Window(rate="10/s", most=10, limit=10),),
                duplicate_tags=0, requests=9, errors=0, traffic_share=0.6, capacity_share=0.5,
            ),
        ),
        efficiency=0.97,
        bound_s=8.0,
        capacity_per_s=100.0,
        knee_per_s=None,
        recovery_s=1.0,
        disk_syncs=40,
        machine=MachineReport(cpu_percent=12.0, rss_mib=50.0, rss_growth_mib=0.5, loop_lag_ms_max=2.0, disk_writes=7),
        seconds=Seconds(
            offered=(10,) * seconds, finished=(9,) * seconds, failed=(0,) * seconds, queued=(0,) * seconds,
            p50_ms=(1.0,) * seconds, p99_ms=(0.0,) * seconds, max_ms=(300.0,) * seconds,
        ),
        histogram=((1.0, 3), (1.25, 0), (1.6, 7)),
        scenario={"name": name, "faults": [{"at_s": 1, "until_s": 2}]},
    )  # fmt: skip


def report(*runs: RunReport) -> Report:
    return Report(
        started_at="2026-01-05T04:00:00+00:00",
        scenario="orders",
        seed=1,
        virtual=False,
        verdict="passed",
        exit_code=0,
        runs=runs,
    )


def verdicts(before: RunReport, after: RunReport) -> dict[str, str]:
    return {change.figure: change.verdict for change in compare(report(before), report(after))}


def test_a_run_compared_with_itself_has_not_moved() -> None:
    assert compare(report(run()), report(run())) == ()


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, "worse"), (0.6, "better")])
def test_a_latency_beyond_the_intervals_has_moved(factor: float, verdict: str) -> None:
    moved = verdicts(run(), run(latency=summary(around_ms=10 * factor)))
    assert moved["latency p50"] == moved["latency p99"] == verdict
    assert "service p50" not in moved


def test_a_latency_within_a_twentieth_is_noise_however_sharp_its_interval() -> None:
    assert verdicts(run(), run(latency=summary(around_ms=10.4))) == {}


def test_few_records_make_wide_intervals_and_so_less_is_certain() -> None:
    few = verdicts(run(latency=summary(count=8)), run(latency=summary(count=8, around_ms=11.5)))
    many = verdicts(run(latency=summary(count=2000)), run(latency=summary(count=2000, around_ms=11.5)))
    assert few == {}
    assert many["latency p50"] == "worse"


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (0, 1, {"failures": "worse"}),
        (1, 0, {"failures": "better"}),
        (100, 110, {}),  # the noise of such a count is 10
        (100, 150, {"failures": "worse"}),
    ],
)
def test_failures_move_beyond_the_noise_of_their_count(before: int, after: int, moved: dict[str, str]) -> None:
    assert verdicts(run(failures=before), run(failures=after)) == moved


def test_a_single_lost_order_is_worse_and_a_slower_rate_too() -> None:
    assert verdicts(run(), run(lost=1)) == {"lost orders": "worse"}
    assert verdicts(run(units=10_000), run(units=9_000)) == {"rate": "worse"}
    assert verdicts(run(units=100), run(units=90)) == {}  # two standard errors of such counts are 28 %


def test_scenarios_that_differ_are_not_compared_by_their_figures() -> None:
    other = run(latency=summary(around_ms=99)).model_copy(update={"scenario": {"name": "orders", "pick": "one"}})
    assert verdicts(run(), other) == {"scenario": "changed"}
    (told,) = compare(report(run()), report(other))
    assert str(told) == "orders: scenario changed: other faults, pick before, these now"
    reseeded = run().model_copy(update={"scenario": {**run().scenario, "seed": 2}})
    assert verdicts(run(), reseeded) == {}
    changes = compare(report(run(name="a")), report(run(name="b")))
    assert [(change.scenario, change.after) for change in changes] == [("b", "passed"), ("a", "absent")]


class _Tags(HTMLParser):
    """Keeps the tags that are open; fails on one that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("seconds", [0, 1, 3, 5000])
def test_the_page_is_well_formed_whatever_a_broker_says_and_however_long_the_run(seconds: int) -> None:
    change = Change(NASTY, "latency p50", "1", "2", "worse")
    page = html_page(report(run(text=NASTY, failures=2, seconds=seconds)), [change])
    assert "<script" not in page
    assert len(page) < 200_000
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert {"svg", "table", "figure", "rect"} <= tags.seen


def test_every_line_of_a_chart_stays_inside_it() -> None:
    steep = run(seconds=900)
    steep = steep.model_copy(
        update={"seconds": steep.seconds.model_copy(update={"max_ms": tuple(1.7**n % 90_000 for n in range(900))})}
    )
    lines = re.findall(r'points="([^"]+)"', html_page(report(steep, run(seconds=1))))
    assert len(lines) == 10  # five series, two runs
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert len(points) <= 600
        assert all(0 <= x <= 560 and 0 <= y <= 190 for x, y in points)


def test_the_page_says_what_became_of_the_baseline() -> None:
    assert "Against the baseline" not in html_page(report(run()))
    assert "no figure moved" in html_page(report(run()), [])
    assert "worse" in html_page(report(run()), [Change("orders", "rate", "1", "2", "worse")])


def test_junit_holds_a_case_for_each_threshold_and_no_character_that_xml_forbids() -> None:
    text = junit_xml(report(run(text=NASTY, failures=1), run(name="burst", state="stopped")))
    suites = ET.fromstring(text)  # noqa: S314 - our own text
    assert suites.get("tests") == "5"
    assert suites.get("failures") == "1"
    first, second = suites
    assert [case.find("failure") is not None for case in first.findall("testcase")] == [True, False]
    assert second.get("errors") == "1"
    assert "alert" in (first.findtext("system-out") or "")


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    original = report(run(text='\u20b9 "x"'))
    path.write_text(original.json_text())
    assert load_report(path) == original


def test_a_report_with_an_unknown_or_absent_part_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for old, new, place in (('"seed": 1', '"seed": "one"', "seed"), ('"lost": 0', '"gone": 0', "runs.0.orders.lost")):
        path.write_text(report(run()).json_text().replace(old, new))
        with pytest.raises(ConfigError, match=rf"version 1: {place}:"):
            load_report(path)


def test_the_schema_documents_every_figure_of_a_report() -> None:
    document = schema()
    assert set(document["properties"]) == set(Report.model_fields)
    assert set(document["$defs"]["RunReport"]["properties"]) == set(RunReport.model_fields)
    assert all(part.get("description") for part in document["$defs"].values())
