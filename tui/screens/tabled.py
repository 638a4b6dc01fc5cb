"""A screen that is one table, with a line to filter it by and the row under the cursor in full."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from ..view.frame import Frame
from ..view.table import Column, Sort, row_line, shown_columns
from ..view.text import Line, Span, line, plain
from ..widgets import Painted, Table
from .base import RouterScreen

__all__ = ["TabledScreen"]

R = TypeVar("R")


class TabledScreen(RouterScreen, Generic[R]):
    """Sort, filter, look closer; what the rows are is the subclass's matter."""

    COLUMNS: ClassVar[Sequence[Column[Any]]] = ()
    TABLE_TITLE: ClassVar[str] = ""
    DETAIL_TITLE: ClassVar[str] = ""
    NOTHING: ClassVar[str] = "nothing yet"

    @abstractmethod
    def key_of(self, row: R) -> Hashable:
        """By what the cursor knows its row again."""

    @abstractmethod
    def rows_of(self, frame: Frame) -> Sequence[R]:
        """The rows of a frame, newest first."""

    @abstractmethod
    def detail_lines(self, row: R, width: int) -> list[Line]:
        """All that is known of one row."""

    @property
    def table(self) -> Table[R]:
        """The table."""
        return cast("Table[R]", self.query_one("#table", Table))

    def compose_body(self) -> ComposeResult:
        yield Input(placeholder="words  !without  field=value", id="filter", max_length=200)
        with Horizontal(id="body"):
            table = Table[R](self.COLUMNS, self.key_of, id="table", title=self.TABLE_TITLE, nothing=self.NOTHING)
            table.add_class("first")
            yield table
            yield Painted[object](self._paint_detail, id="detail", title=self.DETAIL_TITLE)

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one("#detail").display = False

    def show_body(self, frame: Frame) -> None:
        self.table.show(self.rows_of(frame))
        self._show_detail()

    def _show_detail(self) -> None:
        if self.query_one("#detail").display:
            self.painted("#detail").show((self.table.cursor_row,))

    def _paint_detail(self, shown: object, width: int, _height: int | None) -> list[Line]:
        row = cast("tuple[R | None]", shown)[0]
        return [line(Span("  no row"))] if row is None else self.detail_lines(row, width)

    @on(Table.Moved)
    def follow(self) -> None:
        """Keep the closer look on the row under the cursor."""
        self._show_detail()

    @on(Table.Opened)
    def action_open(self) -> None:
        detail = self.query_one("#detail")
        detail.display = not detail.display
        self._show_detail()

    def action_filter(self) -> None:
        entry = self.query_one("#filter", Input)
        entry.display = True
        entry.focus()

    @on(Input.Changed, "#filter")
    def narrow(self, event: Input.Changed) -> None:
        """Filter while it is being typed."""
        self.table.filter_by(event.value)
        self._show_detail()

    @on(Input.Submitted, "#filter")
    def keep(self) -> None:
        """Keep the filter and go back to the rows."""
        self.table.focus()
        entry = self.query_one("#filter", Input)
        entry.display = bool(entry.value)

    def action_clear(self) -> None:
        entry = self.query_one("#filter", Input)
        entry.value = ""
        entry.display = False
        self.table.sort_by(Sort())
        self.table.focus()

    def action_sort(self) -> None:
        self.table.sort_next()

    def action_reverse(self) -> None:
        self.table.sort_by(Sort(self.table.sort.key, not self.table.sort.descending))

    def action_copy(self) -> None:
        row = self.table.cursor_row
        if row is not None:
            text = plain(row_line(shown_columns(self.COLUMNS, 10_000), row))
            self.app.copy_to_clipboard(" ".join(text.split()))
            self.headroom.say("copied the row")
