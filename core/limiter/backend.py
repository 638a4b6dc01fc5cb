"""What the limiter asks of the place where its counts live. One test suite runs over every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..models import Budget
from .window import SlidingWindows

__all__ = ["Backend", "Lane", "Plan"]

Plan = tuple[SlidingWindows, ...]
"""The budgets that count one category: a request must fit all of them in one atomic take."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What one category does at a backend, as four calls; bound once, for they are the hot path.

    `take(cost, now_ns)`: places in every budget of the plan, or in none: a ticket of 0 or more, or -1.
    `settle(cost, anchor_ns, ticket)`: end a take at its response.
    `give_back(cost, ticket)`: undo a take whose request never left.
    `hold(cost, until_ns, ticket)`: keep a take in flight until `until_ns` and anchor it there.
    """

    take: Callable[[int, int], int]
    settle: Callable[[int, int, int], None]
    give_back: Callable[[int, int], None]
    hold: Callable[[int, int, int], None]


class Backend(Protocol):
    """The counts of every budget of one account.

    A backend is opened once, by the limiter that it is handed to. Every call is synchronous and finishes without
    waiting for a network: a backend for several hosts leases permits in batches ahead of time and spends them here.
    """

    @property
    def windows(self) -> Plan:
        """One for each budget, in their order; as fresh as the last call that took `now_ns`."""
        ...

    @property
    def found(self) -> bool:
        """Whether `open` found counts that outlived whoever kept them: what was saved elsewhere is among them."""
        ...

    @property
    def relook_ns(self) -> int:
        """How often to look again while others may give back unseen what they hold; 0 when nobody else can."""
        ...

    def open(self, budgets: Sequence[Budget], now_ns: int) -> None:
        """Make, or find, the counts of these budgets."""
        ...

    def close(self) -> None:
        """Let go of what `open` took. What is in flight stays counted."""
        ...

    def lane(self, plan: Plan) -> Lane:
        """The way through the budgets of `plan`, which are some of `windows`."""
        ...

    def refresh(self, now_ns: int) -> bool:
        """Bring `windows` up to date for reading; True when something held was anchored."""
        ...

    def next_change_ns(self) -> int | None:
        """The next instant at which something held is anchored; None when nothing is."""
        ...

    def editing(self, now_ns: int) -> AbstractContextManager[None]:
        """Inside the block `windows` may be changed, by nobody else, and are written back at its end."""
        ...
