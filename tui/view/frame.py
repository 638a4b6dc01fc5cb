"""What stands on every screen: the header, the banners, the verdict and the status line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from core.clock import MILLISECOND, SECOND
from core.models import BrokerSnapshot, OrderRow, RouterSnapshot, Severity, Suggestion, WindowHeadroom
from core.replay import Playback

from .text import (
    MARK,
    Line,
    Role,
    Span,
    clean,
    clock_time,
    column,
    count,
    duration,
    fit,
    level_of,
    line,
    money,
    percent,
    rate,
    width_of,
)
from .timeline import TrackFacts, moment_text

__all__ = [
    "Frame",
    "alert_lines",
    "banner_lines",
    "header_lines",
    "orders_in_doubt",
    "ranked_suggestions",
    "runs_out_first",
    "status_lines",
    "verdict_lines",
]

STALE_AFTER_NS: Final = 2 * SECOND
IN_DOUBT: Final = frozenset({"UNKNOWN", "QUARANTINED"})
_LABEL_WIDTH: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture's worth: a snapshot, and how the screen itself stands.

    `age_ns` is how long the snapshot has been the newest, `frame_ns` what painting the last one took, `track` what is
    kept of the past and where in it this is. `starting`: the engine has shown nothing yet.
    """

    snapshot: RouterSnapshot
    frozen: bool = False
    read_only: bool = False
    answer: str = ""
    answer_level: Role = Role.OK
    age_ns: int = 0
    frame_ns: int = 0
    track: TrackFacts | None = None
    starting: bool = False

    @property
    def playback(self) -> Playback | None:
        """Where in the past this is; None for now."""
        return None if self.track is None else self.track.playback


def header_lines(frame: Frame, width: int, _height: int | None = None) -> list[Line]:
    """One line: SIMULATED or LIVE, the flow, the time of day."""
    snapshot = frame.snapshot
    flow = sum(broker.rate_per_s for broker in snapshot.brokers)
    badge = Span(" SIMULATED ", Role.SIMULATED) if snapshot.simulated else Span(" LIVE · REAL MONEY ", Role.LIVE)
    left = [Span(" headroom ", Role.TITLE), badge]
    if frame.read_only:
        left.append(Span(" READ ONLY ", Role.FROZEN))
    if frame.frozen:
        left.append(Span(" FROZEN ", Role.FROZEN))
    if frame.playback is not None:
        left.append(Span(" RECORDING " if frame.track and frame.track.file else " PAST ", Role.FROZEN))
    if frame.track is not None and frame.track.recording is not None:
        left.append(Span(" ● REC ", Role.ALARM))
    right = (Span(f"{clock_time(snapshot.epoch_ns)} IST ", Role.DIM),)
    facts = [
        _brokers_fact(snapshot.brokers),
        line(rate(flow)),
        _doubt_fact(snapshot.unknown_orders),
        line(f"{count(snapshot.open_orders)} open"),
        line(f"{count(snapshot.counters.requests)} sent"),
        line(f"{count(snapshot.counters.refusals)} refused"),
    ]
    room = width - width_of(left) - width_of(right)
    for fact in facts:
        if fact and width_of(fact) + 2 <= room:
            left += [Span("  "), *fact]
            room -= width_of(fact) + 2
    return [(*fit(tuple(left), width - width_of(right)), *right)]


def _brokers_fact(brokers: Sequence[BrokerSnapshot]) -> Line:
    well = sum(broker.health == "healthy" for broker in brokers)
    text = f"{well}/{len(brokers)} brokers healthy"
    return line(Span(text, Role.TEXT if well == len(brokers) else Role.WARN))


def _doubt_fact(unknown: int) -> Line:
    return line(Span(f"✖ {unknown} IN DOUBT", Role.CRIT)) if unknown else ()


