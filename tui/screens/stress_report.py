"""The report of the last stress run, read from where it was kept, beside earlier ones of the same scenario."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer

from core.errors import ConfigError

from ..keys import bindings
from ..view.stress_report import report_lines
from ..view.text import Line, Role, Span, fit, line
from ..widgets import Painted, RolePalette

if TYPE_CHECKING:
    from core.stress.baseline import Change
    from core.stress.report import Report

__all__ = ["StressReportScreen"]


class StressReportScreen(RolePalette, ModalScreen[None]):
    """Scrolls like any text; one key goes back through the earlier runs to compare with, Escape leaves."""

    BINDINGS: ClassVar = bindings("report")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._earlier = -1  # none yet

    def compose(self) -> ComposeResult:
        scroll = VerticalScroll(id="report")
        scroll.border_title = "report"
        with scroll:
            yield Painted(_paint, id="report-lines")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._read()

    def _read(self) -> None:
        self.run_worker(self._load(), group="report", exclusive=True)

    async def _load(self) -> None:
        lines = self.query_one("#report-lines", Painted)
        try:
            lines.show(await asyncio.to_thread(self._reports))
        except ConfigError as error:
            lines.show(str(error))

    def _reports(self) -> tuple[Report, tuple[str, tuple[Change, ...]] | None]:
        """The report, and the comparison that is asked for. In a thread: a long run's report is megabytes."""
        from core.stress.baseline import compare
        from core.stress.report import load_report
        from core.stress.runs import Runs

        report = load_report(self._path)
        earlier = Runs(self._path.parent).before(self._path)
        if self._earlier < 0 or not earlier:
            self._earlier = min(self._earlier, len(earlier) - 1)
            return report, None
        before = load_report(earlier[self._earlier % len(earlier)])
        return report, (before.started_at, compare(before, report))

    def action_compare(self) -> None:
        self._earlier += 1
        self._read()

    def action_back(self) -> None:
        self.dismiss(None)


def _paint(
    shown: str | tuple[Report, tuple[str, tuple[Change, ...]] | None], width: int, _height: int | None
) -> list[Line]:
    if isinstance(shown, str):
        return [fit(line(Span(f" ✖ {shown}", Role.CRIT)), width)]
    return report_lines(*shown, width)
