"""IntelligentLoadBalancer: frozen candidates in, one explained choice out.

The cost of a broker is the expected time until the operation is done there, every term in seconds:

    wait      until the limiter has a permit for this category and cost
    queue     until those who wait already have theirs
    latency   of this operation there, as its answers rise and fall, and with more in flight than usual
    failure   the chance of a failure times what one costs: a read goes elsewhere, an order may have to be looked up
    headroom  the price of the permit: what its loss may cost later, more the fuller and the longer the window

The cheapest wins, within rules that no figure outweighs: never one that is open, drained, blocked, refused or excluded;
never one that has to wait while another has a permit now; one that is limited only when no other is left. Near-ties go
to the broker with the most headroom.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..clock import MILLISECOND, SECOND, Clock, SystemClock
from ..errors import NoBrokerAvailable
from ..models import (
    CATEGORY_OF,
    BreakerState,
    Category,
    Decision,
    HealthStatus,
    LatencySnapshot,
    WindowHeadroom,
)
from .breaker import BreakerSettings, CircuitBreaker
from .candidate import NO_RULES, Candidate, RoutingRules
from .choice import cheapest, in_time, nobody, ready, ruled_out
from .cost import NO_SCARCITY, Cost, Prices, Scarcity, next_minute, scarcities, weigh
from .efficiency import EfficiencyMeter
from .known import Known, Recent
from .load import LatencyMeter

__all__ = ["BalancerSettings", "BreakerView", "IntelligentLoadBalancer"]

_ORDERS: Final = frozenset(operation for operation, category in CATEGORY_OF.items() if category is Category.ORDERS)
_OUT: Final[Mapping[HealthStatus, str]] = {
    HealthStatus.AUTH_FAILED: "log-in refused",
    HealthStatus.BLOCKED_FOR_DAY: "blocked for the day",
    HealthStatus.DRAINED: "drained",
}
_WORKS: Final = frozenset({"ok", "refused"})
_FAILS: Final = frozenset({"not_sent", "unknown", "error"})
OUTCOMES: Final = _WORKS | _FAILS | {"limited", "auth"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSettings:
    """Prices and bounds. Costs that differ by less than `near_s` or `near_share` of the best are a tie.

    An answer is slow when it takes longer than `slow_s` and `slow_factor` times the others' usual. `stalled` requests
    without an answer for far longer than usual open a breaker. A probe that nobody sends is taken from the traffic
    after `probe_grace_ns`. `decisions` are kept.
    """

    prices: Prices = field(default_factory=Prices)
    near_s: float = 0.003
    near_share: float = 0.1
    slow_s: float = 0.5
    slow_factor: float = 5.0
    stalled: int = 3
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
        self._random = rng or random.Random(0)
        self._settings = settings or BalancerSettings()
        self._known: dict[str, Known] = {}
        self._demand = Recent()
        self._began_ns = self._clock.now_ns()
        self._scarce: Mapping[str, Scarcity] = {}
        self._scarce_for: list[bool] = []
        self._scarce_until_ns = 0
        self._serial = 0
        self._ring: deque[Decision] = deque(maxlen=self._settings.decisions)
        self._outcomes: dict[int, str] = {}
        self.efficiency = EfficiencyMeter()
        self.set_apis(apis)

    # What the brokers are

    def set_apis(self, names: Iterable[str]) -> None:
        """The brokers from now on; what is known of one that stays is kept."""
        known = self._known
        self._known = {name: known.get(name) or self._new() for name in names}

    def reset(self, name: str) -> None:
        """Close the breakers of `name` and forget a failed log-in: an operator's word, or a fresh token."""
        known = self._of(name)
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
        counted: bool = True,
    ) -> Decision:
        """The broker that `operation` goes to, with what each one would have cost.

        `pin` and `exclude` are this one request's own, on top of `rules`. `deadline_ns`: nanoseconds left for an
        answer; a broker that would answer too late gives way to one that would not. `chosen` is empty when none may
        take it, and `reason` then says why in one line. Not `counted`, it is only what the choice would be: no share,
        no place in the log.
        """
        now_ns = self._clock.now_ns()
        orders = operation in _ORDERS
        free = rules is NO_RULES and not pin and not exclude
        knowns = [self._known.get(candidate.name) or self._of(candidate.name) for candidate in candidates]
        # What rules out comes first: a broker that is out of the question must not be probed with this request either.
        barred = [
            ("" if free and candidate.weight > 0 else ruled_out(candidate, rules, pin, exclude))
            or self._bar(candidate, known, known.breakers[orders], now_ns)
            for candidate, known in zip(candidates, knowns, strict=True)
        ]
        scarcity = self._scarcity(candidates, barred, now_ns)
        prices, cold_s = self._settings.prices, -1.0
        costs: list[Cost] = []
        for candidate, known, why in zip(candidates, knowns, barred, strict=True):
            load = known.load
            ewma = load.latency_of.get(operation)
            if ewma is None:
                cold_s = self._cold_s(operation) if cold_s < 0 else cold_s
                expected_s = cold_s * (candidate.in_flight + 1)
            else:
                expected_s = ewma.expected_s(candidate.in_flight)
            scarce = scarcity.get(candidate.name, NO_SCARCITY)
            costs.append(
                weigh(prices, candidate, load, known.breakers[orders], scarce, expected_s, now_ns, orders, why)
            )
        index, reason = self._pick(candidates, costs, barred, rules, exclude, deadline_ns, now_ns, orders=orders)
        self._serial += counted
        chosen = ""
        if index >= 0:
            chosen = candidates[index].name
            knowns[index].routed += counted
        decision = Decision(
            serial=self._serial,
            at_ns=now_ns,
            operation=operation,
            chosen=chosen,
            reason=reason,
            candidates=tuple(
                [
                    cost.terms if cost.terms.barred == why else replace(cost.terms, barred=why)
                    for cost, why in zip(costs, barred, strict=True)
                ]
            ),
        )
        if not counted:
            return decision
        if len(self._ring) == self._ring.maxlen:
            self._outcomes.pop(self._ring[0].serial, None)
        self._ring.append(decision)
        return decision

    async def select_best_api(self, operation: str) -> str:
        """The best of the brokers given, for a caller without a limiter.

        Raises NoBrokerAvailable when none may take it.
        """
        candidates = [Candidate(name, in_flight=known.load.in_flight) for name, known in self._known.items()]
        decision = self.choose(operation, candidates)
        if not decision.chosen:
            message = f"no broker for {operation}: {decision.reason}"
            raise NoBrokerAvailable(message)
        return decision.chosen

    # What came of it

    def started(self, name: str, operation: str) -> None:
        """A request has left for `name`. Each one needs its `finished`."""
        now_ns = self._clock.now_ns()
        known = self._of(name)
        known.load.started(now_ns)
        known.traffic.add(now_ns)
        self._demand.add(now_ns)
        if operation not in _ORDERS:
            known.asked_ns = now_ns
            for breaker in known.breakers:
                breaker.probe_sent(now_ns)

    def finished(self, name: str, operation: str, latency_ns: int, outcome: str) -> None:
        """A request to `name` came to its end after `latency_ns`.

        `outcome`: ok; refused (the broker's own no: it works); limited; auth; not_sent, error (an answer that speaks of
        ill health); unknown (no answer). Raises ValueError for any other.
        """
        if outcome not in OUTCOMES:
            message = f"outcome is {outcome!r}; one of {', '.join(sorted(OUTCOMES))}"
            raise ValueError(message)
        now_ns = self._clock.now_ns()
        known = self._of(name)
        known.load.ended(latency_ns, now_ns)
        sent_ns = now_ns - latency_ns
        orders = operation in _ORDERS
        breaker = known.breakers[orders]
        if outcome in _WORKS:
            known.auth_failed = ""
            known.suspect = False
            known.load.answered(operation, latency_ns, now_ns)
            known.load.worked(now_ns)
            was_open = breaker.is_open
            slow = latency_ns > self._settings.slow_s * SECOND and self._slow(name, operation, latency_ns)
            breaker.succeeded(now_ns, sent_ns, slow=slow)
            if not orders:
                known.breakers[True].proved(now_ns, sent_ns)
            if was_open and not breaker.is_open:
                known.load.recovered()
        elif outcome in _FAILS:
            known.suspect = True
            known.load.failed(now_ns, lost=outcome == "unknown")
            breaker.failed(now_ns, sent_ns, _WHY[outcome])
        else:
            breaker.probe_ended()
            if outcome == "auth":
                known.auth_failed = "the broker refused the token; log in again"
            else:
                known.refusals += 1  # the limiter's matter: who is asked too often is not ill

    def update_performance_metrics(self, name: str, operation: str, response_time: float, success: bool) -> None:  # noqa: FBT001 - the published call
        """Learn one request that took `response_time` seconds. Raises ValueError unless that is at least 0."""
        if not 0 <= response_time < math.inf:
            message = f"response_time is {response_time!r}; give seconds of at least 0"
            raise ValueError(message)
        self.finished(name, operation, round(response_time * SECOND), "ok" if success else "error")

    def resolve(self, serial: int, outcome: str) -> None:
        """Say what came of a decision; one that has left the ring is ignored."""
        if self._ring and self._ring[0].serial <= serial <= self._serial:
            self._outcomes[serial] = outcome

    # What is known

    def decisions(self, limit: int = 50) -> tuple[Decision, ...]:
        """The latest decisions, newest first."""
        found: list[Decision] = []
        for decision in reversed(self._ring):
            if len(found) >= limit:
                break
            outcome = self._outcomes.get(decision.serial)
            found.append(decision if outcome is None else replace(decision, outcome=outcome))
        return tuple(found)

    def breaker(self, name: str, category: Category | None = None) -> BreakerView:
        """The breaker of one class, or the worse of all classes."""
        now_ns = self._clock.now_ns()
        known = self._of(name)
        self._look_for_stalls(known, now_ns)
        breakers = known.breakers if category is None else (known.breakers[category == Category.ORDERS],)
        views = [BreakerView(one.state(now_ns), one.retry_in_ns(now_ns), one.reason) for one in breakers]
        return max(views, key=lambda view: _WORSE[view.state])

    def health(self, name: str) -> tuple[HealthStatus, str]:  # noqa: PLR0911 - a list of findings, worst first
        """How `name` is by what its answers tell, and why, in one line."""
        now_ns = self._clock.now_ns()
        known = self._of(name)
        if known.auth_failed:
            return HealthStatus.AUTH_FAILED, known.auth_failed
        view = self.breaker(name)
        if view.state is BreakerState.OPEN:
            return HealthStatus.UNHEALTHY, f"{view.reason}; next probe in {view.retry_in_ns / SECOND:.1f} s"
        if view.state is BreakerState.HALF_OPEN:
            return HealthStatus.UNHEALTHY, f"{view.reason}; being probed"
        failing = known.load.failures.at(now_ns)
        if failing >= 0.1:
            return HealthStatus.DEGRADED, f"{failing:.0%} of its recent requests failed"
        if any(breaker.slow_start_share(now_ns) < 1 for breaker in known.breakers):
            return HealthStatus.DEGRADED, "recovered a moment ago; its share grows again"
        stalled = known.load.stalled(now_ns)
        if stalled:
            return HealthStatus.DEGRADED, f"{stalled} unanswered for {known.load.oldest_ns(now_ns) / SECOND:.1f} s"
        if not known.load.latency.count:
            return HealthStatus.UNKNOWN, "not asked yet"
        return HealthStatus.HEALTHY, ""

    def latency(self, name: str) -> LatencySnapshot:
        return self._of(name).load.latency.snapshot(self._clock.now_ns())

    def latency_meter(self, name: str) -> LatencyMeter:
        """The answers of `name`, for whoever needs another quantile than the snapshot's."""
        return self._of(name).load.latency

    def probes_due(self) -> tuple[str, ...]:
        """The brokers that a health check should be sent to now; at most one a second each. Ask a few times a second.

        Those half open without a probe under way, and those that failed or fell silent and have no traffic since.
        """
        now_ns = self._clock.now_ns()
        return tuple(name for name, known in self._known.items() if known.probe_due(now_ns))

    def traffic_shares(self) -> dict[str, float]:
        """Each broker's share of the requests of about the last minute; they sum to 1, before the first all are 0."""
        now_ns = self._clock.now_ns()
        recent = {name: known.traffic.at(now_ns) for name, known in self._known.items()}
        total = sum(recent.values())
        return {name: share / total if total else 0.0 for name, share in recent.items()}

    @staticmethod
    def capacity_shares(windows: Mapping[str, Sequence[WindowHeadroom]]) -> dict[str, float]:
        """Each broker's share of what all could take within the next minute; they sum to 1, or are all 0."""
        rooms = {name: next_minute(counted) for name, counted in windows.items()}
        total = sum(rooms.values())
        return {name: room / total if total else 0.0 for name, room in rooms.items()}

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

    def _of(self, name: str) -> Known:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._new()
        return known

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

    def _scarcity(self, candidates: Sequence[Candidate], barred: Sequence[str], now_ns: int) -> Mapping[str, Scarcity]:
        """What the others could not carry, per broker: judged anew ten times a second, and when another set is able."""
        able = [not why for why in barred]
        if able != self._scarce_for or now_ns >= self._scarce_until_ns:
            chosen = [candidate for candidate, can in zip(candidates, able, strict=True) if can]
            self._scarce = scarcities(self._settings.prices, chosen, self._demand_per_s(now_ns))
            self._scarce_for = able
            self._scarce_until_ns = now_ns + 100 * MILLISECOND
        return self._scarce

    def _bar(self, candidate: Candidate, known: Known, breaker: CircuitBreaker, now_ns: int) -> str:
        """Why this broker takes nothing now, whatever the rules say; empty when it does."""
        if candidate.barred or candidate.drained or candidate.auth_failed or candidate.blocked:
            return candidate.barred or (
                "drained" if candidate.drained else "log-in refused" if candidate.auth_failed else "blocked for the day"
            )
        if known.auth_failed:
            return "log-in refused"
        if candidate.health in _OUT:
            return _OUT[candidate.health]
        sent_ns = known.load.sent_ns
        if sent_ns and now_ns - sent_ns[0] > 250 * MILLISECOND:
            self._look_for_stalls(known, now_ns)
        if not breaker.is_open:
            return ""
        return _OPEN if breaker.state(now_ns) is BreakerState.OPEN else _HALF_OPEN

    def _look_for_stalls(self, known: Known, now_ns: int) -> None:
        stalled = known.load.stalled(now_ns)
        if stalled < self._settings.stalled:
            return
        reason = f"{stalled} unanswered for {known.load.oldest_ns(now_ns) / SECOND:.1f} s"
        known.load.give_up()
        for breaker in known.breakers:
            if not breaker.is_open:
                breaker.trip(now_ns, reason)

    def _pick(  # noqa: C901, PLR0912 - the rules of the choice stand in one place, in their order
        self,
        candidates: Sequence[Candidate],
        costs: Sequence[Cost],
        barred: list[str],
        rules: RoutingRules,
        exclude: Collection[str],
        deadline_ns: int | None,
        now_ns: int,
        *,
        orders: bool,
    ) -> tuple[int, str]:
        """The place of the chosen candidate, -1 when there is none, and why."""
        able = [i for i, why in enumerate(barred) if not why]
        last_resort = False
        if len(able) < len(barred) and not any(candidates[i].wait_ns <= 0 for i in able):
            self._hurry(candidates, barred, now_ns)
        if not orders and len(able) < len(barred):
            probe = self._probe(candidates, barred, now_ns, alone=not able)
            if probe >= 0:
                barred[probe] = ""
                return probe, f"probe: {candidates[probe].name} may have recovered"
            if not able:
                # Better a broker in doubt than none, and the decision says so. Not for an order: it may go under.
                able = [i for i, why in enumerate(barred) if why in (_OPEN, _HALF_OPEN)]
                last_resort = bool(able)
                for i in able:
                    barred[i] = ""
        if not able:
            return -1, nobody(candidates, barred)
        if exclude and rules.chain:
            by_name = {candidates[i].name: i for i in able}
            for name in rules.chain:
                if name in by_name:
                    return by_name[name], f"next in the fallback chain after {', '.join(sorted(exclude))}"

        if len(able) == 1:
            index, reason = able[0], "the only one that can"
        else:
            if deadline_ns is not None:
                able = in_time(able, costs, barred, deadline_ns / 1e9)
            now, among = ready(able, candidates)
            for name in rules.prefer if now else ():
                for i in among:
                    if candidates[i].name == name:
                        return i, f"preferred for this operation: {name}"
            index, reason = cheapest(
                among, candidates, costs, rules.weights, self._settings.near_s, self._settings.near_share, self._random
            )
        if last_resort:
            reason = f"last resort, every breaker is open: {reason}"
        elif candidates[index].wait_ns > 0:
            reason = f"no permit anywhere for {candidates[index].wait_ns / SECOND:.3g} s: {reason}"
        return index, reason

    def _hurry(self, candidates: Sequence[Candidate], barred: Sequence[str], now_ns: int) -> None:
        """Nobody has a permit but brokers whose breaker is open: ask these sooner whether they are back."""
        for candidate, why in zip(candidates, barred, strict=True):
            if why is _OPEN and candidate.wait_ns <= 0:
                for breaker in self._of(candidate.name).breakers:
                    breaker.hurry(now_ns)

    def _probe(self, candidates: Sequence[Candidate], barred: Sequence[str], now_ns: int, *, alone: bool) -> int:
        """A broker that is half open and that nobody has probed: a read becomes its probe. -1 when there is none."""
        grace_ns = 0 if alone else self._settings.probe_grace_ns
        for i, why in enumerate(barred):
            if why is _HALF_OPEN and candidates[i].wait_ns <= 0:
                breaker = self._of(candidates[i].name).breakers[False]
                if breaker.probe_due(now_ns) and breaker.half_open_for_ns(now_ns) >= grace_ns:
                    return i
        return -1


_OPEN: Final = "breaker open"
_HALF_OPEN: Final = "breaker half open, probes only"
_WHY: Final = {"not_sent": "could not connect", "unknown": "no answer", "error": "server error"}
_WORSE: Final = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
