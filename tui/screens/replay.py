"""The time line: what is kept, where one is in it, and what is different between two moments."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult

from core.models import RouterSnapshot
from core.replay import Difference, differences

from ..keys import bindings
from ..view.export import Sheet, sheet_of
from ..view.frame import Frame
from ..view.text import Line, Role, Span, clean, line
from ..view.timeline import BAR_LINE, DIFFERENCE_COLUMNS, TrackFacts, bar_place_ns, timeline_lines
from ..widgets import Painted
from .tabled import TabledScreen

__all__ = ["ReplayScreen"]


class ReplayScreen(TabledScreen[Difference]):
    """Moves through time as every screen does; here one sees where one is."""

    BINDINGS: ClassVar = bindings("replay")
    COLUMNS = DIFFERENCE_COLUMNS
    TABLE_TITLE = "what changed"
    DETAIL_TITLE = "change"
    NOTHING = "< marks a moment as A, > another as B: here stands what is different between them"

    _compared: tuple[RouterSnapshot | None, RouterSnapshot | None] = (None, None)
    _rows: tuple[Difference, ...] = ()

    def compose_body(self) -> ComposeResult:
        yield Painted[TrackFacts](timeline_lines, id="timeline", title="time line")
        yield from super().compose_body()

    def show_body(self, frame: Frame) -> None:
        self.painted("#timeline").show(frame.track)
        super().show_body(frame)

    def rows_of(self, frame: Frame) -> tuple[Difference, ...]:
        marks = self.headroom.timeline.marks
        moments = [marks[name] for name in ("A", "B") if name in marks]
        if len(moments) == 1:
            moments.append(frame.snapshot)
        if len(moments) < 2:
            return ()
        before, after = sorted(moments, key=lambda snapshot: snapshot.at_ns)
        if self._compared[0] is not before or self._compared[1] is not after:
            self._compared, self._rows = (before, after), differences(before, after)
        return self._rows

    def key_of(self, row: Difference) -> tuple[str, str, str]:
        return row.place, row.name, row.what

    def detail_lines(self, row: Difference, width: int) -> list[Line]:  # noqa: ARG002
        facts = (("where", row.place), ("which", row.name), ("what", row.what), ("before", row.before))
        return [
            line(Span(f" {label:<8}", Role.DIM), clean(text) or "-") for label, text in (*facts, ("after", row.after))
        ]

    def sheet(self) -> Sheet:
        return sheet_of("changes", DIFFERENCE_COLUMNS, self.table.rows)

    @on(Painted.Pressed, "#timeline")
    def pick(self, event: Painted.Pressed) -> None:
        """A click on the bar goes to that moment."""
        if self.frame is not None and self.frame.track is not None and event.y == BAR_LINE:
            self.headroom.seek(bar_place_ns(self.frame.track, event.x, event.painted.size.width))
