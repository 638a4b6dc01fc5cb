"""A scenario's TOML, to read or to change; what is wrong with it is told by line and key before anything runs."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from core.errors import ConfigError
from core.stress.library import parse_scenario

from ..keys import bindings
from ..view.text import clean

__all__ = ["ScenarioEditor"]


class ScenarioEditor(ModalScreen[str | None]):
    """Gives the text as it is to be played; None when it was left as it was."""

    BINDINGS: ClassVar = bindings("editor")

    def __init__(self, name: str, text: str) -> None:
        super().__init__()
        self._name = name
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(id="editor") as box:
            box.border_title = f"scenario {clean(self._name)}"
            yield TextArea(self._text, show_line_numbers=True, id="toml")
            yield Static(Content("Ctrl+S takes it for the next run, Escape leaves it"), classes="hint")

    def on_mount(self) -> None:
        self.query_one(TextArea).focus()

    def action_keep(self) -> None:
        area = self.query_one(TextArea)
        try:
            parse_scenario(area.text, "line")
        except ConfigError as error:
            number, _, reason = str(error).removeprefix("line:").partition(": ")
            area.move_cursor((min(int(number), area.document.line_count) - 1, 0))
            hint: Any = self.query_one(".hint", Static)
            hint.update(Content(f"✖ line {number}: {clean(reason)}"))
            hint.add_class("-fault")
            return
        self.dismiss(area.text)

    def action_leave(self) -> None:
        self.dismiss(None)