def banner_lines(frame: Frame, width: int, _height: int | None = None) -> list[Line]:
    """What must not be overlooked, one full line each; none on an ordinary day."""
    snapshot = frame.snapshot
    banners: list[tuple[str, Role]] = []
    if frame.starting:
        banners.append(("… Starting the engine: journal, accounts, brokers.", Role.FROZEN))
    if snapshot.failure:
        banners.append((f"✖ ENGINE FAILED: {snapshot.failure}", Role.ALARM))
        banners.append(
            ("  These are its last figures. Nothing is sent any more; q quits, the journal is kept.", Role.ALARM)
        )
    if snapshot.halted:
        banners.append((f"✖ HALTED: {snapshot.halted}. Nothing new leaves; K lifts it.", Role.ALARM))
    if frame.frozen:
        banners.append(
            (
                f"❚❚ Frozen at {clock_time(snapshot.epoch_ns)}: the engine goes on, the picture waits. space resumes.",
                Role.FROZEN,
            )
        )
    elif frame.track is not None and frame.playback is not None:
        text = f"◀◀ {moment_text(frame.track)}. ← → step, [ ] 10 s, P plays, J asks when"
        banners.append((text if frame.track.file else f"{text}, N is now.", Role.FROZEN))
    elif frame.age_ns >= STALE_AFTER_NS and not snapshot.failure and not frame.starting:
        banners.append((f"▲ No news from the engine for {duration(frame.age_ns)}: these figures are old.", Role.ALARM))
    return [
        fit((Span(f" {clean(text)}", role),), width)[:1] + _rest(f" {clean(text)}", role, width)
        for text, role in banners
    ]


def _rest(text: str, role: Role, width: int) -> Line:
    left = width - width_of((Span(text),))
    return (Span(" " * left, role),) if left > 0 else ()


def alert_lines(frame: Frame, width: int, _height: int | None = None) -> list[Line]:
    """The alerts that call, on one line, the loudest by name; no line while none does."""
    calling = [alert for alert in frame.snapshot.alerts if alert.calls]
    if not calling:
        return []
    first = calling[0]
    role = level_of(first.severity)
    number = f"{len(calling)} alerts: " if len(calling) > 1 else ""
    ago = line(Span(f"  for {duration(max(0, frame.snapshot.epoch_ns - first.raised_epoch_ns))}", Role.DIM))
    tail = line(Span("  A acknowledges ", Role.DIM)) if not frame.read_only else ()
    text = line(Span(f" {MARK[role]} {number}{clean(first.message)}", role))
    room = width - width_of(tail)
    return [(*fit((*text, *ago) if width_of(text) + width_of(ago) <= room else text, room), *tail)]


def runs_out_first(brokers: Sequence[BrokerSnapshot]) -> tuple[BrokerSnapshot, WindowHeadroom, int] | None:
    """The window that stops its broker first, and in how many nanoseconds; None when none will.

    A window of a second or less that is full gives a permit back before anyone can act, so it comes after every
    longer one.
    """
    found: list[tuple[bool, int, int, BrokerSnapshot, WindowHeadroom]] = []
    for broker in brokers:
        for window in broker.windows:
            out_in_ns = 0 if not window.free else window.forecast.exhausted_in_ns
            if out_in_ns is not None:
                short = window.rate.window_ns <= SECOND
                found.append((short, out_in_ns, len(found), broker, window))
    if not found:
        return None
    _, out_in_ns, _, broker, window = min(found, key=lambda entry: entry[:3])
    return broker, window, out_in_ns


def orders_in_doubt(orders: Sequence[OrderRow]) -> list[OrderRow]:
    """Orders of which nobody can say yet whether they are live."""
    return [order for order in orders if order.status in IN_DOUBT]


