"""Every screen as it was accepted, at two sizes and in every state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.screen import samples
from tests.screen.conftest import Picture
from tui.app import HeadroomApp
from tui.theme import LIGHT

SIZES = [(80, 24), (160, 50)]
NUMBER_OF = {"overview": "1", "broker": "2", "routing": "3", "orders": "4", "stress": "5", "advice": "6"}


def app_over(state: str, **options: object) -> HeadroomApp:
    port = samples.SamplePort(samples.STATES[state]())
    return HeadroomApp(port, hz=0, scenarios=samples.SCENARIOS, stopwatch=lambda: 0, **options)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", samples.STATES)
async def test_the_overview_in_every_state(picture: Picture, state: str, size: tuple[int, int]) -> None:
    await picture(app_over(state), size=size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", ["normal", "critical", "empty"])
@pytest.mark.parametrize("screen", ["broker", "routing", "orders", "advice"])
async def test_every_other_screen(picture: Picture, screen: str, state: str, size: tuple[int, int]) -> None:
    await picture(app_over(state), size=size, press=[NUMBER_OF[screen]])


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", ["idle", "running", "passed", "failed"])
async def test_the_stress_screen_through_a_run(picture: Picture, state: str, size: tuple[int, int]) -> None:
    run = {"idle": samples.empty().stress, "running": samples.running()}.get(state) or samples.ended(state)
    port = samples.SamplePort(replace(samples.normal(), stress=run))
    app = HeadroomApp(port, hz=0, scenarios=samples.SCENARIOS, stopwatch=lambda: 0)
    await picture(app, size=size, press=["5"])


@pytest.mark.parametrize("size", [(60, 15), (300, 100)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_overview_at_the_smallest_and_the_largest_size(picture: Picture, size: tuple[int, int]) -> None:
    await picture(app_over("warning"), size=size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_twelve_brokers(picture: Picture, size: tuple[int, int]) -> None:
    await picture(HeadroomApp(samples.SamplePort(samples.many()), hz=0, stopwatch=lambda: 0), size=size)


@pytest.mark.parametrize(
    ("name", "press"),
    [
        ("frozen", ["space"]),
        ("light", ["T"]),
        ("help", ["question_mark"]),
        ("order_detail", ["4", "enter"]),
        ("order_filter", ["4", "slash", *"status=rejected", "enter"]),
        ("order_sorted", ["4", "o", "o", "O"]),
        ("cancel_all", ["4", "C"]),
        ("decision_why", ["3", "down", "enter"]),
        ("cap", ["c"]),
    ],
)
async def test_what_keys_bring_up(picture: Picture, name: str, press: list[str]) -> None:
    await picture(app_over("warning"), size=(120, 40), press=press)


async def test_the_kill_switch_asks_for_a_word_when_live(picture: Picture) -> None:
    await picture(app_over("live"), size=(120, 40), press=["K"])


async def test_a_screen_that_may_only_look(picture: Picture) -> None:
    await picture(app_over("warning", read_only=True), size=(120, 40))


async def test_the_light_theme_from_the_configuration(picture: Picture) -> None:
    await picture(app_over("critical", theme=LIGHT.name), size=(120, 40))
