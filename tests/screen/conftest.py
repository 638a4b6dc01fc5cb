"""Pictures of the screen: taken without a terminal, kept in snapshots/ at the top, the same to the byte."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import textual.constants
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from textual.app import App
from textual.widgets import Input

ROOT = Path(__file__).parents[2]
SNAPSHOTS = ROOT / "snapshots" / "screen"
Look = Callable[[App[None], str], Awaitable[None]]


class Svg(SingleFileSnapshotExtension):
    """One SVG for each picture, under snapshots/screen/<the test module's name>/."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        return str(SNAPSHOTS / test_location.basename)


@pytest.fixture(autouse=True)
def _the_same_picture_every_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # a key that exports must not leave its file in the checkout
    monkeypatch.setattr(textual.constants, "TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr(Input, "_toggle_cursor", lambda _self: None)
    # Textual's own wait watches the processor for 20 ms a key; the loop of these tests knows itself when it is idle.
    for place in ("textual.app.wait_for_idle", "textual.pilot.wait_for_idle"):
        monkeypatch.setattr(place, _until_idle)
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_DIM_FACTOR"):
        monkeypatch.delenv(name, raising=False)


async def _until_idle(_least: float = 0, _most: float = 0) -> None:
    await asyncio.get_running_loop().idle_selector.until_idle()


def svg_of(app: App[None]) -> str:
    """The screen as SVG, without the random ids that Rich puts into it."""
    return re.sub(r"terminal-\d+-", "", app.export_screenshot(title=app.title)) + "\n"


async def settled_svg_of(app: App[None]) -> str:
    """The picture once it no longer changes: a layout resizes widgets, whose new height may ask for another layout."""
    taken, before = svg_of(app), ""
    while taken != before:
        await asyncio.sleep(0.03)  # longer than one frame of Textual's, so that whatever waits for a frame gets it
        await _until_idle()
        app.screen._on_timer_update()
        await _until_idle()
        taken, before = svg_of(app), taken
    return taken


@pytest.fixture
def look(snapshot: SnapshotAssertion) -> Look:
    """`await look(app, "frozen")`: the app looks as it did when its picture of this name was accepted."""

    async def compare(app: App[None], name: str) -> None:
        assert await settled_svg_of(app) == snapshot(extension_class=Svg, name=name)

    return compare
