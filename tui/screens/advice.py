"""Every suggestion with its evidence, every alert, and every incident."""

from __future__ import annotations

from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult

from core.models import AlertRow, ApplySuggestion, DismissSuggestion, IncidentRow, Suggestion, UndoSuggestion

from ..keys import bindings
from ..view.advice import INCIDENT_COLUMNS, SUGGESTION_COLUMNS, suggestion_lines, suggestion_rows
from ..view.alerts import ALERT_COLUMNS
from ..view.frame import Frame
from ..view.text import Line, Role, Span, line
from ..widgets import Painted, Table
from .tables import TablesScreen

__all__ = ["AdviceScreen"]


class AdviceScreen(TablesScreen):
    """Decide on what is proposed; see what calls, what called, and what happened."""

    BINDINGS: ClassVar = bindings("advice")

    @property
    def suggestions(self) -> Table[Suggestion]:
        """The table of suggestions."""
        return cast("Table[Suggestion]", self.query_one("#suggestions", Table))

    def compose_body(self) -> ComposeResult:
        yield self.filter_line()
        table = Table(
            SUGGESTION_COLUMNS,
            lambda entry: entry.id,
            id="suggestions",
            title="suggestions",
            nothing="nothing to advise",
        )
        table.add_class("first")
        yield table
        yield Painted(_paint, id="why", title="why")
        yield Table(ALERT_COLUMNS, _alert_key, id="alerts", title="alerts", nothing="nothing has called yet")
        yield Table(INCIDENT_COLUMNS, _incident_key, id="incidents", title="incidents", nothing="no incident")

    def show_body(self, frame: Frame) -> None:
        self.suggestions.show(suggestion_rows(frame.snapshot.suggestions))
        self.query_one("#alerts", Table).show(frame.snapshot.alerts)
        self.query_one("#incidents", Table).show(frame.snapshot.incidents)
        self.rows_changed()

    @on(Table.Moved)
    def rows_changed(self) -> None:
        """Keep the evidence that of the suggestion under the cursor."""
        self.painted("#why").show((self.suggestions.cursor_row,))

    def action_apply(self) -> None:
        entry = self.suggestions.cursor_row
        if entry is None:
            return
        if entry.applied:
            self.headroom.say("it is applied; u takes it back")
        elif not entry.action:
            self.headroom.say("there is no key for this one: only you can do it")
        else:
            self.send(ApplySuggestion(entry.id))

    def action_undo(self) -> None:
        entry = self.suggestions.cursor_row
        if entry is not None:
            if entry.applied:
                self.send(UndoSuggestion(entry.id))
            else:
                self.headroom.say("it was not applied")

    def action_hide(self) -> None:
        entry = self.suggestions.cursor_row
        if entry is not None:
            self.send(DismissSuggestion(entry.id))


def _alert_key(entry: AlertRow) -> tuple[str, int]:
    return entry.id, entry.raised_epoch_ns


def _incident_key(entry: IncidentRow) -> tuple[int, str, str]:
    return entry.at_ns, entry.kind, entry.provider


def _paint(shown: tuple[Suggestion | None], width: int, _height: int | None) -> list[Line]:
    (entry,) = shown
    return [line(Span("   nothing chosen", Role.DIM))] if entry is None else suggestion_lines(entry, width)
