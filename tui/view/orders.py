"""The blotter's columns and one order in full."""

from __future__ import annotations

from typing import Final

from core.models import OrderRow

from .frame import IN_DOUBT
from .table import Column
from .text import MARK, Line, Role, Span, clean, clock_time, column, duration, fit, line, money

__all__ = ["ORDER_COLUMNS", "order_level", "order_lines"]

FAILED: Final = frozenset({"DENIED", "REJECTED", "EXPIRED"})
_OVER: Final = frozenset({"FILLED", "CANCELLED"})


def order_level(order: OrderRow) -> Role:
    """In doubt is critical, a no is a warning, the rest is fine."""
    return Role.CRIT if order.status in IN_DOUBT else Role.WARN if order.status in FAILED else Role.OK


def _status_role(order: OrderRow) -> Role:
    level = order_level(order)
    return level if level is not Role.OK else Role.DIM if order.status in _OVER else Role.STRONG


def _row_role(order: OrderRow) -> Role:
    return Role.CRIT if order.status in IN_DOUBT else Role.TEXT


def _faint(order: OrderRow) -> Role:
    return Role.CRIT if order.status in IN_DOUBT else Role.DIM


ORDER_COLUMNS: Final[tuple[Column[OrderRow], ...]] = (
    Column(
        key="time", title="time", width=8, need=4, role=_faint,
        text=lambda order: clock_time(order.epoch_ns), raw=lambda order: order.epoch_ns,
    ),
    Column(
        # Never a matter of guessing, whatever screen or export a row stands in.
        key="mode", title="", width=4, need=1,
        role=lambda order: _faint(order) if order.simulated else Role.LIVE,
        text=lambda order: "SIM" if order.simulated else "LIVE", raw=lambda order: "SIM" if order.simulated else "LIVE",
    ),
    Column(
        key="status", title="  status", width=18, need=0, role=_status_role,
        text=lambda order: f"{MARK[order_level(order)]} {order.status.replace('_', ' ').lower()}",
        raw=lambda order: order.status,
    ),
    Column(
        key="side", title="side", width=4, need=1,
        role=lambda order: Role.BUY if order.side == "BUY" else Role.SELL,
        text=lambda order: clean(order.side), raw=lambda order: order.side,
    ),
    Column(
        key="filled", title="filled", width=7, need=5, right=True, role=_row_role,
        text=lambda order: f"{order.filled_quantity:,}", raw=lambda order: order.filled_quantity,
    ),
    Column(
        key="quantity", title="of", width=7, need=1, right=True, role=_row_role,
        text=lambda order: f"{order.quantity:,}", raw=lambda order: order.quantity,
    ),
    Column(
        key="symbol", title="symbol", width=16, need=0, grows=True, role=_row_role,
        text=lambda order: clean(order.symbol), raw=lambda order: order.symbol,
    ),
    Column(
        key="price", title="price", width=10, need=3, right=True, role=_row_role,
        text=lambda order: money(order.price) if order.price else "market", raw=lambda order: order.price,
    ),
    Column(
        key="broker", title="broker", width=10, need=2, role=_row_role,
        text=lambda order: clean(order.provider) or "-", raw=lambda order: order.provider,
    ),
    Column(
        key="age", title="age", width=7, need=2, right=True, role=_faint,
        text=lambda order: duration(order.age_ns), raw=lambda order: order.age_ns,
    ),
    Column(
        key="id", title="order", width=14, need=6, role=_faint,
        text=lambda order: clean(order.order_id), raw=lambda order: order.order_id,
    ),
    Column(
        key="tag", title="tag", width=12, need=7, role=_faint,
        text=lambda order: clean(order.tag), raw=lambda order: order.tag,
    ),
    Column(
        key="message", title="message", width=18, need=8, grows=True, role=_faint,
        text=lambda order: clean(order.message), raw=lambda order: order.message,
    ),
    Column(
        key="broker_id", title="broker's id", width=16, need=9, role=_faint,
        text=lambda order: clean(order.broker_order_id), raw=lambda order: order.broker_order_id,
    ),
)  # fmt: skip

_DOING: Final = {
    "UNKNOWN": "It left and no answer came. It is being looked up by its tag; it is never sent again.",
    "QUARANTINED": "The broker's books do not settle it. Look at the broker's own screen; nothing is sent for it.",
    "CANCEL_REQUESTED": "A cancel is on its way.",
    "MODIFY_REQUESTED": "A change is on its way.",
    "DENIED": "Our own guard said no; nothing was sent.",
    "REJECTED": "The broker said no; nothing is live.",
}


def order_lines(order: OrderRow, width: int, _height: int | None = None) -> list[Line]:
    """All that is known of one order."""
    level = order_level(order)
    facts = (
        ("order", clean(order.order_id)),
        ("what", f"{clean(order.side)} {order.quantity:,} {clean(order.symbol)}"),
        ("price", money(order.price) if order.price else "market"),
        ("filled", f"{order.filled_quantity:,} of {order.quantity:,}"),
        ("broker", f"{clean(order.provider) or '-'}{' (simulated)' if order.simulated else ''}"),
        ("broker's id", clean(order.broker_order_id) or "-"),
        ("tag", clean(order.tag) or "-"),
        ("taken at", f"{clock_time(order.epoch_ns)} IST, {duration(order.age_ns)} ago"),
        ("message", clean(order.message) or "-"),
    )
    lines = [
        line(Span(f" {column('status', 13)}", Role.DIM), Span(f"{MARK[level]} {order.status}", _status_role(order)))
    ]
    lines += [line(Span(f" {column(name, 13)}  ", Role.DIM), value) for name, value in facts]
    if doing := _DOING.get(order.status):
        lines += [(), line(Span(f" {doing}", level if level is not Role.OK else Role.TEXT))]
    return [fit(entry, width) for entry in lines]
