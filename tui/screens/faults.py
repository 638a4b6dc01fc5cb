"""Make an embedded simulated broker misbehave, so that advice and alerts can be looked at. Never a real one."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Label

from core.models import SetFault

from ..keys import bindings
from ..view.faults import FAULTS, SHARES, fault_lines
from ..widgets import Choice, Painted
from .overlay import Overlay

__all__ = ["FaultsScreen"]


class FaultsScreen(Overlay):
    """Which broker, which fault, in how many of its requests."""

    BINDINGS: ClassVar = bindings("faults")

    def __init__(self, brokers: tuple[str, ...]) -> None:
        super().__init__()
        self._brokers = brokers

    def compose(self) -> ComposeResult:
        with Vertical(id="faults") as pane:
            pane.border_title = "faults of simulated brokers"
            for name, options in (("broker", self._brokers), ("fault", tuple(FAULTS)), ("share", tuple(SHARES))):
                with Horizontal(classes="field"):
                    yield Label(name)
                    yield Choice(options, "all" if name == "share" else "", id=name)
            yield Painted(fault_lines, id="set")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._show()

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Choice).value

    @on(Choice.Turned)
    def _show(self) -> None:
        faults = tuple(sorted(self.headroom.faults.items()))
        self.query_one("#set", Painted).show((self._value("broker"), self._value("fault"), faults))

    def action_set(self) -> None:
        self._set(self._value("broker"), self._value("fault"), SHARES[self._value("share")])

    def _set(self, broker: str, kind: str, share: float) -> None:
        if kind == "down" and 0 < share < 1:
            self.headroom.say("a broker takes connections or it does not: choose all or none", failed=True)
            return
        self.headroom.send(SetFault(broker, kind, share))
        self.headroom.faults.pop((broker, kind), None)
        if share:
            self.headroom.faults[broker, kind] = share
        self._show()

    def action_end_all(self) -> None:
        for broker, kind in tuple(self.headroom.faults):
            self._set(broker, kind, 0.0)
