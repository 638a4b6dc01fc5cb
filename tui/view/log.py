"""The program's own log as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .table import Column
from .text import MARK, Line, Role, Span, clean, clock_time, fit, line

__all__ = ["LOG_COLUMNS", "LogEntry", "log_lines"]

_LEVELS: Final = {"warning": Role.WARN, "error": Role.CRIT, "critical": Role.CRIT}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One thing that was said; `rest` is what stands below its first line, such as a traceback."""

    serial: int
    epoch_ns: int
    level: str
    source: str
    text: str
    rest: str = ""


def _level(entry: LogEntry) -> Role:
    return _LEVELS.get(entry.level, Role.OK)


def _role(entry: LogEntry) -> Role:
    level = _level(entry)
    return Role.TEXT if level is Role.OK else level


LOG_COLUMNS: Final[tuple[Column[LogEntry], ...]] = (
    Column(
        key="time", title="  time", width=10, role=lambda _: Role.DIM,
        text=lambda entry: f"  {clock_time(entry.epoch_ns)}", raw=lambda entry: entry.epoch_ns,
    ),
    Column(
        key="level", title="  level", width=10, role=_role, need=1,
        text=lambda entry: f"{MARK[_level(entry)]} {entry.level}", raw=lambda entry: entry.level,
    ),
    Column(
        key="source", title="said by", width=16, need=2, role=lambda _: Role.DIM,
        text=lambda entry: clean(entry.source), raw=lambda entry: entry.source,
    ),
    Column(
        key="text", title="what", width=24, grows=True, role=_role,
        text=lambda entry: f"{clean(entry.text)}{' …' if entry.rest else ''}", raw=lambda entry: entry.text,
    ),
)  # fmt: skip


def log_lines(entry: LogEntry, width: int) -> list[Line]:
    """All that was said, below each other."""
    head = line(Span(f" {clock_time(entry.epoch_ns)} {clean(entry.source)} {entry.level}", Role.STRONG))
    room = max(1, width - 2)
    text = [
        clean(part[at : at + room])
        for part in (entry.text, *entry.rest.splitlines())
        for at in range(0, max(1, len(part)), room)
    ]
    return [fit(row, width) for row in (head, *(line(f" {part}") for part in text))]
