"""One request, the best broker: choose, permit, send, learn.

The manager makes one frozen candidate per broker, the balancer picks one, the limiter gives the permit, the adapter
sends, and both are told how it went. It sends again only what never left or what was refused for a broker's own
reason; a read may also be asked again elsewhere after silence, an order never.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .accounts import Account
from .advice import Advisor, Levers
from .balancer import HedgePolicy, IntelligentLoadBalancer, RetryBudget
from .brokers.base import TradingAPI
from .bus import EventBus
from .calls import OF_ONE_BROKER, SHARED_READS, Call, parse_call, parse_operation
from .choosing import Chooser
from .clock import SECOND, Clock, SystemClock
from .errors import (
    BrokerError,
    ConfigError,
    NoBrokerAvailable,
    OrderNotSent,
    OrderRefused,
    PermitTimeout,
    RateLimited,
)
from .feed import MarketDataFeed
from .figures import broker_snapshots, levers_of, rate_limit_analytics, suggestion_row, usable_rooms
from .hedging import first_answer
from .limiter import EnhancedRateLimiter, SharedMemoryBackend
from .models import (
    CATEGORY_OF,
    BrokerSnapshot,
    Category,
    Counters,
    Decided,
    Operation,
    Quote,
    RouterSnapshot,
    Suggestion,
)
from .quotes import QuoteBatch, QuoteBatches
from .reads import SharedReads
from .routing import ManagerConfig, checked_config
from .sending import AuditLogger, Reservation, Sender

__all__ = ["AuditLogger", "MultiAPIManager", "Reservation"]

MAX_WEIGHT = 100.0
MAX_CACHE_S = 60.0


class MultiAPIManager:
    """Several broker accounts behind one call.

    `config` is a dict of `enabled_apis`, `routing_rules` and `fallback_chain`, or a ManagerConfig. `apis` may be
    assigned at any time: limiters and balancer follow, and an account that stays keeps its counts. The quotes that
    brokers answer go into `feed`, and a tick of it that is young enough spares a request.
    """

    def __init__(
        self,
        config: ManagerConfig | Mapping[str, Any] | None = None,
        audit_logger: AuditLogger | None = None,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        bus: EventBus | None = None,
        feed: MarketDataFeed | None = None,
    ) -> None:
        self.config = checked_config(config or {})
        self.clock: Clock = clock or SystemClock()
        self.bus = bus or EventBus()
        self._rng = rng or random.Random()
        self.simulated = True  # whether no account is a real one
        self.balancer = IntelligentLoadBalancer((), clock=self.clock, rng=self._rng)
        self.advisor = Advisor()
        self._reads_shared = SharedReads(self.clock)
        self._quotes = QuoteBatches(self.clock, self._fetch_quotes, self._carried, feed)
        self._sender = Sender(
            clock=self.clock,
            bus=self.bus,
            balancer=self.balancer,
            shared_reads=self._reads_shared,
            audit_logger=audit_logger,
        )
        self.incident = self._sender.incident
        self._chooser = Chooser(self.config, clock=self.clock, balancer=self.balancer, sender=self._sender)
        # Handed on as they are: a method around each would be one more step on the way of every order.
        self.choose, self.wait, self.reserve = self._chooser.choose, self._chooser.wait, self._chooser.reserve
        self.preview = self._chooser.preview
        self._retries = RetryBudget()
        self._hedges = HedgePolicy(self.config.hedged_reads)
        self._read_max_age_ns: dict[Operation, int] = {}
        self._sequence = 0

    # -- accounts -----------------------------------------------------------------------------------------------------

    @property
    def apis(self) -> Mapping[str, TradingAPI]:
        """The accounts by name, read-only: assign a new mapping to change them."""
        return MappingProxyType({name: account.api for name, account in self._chooser.accounts.items()})

    @apis.setter
    def apis(self, apis: Mapping[str, TradingAPI]) -> None:
        enabled = self.config.enabled_apis
        accounts: dict[str, Account] = {}
        for name, api in apis.items():
            if enabled and name not in enabled:
                continue
            known = self._chooser.accounts.get(name)
            if known is not None and known.api is api:
                accounts[name] = known
                continue
            counts = api.config.shared_counts
            backend = None if counts is None else SharedMemoryBackend(counts)
            limiter = EnhancedRateLimiter(budgets=api.config.limits, name=name, clock=self.clock, backend=backend)
            accounts[name] = Account(name, api, limiter)
        self._chooser.accounts = accounts
        self.simulated = all(account.api.config.simulated for account in accounts.values())
        self.balancer.set_apis(tuple(accounts))

    def close(self) -> None:
        """Let go of what the limiters hold. Nothing may be asked of the accounts after that."""
        for account in self._chooser.accounts.values():
            account.limiter.close()

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The accounts with their limiters and counts; read-only, for whoever looks after them."""
        return MappingProxyType(self._chooser.accounts)

    def limiter(self, name: str) -> EnhancedRateLimiter:
        """The limiter of one account. Raises ConfigError for an unknown name."""
        return self._chooser.account(name).limiter

    def drain(self, name: str) -> None:
        """Choose this account no more; what is in flight ends by itself."""
        self._chooser.account(name).drained = True

    def resume(self, name: str) -> None:
        """Take a drained account back, with a clean breaker."""
        self._chooser.account(name).drained = False
        self.balancer.reset(name)

    def set_weight(self, name: str, category: str, weight: float) -> None:
        """Count `name` as `1 / weight` times as costly for a category; 1 is neutral, 0 takes nothing."""
        if not 0 <= weight <= MAX_WEIGHT:
            message = f"the weight of {name} is {weight!r}; give 0 to {MAX_WEIGHT}"
            raise ConfigError(message)
        self._chooser.account(name).weights[Category(category)] = weight

    def set_read_cache(self, operation: str, seconds: float) -> None:
        """Answer an identical read from memory for `seconds`; 0 asks the broker every time."""
        kind = parse_operation(operation)
        if kind not in SHARED_READS or not 0 <= seconds <= MAX_CACHE_S:
            known = ", ".join(sorted(SHARED_READS))
            message = f"cannot keep {kind.value} for {seconds!r} s; give 0 to {MAX_CACHE_S} s and one of {known}"
            raise ConfigError(message)
        self._read_max_age_ns[kind] = round(seconds * SECOND)
        self._reads_shared.forget()
        self._quotes.forget()

    def set_hedging(self, operation: str = "", *, enabled: bool) -> None:
        """Ask a slow read at a second broker too: one operation, or every one that may be asked twice."""
        chosen = {parse_operation(operation)} if operation else SHARED_READS
        if not chosen <= SHARED_READS:
            message = f"{operation} cannot be asked twice; hedge any of {', '.join(sorted(SHARED_READS))}"
            raise ConfigError(message)
        hedged = self._hedges.operations
        self._hedges = HedgePolicy(hedged | chosen if enabled else hedged - chosen)

    # -- one request --------------------------------------------------------------------------------------------------

    async def execute_with_fallback(
        self, operation: str, *, deadline_ns: int | None = None, only: str | None = None, **arguments: Any
    ) -> Any:
        """Run `operation` at the broker that will finish it soonest; at another when that is safe.

        `arguments` are those of the TradingAPI method; `place_order` also takes the fields of an Order, and
        `get_market_data` one `symbol`. `deadline_ns` is an instant of the clock. `only` names the one broker to use; an
        operation on a known order needs it, because its id is that broker's. Raises PermitTimeout or NoBrokerAvailable
        (nothing was sent), ConfigError for a call that makes no sense, or the last BrokerError.
        """
        call = parse_call(operation, arguments, self._new_tag)
        if only is not None:
            self._chooser.account(only)
        elif call.operation in OF_ONE_BROKER and len(self._chooser.accounts) > 1:
            message = f"{call.operation.value} is about an order of one broker; say which one with only=NAME"
            raise ConfigError(message)
        deadline_ns = self._chooser.deadline_ns(deadline_ns)
        if call.operation not in SHARED_READS:
            return await self._with_fallback(call, deadline_ns, only)
        if call.operation is Operation.GET_MARKET_DATA:
            return await self._quotes.get(
                call.about,
                only=only,
                deadline_ns=deadline_ns,
                max_age_ns=self._read_max_age_ns.get(call.operation, 0),
            )
        return await self._reads_shared.get(
            (call.operation, only, call.key),
            lambda leaves: self._with_fallback(call.telling(leaves), deadline_ns, only),
            deadline_ns=deadline_ns,
            max_age_ns=self._read_max_age_ns.get(call.operation, 0),
        )

    async def _fetch_quotes(self, batch: QuoteBatch) -> tuple[Quote, ...]:
        quotes: tuple[Quote, ...] = await self._with_fallback(
            self._quotes_call(batch), batch.deadline_ns, batch.only, batch.tried
        )
        return quotes

    def _quotes_call(self, batch: QuoteBatch) -> Call:
        def send(api: TradingAPI) -> Awaitable[tuple[Quote, ...]]:
            name = next((name for name, account in self._chooser.accounts.items() if account.api is api), api.name)
            return self._quotes.send(batch, name, api)

        def part(count: int) -> Call:
            self._quotes.shed(batch, count)
            return self._quotes_call(batch)

        return Call(Operation.GET_MARKET_DATA, send, len(batch.symbols), part=part, story=batch.story)

    def _carried(self, only: str | None, *, every: bool) -> tuple[int, ...]:
        """The symbols that one permit carries: at every broker, or at each that may be asked now."""
        now_ns = self.clock.now_ns()
        accounts = [self._chooser.account(only)] if only is not None else list(self._chooser.accounts.values())
        asked = [account for account in accounts if every or not account.barred(now_ns)] or accounts
        return tuple(account.carries for account in asked)

    async def _with_fallback(
        self, call: Call, deadline_ns: int, only: str | None, tried: set[str] | None = None
    ) -> Any:
        """`tried` are brokers that have failed the call before; who fails it now is added."""
        tried = set() if tried is None else tried
        last_error: BrokerError | None = None
        if CATEGORY_OF[call.operation] is Category.READS and not tried:
            self._retries.asked()
        for _ in range(2 * len(self._chooser.accounts) + 1):
            try:
                with await self.reserve(
                    call.operation, deadline_ns=deadline_ns, symbols=call.symbols, only=only, exclude=tried
                ) as place:
                    if call.part is not None and place.carried < call.symbols:
                        call = call.part(place.carried)
                    if call.story:
                        place.decision.reason += f"; {call.story}"
                    return await self._ask(place, call, tried)
            except (NoBrokerAvailable, PermitTimeout):
                if last_error is None:
                    raise
                raise last_error from None
            except BrokerError as error:
                # At the deadline it is too late for anybody; a retry spent on it would be missed by another read.
                if self.clock.now_ns() >= deadline_ns or not self._may_go_elsewhere(call, error):
                    raise
                # A broker that counts us above a limit is not tried out: its gate is closed, the wait tells the rest.
                if not isinstance(error, RateLimited):
                    tried.add(error.provider)
                last_error = error
        assert last_error is not None  # noqa: S101 - the loop ends only after an error
        raise last_error

    async def _ask(self, place: Reservation, call: Call, tried: Collection[str]) -> Any:
        """Send it; a read that is hedged goes to a second broker too once this one has taken longer than most."""
        after_ns = None
        if self._hedges.operations and place.only is None:
            answers = self.balancer.answers(place.name, call.operation)
            after_ns = self._hedges.after_ns(call.operation, answers, place.account.limiter.rooms())
        if after_ns is None:
            return await place.call(call.send)
        return await first_answer(
            place, lambda: self._second(place, call, tried), call.send, clock=self.clock, after_ns=after_ns
        )

    def _second(self, place: Reservation, call: Call, tried: Collection[str]) -> Reservation | None:
        """Another broker with a permit and headroom for a hedge, within the budget of retries; None without one."""
        if not self._hedges.has_room(place.account.limiter.rooms()):
            return None
        try:
            second = self.choose(
                call.operation, deadline_ns=place.deadline_ns, symbols=call.symbols, exclude={*tried, place.name}
            )
        except NoBrokerAvailable:
            return None
        if (
            second.permit is not None
            and second.carried >= call.symbols
            and self._hedges.has_room(second.account.limiter.rooms())
            and self._retries.try_retry(self.clock.now_ns())
        ):
            return second
        with second:  # gives its permit back
            second.decision.outcome = "not hedged"
        return None

    def _may_go_elsewhere(self, call: Call, error: BrokerError) -> bool:
        """Whether what failed so may be sent to another broker."""
        an_order = CATEGORY_OF[call.operation] is Category.ORDERS
        if isinstance(error, OrderNotSent | RateLimited):
            return True
        # An order without an answer may be live: sent again, anywhere, it could be two.
        safe = error.elsewhere if isinstance(error, OrderRefused) else not an_order
        # Reads that reached a broker and failed may double the load of the others: only a share of them goes on.
        return safe and (an_order or self._retries.try_retry(self.clock.now_ns()))

    def _new_tag(self) -> str:
        """For a caller without an engine: 19 letters and digits, 72 of their bits drawn at random."""
        return f"m{self._rng.getrandbits(72):018x}"

    def levers(self) -> Levers:
        """What the advisor may propose to move, and how it stands now."""
        return levers_of(self._chooser.accounts, self._read_max_age_ns, hedging=bool(self._hedges.operations))

    def advise(
        self, snapshot: RouterSnapshot | None = None, decided: Sequence[Decided] | None = None
    ) -> tuple[Suggestion, ...]:
        """What the advisor makes of the present figures, most urgent first; about once a second is enough.

        A router hands in its own snapshot, which knows of orders and incidents too; and what was `decided` of late,
        where it does not bear the decisions.
        """
        if snapshot is None and not self.advisor.due(self.clock.now_ns()):
            return self.advisor.suggestions
        self.advisor.levers = self.levers()
        return self.advisor.observe(snapshot or self.snapshot(), decided)

    # -- figures ------------------------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        accounts = self._chooser.accounts.values()
        return Counters(
            requests=sum(account.requests for account in accounts),
            orders=self._sender.orders,
            reads=self._sender.reads,
            failures=sum(account.errors for account in accounts),
            refusals=sum(account.refusals for account in accounts),
            waited=self._chooser.waited,
            timeouts=self._chooser.timeouts,
            events_dropped=self.bus.dropped,
        )

    def broker_snapshots(self) -> tuple[BrokerSnapshot, ...]:
        """Every account as it stands now; reading changes nothing."""
        return broker_snapshots(self._chooser.accounts, self.balancer, self.clock)

    async def get_rate_limit_analytics(self) -> dict[str, dict[str, Any]]:
        """Per account `rate_limit_status` (how full each window is) and `predictive_analytics` (when it ends)."""
        return rate_limit_analytics(self._chooser.accounts, self.clock.now_ns())

    async def get_load_balancing_insights(self) -> dict[str, Any]:
        """`total_routings`, `api_distribution`, `load_balance_efficiency` (0..1) and what else the balancer learned.

        An efficiency that cannot be told yet, because nothing was asked, is 1: nothing could have been placed better.
        `requests_saved`: reads that cost no permit, because an answer to another was young enough or on its way.
        """
        insights = self.balancer.insights()
        efficiency = self.efficiency
        return {
            **insights,
            "load_balance_efficiency": 1.0 if efficiency is None else efficiency,
            "requests_saved": self._quotes.saved + self._reads_shared.shared,
        }

    @property
    def efficiency(self) -> float | None:
        """Work done by the most that could have been done, 0..1; None until there was any."""
        now_ns = self.clock.now_ns()
        meter = self.balancer.efficiency
        if meter.due(now_ns):
            meter.tick(now_ns, usable_rooms(self._chooser.accounts, self.balancer, now_ns))
        return meter.value

    async def get_optimization_suggestions(self) -> list[dict[str, Any]]:
        """What the advisor sees in the present figures, most urgent first."""
        return [suggestion_row(suggestion) for suggestion in self.advise()]

    def snapshot(self) -> RouterSnapshot:
        """What the manager knows of how things stand; the router adds orders, histories and cost."""
        self._sequence += 1
        brokers = self.broker_snapshots()
        return RouterSnapshot(
            sequence=self._sequence,
            at_ns=self.clock.now_ns(),
            epoch_ns=self.clock.epoch_ns(),
            simulated=self.simulated,
            brokers=brokers,
            efficiency=self.efficiency,
            counters=self.counters,
        )
