"""Who may send now, and who waits: the one class that the rest of headroom sees of the limiter."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from ..clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Clock, SystemClock
from ..errors import CostTooHigh, RateLimited, UnknownCategory
from ..models import Budget, Category, Incident, Priority, Rate, WindowForecast, WindowHeadroom, WindowRoom
from .backend import Backend, Plan
from .memory import MemoryBackend
from .permit import TAKEN, Entry, Permit
from .refusal import RefusalMemory
from .report import Forecasts, Look, analytics_of, headroom_of, windows_of
from .room import WaitingRoom, milliseconds
from .stamps import ServerClock
from .state import LimiterState, anchors_of, unseen

__all__ = ["EnhancedRateLimiter"]

INCIDENTS_KEPT: Final = 64
_new: Final = tuple.__new__  # what a named tuple calls, without the call around it
ONE: Final = 1
"""The usual cost. There is one object of it, so that `is` tells it from True and 1.0 at no cost."""


class EnhancedRateLimiter:
    """Keeps every window of every budget of one broker account, so that the broker never sees more than it allows.

    Limits are given as four numbers, or as `budgets`. Times are whole nanoseconds; a `deadline_ns` is an instant of
    `clock.now_ns()`. All calls belong to one event loop; only waiting needs it to run.

    `server_stamps` lets a broker's own time stamps free permits sooner (see stamps.py), `stamp_resolution_ns` is their
    step. `arrives_within_ns`: how long a request without an answer may still arrive when nobody says better.

    Raises ValueError for limits that are no whole numbers of at least 1, for no limit at all, and when both ways of
    giving limits are used at once.
    """

    def __init__(
        self,
        requests_per_second: int | None = 10,
        requests_per_minute: int | None = None,
        requests_per_hour: int | None = None,
        requests_per_day: int | None = None,
        *,
        budgets: Sequence[Budget] | None = None,
        name: str = "",
        clock: Clock | None = None,
        backend: Backend | None = None,
        max_waiters: int = 10_000,
        server_stamps: bool = False,
        stamp_resolution_ns: int = MILLISECOND,
        arrives_within_ns: int = 10 * SECOND,
    ) -> None:
        given = (requests_per_second, requests_per_minute, requests_per_hour, requests_per_day)
        if budgets is None:
            budgets = _one_budget(given)
        elif given != (10, None, None, None):
            raise ValueError("give either budgets or requests_per_..., not both")
        _check_budgets(budgets)
        if max_waiters < 1:
            raise ValueError(f"max_waiters is {max_waiters}; give a whole number of at least 1")
        self.name = name
        self._label = name or "limiter"
        self.clock: Clock = SystemClock() if clock is None else clock
        self._now_ns = self.clock.now_ns
        self._backend: Backend = MemoryBackend() if backend is None else backend
        self._backend.open(budgets, self._now_ns())
        self._room = WaitingRoom(self.clock, self._backend, label=self._label, waiters_max=max_waiters)
        server_clock = ServerClock(stamp_resolution_ns) if server_stamps else None
        self._entries: dict[str, Entry] = {}
        for category in sorted(frozenset[str]().union(*(budget.categories for budget in budgets))):
            plan = tuple(windows for windows in self._backend.windows if category in windows.budget.categories)
            self._entries[category] = Entry(
                plan,
                tuple(windows for windows in self._backend.windows if windows not in plan),
                self._backend.lane(plan),
                self._room,
                now_ns=self._now_ns,
                server_clock=server_clock,
                arrives_within_ns=arrives_within_ns,
            )
        self._room.open(self._entries)
        self._default = Category.ORDERS if Category.ORDERS in self._entries else next(iter(self._entries))
        self._default_budgets = frozenset(windows.budget.name for windows in self._entries[self._default].plan)
        self._recorded = 0
        self._refusals = 0
        self._refusal_memory = RefusalMemory()
        self._cap = 1.0
        self.incidents: deque[Incident] = deque(maxlen=INCIDENTS_KEPT)

    # Taking -----------------------------------------------------------------------------------------------------------

    def try_acquire(self, category: str = Category.ORDERS, cost: int = 1) -> Permit | None:
        """A permit if there is one now, else None. Goes past nobody who waits for the same budgets.

        Raises UnknownCategory; CostTooHigh when no wait could help; ValueError for a cost that is no whole number of at
        least 1.
        """
        try:
            entry = self._entries[category]
        except KeyError:
            entry = self._checked(category, cost)
        if cost is not ONE:
            self._checked(category, cost)
        # The hot path: `now` and `take` are fetched before they are called, for CPython 3.11 looks for a method of that
        # name first when it calls straight through an attribute. The permit is made as Entry.permit makes it.
        now = self._now_ns
        now_ns = now()
        if self._room.waiting and self._room.must_queue(category, now_ns):
            return None
        take = entry.take
        ticket = take(cost, now_ns)
        if ticket < 0:
            # A request without an answer may have become too old to arrive since somebody last looked.
            if not self._backend.refresh(now_ns):
                return None
            ticket = take(cost, now_ns)
            if ticket < 0:
                return None
        entry.taken += cost
        permit = Permit()
        permit._entry = entry
        permit._ticket = ticket
        permit._state = TAKEN
        permit.cost = cost
        return permit

    async def acquire(
        self,
        category: str = Category.ORDERS,
        cost: int = 1,
        priority: Priority = Priority.READ,
        deadline_ns: int | None = None,
    ) -> Permit:
        """Wait for a permit, in the order of priority and arrival.

        With a deadline, raises PermitTimeout as soon as it is sure that no permit comes in time: at once for a deadline
        that has passed or that those ahead already fill, else when it passes. Raises QueueFull when `max_waiters` wait,
        and what `try_acquire` raises. When a permit is free it is taken without a pass of the event loop. A cancelled
        wait takes nothing.
        """
        if not self._room.waiting and (deadline_ns is None or self._now_ns() <= deadline_ns):
            permit = self.try_acquire(category, cost)
            if permit is not None:
                return permit
        self._checked(category, cost)
        return await self._room.wait(category, cost, priority, deadline_ns)

    @asynccontextmanager
    async def permit(
        self,
        category: str = Category.ORDERS,
        cost: int = 1,
        priority: Priority = Priority.READ,
        deadline_ns: int | None = None,
    ) -> AsyncIterator[Permit]:
        """`acquire` as a block; at its end the permit ends itself (see Permit)."""
        with await self.acquire(category, cost, priority, deadline_ns) as permit:
            yield permit

    def time_to_available_ns(
        self, category: str = Category.ORDERS, cost: int = 1, priority: Priority = Priority.READ
    ) -> int:
        """Nanoseconds until a newcomer could have `cost` permits; 0 exactly when `try_acquire` would give them now.

        Reckons with those who wait ahead, and takes what is in flight as answered now: it may take longer, not less,
        unless somebody ahead gives up. Raises what `try_acquire` raises.
        """
        self._checked(category, cost)
        now_ns = self._now_ns()
        self._backend.refresh(now_ns)
        free_ns = self._room.earliest_ns(category, cost, priority, now_ns)
        if free_ns > now_ns:
            return free_ns - now_ns
        return 1 if self._room.must_queue(category, now_ns) else 0

    def look(  # noqa: C901 - one pass, in one frame: it is made for every broker and choice
        self,
        category: str = Category.ORDERS,
        cost: int = 1,
        priority: Priority = Priority.READ,
        now_ns: int | None = None,
    ) -> Look:
        """All that a router asks before it chooses, in one go. Changes nothing; raises what `try_acquire` raises.

        `now_ns` is the time, from whoever has just asked the clock.
        """
        entry = self._entries.get(category)
        if entry is None or cost is not ONE:
            entry = self._checked(category, cost)
        if now_ns is None:
            now_ns = self._now_ns()
        self._backend.refresh(now_ns)
        in_flight, limited, least = 0, False, cost
        rooms: list[WindowRoom] = []
        for windows in entry.plan:
            taken = windows.taken
            if taken - windows.head > in_flight:  # noqa: PLR1730 - max() and properties cost double
                in_flight = taken - windows.head
            if windows.opens_ns > now_ns:
                limited = True
            for tally in windows.tallies or windows.begin_tallies():
                free = tally.spare - taken
                if now_ns >= tally.leaves_ns:
                    free = windows.count(tally, now_ns)
                if free < least:  # noqa: PLR1730 - as above
                    least = free
                rooms.append((free, tally.limit, tally.window_ns))
        for windows in entry.beside:
            in_flight = max(in_flight, windows.in_flight)
            if windows.opens_ns > now_ns:
                limited = True
        if least < 0:  # more in flight, or recorded, than a limit allows
            rooms = [(max(0, free), limit, window_ns) for free, limit, window_ns in rooms]
        wait_ns = ahead = 0
        if limited or least < cost or self._room.waiting:
            ahead = self._room.ahead(category, priority)
            wait_ns = self.time_to_available_ns(category, cost, priority)
        return _new(Look, (wait_ns, ahead, in_flight, limited, tuple(rooms)))

    # How it stands ----------------------------------------------------------------------------------------------------

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """What is kept."""
        return tuple(windows.budget for windows in self._backend.windows)

    @property
    def waiting(self) -> int:
        """Callers that wait for a permit."""
        return self._room.waiting

    @property
    def in_flight(self) -> int:
        """Permits taken and not answered, in the budget that has most of them."""
        return self.standing()[1]

    @property
    def limited_for_ns(self) -> int:
        """For how long the gate stays closed by what a broker said; 0 when it is open."""
        return self.standing()[0]

    def standing(self) -> tuple[int, int]:
        """`limited_for_ns` and `in_flight` in one look."""
        now_ns = self._now_ns()
        self._backend.refresh(now_ns)
        in_flight, opens_ns = 0, now_ns
        for windows in self._backend.windows:
            its_in_flight = windows.in_flight
            if its_in_flight > in_flight:  # noqa: PLR1730 - asked of every broker for each picture; max() costs double
                in_flight = its_in_flight
            if windows.opens_ns > opens_ns:  # noqa: PLR1730 - as above
                opens_ns = windows.opens_ns
        return opens_ns - now_ns, in_flight

    @property
    def cap(self) -> float:
        """The share of every limit that may be used."""
        return self._cap

    def set_cap(self, share: float) -> None:
        """Use only this share of every limit (at least 1 permit of each) until it is set again.

        A waiter whose cost is above what is left gets CostTooHigh. Raises ValueError unless 0 < share <= 1.
        """
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise ValueError(f"cap is {share!r}; give a number above 0 and at most 1")
        self._cap = float(share)
        for windows in self._backend.windows:
            windows.set_share(self._cap)
        self._room.fail_costs_above(
            {
                category: (entry.largest_cost, self._cost_too_high(category, "a request that waits"))
                for category, entry in self._entries.items()
            }
        )
        self._room.closed(self._now_ns())

    def headroom(self, category: str | None = None, *, forecasts: Forecasts = True) -> tuple[WindowHeadroom, ...]:
        """Every window of every budget as it stands now, or of those that count `category`, in the order given.

        With a cap, `rate` is what may be used of the limit. A router that chooses needs no `forecasts`, and they are
        half the cost; who has others hands them in. Changes nothing.
        """
        now_ns = self._now_ns()
        self._backend.refresh(now_ns)
        plan = self._backend.windows if category is None else self._checked(category, 1).plan
        return headroom_of(plan, now_ns, forecasts=forecasts)

    def rooms(self) -> tuple[WindowRoom, ...]:
        """What every window of every budget has left, in the order of `headroom()`."""
        now_ns = self._now_ns()
        self._backend.refresh(now_ns)
        return tuple(
            (windows.free(tally, now_ns), tally.limit, tally.window_ns)
            for windows in self._backend.windows
            for tally in windows.tallies or windows.begin_tallies()
        )

    def forecast(self) -> tuple[WindowForecast, ...]:
        """When each window runs out at its present rate, in the order of `headroom()`."""
        return tuple(window.forecast for window in self.headroom())

    # The seed's API ---------------------------------------------------------------------------------------------------

    def is_rate_limited(self, category: str | None = None) -> bool:
        """Whether a request of `category` (orders when not given) would have to wait."""
        category = category or self._default
        if self._room.waiting:
            return self.time_to_available_ns(category) > 0
        entry = self._entries.get(category) or self._checked(category, 1)
        now_ns = self._now_ns()
        self._backend.refresh(now_ns)
        for windows in entry.plan:  # noqa: SIM110 - all() over a generator would cost more than the looks
            if not windows.fits(1, now_ns):
                return True
        return False

    def record_request(self, category: str | None = None) -> None:
        """Count one request that was sent and answered now; above the limit too, for it has happened."""
        category = category or self._default
        entry = self._entries.get(category) or self._checked(category, 1)
        now_ns = self._now_ns()
        with self._backend.editing(now_ns):
            for windows in entry.plan:
                windows.add(1, now_ns)
        self._recorded += 1

    def is_approaching_limit(self) -> bool:
        """Whether any window is used to 80 % or more."""
        return any(window.soft for window in self.headroom(forecasts=False))

    def get_status(self, headroom: Sequence[WindowHeadroom] = ()) -> dict[str, Any]:
        """How it stands, as plain JSON values; `headroom` spares the look of whoever has just looked.

        `name`, `limited` (a request would wait), `approaching_limit`, `limited_for_ms` (the gate), `waiting`,
        `in_flight`, `cap`, and `windows`: for each "<budget> <limit>/<window>" its `limit`, `used`, `in_flight`,
        `free`, `usage_percentage` (0..100), `next_free_ms` and `all_free_ms` from now.
        """
        headroom = headroom or self.headroom(forecasts=False)
        limited = approaching = False
        for window in headroom:
            if window.soft:
                approaching = True
            if window.next_free_in_ns and window.budget in self._default_budgets:
                limited = True
        limited_for_ns, in_flight = self.standing()
        return {
            "name": self.name,
            "limited": self.is_rate_limited() if self._room.waiting else limited,
            "approaching_limit": approaching,
            "limited_for_ms": limited_for_ns / MILLISECOND,
            "waiting": self._room.waiting,
            "in_flight": in_flight,
            "cap": self._cap,
            "windows": windows_of(headroom),
        }

    def get_analytics(self) -> dict[str, Any]:
        """What a report wants to know, as plain JSON values; windows are named as in `get_status`.

        `usage_percentage`: per window 0..100. `usage_percentage_max`: the fullest window's. `approaching_limit`.
        `requests_total`: permits taken and requests recorded since the start, given back ones not counted. `waited`:
        those that had to wait. `timeouts`. `refusals`: by the broker. `forecast`: per window seconds to exhaustion at
        the present rate, None when it does not come to that. `rate_per_s`: per window the present rate.
        """
        headroom = self.headroom()
        return {
            "name": self.name,
            **analytics_of(headroom),
            "requests_total": self._recorded + sum(entry.taken for entry in self._entries.values()),
            "waited": self._room.waited,
            "timeouts": self._room.timeouts,
            "refusals": self._refusals,
        }

    # What the broker says ---------------------------------------------------------------------------------------------

    @property
    def refusals(self) -> int:
        """How often the broker said that we are above a limit: 0 is what the limiter is for."""
        return self._refusals

    def refused(self, error: RateLimited, *, category: str | None = None) -> None:
        """Learn from a 429: close the gate for as long as the broker says, and keep the evidence.

        Without advice the gate closes for the shortest window that explains the refusal. With `category` only the
        budgets that count it are closed; a day block closes everything.
        """
        now_ns = self._now_ns()
        plan = self._plan(category)
        self._refusals += 1
        self._backend.refresh(now_ns)
        closing = self._refusal_memory.explain(error, plan, self._backend.windows, now_ns)
        self._close(closing.plan, now_ns + closing.for_ns, now_ns)
        self.incidents.append(
            Incident(
                at_ns=now_ns,
                kind="rate_limited",
                provider=error.provider or self.name,
                message=f"{error}; closed for {milliseconds(closing.for_ns)} ms ({closing.reason})",
                evidence=error.evidence,
            )
        )

    def close_for_ns(self, for_ns: int, *, category: str | None = None) -> None:
        """Let nothing through for so long: what `Retry-After` and its kin ask for. Never opens a closed gate sooner.

        With `category` only the budgets that count it are closed. Raises ValueError when the time is negative.
        """
        if for_ns < 0:
            raise ValueError(f"close_for_ns got {for_ns}; give 0 or more")
        now_ns = self._now_ns()
        plan = self._plan(category)
        self._close(plan, now_ns + for_ns, now_ns)

    def observe_quota(
        self, remaining: int, *, window_ns: int, resets_in_ns: int | None = None, category: str | None = None
    ) -> None:
        """Learn from a remaining-quota header: whatever the broker counted and we did not is entered as used now.

        So somebody else's use of the account is kept too. With nothing remaining and `resets_in_ns` given, the gate
        closes until then. Raises ValueError for a negative `remaining`.
        """
        if remaining < 0:
            raise ValueError(f"remaining is {remaining}; give 0 or more")
        now_ns = self._now_ns()
        plan = self._checked(category or self._default, 1).plan
        with self._backend.editing(now_ns):
            for windows in plan:
                for rate, (_, span_ns) in zip(windows.budget.rates, windows.spans, strict=True):
                    if rate.window_ns == window_ns:
                        ours = windows.younger(now_ns - span_ns) + windows.in_flight
                        windows.add(max(0, rate.permits - remaining - ours), now_ns)
        if remaining == 0 and resets_in_ns is not None:
            self._close(plan, now_ns + max(0, resets_in_ns), now_ns)

    # Restart ----------------------------------------------------------------------------------------------------------

    def save_state(self, *, next_within_ns: int = 10 * SECOND, final: bool = False) -> LimiterState:
        """What a restart must know of the windows of a minute and longer.

        `next_within_ns` is the caller's promise: within it a newer state is stored, or this process sends no more.
        After a crash, as much as the limits allow in that time counts as used. With `final` the gate closes for good,
        so that nothing at all is sent after the save; not for other processes that share the counts.
        """
        now_ns = self._now_ns()
        if final and not self._backend.relook_ns:
            self._close(self._backend.windows, now_ns + 366 * DAY, now_ns)
        self._backend.refresh(now_ns)
        epoch_ns = self.clock.epoch_ns()
        return LimiterState(
            saved_epoch_ns=epoch_ns,
            covers_until_epoch_ns=epoch_ns if final else epoch_ns + next_within_ns,
            budgets={
                windows.budget.name: tuple(
                    (epoch_ns + anchor_ns - now_ns, count) for anchor_ns, count in anchors_of(windows, now_ns)
                )
                for windows in self._backend.windows
                if any(rate.window_ns >= MINUTE for rate in windows.budget.rates)
            },
            opens_epoch_ns={
                windows.budget.name: epoch_ns + windows.opens_ns - now_ns
                for windows in self._backend.windows
                if windows.opens_ns > now_ns and not final
            },
        )

    def load_state(self, state: LimiterState, *, epoch_now_ns: int) -> bool:
        """Enter what an earlier process saved. What cannot be known counts as used: whether there was any of that.

        A request that was in flight, or may have been sent after the save, counts as sent at the last possible instant.
        An instant in the future (the wall clock was set back) counts as now. A budget that the state does not name gets
        the sum of all that it names. Counts that outlived the earlier process know all this and more: nothing is added.
        """
        if self._backend.found:
            return False
        now_ns = self._now_ns()
        everything = tuple(pair for anchors in state.budgets.values() for pair in anchors)
        until_ns = min(epoch_now_ns, max(state.covers_until_epoch_ns, state.saved_epoch_ns))
        if epoch_now_ns < state.saved_epoch_ns:
            until_ns = epoch_now_ns
        blind = False
        with self._backend.editing(now_ns):
            for windows in self._backend.windows:
                if all(rate.window_ns < MINUTE for rate in windows.budget.rates):
                    continue
                anchors = list(state.budgets.get(windows.budget.name, everything))
                count = unseen(windows.budget, state.covers_until_epoch_ns - state.saved_epoch_ns)
                anchors.append((until_ns, count))
                blind = blind or (count > 0 and epoch_now_ns - until_ns < windows.spans[-1][1])
                windows.fill((now_ns + min(0, at_ns - epoch_now_ns), count) for at_ns, count in anchors)
                opens_ns = state.opens_epoch_ns.get(windows.budget.name)
                if opens_ns is not None:
                    windows.shut_until(now_ns + opens_ns - epoch_now_ns)
        return blind

    def close(self) -> None:
        """Let go of the backend. Waiters are not woken: cancel them first, as their owner does."""
        self._room.stop()
        self._backend.close()

    # Inside -----------------------------------------------------------------------------------------------------------

    def _checked(self, category: str, cost: int) -> Entry:
        entry = self._entries.get(category)
        if entry is None:
            known = ", ".join(self._entries)
            raise UnknownCategory(f"{self._label} counts no category {category!r}; known: {known}")
        if type(cost) is not int or cost < 1:
            raise ValueError(f"cost is {cost!r}; give a whole number of at least 1")
        if cost > entry.largest_cost:
            raise self._cost_too_high(category, f"a request of cost {cost}")
        return entry

    def _cost_too_high(self, category: str, what: str) -> CostTooHigh:
        largest = self._entries[category].largest_cost
        capped = f" under the cap of {self._cap:.0%}" if self._cap < 1 else ""
        return CostTooHigh(f"{self._label}: {what} can never go, {category} allows {largest} at once{capped}; split it")

    def _plan(self, category: str | None) -> Plan:
        return self._backend.windows if category is None else self._checked(category, 1).plan

    def _close(self, plan: Plan, until_ns: int, now_ns: int) -> None:
        with self._backend.editing(now_ns):
            for windows in plan:
                windows.shut_until(until_ns)
        self._room.closed(now_ns)


def _one_budget(given: tuple[int | None, ...]) -> tuple[Budget, ...]:
    lengths = (SECOND, MINUTE, HOUR, DAY)
    rates = tuple(Rate(permits, window) for permits, window in zip(given, lengths, strict=True) if permits is not None)
    return (Budget("all", rates),)


def _check_budgets(budgets: Sequence[Budget]) -> None:
    if not budgets:
        raise ValueError("budgets is empty; without a limit nothing would be kept")
    names = [budget.name for budget in budgets]
    if len(set(names)) != len(names):
        raise ValueError(f"two budgets have one name: {', '.join(sorted(names))}")
