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
from dataclasses import dataclass, field
from typing import Any, Final

from ..clock import MILLISECOND, SECOND, Clock, SystemClock
from ..errors import NoBrokerAvailable
from ..models import (
    CATEGORY_OF,
    BreakerState,
    CandidateTerms,
    Category,
    Decision,
    HealthStatus,
    LatencySnapshot,
    WindowHeadroom,
)
from .breaker import BreakerSettings, CircuitBreaker
from .candidate import NO_RULES, Candidate, RoutingRules
from .efficiency import EfficiencyMeter
from .load import BrokerLoad

__all__ = ["BalancerSettings", "BreakerView", "IntelligentLoadBalancer"]

_LIMITED: Final = frozenset({HealthStatus.LIMITED, HealthStatus.UNHEALTHY})
_OUT: Final = frozenset({HealthStatus.AUTH_FAILED, HealthStatus.BLOCKED_FOR_DAY, HealthStatus.DRAINED})
_WORKS: Final = frozenset({"ok", "refused"})
_FAILS: Final = frozenset({"not_sent", "unknown", "error"})
OUTCOMES: Final = _WORKS | _FAILS | {"limited", "auth"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSettings:
    """The prices, in seconds, and the bounds. The defaults are those that the routing benchmark was run with.

    `failure_read_s`, `failure_order_s`: what an answered failure costs, mostly the way to another broker.
    `lost_read_s`, `lost_order_s`: what it costs when no answer comes at all; an order must then be looked up before
    anything else.
    `headroom_s`: the price of the last permit of a one-second window; longer windows cost as many seconds more, up to
    `window_s_max`. `near_s` and `near_share`: costs that differ by less are a tie.
    """

    failure_read_s: float = 0.25
    failure_order_s: float = 0.5
    lost_read_s: float = 3.0
    lost_order_s: float = 20.0
    headroom_s: float = 0.02
    window_s_max: float = 60.0
    near_s: float = 0.003
    near_share: float = 0.1
    cold_latency_s: float = 0.1
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


class _Known:
    """What the balancer keeps of one broker."""

    __slots__ = ("auth_failed", "breakers", "load", "refusals", "routed", "traffic", "traffic_at_ns")

    def __init__(self, settings: BreakerSettings, rng: random.Random) -> None:
        self.load = BrokerLoad()
        self.breakers = {category: CircuitBreaker(settings, rng) for category in Category}
        self.auth_failed = ""
        self.refusals = 0
        self.routed = 0
        self.traffic = 0.0
        self.traffic_at_ns = 0

    def share_at(self, now_ns: int) -> float:
        """Requests of the last minute or so, the older the lighter."""
        return self.traffic * math.exp((self.traffic_at_ns - now_ns) / (60 * SECOND))


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
        self._known: dict[str, _Known] = {}
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
        for breaker in known.breakers.values():
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
    ) -> Decision:
        """The broker that `operation` goes to, with what each one would have cost.

        `pin` and `exclude` are this one request's own, on top of `rules`. `deadline_ns`: nanoseconds left for an
        answer; a broker that would answer too late gives way to one that would not. `chosen` is empty when none may
        take it, and `reason` then says why in one line.
        """
        now_ns = self._clock.now_ns()
        category = CATEGORY_OF.get(operation, Category.READS)  # type: ignore[call-overload]
        costs = [self._cost(operation, category, candidate, now_ns) for candidate in candidates]
        barred = [self._bar(candidate, category, rules, pin, exclude, now_ns) for candidate in candidates]
        index, reason = self._pick(category, candidates, costs, barred, rules, exclude, deadline_ns, now_ns)
        terms = tuple(
            CandidateTerms(
                name=candidate.name,
                wait_s=cost[0],
                queue_s=cost[1],
                latency_s=cost[2],
                failure_s=cost[3],
                headroom_s=cost[4],
                barred=why,
            )
            for candidate, cost, why in zip(candidates, costs, barred, strict=True)
        )
        self._serial += 1
        chosen = candidates[index].name if index >= 0 else ""
        decision = Decision(
            serial=self._serial, at_ns=now_ns, operation=str(operation), chosen=chosen, reason=reason, candidates=terms
        )
        if len(self._ring) == self._ring.maxlen:
            self._outcomes.pop(self._ring[0].serial, None)
        self._ring.append(decision)
        if chosen:
            self._of(chosen).routed += 1
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
        known.traffic = known.share_at(now_ns) + 1.0
        known.traffic_at_ns = now_ns
        if CATEGORY_OF.get(operation, Category.READS) is Category.READS:  # type: ignore[call-overload]
            for breaker in known.breakers.values():
                if not breaker.closed:
                    breaker.probing += 1

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
        category = CATEGORY_OF.get(operation, Category.READS)  # type: ignore[call-overload]
        breaker = known.breakers[category]
        if outcome in _WORKS:
            known.auth_failed = ""
            known.load.answered(operation, latency_ns, now_ns)
            known.load.worked(now_ns)
            slow = latency_ns > self._settings.slow_s * SECOND and self._slow(name, operation, latency_ns)
            breaker.succeeded(now_ns, sent_ns, slow=slow)
            if category is Category.READS:
                known.breakers[Category.ORDERS].proved(now_ns, sent_ns)
        elif outcome in _FAILS:
            known.load.failed(now_ns, lost=outcome == "unknown")
            breaker.failed(now_ns, sent_ns, _WHY[outcome])
        elif outcome == "auth":
            known.auth_failed = "the broker refused the token; log in again"
        else:
            known.refusals += 1  # the limiter's matter: a broker that keeps its limits is not ill

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
            found.append(decision if outcome is None else _with_outcome(decision, outcome))
        return tuple(found)

    def breaker(self, name: str, category: Category | None = None) -> BreakerView:
        """The breaker of one class, or the worse of all classes."""
        now_ns = self._clock.now_ns()
        known = self._of(name)
        self._look_for_stalls(known, now_ns)
        views = [
            BreakerView(breaker.state(now_ns), breaker.retry_in_ns(now_ns), breaker.reason)
            for of, breaker in known.breakers.items()
            if category is None or of is category
        ]
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
            return HealthStatus.UNHEALTHY, f"{view.reason}; a probe is due"
        failing = known.load.failures.at(now_ns)
        if failing >= 0.1:
            return HealthStatus.DEGRADED, f"{failing:.0%} of its recent requests failed"
        if any(breaker.slow_start_share(now_ns) < 1 for breaker in known.breakers.values()):
            return HealthStatus.DEGRADED, "recovered a moment ago; its share grows again"
        stalled = known.load.stalled(now_ns)
        if stalled:
            return HealthStatus.DEGRADED, f"{stalled} unanswered for {known.load.oldest_ns(now_ns) / SECOND:.1f} s"
        if not known.load.latency.count:
            return HealthStatus.UNKNOWN, "not asked yet"
        return HealthStatus.HEALTHY, ""

    def latency(self, name: str) -> LatencySnapshot:
        return self._of(name).load.latency.snapshot(self._clock.now_ns())

    def probes_due(self) -> tuple[str, ...]:
        """The brokers that a health check should be sent to now: half open, and no probe under way."""
        now_ns = self._clock.now_ns()
        return tuple(
            name
            for name, known in self._known.items()
            if any(b.state(now_ns) is BreakerState.HALF_OPEN and not b.probing for b in known.breakers.values())
        )

    def traffic_shares(self) -> dict[str, float]:
        """Each broker's share of the requests of about the last minute; they sum to 1, before the first all are 0."""
        now_ns = self._clock.now_ns()
        recent = {name: known.share_at(now_ns) for name, known in self._known.items()}
        total = sum(recent.values())
        return {name: share / total if total else 0.0 for name, share in recent.items()}

    @staticmethod
    def capacity_shares(windows: Mapping[str, Sequence[WindowHeadroom]]) -> dict[str, float]:
        """Each broker's share of what all could take within the next minute; they sum to 1, or are all 0."""
        rooms = {name: _next_minute(counted) for name, counted in windows.items()}
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

    def _new(self) -> _Known:
        return _Known(self._settings.breaker, self._random)

    def _of(self, name: str) -> _Known:
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

    def _cost(
        self, operation: str, category: Category, candidate: Candidate, now_ns: int
    ) -> tuple[float, float, float, float, float, float]:
        """Wait, queue, latency, failure and headroom in seconds, and the share that is gone of the fullest window."""
        settings = self._settings
        known = self._of(candidate.name)
        load = known.load
        in_flight = candidate.in_flight
        queued = candidate.queued

        queue_s = headroom_s = fullest = 0.0
        for window in candidate.windows:
            permits = window.rate.permits
            window_s = window.rate.window_ns / 1e9
            gone = 1.0 - (window.free - queued) / permits
            fullest = max(fullest, gone)
            if gone > 0.0:
                if queued > window.free:
                    queue_s = max(queue_s, (queued - window.free) * window_s / permits)
                price = gone * gone
                if gone > 0.8:
                    price += 4.0 * (gone - 0.8) if gone < 1.0 else 0.8
                headroom_s = max(headroom_s, price * min(window_s, settings.window_s_max) * settings.headroom_s)

        ewma = load.latency_of.get(operation)
        if ewma is not None:
            latency_s = ewma.value_ns / 1e9 * (0.5 + 0.5 * (in_flight + 1) / (ewma.in_flight + 1.0))
        else:
            latency_s = self._cold_s(operation) * (in_flight + 1)
        oldest_s = load.oldest_ns(now_ns) / 1e9
        if oldest_s > 2.0 * latency_s:
            latency_s = oldest_s  # nothing has come back for longer than it ever took

        failing = load.failures.at(now_ns)
        lost = load.lost.at(now_ns)
        orders = category is Category.ORDERS
        failure_s = failing * (settings.failure_order_s if orders else settings.failure_read_s)
        failure_s += lost * (settings.lost_order_s if orders else settings.lost_read_s)
        fresh = 1.0 - known.breakers[category].slow_start_share(now_ns)
        if fresh > 0.0:
            failure_s += 0.2 * fresh * in_flight * (settings.failure_order_s if orders else settings.failure_read_s)
        return candidate.wait_ns / 1e9, queue_s, latency_s, failure_s, headroom_s, fullest

    def _cold_s(self, operation: str) -> float:
        """A broker that nothing is known of counts as good as the best known one: it gets its fair first share."""
        known = [ewma.value_ns for k in self._known.values() if (ewma := k.load.latency_of.get(operation)) is not None]
        return min(known) / 1e9 if known else self._settings.cold_latency_s

    def _bar(  # noqa: C901, PLR0911 - a list of reasons, each with its own words
        self,
        candidate: Candidate,
        category: Category,
        rules: RoutingRules,
        pin: str,
        exclude: Collection[str],
        now_ns: int,
    ) -> str:
        """Why this broker may not be chosen; empty when it may."""
        name = candidate.name
        if candidate.barred:
            return candidate.barred
        if candidate.drained or candidate.health is HealthStatus.DRAINED:
            return "drained"
        known = self._of(name)
        if candidate.auth_failed or known.auth_failed or candidate.health is HealthStatus.AUTH_FAILED:
            return "log-in refused"
        if candidate.blocked or candidate.health is HealthStatus.BLOCKED_FOR_DAY:
            return "blocked for the day"
        if name in exclude:
            return "tried already"
        if name in rules.exclude:
            return "excluded by rule"
        pinned = pin or rules.pin
        if pinned and name != pinned:
            return f"pinned to {pinned}"
        if candidate.weight <= 0 or rules.weights.get(name, 1.0) <= 0:
            return "weight 0"
        if known.load.oldest_ns(now_ns) > 250 * MILLISECOND:
            self._look_for_stalls(known, now_ns)
        breaker = known.breakers[category]
        if breaker.closed:
            return ""
        return _OPEN if breaker.state(now_ns) is BreakerState.OPEN else _HALF_OPEN

    def _look_for_stalls(self, known: _Known, now_ns: int) -> None:
        stalled = known.load.stalled(now_ns)
        if stalled < self._settings.stalled:
            return
        reason = f"{stalled} unanswered for {known.load.oldest_ns(now_ns) / SECOND:.1f} s"
        known.load.give_up()
        for breaker in known.breakers.values():
            if breaker.closed:
                breaker.trip(now_ns, reason)

    def _pick(  # noqa: C901, PLR0912 - the rules of the choice stand in one place, in their order
        self,
        category: Category,
        candidates: Sequence[Candidate],
        costs: Sequence[tuple[float, float, float, float, float, float]],
        barred: list[str],
        rules: RoutingRules,
        exclude: Collection[str],
        deadline_ns: int | None,
        now_ns: int,
    ) -> tuple[int, str]:
        open_ = [i for i, why in enumerate(barred) if not why]
        if category is Category.READS:
            for i, why in enumerate(barred):
                if why is _HALF_OPEN and candidates[i].wait_ns == 0:
                    breaker = self._of(candidates[i].name).breakers[category]
                    grace_ns = self._settings.probe_grace_ns if open_ else 0
                    if not breaker.probing and breaker.half_open_for_ns(now_ns) >= grace_ns:
                        barred[i] = ""
                        return i, f"probe: {candidates[i].name} may have recovered"
        last_resort = False
        if not open_ and category is Category.READS:
            # Better a broker in doubt than none: but the decision says so.
            open_ = [i for i, why in enumerate(barred) if why in (_OPEN, _HALF_OPEN)]
            last_resort = bool(open_)
            for i in open_:
                barred[i] = ""
        if not open_:
            return -1, _nobody(candidates, barred)
        if exclude and rules.chain:
            by_name = {candidates[i].name: i for i in open_}
            for name in rules.chain:
                if name in by_name:
                    return by_name[name], f"next in the fallback chain after {', '.join(sorted(exclude))}"

        if deadline_ns is not None and len(open_) > 1:
            left_s = deadline_ns / 1e9
            in_time = [i for i in open_ if costs[i][0] + costs[i][1] + costs[i][2] <= left_s]
            if in_time and len(in_time) < len(open_):
                for i in open_:
                    if i not in in_time:
                        barred[i] = f"would answer after the deadline, {left_s:.3g} s away"
                open_ = in_time
        sound = [i for i in open_ if candidates[i].health not in _LIMITED]
        now = [i for i in sound if candidates[i].wait_ns <= 0] or [i for i in open_ if candidates[i].wait_ns <= 0]
        able = now or sound or open_
        for name in rules.prefer:
            for i in now:
                if candidates[i].name == name:
                    return i, f"preferred for this operation: {name}"

        weights = rules.weights
        scores = [
            sum(costs[i][:5])
            / (candidates[i].weight * weights.get(candidates[i].name, 1.0) if weights else candidates[i].weight)
            for i in able
        ]
        best = min(scores)
        near = best + max(self._settings.near_s, self._settings.near_share * best)
        tied = [i for i, score in zip(able, scores, strict=True) if score <= near]
        if len(tied) == 1:
            index = tied[0]
            reason = "the only one that can" if len(able) == 1 else "soonest done"
        else:
            draw = self._random.random
            index = min(tied, key=lambda i: (costs[i][5], draw()))
            reason = f"tie of {len(tied)}: most headroom"
        if last_resort:
            reason = f"last resort, every breaker is open: {reason}"
        elif not now:
            reason = f"every broker is full: shortest wait, {candidates[index].wait_ns / SECOND:.3g} s"
        return index, reason


_OPEN: Final = "breaker open"
_HALF_OPEN: Final = "breaker half open, probes only"
_WHY: Final = {"not_sent": "could not connect", "unknown": "no answer", "error": "server error"}
_WORSE: Final = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


def _with_outcome(decision: Decision, outcome: str) -> Decision:
    return Decision(
        serial=decision.serial,
        at_ns=decision.at_ns,
        operation=decision.operation,
        chosen=decision.chosen,
        reason=decision.reason,
        candidates=decision.candidates,
        outcome=outcome,
    )


def _nobody(candidates: Sequence[Candidate], barred: Sequence[str]) -> str:
    if not candidates:
        return "no broker is configured"
    return "; ".join(f"{candidate.name} {why}" for candidate, why in zip(candidates, barred, strict=True))


def _next_minute(windows: Sequence[WindowHeadroom]) -> float:
    """The requests that fit into the next minute."""
    minute_ns = 60 * SECOND
    rooms = [
        window.rate.permits * minute_ns / window.rate.window_ns
        if window.rate.window_ns <= minute_ns
        else window.free + (window.rate.permits - window.free) * minute_ns / window.rate.window_ns
        for window in windows
    ]
    return min(rooms, default=0.0)
