"""A broker for one request, and its permit: at once where one is free, else waited for, wherever that is sooner."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .accounts import Account
from .balancer import Choice, IntelligentLoadBalancer, RoutingRules
from .clock import MILLISECOND, SECOND, Clock
from .errors import ConfigError, NoBrokerAvailable, PermitTimeout, QueueFull
from .models import CATEGORY_OF, Decision, Operation, Priority
from .routing import ManagerConfig
from .sending import Reservation, Sender

__all__ = ["Chooser"]


class Chooser:
    """Chooses among `accounts`, which whoever owns it replaces at any time.

    `waited`: requests whose permit was longer than a millisecond in coming. `timeouts`: waits that ended without one.
    """

    def __init__(
        self, config: ManagerConfig, *, clock: Clock, balancer: IntelligentLoadBalancer, sender: Sender
    ) -> None:
        self.accounts: Mapping[str, Account] = {}
        self.waited = 0
        self.timeouts = 0
        self._clock = clock
        self._balancer = balancer
        self._sender = sender
        self._patience_ns = config.deadline_ms * MILLISECOND
        self._no_rule = RoutingRules(chain=config.fallback_chain)
        self._rules = {
            operation: rule.compiled(operation, config.fallback_chain)
            for operation, rule in config.routing_rules.items()
        }

    def account(self, name: str) -> Account:
        """One account. Raises ConfigError for an unknown name."""
        try:
            return self.accounts[name]
        except KeyError:
            known = ", ".join(self.accounts) or "none"
            message = f"no broker is named {name!r}; known: {known}"
            raise ConfigError(message) from None

    def deadline_ns(self, given_ns: int | None) -> int:
        """The deadline of a request: the one given, or as far from now as the config has patience."""
        return self._clock.now_ns() + self._patience_ns if given_ns is None else given_ns

    def choose(
        self,
        operation: Operation,
        *,
        deadline_ns: int | None = None,
        symbols: int = 1,
        only: str | None = None,
        exclude: Collection[str] = (),
        priority: Priority | None = None,
    ) -> Reservation:
        """The best broker now, and its permit when that is free at once: a block. Without one, `wait` for it.

        `only` leaves one broker, `exclude` takes some away. Raises NoBrokerAvailable: nothing was sent.
        """
        began_ns = self._clock.now_ns()
        if deadline_ns is None:
            deadline_ns = began_ns + self._patience_ns
        decision = self._decide(operation, began_ns, deadline_ns, symbols, only, exclude)
        account = self.accounts[decision.chosen]
        category, usual, cost = account.asks[operation]
        place = Reservation(
            self._sender,
            account,
            decision,
            operation,
            usual if priority is None else priority,
            deadline_ns,
            began_ns,
            symbols,
            only,
            exclude,
        )
        if began_ns <= deadline_ns:
            if symbols != 1:
                cost = account.api.cost(operation, symbols=place.carried)
            place.permit = account.limiter.try_acquire(category, cost)
        if place.permit is None:
            self._balancer.efficiency.asked(category)
        else:
            self._balancer.efficiency.routed_at_once(category, account.name)
        return place

    async def wait(self, place: Reservation, *, anew: bool = False) -> None:
        """Wait for the permit of `place`, at another broker where that is sooner. Raises PermitTimeout or QueueFull.

        `anew`: others may have got in line since the broker was chosen, so choose again before getting in line.
        """
        operation, category = place.operation, CATEGORY_OF[place.operation]
        if anew:
            place.decision.outcome = "chosen again before it got in line"
            self._decide_anew(place)
        while True:
            account, decision = place.account, place.decision
            try:
                place.permit = await account.limiter.acquire(
                    category,
                    account.api.cost(operation, symbols=place.carried),
                    priority=place.priority,
                    deadline_ns=self._last_useful_ns(decision, place.deadline_ns),
                )
            except (PermitTimeout, QueueFull):
                self.timeouts += 1
                decision.outcome = "no permit in time"
                place.exclude = {*place.exclude, decision.chosen}
                if place.only or place.exclude.issuperset(self.accounts):
                    raise
                self._decide_anew(place)
                continue
            self._balancer.efficiency.routed(category, account.name)
            place.waited_ns = self._clock.now_ns() - place.began_ns
            self.waited += place.waited_ns > MILLISECOND
            return

    async def reserve(
        self,
        operation: Operation,
        *,
        deadline_ns: int | None = None,
        symbols: int = 1,
        only: str | None = None,
        exclude: Collection[str] = (),
        priority: Priority | None = None,
    ) -> Reservation:
        """Choose a broker and hold its permit for a block: `with await chooser.reserve(...) as place`.

        `only` leaves one broker, `exclude` takes some away. Raises NoBrokerAvailable, PermitTimeout or QueueFull:
        nothing was sent.
        """
        place = self.choose(
            operation, deadline_ns=deadline_ns, symbols=symbols, only=only, exclude=exclude, priority=priority
        )
        if place.permit is None:
            try:
                await self.wait(place)
            except BaseException:
                self._sender.gave_up(place)
                raise
        return place

    def _last_useful_ns(self, decision: Choice, deadline_ns: int) -> int:
        """Until when a permit is worth having: later, the answer would come too late, and the permit would be wasted.

        At least half of the time left is given to waiting, so that a slow broker is not written off by a guess.
        """
        now_ns = self._clock.now_ns()
        return deadline_ns - min(round(decision.latency_s * SECOND), max(0, deadline_ns - now_ns) // 2)

    def preview(self, operation: Operation, *, only: str | None = None) -> Decision:
        """The broker that `operation` would go to now, and why; nothing is counted. Raises ConfigError for `only`."""
        if only is not None:
            self.account(only)
        now_ns = self._clock.now_ns()
        return self._balancer.choose(
            operation,
            [account.candidate(operation, 1, now_ns) for account in self.accounts.values()],
            rules=self._rules.get(operation, self._no_rule),
            pin=only or "",
            deadline_ns=self._patience_ns,
            counted=False,
        ).decision()

    def _decide(
        self,
        operation: Operation,
        now_ns: int,
        deadline_ns: int,
        symbols: int,
        only: str | None,
        exclude: Collection[str],
    ) -> Choice:
        """The balancer's choice. Raises NoBrokerAvailable with the reason that bars each."""
        decision = self._balancer.choose(
            operation,
            [account.candidate(operation, symbols, now_ns) for account in self.accounts.values()],
            rules=self._rules.get(operation, self._no_rule),
            pin=only or "",
            exclude=exclude,
            deadline_ns=deadline_ns - now_ns,
            thrifty=symbols > 1,
        )
        if not decision.chosen:
            message = f"no broker can take {operation.value} now: {decision.reason}"
            raise NoBrokerAvailable(message)
        return decision

    def _decide_anew(self, place: Reservation) -> None:
        now_ns = self._clock.now_ns()
        place.decision = self._decide(
            place.operation, now_ns, place.deadline_ns, place.symbols, place.only, place.exclude
        )
        place.account = self.accounts[place.decision.chosen]
