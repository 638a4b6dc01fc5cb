"""Roles become colours here; headroom.tcss says which, through one component class for each role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.dom import DOMNode
from textual.filter import ANSIToTruecolor, LineFilter
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

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is done to every line; not the search for ANSI colours to replace, a tenth of what a picture costs.

        Roles have none, but under a theme that leaves them to the terminal.
        """
        return [each for each in super().get_line_filters() if not isinstance(each, ANSIToTruecolor)]

    def styles_of_roles(self) -> dict[Role, Style]:
        """Every role's style under the present theme, on this widget's own ground."""
        theme = self.app.theme
        if self._styles_of_roles is None or self._styles_of_theme != theme:
            ground, palette = self.rich_style, self.screen
            self._styles_of_theme = theme
            self._styles_of_roles = {
                role: ground + palette.get_component_styles(f"role--{role}").partial_rich_style for role in Role
            }
        return self._styles_of_roles

    def blank(self, width: int) -> Strip:
        """A strip of `width` empty cells."""
        return Strip.blank(width, self.styles_of_roles()[Role.TEXT])

    def strip_of(self, spans: Iterable[Span], width: int, over: Role | None = None) -> Strip:
        """A strip of exactly `width` cells; the role `over` is laid over every span, for the line of a cursor."""
        styles = self.styles_of_roles()
        ground = styles[Role.TEXT]
        if over is None:
            segments = [Segment(text, styles[role]) for text, role in spans]
        else:
            upper = styles[over]
            ground += upper
            segments = [Segment(text, styles[role] + upper) for text, role in spans]
        return Strip(segments).adjust_cell_length(width, ground)
