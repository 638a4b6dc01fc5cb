"""Alerts as rows: what stands, what cleared, and who has seen it."""

from __future__ import annotations

from typing import Final

from core.models import AlertRow

from .table import Column
from .text import MARK, Role, clean, clock_time, duration, level_of

__all__ = ["ALERT_COLUMNS"]


def _role(row: AlertRow) -> Role:
    level = level_of(row.severity)
    return Role.DIM if row.cleared_epoch_ns else Role.TEXT if row.acknowledged_epoch_ns or level is Role.OK else level


def _state(row: AlertRow) -> str:
    if row.cleared_epoch_ns:
        return "cleared"
    return "seen" if row.acknowledged_epoch_ns else row.severity.value


def _when(epoch_ns: int) -> str:
    return clock_time(epoch_ns) if epoch_ns else "-"


def _lasted_ns(row: AlertRow) -> int | None:
    return row.cleared_epoch_ns - row.raised_epoch_ns if row.cleared_epoch_ns else None


ALERT_COLUMNS: Final[tuple[Column[AlertRow], ...]] = (
    Column(
        key="state", title="  alert", width=11, role=_role,
        text=lambda row: f"{' ' if row.cleared_epoch_ns else MARK[level_of(row.severity)]} {_state(row)}", raw=_state,
    ),
    Column(
        key="raised", title="raised", width=8, need=2, role=lambda _: Role.DIM,
        text=lambda row: _when(row.raised_epoch_ns), raw=lambda row: row.raised_epoch_ns,
    ),
    Column(
        key="lasted", title="lasted", width=7, right=True, need=4, role=lambda _: Role.DIM,
        text=lambda row: duration(_lasted_ns(row)), raw=lambda row: _lasted_ns(row) or -1,
    ),
    Column(
        key="message", title="what", width=30, grows=True, role=_role,
        text=lambda row: clean(row.message), raw=lambda row: row.message,
    ),
    Column(
        key="acknowledged", title="seen at", width=8, need=3, role=lambda _: Role.DIM,
        text=lambda row: _when(row.acknowledged_epoch_ns), raw=lambda row: row.acknowledged_epoch_ns,
    ),
    Column(
        key="cleared", title="cleared", width=8, need=3, role=lambda _: Role.DIM,
        text=lambda row: _when(row.cleared_epoch_ns), raw=lambda row: row.cleared_epoch_ns,
    ),
    Column(
        key="rule", title="rule", width=16, need=5, role=lambda _: Role.DIM,
        text=lambda row: row.rule, raw=lambda row: row.rule,
    ),
    Column(
        key="broker", title="broker", width=10, need=6, role=lambda _: Role.DIM,
        text=lambda row: clean(row.provider) or "-", raw=lambda row: row.provider,
    ),
    Column(
        key="severity", title="severity", width=9, need=9, role=lambda _: Role.DIM,
        text=lambda row: row.severity.value, raw=lambda row: row.severity.value,
    ),
)  # fmt: skip
