"""The policies that are compared: what others do, and ours."""

# ruff: noqa: ARG002 - one signature for all of them; each uses what it wants to know

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

from core.balancer import BalancerSettings, Candidate, IntelligentLoadBalancer
from core.clock import SECOND
from core.models import BreakerState
from tests.bench.routing.world import Broker, Request


class Plain:
    """Learns nothing, ejects nobody; the others are made from it."""

    name = "?"

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        raise NotImplementedError

    def started(self, name: str, request: Request, now_ns: int) -> None: ...

    def finished(self, name: str, request: Request, latency_ns: int, outcome: str, now_ns: int) -> None: ...

    def probes(self, now_ns: int) -> Sequence[str]:
        return ()

    def patience_ns(self, request: Request) -> int:
        return 0

    @property
    def ejections(self) -> int:
        return 0


class RoundRobin(Plain):
    name = "round robin"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._turn = itertools.count()

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        return brokers[next(self._turn) % len(brokers)].name


class Random(Plain):
    name = "random"

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        return self.random.choice(brokers).name


class LeastInFlight(Plain):
    name = "least in flight"

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        return min(brokers, key=lambda broker: (broker.outstanding, self.random.random())).name


class TwoChoices(Plain):
    name = "2 choices, in flight"

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        two = self.random.sample(list(brokers), min(2, len(brokers)))
        return min(two, key=lambda broker: broker.outstanding).name


class TwoChoicesEwma(Plain):
    """As Finagle and Linkerd do: the peak-EWMA latency times what is outstanding."""

    name = "2 choices, peak EWMA"
    tau_ns = 10 * SECOND

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._cost: dict[str, tuple[float, int]] = {}

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        two = self.random.sample(list(brokers), min(2, len(brokers)))
        return min(two, key=lambda broker: self._load(broker, now_ns)).name

    def _load(self, broker: Broker, now_ns: int) -> float:
        cost, at_ns = self._cost.get(broker.name, (0.0, 0))
        return cost * math.exp((at_ns - now_ns) / self.tau_ns) * (broker.outstanding + 1)

    def finished(self, name: str, request: Request, latency_ns: int, outcome: str, now_ns: int) -> None:
        cost, at_ns = self._cost.get(name, (0.0, now_ns))
        if latency_ns > cost:
            self._cost[name] = (float(latency_ns), now_ns)
        else:
            weight = math.exp((at_ns - now_ns) / self.tau_ns)
            self._cost[name] = (cost * weight + latency_ns * (1 - weight), now_ns)


class WeightedByLimits(Plain):
    """Smooth weighted round robin, the weights being the requests a minute that each broker allows."""

    name = "weighted by limits"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._current: dict[str, float] = {}

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        weights = {
            broker.name: min(
                permits * 60 * SECOND / max(window_ns, SECOND)
                for _, permits, window_ns, _, _ in broker.limiter.counting[request.category]
            )
            for broker in brokers
        }
        for name, weight in weights.items():
            self._current[name] = self._current.get(name, 0.0) + weight
        best = max(weights, key=lambda name: self._current[name])
        self._current[best] -= sum(weights.values())
        return best


class FixedChain(Plain):
    """The first that has a permit now; the first of all when none has."""

    name = "fixed chain"

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        for broker in brokers:
            if not broker.queues[request.category] and not broker.wait_ns(request.category, now_ns):
                return broker.name
        return brokers[0].name


class UsageBased(Plain):
    """The lowest usage of its fullest window, those with a permit first, the shortest wait when none has."""

    name = "usage based"

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        return min(
            brokers,
            key=lambda broker: (
                broker.wait_ns(request.category, now_ns) * (1 + len(broker.queues[request.category])),
                broker.limiter.usage(request.category, now_ns),
                self.random.random(),
            ),
        ).name


class ScoreBased(Plain):
    """Hand-set points: 40 for success, 30 for free permits, 20 for speed, 10 for little in flight."""

    name = "score based"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._success: dict[str, float] = {}
        self._latency_s: dict[str, float] = {}

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        def score(broker: Broker) -> float:
            success = self._success.get(broker.name, 1.0)
            free = 1 - broker.limiter.usage(request.category, now_ns)
            speed = 1 / (1 + 5 * self._latency_s.get(broker.name, 0.0))
            return 40 * success + 30 * free + 20 * speed + 10 / (1 + broker.outstanding)

        return max(brokers, key=lambda broker: (score(broker), self.random.random())).name

    def finished(self, name: str, request: Request, latency_ns: int, outcome: str, now_ns: int) -> None:
        success, latency_s = self._success.get(name, 1.0), self._latency_s.get(name, 0.0)
        self._success[name] = success + 0.1 * ((outcome == "ok") - success)
        self._latency_s[name] = latency_s + 0.1 * (latency_ns / SECOND - latency_s)


