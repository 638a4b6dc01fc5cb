"""Marked text: a line is a row of spans, a span is text with a role. Colours are the style sheet's matter.

Numbers become text here, and broker text becomes harmless: control characters would otherwise reach the terminal.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size

from core.clock import DAY, HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND
from core.models import Severity

__all__ = [
    "IST_OFFSET_NS",
    "MARK",
    "Line",
    "Role",
    "Span",
    "bar",
    "clean",
    "clock_time",
    "column",
    "count",
    "duration",
    "fit",
    "join",
    "level_of",
    "line",
    "money",
    "percent",
    "plain",
    "rate",
    "sparkline",
    "width_of",
    "worst",
    "wrapped",
]

IST_OFFSET_NS: Final = 5 * HOUR + 30 * MINUTE  # the brokers' own time of day; India keeps no summer time


class Role(StrEnum):
    """What a span means; the style sheet gives each one its colour."""

    TEXT = "text"
    DIM = "dim"
    STRONG = "strong"
    TITLE = "title"
    KEY = "key"
    OK = "ok"
    WARN = "warn"
    CRIT = "crit"
    USED = "used"
    FLIGHT = "flight"
    FREE = "free"
    SIMULATED = "simulated"
    LIVE = "live"
    FROZEN = "frozen"
    ALARM = "alarm"
    BUY = "buy"
    SELL = "sell"
    CURSOR = "cursor"


class Span(NamedTuple):
    """Some text of one role."""

    text: str
    role: Role = Role.TEXT


Line: TypeAlias = tuple[Span, ...]

# Always a mark beside a colour: no triple of colours is safe for every eye, and NO_COLOR has none.
MARK: Final = {Role.OK: " ", Role.WARN: "▲", Role.CRIT: "✖"}
_LOUDNESS: Final = (Role.OK, Role.WARN, Role.CRIT)


def worst(roles: Iterable[Role]) -> Role:
    """The loudest of some levels; OK for none."""
    return max(roles, key=_LOUDNESS.index, default=Role.OK)


def level_of(severity: Severity) -> Role:
    """The level in which a severity is shown."""
    return {Severity.INFO: Role.OK, Severity.WARNING: Role.WARN, Severity.CRITICAL: Role.CRIT}[severity]


@lru_cache(maxsize=4096)
def clean(text: str, limit: int = 400) -> str:
    """Foreign text on one line, without anything that a terminal would obey or that would not show.

    Line breaks and tabs become a space; other control and format characters, bidirectional overrides among them,
    become a middle dot. Anything past `limit` characters is cut.
    """
    shown = "".join(
        " "
        if character in "\n\r\t"
        else "·"
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co"}
        else character
        for character in text[:limit]
    )
    return shown if len(text) <= limit else f"{shown[:-1]}…"


def line(*parts: Span | str) -> Line:
    """A line from spans and plain strings."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def join(lines: Sequence[Line], separator: Span) -> Line:
    """Several lines as one, apart by `separator`."""
    joined: list[Span] = []
    for number, part in enumerate(lines):
        if number:
            joined.append(separator)
        joined.extend(part)
    return tuple(joined)


def plain(spans: Iterable[Span]) -> str:
    """The text without its roles."""
    return "".join(span.text for span in spans)


def width_of(spans: Iterable[Span]) -> int:
    """Cells that a line takes."""
    width = 0
    for text, _ in spans:
        width += len(text) if text.isascii() else cell_len(text)
    return width


