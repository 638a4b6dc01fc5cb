"""One request on its way: sent once, its permit settled by what is known, limiter and balancer told how it went."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import anyio

from .accounts import Account
from .balancer import Choice, IntelligentLoadBalancer
from .brokers.base import ANSWER_IS_IN, TradingAPI
from .bus import EventBus
from .clock import MILLISECOND, SECOND, Clock
from .errors import (
    AuthenticationFailed,
    BlockedForDay,
    BrokerError,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    PermitMisuse,
    RateLimited,
)
from .limiter import Permit
from .models import CATEGORY_OF, Category, Incident, Operation, Priority, RequestDone, maker
from .reads import SharedReads

__all__ = ["AuditLogger", "Reservation", "Sender"]

T = TypeVar("T")

# An audit log that hangs must not hold an order longer than this.
AUDIT_PATIENCE_S: Final = 1.0
_OURS: Final = frozenset({"ok", "refused", "limited", "abandoned"})  # ends that say nothing against the broker
_SHUT: Final = frozenset({403, 404, 423})
_ORDERS: Final = Category.ORDERS  # by a name of its own: a member is looked up in its class for ten times the price
_done: Final = maker(RequestDone)


class AuditLogger(Protocol):
    """Whoever keeps the books of API use; sync or async."""

    def log_api_usage(self, **usage: Any) -> Any: ...


@dataclass(slots=True, eq=False)
class Reservation:
    """A broker chosen for one request, and its permit; `permit` is None while that has to be waited for.

    Of `symbols` symbols its permit is for the first `carried`. As a block it ends by itself: a permit that `call` did
    not use goes back.
    """

    sender: Sender
    account: Account
    decision: Choice
    operation: Operation
    priority: Priority
    deadline_ns: int
    began_ns: int
    symbols: int = 1
    only: str | None = None
    exclude: Collection[str] = ()
    permit: Permit | None = None
    waited_ns: int = 0

    @property
    def name(self) -> str:
        """The broker that was chosen."""
        return self.account.name

    @property
    def api(self) -> TradingAPI:
        return self.account.api

    @property
    def carried(self) -> int:
        most = self.account.carries
        return self.symbols if self.symbols <= most else most  # noqa: FURB136 - asked for every request

    def call(self, send: Callable[[TradingAPI], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Send once, settle the permit by what is known, teach limiter and balancer. Raises what the adapter raises."""
        return self.sender.send(self, send)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.permit is None:
            self.sender.gave_up(self)
        else:
            self.permit.__exit__(kind, error, trace)


@dataclass(slots=True)
class _Heard:
    """When the answer to a read was there, if its adapter tells so before it has read it."""

    balancer: IntelligentLoadBalancer
    clock: Clock
    place: Reservation
    sent_ns: int
    at_ns: int | None = None

    def now(self) -> None:
        if self.at_ns is None:
            self.at_ns = self.clock.now_ns()
            self.balancer.heard(self.place.name, self.place.operation, self.at_ns - self.sent_ns)


