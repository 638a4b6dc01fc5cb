"""An app over sample snapshots with hands on it: keys in, commands and painted text out."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot

from core.models import Command, RouterSnapshot
from tests.screen import samples
from tui.app import HeadroomApp

__all__ = ["Bench", "press", "until"]


class Bench:
    """An app over sample snapshots, and what it sent."""

    def __init__(self, snapshot: RouterSnapshot, **options: object) -> None:
        self.port = samples.SamplePort(snapshot)
        self.now_ns = 0
        self.app = HeadroomApp(self.port, hz=0, scenarios=samples.SCENARIOS, stopwatch=lambda: self.now_ns, **options)

    @property
    def sent(self) -> list[Command]:
        return self.port.sent

    def text(self) -> str:
        """All that is painted, as plain text."""
        return "\n".join(
            "".join(segment.text for segment in strip) for strip in self.app.screen._compositor.render_strips()
        )


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """A change of layout takes a few passes of the screen's loop; fail when it has not come after a hundred."""
    for _ in range(100):
        if true():
            return
        await pilot.pause()
    assert true()
