"""One broker in depth."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from core.models import BrokerSnapshot, IncidentRow

from ..keys import bindings
from ..view.advice import INCIDENT_COLUMNS
from ..view.broker import facts_lines, latency_lines, windows_lines
from ..view.export import Sheet, windows_sheet
from ..view.frame import Frame
from ..view.text import clean
from ..widgets import Painted, Table
from .broker_acts import BrokerActs

__all__ = ["BrokerScreen"]


class BrokerScreen(BrokerActs):
    """The chosen broker: its windows, its state, its latency, its incidents."""

    BINDINGS: ClassVar = bindings("broker")

    _titled = ""

    def compose_body(self) -> ComposeResult:
        yield Painted[BrokerSnapshot](windows_lines, id="windows", title="limits")
        with Horizontal(id="facts-and-latency"):
            yield Painted[BrokerSnapshot](facts_lines, id="facts", title="state")
            yield Painted[BrokerSnapshot](latency_lines, id="latency", title="latency")
        events = Table(INCIDENT_COLUMNS, _key, id="incidents", title="its incidents", nothing="no incident")
        events.add_class("first")
        yield events

    def show_body(self, frame: Frame) -> None:
        broker = self.chosen
        if broker is None:
            return
        for name in ("#windows", "#facts", "#latency"):
            self.painted(name).show(broker)
        self.query_one("#incidents", Table).show(
            [incident for incident in frame.snapshot.incidents if incident.provider == broker.name]
        )
        if self._titled != broker.name:
            self._titled = broker.name
            self.painted("#windows").entitle(f"limits of {clean(broker.name)}")

    def sheet(self) -> Sheet:
        return windows_sheet(() if self.chosen is None else (self.chosen,))


def _key(entry: IncidentRow) -> tuple[int, str, str]:
    return entry.at_ns, entry.kind, entry.message