class Sender:
    """Sends what a permit is held for. Counts `orders` and `reads` that left."""

    def __init__(
        self,
        *,
        clock: Clock,
        bus: EventBus,
        balancer: IntelligentLoadBalancer,
        shared_reads: SharedReads,
        audit_logger: AuditLogger | None,
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._balancer = balancer
        self._shared_reads = shared_reads
        self._audit_logger = audit_logger
        self.orders = 0
        self.reads = 0

    def gave_up(self, place: Reservation) -> None:
        """Nobody waits for this permit any more."""
        self._balancer.efficiency.gave_up(CATEGORY_OF[place.operation])

    async def send(self, place: Reservation, send: Callable[[TradingAPI], Awaitable[T]]) -> T:
        """The inside of `Reservation.call`."""
        account, operation, permit = place.account, place.operation, place.permit
        if permit is None:
            message = f"{account.name}: {operation.value} has no permit yet; wait for it first"
            raise PermitMisuse(message)
        name, balancer = account.name, self._balancer
        is_order = CATEGORY_OF[operation] is _ORDERS
        account.requests += 1
        if is_order:
            self.orders += 1
        else:
            self.reads += 1
        sent_ns = balancer.started(name, operation)
        permit.sent()
        outcome: str = "unknown"
        fault: BaseException | None = None
        heard = None if is_order else _Heard(balancer, self._clock, place, sent_ns)
        try:
            # An order is never broken off: the adapter's timeout bounds it.
            result = await (send(account.api) if heard is None else self._within_deadline(place, send, heard))
        except BrokerError as error:
            error.provider = name  # adapters know their broker, only the manager knows the account's name
            outcome, fault = _outcome_of(error), error
            self._settle(account, permit, operation, error)
            raise
        except BaseException as error:
            # Cancelled, or a bug of an adapter: either way it may have left.
            fault = error
            if not is_order and isinstance(error, anyio.get_cancelled_exc_class()):
                outcome = "abandoned"
            permit.unanswered(account.api.config.timeout_ms * MILLISECOND)
            raise
        else:
            outcome = "ok"
            permit.done()
            _heed_quota(account, operation)
            return result
        finally:
            if is_order:
                self._shared_reads.forget()
            now_ns = self._clock.now_ns()
            heard_ns = None if heard is None else heard.at_ns
            latency_ns = (now_ns if heard_ns is None else heard_ns) - sent_ns
            balancer.finished(name, operation, latency_ns, outcome, heard_ns=heard_ns)
            place.decision.outcome = outcome
            if outcome not in _OURS:
                account.errors += 1
            self._bus.publish(
                _done(
                    at_ns=now_ns,
                    provider=name,
                    operation=operation,
                    outcome=outcome,
                    wait_ns=place.waited_ns,
                    latency_ns=latency_ns,
                )
            )
            if self._audit_logger is not None:
                await self._audit(self._audit_logger, name, operation, latency_ns, fault)

    async def _within_deadline(
        self, place: Reservation, send: Callable[[TradingAPI], Awaitable[T]], heard: _Heard
    ) -> T:
        """A read that is not answered by its deadline is given up; it may still reach the broker."""
        with anyio.CancelScope() as scope:
            timer = self._clock.call_at_ns(place.deadline_ns, scope.cancel)
            before = ANSWER_IS_IN.set(heard.now)
            try:
                return await send(place.api)
            finally:
                ANSWER_IS_IN.reset(before)
                timer.cancel()
        message = f"{place.name}: no answer to {place.operation.value} before its deadline"
        raise OrderOutcomeUnknown(message, arrives_within_ns=place.api.config.timeout_ms * MILLISECOND)

    def _settle(self, account: Account, permit: Permit, operation: Operation, error: BrokerError) -> None:
        """Do with the permit what is known of the request."""
        if isinstance(error, OrderNotSent):
            permit.give_back()
        elif isinstance(error, OrderOutcomeUnknown):
            permit.unanswered(error.arrives_within_ns)
        else:
            permit.done()
            _heed_quota(account, operation)
        if isinstance(error, RateLimited):
            account.refusals += 1
            account.limiter.refused(error, category=CATEGORY_OF[operation])
            self._bus.publish(account.limiter.incidents[-1])
            if isinstance(error, BlockedForDay):
                account.blocked_until_ns = self._clock.now_ns() + account.limiter.limited_for_ns
        elif isinstance(error, OrderRefused) and error.elsewhere:
            # Another broker may take it, and then nobody would learn that this one takes no orders from this address.
            self.incident("refused", account.name, str(error), error.evidence)

    def incident(self, kind: str, provider: str, message: str, evidence: str = "") -> None:
        """Tell the operator of something that should not have happened."""
        self._bus.publish(
            Incident(at_ns=self._clock.now_ns(), kind=kind, provider=provider, message=message, evidence=evidence)
        )

    async def _audit(
        self, auditor: AuditLogger, name: str, operation: Operation, latency_ns: int, fault: BaseException | None
    ) -> None:
        try:
            logged = auditor.log_api_usage(
                api_name=name,
                operation=operation.value,
                response_time=latency_ns / SECOND,
                success=fault is None,
                error=None if fault is None else f"{type(fault).__name__}: {fault}",
            )
            if inspect.isawaitable(logged):
                with anyio.move_on_after(AUDIT_PATIENCE_S, shield=True):
                    await logged
        except Exception as error:  # noqa: BLE001 - the auditor is the user's code; an order never fails for it
            self.incident("audit", name, f"the audit logger raised {type(error).__name__}: {error}")


def _outcome_of(error: BrokerError) -> str:
    match error:
        case OrderNotSent():
            return "not_sent"
        case RateLimited():
            return "limited"
        case AuthenticationFailed():
            return "auth"
        case OrderRefused():
            # Another request would fare no better there: under maintenance, an address that it does not take.
            return "error" if error.elsewhere and error.status in _SHUT else "refused"
        case _:
            return "unknown"


def _heed_quota(account: Account, operation: Operation) -> None:
    """Enter as used what the answer says that somebody else has used of a limit that we keep too."""
    quota = account.session.heard_quota() if account.session is not None else None
    if quota is None:
        return
    category = CATEGORY_OF[operation]
    for budget in account.limiter.budgets:
        for rate in budget.rates:
            if category in budget.categories and rate.permits == quota.limit:
                account.limiter.observe_quota(
                    quota.remaining, window_ns=rate.window_ns, resets_in_ns=quota.resets_in_ns, category=category
                )
