"""Where the embedded simulator disturbs least: in a thread of the dashboard's process, or in a process of its own.

    pytest tests/bench/simulator/test_thread_or_process.py --benchmark-enable -s

The real screen, engine and adapters on the demo's own flow (demo_probe.py), both ways in turn. Lags are the p99 of each
second, and a figure is the median over all seconds, orders or starts, so that a busy neighbour's moments do not decide.
The thread is what the product has: this fails when it would no longer be the better choice.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

import pytest

from tests.bench.screen.test_screen import on_a_terminal

ROUNDS, SECONDS = 3, 10
PLACE = {"wire": "thread", "process": "process"}  # as the setting calls it, as we do
# Where that is allowed, ahead of the neighbours: elsewhere nice says so and runs it as it is.
PROBE = ("nice", "-n", "-10", sys.executable, "-m", "tests.bench.simulator.demo_probe")
SWITCH_MS = 5  # what one more thread may hold the interpreter before another gets it


def test_a_thread_disturbs_the_screen_no_more_than_a_process(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("measures for more than a minute; --benchmark-enable")
    told: dict[str, dict[str, list[float]]] = {"wire": {}, "process": {}}
    report = tmp_path / "report.json"
    for _ in range(ROUNDS):
        for where, figures in told.items():
            on_a_terminal(*PROBE, where, str(SECONDS), str(report))
            for name, values in json.loads(report.read_text("utf-8")).items():
                figures.setdefault(name, []).extend(values)
    middle = {where: {name: median(values) for name, values in figures.items()} for where, figures in told.items()}
    print()
    for where, values in middle.items():
        told_so = ", ".join(f"{name} {value:.1f}" for name, value in values.items())
        print(f"simulator in a {PLACE[where]}: {told_so}")
    thread, process = middle["wire"], middle["process"]
    assert thread["start ms"] < process["start ms"]
    assert thread["CPU s"] < process["CPU s"]
    for lag in ("screen p99 ms", "engine p99 ms", "order ms"):
        assert thread[lag] <= process[lag] + SWITCH_MS, lag
