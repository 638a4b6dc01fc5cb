"""The dashboard's content as plain text, once: for a pipe, a log, a mail."""

from __future__ import annotations

from typing import Final

from core.models import RouterSnapshot

from .view.brokers import BrokerGrid, broker_lines
from .view.charts import pulse_lines
from .view.frame import Frame, banner_lines, header_lines, verdict_lines
from .view.orders import ORDER_COLUMNS
from .view.table import Sort, header_line, row_line, shown_columns
from .view.text import Line, plain

__all__ = ["report_text"]

WIDTH: Final = 120
ORDERS_SHOWN: Final = 10


def report_text(snapshot: RouterSnapshot) -> str:
    """Lines of at most 120 cells, ending in a newline; no colour and no control character."""
    frame = Frame(snapshot=snapshot)
    parts: list[list[Line]] = [
        header_lines(frame, WIDTH),
        banner_lines(frame, WIDTH),
        verdict_lines(frame, WIDTH),
        broker_lines(BrokerGrid(snapshot.brokers), WIDTH),
        pulse_lines(snapshot, WIDTH),
        _orders(snapshot),
    ]
    return "\n\n".join("\n".join(plain(line).rstrip() for line in part) for part in parts if part) + "\n"


def _orders(snapshot: RouterSnapshot) -> list[Line]:
    if not snapshot.orders:
        return []
    columns = shown_columns(ORDER_COLUMNS, WIDTH)
    return [
        header_line(columns, Sort()),
        *(row_line(columns, order) for order in snapshot.orders[:ORDERS_SHOWN]),
    ]
