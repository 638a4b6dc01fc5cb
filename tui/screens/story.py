"""One order's story from the journal, asked for anew once a second while it is open."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Footer

from core.clock import SECOND
from core.errors import HeadroomError
from core.models import AskStory, OrderStory

from ..keys import bindings
from ..view.frame import Frame
from ..view.story import story_lines
from ..view.text import clean
from ..widgets import Painted
from .overlay import Overlay

__all__ = ["StoryScreen"]


class StoryScreen(Overlay):
    """Scrolls like any text; Escape leaves it."""

    BINDINGS: ClassVar = bindings("story")

    def __init__(self, story: OrderStory) -> None:
        super().__init__()
        self._story = story
        self._asked_ns: int | None = None

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="story") as scroll:
            scroll.border_title = Content(f"order {clean(self._story.order_id)}")
            yield Painted(story_lines, id="told")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._show()

    def _show(self) -> None:
        self.query_one("#told", Painted).show(self._story)

    def follow(self, frame: Frame) -> None:
        """A frame has come: ask again when the last answer is a second old."""
        at_ns = frame.snapshot.at_ns
        if self._asked_ns is None:
            self._asked_ns = at_ns
        elif at_ns - self._asked_ns >= SECOND and not frame.frozen:
            self._asked_ns = at_ns
            self._ask()

    @work(exclusive=True)
    async def _ask(self) -> None:
        try:
            self._story = await self.headroom.ask(AskStory(self._story.order_id))
        except HeadroomError as error:
            self.headroom.say(str(error), failed=True)
        else:
            self._show()

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.query_one("#told", Painted).text)
        self.headroom.say("copied the story")
