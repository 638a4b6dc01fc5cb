"""The program's own log."""

from __future__ import annotations

from typing import ClassVar

from ..keys import bindings
from ..view.export import Sheet, sheet_of
from ..view.frame import Frame
from ..view.log import LOG_COLUMNS, LogEntry, log_lines
from ..view.text import Line
from .tabled import TabledScreen

__all__ = ["LogScreen"]


class LogScreen(TabledScreen[LogEntry]):
    """What the program did and said, newest first."""

    BINDINGS: ClassVar = bindings("log")
    COLUMNS = LOG_COLUMNS
    TABLE_TITLE = "log"
    DETAIL_TITLE = "entry"
    NOTHING = "nothing was said yet"

    def key_of(self, row: LogEntry) -> int:
        return row.serial

    def rows_of(self, frame: Frame) -> tuple[LogEntry, ...]:  # noqa: ARG002 - the log is the app's, not a moment's
        return self.headroom.log_kept.newest_first

    def detail_lines(self, row: LogEntry, width: int) -> list[Line]:
        return log_lines(row, width)

    def sheet(self) -> Sheet:
        return sheet_of("log", LOG_COLUMNS, self.table.rows)
