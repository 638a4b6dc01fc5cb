"""The stress lab: pick a scenario, size it, watch it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label

from core.models import (
    PauseScenario,
    ResumeScenario,
    SetScenarioRate,
    StartScenario,
    StopScenario,
    StressSnapshot,
)
from core.stress.library import scenario_text

from ..keys import bindings
from ..view.export import Sheet
from ..view.frame import Frame
from ..view.stress import Scenarios, course_lines, run_lines, scenario_lines, threshold_lines
from ..view.text import Line
from ..widgets import Painted
from .base import RouterScreen
from .scenario_editor import ScenarioEditor
from .stress_report import StressReportScreen

__all__ = ["StressScreen"]

# The sizes that can be typed, by the names that StartScenario's overrides have.
_SIZES = (("users", "users"), ("rate", "per second"), ("duration", "seconds"))
# How a run is played: what is shown, and the switch of `headroom stress`.
_WAYS: Final = (("in real time", ""), ("over HTTP", "http"), ("in virtual time", "virtual"))


class StressScreen(RouterScreen):
    """Runs go through the same port as every command; their progress is part of the snapshot."""

    BINDINGS: ClassVar = bindings("stress")

    _selected = 0
    _way = 0

    def __init__(self) -> None:
        super().__init__()
        self._edited: dict[str, str] = {}

    def compose_body(self) -> ComposeResult:
        scenarios = Painted[tuple[Scenarios, int]](_scenarios, id="scenarios", title="scenarios")
        scenarios.add_class("first")
        yield scenarios
        with Horizontal(id="sizes"):
            for name, label in _SIZES:
                yield Label(label)
                yield Input(placeholder="as it says", id=name, max_length=12, restrict=r"[0-9]*\.?[0-9]*")
            yield Label(_WAYS[0][0], id="way")
        yield Painted[StressSnapshot](run_lines, id="run", title="run")
        yield Painted[StressSnapshot](threshold_lines, id="thresholds", title="thresholds")
        yield Painted[StressSnapshot](course_lines, id="course", title="course")

    def show_body(self, frame: Frame) -> None:
        self.painted("#scenarios").show((self._offered(), self._selected))
        self.set_class(frame.snapshot.stress.state == "running", "-running")
        self.painted("#run").show(frame.snapshot.stress)
        self.painted("#thresholds").show(frame.snapshot.stress)
        self.painted("#course").show(frame.snapshot.stress)

    def sheet(self) -> Sheet:
        rows = tuple((entry.name, entry.limit, entry.value, entry.passed) for entry in self._stress.thresholds)
        return Sheet("stress", ("threshold", "limit", "value", "passed"), rows)

    def _offered(self) -> Scenarios:
        return tuple(
            (name, f"(edited) {description}" if name in self._edited else description)
            for name, description in self.headroom.scenarios
        )

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
        switch = _WAYS[self._way][1]
        overrides: dict[str, float | int | str] = {switch: True} if switch else {}
        for size, label in _SIZES:
            text = self.query_one(f"#{size}", Input).value.strip()
            if not text:
                continue
            value = float(text) if text != "." else 0.0
            if value <= 0:
                self.headroom.say(f"{label} is {text}; give a number above 0", failed=True)
                return
            overrides[size] = int(value) if value.is_integer() else value
        self.send(StartScenario(name, overrides, self._edited.get(name, "")))

    def action_stop(self) -> None:
        self.send(StopScenario())

    def action_pause(self) -> None:
        self.send(ResumeScenario() if self._stress.paused else PauseScenario())

    def action_pace(self, by: float) -> None:
        self.send(SetScenarioRate(self._stress.rate_factor * by))

    @property
    def _stress(self) -> StressSnapshot:
        return self.frame.snapshot.stress if self.frame is not None else StressSnapshot()

    def action_way(self) -> None:
        self._way = (self._way + 1) % len(_WAYS)
        self.query_one("#way", Label).update(_WAYS[self._way][0])

    def action_edit(self) -> None:
        if not self.headroom.scenarios:
            self.headroom.say("there is no scenario to edit")
            return
        name, _ = self.headroom.scenarios[self._selected]

        def keep(text: str | None) -> None:
            if text is None:
                return
            if text == scenario_text(name):
                self._edited.pop(name, None)
            else:
                self._edited[name] = text
            if self.frame is not None:
                self.show(self.frame)

        self.app.push_screen(ScenarioEditor(name, self._edited.get(name, scenario_text(name))), keep)

    def action_report(self) -> None:
        if self._stress.report:
            self.app.push_screen(StressReportScreen(Path(self._stress.report)))
        else:
            self.headroom.say("there is no report yet: it comes when a run has ended")


def _scenarios(shown: tuple[Scenarios, int], width: int, height: int | None) -> list[Line]:
    return scenario_lines(*shown, width, height)
