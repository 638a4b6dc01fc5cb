"""Suppose a broker were drained or capped: see what would follow, then make it so with one key."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Footer

from core.advice.suppose import Supposition, suppose
from core.clock import SECOND
from core.models import BrokerSnapshot

from ..keys import bindings
from ..view.frame import Frame
from ..view.whatif import Change, WhatIf, whatif_lines
from ..widgets import Painted
from .overlay import Overlay

__all__ = ["WhatIfScreen"]


class WhatIfScreen(Overlay):
    """Nothing is changed until Enter."""

    BINDINGS: ClassVar = bindings("whatif")

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self._frame = frame
        self._change = Change()
        self._chosen = frame.snapshot.brokers[0].name if frame.snapshot.brokers else ""
        self._supposed: tuple[int, Change, Supposition] | None = None

    @property
    def _broker(self) -> BrokerSnapshot | None:
        return next((broker for broker in self._frame.snapshot.brokers if broker.name == self._chosen), None)

    def compose(self) -> ComposeResult:
        with Vertical(id="whatif") as pane:
            pane.border_title = "what if"
            yield Painted(whatif_lines, id="supposed")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._show()

    def follow(self, frame: Frame) -> None:
        """A frame has come."""
        self._frame = frame
        self._show()

    def _show(self) -> None:
        snapshot = self._frame.snapshot
        second = snapshot.at_ns // SECOND
        if self._supposed is None or self._supposed[:2] != (second, self._change):
            drained = [broker.name for broker in snapshot.brokers if self._change.is_drained(broker)]
            caps = {broker.name: self._change.cap(broker) / 100 for broker in snapshot.brokers}
            self._supposed = second, self._change, suppose(snapshot, drained=drained, caps=caps)
        shown = WhatIf(snapshot, self._change, self._chosen, self._supposed[2], len(self.headroom.undo))
        self.query_one("#supposed", Painted).show(shown)

    def action_move(self, by: int) -> None:
        names = [broker.name for broker in self._frame.snapshot.brokers]
        if names:
            place = names.index(self._chosen) if self._chosen in names else -by
            self._chosen = names[(place + by) % len(names)]
            self._show()

    def action_suppose_drain(self) -> None:
        if self._broker is not None:
            self._change = self._change.turned(self._broker)
            self._show()

    def action_suppose_cap(self, by: int) -> None:
        if self._broker is not None:
            self._change = self._change.capped(self._broker, by)
            self._show()

    def action_reset(self) -> None:
        self._change = Change()
        self._show()

    def action_apply(self) -> None:
        commands = self._change.commands(self._frame.snapshot)
        if not commands:
            self.headroom.say("nothing would be changed")
            return
        self.headroom.apply(commands)
        self._change = Change()
        self.dismiss()

    def action_undo(self) -> None:
        self.headroom.take_back()
