"""What stands over the stress screen: the editor of a scenario, and the report of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea

from core.models import StartScenario
from core.stress.lab import Lab
from core.stress.library import parse_scenario, scenario_text
from core.stress.report import make_report
from tests.screen import samples
from tests.screen.conftest import Look
from tests.screen.hands import Bench, press, until
from tui.screens.scenario_editor import ScenarioEditor
from tui.screens.stress_report import StressReportScreen

SCENARIO = scenario_text("orders").replace("duration_s = 10", "duration_s = 2").replace("rate = 100", "rate = 20")


def keep_report(folder: Path, *, at_s: int, seed: int, response_ms: int = 20) -> Path:
    text = SCENARIO.replace("response_ms = 20", f"response_ms = {response_ms}")
    lab = Lab(parse_scenario(text, "orders"), seed=seed, virtual=True)
    lab.play_to_end()
    path = folder / f"{at_s * 1000:013d}-orders.json"
    path.write_text(make_report(lab, at_s * 1_000_000_000).json_text())
    return path


@pytest.fixture
def reports(tmp_path: Path) -> list[Path]:
    """Three runs of one scenario, the first with slower brokers; oldest first."""
    return [
        keep_report(
            tmp_path, at_s=1_767_000_000 + 100 * number, seed=number + 1, response_ms=200 if number == 0 else 20
        )
        for number in range(3)
    ]


async def test_an_edited_scenario_is_checked_and_then_played() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "5", "t")
        editor = bench.app.screen
        assert isinstance(editor, ScenarioEditor)
        area = editor.query_one(TextArea)
        assert area.text == scenario_text("users")
        area.text = scenario_text("users").replace("users = 100", "users = 0")
        await press(pilot, "ctrl+s")
        assert isinstance(bench.app.screen, ScenarioEditor)
        line = scenario_text("users").splitlines().index("users = 100") + 1
        assert f"✖ line {line}: arrivals.users: is 0" in bench.text()
        assert area.cursor_location[0] == line - 1
        wanted = scenario_text("users").replace("users = 100", "users = 7")
        area.text = wanted
        await press(pilot, "ctrl+s")
        assert not isinstance(bench.app.screen, ScenarioEditor)
        assert "(edited)" in bench.text()
        await press(pilot, "s")
        await pilot.app.workers.wait_for_complete()
        assert bench.sent == [StartScenario("users", {}, wanted)]


async def test_what_is_left_or_put_back_is_as_it_was() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "5", "t")
        bench.app.screen.query_one(TextArea).text = "nonsense"
        await press(pilot, "escape", "t", "ctrl+s", "s")
        await pilot.app.workers.wait_for_complete()
        assert bench.sent == [StartScenario("users", {})]
        assert "(edited)" not in bench.text()


async def compare(pilot: Pilot[None]) -> None:
    await press(pilot, "c")
    await pilot.app.workers.wait_for_complete()  # reports are read in a thread


async def test_the_report_is_shown_and_compared_with_earlier_runs(reports: list[Path]) -> None:
    _, same, path = reports
    bench = Bench(replace(samples.normal(), stress=replace(samples.ended("passed"), report=str(path))))
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, "5", "r")
        assert isinstance(bench.app.screen, StressReportScreen)
        await pilot.app.workers.wait_for_complete()
        await until(pilot, lambda: "PASSED orders" in bench.text())
        text = bench.text()
        assert "seed 3  virtual time" in text
        assert "✓ pass  lost orders" in text
        assert "of the capacity" in text
        assert "against the run" not in text
        await compare(pilot)
        await until(pilot, lambda: "no figure moved beyond noise" in bench.text())
        await compare(pilot)
        await until(pilot, lambda: "other brokers before, these now" in bench.text())
        same.write_text("{}")
        await compare(pilot)
        await until(pilot, lambda: "not a report of headroom stress" in bench.text())
        await press(pilot, "escape")
        assert not isinstance(bench.app.screen, StressReportScreen)


async def test_without_a_finished_run_there_is_no_report() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "5", "r")
        assert "there is no report yet" in bench.text()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_report_and_editor_look_as_accepted(look: Look, reports: list[Path], size: tuple[int, int]) -> None:
    path = reports[-1]
    bench = Bench(replace(samples.normal(), stress=replace(samples.ended("passed"), report=str(path))))
    async with bench.app.run_test(size=size) as pilot:
        await press(pilot, "5", "r")
        await pilot.app.workers.wait_for_complete()
        await until(pilot, lambda: "PASSED orders" in bench.text())
        await look(bench.app, "report")
        await press(pilot, "escape", "t")
        bench.app.screen.query_one(TextArea).cursor_blink = False
        await look(bench.app, "editor")
