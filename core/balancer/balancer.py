"""IntelligentLoadBalancer: frozen candidates in, one explained choice out.

The cost of a broker is the expected time until the operation is done there, every term in seconds:

    wait      until the limiter has a permit for this category and cost
    queue     until those who wait already have theirs
    latency   of this operation there, as its answers rise and fall, with more in flight than usual, and a share of the
              slowest: of two that are as quick in the mean the steadier one is better
    failure   the chance of a failure times what one costs: a read goes elsewhere, an order may have to be looked up.
              One that owes an answer for longer than its answers ever take has probably gone
    headroom  the price of the permit: what its loss may cost later, more the fuller and the longer the window

The cheapest wins, within rules that no figure outweighs: never one that is open, drained, blocked, refused or excluded;
never one that has to wait while another has a permit now, unless that one has fallen silent; one that is limited only
when no other is left. Near-ties go to the broker with the most headroom.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from ..clock import MILLISECOND, SECOND, Clock, SystemClock
from ..errors import NoBrokerAvailable
from ..models import (
    CATEGORY_OF,
    BreakerState,
    Category,
    Decided,
    Decision,
    HealthStatus,
    LatencySnapshot,
    WindowRoom,
)
from .breaker import BreakerSettings, CircuitBreaker
from .candidate import NO_RULES, Candidate, RoutingRules
from .choice import Choice, cheapest, fewest, hurry, in_time, nobody, probe_of, ready, ruled_out
from .cost import Cost, Prices, Scarcity, next_minute, scarcities, weigh
from .efficiency import EfficiencyMeter
from .known import DOUBT, HALF_OPEN, OPEN, Known, Recent
from .load import PeakEwma

__all__ = ["BalancerSettings", "BreakerView", "IntelligentLoadBalancer"]

_ORDERS: Final = frozenset(operation for operation, category in CATEGORY_OF.items() if category is Category.ORDERS)
_WORKS: Final = frozenset({"ok", "refused"})
_FAILS: Final = frozenset({"not_sent", "unknown", "error"})
OUTCOMES: Final = _WORKS | _FAILS | {"limited", "auth", "abandoned"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSettings:
    """Prices and bounds. Costs that differ by less than `near_s` or `near_share` of the best are a tie.

    An answer is slow when it takes longer than `slow_s` and `slow_factor` times the others' usual. A probe that nobody
    sends is taken from the traffic after `probe_grace_ns`. `decisions` are kept.
    """

    prices: Prices = field(default_factory=Prices)
    near_s: float = 0.003
    near_share: float = 0.1
    slow_s: float = 0.5
    slow_factor: float = 5.0
    probe_grace_ns: int = SECOND
    decisions: int = 512
    breaker: BreakerSettings = field(default_factory=BreakerSettings)


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker as others may see it; `retry_in_ns` is 0 unless open."""

    state: BreakerState
    retry_in_ns: int = 0
    reason: str = ""


