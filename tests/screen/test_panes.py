"""Panes: a key leads to each, one takes the whole screen; three layouts."""

from __future__ import annotations

import pytest

from core.errors import ConfigError
from tests.screen import samples
from tests.screen.conftest import Look
from tests.screen.hands import Bench, press
from tui.keys import LAYOUTS, SCREENS
from tui.widgets import Pane


@pytest.mark.parametrize("number", range(1, len(SCREENS) + 1), ids=[name for name, _ in SCREENS])
async def test_a_key_in_its_title_leads_to_every_pane_and_m_gives_it_the_screen(number: int) -> None:
    bench = Bench(samples.warning())
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, str(number))
        panes = bench.app.screen.panes
        assert panes
        for place, pane in enumerate(panes, 1):
            if not pane.display:
                continue
            assert f"F{place + 1} {pane.pane_title}" in bench.text()
            await press(pilot, f"f{place + 1}")
            assert pane.has_focus
            await press(pilot, "m")
            assert bench.app.screen.maximized is pane
            await press(pilot, "m")
            assert bench.app.screen.maximized is None


async def test_a_pane_that_is_not_there_is_said_so() -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "f6")
        assert "this screen has 3 panes" in bench.text()
        await press(pilot, "4", "f3")
        assert "that pane is not shown" in bench.text()


async def test_a_pane_bears_the_key_of_the_operators_own_keymap() -> None:
    bench = Bench(samples.normal(), keymap={"app.pane_2": "ctrl+f"})
    async with bench.app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "ctrl+f")
        assert "Ctrl+F flow" in bench.text()
        assert bench.app.screen.focused.id == "pulse"


@pytest.mark.parametrize("number", range(1, len(SCREENS) + 1), ids=[name for name, _ in SCREENS])
async def test_every_layout_shows_a_pane_and_the_third_press_comes_back(number: int) -> None:
    bench = Bench(samples.warning())
    async with bench.app.run_test(size=(160, 50)) as pilot:
        await press(pilot, str(number))

        def shown() -> list[str]:
            return [f"{pane.id} {pane.size}" for pane in bench.app.screen.query(Pane) if pane.size.area]

        first = shown()
        for layout in (*LAYOUTS[1:], LAYOUTS[0]):
            await press(pilot, "l")
            assert f"layout {layout}" in bench.text()
            assert bench.app.screen.has_class(f"-{layout}")
            assert shown()
        assert shown() == first


async def test_a_layout_is_kept_from_screen_to_screen_and_may_be_chosen_at_the_start() -> None:
    bench = Bench(samples.normal(), layout="limits")
    async with bench.app.run_test(size=(120, 40)) as pilot:
        assert not bench.app.screen.query_one("#below").display
        await press(pilot, "2")
        assert bench.app.screen.has_class("-limits")
    with pytest.raises(ConfigError, match="there is no layout 'upside down'; there are balanced, limits, activity"):
        Bench(samples.normal(), layout="upside down")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_other_two_layouts(look: Look, size: tuple[int, int]) -> None:
    bench = Bench(samples.warning())
    async with bench.app.run_test(size=size) as pilot:
        for layout in LAYOUTS[1:]:
            await press(pilot, "l")
            for number in "12":
                await press(pilot, number)
                await look(bench.app, f"{layout} {number}")
