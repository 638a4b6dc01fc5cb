"""A panel with a title, which one key goes to."""

from __future__ import annotations

from textual.content import Content

from .styles import RoleStyles

__all__ = ["Pane"]


class Pane(RoleStyles):
    """A widget that may bear a title. The screen puts the key that leads to it in front, once it is known."""

    pane_title = ""
    pane_key = ""

    def entitle(self, title: str, key: str | None = None) -> None:
        """Bear this title, never read as markup, and from now on the key where one is given."""
        self.pane_title = title
        self.pane_key = self.pane_key if key is None else key
        self.set_class(bool(title), "pane")
        if title:
            shown = Content.styled(f"{self.pane_key} ", "not bold") if self.pane_key else Content("")
            self.border_title = shown + Content(title)
