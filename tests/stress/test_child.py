"""The run beside a screen: figures come, words go, and no process is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from core.clock import SECOND
from core.errors import ConfigError
from core.models import (
    PauseScenario,
    ResumeScenario,
    SetScenarioRate,
    StartScenario,
    StopScenario,
    StressCommand,
)
from core.stress.child import ChildStress
from core.stress.library import scenario_text
from core.stress.report import load_report
from core.stress.runs import Runs

ROOT = Path(__file__).resolve().parents[2]


_EARLIER: set[int] = set()  # left by others: a pool's tracker lives as long as the interpreter


@pytest.fixture
async def child() -> AsyncIterator[ChildStress]:
    _EARLIER.clear()
    _EARLIER.update(_children())
    child = ChildStress()
    yield child
    await child.stop()
    assert _children() == set()


def _children() -> set[int]:
    found = {process.pid for process in psutil.Process().children(recursive=True) if process.status() != "zombie"}
    return found - _EARLIER


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)


async def test_a_run_sends_its_figures_and_ends_by_itself(child: ChildStress) -> None:
    await child.start("orders", {"duration": 0.5, "rate": 20, "seed": 4, "virtual": True})
    assert child.snapshot.state == "running"
    await until(lambda: not child.running)
    assert child.snapshot.state == "passed"
    assert child.snapshot.finished == 10
    assert child.snapshot.virtual
    assert all(line.passed is not False for line in child.snapshot.thresholds)


async def test_a_stop_keeps_what_was_measured_and_leaves_no_process(child: ChildStress) -> None:
    await child.start("orders", {"duration": 60})
    await until(lambda: child.snapshot.finished > 10)
    await child.stop()
    assert not child.running
    assert child.snapshot.state == "stopped"
    assert child.snapshot.finished > 10
    assert _children() == set()
    await child.stop()  # a second one does nothing


async def test_the_run_may_be_paused_and_its_rate_changed(child: ChildStress, tmp_path: Path) -> None:
    path = tmp_path / "ticks.toml"
    path.write_text(scenario_text("market-data").replace("count = 500", "count = 1"))
    await child.start(str(path), {"duration": 40, "rate": 20})
    await until(lambda: child.snapshot.finished > 0)
    await child.pause()
    await until(lambda: child.snapshot.paused)
    held = child.snapshot.started
    await asyncio.sleep(0.5)
    assert child.snapshot.started <= held + 2
    await child.resume()
    await child.set_rate(100)
    await until(lambda: child.snapshot.rate_factor == 100)
    await until(lambda: not child.running)
    assert child.snapshot.finished == 800  # of 40 s at 20/s, long before they are over


async def test_commands_do_what_the_calls_do(child: ChildStress) -> None:
    assert "running" in await child.send(StartScenario("orders", {"duration": 60}))
    await until(lambda: child.snapshot.finished > 0)
    await child.send(PauseScenario())
    await until(lambda: child.snapshot.paused)
    await child.send(ResumeScenario())
    assert await child.send(SetScenarioRate(2.5)) == "2.5 times the rate as written"
    await until(lambda: not child.snapshot.paused and child.snapshot.rate_factor == 2.5)
    await child.send(StopScenario())
    assert child.snapshot.state == "stopped"


async def test_a_run_that_has_to_be_killed_is_not_said_to_be_kept() -> None:
    child = ChildStress(grace_s=0.0)
    await child.start("orders", {"duration": 60})
    await until(lambda: child.snapshot.finished > 0)
    assert "there is no report" in await child.send(StopScenario())
    assert child.snapshot.state == "broken"
    assert _children() == set()


@pytest.mark.parametrize("command", [PauseScenario(), ResumeScenario(), SetScenarioRate(2.0), SetScenarioRate(0.0)])
async def test_a_command_that_finds_no_run_or_makes_no_sense_is_refused(
    child: ChildStress, command: StressCommand
) -> None:
    with pytest.raises(ConfigError, match=r"no scenario is running|give 0\.001 to 1000"):
        await child.send(command)
    assert await child.send(StopScenario())


async def test_an_edited_scenario_is_played_as_it_was_edited_and_leaves_no_file(
    child: ChildStress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = scenario_text("market-data").replace("count = 500", "count = 1").replace("duration_s = 5", "duration_s = 1")
    await child.send(StartScenario("market-data", {"virtual": True}, text))
    await until(lambda: not child.running)
    assert (child.snapshot.state, child.snapshot.finished) == ("passed", 200)
    await child.stop()
    assert list(tmp_path.iterdir()) == []


async def test_a_mistake_in_an_edited_scenario_is_told_by_line_and_key_and_starts_nothing(child: ChildStress) -> None:
    text = scenario_text("orders").replace("rate = 100", "rate = -1")
    with pytest.raises(ConfigError, match=r"orders as edited:\d+: arrivals\.rate: is -1"):
        await child.send(StartScenario("orders", {}, text))
    assert (child.snapshot.state, _children()) == ("idle", set())


async def test_the_report_of_a_run_is_kept_beside_those_before_it(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    reports = []
    for seed in (1, 2):
        child = ChildStress(runs=runs)
        assert child.snapshot.report == (reports[-1] if reports else "")
        await child.start("orders", {"duration": 0.5, "rate": 20, "seed": seed, "virtual": True})
        await until(lambda child=child: not child.running)  # type: ignore[misc]
        reports.append(child.snapshot.report)
        await child.stop()
    first, second = (Path(report) for report in reports)
    assert load_report(second).seed == 2
    assert runs.latest() == second
    assert runs.before(second) == (first,)
    assert runs.before(first) == ()


def test_the_fifty_newest_reports_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    runs = Runs(tmp_path)
    for second in range(60):
        runs.path_for("a b/c", second * SECOND).touch()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[-1] == "notes.txt"
    assert names[:-1] == [f"{second * 1000:013d}-a-b-c.json" for second in range(10, 60)]


async def test_one_run_at_a_time(child: ChildStress) -> None:
    await child.start("orders", {"duration": 60})
    with pytest.raises(ConfigError, match="under way; stop it first"):
        await child.start("burst")


@pytest.mark.parametrize("name", ["nonsense", "/nowhere.toml", "--store=/tmp/x.toml"])
async def test_a_scenario_that_cannot_be_read_starts_no_process(child: ChildStress, name: str) -> None:
    with pytest.raises(ConfigError):
        await child.start(name)
    assert child.snapshot.state == "idle"
    assert _children() == set()


async def test_a_child_that_dies_is_told_as_broken(child: ChildStress) -> None:
    await child.start("orders", {"duration": 60})
    await until(lambda: child.snapshot.finished > 0)
    for pid in _children():
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not child.running)
    assert child.snapshot.state == "broken"
    assert "code -9" in child.snapshot.message
    await child.start("orders", {"duration": 1, "rate": 10, "virtual": True})
    await until(lambda: not child.running)
    assert child.snapshot.state == "passed"


async def test_a_flag_that_the_child_refuses_is_told_in_its_words(child: ChildStress) -> None:
    await child.start("orders", {"rate": "fast"})
    await until(lambda: not child.running)
    assert child.snapshot.state == "broken"
    assert "--rate" in child.snapshot.message


async def test_a_child_that_does_not_listen_is_killed_after_its_grace() -> None:
    child = ChildStress(grace_s=0.2)
    await child.start("orders", {"duration": 60})
    await until(lambda: child.snapshot.finished > 0)
    (pid,) = _children()
    os.kill(pid, signal.SIGSTOP)
    await child.stop()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def test_a_parent_that_is_killed_leaves_no_child() -> None:
    program = (
        "import asyncio, psutil\n"
        "from core.stress.child import ChildStress\n"
        "async def main():\n"
        "    child = ChildStress()\n"
        "    await child.start('orders', {'duration': 600})\n"
        "    while not child.snapshot.finished: await asyncio.sleep(0.02)\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=30)
    assert not psutil.pid_exists(pid)
