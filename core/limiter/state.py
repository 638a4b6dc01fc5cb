"""What survives a restart: the windows of a minute and longer, on the wall clock, in a few hundred numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from ..clock import MINUTE
from ..models import Budget
from .window import SlidingWindows

__all__ = ["LimiterState", "anchors_of", "unseen"]

VERSION: Final = 1
STEPS: Final = 240
"""Into how many steps each window is cut; an anchor is saved as the end of its step, up to 1/240 of a window late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterState:
    """Anchors by budget name as pairs (epoch nanoseconds, count), oldest first, and gates that were closed.

    `covers_until_epoch_ns`: until then requests may have been sent that this state does not know.
    """

    saved_epoch_ns: int
    covers_until_epoch_ns: int
    budgets: Mapping[str, tuple[tuple[int, int], ...]]
    opens_epoch_ns: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of JSON; integers only, so nothing is rounded."""
        return json.dumps(
            {
                "version": VERSION,
                "saved": self.saved_epoch_ns,
                "covers_until": self.covers_until_epoch_ns,
                "budgets": self.budgets,
                "opens": self.opens_epoch_ns,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The state that `to_json` wrote. Raises ValueError for anything else."""
        try:
            value: Any = json.loads(text)
            _known(value["version"])
            return cls(
                saved_epoch_ns=_whole(value["saved"]),
                covers_until_epoch_ns=_whole(value["covers_until"]),
                budgets={
                    str(name): tuple((_whole(at), _whole(count)) for at, count in anchors)
                    for name, anchors in value["budgets"].items()
                },
                opens_epoch_ns={str(name): _whole(at) for name, at in value["opens"].items()},
            )
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"this is no saved limiter state ({error}); start without it") from error


def _known(version: object) -> None:
    if version != VERSION:
        raise ValueError(f"version {version!r}, known is {VERSION}")


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number")
    return value


def anchors_of(windows: SlidingWindows, now_ns: int) -> tuple[tuple[int, int], ...]:
    """The anchors that still matter as pairs (monotonic nanoseconds, count), oldest first; in flight counts as now.

    Steps grow with age: 1/240 of the shortest saved window that an anchor of that age belongs to. The cost is a few
    bisections for each step, whatever the limit.
    """
    pairs = [(now_ns, windows.in_flight)] if windows.in_flight else []
    edge_ns = now_ns
    spans = sorted(span_ns for _, span_ns in windows.spans if span_ns >= MINUTE)
    counted, every = windows.younger(now_ns), windows.younger(now_ns - max(spans, default=0))
    if counted:
        pairs.append((now_ns, counted))
    for span_ns in spans:
        step_ns = span_ns // STEPS + 1
        while edge_ns > now_ns - span_ns and counted < every:
            below_ns = max(edge_ns - step_ns, now_ns - span_ns)
            count = windows.younger(below_ns)
            if count > counted:
                pairs.append((min(edge_ns, now_ns), count - counted))
                counted = count
            edge_ns = below_ns
    return tuple(reversed(pairs))


def unseen(budget: Budget, for_ns: int) -> int:
    """The most that the limits let through in `for_ns`."""
    if for_ns <= 0:
        return 0
    return min(rate.permits * (for_ns // rate.window_ns + 1) for rate in budget.rates)