def ranked_suggestions(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    """What is still to be decided, loudest first."""
    loudness = list(Severity)
    return sorted(
        (suggestion for suggestion in suggestions if not suggestion.applied),
        key=lambda suggestion: -loudness.index(suggestion.severity),
    )


def verdict_lines(frame: Frame, width: int, height: int | None = None) -> list[Line]:
    """The three questions of every glance, answered: what runs out, what is in doubt, what to do."""
    lines = [
        _verdict("RUNS OUT", *_runs_out(frame.snapshot), width),
        _verdict("IN DOUBT", *_in_doubt(frame.snapshot), width),
    ]
    todo = ranked_suggestions(frame.snapshot.suggestions)
    if not todo:
        lines.append(_verdict("DO NEXT", Role.OK, "nothing: no advice to give", "", width))
    for number, suggestion in enumerate(todo[: 3 if height is None else max(1, height - 2)]):
        lines.append(
            _verdict(
                "" if number else "DO NEXT",
                level_of(suggestion.severity),
                clean(suggestion.title),
                clean(suggestion.effect),
                width,
            )
        )
    if frame.snapshot.quotes and (height is None or len(lines) < height):
        lines.append(_verdict("QUOTES", Role.OK, _quotes(frame.snapshot), "", width))
    return lines[:height]


def _quotes(snapshot: RouterSnapshot) -> str:
    """Symbol and last price, by name so that none moves about."""
    parts: list[str] = []
    for quote in sorted(snapshot.quotes, key=lambda quote: quote.symbol):
        price = Decimal(f"{quote.price.normalize():f}")  # without the zeros that a feed of four places adds
        parts.append(f"{clean(quote.symbol.partition(':')[2] or quote.symbol)} {money(price)}")
    return "   ".join(parts)


def _verdict(label: str, level: Role, text: str, aside: str, width: int) -> Line:
    spans = line(
        Span(f" {column(label, _LABEL_WIDTH)}", Role.DIM),
        Span(f"{MARK[level]} {text}", Role.TEXT if level is Role.OK else level),
        Span(f"  {aside}" if aside else "", Role.DIM),
    )
    return fit(spans, width)


def _runs_out(snapshot: RouterSnapshot) -> tuple[Role, str, str]:
    first = runs_out_first(snapshot.brokers)
    if first is None:
        return Role.OK, "nothing at the present rate", ""
    broker, window, out_in_ns = first
    what = f"{clean(broker.name)} {clean(window.budget)} {window.rate}"
    forecast = window.forecast
    if not out_in_ns:
        long = window.next_free_in_ns >= SECOND
        return (
            Role.CRIT if long else Role.WARN,
            f"{what} is full: the next permit in {duration(window.next_free_in_ns)}",
            f"all back in {duration(window.all_free_in_ns)}",
        )
    text = f"{what} in {duration(out_in_ns)}"
    spread = ""
    if forecast.earliest_in_ns is not None and forecast.latest_in_ns is not None:
        spread = f"{duration(forecast.earliest_in_ns)} to {duration(forecast.latest_in_ns)}, "
    aside = f"{spread}at {rate(forecast.rate_per_s)}; {percent(forecast.probability_60s)} likely within 60 s"
    level = Role.CRIT if out_in_ns <= 10 * SECOND else Role.WARN if out_in_ns <= 60 * SECOND else Role.OK
    return (Role.WARN if window.rate.window_ns <= SECOND and level is Role.CRIT else level), text, aside


def _in_doubt(snapshot: RouterSnapshot) -> tuple[Role, str, str]:
    number = snapshot.unknown_orders
    if not number:
        return Role.OK, "no order", ""
    doubtful = orders_in_doubt(snapshot.orders)
    text = f"{number} order{'' if number == 1 else 's'}"
    if doubtful:
        order = doubtful[0]
        name = f"{clean(order.side)} {order.quantity} {clean(order.symbol)} at {clean(order.provider)}"
        text += f": {name}, for {duration(order.age_ns)}"
    return Role.CRIT, text, "looked up by tag, never sent again"


def status_lines(frame: Frame, width: int, _height: int | None = None) -> list[Line]:
    """One line: the last answer or the newest incident, and what headroom itself costs."""
    cost = frame.snapshot.cost
    own = [
        f"frame {duration(frame.frame_ns // MILLISECOND * MILLISECOND)}",
        f"lag {duration(cost.loop_lag_ns)}",
        f"age {duration(frame.age_ns // (100 * MILLISECOND) * (100 * MILLISECOND))}",
        f"cpu {cost.cpu_percent:.0f} %",
        f"{cost.rss_bytes / 1_048_576:.0f} MiB",
    ]
    shown = own if width >= 100 else own[:1] + own[3:4]
    right = line(Span("  ".join(shown) + " ", Role.DIM))
    room = width - width_of(right)
    return [(*fit(line(" ", *_news(frame)), room), *right)]


def _news(frame: Frame) -> Line:
    if frame.answer:
        role = Role.TEXT if frame.answer_level is Role.OK else frame.answer_level
        return line(Span(f"{MARK[frame.answer_level]} {clean(frame.answer)}", role))
    if not frame.snapshot.incidents:
        return line(Span("  no incident", Role.DIM))
    newest = min(frame.snapshot.incidents, key=lambda incident: incident.age_ns)
    fresh = newest.age_ns < 60 * SECOND
    repeats = f" x{newest.count}" if newest.count > 1 else ""
    text = f"{clean(newest.provider)} {clean(newest.kind)}{repeats}: {clean(newest.message)}"
    return line(
        Span(f"{MARK[Role.WARN] if fresh else ' '} {text}", Role.WARN if fresh else Role.DIM),
        Span(f"  {duration(newest.age_ns)} ago", Role.DIM),
    )
