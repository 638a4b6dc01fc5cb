"""The keys of a screen, as the key table and the operator's own keymap say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .text import Line, Role, Span, column, fit, line

__all__ = ["HelpEntry", "help_lines"]


class HelpEntry(NamedTuple):
    """One line of help: where it holds, the keys as one presses them, and what they do."""

    where: str
    keys: str
    help: str


def help_lines(entries: Sequence[HelpEntry], width: int) -> list[Line]:
    """The entries under a title for each place, and how to read the marks."""
    lines: list[Line] = []
    place = ""
    for entry in entries:
        if entry.where != place:
            place = entry.where
            lines += [(), line(Span(f" {place}", Role.TITLE))] if lines else [line(Span(f" {place}", Role.TITLE))]
        lines.append(line(Span(f"   {column(entry.keys, 16)}", Role.KEY), Span(entry.help)))
    lines += [
        (),
        line(Span(" how to read it", Role.TITLE)),
        line("   ", Span("█ used ", Role.USED), Span("▒ in flight ", Role.FLIGHT), Span("· free", Role.FREE)),
        line("   ", Span("  fine  "), Span("▲ look at it  ", Role.WARN), Span("✖ act on it", Role.CRIT)),
        line("   reset: when all permits are back, if nothing more is sent"),
        line("   out: when the window is full at the present rate; holds: not within the forecast's horizon"),
        line("   traffic / fair: share of what is sent, beside the share of what could be sent"),
    ]
    return [fit(entry, width) for entry in lines]
