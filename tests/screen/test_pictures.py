"""Every screen as it was accepted: in every state, at the sizes of a small and of a large terminal."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from syrupy.location import PyTestLocation

from core.models import RouterSnapshot
from tests.screen import samples
from tests.screen.conftest import SNAPSHOTS, Look, Svg, settled_svg_of
from tests.screen.hands import Bench
from tui.app import HeadroomApp
from tui.keys import SCREENS
from tui.theme import LIGHT

NUMBER_OF = {name: str(number) for number, (name, _) in enumerate(SCREENS, 1)}
RUNS = {
    "idle": samples.normal().stress,
    "running": samples.running(),
    **{state: samples.ended(state) for state in ("passed", "failed", "stopped", "broken")},
}


def app_over(snapshot: RouterSnapshot, **options: object) -> HeadroomApp:
    return HeadroomApp(samples.SamplePort(snapshot), hz=0, scenarios=samples.SCENARIOS, stopwatch=lambda: 0, **options)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", [name for name, _ in SCREENS if name != "stress"])
async def test_every_screen_in_every_state(look: Look, screen: str, size: tuple[int, int]) -> None:
    app = app_over(samples.normal())
    async with app.run_test(size=size) as pilot:
        await pilot.press(NUMBER_OF[screen])
        for state, sample in samples.STATES.items():
            app._port.now = sample()
            app.tick()
            await pilot.pause()
            await look(app, state)
        await pilot.press("space")
        await pilot.pause()
        await look(app, "frozen")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_stress_screen_through_a_run(look: Look, size: tuple[int, int]) -> None:
    bench = Bench(samples.normal())
    async with bench.app.run_test(size=size) as pilot:
        await pilot.press(NUMBER_OF["stress"])
        for sequence, (state, run) in enumerate(RUNS.items(), 100):
            bench.port.now = replace(samples.normal(), sequence=sequence, stress=run)
            bench.app.tick()
            await pilot.pause()
            await look(bench.app, state)
            assert (f"{state.upper()}  orders" in bench.text()) == (state != "idle")


@pytest.mark.parametrize("size", [(60, 15), (120, 40), (200, 60), (300, 100)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_overview_from_the_smallest_to_the_largest(look: Look, size: tuple[int, int]) -> None:
    app = app_over(samples.warning())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await look(app, "warning")
        app._port.now = samples.many()
        app.tick()
        await pilot.pause()
        await look(app, "twelve brokers")


@pytest.mark.parametrize(
    ("name", "press"),
    [
        ("help", ["question_mark"]),
        ("order detail", ["4", "enter"]),
        ("orders filtered", ["4", "slash", *"status=rejected", "enter"]),
        ("orders sorted", ["4", "o", "o", "O"]),
        ("cancel", ["4", "c"]),
        ("cancel all", ["4", "C"]),
        ("decision why", ["3", "down", "enter"]),
        ("cap", ["c", *"200", "enter"]),
        ("maximised", ["m"]),
    ],
)
async def test_what_keys_bring_up(look: Look, name: str, press: list[str]) -> None:
    app = app_over(samples.warning())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*press)
        await pilot.pause()
        await look(app, name)


async def test_live_asks_for_a_word_before_it_halts(look: Look) -> None:
    app = app_over(samples.live())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("K")
        await pilot.pause()
        await look(app, "halt")


async def test_the_light_theme_and_a_screen_that_may_only_look(look: Look) -> None:
    app = app_over(samples.critical(), theme=LIGHT.name, read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await look(app, "light")


async def test_two_apps_paint_the_same_picture_to_the_byte() -> None:
    taken = []
    for _ in range(2):
        app = app_over(samples.critical())
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            taken.append(await settled_svg_of(app))
    assert taken[0] == taken[1]


def test_every_picture_belongs_to_a_test_that_still_exists(request: pytest.FixtureRequest) -> None:
    # Syrupy finds an unused picture only of a test that ran; a module that is gone it does not know.
    items = [item for item in request.session.items if item.path.parent.name == "screen"]
    if len({item.path for item in items}) < len(list((request.path.parent).glob("test_*.py"))):
        pytest.skip("needs all of tests/screen")
    owners = {(item.path.stem, PyTestLocation(item).snapshot_name) for item in items}
    for picture in SNAPSHOTS.rglob("*"):
        if picture.is_dir():
            continue
        assert picture.suffix == f".{Svg.file_extension}", f"{picture} is no picture"
        test = re.sub(r"\[[^\[\]]*\]$", "", picture.stem)
        assert (picture.parent.name, test) in owners, f"{picture} belongs to no test; run make snapshots"
