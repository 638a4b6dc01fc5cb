"""One permit: taken, then sent and done, or given back."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn, Self

from ..errors import BrokerError, OrderNotSent, OrderOutcomeUnknown, PermitMisuse

if TYPE_CHECKING:
    from .backend import Lane, Plan
    from .room import WaitingRoom
    from .stamps import ServerClock
    from .window import SlidingWindows

__all__ = ["Entry", "Permit"]

TAKEN: Final = 0
SENT: Final = 1
ENDED: Final = 2
ENDED_TWICE: Final = "a permit was ended twice; call done(), give_back() or unanswered() once"


class Entry:
    """The way in for one category: its budgets, the calls that its permits make, and how many were taken.

    `plan` are the budgets that count it, `beside` those that do not.
    """

    __slots__ = (
        "arrives_within_ns",
        "beside",
        "give_back",
        "hold",
        "now_ns",
        "plan",
        "room",
        "server_clock",
        "settle",
        "take",
        "taken",
    )

    def __init__(
        self,
        plan: Plan,
        beside: Plan,
        lane: Lane,
        room: WaitingRoom,
        *,
        now_ns: Callable[[], int],
        server_clock: ServerClock | None,
        arrives_within_ns: int,
    ) -> None:
        self.plan = plan
        self.beside = beside
        self.take = lane.take
        self.settle = lane.settle
        self.give_back = lane.give_back
        self.hold = lane.hold
        self.room = room
        self.now_ns = now_ns
        self.server_clock = server_clock
        self.arrives_within_ns = arrives_within_ns
        self.taken = 0

    def permit(self, cost: int, ticket: int) -> Permit:
        """The permit for a take that succeeded."""
        self.taken += cost
        # Without an __init__, which would be a tenth of what a whole request costs.
        permit = Permit()
        permit._entry = self
        permit._ticket = ticket
        permit._state = TAKEN
        permit.cost = cost
        return permit

    @property
    def largest_cost(self) -> int:
        """The most that one request may cost now."""
        return min(windows.largest_cost for windows in self.plan)

    def refusing(self, cost: int, now_ns: int) -> list[SlidingWindows]:
        """The budgets that have no room for `cost` at this instant."""
        return [windows for windows in self.plan if not windows.fits(cost, now_ns)]

    def free_at(self, cost: int, now_ns: int) -> int | None:
        """When `cost` fits if nothing more is taken; None while that hangs on an answer."""
        latest_ns = now_ns
        for windows in self.plan:
            free_ns = windows.free_at(cost, now_ns)
            if free_ns is None:
                return None
            latest_ns = max(latest_ns, free_ns)
        return latest_ns

    def earliest_ns(self, cost: int, now_ns: int) -> int:
        """No later than the instant at which the last of `cost` permits, taken one by one, can be had."""
        return max(windows.earliest_ns(cost, now_ns) for windows in self.plan)


class Permit:
    """The right to send `cost` requests, counted from now on.

    Stamp it at the wire: `sent()` just before the bytes leave, `done()` when the answer is read; without an answer
    `unanswered(arrives_within_ns)`; when nothing left, `give_back()`. As a context manager it ends itself: given back
    when it was never sent or the block raised OrderNotSent, anchored now when the block ended with an answer (a refusal
    is one), held for as long as it may still arrive when the block ended in any other way.
    """

    __slots__ = ("_entry", "_sent_ns", "_state", "_ticket", "cost")

    _entry: Entry
    _ticket: int
    _state: int
    _sent_ns: int
    cost: int

    def sent(self) -> None:
        """Mark that the request leaves now. Raises PermitMisuse when it was sent or ended before."""
        if self._state != TAKEN:
            raise PermitMisuse(f"a permit that was {self._past} cannot be sent; take one permit for each request")
        self._state = SENT
        if self._entry.server_clock is not None:
            self._sent_ns = self._entry.now_ns()

    def done(self, at_ns: int | None = None, server_stamp_ns: int | None = None) -> None:
        """Mark that the answer is here; its places are free one window later.

        `at_ns`: when it was read, on our clock; now when not given, and never later than now. `server_stamp_ns`: the
        broker's own time of the request, in nanoseconds since 1970; used only where the limiter was told to trust it.
        Raises PermitMisuse when the permit was ended before, or was never sent (it is counted all the same).
        """
        if self._state != SENT:
            self._done_unsent(at_ns)
        self._state = ENDED
        entry = self._entry
        now, settle = entry.now_ns, entry.settle  # fetched first, as in try_acquire
        anchor_ns = now()
        if at_ns is not None and at_ns < anchor_ns:
            anchor_ns = at_ns
        if server_stamp_ns is not None and entry.server_clock is not None:
            anchor_ns = entry.server_clock.anchor_ns(self._sent_ns, anchor_ns, server_stamp_ns)
        settle(self.cost, anchor_ns, self._ticket)
        if entry.room.hangs_on_answer:
            entry.room.serve()

    def _done_unsent(self, at_ns: int | None) -> NoReturn:
        if self._state == ENDED:
            raise PermitMisuse(ENDED_TWICE)
        self._state = SENT
        self.done(at_ns)
        raise PermitMisuse("a permit was done before it was sent; it is counted as answered now")

    def give_back(self) -> None:
        """Undo the take. Only for a request that never left, such as after OrderNotSent. Raises PermitMisuse."""
        self._end()
        entry = self._entry
        entry.give_back(self.cost, self._ticket)
        entry.taken -= self.cost
        entry.room.serve()

    def unanswered(self, arrives_within_ns: int) -> None:
        """Give up waiting: the request may still arrive for so long, and is counted as if it came at the last moment.

        Raises PermitMisuse when the permit was ended before, ValueError when the time is negative.
        """
        if arrives_within_ns < 0:
            raise ValueError(f"arrives_within_ns is {arrives_within_ns}; give 0 or more")
        self._end()
        entry = self._entry
        entry.hold(self.cost, entry.now_ns() + arrives_within_ns, self._ticket)
        entry.room.serve()

    def _end(self) -> None:
        if self._state == ENDED:
            raise PermitMisuse(ENDED_TWICE)
        self._state = ENDED

    @property
    def open(self) -> bool:
        """True until the permit is ended."""
        return self._state != ENDED

    @property
    def _past(self) -> str:
        return "sent before" if self._state == SENT else "ended"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state == ENDED:
            return
        if self._state == TAKEN or isinstance(error, OrderNotSent):
            self.give_back()
        elif isinstance(error, OrderOutcomeUnknown):
            self.unanswered(error.arrives_within_ns)
        elif error is None or isinstance(error, BrokerError):
            self.done()  # a refusal is an answer too, and some brokers count what they refuse
        else:
            self.unanswered(self._entry.arrives_within_ns)