class WithBreaker(Plain):
    """Any policy behind plain breakers: 5 failures in a row open for 10 s, then one request decides."""

    def __init__(self, inner: Plain) -> None:
        super().__init__(0)
        self._inner = inner
        self.name = f"{inner.name} + breaker"
        self._row: dict[str, int] = {}
        self._open_until_ns: dict[str, int] = {}
        self._trying: set[str] = set()
        self._trips = 0

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        able = [broker for broker in brokers if self._allows(broker.name, now_ns)]
        return self._inner.choose(request, able, now_ns) if able else ""

    def _allows(self, name: str, now_ns: int) -> bool:
        until_ns = self._open_until_ns.get(name)
        return until_ns is None or (now_ns >= until_ns and name not in self._trying)

    def started(self, name: str, request: Request, now_ns: int) -> None:
        if name in self._open_until_ns:
            self._trying.add(name)
        self._inner.started(name, request, now_ns)

    def finished(self, name: str, request: Request, latency_ns: int, outcome: str, now_ns: int) -> None:
        self._inner.finished(name, request, latency_ns, outcome, now_ns)
        if outcome == "limited":
            return
        if outcome == "ok":
            self._row[name] = 0
            if name in self._trying or now_ns >= self._open_until_ns.get(name, now_ns + 1):
                self._open_until_ns.pop(name, None)
                self._trying.discard(name)
            return
        self._row[name] = self._row.get(name, 0) + 1
        if self._row[name] >= 5 and (name not in self._open_until_ns or name in self._trying):
            self._open_until_ns[name] = now_ns + 10 * SECOND
            self._trying.discard(name)
            self._trips += 1

    @property
    def ejections(self) -> int:
        return self._trips


class _At:
    """A clock that is told the time."""

    def __init__(self) -> None:
        self.at_ns = 0

    def now_ns(self) -> int:
        return self.at_ns

    def epoch_ns(self) -> int:
        return self.at_ns

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        raise NotImplementedError

    def outside(self) -> None:
        raise NotImplementedError


class Ours(Plain):
    """IntelligentLoadBalancer, fed as the manager feeds it."""

    name = "headroom"

    def __init__(self, seed: int, settings: BalancerSettings | None = None) -> None:
        super().__init__(seed)
        self.clock = _At()
        self.balancer = IntelligentLoadBalancer((), clock=self.clock, rng=self.random, settings=settings)  # type: ignore[arg-type]
        self._latency_ns = 0
        self._open: set[str] = set()
        self._trips = 0

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str:
        self.clock.at_ns = now_ns
        category = request.category
        candidates = [
            Candidate(
                broker.name,
                wait_ns=broker.wait_ns(category, now_ns),
                queued=len(broker.queues[category]),
                in_flight=broker.in_flight,
                rooms=broker.limiter.rooms(category, now_ns),
                limited=broker.closed_until_ns > now_ns,
            )
            for broker in brokers
        ]
        choice = self.balancer.choose(request.arrival.operation, candidates, deadline_ns=request.due_ns - now_ns)
        self._latency_ns = round(choice.latency_s * SECOND)
        return choice.chosen

    def patience_ns(self, request: Request) -> int:
        return self._latency_ns

    def started(self, name: str, request: Request, now_ns: int) -> None:
        self.clock.at_ns = now_ns
        self.balancer.started(name, request.arrival.operation)

    def finished(self, name: str, request: Request, latency_ns: int, outcome: str, now_ns: int) -> None:
        self.clock.at_ns = now_ns
        self.balancer.finished(name, request.arrival.operation, latency_ns, outcome)

    def probes(self, now_ns: int) -> Sequence[str]:
        self.clock.at_ns = now_ns
        for name in self.balancer.traffic_shares():
            if self.balancer.breaker(name).state is BreakerState.CLOSED:
                self._open.discard(name)
            elif name not in self._open:
                self._open.add(name)
                self._trips += 1
        return self.balancer.probes_due()

    @property
    def ejections(self) -> int:
        return self._trips


def every_policy(seed: int) -> list[Plain]:
    """One of each, fresh."""
    simple = (RoundRobin, Random, LeastInFlight, TwoChoices, TwoChoicesEwma)
    return [
        *(kind(seed) for kind in simple),
        *(WithBreaker(kind(seed)) for kind in simple),
        WeightedByLimits(seed),
        FixedChain(seed),
        UsageBased(seed),
        ScoreBased(seed),
        Ours(seed),
    ]
