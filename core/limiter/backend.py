"""What the limiter asks of the place where its counts live. One test suite runs over every backend."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ..models import Budget
from .window import SlidingWindows

__all__ = ["Backend", "Plan"]

Plan = tuple[SlidingWindows, ...]
"""The budgets that count one category: a request must fit all of them in one atomic take."""


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
    def relook_ns(self) -> int:
        """After how long a waiter must look again, since others may free a place unseen; 0 when nobody else can."""
        ...

    def open(self, budgets: Sequence[Budget], now_ns: int) -> None:
        """Make, or find, the counts of these budgets."""
        ...

    def close(self) -> None:
        """Let go of what `open` took. What is in flight stays counted."""
        ...

    def take(self, plan: Plan, cost: int, now_ns: int) -> int:
        """Take `cost` places in every budget of `plan`, or none: a ticket of 0 or more, or -1."""
        ...

    def give_back(self, plan: Plan, cost: int, ticket: int) -> None:
        """Undo a take whose request never left."""
        ...

    def settle(self, plan: Plan, cost: int, ticket: int, anchor_ns: int, now_ns: int) -> None:
        """Anchor a take at its response."""
        ...

    def hold(self, plan: Plan, cost: int, ticket: int, until_ns: int) -> None:
        """Keep a take in flight until `until_ns` and anchor it there."""
        ...

    def refresh(self, now_ns: int) -> None:
        """Bring `windows` up to date for reading."""
        ...

    def next_change_ns(self) -> int | None:
        """The next instant at which something held is anchored; None when nothing is."""
        ...

    def editing(self, now_ns: int) -> AbstractContextManager[None]:
        """Inside the block `windows` may be changed, by nobody else, and are written back at its end."""
        ...
