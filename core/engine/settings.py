"""How patient the engine is."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..clock import MILLISECOND, MINUTE, SECOND

__all__ = ["EngineSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Durations in nanoseconds. Raises ValueError for a duration or a count below 1.

    `deadline_ns`: how long a placement, a change or a cancel may take where the caller names no deadline.
    `attempts_max`: sendings of one order, each proven not to be live before the next.
    `resend_absent`: place an order again whose absence at the broker is proven, while the caller's deadline stands;
    off, because by then the market the caller saw is gone.
    `ask_first_ns`, `ask_most_ns`: the pause between questions after a lost order doubles from the first to the second.
    `quarantine_after_ns`: how long a broker may fail to answer before its unknown orders are shouted about.
    `poll_least_ns`, `poll_most_ns`: one read of a broker's book serves all its open orders; the pause between two
    reads doubles while nothing changes.
    `recovery_ns`: how long a start waits for brokers to answer for the orders of the last run.
    `cancels_max`: cancels sent for one order that keeps resting, each after the book has shown it.
    `tick_ns`: how often `watch` looks whether something is due, and whether another process has halted.
    `recent_max`: ended orders kept in memory for the screen.
    """

    deadline_ns: int = 30 * SECOND
    attempts_max: int = 6
    resend_absent: bool = False
    ask_first_ns: int = 250 * MILLISECOND
    ask_most_ns: int = 8 * SECOND
    quarantine_after_ns: int = 30 * SECOND
    poll_least_ns: int = 2 * SECOND
    poll_most_ns: int = 15 * SECOND
    recovery_ns: int = MINUTE
    cancels_max: int = 4
    tick_ns: int = 250 * MILLISECOND
    recent_max: int = 1000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "resend_absent" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                message = f"EngineSettings.{field.name} is {value!r}; give a whole number of at least 1"
                raise ValueError(message)
