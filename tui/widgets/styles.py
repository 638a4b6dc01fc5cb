"""Roles become colours here, through one component class for each role; headroom.tcss says which colour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from ..view.text import Role, Span

__all__ = ["RoleStyles"]


class RoleStyles(Widget):
    """A widget whose text is made of roles.

    Looking a style up walks all ancestors (0.15 ms each), so that they are kept until the style sheet changes.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"role--{role}" for role in Role}

    _styles_of_roles: dict[Role, Style] | None = None

    def notify_style_update(self) -> None:
        self._styles_of_roles = None
        super().notify_style_update()

    def style_of(self, role: Role) -> Style:
        """The style of a role under the present theme."""
        if self._styles_of_roles is None:
            self._styles_of_roles = {known: self.get_component_rich_style(f"role--{known}") for known in Role}
        return self._styles_of_roles[role]

    def strip_of(self, spans: Iterable[Span], width: int, over: Style | None = None) -> Strip:
        """A strip of exactly `width` cells; `over` is laid over every span, for the line of a cursor."""
        if over is None:
            segments = [Segment(span.text, self.style_of(span.role)) for span in spans]
        else:
            segments = [Segment(span.text, self.style_of(span.role) + over) for span in spans]
        ground = self.style_of(Role.TEXT) if over is None else self.style_of(Role.TEXT) + over
        return Strip(segments).adjust_cell_length(width, ground)
