"""Roles become colours here; headroom.tcss says which, through one component class for each role."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.dom import DOMNode
from textual.strip import Strip
from textual.widget import Widget

from ..view.text import Role, Span

__all__ = ["RolePalette", "RoleStyles"]


class RolePalette(DOMNode):
    """Mixed into a screen: it holds the component classes of all roles, once for all of its widgets.

    On each widget they would be matched against the style sheet again whenever focus or mouse moves: a third of the
    time to the first picture.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"role--{role}" for role in Role}


class RoleStyles(Widget):
    """A widget whose text is made of roles, on a screen with a RolePalette.

    Looking a style up walks all ancestors (0.15 ms each), so that they are kept until the style sheet changes.
    """

    _styles_of_roles: dict[Role, Style] | None = None
    _styles_of_theme = ""

    def notify_style_update(self) -> None:
        self._styles_of_roles = None
        super().notify_style_update()

    def style_of(self, role: Role) -> Style:
        """The style of a role under the present theme, on this widget's own ground."""
        if self._styles_of_roles is None or self._styles_of_theme != self.app.theme:
            ground, palette = self.rich_style, self.screen
            self._styles_of_theme = self.app.theme
            self._styles_of_roles = {
                known: ground + palette.get_component_styles(f"role--{known}").partial_rich_style for known in Role
            }
        return self._styles_of_roles[role]

    def strip_of(self, spans: Iterable[Span], width: int, over: Style | None = None) -> Strip:
        """A strip of exactly `width` cells; `over` is laid over every span, for the line of a cursor."""
        if over is None:
            segments = [Segment(span.text, self.style_of(span.role)) for span in spans]
        else:
            segments = [Segment(span.text, self.style_of(span.role) + over) for span in spans]
        ground = self.style_of(Role.TEXT) if over is None else self.style_of(Role.TEXT) + over
        return Strip(segments).adjust_cell_length(width, ground)
