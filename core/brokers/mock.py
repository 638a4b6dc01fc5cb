"""A broker inside this process: real books, real limits, latency and faults from a seed, on either clock.

A call has the three instants of a real one: it is sent, it arrives, it is answered. Everything at the broker happens on
arrival: its referee counts (`simulator/referee.py`), its exchange trades (`simulator/exchange.py`), its faults strike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Final, Generic, TypeVar

from ..clock import MILLISECOND, SECOND, Clock, SystemClock
from ..errors import (
    AuthenticationFailed,
    BlockedForDay,
    ConfigError,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    RateLimited,
)
from ..models import (
    CATEGORY_OF,
    APIConfig,
    APIProvider,
    BrokerOrder,
    Category,
    Funds,
    HealthStatus,
    Holding,
    Operation,
    Order,
    OrderAck,
    OrderStatus,
    OrderType,
    Portfolio,
    Position,
    Quote,
    RefereeReport,
    Session,
    maker,
)
from .simulator.accounts import Refusal, SimOrder
from .simulator.books import average_price, row_of, rows_of
from .simulator.exchange import Exchange
from .simulator.faults import ACCEPTED_KINDS, FaultKind, Faults
from .simulator.referee import Breach, DayBlock, Referee
from .simulator.rules import rupees

__all__ = ["MockTradingAPI"]

T = TypeVar("T")

# A share of the latency that no luck takes away: light in the fibre, the broker's fastest answer.
_FLOOR_SHARE: Final = 0.4
_TAIL_SHARE: Final = 1 - _FLOOR_SHARE
# The part of its way on which a request can arrive.
_EARLIEST_SHARE: Final = 0.3
_ARRIVAL_SPAN: Final = 0.7 - _EARLIEST_SHARE
# Symbols that fit one request for quotes; 50, as at Fyers, for whoever else is played.
_SYMBOLS_PER_CALL: Final = {APIProvider.UPSTOX: 500}
_SYMBOLS_ELSEWHERE: Final = 50
_LOST: Final = {
    FaultKind.RESET_BEFORE_READ: "the connection was reset",
    FaultKind.RESET_AFTER_ACCEPT: "the connection was reset",
    FaultKind.ERROR_BEFORE_ACCEPT: "HTTP 500",
    FaultKind.ERROR_AFTER_ACCEPT: "HTTP 500",
    FaultKind.BAD_JSON: "the answer is no JSON",
    FaultKind.WRONG_TYPE: "the answer is text/html",
    FaultKind.UNACKNOWLEDGED: "sent on, and not acknowledged",
}
_order_ack: Final = maker(OrderAck)
# By a name of its own: a member is looked up in its class for ten times the price.
_PLACE_ORDER: Final = Operation.PLACE_ORDER
_DOWN: Final = frozenset({FaultKind.DOWN})
_SLOW: Final = frozenset({FaultKind.SLOW, FaultKind.SLOW_BODY, FaultKind.HANG, FaultKind.LATE})
_REFUSED_429: Final = frozenset({FaultKind.STORM_429, FaultKind.SOFT_429, FaultKind.FIREWALL_429})
_BEFORE_ALL: Final = _REFUSED_429 | {FaultKind.RESET_BEFORE_READ, FaultKind.ERROR_BEFORE_ACCEPT}
_REFUSALS: Final = frozenset({FaultKind.TOKEN_EXPIRED, FaultKind.MAINTENANCE, FaultKind.WRONG_IP})
_ANSWERS: Final = frozenset(FaultKind) - _SLOW
_STATUS_500: Final = {FaultKind.ERROR_BEFORE_ACCEPT, FaultKind.ERROR_AFTER_ACCEPT}


@dataclass(slots=True)
class _Request(Generic[T]):
    """One request on its way, and what the broker made of it. `answered_by`: the fault that the answer is owed to."""

    operation: Operation
    do: Callable[[], T]
    cost: int
    kind: FaultKind | None
    arrival_ns: int
    answered_by: FaultKind | None = None
    error: Exception | None = None
    result: T = field(init=False)


class MockTradingAPI:
    """A `TradingAPI` without a wire.

    `response_time` is the mean of a round trip in seconds, `jitter` its spread: latency has a floor and above it a
    lognormal tail of shape `jitter` (0: every answer takes exactly `response_time`). The request arrives somewhere
    between 30 and 70 % of the way. `failure_rate` is the share of calls that find no connection and so never leave;
    for every other fault see `set_fault`. An `exchange` may be shared by several brokers, each has its own account
    there. The limits that the broker enforces are those of `config`.

    Raises ConfigError for figures that make no sense.
    """

    def __init__(
        self,
        name: str,
        config: APIConfig,
        response_time: float = 0.1,
        failure_rate: float = 0.0,
        *,
        clock: Clock | None = None,
        rng: Random | None = None,
        exchange: Exchange | None = None,
        faults: Mapping[FaultKind | str, float] | None = None,
        jitter: float = 0.25,
        absence_proven_after: float = 3.0,
    ) -> None:
        for what, value in (("response_time", response_time), ("jitter", jitter)):
            if not math.isfinite(value) or value < 0:
                raise ConfigError(f"{name}: {what} is {value!r}; give a number of at least 0")
        if not 0.0 <= failure_rate <= 1.0:
            raise ConfigError(f"{name}: failure_rate is {failure_rate!r}; give a share from 0 to 1")
        self._name = name
        self._config = config
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or Random(f"mock/{name}")
        self.response_time = response_time
        self.failure_rate = failure_rate
        self.jitter = jitter
        self.request_count = 0
        self.exchange = exchange or Exchange(self._clock)
        self.account = self.exchange.open_account(name)
        self.faults = Faults(self._rng, start_ns=self._clock.now_ns())
        self.felt: Counter[FaultKind] = Counter()  # faults that changed what a caller got, or when
        for kind, amount in (faults or {}).items():
            self.set_fault(kind, amount)
        self._referee = Referee(name, config.limits)
        self._day_block = DayBlock() if config.provider is APIProvider.FYERS else None
        self._timeout_ns = config.timeout_ms * MILLISECOND
        self._absence_ns = round(absence_proven_after * SECOND)

    @property
    def name(self) -> str:
        return self._name

    @property
    def config(self) -> APIConfig:
        return self._config

    @property
    def absence_proven_after_ns(self) -> int:
        return self._absence_ns

    def cost(self, operation: Operation, *, symbols: int = 1) -> int:
        if operation is Operation.GET_MARKET_DATA:
            return max(1, -(-symbols // _SYMBOLS_PER_CALL.get(self._config.provider, _SYMBOLS_ELSEWHERE)))
        return 1

    # -- what the operator of a test sets and reads -------------------------------------------------------------

    def set_fault(self, kind: FaultKind | str, rate_or_count: float, *, operations: Sequence[str] = ()) -> None:
        """From now on: a float is the share of calls struck, an int the number of next calls, 0 ends the fault."""
        self.faults.set(kind, rate_or_count, operations=operations)

    def referee_report(self) -> RefereeReport:
        """What this broker counted so far."""
        self.exchange.advance()
        return self._referee.report()

    def books(self) -> tuple[BrokerOrder, ...]:
        """Every order ever taken into the book, oldest first, without a request: the proof that none is doubled."""
        return rows_of(self.exchange.orders(self.account))

    def archive(self, before_epoch_ns: int) -> tuple[BrokerOrder, ...]:
        """Forget the orders that ended before an epoch time, and return their rows: who asks keeps the proof himself.

        A day's book may be large; that of a run of days would grow for ever.
        """
        self.exchange.advance()
        rows = rows_of(self.account.forget(before_epoch_ns))
        self._referee.forget_tags(row.tag for row in rows)
        return rows

    # -- the protocol --------------------------------------------------------------------------------------------

    async def authenticate(self) -> Session:
        return await self._call(Operation.AUTHENTICATE, lambda: Session(provider=self._name, user_id="SIM001"))

    async def logout(self) -> None:
        """Ends this session; the account stays usable for others, as with one log-in per user."""
        await self._call(Operation.LOGOUT, lambda: None)

    async def health_check(self) -> HealthStatus:
        return await self._call(Operation.HEALTH_CHECK, lambda: HealthStatus.HEALTHY)

    async def place_order(self, order: Order, *, tag: str) -> OrderAck:
        def place() -> OrderAck:
            placed = self.exchange.place(self.account, order, tag=tag)
            self._referee.saw_tag(tag)
            if placed.reason is not None:
                raise Refusal(placed.reason, placed.message)
            return self._ack(placed)

        return await self._call(_PLACE_ORDER, place)

    async def modify_order(
        self,
        broker_order_id: str,
        *,
        quantity: int | None = None,
        order_type: OrderType | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
    ) -> OrderAck:
        return await self._call(
            Operation.MODIFY_ORDER,
            lambda: self._ack(
                self.exchange.modify(
                    self.account,
                    broker_order_id,
                    quantity=quantity,
                    order_type=order_type,
                    price=price,
                    trigger_price=trigger_price,
                )
            ),
        )

    async def cancel_order(self, broker_order_id: str) -> OrderAck:
        return await self._call(
            Operation.CANCEL_ORDER,
            lambda: self._ack(self.exchange.cancel(self.account, broker_order_id), OrderStatus.CANCEL_REQUESTED),
        )

    async def get_order(self, broker_order_id: str) -> BrokerOrder:
        return await self._call(Operation.GET_ORDER, lambda: row_of(self.exchange.find(self.account, broker_order_id)))

    async def find_orders_by_tag(self, tag: str) -> tuple[BrokerOrder, ...]:
        def find() -> tuple[BrokerOrder, ...]:
            self.exchange.advance()
            return rows_of(self.account.tagged(tag))

        return await self._call(Operation.FIND_ORDERS_BY_TAG, find)

    async def get_orders(self) -> tuple[BrokerOrder, ...]:
        return await self._call(Operation.GET_ORDERS, lambda: rows_of(self.exchange.orders(self.account)))

    async def get_positions(self) -> tuple[Position, ...]:
        return await self._call(Operation.GET_POSITIONS, self._positions)

    async def get_portfolio(self) -> Portfolio:
        return await self._call(Operation.GET_PORTFOLIO, self._portfolio)

    async def get_market_data(self, symbols: Sequence[str]) -> tuple[Quote, ...]:
        asked = tuple(symbols)
        cost = self.cost(Operation.GET_MARKET_DATA, symbols=len(asked))
        return await self._call(Operation.GET_MARKET_DATA, lambda: self.exchange.quotes(asked), cost=cost)

    # -- one call ------------------------------------------------------------------------------------------------

    async def _call(self, operation: Operation, do: Callable[[], T], *, cost: int = 1) -> T:
        clock = self._clock
        sent_ns = clock.now_ns()
        self.request_count += 1
        fault = self.faults.draw(operation, sent_ns)
        kind = None if fault is None else fault.kind
        latency_ns = self._latency_ns()
        if kind in _DOWN or (self.failure_rate and self._rng.random() < self.failure_rate):
            await clock.sleep_until_ns(sent_ns + min(latency_ns, MILLISECOND))
            self._feel(kind, _DOWN)
            raise OrderNotSent(f"{self._name}: connection refused", provider=self._name)
        answer_ns = sent_ns + latency_ns
        give_up_ns = sent_ns + self._timeout_ns
        latest_ns = give_up_ns + self._absence_ns - 1  # none arrives after its absence counts as proven
        on_its_way = _EARLIEST_SHARE + _ARRIVAL_SPAN * self._rng.random()
        arrival_ns = sent_ns + int(latency_ns * on_its_way)
        if arrival_ns > latest_ns:  # noqa: PLR1730 - for every call; min() costs five times that
            arrival_ns = latest_ns
        if fault is not None:
            if kind is FaultKind.HANG:
                answer_ns = give_up_ns + 1
            elif kind is FaultKind.LATE:
                # It hangs somewhere on the way and gets through after we have stopped waiting.
                arrival_ns = answer_ns = min(give_up_ns + fault.delay_ns, latest_ns)
            elif kind in _SLOW:
                answer_ns += fault.delay_ns
        request = _Request(operation, do, cost, kind, arrival_ns)
        # It arrives whether or not somebody still waits: who stops waiting does not call the packet back. And nobody
        # need be woken for it, as long as whoever looks at the exchange sees it arrived.
        self.exchange.at(arrival_ns, self._arrive, request)
        await clock.sleep_until_ns(answer_ns if answer_ns < give_up_ns else give_up_ns)  # noqa: FURB136 - as above
        self.exchange.advance()
        if kind is not None:
            self._feel(request.answered_by or kind, _ANSWERS if request.answered_by else _SLOW)
        if answer_ns > give_up_ns:
            raise self._timed_out()
        if request.error is not None:
            raise request.error
        return request.result

    def _feel(self, kind: FaultKind | None, among: Collection[FaultKind]) -> None:
        if kind is not None and kind in among:
            self.felt[kind] += 1

    def _arrive(self, request: _Request[Any]) -> None:
        """What happens at the broker, at once. Whoever sent it is told, not whoever looks at the exchange first."""
        try:
            if request.kind is None:
                self._judge(request)
                request.result = request.do()
            else:
                request.result = self._answer_struck(request, request.kind)
        except Refusal as no:
            request.error = OrderRefused(
                f"{self._name}: {no}", provider=self._name, code=no.reason.value, status=400, elsewhere=False
            )
        except Exception as error:  # noqa: BLE001 - it is told in `_call`
            request.error = error

    def _answer_struck(self, request: _Request[T], kind: FaultKind) -> T:
        """What happens where a fault strikes: refuse, do, or do and lose the answer."""
        if kind in _BEFORE_ALL:
            request.answered_by = kind
            if kind in _REFUSED_429:
                raise RateLimited(f"{self._name}: too many requests", provider=self._name, code="429", status=429)
            raise self._lost(kind)
        self._judge(request)
        if kind in _REFUSALS and (kind is not FaultKind.WRONG_IP or CATEGORY_OF[request.operation] is Category.ORDERS):
            request.answered_by = kind
            raise self._refused(kind)
        if kind in ACCEPTED_KINDS and kind is not FaultKind.HANG:
            with suppress(Refusal):
                request.do()
            request.answered_by = kind
            raise self._lost(kind)
        return request.do()

    def _refused(self, kind: FaultKind) -> OrderRefused:
        if kind is FaultKind.TOKEN_EXPIRED:
            message = f"{self._name}: the token has expired; log in again"
            return AuthenticationFailed(message, provider=self._name, code="token_expired", status=401)
        if kind is FaultKind.MAINTENANCE:
            message = f"{self._name}: closed for maintenance"
            return OrderRefused(message, provider=self._name, code="maintenance", status=423, elsewhere=True)
        message = f"{self._name}: orders are not taken from this IP address"
        return OrderRefused(message, provider=self._name, code="wrong_ip", status=403, elsewhere=True)

    def _judge(self, request: _Request[Any]) -> None:
        block = self._day_block
        if block is not None and (blocked_ns := block.blocked_for_ns(self.exchange.epoch_ns())):
            self._referee.refused += 1
            raise BlockedForDay(
                f"{self._name}: blocked until midnight IST after {block.breaches} breached minutes",
                provider=self._name,
                code="-429",
                status=429,
                retry_in_ns=blocked_ns,
            )
        breach = self._referee.arrive(CATEGORY_OF[request.operation], request.arrival_ns, cost=request.cost)
        if breach is None:
            return
        if block is not None:
            block.breached(breach, self.exchange.epoch_ns())
        raise self._rate_limited(breach)

    def _rate_limited(self, breach: Breach) -> RateLimited:
        # Upstox sends no advice with its 429; who asks it must know its windows.
        advises = self._config.provider is not APIProvider.UPSTOX
        return RateLimited(
            f"{self._name}: above {breach.rate} of {breach.budget}",
            provider=self._name,
            code="429",
            status=429,
            retry_in_ns=breach.retry_in_ns if advises else None,
            window_ns=breach.rate.window_ns if advises else None,
        )

    def _latency_ns(self) -> int:
        mean_ns, shape = self.response_time * SECOND, self.jitter
        if not shape:
            return round(mean_ns)
        tail = math.exp(self._rng.normalvariate(-shape * shape / 2, shape))
        return round(mean_ns * (_FLOOR_SHARE + _TAIL_SHARE * tail))

    def _timed_out(self) -> OrderOutcomeUnknown:
        message = f"{self._name}: no answer within {self._config.timeout_ms} ms"
        return OrderOutcomeUnknown(message, provider=self._name, arrives_within_ns=self._absence_ns)

    def _lost(self, kind: FaultKind) -> OrderOutcomeUnknown:
        status = 500 if kind in _STATUS_500 else None
        return OrderOutcomeUnknown(f"{self._name}: {_LOST[kind]}", provider=self._name, status=status)

    # -- rows ----------------------------------------------------------------------------------------------------

    def _ack(self, order: SimOrder, status: OrderStatus = OrderStatus.ACCEPTED) -> OrderAck:
        return _order_ack(provider=self._name, broker_order_id=order.order_id, status=status)

    def _positions(self) -> tuple[Position, ...]:
        self.exchange.advance()
        return tuple(
            Position(
                symbol=book.listing.symbol,
                quantity=book.quantity,
                average_price=average_price(abs(book.cost_paise), abs(book.quantity)),
                last_price=self._last(book.listing.symbol),
                realised=rupees(book.realised_paise),
                product=book.product,
            )
            for book in self.account.positions.values()
        )

    def _portfolio(self) -> Portfolio:
        self.exchange.advance()
        account = self.account
        return Portfolio(
            provider=self._name,
            funds=Funds(available=rupees(account.available_paise), used=rupees(account.used_paise)),
            holdings=tuple(
                Holding(symbol=symbol, quantity=quantity, average_price=rupees(paise), last_price=self._last(symbol))
                for symbol, (quantity, paise) in account.holdings.items()
            ),
        )

    def _last(self, symbol: str) -> Decimal:
        walk = self.exchange.walk(symbol)
        return Decimal(0) if walk is None else rupees(walk.price_paise)
