"""The line of screens: their numbers, where one is, and what waits on each."""

from __future__ import annotations

from typing import NamedTuple

from core.models import RouterSnapshot

from .frame import ranked_suggestions
from .text import Line, Role, Span, fit, line, width_of

__all__ = ["Tab", "Tabs", "tab_at", "tabs_lines"]


class Tab(NamedTuple):
    """One screen: what to press, its name and its title."""

    key: str
    name: str
    title: str


class Tabs(NamedTuple):
    """All screens, the one that is up, and what they have to show."""

    tabs: tuple[Tab, ...]
    current: str
    snapshot: RouterSnapshot


def tabs_lines(tabs: Tabs, width: int, _height: int | None = None) -> list[Line]:
    """One line; a count in brackets where something waits."""
    return [fit(tuple(span for part in _parts(tabs, width) for span in part), width)]


def tab_at(tabs: Tabs, x: int, width: int) -> str:
    """The name of the screen that cell `x` of the line stands for; empty beside them."""
    at = 0
    for tab, part in zip(tabs.tabs, _parts(tabs, width), strict=True):
        at += width_of(part)
        if x < at:
            return tab.name
    return ""


def _parts(tabs: Tabs, width: int) -> list[Line]:
    """With what waits, without it, closer together, or keys alone: the first of these that fits."""
    parts: list[Line] = []
    for part in (_counted, _titled, _close, _key_only):
        parts = [part(tab, tabs) for tab in tabs.tabs]
        if sum(map(width_of, parts)) <= width:
            break
    return parts


def _counted(tab: Tab, tabs: Tabs) -> Line:
    text, role = _waiting(tab.name, tabs.snapshot)
    return _titled(tab, tabs) if not text else (*_titled(tab, tabs)[:-1], Span(f" {text} ", role))


def _titled(tab: Tab, tabs: Tabs) -> Line:
    here = tab.name == tabs.current
    return line(
        Span(f" {tab.key} ", Role.KEY),
        Span(f" {tab.title} " if here else tab.title, Role.CURSOR if here else Role.DIM),
        Span(" ", Role.DIM),
    )


def _close(tab: Tab, tabs: Tabs) -> Line:
    title = Span(tab.title, Role.CURSOR if tab.name == tabs.current else Role.DIM)
    return line(Span(f"{tab.key} ", Role.KEY), title, " ")


def _key_only(tab: Tab, tabs: Tabs) -> Line:
    return _titled(tab, tabs) if tab.name == tabs.current else line(Span(f" {tab.key}", Role.KEY), " ")


def _waiting(name: str, snapshot: RouterSnapshot) -> tuple[str, Role]:
    if name == "orders" and snapshot.unknown_orders:
        return f"✖ {snapshot.unknown_orders} in doubt", Role.CRIT
    if name == "orders" and snapshot.open_orders:
        return f"{snapshot.open_orders} open", Role.DIM
    if name == "advice" and (number := len(ranked_suggestions(snapshot.suggestions))):
        return f"{number} to decide", Role.WARN
    if name == "stress" and snapshot.stress.state == "running":
        return "▶ running", Role.STRONG
    return "", Role.DIM
