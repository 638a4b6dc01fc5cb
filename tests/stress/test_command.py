"""`headroom stress`: what it prints, writes and returns."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from core.stress.library import BUILT_IN
from core.stress.report import load_report
from tui.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["orders", "--virtual", "--duration", "0.5", "--rate", "20", "--seed", "3"]
IMPOSSIBLE = """\
name = "impossible"
[arrivals]
kind = "burst"
count = 3
[[journey]]
operation = "place_order"
[[brokers]]
name = "alpha"
[[brokers.budgets]]
rates = ["10/s"]
[thresholds]
max_ms = 0.001
"""


def test_a_run_that_passes_says_so_and_writes_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"r.{name}" for name in ("json", "junit", "html", "hdr")}
    code = main(["stress", *QUICK, *(f"--{name}={path}" for name, path in files.items())])
    out = capsys.readouterr().out
    assert code == 0
    assert "orders: passed" in out
    assert "ok   lost orders: 0 (at most 0)" in out

    report = load_report(files["json"])
    assert (report.version, report.verdict, report.seed, report.virtual) == (1, "passed", 3, True)
    assert report.runs[0].requests.finished == 10

    suites = ET.fromstring(files["junit"].read_text())  # noqa: S314 - our own file
    cases = suites.findall("testsuite/testcase")
    assert len(cases) == len(report.runs[0].thresholds) == int(suites.get("tests", ""))
    assert suites.get("failures") == "0"

    page = files["html"].read_text()
    assert "<svg" in page
    assert not re.search(r"(?:src|href|url)\s*[=(]|https?:|@import|<script", page)

    log = HistogramLogReader(str(files["hdr"]), HdrHistogram(1, 24 * 3600 * 1_000_000, 3))
    latency = log.get_next_interval_histogram()
    log.input_file.close()
    assert latency.get_total_count() == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.hdr", "r.html", "r.json", "r.junit"]


def test_the_same_seed_writes_the_same_bytes_but_for_the_time_of_the_run(tmp_path: Path) -> None:
    texts = []
    for name in ("a.json", "b.json"):
        assert main(["stress", *QUICK, "--json", str(tmp_path / name)]) == 0
        texts.append(re.sub(r'"started_at": ".*?"', "", (tmp_path / name).read_text()))
    assert texts[0] == texts[1]


def test_a_threshold_that_fails_is_named_and_the_code_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, junit = tmp_path / "impossible.toml", tmp_path / "j.xml"
    path.write_text(IMPOSSIBLE)
    assert main(["stress", str(path), "--virtual", "--junit", str(junit)]) == 1
    assert "FAIL latency max" in capsys.readouterr().out
    suites = ET.fromstring(junit.read_text())  # noqa: S314 - our own file
    (failure,) = suites.findall("testsuite/testcase/failure")
    assert "must be at most 0.001 ms" in (failure.get("message") or "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a scenario or a file"),
        (["nonsense"], "no scenario 'nonsense'"),
        (["absent.toml"], "absent.toml: No such file"),
        (["orders", "--users", "3"], "--users does not fit"),
        (["orders", "--json", "/nowhere/at/all/x.json"], "--json /nowhere/at/all/x.json: cannot be written"),
        (["orders", "--baseline", "/nowhere/x.json"], "/nowhere/x.json: No such file"),
    ],
)
def test_a_call_that_makes_no_sense_ends_with_2_and_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stress", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [["--rate", "0"], ["--rate", "nan"], ["--rate", "x"], ["--duration", "-1"], ["--users", "1.5"], ["--seed", "-1"],
     ["--nonsense"], ["--virtual", "--real-time"], ["--baseline"]],
)  # fmt: skip
def test_a_flag_that_is_none_ends_with_2_and_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["stress", "orders", *arguments])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "_" not in err  # no name of ours


def test_a_broken_file_ends_with_2_and_names_line_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(IMPOSSIBLE.replace("count = 3", "count = -3"))
    assert main(["stress", str(path)]) == 2
    assert f"{path}:4: arrivals.count: is -3" in capsys.readouterr().err


def test_lists_examples_and_the_schema_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stress", "--list"]) == 0
    assert capsys.readouterr().out.count("\n") == 10
    assert main(["stress", "chaos", "--show"]) == 0
    assert "[[faults]]" in capsys.readouterr().out
    assert main(["stress", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["version"]["const"] == 1


def test_the_help_explains_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["stress", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for scenario in BUILT_IN.values():
        assert f"{scenario.name:<12} {scenario.description}" in out
    assert "--virtual" in out


def test_a_baseline_is_compared_beyond_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast = tmp_path / "slow.toml", tmp_path / "fast.toml"
    text = (
        IMPOSSIBLE.replace("count = 3", "count = 200")
        .replace("max_ms = 0.001", "failures = 0")
        .replace("10/s", "900/s")
    )
    fast.write_text(text)
    slow.write_text(text.replace('name = "alpha"', 'name = "alpha"\nresponse_ms = 400'))
    assert main(["stress", str(fast), "--virtual", "--json", str(tmp_path / "b.json")]) == 0
    capsys.readouterr()
    assert main(["stress", str(fast), "--virtual", "--baseline", str(tmp_path / "b.json")]) == 0
    assert "no figure moved beyond noise" in capsys.readouterr().out
    assert main(["stress", str(slow), "--virtual", "--baseline", str(tmp_path / "b.json")]) == 0
    assert "scenario changed" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[]", '{"format":"headroom-stress-report","version":2}'])
def test_a_baseline_that_is_no_report_is_refused(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)
    assert main(["stress", "orders", "--baseline", str(path)]) == 2
    assert "not a report of headroom stress, version 1" in capsys.readouterr().err


def test_the_report_may_go_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stress", *QUICK, "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == "passed"
    assert "orders: passed" in captured.err


def test_progress_is_a_line_a_second_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stress", *QUICK]) == 0
    err = capsys.readouterr().err
    assert "\r" not in err
    assert err.splitlines()[-1].startswith("orders      [########################] 10/10")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_its_partial_report_and_returns_130(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "partial.json"
    run = subprocess.Popen(
        [sys.executable, "-m", "tui", "stress", "orders", "--json", str(path)],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with run:
        assert run.stderr is not None
        while "running" not in run.stderr.readline():
            assert run.poll() is None
        run.send_signal(number)
        out, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    report = load_report(path)
    assert (report.verdict, report.exit_code) == ("stopped", 130)
    assert 0 < report.runs[0].requests.finished < 1000
    assert report.runs[0].orders.lost == 0
    assert "orders: stopped" in out


def test_a_stream_is_a_snapshot_a_line_and_ends_with_its_input() -> None:
    command = [sys.executable, "-m", "tui", "stress", "--stream", "orders", "--duration", "30"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert isinstance(run.stdout, io.TextIOBase)
        assert isinstance(run.stdin, io.TextIOBase)
        first = json.loads(run.stdout.readline())
        run.stdin.close()
        *_, last = run.stdout
    assert (first["kind"], first["value"]["state"]) == ("stress", "running")
    assert json.loads(last)["value"]["state"] == "stopped"
    assert run.returncode == 130
