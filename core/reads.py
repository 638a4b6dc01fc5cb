"""Identical reads share one answer: those in flight together, and, where the operator says so, those shortly after.

A read never shares an answer that was asked for before an order of ours ended: who trades and then looks must see what
he did.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from .clock import Clock
from .errors import HeadroomError, OrderOutcomeUnknown, PermitTimeout

__all__ = ["SharedReads", "ended_early"]

KEPT_MAX: Final = 256


def ended_early(error: HeadroomError, deadline_ns: int, now_ns: int) -> bool:
    """Whether a read failed by the deadline of who asked: one who has more time left asks again for himself."""
    return isinstance(error, PermitTimeout) or (isinstance(error, OrderOutcomeUnknown) and now_ns >= deadline_ns)


@dataclass(slots=True)
class _Flight:
    """A read under way, and who may wait for it. `left` once it was sent: until then it cannot have missed anything."""

    deadline_ns: int
    left: bool = False
    done: anyio.Event = field(default_factory=anyio.Event)
    value: Any = None
    error: HeadroomError | None = None
    answered: bool = False


class SharedReads:
    """One request for all who ask the same at the same time. `shared` counts the requests that were saved."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flights: dict[Hashable, _Flight] = {}
        self._kept: dict[Hashable, tuple[int, Any]] = {}
        self.shared = 0

    async def get(
        self,
        key: Hashable,
        fetch: Callable[[Callable[[], None]], Awaitable[Any]],
        *,
        deadline_ns: int,
        max_age_ns: int = 0,
    ) -> Any:
        """The answer to `key`: one not older than `max_age_ns`, one under way, or a fresh one from `fetch`.

        `fetch` is handed what it calls when the request leaves.

        Raises what `fetch` raises. Who waits for another's request that was cancelled, or that ran out of its own
        deadline, asks again for himself.
        """
        while True:
            kept = self._kept.get(key)
            if max_age_ns and kept is not None and self._clock.now_ns() - kept[0] <= max_age_ns:
                self.shared += 1
                return kept[1]
            flight = self._flights.get(key)
            if flight is None or flight.deadline_ns > deadline_ns:
                return await self._fetch(key, fetch, deadline_ns, keep=bool(max_age_ns))
            await flight.done.wait()
            if flight.answered:
                self.shared += 1
                return flight.value
            if flight.error is not None and not ended_early(flight.error, flight.deadline_ns, self._clock.now_ns()):
                raise flight.error

    async def _fetch(
        self, key: Hashable, fetch: Callable[[Callable[[], None]], Awaitable[Any]], deadline_ns: int, *, keep: bool
    ) -> Any:
        flight = self._flights[key] = _Flight(deadline_ns)

        def leaves() -> None:
            flight.left = True

        try:
            flight.value = await fetch(leaves)
        except HeadroomError as error:
            flight.error = error
            raise
        else:
            flight.answered = True
            if keep and self._flights.get(key) is flight:
                if len(self._kept) >= KEPT_MAX:
                    self._kept.clear()
                self._kept[key] = (self._clock.now_ns(), flight.value)
            return flight.value
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.done.set()

    def forget(self) -> None:
        """An order of ours has ended: no read from now on may share what was asked before.

        One that still waits for its permit will be asked after it, and sees it.
        """
        if self._flights:
            self._flights = {key: flight for key, flight in self._flights.items() if not flight.left}
        self._kept.clear()
