"""One of a few words, turned with the arrow keys, the space bar, its first letter or a click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

__all__ = ["Choice"]


class Choice(Static, can_focus=True):
    """Shows the chosen word between two arrows."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("right,space", "turn(1)", show=False),
        Binding("left", "turn(-1)", show=False),
    ]

    class Turned(Message):
        """Another word is chosen now."""

    def __init__(self, options: Sequence[str], value: str = "", *, id: str | None = None) -> None:  # noqa: A002
        self._options = tuple(options)
        self._place = self._options.index(value) if value in self._options else 0
        super().__init__(self._shown(), id=id)

    @property
    def value(self) -> str:
        """The chosen word."""
        return self._options[self._place]

    def _shown(self) -> Content:
        return Content(f"◂ {self._options[self._place]} ▸")  # never markup: it may be a broker's name

    def _go(self, place: int) -> None:
        if not self.disabled and place % len(self._options) != self._place:
            self._place = place % len(self._options)
            self.update(self._shown())
            self.post_message(self.Turned())

    def action_turn(self, by: int) -> None:
        self._go(self._place + by)

    def on_key(self, event: events.Key) -> None:
        """A letter goes to the next word that begins with it."""
        if event.character is None or not event.character.isalnum():
            return
        number = len(self._options)
        for step in range(1, number + 1):
            place = (self._place + step) % number
            if self._options[place].lower().startswith(event.character.lower()):
                event.stop()
                self._go(place)
                return

    def on_click(self) -> None:
        self.action_turn(1)
