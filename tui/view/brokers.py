"""Brokers and their windows as bars: all of them on the overview, one of them in depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from core.clock import MINUTE, SECOND
from core.models import BreakerState, BrokerSnapshot, HealthStatus, LatencySnapshot, WindowHeadroom

from .text import (
    MARK,
    Line,
    Role,
    Span,
    bar,
    clean,
    column,
    count,
    duration,
    fit,
    line,
    percent,
    sparkline,
    worst,
)

__all__ = [
    "Block",
    "BrokerGrid",
    "broker_blocks",
    "broker_level",
    "broker_lines",
    "grid_height",
    "health_text",
    "window_level",
]

_HEALTH_LEVEL: Final = {
    HealthStatus.HEALTHY: Role.OK,
    HealthStatus.UNKNOWN: Role.OK,
    HealthStatus.DEGRADED: Role.WARN,
    HealthStatus.LIMITED: Role.WARN,
    HealthStatus.DRAINED: Role.WARN,
    HealthStatus.UNHEALTHY: Role.CRIT,
    HealthStatus.AUTH_FAILED: Role.CRIT,
    HealthStatus.BLOCKED_FOR_DAY: Role.CRIT,
}
_TWO_COLUMNS_FROM: Final = 140
_WINDOW_HEAD: Final = 24
_TOKEN_SOON_NS: Final = 15 * MINUTE


@dataclass(frozen=True, slots=True)
class BrokerGrid:
    """What the grid shows, the broker that the cursor is on, and whether there is none because it is too early."""

    brokers: tuple[BrokerSnapshot, ...]
    selected: str = ""
    starting: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One broker's lines and where they stand."""

    name: str
    x: int
    y: int
    lines: tuple[Line, ...]


def window_level(window: WindowHeadroom) -> Role:
    """How loud a window is: full for longer than a second or gone within ten, soft or gone within a minute, fine.

    A window of a second or less fills and empties all day: it is at most a warning.
    """
    short = window.rate.window_ns <= SECOND
    out_in_ns = 0 if not window.free else window.forecast.exhausted_in_ns
    if not window.free and window.next_free_in_ns >= SECOND:
        return Role.CRIT
    if out_in_ns is not None and out_in_ns <= 10 * SECOND and not short:
        return Role.CRIT
    if window.soft or not window.free or (out_in_ns is not None and out_in_ns <= MINUTE and not short):
        return Role.WARN
    return Role.OK


def health_text(broker: BrokerSnapshot) -> tuple[Role, str]:
    """The state of a broker in a few words, with its countdown."""
    level = _HEALTH_LEVEL[broker.health]
    if broker.breaker is BreakerState.OPEN:
        return Role.CRIT, f"breaker open, tries in {duration(broker.breaker_retry_in_ns)}"
    if broker.breaker is BreakerState.HALF_OPEN:
        return Role.WARN, "breaker half open, probing"
    if broker.drained:
        return Role.WARN, "drained by you"
    if broker.limited_for_ns:
        return worst((Role.WARN, level)), f"{_word(broker.health)}, {duration(broker.limited_for_ns)} left"
    if broker.token_expires_in_ns is not None and broker.token_expires_in_ns <= _TOKEN_SOON_NS and level is Role.OK:
        return Role.WARN, f"token expires in {duration(broker.token_expires_in_ns)}"
    return level, _word(broker.health) + (f", capped to {percent(broker.cap)}" if broker.cap < 1 else "")


def _word(health: HealthStatus) -> str:
    return health.value.replace("_", " ")


def broker_level(broker: BrokerSnapshot) -> Role:
    """The loudest of a broker's state and its windows."""
    return worst((health_text(broker)[0], *(window_level(window) for window in broker.windows)))


def grid_height(grid: BrokerGrid, _width: int) -> int:
    """Lines that the whole grid takes in one column, with every window."""
    return 2 + sum(1 + len(broker.windows) for broker in grid.brokers)


def broker_lines(grid: BrokerGrid, width: int, height: int | None = None) -> list[Line]:
    """The whole grid; as dense as `height` demands, as open as it allows."""
    if not grid.brokers:
        text = "connecting" if grid.starting else "no broker configured"
        return [fit(line(Span(f"   {text}", Role.DIM)), width)]
    blocks = broker_blocks(grid, width, height)
    head, column_width = _shape(grid, width, height)
    rows = max(block.y + len(block.lines) for block in blocks)
    picture: list[Line] = []
    for y in range(rows):
        spans: list[Span] = []
        at = 0
        for block in blocks:
            if block.y <= y < block.y + len(block.lines):
                if block.x > at:
                    spans.append(Span(" " * (block.x - at)))
                spans.extend(fit(block.lines[y - block.y], column_width))
                at = block.x + column_width
        picture.append(tuple(spans))
    for y, title in enumerate((_titles(column_width), _window_titles(column_width))[:head]):
        row = fit(title, column_width)
        picture[y] = row if column_width == width else (*row, Span("  "), *row)
    return picture[:height]