def column(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    pad = " " * (width - length)
    return pad + text if right else text + pad


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """`text` in lines of at most `width` characters, each behind `indent`, broken between words where it can be.

    >>> wrapped("no order has this tag", 12, "  ")
    ['  no order', '  has this', '  tag']
    """
    room = max(width, len(indent) + 8)
    return textwrap.wrap(text, room, initial_indent=indent, subsequent_indent=indent) or [indent]


def fit(spans: Line, width: int) -> Line:
    """A line in exactly `width` cells: padded, or cut with an ellipsis."""
    left = width_of(spans)
    if left <= width:
        return (*spans, Span(" " * (width - left))) if left < width else spans
    kept: list[Span] = []
    room = width
    for span in spans:
        length = cell_len(span.text)
        if length >= room:
            kept.append(Span(column(span.text if length > room else span.text + "…", room), span.role))
            break
        kept.append(span)
        room -= length
    return tuple(kept)


def duration(ns: int | None) -> str:
    """A time span in at most seven characters; an en dash for None.

    >>> [duration(ns) for ns in (None, 0, 850_000, 42_000_000, 4_200_000_000, 75_000_000_000, 19_000_000_000_000)]
    ['-', '0 s', '0.85 ms', '42 ms', '4.2 s', '75 s', '5.3 h']
    """
    if ns is None:
        return "-"
    if ns < 0:
        return f"-{duration(-ns)}"
    for below_ns, unit_ns, unit, digits in (
        (1, SECOND, "s", 0),
        (100 * MICROSECOND, MICROSECOND, "us", 0),
        (MILLISECOND, MILLISECOND, "ms", 2),
        (999_500_000, MILLISECOND, "ms", 0),
        (9_950_000_000, SECOND, "s", 1),
        (2 * MINUTE, SECOND, "s", 0),
        (99 * MINUTE, MINUTE, "min", 0),
        (36 * HOUR, HOUR, "h", 1),
    ):
        if ns < below_ns:
            return f"{ns / unit_ns:.{digits}f} {unit}"
    return f"{ns / DAY:.1f} d"


def count(number: int) -> str:
    """A whole number in at most six characters.

    >>> [count(number) for number in (0, 950, 12_345, 123_456, 1_234_567)]
    ['0', '950', '12,345', '123 k', '1.2 M']
    """
    if abs(number) < 100_000:
        return f"{number:,}"
    return f"{number / 1000:.0f} k" if abs(number) < 1_000_000 else f"{number / 1_000_000:.1f} M"


def rate(per_s: float) -> str:
    """A rate for the eye: two digits that matter.

    >>> [rate(per_s) for per_s in (0, 0.25, 9.87, 41.2, 2400)]
    ['0/s', '0.2/s', '9.9/s', '41/s', '2,400/s']
    """
    return "0/s" if per_s == 0 else f"{per_s:.1f}/s" if per_s < 10 else f"{per_s:,.0f}/s"


def percent(share: float | None) -> str:
    """A share of 0..1.

    >>> [percent(share) for share in (None, 0, 0.0003, 0.004, 0.5, 0.999, 1)]
    ['-', '0 %', '<0.1 %', '0.4 %', '50 %', '99.9 %', '100 %']
    """
    if share is None:
        return "-"
    scaled = share * 100
    if 0 < scaled < 0.05:
        return "<0.1 %"
    near_edge = 0 < scaled < 1 or 99 < scaled < 100
    return f"{scaled:.1f} %" if near_edge else f"{scaled:.0f} %"


def money(amount: object) -> str:
    """A Decimal price as the broker writes it: two digits or more."""
    text = f"{amount:,}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<2}"


def clock_time(epoch_ns: int) -> str:
    """The time of day in India.

    >>> clock_time(1_767_585_600_000_000_000)
    '09:30:00'
    """
    seconds = (epoch_ns + IST_OFFSET_NS) // SECOND % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def bar(used: int, in_flight: int, permits: int, width: int, level: Role) -> Line:
    """A bar of `width` cells: used, in flight and free apart, by glyph as well as by role.

    What is there shows in at least one cell, and a bar with something free never looks full.
    """
    if width <= 0:
        return ()
    free = max(0, permits - used - in_flight)
    cells = {"used": used * width // permits, "in_flight": in_flight * width // permits}
    if used and not cells["used"]:
        cells["used"] = 1
    if in_flight and not cells["in_flight"]:
        cells["in_flight"] = 1
    if not free:
        cells["used" if used else "in_flight"] += width - sum(cells.values())
    taken = min(sum(cells.values()), width - 1 if free else width)
    flight_cells = min(cells["in_flight"], taken - 1 if used and taken > 1 else taken)
    used_cells = taken - flight_cells
    role = Role.USED if level is Role.OK else level
    spans = (
        Span("█" * used_cells, role),
        Span("▒" * flight_cells, Role.FLIGHT),
        Span("·" * (width - taken), Role.FREE),
    )
    return tuple(span for span in spans if span.text)


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as blocks, newest at the right; blank for a second without any.

    >>> sparkline([0, 1, 2, 4, 8], 8)
    '    ▁▂▄█'
    """
    if width <= 0:
        return ""
    recent = values[-width:]
    top = max(recent, default=0)
    if top <= 0:
        return " " * width
    blocks = "".join(" " if value <= 0 else "▁▂▃▄▅▆▇█"[min(7, int(value / top * 8 - 1e-9))] for value in recent)
    return blocks.rjust(width)
