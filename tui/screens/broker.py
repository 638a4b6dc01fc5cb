"""One broker in depth."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal

from core.clock import SECOND
from core.errors import HeadroomError
from core.models import AskBroker, BrokerDetail, BrokerSnapshot, IncidentRow

from ..keys import bindings
from ..view.advice import INCIDENT_COLUMNS
from ..view.broker import facts_lines, latency_lines, windows_lines
from ..view.depth import PAGES, Depth, depth_lines
from ..view.export import Sheet, windows_sheet
from ..view.frame import Frame
from ..view.text import clean
from ..widgets import Painted, Table
from .broker_acts import BrokerActs

__all__ = ["BrokerScreen"]


class BrokerScreen(BrokerActs):
    """The chosen broker: its windows, its state, its latency, a page of what became of its requests, its incidents."""

    BINDINGS: ClassVar = bindings("broker")

    _titled = ""
    _page = 0
    _detail: BrokerDetail | None = None
    _silence = ""
    _asked: tuple[str, int] = ("", 0)

    def compose_body(self) -> ComposeResult:
        yield self.filter_line()
        yield Painted[BrokerSnapshot](windows_lines, id="windows", title="limits")
        with Horizontal(id="facts-and-latency"):
            yield Painted[BrokerSnapshot](facts_lines, id="facts", title="state")
            yield Painted[BrokerSnapshot](latency_lines, id="latency", title="latency")
        with Horizontal(id="depths"):
            yield Painted[Depth](depth_lines, id="depth", title="over time")
            yield Painted[Depth](depth_lines, id="depth-next", title="answers")
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
        self._look_deeper(frame, broker.name)
        self._show_depth()

    def _look_deeper(self, frame: Frame, name: str) -> None:
        """Ask once a second, and at once for another broker; a frozen picture only once."""
        before, at_ns = self._asked
        if before != name or (frame.snapshot.at_ns - at_ns >= SECOND and not frame.frozen):
            self._asked = name, frame.snapshot.at_ns
            self._ask(name)

    @work(exclusive=True, group="depth")
    async def _ask(self, name: str) -> None:
        try:
            self._detail, self._silence = await self.headroom.ask(AskBroker(name)), ""
        except HeadroomError as error:
            self._detail, self._silence = None, str(error)
        self._show_depth()

    def _show_depth(self) -> None:
        detail = self._detail if self._detail is not None and self._detail.name == self._titled else None
        pages = list(PAGES)
        for panel, page in (("#depth", self._page), ("#depth-next", self._page + 1)):
            name = pages[page % len(pages)]
            painted = self.painted(panel)
            painted.show(Depth(name, detail, self._silence))
            if painted.pane_title != name:
                painted.entitle(name)

    def action_page(self, by: int) -> None:
        self._page = (self._page + by) % len(PAGES)
        self._show_depth()

    def action_back(self) -> None:
        table = self.in_hand
        if table.filter_text or table.sort.key:
            self.action_clear()
        else:
            self.headroom.action_show_screen("overview")

    def pane_sheet(self) -> Sheet | None:
        return windows_sheet(() if self.chosen is None else (self.chosen,))


def _key(entry: IncidentRow) -> tuple[int, str, str]:
    return entry.at_ns, entry.kind, entry.message
