"""Long work in slices, on a loop that orders need: whoever is busy there meanwhile gets most of it."""

from __future__ import annotations

import asyncio
from typing import Final

from .clock import MILLISECOND, Clock

__all__ = ["Slices"]

_PAUSE_PER_SLICE: Final = 8
_PAUSE_MOST_NS: Final = 30 * MILLISECOND


class Slices:
    """One piece of long work, from its beginning. `pause` between two slices of about a millisecond.

    One pass of the loop between two slices is not enough: an order needs some ten passes on its way, and each would be
    longer by a slice. So while others keep the loop busy, a slice is followed by a pause of eight times its length, at
    most 30 ms; where nobody else has anything to do, by one pass. On a clock that stands still while the loop works it
    is always that.
    """

    __slots__ = ("_began_ns", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ns = clock.now_ns()

    async def pause(self) -> None:
        """Let the others go first."""
        clock = self._clock
        done_ns = clock.now_ns()
        slice_ns = done_ns - self._began_ns
        await asyncio.sleep(0)
        now_ns = clock.now_ns()
        if _PAUSE_PER_SLICE * (now_ns - done_ns) > slice_ns:
            await clock.sleep_until_ns(now_ns + min(_PAUSE_PER_SLICE * slice_ns, _PAUSE_MOST_NS))
        self._began_ns = clock.now_ns()
