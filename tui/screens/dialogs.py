"""Questions that stand before the screen until they are answered or left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ..keys import bindings
from ..view.text import clean

__all__ = ["Ask", "Confirm"]


class Confirm(ModalScreen[bool]):
    """A yes or a no; anything but `y` is a no."""

    BINDINGS: ClassVar = bindings("confirm")

    def __init__(self, question: str, consequence: str) -> None:
        super().__init__()
        self._question = question
        self._consequence = consequence

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(clean(self._question)), classes="question")
            yield Static(Content(clean(self._consequence)), classes="consequence")
            yield Static(Content("y does it, n or Escape leaves it"), classes="hint")

    def action_answer(self, yes: int) -> None:
        self.dismiss(bool(yes))


class Ask(ModalScreen[str | None]):
    """One typed answer; None when the operator left. It is taken only when `accepts` says so."""

    BINDINGS: ClassVar = bindings("ask")

    def __init__(
        self, question: str, consequence: str, *, accepts: Callable[[str], bool], fault: str, initial: str = ""
    ) -> None:
        super().__init__()
        self._question = question
        self._consequence = consequence
        self._accepts = accepts
        self._fault = fault
        self._initial = initial

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(clean(self._question)), classes="question")
            yield Static(Content(clean(self._consequence)), classes="consequence")
            yield Input(self._initial, max_length=64)
            yield Static(Content("Enter does it, Escape leaves it"), classes="hint")

    @on(Input.Submitted)
    def judge(self, event: Input.Submitted) -> None:
        """Take the answer, or say what is wanted."""
        answer = event.value.strip()
        if self._accepts(answer):
            self.dismiss(answer)
        else:
            hint: Any = self.query_one(".hint", Static)
            hint.update(Content(f"✖ wanted: {self._fault}"))
            hint.add_class("-fault")

    def action_leave(self) -> None:
        self.dismiss(None)


def typed(word: str) -> Callable[[str], bool]:
    """A check that the operator typed exactly this word."""
    return lambda answer: answer == word
