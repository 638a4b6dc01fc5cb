"""What every screen with tables can do with them: filter, sort, copy, export. The table in hand is the focused one."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.widgets import Input

from ..view.export import Sheet, sheet_of
from ..view.table import Sort, row_line, shown_columns
from ..view.text import plain
from ..widgets import Painted, Table
from .base import RouterScreen

__all__ = ["TablesScreen"]


class TablesScreen(RouterScreen):
    """One line to filter by, for whichever table is in hand."""

    @staticmethod
    def filter_line() -> Input:
        """The line; hidden until it is asked for."""
        line = Input(placeholder="words  !without  field=value", id="filter", max_length=200)
        line.display = False
        return line

    @property
    def in_hand(self) -> Table[Any]:
        """The focused table, else the one that was filtered last, else the first."""
        focused = self.focused
        if isinstance(focused, Table):
            return focused
        tables = [table for table in self.query(Table) if table.filter_text] or list(self.query(Table))
        return tables[0]

    def pane_sheet(self) -> Sheet | None:
        """What is exported while no table is focused; None for the table in hand."""
        return None

    def sheet(self) -> Sheet:
        other = None if isinstance(self.focused, Table) else self.pane_sheet()
        if other is not None:
            return other
        table = self.in_hand
        return sheet_of(table.pane_title.replace(" ", "-"), table.columns, table.rows)

    def action_filter(self) -> None:
        table = self.in_hand
        if not table.display or not table.size.height:
            self.headroom.say("there is no table to filter at this size and in this layout")
            return
        self._narrowed = table
        entry = self.query_one("#filter", Input)
        entry.value = table.filter_text
        entry.display = True
        entry.focus()

    _narrowed: Table[Any] | None = None

    @on(Input.Changed, "#filter")
    def narrow(self, event: Input.Changed) -> None:
        """Filter while it is being typed."""
        if self._narrowed is not None and self._narrowed.filter_text != event.value:
            self._narrowed.filter_by(event.value)
            self.rows_changed()

    def rows_changed(self) -> None:
        """Another row may stand under the cursor now."""

    @on(Input.Submitted, "#filter")
    def keep(self) -> None:
        """Keep the filter and go back to the rows."""
        entry = self.query_one("#filter", Input)
        entry.display = bool(entry.value)
        (self._narrowed or self.in_hand).focus()

    def action_clear(self) -> None:
        entry = self.query_one("#filter", Input)
        table = self._narrowed if entry.has_focus and self._narrowed is not None else self.in_hand
        entry.value = ""
        entry.display = False
        table.filter_by("")
        table.sort_by(Sort())
        self.rows_changed()
        table.focus()

    def action_sort(self) -> None:
        self.in_hand.sort_next()

    def action_reverse(self) -> None:
        table = self.in_hand
        table.sort_by(Sort(table.sort.key, not table.sort.descending))

    def action_copy(self) -> None:
        focused = self.focused
        if isinstance(focused, Painted):
            self.app.copy_to_clipboard(focused.text)
            self.headroom.say("copied the pane")
            return
        table = self.in_hand
        row = table.cursor_row
        if row is not None:
            text = plain(row_line(shown_columns(table.columns, 10_000), row))
            self.app.copy_to_clipboard(" ".join(text.split()))
            self.headroom.say("copied the row")
