"""What an embedded simulated broker can be made to do, in words, and what was set so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .text import Line, Role, Span, clean, column, fit, line, percent

__all__ = ["FAULTS", "SHARES", "fault_lines"]

# The simulator's own names; all of them can be set to a share of the requests but `down`, which is all or nothing.
FAULTS: Final[Mapping[str, str]] = {
    "slow": "answers a second late",
    "hang": "does it, and never answers: the order is in doubt",
    "error_before_accept": "fails before it has done it",
    "error_after_accept": "fails after it has done it: the order is in doubt",
    "reset_before_read": "breaks the connection before it has read",
    "reset_after_accept": "does it, and breaks the connection: the order is in doubt",
    "unacknowledged": "does it, and confirms without an id",
    "bad_json": "answers what no program can read",
    "storm_429": "refuses: too many requests, with the advice to wait",
    "soft_429": "refuses in the body of a good answer",
    "firewall_429": "its firewall refuses, without a word of its own",
    "token_expired": "refuses the token",
    "maintenance": "is under maintenance",
    "down": "takes no connection",
}
SHARES: Final[Mapping[str, float]] = {"none": 0.0, "10 %": 0.1, "30 %": 0.3, "all": 1.0}


def fault_lines(
    shown: tuple[str, str, tuple[tuple[tuple[str, str], float], ...]], width: int, height: int | None = None
) -> list[Line]:
    """What the chosen fault means, and the faults that were set from here."""
    broker, kind, set_so_far = shown
    lines = [line(Span(f" {clean(broker)} {FAULTS.get(kind, clean(kind))}", Role.STRONG)), ()]
    lines += [
        line(
            Span(f" {column(clean(name), 12)}{column(clean(what), 24)}", Role.TEXT),
            Span(f"▲ in {percent(share)} of its requests", Role.WARN),
        )
        for (name, what), share in set_so_far
    ] or [line(Span(" no fault was set from here", Role.DIM))]
    return [fit(entry, width) for entry in lines][:height]
