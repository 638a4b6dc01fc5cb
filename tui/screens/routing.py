"""The decision log: which broker each request went to, and why that one."""

from __future__ import annotations

from core.models import Decision

from ..keys import bindings
from ..view.frame import Frame
from ..view.routing import DECISION_COLUMNS, decision_lines
from ..view.text import Line
from .tabled import TabledScreen
from .whatif import WhatIfScreen

__all__ = ["RoutingScreen"]


class RoutingScreen(TabledScreen[Decision]):
    """Decisions, newest first."""

    BINDINGS = bindings("routing")
    COLUMNS = DECISION_COLUMNS
    TABLE_TITLE = "decisions"
    DETAIL_TITLE = "why"
    NOTHING = "nothing routed yet"

    def key_of(self, row: Decision) -> int:
        return row.serial

    def rows_of(self, frame: Frame) -> tuple[Decision, ...]:
        decisions = frame.snapshot.decisions
        oldest_first = len(decisions) > 1 and decisions[0].serial < decisions[-1].serial
        return decisions[::-1] if oldest_first else decisions

    def detail_lines(self, row: Decision, width: int) -> list[Line]:
        return decision_lines(row, width)

    def action_what_if(self) -> None:
        if self.frame is not None:
            self.app.push_screen(WhatIfScreen(self.frame))

    def action_undo(self) -> None:
        self.headroom.take_back()
