"""Every key of the screen below, from the key table and the operator's keymap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Footer

from ..keys import bindings
from ..view.help import HelpEntry, help_lines
from ..view.text import Line
from ..widgets import Painted
from .overlay import Overlay

__all__ = ["HelpScreen"]


class HelpScreen(Overlay):
    """Scrolls like any text; Escape leaves it."""

    BINDINGS: ClassVar = bindings("help")

    def __init__(self, title: str, entries: Sequence[HelpEntry]) -> None:
        super().__init__()
        self._title = title
        self._entries = tuple(entries)

    def compose(self) -> ComposeResult:
        scroll = VerticalScroll(id="help")
        scroll.border_title = f"help: {self._title}"
        with scroll:
            yield Painted(_paint, id="keys")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one("#keys", Painted).show(self._entries)


def _paint(entries: Sequence[HelpEntry], width: int, _height: int | None) -> list[Line]:
    return help_lines(entries, width)
