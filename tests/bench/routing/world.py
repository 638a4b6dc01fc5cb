"""A small world of brokers for comparing routing policies: discrete events, whole nanoseconds, everything from a seed.

Every policy gets the same world: the same arrivals, the same draws of latency and failure for each request at each
broker, the same exact limiter with a queue per broker in order of arrival, and the same rules of what may be sent
again: a read that failed goes elsewhere while its deadline lasts; an order only when it never left. What differs is
where a request goes.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.clock import MILLISECOND, SECOND
from core.models import CATEGORY_OF, Category, Operation, Rate, WindowRoom

TIMEOUT_NS = 5 * SECOND
REFUSED_CONNECTION_NS = 5 * MILLISECOND
RETRY_NS = 50 * MILLISECOND


@dataclass(frozen=True)
class Spell:
    """A time in which a broker is not itself.

    `down` refuses connections, `hole` never answers, `failing` answers `value` of the requests with an error, `slow`
    takes `value` times as long. `only` bounds it to one category.
    """

    start_s: float
    end_s: float
    kind: str
    value: float = 1.0
    only: Category | None = None


@dataclass(frozen=True)
class BrokerSpec:
    """A broker as it is: `budgets` are (name, categories, rates); `believed` what the limiter was told, if different.

    Latency is lognormal with `median_ms` and `sigma`; each request under way beyond `workers` adds its share.
    """

    name: str
    budgets: tuple[tuple[str, frozenset[Category], tuple[Rate, ...]], ...]
    median_ms: float = 50.0
    sigma: float = 0.3
    spells: tuple[Spell, ...] = ()
    workers: int = 0
    truth: float = 1.0


@dataclass(frozen=True)
class Arrival:
    at_ns: int
    operation: Operation
    deadline_ns: int  # how long the caller waits


@dataclass(frozen=True)
class Scenario:
    name: str
    brokers: tuple[BrokerSpec, ...]
    arrivals: Callable[[random.Random], list[Arrival]]
    seed: int
    note: str = ""


@dataclass(slots=True)
class Request:
    serial: int
    arrival: Arrival
    category: Category
    due_ns: int
    leave_by_ns: int = 0
    tried: set[str] = field(default_factory=set)
    state: str = "new"  # new, queued, sent, ok, late, failed, ambiguous
    ended_ns: int = 0
    lost_at: str = ""


class Windows:
    """The exact windows of one broker, as one party counts them."""

    def __init__(self, spec: BrokerSpec, share: float = 1.0) -> None:
        self.budgets = [
            (name, categories, [(max(1, int(rate.permits * share)), rate.window_ns, deque[int]()) for rate in rates])
            for name, categories, rates in spec.budgets
        ]
        self.counting = {
            category: [
                (name, permits, window_ns, log, Rate(permits, window_ns))
                for name, categories, rates in self.budgets
                if category in categories
                for permits, window_ns, log in rates
            ]
            for category in Category
        }

    def wait_ns(self, category: Category, now_ns: int) -> int:
        wait_ns = 0
        for _, permits, window_ns, log, _ in self.counting[category]:
            while log and log[0] + window_ns <= now_ns:
                log.popleft()
            if len(log) >= permits:
                wait_ns = max(wait_ns, log[len(log) - permits] + window_ns - now_ns)
        return wait_ns

    def take(self, category: Category, now_ns: int) -> None:
        for _, _, _, log, _ in self.counting[category]:
            log.append(now_ns)

    def usage(self, category: Category, now_ns: int) -> float:
        self.wait_ns(category, now_ns)
        return max(len(log) / permits for _, permits, _, log, _ in self.counting[category])

    def rooms(self, category: Category, now_ns: int) -> tuple[WindowRoom, ...]:
        self.wait_ns(category, now_ns)
        return tuple(
            (max(0, permits - len(log)), permits, window_ns)
            for _, permits, window_ns, log, _ in self.counting[category]
        )


class Broker:
    """A broker, our limiter of it, and the queue before it."""

    def __init__(self, spec: BrokerSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.limiter = Windows(spec)
        self.referee = Windows(spec, spec.truth)
        self.queues: dict[Category, deque[Request]] = {category: deque() for category in Category}
        self.in_flight = 0
        self.closed_until_ns = 0
        self.refused = 0

    @property
    def outstanding(self) -> int:
        return self.in_flight + sum(map(len, self.queues.values()))

    def wait_ns(self, category: Category, now_ns: int) -> int:
        return max(self.limiter.wait_ns(category, now_ns), self.closed_until_ns - now_ns, 0)

    def serve(self, category: Category, draw: tuple[float, float], now_ns: int) -> tuple[str, int]:
        """Outcome and latency of a request that arrives now."""
        spec, slow = self.spec, 1.0
        at_s = now_ns / SECOND
        for spell in spec.spells:
            if not spell.start_s <= at_s < spell.end_s or spell.only not in (None, category):
                continue
            if spell.kind == "down":
                return "not_sent", REFUSED_CONNECTION_NS
            if spell.kind == "hole":
                return "unknown", TIMEOUT_NS
            if spell.kind == "failing" and draw[0] < spell.value:
                return "error", round(spec.median_ms * MILLISECOND * math.exp(spec.sigma * draw[1]))
            if spell.kind == "slow":
                slow *= spell.value
        if spec.workers:
            slow *= max(1.0, self.in_flight / spec.workers)
        return "ok", round(spec.median_ms * MILLISECOND * slow * math.exp(spec.sigma * draw[1]))


class Policy(Protocol):
    """Where a request goes. `patience_ns`: how long before its deadline a waiting request is given up as too late."""

    name: str

    def choose(self, request: Request, brokers: Sequence[Broker], now_ns: int) -> str: ...
    def started(self, name: str, request: Request, now_ns: int) -> None: ...
    def finished(self, name: str, request: Request, latency_ns: int, outcome: str, now_ns: int) -> None: ...
    def probes(self, now_ns: int) -> Sequence[str]: ...
    def patience_ns(self, request: Request) -> int: ...
    @property
    def ejections(self) -> int: ...


@dataclass
class Result:
    """What one policy made of one scenario. Latencies in seconds; a request without an answer counts as its deadline.

    `lost_to_dead`: requests lost, by broker and spell, to one that was down or silent. `back_s`: from the end of each
    such spell to the first answer after it.
    """

    policy: str
    scenario: str
    asked: int = 0
    ok: int = 0
    late: int = 0
    failed: int = 0
    ambiguous: int = 0
    refused: int = 0
    ejections: int = 0
    latencies: list[float] = field(default_factory=list)
    lost_to_dead: dict[tuple[str, float], int] = field(default_factory=dict)
    back_s: dict[tuple[str, float], float] = field(default_factory=dict)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def draws_of(scenario: Scenario, count: int) -> list[list[tuple[float, float]]]:
    """For each request and broker a uniform and a normal draw, the same for every policy."""
    rng = random.Random(scenario.seed * 7919 + 1)
    return [[(rng.random(), rng.gauss(0.0, 1.0)) for _ in scenario.brokers] for _ in range(count)]


class World:
    """Plays one scenario under one policy."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self.scenario = scenario
        self.policy = policy
        self.brokers = [Broker(spec) for spec in scenario.brokers]
        self.by_name = {broker.name: broker for broker in self.brokers}
        self.number = {broker.name: number for number, broker in enumerate(self.brokers)}
        self.now_ns = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self.result = Result(policy.name, scenario.name)
        self._probing: set[str] = set()

    def run(self) -> Result:
        arrivals = self.scenario.arrivals(random.Random(self.scenario.seed))
        self.draws = draws_of(self.scenario, len(arrivals))
        for serial, arrival in enumerate(arrivals):
            request = Request(serial, arrival, CATEGORY_OF[arrival.operation], arrival.at_ns + arrival.deadline_ns)
            self.at(arrival.at_ns, lambda request=request: self.route(request))  # type: ignore[misc]
        self.result.asked = len(arrivals)
        if arrivals:
            for tick in range(int((arrivals[-1].at_ns + 15 * SECOND) / (250 * MILLISECOND))):
                self.at(tick * 250 * MILLISECOND, self.probe)
        while self._events:
            self.now_ns, _, happen = heapq.heappop(self._events)
            happen()
        self.result.ejections = self.policy.ejections
        self.result.refused = sum(broker.refused for broker in self.brokers)
        return self.result

    def at(self, at_ns: int, happen: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (max(at_ns, self.now_ns), self._order, happen))

    def route(self, request: Request) -> None:
        if self.now_ns >= request.due_ns:
            self.end(request, "late" if not request.tried else "failed")
            return
        left = [broker for broker in self.brokers if broker.name not in request.tried]
        if not left:
            # It failed everywhere: begin again, as a caller would, until the deadline.
            request.tried.clear()
            self.at(self.now_ns + RETRY_NS, lambda: self.route(request))
            return
        name = self.policy.choose(request, left, self.now_ns)
        if not name:
            self.at(min(self.now_ns + RETRY_NS, request.due_ns), lambda: self.route(request))
            return
        broker = self.by_name[name]
        queue = broker.queues[request.category]
        if not queue and broker.wait_ns(request.category, self.now_ns) == 0:
            self.send(request, broker)
            return
        request.state = "queued"
        request.leave_by_ns = request.due_ns - self.policy.patience_ns(request)
        queue.append(request)
        if len(queue) == 1:
            self.wake(broker, request.category)

    def wake(self, broker: Broker, category: Category) -> None:
        wait_ns = broker.wait_ns(category, self.now_ns)
        self.at(self.now_ns + wait_ns, lambda: self.drain(broker, category))

    def drain(self, broker: Broker, category: Category) -> None:
        queue = broker.queues[category]
        while queue:
            if queue[0].leave_by_ns <= self.now_ns:
                self.end(queue.popleft(), "late")
                continue
            if broker.wait_ns(category, self.now_ns):
                self.wake(broker, category)
                return
            self.send(queue.popleft(), broker)

    def send(self, request: Request, broker: Broker) -> None:
        now_ns = self.now_ns
        request.state = "sent"
        broker.limiter.take(request.category, now_ns)
        self.policy.started(broker.name, request, now_ns)
        if broker.referee.wait_ns(request.category, now_ns):
            outcome, latency_ns = "limited", 20 * MILLISECOND
            broker.refused += 1
        else:
            broker.referee.take(request.category, now_ns)
            draw = self.draws[request.serial][self.number[broker.name]]
            outcome, latency_ns = broker.serve(request.category, draw, now_ns)
        if outcome == "error" and request.category is Category.ORDERS:
            outcome = "unknown"  # an order that a server answered with 5xx may be live
        broker.in_flight += 1
        self.at(now_ns + latency_ns, lambda: self.answer(request, broker, outcome, latency_ns))

    def answer(self, request: Request, broker: Broker, outcome: str, latency_ns: int) -> None:
        broker.in_flight -= 1
        sent_ns = self.now_ns - latency_ns
        self.policy.finished(broker.name, request, latency_ns, outcome, self.now_ns)
        if outcome == "ok":
            self._back(broker, sent_ns)
            self.end(request, "ok" if self.now_ns <= request.due_ns else "late")
            return
        if outcome in {"unknown", "not_sent"}:
            request.lost_at = request.lost_at or self._dead_spell(broker, sent_ns)
        if outcome == "unknown" and request.category is Category.ORDERS:
            self.end(request, "ambiguous")
            return
        if outcome == "limited":
            broker.closed_until_ns = self.now_ns + SECOND
        else:
            request.tried.add(broker.name)
        self.route(request)

    def end(self, request: Request, how: str) -> None:
        request.state = how
        result = self.result
        setattr(result, how, getattr(result, how) + 1)
        if how == "ok":
            result.latencies.append((self.now_ns - request.arrival.at_ns) / SECOND)
        else:
            result.latencies.append(request.arrival.deadline_ns / SECOND)
            if request.lost_at:
                name, start = request.lost_at.split("|")
                key = (name, float(start))
                result.lost_to_dead[key] = result.lost_to_dead.get(key, 0) + 1

    def probe(self) -> None:
        """Health checks that the policy asks for; each costs a permit."""
        for name in self.policy.probes(self.now_ns):
            broker = self.by_name[name]
            if broker.wait_ns(Category.READS, self.now_ns):
                continue
            broker.limiter.take(Category.READS, self.now_ns)
            arrival = Arrival(self.now_ns, Operation.HEALTH_CHECK, 2 * SECOND)
            request = Request(-1, arrival, Category.READS, self.now_ns + 2 * SECOND)
            self.policy.started(name, request, self.now_ns)
            outcome, latency_ns = broker.serve(Category.READS, (0.9, 0.0), self.now_ns)
            if latency_ns > 2 * SECOND:
                outcome, latency_ns = "unknown", 2 * SECOND
            self.at(
                self.now_ns + latency_ns,
                lambda name=name, request=request, latency_ns=latency_ns, outcome=outcome: self.policy.finished(  # type: ignore[misc]
                    name, request, latency_ns, outcome, self.now_ns
                ),
            )

    def _dead_spell(self, broker: Broker, sent_ns: int) -> str:
        for spell in broker.spec.spells:
            if spell.kind in {"down", "hole"} and spell.start_s <= sent_ns / SECOND < spell.end_s:
                return f"{broker.name}|{spell.start_s}"
        return ""

    def _back(self, broker: Broker, sent_ns: int) -> None:
        for spell in broker.spec.spells:
            key = (broker.name, spell.start_s)
            if spell.kind in {"down", "hole"} and key not in self.result.back_s and sent_ns >= spell.end_s * SECOND:
                self.result.back_s[key] = self.now_ns / SECOND - spell.end_s


