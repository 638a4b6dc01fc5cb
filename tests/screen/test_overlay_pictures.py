"""What stands over a screen, and the pages of a broker's depth, as accepted at a small and at a large terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.errors import EngineHalted
from core.models import HealthStatus, RouterSnapshot
from tests.screen import samples
from tests.screen.conftest import Look
from tests.screen.hands import Bench, press
from tui.view.depth import PAGES

SIZES = [(80, 24), (160, 50)]
TYPED = [*"NSE:SBIN-EQ", "tab", *"10", "tab", "tab"]


def resting() -> RouterSnapshot:
    """One order that rests, under advice and alerts."""
    row = samples.order(1, "ACCEPTED", symbol="NSE:SBIN-EQ")
    return replace(samples.warning(), orders=(row, *samples.orders(30)))


def capped() -> RouterSnapshot:
    """One broker drained, the other capped."""
    brokers = (
        samples.fyers(drained=True, health=HealthStatus.DRAINED, reason="drained by the operator"),
        samples.upstox(cap=0.4),
    )
    return replace(samples.normal(), brokers=brokers)


OVER: dict[str, tuple[Callable[[], RouterSnapshot], list[str]]] = {
    "new ticket": (samples.normal, ["4", "n"]),
    "ticket with faults": (samples.normal, ["4", "n", *TYPED, *"820.53"]),
    "ticket ready": (samples.normal, ["4", "n", *TYPED, *"820.5"]),
    "ticket live": (samples.live, ["4", "n", *TYPED, *"820.5"]),
    "ticket live confirm": (samples.live, ["4", "n", *TYPED, *"820.5", "enter"]),
    "ticket halted": (samples.critical, ["4", "n", *TYPED, *"820.5"]),
    "change": (resting, ["4", "M"]),
    "story": (resting, ["4", "s"]),
    "story of a lost order": (samples.critical, ["4", "s"]),
    "what if": (samples.warning, ["3", "w"]),
    "what if drained": (samples.warning, ["3", "w", "down", "d", "up", "left", "left"]),
    "faults": (samples.normal, ["X", "tab", "h", "enter"]),
    "capped and drained": (capped, []),
    "alerts": (samples.critical, ["6", "f4"]),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", OVER)
async def test_what_stands_over_a_screen(look: Look, name: str, size: tuple[int, int]) -> None:
    over, keys = OVER[name]
    bench = Bench(over())
    async with bench.app.run_test(size=size) as pilot:
        for key in keys:
            await press(pilot, key)
            await pilot.app.workers.wait_for_complete()
        await look(bench.app, name)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_page_of_a_brokers_depth(look: Look, size: tuple[int, int]) -> None:
    bench = Bench(samples.warning())
    async with bench.app.run_test(size=size) as pilot:
        await press(pilot, "2", "tab", "down")
        for page in PAGES:
            await pilot.app.workers.wait_for_complete()
            await look(bench.app, page)
            await press(pilot, "v")
        bench.port.silent = EngineHalted("a recording holds no depth")
        await press(pilot, "up")
        await pilot.app.workers.wait_for_complete()
        await look(bench.app, "not to be had")
