"""What would happen: shares and exhaustion times of the same demand, if a broker were drained or a limit changed.

A fluid model, in steps: the demand of a step is poured into the brokers so that their fullest windows stay level
(water-filling), as far as each one's windows allow; permits used before come back evenly until their window is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..clock import MINUTE, SECOND
from ..models import WindowHeadroom

__all__ = ["Projection", "what_if"]


@dataclass(frozen=True, slots=True)
class Projection:
    """What the model says. `shares` of the demand served sum to 1 (all 0 when nothing was served).

    `served`: the share of the demand that found a permit. `exhausted_in_ns`: when a broker first has no permit left,
    None when it keeps some through the horizon. `fullest`: the largest share that is gone of any window at the end.
    """

    shares: Mapping[str, float]
    exhausted_in_ns: Mapping[str, int | None]
    fullest: Mapping[str, float]
    served: float


@dataclass(slots=True)
class _Window:
    """`old` of the `gone` were used before the start and come back within `returning_s`; the rest is in `taken`."""

    permits: float
    window_s: float
    gone: float
    old: float
    returning_s: float
    taken: list[float] = field(default_factory=list)

    def fill(self) -> float:
        return self.gone / self.permits if self.permits else 1.0

    def room(self) -> float:
        return max(0.0, self.permits - self.gone)


def what_if(
    windows: Mapping[str, Sequence[WindowHeadroom]],
    demand_per_s: float,
    *,
    drained: Collection[str] = (),
    caps: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    horizon_ns: int = 2 * MINUTE,
    steps: int = 24,
) -> Projection:
    """Pour `demand_per_s` requests a second into the brokers of `windows` for `horizon_ns`.

    `drained`: these take nothing. `caps`: only this share (0..1) of each window of a broker may be used. `fixed`: the
    demand is not poured freely but split in these shares, as it is now. Raises ValueError for a demand below 0.

    One broker that takes 10 a second and one that takes 5: of 12 a second they carry two thirds and one third.

    >>> from core.models import Rate
    >>> def free(permits):
    ...     return (WindowHeadroom(budget="all", rate=Rate(permits, SECOND), used=0, in_flight=0, free=permits,
    ...                            next_free_in_ns=0, all_free_in_ns=0, soft=False),)
    >>> both = {"a": free(10), "b": free(5)}
    >>> {name: round(share, 2) for name, share in what_if(both, 12.0).shares.items()}
    {'a': 0.67, 'b': 0.33}
    >>> round(what_if(both, 12.0, drained=["a"]).served, 2)
    0.42
    """
    if not demand_per_s >= 0:
        message = f"demand_per_s is {demand_per_s!r}; give a number of at least 0"
        raise ValueError(message)
    step_s = horizon_ns / SECOND / steps
    pools = {
        name: [_start(window, (caps or {}).get(name, 1.0)) for window in counted]
        for name, counted in windows.items()
        if name not in drained
    }
    served = dict.fromkeys(windows, 0.0)
    exhausted: dict[str, int | None] = dict.fromkeys(windows)
    for step in range(steps):
        for counted in pools.values():
            for window in counted:
                _give_back(window, step, step_s)
        poured = _pour(pools, demand_per_s * step_s, step_s, fixed)
        for name, amount in poured.items():
            served[name] += amount
            for window in pools[name]:
                if window.window_s > step_s:
                    window.gone += amount
                    window.taken.append(amount)
                else:
                    window.gone = amount * window.window_s / step_s
            if exhausted[name] is None and any(window.fill() >= 0.999 for window in pools[name]):
                exhausted[name] = round((step + 1) * step_s * SECOND)
    total = sum(served.values())
    asked = demand_per_s * step_s * steps
    return Projection(
        shares={name: amount / total if total else 0.0 for name, amount in served.items()},
        exhausted_in_ns=exhausted,
        fullest={name: max((w.fill() for w in pools.get(name, [])), default=0.0) for name in windows},
        served=min(1.0, total / asked) if asked else 1.0,
    )


def _start(window: WindowHeadroom, cap: float) -> _Window:
    gone = float(window.used + window.in_flight)
    return _Window(
        window.rate.permits * cap, window.rate.window_ns / SECOND, gone, gone, window.all_free_in_ns / SECOND
    )


def _give_back(window: _Window, step: int, step_s: float) -> None:
    """Permits come back one window after their use; those used before the start evenly until the last is back."""
    if window.window_s <= step_s:
        window.gone = 0.0
        return
    if step and window.old:
        back = window.old * min(1.0, step_s / window.returning_s) if window.returning_s > 0 else window.old
        window.old -= back
        window.gone -= back
        window.returning_s -= step_s
    due = len(window.taken) - round(window.window_s / step_s)
    if due >= 0:
        window.gone = max(0.0, window.gone - window.taken[due])
        window.taken[due] = 0.0


def _pour(
    pools: Mapping[str, Sequence[_Window]], amount: float, step_s: float, fixed: Mapping[str, float] | None
) -> dict[str, float]:
    """Water-filling: raise the level of the fullest windows together until the demand is placed or all are full."""
    rooms = {name: min((_room(window, step_s) for window in counted), default=0.0) for name, counted in pools.items()}
    if fixed is not None:
        return {name: min(room, amount * fixed.get(name, 0.0)) for name, room in rooms.items()}
    # The level at which broker b is full to the brim is 1; from its present level it takes room / (1 - level) a level.
    levels = {name: max((_level(window, step_s) for window in pools[name]), default=1.0) for name in pools}
    slopes = {name: rooms[name] / (1.0 - levels[name]) if levels[name] < 1.0 else 0.0 for name in pools}
    marks = sorted({*levels.values(), 1.0})
    left, level = amount, marks[0]
    for low, high in pairwise(marks):
        slope = sum(slope for name, slope in slopes.items() if levels[name] <= low)
        if slope * (high - low) >= left:
            level = low + left / slope if slope else low
            left = 0.0
            break
        left -= slope * (high - low)
        level = high
    return {name: min(rooms[name], max(0.0, level - levels[name]) * slopes[name]) for name in pools}


def _room(window: _Window, step_s: float) -> float:
    return window.room() * max(1.0, step_s / window.window_s)


def _level(window: _Window, step_s: float) -> float:
    return 0.0 if window.window_s <= step_s else min(1.0, window.fill())