class IntelligentLoadBalancer:
    """Chooses a broker for each operation and learns from what came of it. All calls are synchronous but one.

    `apis`: names, or a mapping by name. `clock` defaults to the machine's, `rng` to one seeded with 0.
    """

    def __init__(
        self,
        apis: Iterable[str] = (),
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        settings: BalancerSettings | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._now_ns = self._clock.now_ns
        self._random = rng or random.Random(0)
        self._settings = settings or BalancerSettings()
        self._slow_ns = self._settings.slow_s * SECOND
        self._known: defaultdict[str, Known] = defaultdict(self._new)  # who was not announced is new when first named
        self._demand = Recent()
        self._began_ns = self._clock.now_ns()
        self._scarce: Mapping[str, Scarcity] = {}
        self._scarce_for: list[int] = []
        self._scarce_until_ns = 0
        self._serial = 0
        self._ring: deque[Choice] = deque(maxlen=self._settings.decisions)
        self.efficiency = EfficiencyMeter()
        self.set_apis(apis)

    # What the brokers are

    def set_apis(self, names: Iterable[str]) -> None:
        """The brokers from now on; what is known of one that stays is kept."""
        known = self._known
        self._known = defaultdict(self._new, {name: known[name] for name in names})

    def reset(self, name: str) -> None:
        """Close the breakers of `name` and forget a failed log-in: an operator's word, or a fresh token."""
        known = self._known[name]
        known.auth_failed = ""
        for breaker in known.breakers:
            breaker.reset()

    # The choice

    def choose(
        self,
        operation: str,
        candidates: Sequence[Candidate],
        *,
        rules: RoutingRules = NO_RULES,
        pin: str = "",
        exclude: Collection[str] = (),
        deadline_ns: int | None = None,
        thrifty: bool = False,
        counted: bool = True,
    ) -> Choice:
        """The broker that `operation` goes to, with what each one would have cost.

        `pin` and `exclude` are this one request's own, on top of `rules`. `deadline_ns`: nanoseconds left for an
        answer; a broker that would answer too late gives way to one that would not. `thrifty`: of those that can take
        it now, only those with the fewest permits. `chosen` is empty when none may take it, and `reason` then says why
        in one line. Not `counted`, it is only what the choice would be: no share, no place in the log.
        """
        now_ns = self._now_ns()
        orders = operation in _ORDERS
        left_s = math.inf if deadline_ns is None else deadline_ns / 1e9
        settings = self._settings
        if now_ns >= self._scarce_until_ns:
            self._judge_scarcity(candidates, self._scarce_for, now_ns)
        while True:  # once, but where others are able than scarcity was judged for
            costs, sound = weigh(
                settings.prices, candidates, self._known, self._scarce, operation, now_ns, left_s, self._cold_s, orders
            )
            plain = sound and not (rules.bars or pin or exclude)
            barred: dict[int, str] = {}
            able = list(range(len(candidates)))
            if not plain:
                able = self._able(candidates, barred, rules, pin, exclude, now_ns, orders=orders)
            if able == self._scarce_for:
                break
            self._judge_scarcity(candidates, able, now_ns)
        if plain and len(able) > 1 and not (rules.prefer or thrifty):
            # As nearly always: nobody is out, nobody has to wait, and nothing but the cost decides.
            index, reason = cheapest(able, costs, rules.weights, settings.near_s, settings.near_share, self._random)
        else:
            index, reason = self._pick(
                candidates, costs, barred, able, rules, exclude, left_s, now_ns, orders=orders, thrifty=thrifty
            )
        self._serial += counted
        choice = Choice(self._serial, now_ns, operation, reason, index, costs, barred)
        if counted:
            if index >= 0:
                self._known[choice.chosen].routed += 1
            self._ring.append(choice)
        return choice

    async def select_best_api(self, operation: str) -> str:
        """The best of the brokers given, for a caller without a limiter.

        Raises NoBrokerAvailable when none may take it.
        """
        candidates = [Candidate(name, in_flight=known.load.in_flight) for name, known in self._known.items()]
        choice = self.choose(operation, candidates)
        if not choice.chosen:
            message = f"no broker for {operation}: {choice.reason}"
            raise NoBrokerAvailable(message)
        return choice.chosen

    # What came of it

    def started(self, name: str, operation: str) -> int:
        """A request leaves for `name`; when that is. Each one needs its `finished`."""
        now_ns = self._now_ns()
        known = self._known[name]
        orders = operation in _ORDERS
        known.load.started(now_ns, orders=orders)
        known.traffic.add(now_ns)
        self._demand.add(now_ns)
        if not orders:
            known.asked_ns = now_ns
            for breaker in known.breakers:
                breaker.probe_sent(now_ns)
        return now_ns

    def heard(self, name: str, operation: str, latency_ns: int) -> None:
        """The answer of `name` is there after `latency_ns`, and only has to be read: it owes that one no more."""
        self._known[name].load.ended(latency_ns, self._now_ns(), orders=operation in _ORDERS, heard=True)

    def finished(
        self, name: str, operation: str, latency_ns: int, outcome: str, *, heard_ns: int | None = None
    ) -> None:
        """A request to `name` came to its end after `latency_ns`. `heard_ns`: when its answer was said to be `heard`.

        `outcome`: ok; refused (the broker's own no: it works); limited; auth; not_sent, error (an answer that speaks of
        ill health); unknown (no answer); abandoned (nobody waits for it any more). Raises ValueError for any other.
        """
        if outcome not in OUTCOMES:
            message = f"outcome is {outcome!r}; one of {', '.join(sorted(OUTCOMES))}"
            raise ValueError(message)
        now_ns = self._now_ns()
        known = self._known[name]
        sent_ns = (now_ns if heard_ns is None else heard_ns) - latency_ns
        orders = operation in _ORDERS
        load = known.load
        if heard_ns is None:
            if outcome == "abandoned" and load.suspicion(now_ns) >= 1.0:
                outcome = "unknown"  # it owed the answer for longer than its answers ever take
            load.ended(latency_ns, now_ns, orders=orders, heard=outcome not in _UNHEARD)
        breaker = known.breakers[orders]
        if outcome in _WORKS:
            known.auth_failed = ""
            load.answered(operation, latency_ns, now_ns)
            if load.failures.level:  # else nothing was lost either
                load.worked(now_ns)
            if known.suspect:
                known.suspect = max(load.failures.at(now_ns), load.lost.at(now_ns)) > DOUBT
            was_open = breaker.is_open
            slow = latency_ns > self._slow_ns and self._slow(name, operation, latency_ns)
            breaker.succeeded(now_ns, sent_ns, slow=slow)
            if not orders:
                known.breakers[True].proved(now_ns, sent_ns)
            if was_open and not breaker.is_open:
                load.recovered()
        elif outcome in _FAILS:
            known.suspect = True
            load.failed(now_ns, lost=outcome == "unknown")
            breaker.failed(now_ns, sent_ns, _WHY[outcome])
        else:
            breaker.probe_ended()
            self._learn_otherwise(known, operation, latency_ns, outcome, now_ns)

    def _learn_otherwise(self, known: Known, operation: str, latency_ns: int, outcome: str, now_ns: int) -> None:
        """What follows from an end that speaks neither for a broker's health nor against it."""
        if outcome == "abandoned":
            ewma = known.load.latency_of.get(operation)
            if ewma is not None and latency_ns > ewma.value_ns:
                known.load.answered(operation, latency_ns, now_ns)  # it would have taken at least so long
        elif outcome == "auth":
            known.auth_failed = "the broker refused the token; log in again"
        # A refusal is the limiter's matter: who is asked too often is not ill.

    def update_performance_metrics(self, name: str, operation: str, response_time: float, success: bool) -> None:  # noqa: FBT001 - the published call
        """Learn one request that took `response_time` seconds. Raises ValueError unless that is at least 0."""
        if not 0 <= response_time < math.inf:
            message = f"response_time is {response_time!r}; give seconds of at least 0"
            raise ValueError(message)
        self.finished(name, operation, round(response_time * SECOND), "ok" if success else "error")

    # What is known

    def decisions(self, limit: int = 50) -> tuple[Decision, ...]:
        """The latest decisions, newest first."""
        return tuple(choice.decision() for choice in islice(reversed(self._ring), limit))

    def decided(self, limit: int = 50) -> list[Decided]:
        """What advice is made of in the latest decisions, newest first."""
        return [choice.decided() for choice in islice(reversed(self._ring), limit)]

    def breaker(self, name: str, category: Category | None = None) -> BreakerView:
        """The breaker of one class, or the worse of all classes."""
        now_ns = self._clock.now_ns()
        known = self._known[name]
        known.look_for_stalls(now_ns)
        return _worst(known.breakers if category is None else (known.breakers[category == Category.ORDERS],), now_ns)

    def health(self, name: str) -> tuple[HealthStatus, str]:  # noqa: PLR0911 - a list of findings, worst first
        """How `name` is by what its answers tell, and why, in one line."""
        now_ns = self._clock.now_ns()
        known = self._known[name]
        if known.auth_failed:
            return HealthStatus.AUTH_FAILED, known.auth_failed
        known.look_for_stalls(now_ns)
        view = _worst(known.breakers, now_ns)
        if view.state is BreakerState.OPEN:
            return HealthStatus.UNHEALTHY, f"{view.reason}; next probe in {view.retry_in_ns / SECOND:.1f} s"
        if view.state is BreakerState.HALF_OPEN:
            return HealthStatus.UNHEALTHY, f"{view.reason}; being probed"
        failing = known.load.failures.at(now_ns)
        if failing >= 0.1:
            return HealthStatus.DEGRADED, f"{failing:.0%} of its recent requests failed"
        reads, orders = known.breakers
        if now_ns < reads.trusted_at_ns or now_ns < orders.trusted_at_ns:
            return HealthStatus.DEGRADED, "recovered a moment ago; its share grows again"
        stalled = known.load.stalled(now_ns)
        if stalled:
            return HealthStatus.DEGRADED, f"{stalled} unanswered for {known.load.oldest_ns(now_ns) / SECOND:.1f} s"
        if not known.load.latency.count:
            return HealthStatus.UNKNOWN, "not asked yet"
        usual_ns, value_ns = known.load.latency.usual_ns(), known.load.latency.ewma.value_ns
        if value_ns > _SLOWER * usual_ns and value_ns - usual_ns > self._slow_ns:
            slower = f"{value_ns / SECOND:.1f} s an answer, usually {usual_ns / MILLISECOND:.0f} ms"
            return HealthStatus.DEGRADED, slower
        return HealthStatus.HEALTHY, ""

    def latency(self, name: str) -> LatencySnapshot:
        return self._known[name].load.latency.snapshot(self._clock.now_ns())

    def answers(self, name: str, operation: str) -> PeakEwma | None:
        """How `name` answers one operation; None before it has."""
        return self._known[name].load.latency_of.get(operation)

    def probes_due(self) -> tuple[str, ...]:
        """The brokers that a health check should be sent to now. Ask a few times a second.

        Those half open without a probe under way, and those that failed or fell silent and have no traffic since: four
        checks in three seconds at most. One that has no traffic for any other reason, while others have: four a minute.
        """
        now_ns, wanted_ns = self._clock.now_ns(), self._demand.last_ns
        return tuple(name for name, known in self._known.items() if known.probe_due(now_ns, wanted_ns))

    def traffic_shares(self) -> dict[str, float]:
        """Each broker's share of the requests of about the last minute; they sum to 1, before the first all are 0."""
        now_ns = self._clock.now_ns()
        recent = {name: known.traffic.at(now_ns) for name, known in self._known.items()}
        total = sum(recent.values())
        return {name: share / total if total else 0.0 for name, share in recent.items()}

    @staticmethod
    def capacity_shares(rooms: Mapping[str, Sequence[WindowRoom]]) -> dict[str, float]:
        """Each broker's share of what all could take within the next minute; they sum to 1, or are all 0."""
        next_of = {name: next_minute(counted) for name, counted in rooms.items()}
        total = sum(next_of.values())
        return {name: room / total if total else 0.0 for name, room in next_of.items()}

    def insights(self) -> dict[str, Any]:
        """The balancer's figures as plain values, for `get_load_balancing_insights`."""
        known = self._known
        answered = [
            (k.load.latency.count, k.load.latency.ewma.value_ns) for k in known.values() if k.load.latency.count
        ]
        count = sum(n for n, _ in answered)
        return {
            "total_routings": sum(k.routed for k in known.values()),
            "api_distribution": {name: k.routed for name, k in known.items()},
            "traffic_shares": self.traffic_shares(),
            "load_balance_efficiency": self.efficiency.value,
            "average_latency_ms": sum(n * ewma for n, ewma in answered) / count / MILLISECOND if count else None,
            "latency_ms": {
                name: k.load.latency.ewma.value_ns / MILLISECOND if k.load.latency.count else None
                for name, k in known.items()
            },
            "failure_rates": {name: k.load.failures.at(self._clock.now_ns()) for name, k in known.items()},
            "breaker_states": {name: self.breaker(name).state.value for name in known},
            "health": {name: self.health(name)[0].value for name in known},
        }

    # How

    def _new(self) -> Known:
        return Known(self._settings.breaker, self._random)

    def _slow(self, name: str, operation: str, latency_ns: int) -> bool:
        """Whether an answer took far longer than the same operation takes elsewhere."""
        others = sorted(
            ewma.value_ns
            for other, known in self._known.items()
            if other != name and (ewma := known.load.latency_of.get(operation)) is not None
        )
        return bool(others) and latency_ns > self._settings.slow_factor * others[len(others) // 2]

    def _demand_per_s(self, now_ns: int) -> float:
        """Requests a second of about the last minute, or since the start."""
        seen_s = min(60.0, max(1.0, (now_ns - self._began_ns) / SECOND))
        return self._demand.at(now_ns) / (60.0 * (1.0 - math.exp(-seen_s / 60.0)))

    def _cold_s(self, operation: str) -> float:
        """A broker that nothing is known of counts as good as the best known one: it gets its fair first share."""
        best_ns, cold = math.inf, False
        for known in self._known.values():
            ewma = known.load.latency_of.get(operation)
            if ewma is None:
                cold = True
            elif ewma.value_ns < best_ns:
                best_ns = ewma.value_ns
        return best_ns / 1e9 if cold and best_ns < math.inf else self._settings.prices.cold_latency_s

    def _able(
        self,
        candidates: Sequence[Candidate],
        barred: dict[int, str],
        rules: RoutingRules,
        pin: str,
        exclude: Collection[str],
        now_ns: int,
        *,
        orders: bool,
    ) -> list[int]:
        """The places of those that may take it; why each of the others may not goes into `barred`."""
        able = []
        for i, candidate in enumerate(candidates):
            # What rules out comes first: a broker that is out of the question must not be probed with this request
            # either.
            why = ruled_out(candidate, rules, pin, exclude) or candidate.barred
            why = why or self._known[candidate.name].bar(now_ns, orders=orders)
            if why:
                barred[i] = why
            else:
                able.append(i)
        return able

    def _judge_scarcity(self, candidates: Sequence[Candidate], able: list[int], now_ns: int) -> None:
        """What the others could not carry, per broker: asked ten times a second, and when another set is able."""
        chosen = [candidate for i, candidate in enumerate(candidates) if i in able]
        self._scarce = scarcities(self._settings.prices, chosen, self._demand_per_s(now_ns))
        self._scarce_for = able.copy()
        self._scarce_until_ns = now_ns + 100 * MILLISECOND

    def _pick(  # noqa: C901, PLR0912 - the rules of the choice stand in one place, in their order
        self,
        candidates: Sequence[Candidate],
        costs: Sequence[Cost],
        barred: dict[int, str],
        able: list[int],
        rules: RoutingRules,
        exclude: Collection[str],
        left_s: float,
        now_ns: int,
        *,
        orders: bool,
        thrifty: bool,
    ) -> tuple[int, str]:
        """The place of the chosen candidate, -1 when there is none, and why."""
        last_resort = ""
        if barred or not able:
            knowns = [self._known[candidate.name] for candidate in candidates]
            if not any(candidates[i].wait_ns <= 0 for i in able):
                hurry(candidates, barred, knowns, now_ns)
            if not orders:
                grace_ns = self._settings.probe_grace_ns if able else 0
                probe = probe_of(candidates, barred, knowns, now_ns, grace_ns)
                if probe >= 0:
                    del barred[probe]
                    return probe, f"probe: {candidates[probe].name} may have recovered"
                if not able:
                    # Better a broker in doubt than none, and the decision says so. Not for an order: it may go under.
                    able = [i for i, why in barred.items() if why in (OPEN, HALF_OPEN)]
                    last_resort = "last resort, every breaker is open: "
                    for i in able:
                        del barred[i]
            if not able:
                return -1, nobody(candidates, barred)
        if exclude and rules.chain:
            by_name = {candidates[i].name: i for i in able}
            for name in rules.chain:
                if name in by_name:
                    return by_name[name], f"next in the fallback chain after {', '.join(sorted(exclude))}"
        settings = self._settings
        if len(able) == 1:
            index, reason = able[0], "the only one that can"
        else:
            able = in_time(able, costs, barred, left_s)
            now, among = ready(able, candidates, costs)
            for name in rules.prefer if now else ():
                for i in among:
                    if candidates[i].name == name:
                        return i, f"preferred for this operation: {name}"
            if thrifty and now:
                among = fewest(among, candidates, barred)
            index, reason = cheapest(among, costs, rules.weights, settings.near_s, settings.near_share, self._random)
            if not costs[index].silent:
                for i in able:
                    if costs[i].silent and candidates[i].wait_ns <= 0:
                        barred[i] = "silent: longer without an answer than any of its answers took"
        wait_s = costs[index].wait_s
        if wait_s > 0 and not last_resort:
            reason = f"no permit anywhere for {wait_s:.3g} s: {reason}"
        return index, last_resort + reason


_SLOWER: Final = 3.0  # times the usual, from where on a broker is told to be slow
_UNHEARD: Final = frozenset({"not_sent", "unknown", "abandoned"})
_WHY: Final = {"not_sent": "could not connect", "unknown": "no answer", "error": "server error"}
_CLOSED: Final = BreakerView(BreakerState.CLOSED)
_WORSE: Final = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


def _worst(breakers: Sequence[CircuitBreaker], now_ns: int) -> BreakerView:
    for one in breakers:
        if one.is_open:
            break
    else:
        return _CLOSED
    views = [BreakerView(one.state(now_ns), one.retry_in_ns(now_ns), one.reason) for one in breakers]
    return max(views, key=lambda view: _WORSE[view.state])
