"""One order's whole story: how it stands, what is being done about it, and every entry of the journal."""

from __future__ import annotations

from typing import Final

from core.clock import DAY
from core.models import Doubt, OrderStatus, OrderStory

from .frame import IN_DOUBT
from .orders import FAILED
from .text import MARK, Line, Role, Span, clean, clock_time, column, duration, fit, line, money, wrapped

__all__ = ["story_lines"]

_WORDS: Final = {
    "Claimed": "taken",
    "Intent": "about to leave",
    "Step": "step",
    "FillSeen": "fill",
    "CancelIntended": "cancel leaves",
    "ModifyIntended": "change leaves",
    "IncidentSeen": "incident",
    "Halted": "halted",
    "Lifted": "lifted",
}
_LOUD: Final = frozenset({"IncidentSeen", "Halted"})


def story_lines(story: OrderStory, width: int, _height: int | None = None) -> list[Line]:
    """Facts, doubt, entries; long entries go on below themselves."""
    level = _level(story.status)
    terms = story.terms
    price = "" if terms.price is None else f" at {money(terms.price)}"
    trigger = "" if terms.trigger_price is None else f" trigger {money(terms.trigger_price)}"
    average = f" at {money(story.average_price)}" if story.filled_quantity else ""
    facts = (
        ("what", f"{terms.side} {terms.quantity:,} {clean(terms.symbol)} {terms.order_type.value}{price}{trigger}"),
        ("how", f"{terms.product.value}, {terms.validity.value}, {'simulated' if story.simulated else 'LIVE'}"),
        ("filled", f"{story.filled_quantity:,} of {terms.quantity:,}{average}"),
        ("broker", f"{clean(story.provider) or '-'} as {clean(story.broker_order_id) or '?'}"),
        ("sent", f"attempt {story.attempt}, tag {clean(story.tag) or '-'}"),
        ("message", clean(story.message) or "-"),
    )
    lines = [line(Span(f" {column('status', 9)}", Role.DIM), Span(f"{MARK[level]} {story.status.value}", _role(level)))]
    lines += [line(Span(f" {column(name, 9)}  ", Role.DIM), text) for name, text in facts]
    if story.doubt is not None:
        lines += [(), *_doubt_lines(story, story.doubt, width)]
    lines += [
        (),
        line(Span(" the journal", Role.TITLE), Span("   number, time of day, after the one before", Role.DIM)),
    ]
    for step in story.steps:
        head = "" if width < 60 else f" {step.serial:>7} "
        head += f" {clock_time(step.epoch_ns)}.{step.epoch_ns // 1_000_000 % 1000:03}  "
        head += (
            f"{column('+' + duration(step.since_ns), 9, right=True)}  {column(_WORDS.get(step.kind, step.kind), 14)} "
        )
        role = Role.WARN if step.kind in _LOUD else Role.TEXT
        # Beside the head where there is room for it, below where there is not.
        indent = len(head) if width - len(head) >= 30 else 4
        room = width - indent
        said = clean(step.text, 2000)
        portions = [said[at : at + room] for at in range(0, len(said), room)]
        first = portions.pop(0) if indent == len(head) and portions else ""
        lines.append(line(Span(head, Role.DIM), Span(first, role)))
        lines += [line(Span(" " * indent), Span(portion, role)) for portion in portions]
    return [fit(entry, width) for entry in lines]


def _level(status: OrderStatus) -> Role:
    return Role.CRIT if status in IN_DOUBT else Role.WARN if status in FAILED else Role.OK


def _role(level: Role) -> Role:
    return Role.STRONG if level is Role.OK else level


def _doubt_lines(story: OrderStory, doubt: Doubt, width: int) -> list[Line]:
    asked = "not answered yet" if doubt.asked_ago_ns is None else f"answered {duration(doubt.asked_ago_ns)} ago"
    following = "now" if not doubt.next_ask_in_ns else f"in {duration(doubt.next_ask_in_ns)}"
    proof = "its next answer that does not find it proves that it was never placed"
    if doubt.proven_in_ns > DAY:
        proof = "nothing proves yet that it was never placed: look at the broker's own screen"
    elif doubt.proven_in_ns:
        proof = f"from {duration(doubt.proven_in_ns)} on, {proof}"
    told = (
        f"{clean(story.provider)} is asked for tag {clean(story.tag)}: {asked}, asked again {following}.",
        f"It is never sent again; {proof}.",
    )
    lines = [line(Span(f" ✖ Nobody knows whether it is live, for {duration(doubt.lost_for_ns)}.", Role.CRIT))]
    lines += [line(part) for text in told for part in wrapped(text, width, "   ")]
    if doubt.silence:
        text = f"{clean(story.provider)} has been silent for {duration(doubt.silent_for_ns)}: {clean(doubt.silence)}"
        lines += [line(Span(part, Role.WARN)) for part in wrapped(text, width, "   ")]
    return lines
