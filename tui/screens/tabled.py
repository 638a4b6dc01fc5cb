"""A screen that is one table, with the row under the cursor in full."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from ..view.frame import Frame
from ..view.table import Column
from ..view.text import Line, Span, line
from ..widgets import Painted, Table
from .tables import TablesScreen

__all__ = ["TabledScreen"]

R = TypeVar("R")


class TabledScreen(TablesScreen, Generic[R]):
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
        yield self.filter_line()
        with Horizontal(id="body"):
            table = Table[R](self.COLUMNS, self.key_of, id="table", title=self.TABLE_TITLE, nothing=self.NOTHING)
            table.add_class("first")
            yield table
            yield Painted[object](self._paint_detail, id="detail", title=self.DETAIL_TITLE)

    def on_mount(self) -> None:
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
    def rows_changed(self) -> None:
        """Keep the closer look on the row under the cursor."""
        self._show_detail()

    @on(Table.Opened)
    def action_open(self) -> None:
        detail = self.query_one("#detail")
        detail.display = not detail.display
        self._show_detail()
