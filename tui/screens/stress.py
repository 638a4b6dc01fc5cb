"""The stress lab: pick a scenario, size it, watch it."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label

from core.models import StartScenario, StopScenario, StressSnapshot

from ..keys import bindings
from ..view.export import Sheet
from ..view.frame import Frame
from ..view.stress import Scenarios, course_lines, run_lines, scenario_lines, threshold_lines
from ..view.text import Line
from ..widgets import Painted
from .base import RouterScreen

__all__ = ["StressScreen"]

# The sizes that can be typed, by the names that StartScenario's overrides have.
_SIZES = (("users", "users"), ("rate", "rate per second"), ("duration", "seconds"))


class StressScreen(RouterScreen):
    """Runs go through the same port as every command; their progress is part of the snapshot."""

    BINDINGS: ClassVar = bindings("stress")

    _selected = 0

    def compose_body(self) -> ComposeResult:
        scenarios = Painted[tuple[Scenarios, int]](_scenarios, id="scenarios", title="scenarios")
        scenarios.add_class("first")
        yield scenarios
        with Horizontal(id="sizes"):
            for name, label in _SIZES:
                yield Label(label)
                yield Input(placeholder="as it says", id=name, max_length=12, restrict=r"[0-9]*\.?[0-9]*")
        yield Painted[StressSnapshot](run_lines, id="run", title="run")
        yield Painted[StressSnapshot](threshold_lines, id="thresholds", title="thresholds")
        yield Painted[StressSnapshot](course_lines, id="course", title="course")

    def show_body(self, frame: Frame) -> None:
        self.painted("#scenarios").show((self.headroom.scenarios, self._selected))
        self.painted("#run").show(frame.snapshot.stress)
        self.painted("#thresholds").show(frame.snapshot.stress)
        self.painted("#course").show(frame.snapshot.stress)

    def sheet(self) -> Sheet:
        stress = self.frame.snapshot.stress if self.frame else StressSnapshot()
        rows = tuple((entry.name, entry.limit, entry.value, entry.passed) for entry in stress.thresholds)
        return Sheet("stress", ("threshold", "limit", "value", "passed"), rows)

    def action_move(self, by: int) -> None:
        self._select(self._selected + by)

    def _select(self, place: int) -> None:
        if self.headroom.scenarios and self.frame is not None:
            self._selected = place % len(self.headroom.scenarios)
            self.show(self.frame)

    @on(Painted.Pressed, "#scenarios")
    def pick(self, event: Painted.Pressed) -> None:
        """A click on a scenario chooses it."""
        height = event.painted.size.height
        number = len(self.headroom.scenarios)
        place = max(0, min(self._selected - height // 2, number - height)) + event.y
        if place < number:
            self._select(place)

    def action_sizes(self) -> None:
        self.query_one(f"#{_SIZES[0][0]}", Input).focus()

    @on(Input.Submitted)
    def back(self) -> None:
        """Enter in a size goes back to the scenarios, where Enter starts."""
        self.query_one("#scenarios").focus()

    def action_start(self) -> None:
        if not self.headroom.scenarios:
            self.headroom.say("there is no scenario to start")
            return
        name, _ = self.headroom.scenarios[self._selected]
        overrides: dict[str, float | int | str] = {}
        for size, label in _SIZES:
            text = self.query_one(f"#{size}", Input).value.strip()
            if not text:
                continue
            value = float(text) if text != "." else 0.0
            if value <= 0:
                self.headroom.say(f"{label} is {text}; give a number above 0", failed=True)
                return
            overrides[size] = int(value) if value.is_integer() else value
        self.send(StartScenario(name, overrides))

    def action_stop(self) -> None:
        self.send(StopScenario())


def _scenarios(shown: tuple[Scenarios, int], width: int, height: int | None) -> list[Line]:
    return scenario_lines(*shown, width, height)
