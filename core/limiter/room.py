"""Where callers wait for a permit: one line, one timer for all of them, no polling, one wake-up for each permit."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping
from typing import Final

from ..clock import Cancellable, Clock
from ..errors import PermitTimeout, QueueFull
from ..models import Priority
from .backend import Backend
from .line import Waiter, WaitingLine
from .permit import Entry, Permit
from .window import SlidingWindows

__all__ = ["WaitingRoom", "milliseconds"]

GRANTS_AT_ONCE: Final = 16
"""After so many the granted go first: the first of a crowd is not held up until the last has its permit."""


class WaitingRoom:
    """Grants permits in turn. Everything but `wait` is synchronous: nothing can step between a look and a take.

    A waiter that cannot have its turn keeps the budgets that refuse it from everyone behind it, and no others: an order
    that waits for the orders' budget does not hold up reads that fit their own.
    """

    def __init__(self, clock: Clock, backend: Backend, *, label: str, waiters_max: int) -> None:
        self._clock = clock
        self._backend = backend
        self._label = label
        self._waiters_max = waiters_max
        self._entries: Mapping[str, Entry] = {}
        self._line = WaitingLine(())
        self._deadlines: list[tuple[int, int, Waiter]] = []
        self._timer: Cancellable | None = None
        self._timer_ns = 0
        self.hangs_on_answer = False  # somebody waits for an answer, not for a time
        self.waiting = 0
        self.waited = 0
        self.timeouts = 0

    def open(self, entries: Mapping[str, Entry]) -> None:
        """Take the entries that callers may wait for."""
        self._entries = entries
        self._line = WaitingLine(entries)

    async def wait(self, category: str, cost: int, priority: Priority, deadline_ns: int | None) -> Permit:
        """Wait in line. Raises PermitTimeout as soon as the deadline is hopeless, and QueueFull."""
        now_ns = self._clock.now_ns()
        if self.waiting >= self._waiters_max:
            raise QueueFull(f"{self._label}: {self._waiters_max} callers wait already; slow the caller or add a broker")
        self._backend.refresh(now_ns)
        if deadline_ns is not None:
            free_ns = self.earliest_ns(category, cost, priority, now_ns)
            if now_ns > deadline_ns or free_ns > deadline_ns:
                raise self._timeout(category, now_ns, deadline_ns, free_ns, now_ns)
        granted: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        waiter = Waiter(category, cost, priority, since_ns=now_ns, deadline_ns=deadline_ns, granted=granted)
        behind = deadline_ns is None and self._line.cost_ahead(category, priority) > 0
        self._line.join(waiter)
        self.waiting += 1
        if deadline_ns is not None:
            heapq.heappush(self._deadlines, (deadline_ns, waiter.serial, waiter))
        if not behind:  # behind another of its category it changes neither whose turn it is nor the timer
            self.serve()
        try:
            return await granted
        except asyncio.CancelledError:
            # The permit may have been granted in the same pass of the loop in which the wait was cancelled.
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().give_back()
            else:
                self._leave(waiter)
                self.serve()
            raise

    def must_queue(self, category: str, now_ns: int) -> bool:
        """Whether a newcomer of `category` would take from someone who waits."""
        if not self.waiting:
            return False
        if self._line.waits(category):
            return True
        self._backend.refresh(now_ns)
        plan = set(self._entries[category].plan)
        skip: set[str] = set()
        while (first := self._line.next(skip)) is not None:
            skip.add(first.category)
            refusing = self._entries[first.category].refusing(first.cost, now_ns)
            if not refusing or not plan.isdisjoint(refusing):
                return True
        return False

    def earliest_ns(self, category: str, cost: int, priority: int, now_ns: int) -> int:
        """No later than the instant at which a newcomer of `priority` can be served, those ahead of it included."""
        return self._entries[category].earliest_ns(cost + self._line.cost_ahead(category, priority), now_ns)

    def ahead(self, category: str, priority: int) -> int:
        """The permits that go before a newcomer of `priority` in any budget that counts `category`."""
        plan = set(self._entries[category].plan)
        return sum(
            self._line.cost_ahead(other, priority)
            for other, entry in self._entries.items()
            if not plan.isdisjoint(entry.plan)
        )

    def serve(self) -> None:
        """Grant what fits, in turn, a few at a time, and set the timer for whoever is first after that."""
        if not self.waiting:
            if self._timer is not None or self._deadlines:
                self.stop()
            return
        now_ns = self._clock.now_ns()
        self._end_overdue(now_ns)
        self._backend.refresh(now_ns)
        self._set_timer(self._grant_in_turn(now_ns))

    def _grant_in_turn(self, now_ns: int) -> list[int]:
        """Grant what fits; the instants at which to look again."""
        self.hangs_on_answer = False
        instants: list[int] = []
        blocked: set[SlidingWindows] = set()
        skip: set[str] = set()
        granted = 0
        while (waiter := self._line.next(skip)) is not None:
            if granted == GRANTS_AT_ONCE:
                instants.append(now_ns)  # to go on in the next pass of the loop
                break
            if not _waits(waiter):
                self._leave(waiter)  # cancelled in this pass of the loop, and not yet run
                continue
            entry = self._entries[waiter.category]
            if not blocked.isdisjoint(entry.plan):
                skip.add(waiter.category)
                continue
            ticket = entry.take(waiter.cost, now_ns)
            if ticket >= 0:
                self._grant(waiter, entry.permit(waiter.cost, ticket))
                granted += 1
                continue
            free_ns = entry.free_at(waiter.cost, now_ns)
            if free_ns is not None and waiter.deadline_ns is not None and free_ns > waiter.deadline_ns:
                self._time_out(waiter, now_ns)
                continue
            skip.add(waiter.category)
            blocked.update(entry.refusing(waiter.cost, now_ns))
            if free_ns is None:
                self.hangs_on_answer = True
            else:
                instants.append(free_ns)
            if self._backend.relook_ns and any(windows.in_flight for windows in entry.plan):
                # Another process may give back what it holds, and nobody would tell us.
                instants.append(now_ns + self._backend.relook_ns)
        return instants

    def closed(self, now_ns: int) -> None:
        """A gate was closed or a limit lowered: fail at once whoever cannot be served in time any more."""
        for waiter in list(self._line):
            entry = self._entries[waiter.category]
            if waiter.deadline_ns is not None and entry.earliest_ns(waiter.cost, now_ns) > waiter.deadline_ns:
                self._time_out(waiter, now_ns)
        self.serve()

    def fail_costs_above(self, error_of: Mapping[str, tuple[int, Exception]]) -> None:
        """Fail every waiter whose cost is above its category's largest, with that category's error."""
        for waiter in list(self._line):
            largest, error = error_of[waiter.category]
            if waiter.cost > largest:
                self._fail(waiter, error)

    def stop(self) -> None:
        """Drop the timer and what is left of deadlines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._deadlines.clear()
        self.hangs_on_answer = False

    def _grant(self, waiter: Waiter, permit: Permit) -> None:
        self._line.serve(waiter)
        self.waiting -= 1
        self.waited += 1
        waiter.granted.set_result(permit)

    def _leave(self, waiter: Waiter) -> None:
        if self._line.leave(waiter):
            self.waiting -= 1
            if len(self._deadlines) > 2 * self.waiting + 64:
                # Those who left keep their entry in the heap until its time: sweep when most of it is theirs.
                self._deadlines = [entry for entry in self._deadlines if _waits(entry[2])]
                heapq.heapify(self._deadlines)

    def _fail(self, waiter: Waiter, error: Exception) -> None:
        self._leave(waiter)
        if not waiter.granted.done():
            waiter.granted.set_exception(error)

    def _time_out(self, waiter: Waiter, now_ns: int) -> None:
        free_ns = self._entries[waiter.category].earliest_ns(waiter.cost, now_ns)
        self._fail(
            waiter, self._timeout(waiter.category, waiter.since_ns, waiter.deadline_ns or now_ns, free_ns, now_ns)
        )

    def _timeout(self, category: str, since_ns: int, deadline_ns: int, free_ns: int, now_ns: int) -> PermitTimeout:
        self.timeouts += 1
        free_in_ns = max(0, free_ns - now_ns)
        return PermitTimeout(
            f"{self._label}: no permit for {category} within {milliseconds(max(0, deadline_ns - since_ns))} ms, the "
            f"next one is free in {milliseconds(free_in_ns)} ms; raise the deadline, slow the caller or add a broker",
            free_in_ns=free_in_ns,
        )

    def _end_overdue(self, now_ns: int) -> None:
        while self._deadlines and (self._deadlines[0][0] < now_ns or not _waits(self._deadlines[0][2])):
            waiter = heapq.heappop(self._deadlines)[2]
            if _waits(waiter):
                self._time_out(waiter, now_ns)

    def _set_timer(self, instants: list[int]) -> None:
        change_ns = self._backend.next_change_ns()
        if change_ns is not None:
            instants.append(change_ns)
        if self._deadlines:
            instants.append(self._deadlines[0][0] + 1)  # at the deadline itself a permit is still in time
        at_ns = min(instants, default=None)
        if self._timer is not None:
            if self._timer_ns == at_ns:
                return
            self._timer.cancel()
            self._timer = None
        if at_ns is not None and self.waiting:
            self._timer_ns = at_ns
            self._timer = self._clock.call_at_ns(at_ns, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.serve()


def _waits(waiter: Waiter) -> bool:
    return not waiter.granted.done()


def milliseconds(ns: int) -> str:
    """Nanoseconds as milliseconds for a message: whole ones from 10 ms on."""
    return f"{ns / 1_000_000:.0f}" if ns >= 10_000_000 else f"{ns / 1_000_000:g}"
