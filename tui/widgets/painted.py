"""One widget for every panel whose cells change: it paints lines, and only those that differ from the last picture.

Forty-eight changing cells cost 4 % of a core this way at 10 Hz, 22 % in a DataTable and 32 % as widgets of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from ..view.text import Line, plain
from .pane import Pane

__all__ = ["Painted", "Painter"]

T = TypeVar("T")
Painter = Callable[[T, int, int | None], Sequence[Line]]


class Painted(Pane, Generic[T]):
    """Shows what `painter(data, width, height)` makes of the data it was last given.

    The painter is pure. Its height is None while the layout asks how many lines there would be; `natural_height`
    answers that where it is known without painting.
    """

    class Pressed(Message):
        """Somebody clicked at this cell of the picture."""

        def __init__(self, painted: Painted[Any], x: int, y: int) -> None:
            super().__init__()
            self.painted = painted
            self.x = x
            self.y = y

        @property
        def control(self) -> Painted[Any]:
            return self.painted

    def __init__(
        self,
        painter: Painter[T],
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name
        title: str = "",
        natural_height: Callable[[T, int], int] | None = None,
    ) -> None:
        super().__init__(id=id)
        self.entitle(title)
        self.can_focus = bool(title)
        self._painter = painter
        self._data: T | None = None
        self._lines: Sequence[Line] = ()
        self._natural = natural_height or (lambda data, width: len(painter(data, width, None)))
        self._natural_height = -1  # none yet: 0 lines are an answer too

    def show(self, data: T) -> None:
        """Show this from now on; what is equal to the last is not painted again, nor is a line that stays the same."""
        if data != self._data:
            self._data = data
            self._repaint()

    @property
    def text(self) -> str:
        """What is painted, as plain lines."""
        return "\n".join(plain(spans).rstrip() for spans in self._lines)

    def _repaint(self) -> None:
        width, height = self.size
        if self._data is None:
            return
        if self.styles.height is not None and self.styles.height.is_auto:
            natural = self._natural(self._data, width or self.app.size.width)
            if natural != self._natural_height:
                self._natural_height = natural
                self.refresh(layout=True)
        if not width or not height:
            return
        before, self._lines = self._lines, self._painter(self._data, width, height)
        changed = [
            y
            for y in range(max(len(before), len(self._lines)))
            if y >= len(before) or y >= len(self._lines) or before[y] != self._lines[y]
        ]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        if self._data is None:
            return 0
        return self._natural(self._data, width)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._lines):
            return self.blank(width)
        return self.strip_of(self._lines[y], width)

    def on_resize(self) -> None:
        self._lines = ()
        self._repaint()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None:
            self.post_message(self.Pressed(self, offset.x, offset.y))
