"""Everything at a glance: what runs out first, what is in doubt, what to do."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from ..keys import bindings
from ..view.brokers import BrokerGrid, broker_blocks, broker_lines, grid_height
from ..view.charts import Flow, pulse_lines
from ..view.export import Sheet, windows_sheet
from ..view.frame import Frame, verdict_lines
from ..view.orders import ORDER_COLUMNS
from ..widgets import Painted, Table
from .broker_acts import BrokerActs

__all__ = ["OverviewScreen"]

_LATEST = 50


class OverviewScreen(BrokerActs):
    """The first screen."""

    BINDINGS: ClassVar = bindings("overview")

    def compose_body(self) -> ComposeResult:
        yield self.filter_line()
        yield Painted(verdict_lines, id="verdict")
        grid = Painted(broker_lines, id="grid", title="brokers", natural_height=grid_height)
        grid.add_class("first")
        yield grid
        with Horizontal(id="below"):
            yield Painted[Flow](pulse_lines, id="pulse", title="flow")
            yield Table(ORDER_COLUMNS, lambda order: order.order_id, id="latest", title="latest orders")

    def show_body(self, frame: Frame) -> None:
        snapshot = frame.snapshot
        self.painted("#verdict").show(frame)
        self.painted("#grid").show(BrokerGrid(snapshot.brokers, self.broker, frame.starting))
        if self.query_one("#below").display:
            self.painted("#pulse").show(Flow.of(snapshot))
            self.query_one("#latest", Table).show(snapshot.orders[:_LATEST])

    def pane_sheet(self) -> Sheet | None:
        return windows_sheet(self.frame.snapshot.brokers if self.frame else ())

    @on(Painted.Pressed, "#grid")
    def pick(self, event: Painted.Pressed) -> None:
        """A click on a broker chooses it, as the arrow keys do."""
        if self.frame is None:
            return
        width, height = event.painted.size
        grid = BrokerGrid(self.frame.snapshot.brokers, self.broker)
        for block in reversed(broker_blocks(grid, width, height)):
            if block.x <= event.x and block.y <= event.y < block.y + len(block.lines):
                self.headroom.broker = block.name
                self.show(self.frame)
                return

    def action_open(self) -> None:
        self.headroom.action_show_screen("broker")
