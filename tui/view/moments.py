"""Moments as an operator says them: `3m` ago, `+90s` from the start, `12:03:10` in India, `start`, `end`."""

from __future__ import annotations

import re
from typing import Final

from core.clock import DAY, HOUR, MINUTE, SECOND

from .text import IST_OFFSET_NS

__all__ = ["MOMENT_FORM", "moment_ns"]

MOMENT_FORM: Final = "3m or 90s before the end, +2m from the start, a time of day such as 12:03:10, start or end"
_UNITS: Final = {"s": SECOND, "m": MINUTE, "min": MINUTE, "h": HOUR}
_SPAN: Final = re.compile(r"([+-]?)(\d{1,6}(?:\.\d{1,3})?) ?(s|m|min|h)")
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def moment_ns(text: str, first_ns: int, last_ns: int, last_epoch_ns: int) -> int:
    """The time meant, inside `first_ns` to `last_ns`; `last_epoch_ns` is the wall clock at the end.

    A time of day is the last such time before the end. Raises ValueError, with what could be said instead, for text
    that says no moment, and for one before the start.

    >>> moment_ns("90s", 0, 600 * SECOND, 0) // SECOND, moment_ns("+1m", 0, 600 * SECOND, 0) // SECOND
    (510, 60)
    """
    asked = text.strip().lower()
    if asked in {"start", "end", "now"}:
        return first_ns if asked == "start" else last_ns
    if found := _SPAN.fullmatch(asked):
        sign, number, unit = found.groups()
        span_ns = round(float(number) * _UNITS[unit])
        at_ns = first_ns + span_ns if sign == "+" else last_ns - span_ns
    elif found := _TIME.fullmatch(asked):
        hour, minute, second = (int(part or 0) for part in found.groups())
        if hour > 23 or minute > 59 or second > 59:
            message = f"{text.strip()!r} is no time of day"
            raise ValueError(message)
        wanted_ns = (hour * 3600 + minute * 60 + second) * SECOND
        # The whole second is meant: its last picture, not the one that happens to stand at its very beginning.
        at_ns = last_ns - ((last_epoch_ns + IST_OFFSET_NS) % DAY - wanted_ns) % DAY + SECOND - 1
        if at_ns - last_ns >= SECOND:
            at_ns -= DAY
    else:
        message = f"{text.strip()[:40]!r} is no moment: write {MOMENT_FORM}"
        raise ValueError(message)
    if at_ns < first_ns or at_ns - last_ns >= SECOND:
        message = f"{text.strip()!r} lies outside what is kept"
        raise ValueError(message)
    return min(at_ns, last_ns)
