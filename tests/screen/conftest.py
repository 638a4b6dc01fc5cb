"""Pictures of the screen: taken without a terminal, kept in snapshots/ at the top, the same to the byte."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import textual.constants
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

ROOT = Path(__file__).parents[2]
Picture = Callable[..., Awaitable[None]]


class Svg(SingleFileSnapshotExtension):
    """One SVG for each picture, under snapshots/<the test module's name>/."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        return str(ROOT / "snapshots" / "screen" / test_location.basename)


@pytest.fixture(autouse=True)
def _the_same_picture_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textual.constants, "TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr(Input, "_toggle_cursor", lambda _self: None)
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_DIM_FACTOR"):
        monkeypatch.delenv(name, raising=False)


def svg_of(app: App[object]) -> str:
    """The screen as SVG, without the random ids that Rich puts into it."""
    return re.sub(r"terminal-\d+-", "", app.export_screenshot(title=app.title)) + "\n"


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> Picture:
    """`await picture(app, size=(80, 24), press=[...])`: the app, after these keys, looks as it did when accepted."""

    async def look(
        app: App[object],
        *,
        size: tuple[int, int],
        press: Sequence[str] = (),
        before: Callable[[Pilot[object]], Awaitable[None]] | None = None,
    ) -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for key in press:
                await pilot.press(key)
                await pilot.pause()
            if before is not None:
                await before(pilot)
            await pilot.pause()
            taken = svg_of(app)
        assert taken == snapshot(extension_class=Svg)

    return look
