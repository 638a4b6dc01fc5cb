"""One permit: taken, then sent and done, or given back."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ..errors import BrokerError, OrderNotSent, OrderOutcomeUnknown, PermitMisuse

if TYPE_CHECKING:
    from .backend import Plan
    from .limiter import EnhancedRateLimiter

__all__ = ["Permit"]

TAKEN: Final = 0
SENT: Final = 1
ENDED: Final = 2


class Permit:
    """The right to send `cost` requests, counted from now on.

    Stamp it at the wire: `sent()` just before the bytes leave, `done()` when the answer is read; without an answer
    `unanswered(arrives_within_ns)`; when nothing left, `give_back()`. As a context manager it ends itself: given back
    when it was never sent or the block raised OrderNotSent, anchored now when the block ended with an answer (a refusal
    is one), held for as long as it may still arrive when the block ended in any other way.
    """

    __slots__ = ("_limiter", "_plan", "_state", "_ticket", "cost", "sent_ns")

    def __init__(self, limiter: EnhancedRateLimiter, plan: Plan, cost: int, ticket: int) -> None:
        self._limiter = limiter
        self._plan = plan
        self.cost = cost
        self._ticket = ticket
        self._state = TAKEN

    def sent(self) -> None:
        """Mark that the request leaves now. Raises PermitMisuse when it was sent or ended before."""
        if self._state != TAKEN:
            raise PermitMisuse(f"a permit that was {self._past} cannot be sent; take one permit for each request")
        self._state = SENT
        self.sent_ns = self._limiter._now_ns()

    def done(self, *, at_ns: int | None = None, server_stamp_ns: int | None = None) -> None:
        """Mark that the answer is here; its places are free one window later.

        `at_ns`: when it was read, on our clock; now when not given, and never later than now. `server_stamp_ns`: the
        broker's own time of the request, in nanoseconds since 1970; used only where the limiter was told to trust it.
        Raises PermitMisuse when the permit was ended before, or was never sent (it is counted all the same).
        """
        if self._state == ENDED:
            raise PermitMisuse("a permit was ended twice; call done() or give_back() once")
        limiter = self._limiter
        now_ns = limiter._now_ns()
        was_sent = self._state == SENT
        if at_ns is None or at_ns > now_ns:
            at_ns = now_ns
        if was_sent and at_ns < self.sent_ns:
            at_ns = self.sent_ns
        self._state = ENDED
        if server_stamp_ns is not None and was_sent:
            at_ns = limiter._anchor_by_stamp(self.sent_ns, at_ns, server_stamp_ns)
        limiter._backend.settle(self._plan, self.cost, self._ticket, at_ns, now_ns)
        if limiter._line:
            limiter._after_settle()
        if not was_sent:
            raise PermitMisuse("a permit was done before it was sent; it is counted as answered now")

    def give_back(self) -> None:
        """Undo the take. Only for a request that never left, such as after OrderNotSent. Raises PermitMisuse."""
        if self._state == ENDED:
            raise PermitMisuse("a permit was ended twice; call done() or give_back() once")
        self._state = ENDED
        limiter = self._limiter
        limiter._backend.give_back(self._plan, self.cost, self._ticket)
        if limiter._line:
            limiter._serve()

    def unanswered(self, arrives_within_ns: int) -> None:
        """Give up waiting: the request may still arrive for so long, and is counted as if it came at the last moment.

        Raises PermitMisuse when the permit was ended before, ValueError when the time is negative.
        """
        if arrives_within_ns < 0:
            raise ValueError(f"arrives_within_ns is {arrives_within_ns}; give 0 or more")
        if self._state == ENDED:
            raise PermitMisuse("a permit was ended twice; call done(), give_back() or unanswered() once")
        self._state = ENDED
        limiter = self._limiter
        limiter._backend.hold(self._plan, self.cost, self._ticket, limiter._now_ns() + arrives_within_ns)
        if limiter._line:
            limiter._serve()

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
            self.unanswered(self._limiter.arrives_within_ns)
