"""Every suggestion with its evidence, and every incident."""

from __future__ import annotations

from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult

from core.models import ApplySuggestion, DismissSuggestion, IncidentRow, Suggestion, UndoSuggestion

from ..keys import bindings
from ..view.advice import INCIDENT_COLUMNS, SUGGESTION_COLUMNS, suggestion_lines, suggestion_rows
from ..view.export import Sheet, sheet_of
from ..view.frame import Frame
from ..view.table import row_line, shown_columns
from ..view.text import Line, Role, Span, line, plain
from ..widgets import Painted, Table
from .base import RouterScreen

__all__ = ["AdviceScreen"]


class AdviceScreen(RouterScreen):
    """Decide on what is proposed; read what happened."""

    BINDINGS: ClassVar = bindings("advice")

    @property
    def suggestions(self) -> Table[Suggestion]:
        """The table of suggestions."""
        return cast("Table[Suggestion]", self.query_one("#suggestions", Table))

    def compose_body(self) -> ComposeResult:
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
        yield Table(INCIDENT_COLUMNS, _incident_key, id="incidents", title="incidents", nothing="no incident")

    def show_body(self, frame: Frame) -> None:
        self.suggestions.show(suggestion_rows(frame.snapshot.suggestions))
        self.query_one("#incidents", Table).show(frame.snapshot.incidents)
        self._show_why()

    @on(Table.Moved)
    def _show_why(self) -> None:
        self.painted("#why").show((self.suggestions.cursor_row,))

    def sheet(self) -> Sheet:
        if self.query_one("#incidents").has_focus:
            return sheet_of("incidents", INCIDENT_COLUMNS, self.query_one("#incidents", Table).rows)
        return sheet_of("suggestions", SUGGESTION_COLUMNS, self.suggestions.rows)

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

    def action_copy(self) -> None:
        entry = self.suggestions.cursor_row
        if entry is not None:
            self.app.copy_to_clipboard(
                " ".join(plain(row_line(shown_columns(SUGGESTION_COLUMNS, 10_000), entry)).split())
            )
            self.headroom.say("copied the suggestion")


def _incident_key(entry: IncidentRow) -> tuple[int, str, str]:
    return entry.at_ns, entry.kind, entry.provider


def _paint(shown: tuple[Suggestion | None], width: int, _height: int | None) -> list[Line]:
    (entry,) = shown
    return [line(Span("   nothing chosen", Role.DIM))] if entry is None else suggestion_lines(entry, width)
