"""What stands above a screen and follows the same frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from textual.screen import ModalScreen

from ..keys import KEYS
from ..view.frame import Frame
from ..widgets import RolePalette

if TYPE_CHECKING:
    from ..app import HeadroomApp

__all__ = ["ACTING", "Overlay"]

# What reaches the engine: a screen that may only look does not do it.
ACTING: Final = frozenset(key.action.partition("(")[0] for key in KEYS if key.acts)


class Overlay(RolePalette, ModalScreen[None]):
    """A pane above the screen; the screen below goes on being painted."""

    @property
    def headroom(self) -> HeadroomApp:
        """The app, by its own type."""
        return cast("HeadroomApp", self.app)

    def follow(self, frame: Frame) -> None:
        """A frame has come, or this overlay has just been put up."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Grey out what would reach the engine while the screen may only look."""
        return None if self.headroom.read_only and action in ACTING else True

    def action_back(self) -> None:
        self.dismiss()