def oracle(scenario: Scenario) -> int:  # noqa: C901, PLR0912 - one loop over events, best read in one piece
    """Requests answered in time by one who knows every draw and every spell: earliest deadline first, from one queue.

    It sends only what will be answered in time, at the broker that answers it first among those with a permit. It is
    greedy, so that a policy may beat it by a few requests in a scenario; the optimum is then what that policy reached.
    """
    arrivals = scenario.arrivals(random.Random(scenario.seed))
    draws = draws_of(scenario, len(arrivals))
    brokers = [Broker(spec) for spec in scenario.brokers]
    windows = [broker.referee for broker in brokers]
    events = [(arrival.at_ns, serial) for serial, arrival in enumerate(arrivals)]
    for spec in scenario.brokers:
        events += [(round(spell.end_s * SECOND), -1) for spell in spec.spells]
    heapq.heapify(events)
    waiting: list[tuple[int, int]] = []
    done = 0
    while events:
        now_ns, serial = heapq.heappop(events)
        if serial >= 0:
            heapq.heappush(waiting, (now_ns + arrivals[serial].deadline_ns, serial))
        kept: list[tuple[int, int]] = []
        full: set[Category] = set()
        while waiting and len(full) < len(Category):
            due_ns, serial = heapq.heappop(waiting)
            if due_ns <= now_ns:
                continue
            category = CATEGORY_OF[arrivals[serial].operation]
            if category in full:
                kept.append((due_ns, serial))
                continue
            best_ns, best, permits = 0, -1, False
            for number, broker in enumerate(brokers):
                if windows[number].wait_ns(category, now_ns):
                    continue
                permits = True
                outcome, latency_ns = broker.serve(category, draws[serial][number], now_ns)
                if outcome == "ok" and now_ns + latency_ns <= due_ns and (best < 0 or latency_ns < best_ns):
                    best_ns, best = latency_ns, number
            if best >= 0:
                windows[best].take(category, now_ns)
                done += 1
                continue
            if not permits:
                full.add(category)
            kept.append((due_ns, serial))
        for item in kept:
            heapq.heappush(waiting, item)
        if waiting:
            waits = [w for window in windows for c in Category if (w := window.wait_ns(c, now_ns))]
            next_ns = now_ns + min(waits, default=0)
            if waits and (not events or next_ns < events[0][0]):
                heapq.heappush(events, (next_ns, -1))
    return done
