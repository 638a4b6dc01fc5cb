"""What every screen has: the header on top, the news and the keys below."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer

from core.models import Command, StressCommand

from ..keys import LAYOUTS, PANES, SCREENS
from ..view.export import Sheet
from ..view.frame import Frame, alert_lines, banner_lines, header_lines, status_lines
from ..view.tabs import Tab, Tabs, tab_at, tabs_lines
from ..widgets import Painted, Pane, RolePalette
from .overlay import ACTING

if TYPE_CHECKING:
    from ..app import HeadroomApp

__all__ = ["RouterScreen"]


class RouterScreen(RolePalette, Screen[None]):
    """A screen that shows frames."""

    AUTO_FOCUS = ".first"

    frame: Frame | None = None

    @property
    def headroom(self) -> HeadroomApp:
        """The app, by its own type."""
        return cast("HeadroomApp", self.app)

    def compose(self) -> ComposeResult:
        self.take_layout(update=False)
        yield Painted(header_lines, id="header", natural_height=lambda _frame, _width: 1)
        yield Painted(tabs_lines, id="tabs", natural_height=lambda _tabs, _width: 1)
        yield Painted(banner_lines, id="banner")
        yield from self.compose_body()
        yield Painted(alert_lines, id="alert")
        yield Painted(status_lines, id="status", natural_height=lambda _frame, _width: 1)
        yield Footer(show_command_palette=False)

    @abstractmethod
    def compose_body(self) -> ComposeResult:
        """What stands between the header and the status line."""

    @abstractmethod
    def show_body(self, frame: Frame) -> None:
        """Hand each widget of the body its part."""

    @abstractmethod
    def sheet(self) -> Sheet:
        """The table of this screen, for an export: as sorted and filtered."""

    def show(self, frame: Frame) -> None:
        """Show this frame from now on."""
        self.frame = frame
        for name in ("#header", "#banner", "#alert", "#status"):
            self.painted(name).show(frame)
        self.painted("#tabs").show(self._tabs(frame))
        self.show_body(frame)

    def _tabs(self, frame: Frame) -> Tabs:
        tabs = tuple(Tab(self.headroom.pressed(f"app.{name}"), name, title) for name, title in SCREENS)
        return Tabs(tabs, self.headroom.current_mode, frame.snapshot)

    @on(Painted.Pressed, "#tabs")
    def go(self, event: Painted.Pressed) -> None:
        """A click on a tab goes there."""
        if self.frame is not None and (name := tab_at(self._tabs(self.frame), event.x, event.painted.size.width)):
            self.headroom.action_show_screen(name)

    def painted(self, selector: str) -> Painted[object]:
        """One painted panel of this screen."""
        return cast("Painted[object]", self.query_one(selector, Painted))

    @property
    def panes(self) -> list[Pane]:
        """The panels with a title, in their order; a key leads to each of the first few."""
        return list(self.query(Pane).filter(".pane"))

    def on_mount(self) -> None:
        for number, pane in enumerate(self.panes[:PANES], 1):
            pane.entitle(pane.pane_title, self.headroom.pressed(f"app.pane_{number}"))

    def on_screen_resume(self) -> None:
        self.take_layout()
        self.headroom.show_now()

    def take_layout(self, *, update: bool = True) -> None:
        """Take on the layout that the app has now; headroom.tcss says what each one means.

        Without `update` nothing is styled anew, for a screen that has no widgets yet.
        """
        if not self.has_class(f"-{self.headroom.layout_name}"):
            for layout in LAYOUTS:
                self.set_class(layout == self.headroom.layout_name, f"-{layout}", update=update)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Grey out what would reach the engine while the screen may only look."""
        return None if self.headroom.read_only and action in ACTING else True

    def send(self, command: Command | StressCommand) -> None:
        """Pass a command on; its answer comes in the status line, its effect in a later snapshot."""
        self.headroom.send(command)

    @staticmethod
    def after(names: Sequence[str], name: str, by: int) -> str:
        """The neighbour of `name` in a ring of names; the first for a name that is not there."""
        if not names:
            return ""
        return names[(names.index(name) + by) % len(names)] if name in names else names[0]