def broker_blocks(grid: BrokerGrid, width: int, height: int | None = None) -> list[Block]:
    """Where each broker stands in a grid of `width` by `height` cells; those that do not fit are scrolled out."""
    head, column_width = _shape(grid, width, height)
    columns = 1 if column_width == width else 2
    rows = None if height is None else height - head
    order = grid.brokers
    per_column = -(-len(order) // columns)
    drawn = _densest(order, grid.selected, column_width, rows, per_column)
    blocks: list[Block] = []
    for number in range(columns):
        members = range(number * per_column, min(len(order), (number + 1) * per_column))
        y = head
        first = _first_shown([len(drawn[index]) for index in members], _index_of(grid, members), rows)
        for index in list(members)[first:]:
            blocks.append(Block(order[index].name, number * (column_width + 2), y, drawn[index]))
            y += len(drawn[index])
    return blocks


def _index_of(grid: BrokerGrid, members: range) -> int:
    for place, index in enumerate(members):
        if grid.brokers[index].name == grid.selected:
            return place
    return 0


def _first_shown(heights: Sequence[int], selected: int, rows: int | None) -> int:
    """How many blocks to scroll past, so that the selected one is whole."""
    first = 0
    while rows is not None and first < selected and sum(heights[first : selected + 1]) > rows:
        first += 1
    return first


def _shape(grid: BrokerGrid, width: int, height: int | None) -> tuple[int, int]:
    """Lines of titles (0 or 2), and the width of one column of brokers."""
    natural = grid_height(grid, width)
    head = 2 if height is None or height >= min(9, natural) else 0
    two = width >= _TWO_COLUMNS_FROM and height is not None and natural > height and len(grid.brokers) > 1
    return head, (width - 2) // 2 if two else width


def _densest(
    brokers: Sequence[BrokerSnapshot], selected: str, width: int, rows: int | None, per_column: int
) -> list[tuple[Line, ...]]:
    """Each broker's lines, with as many windows as let a column of them fit in `rows`: the loudest ones stay."""
    most = max(len(broker.windows) for broker in brokers)
    for kept in range(most, -1, -1):
        drawn = [_broker(broker, width, kept, selected=broker.name == selected) for broker in brokers]
        heights = [len(lines) for lines in drawn]
        tallest = max(sum(heights[start : start + per_column]) for start in range(0, len(heights), per_column))
        if rows is None or tallest <= rows:
            return drawn
    return drawn


def _broker(broker: BrokerSnapshot, width: int, kept: int, *, selected: bool) -> tuple[Line, ...]:
    loudness = [Role.CRIT, Role.WARN, Role.OK]
    windows = list(broker.windows)
    if kept < len(windows):
        by_need = sorted(windows, key=lambda window: (loudness.index(window_level(window)), -window.fraction))
        keep = by_need[:kept]
        windows = [window for window in windows if window in keep]
    head = _broker_head(broker, width, selected=selected)
    if not kept and broker.windows:
        tightest = max(broker.windows, key=lambda window: window.fraction)
        head = _broker_head(broker, width, selected=selected, inline=tightest)
    return (head, *(_window(window, width) for window in windows))


def _titles(width: int) -> Line:
    titles = [Span(f"   {column('broker', 12)}{column('state', _state_width(width))}", Role.DIM)]
    for title, cells in _metric_widths(width):
        titles.append(Span(column(title, cells, right=True), Role.DIM))
    return tuple(titles)


@lru_cache(maxsize=64)
def _metric_widths(width: int) -> list[tuple[str, int]]:
    """The figures beside a broker's name that fit, from the most to the least wanted, in the order shown."""
    wanted = [
        ("p50", 8, 1),
        ("p99", 8, 0),
        ("latency", 12 if width < 110 else 22, 5),
        ("errors", 8, 2),
        ("flying", 7, 4),
        ("queue", 6, 3),
        ("traffic / fair", 15, 6),
        ("sent", 8, 8),
        ("refused", 8, 7),
    ]
    room = width - 16 - 28
    fitting: set[str] = set()
    for title, cells, _ in sorted(wanted, key=lambda entry: entry[2]):
        if cells <= room:
            fitting.add(title)
            room -= cells
        else:
            break
    return [(title, cells) for title, cells, _ in wanted if title in fitting]


def _state_width(width: int) -> int:
    return width - 16 - sum(cells for _, cells in _metric_widths(width))


def _broker_head(broker: BrokerSnapshot, width: int, *, selected: bool, inline: WindowHeadroom | None = None) -> Line:
    level, state = health_text(broker)
    mark = "✓" if level is Role.OK else MARK[level]
    state_width = _state_width(width)
    spans = [
        Span(" ▸ " if selected else "   ", Role.KEY),
        Span(column(clean(broker.name), 11), Role.CURSOR if selected else Role.STRONG),
        Span(" "),
    ]
    if inline is None:
        spans += [Span(f"{mark} ", level), Span(_sentence(state, broker.reason, state_width - 2), _quiet(level))]
    else:
        tightest = window_level(inline)
        bar_width = max(4, state_width - 15)
        spans += [
            Span(f"{MARK[worst((level, tightest))]} ", worst((level, tightest))),
            *bar(inline.used, inline.in_flight, inline.rate.permits, bar_width, tightest),
            Span(column(f" {inline.rate}", state_width - 2 - bar_width), _quiet(tightest)),
        ]
    latency = broker.latency
    figures = {
        "p50": (duration(latency.p50_ns if latency.count else None), Role.TEXT),
        "p99": (duration(latency.p99_ns if latency.count else None), Role.TEXT),
        "latency": (_spark(latency, width), Role.USED),
        "errors": (
            _errors(broker),
            Role.WARN if broker.errors and broker.errors * 100 > broker.requests else Role.TEXT,
        ),
        "flying": (count(broker.in_flight), Role.TEXT),
        "queue": (count(broker.queued), Role.WARN if broker.queued else Role.TEXT),
        "traffic / fair": (f"{percent(broker.traffic_share)} / {percent(broker.capacity_share)}", Role.TEXT),
        "sent": (count(broker.requests), Role.TEXT),
        "refused": (count(broker.refusals), Role.WARN if broker.refusals else Role.TEXT),
    }
    for title, cells in _metric_widths(width):
        text, role = figures[title]
        spans.append(Span(column(text, cells, right=True), role))
    return tuple(spans)


def _quiet(level: Role) -> Role:
    return Role.TEXT if level is Role.OK else level


def _sentence(state: str, reason: str, width: int) -> str:
    said = clean(reason)
    text = f"{state}: {said}" if said and said != state else state
    return column(text, width - 1) + " "


def _errors(broker: BrokerSnapshot) -> str:
    return percent(broker.errors / broker.requests) if broker.requests else "-"


def _spark(latency: LatencySnapshot, width: int) -> str:
    return sparkline(latency.history_ns, (12 if width < 110 else 22) - 2)


@lru_cache(maxsize=64)
def _window_widths(width: int) -> list[tuple[str, int]]:
    """The figures of a window that fit, in the order shown."""
    wanted = [
        ("used", 8, 3),
        ("flying", 7, 4),
        ("free", 8, 0),
        ("next", 8, 5),
        ("reset", 8, 2),
        ("out", 8, 1),
        ("", 16, 6),
    ]
    room = width - 1 - _WINDOW_HEAD - 12  # a bar shorter than this says nothing
    fitting: set[str] = set()
    for title, cells, _ in sorted(wanted, key=lambda entry: entry[2]):
        if cells > room:
            break
        fitting.add(title)
        room -= cells
    return [(title, cells) for title, cells, _ in wanted if title in fitting]


def _window_titles(width: int) -> Line:
    widths = _window_widths(width)
    bar_width = width - 1 - _WINDOW_HEAD - sum(cells for _, cells in widths)
    return (
        Span(column(f"     {column('budget', 8)}limit", _WINDOW_HEAD + bar_width), Role.DIM),
        *(Span(column(title, cells, right=True), Role.DIM) for title, cells in widths),
    )


def _window(window: WindowHeadroom, width: int) -> Line:
    """One window: mark, budget, limit, bar, numbers, time to reset, time to exhaustion."""
    level = window_level(window)
    quiet = _quiet(level)
    forecast = window.forecast
    if not window.free:
        out, out_role = "full", level
    elif forecast.exhausted_in_ns is None:
        out, out_role = "holds", Role.DIM
    else:
        out, out_role = duration(forecast.exhausted_in_ns), quiet
    spread = ""
    if window.free and forecast.earliest_in_ns is not None and forecast.latest_in_ns is not None:
        spread = f"{duration(forecast.earliest_in_ns)}..{duration(forecast.latest_in_ns)}"
    taken = window.used or window.in_flight
    figures = {
        "used": (count(window.used), Role.TEXT),
        "flying": (count(window.in_flight), Role.FLIGHT if window.in_flight else Role.DIM),
        "free": (count(window.free), Role.STRONG if level is Role.OK else level),
        "next": (duration(window.next_free_in_ns), Role.WARN) if window.next_free_in_ns else ("now", Role.DIM),
        "reset": (duration(window.all_free_in_ns), Role.TEXT) if taken else ("-", Role.DIM),
        "out": (out, out_role),
        "": (spread, Role.DIM),
    }
    widths = _window_widths(width)
    bar_width = width - 1 - _WINDOW_HEAD - sum(cells for _, cells in widths)
    return (
        Span(f"   {MARK[level]} ", level),
        Span(column(clean(window.budget), 8), quiet),
        Span(column(str(window.rate), 11), quiet),
        *bar(window.used, window.in_flight, window.rate.permits, bar_width, level),
        *(Span(column(figures[title][0], cells, right=True), figures[title][1]) for title, cells in widths),
    )
