"""A table of many rows: only the rows in sight are ever turned into text."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ..view.table import Column, Filter, Sort, arrange, header_line, parse_filter, row_line, shown_columns
from ..view.text import Line, Role, Span
from .pane import Pane

__all__ = ["Table"]

R = TypeVar("R")


class Table(Pane, ScrollView, Generic[R], can_focus=True):
    """Rows of `R` under one line of titles. Sorting, filtering and the cursor are the view's own business.

    The cursor stays on its row, known by `key_of`, wherever that row moves. On the first row it stays on the first
    row instead, so that a live table is followed without a hand on it.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("up,k", "cursor(-1)", show=False),
        Binding("down,j", "cursor(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "first", show=False),
        Binding("end,G", "last", show=False),
    ]

    class Moved(Message):
        """The cursor is on another row, or the row under it has changed."""

    class Opened(Message):
        """Somebody asked for all of the row under the cursor."""

    def __init__(
        self,
        columns: Sequence[Column[R]],
        key_of: Callable[[R], Hashable],
        *,
        id: str | None = None,  # noqa: A002
        title: str = "",
        nothing: str = "nothing yet",
    ) -> None:
        super().__init__(id=id)
        self.entitle(title)
        self.columns = columns
        self._key_of = key_of
        self._nothing = nothing
        self._rows: Sequence[R] = ()
        self._shown: Sequence[R] = ()
        self._sort = Sort()
        self._filter = Filter()
        self._cursor = 0
        self._cursor_key: Hashable = None
        self._fitting: list[tuple[Column[R], int]] = []
        self._painted: list[Line] = []
        self._subtitle = ""

    @property
    def rows(self) -> Sequence[R]:
        """The rows as sorted and filtered."""
        return self._shown

    @property
    def cursor_row(self) -> R | None:
        """The row under the cursor."""
        return self._shown[self._cursor] if self._cursor < len(self._shown) else None

    @property
    def filter_text(self) -> str:
        """What the rows are filtered by; empty for all of them."""
        return self._filter.text

    @property
    def sort(self) -> Sort:
        """How the rows are sorted."""
        return self._sort

    @property
    def _top(self) -> int:
        """The first row in sight. After a filter took rows away the layout catches up only with the next frame."""
        return min(self.scroll_offset.y, max(0, len(self._shown) - max(1, self.size.height - 1)))

    def show(self, rows: Sequence[R]) -> None:
        """Show these rows from now on."""
        self._rows = rows
        self._arrange()

    def sort_by(self, sort: Sort) -> None:
        """Sort by a column, or by arrival for an empty key."""
        self._sort = sort
        self._arrange()

    def sort_next(self) -> None:
        """Sort by the next column in sight; after the last one by arrival."""
        keys = ["", *(entry.key for entry, _ in self._fitting)]
        place = keys.index(self._sort.key) if self._sort.key in keys else 0
        self.sort_by(Sort(keys[(place + 1) % len(keys)], self._sort.descending))

    def filter_by(self, text: str) -> None:
        """Show only what passes; an empty text shows all."""
        self._filter = parse_filter(text, self.columns)
        self._arrange()

    def _arrange(self) -> None:
        before = len(self._shown)
        self._shown = arrange(self._rows, self.columns, self._sort, self._filter)
        self._follow_cursor()
        shown, of = len(self._shown), len(self._rows)
        marks = [f"{shown:,}" if shown == of else f"{shown:,} of {of:,}"]
        if self._filter.text:
            marks.append(f"filter {self._filter.text}")
        self._say(" · ".join(marks))
        if before != len(self._shown):
            self.virtual_size = Size(self.size.width, len(self._shown) + 1)
        self._repaint()

    def _say(self, text: str) -> None:
        """Put `text` into the frame; setting it repaints the whole widget, so only when it is another."""
        if text != self._subtitle:
            self._subtitle = text
            self.border_subtitle = Content(text)  # not markup: a filter may hold brackets

    def _follow_cursor(self) -> None:
        if not self._shown:
            self._cursor, self._cursor_key = 0, None
            return
        if self._cursor and self._cursor_key is not None:
            key_of = self._key_of
            wanted = self._cursor_key
            near = (
                self._cursor if self._cursor < len(self._shown) and key_of(self._shown[self._cursor]) == wanted else -1
            )
            place = near if near >= 0 else next((n for n, row in enumerate(self._shown) if key_of(row) == wanted), -1)
            moved = place - self._cursor if place >= 0 else 0
            self._cursor = place if place >= 0 else min(self._cursor, len(self._shown) - 1)
            if moved and self.scroll_offset.y:
                self.scroll_to(y=self.scroll_offset.y + moved, animate=False, force=True)
        self._cursor_key = self._key_of(self._shown[self._cursor])

    def _picture(self) -> list[Line]:
        width, height = self.size
        self._fitting = shown_columns(self.columns, max(0, width - 1))
        lines: list[Line] = [(Span(" "), *header_line(self._fitting, self._sort))]
        top = self._top
        lines += [
            (Span("▸" if number == self._cursor else " ", Role.KEY), *row_line(self._fitting, self._shown[number]))
            for number in range(top, min(len(self._shown), top + height - 1))
        ]
        if not self._shown:
            lines.append((Span(f"  {'no row passes the filter' if self._rows else self._nothing}", Role.DIM),))
        return lines

    def _repaint(self) -> None:
        width, height = self.size
        if not width or not height:
            return
        before, self._painted = self._painted, self._picture()
        changed = [
            y
            for y in range(max(len(before), len(self._painted)))
            if y >= len(before) or y >= len(self._painted) or before[y] != self._painted[y]
        ]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._painted):
            return self.blank(width)
        on_cursor = y > 0 and self._top + y - 1 == self._cursor and bool(self._shown) and self.has_focus
        return self.strip_of(self._painted[y], width, Role.CURSOR if on_cursor else None)

    def on_resize(self) -> None:
        self._painted = []
        self.virtual_size = Size(self.size.width, len(self._shown) + 1)
        self._repaint()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._repaint()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def action_cursor(self, by: int) -> None:
        self._put_cursor(self._cursor + by)

    def action_page(self, by: int) -> None:
        self._put_cursor(self._cursor + by * max(1, self.size.height - 2))

    def action_first(self) -> None:
        self._put_cursor(0)

    def action_last(self) -> None:
        self._put_cursor(len(self._shown) - 1)

    def _put_cursor(self, place: int) -> None:
        if not self._shown:
            return
        self._cursor = max(0, min(len(self._shown) - 1, place))
        self._cursor_key = self._key_of(self._shown[self._cursor])
        top, room = self._top, max(1, self.size.height - 1)
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + room:
            self.scroll_to(y=self._cursor - room + 1, animate=False, force=True)
        self.refresh()
        self._repaint()
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            self._sort_at(offset.x - 1)
        elif self._top + offset.y - 1 < len(self._shown):
            self._put_cursor(self._top + offset.y - 1)
            if event.chain == 2:
                self.post_message(self.Opened())

    def _sort_at(self, x: int) -> None:
        at = 0
        for entry, width in self._fitting:
            if at <= x < at + width + 1:
                again = self._sort.key == entry.key
                self.sort_by(Sort(entry.key, not self._sort.descending if again else False))
                return
            at += width + 1
