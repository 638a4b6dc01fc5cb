"""A broker's own view, written apart from the limiter: an exact log of arrivals, and networks to arrive through.

It shares no code with core.limiter. `play` drives one limiter as hard as it goes: at every instant it takes whatever
is to be had, sends it, and lets the network decide when it arrives and when the answer is back.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class Referee:
    """Counts every arrival of the window before, both its ends included; refuses what is above a limit.

    `rates` are pairs (permits, window in ns), `drift_ppm` makes the broker's clock slow (below 0) or fast.
    """

    def __init__(
        self, rates: list[tuple[int, int]], *, counts_refused: bool = False, drift_ppm: int = 0, start_ns: int = 0
    ) -> None:
        self.rates = rates
        self.counts_refused = counts_refused
        self.drift_ppm = drift_ppm
        self.start_ns = start_ns
        self.logs: list[deque[int]] = [deque() for _ in rates]
        self.accepted_ns: list[int] = []
        self.refused = 0

    def arrive(self, at_ns: int) -> bool:
        """Judge a request that arrives at `at_ns`; arrivals come in their order."""
        now_ns = at_ns + (at_ns - self.start_ns) * self.drift_ppm // 1_000_000
        full = False
        for (permits, window_ns), log in zip(self.rates, self.logs, strict=True):
            while log and log[0] < now_ns - window_ns:
                log.popleft()
            full = full or len(log) >= permits
        if full:
            self.refused += 1
        else:
            self.accepted_ns.append(at_ns)
        if not full or self.counts_refused:
            for log in self.logs:
                log.append(now_ns)
        return not full


@dataclass
class Network:
    """How long requests and answers take. `in_order`: none overtakes another; `lost`: the share without an answer."""

    name: str
    median_ns: int
    sigma: float
    most_ns: int
    in_order: bool = False
    lost: float = 0.0
    last_ns: list[int] = field(default_factory=lambda: [0, 0])

    def delay_ns(self, rng: random.Random) -> int:
        return min(self.most_ns, int(self.median_ns * math.exp(self.sigma * rng.gauss(0, 1))))

    def there_ns(self, rng: random.Random, from_ns: int, leg: int) -> int:
        at_ns = from_ns + self.delay_ns(rng)
        if self.in_order:
            at_ns = self.last_ns[leg] = max(at_ns, self.last_ns[leg])
        return at_ns


SIGMA = 0.728  # of the logarithm: one delay of 10 000 is longer than 300 ms, 15 times the median


def jitter(lost: float = 0.0) -> Network:
    return Network("jitter", 20 * MILLISECOND, SIGMA, 300 * MILLISECOND, lost=lost)


def in_order() -> Network:
    return Network("in order", 20 * MILLISECOND, SIGMA, 300 * MILLISECOND, in_order=True)


def calm() -> Network:
    return Network("calm", 20 * MILLISECOND, 0.02, 25 * MILLISECOND)


@dataclass
class Verdict:
    accepted_ns: list[int]
    refused: int
    took_ns: int

    def goodput(self, permits: int, window_ns: int) -> float:
        """The share of the limit that was used."""
        return len(self.accepted_ns) / (permits * self.took_ns / window_ns)

    def sustained(self, permits: int, window_ns: int) -> float:
        """The same without the start, where a whole window is free at once, and the end, where nothing is sent."""
        windows = len(self.accepted_ns) // permits - 2
        return windows * window_ns / (self.accepted_ns[(windows + 1) * permits] - self.accepted_ns[permits])


class HandClock:
    """A clock that the play moves; a play needs no more of one."""

    def __init__(self) -> None:
        self.at_ns = 0

    def now_ns(self) -> int:
        return self.at_ns

    def epoch_ns(self) -> int:
        return self.at_ns


SENT, ARRIVES, ANSWERED = range(3)


def play(
    limiter: Any,
    clock: HandClock,
    referee: Referee,
    network: Network,
    *,
    requests: int,
    rng: random.Random,
    stamped: bool = False,
    offset_ns: int = 10**18,
) -> Verdict:
    """Send `requests` requests as fast as the limiter lets them go."""
    events: list[tuple[int, int, int, Any]] = []
    serials = itertools.count()
    put: Callable[[int, int, Any], None] = lambda at, kind, what: heapq.heappush(  # noqa: E731
        events, (at, next(serials), kind, what)
    )
    left = requests
    while left or events:
        while left and (permit := limiter.try_acquire()) is not None:
            left -= 1
            # Between grant and wire lie a pass of the loop and a connection: up to 1 ms.
            put(clock.at_ns + rng.randrange(MILLISECOND), SENT, permit)
        wait_ns = limiter.time_to_available_ns() if left else None
        if events and (wait_ns is None or events[0][0] <= clock.at_ns + wait_ns):
            clock.at_ns = max(clock.at_ns, events[0][0])
            while events and events[0][0] <= clock.at_ns:
                at_ns, _, kind, what = heapq.heappop(events)
                if kind == SENT:
                    what.sent()
                    put(network.there_ns(rng, at_ns, 0), ARRIVES, what)
                elif kind == ARRIVES:
                    referee.arrive(at_ns)
                    if rng.random() < network.lost:
                        what.unanswered(network.most_ns)
                    else:
                        stamp_ns = (at_ns + offset_ns) // MILLISECOND * MILLISECOND
                        put(network.there_ns(rng, at_ns, 1), ANSWERED, (what, stamp_ns))
                else:
                    permit, stamp_ns = what
                    permit.done(server_stamp_ns=stamp_ns if stamped else None)
        elif wait_ns is not None:
            clock.at_ns += max(wait_ns, 1)
    return Verdict(referee.accepted_ns, referee.refused, clock.at_ns)


class SendStampedLog:
    """What everybody else does: an exact log of grants. It stands here to show that the referee sees its fault."""

    def __init__(self, permits: int, window_ns: int, clock: HandClock) -> None:
        self.permits, self.window_ns, self.clock = permits, window_ns, clock
        self.log: deque[int] = deque()

    def try_acquire(self) -> Any:
        while self.log and self.log[0] <= self.clock.at_ns - self.window_ns:
            self.log.popleft()
        if len(self.log) >= self.permits:
            return None
        self.log.append(self.clock.at_ns)
        return Anyhow()

    def time_to_available_ns(self) -> int:
        if len(self.log) < self.permits:
            return 0
        return self.log[0] + self.window_ns - self.clock.at_ns


class Anyhow:
    """A permit of a limiter that does not hear of answers."""

    def sent(self) -> None: ...
    def done(self, **_: object) -> None: ...
    def unanswered(self, within_ns: int) -> None: ...
