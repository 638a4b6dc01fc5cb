"""The cost of one request at each broker, every term in seconds.

What is worth knowing of the prices:

- The price of a permit is what its loss may cost later. As long as the other brokers could carry the whole demand when
  this one's window has run out, spending it costs nothing: the price is the share of the demand that they could not.
- It grows with the square of the share that is gone, and with the length of the window, up to `window_s_max`: an empty
  one-second window is back in a second, an empty day is gone. A long window that would outlast the whole demand of now
  has no price.
- From 80 % on a small price is added in any case: the last permits are kept for those who have no other broker.

`weigh` runs once per decision, over every broker. Where it spells out what `max` and `min` would say, a call would
cost more than the rest of the line.
"""

# ruff: noqa: FURB136, PLR1730 - see above

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..clock import MINUTE, SECOND
from ..models import WindowRoom
from .candidate import Candidate
from .known import Known
from .load import SILENT_LEAST_NS, STALL_LEAST_NS

__all__ = ["NO_SCARCITY", "Cost", "Prices", "Scarcity", "next_minute", "scarcities", "weigh"]

_HOUR_NS: Final = 60 * MINUTE
_SOFT_FROM: Final = 0.8  # the share gone from where a permit costs something in any case


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What things cost, in seconds. The defaults are those that the routing benchmark was run with.

    `failure_read_s`, `failure_order_s`: an answered failure, mostly the way to another broker. `lost_read_s`,
    `lost_order_s`: no answer at all; an order must then be looked up before anything else. `headroom_s`: the last
    permit of a one-second window that nobody else could replace; a longer window costs as many times more, up to
    `window_s_max`. `reserve`: the share of their room that the others are counted on for. `soft_s`: the last permit of
    a window past 80 %, in any case, times its length up to 5 s. `tail_share`: how much of a broker's p99 is added to
    the latency expected. `cold_latency_s`: an answer, while no broker has given one yet.
    """

    failure_read_s: float = 0.25
    failure_order_s: float = 0.5
    lost_read_s: float = 3.0
    lost_order_s: float = 20.0
    headroom_s: float = 0.02
    window_s_max: float = 600.0
    soft_s: float = 0.02
    reserve: float = 0.6
    tail_share: float = 0.35
    cold_latency_s: float = 0.1


class Cost(NamedTuple):
    """What the broker `name` would cost: the terms, and what a choice looks at.

    `answer_s`: until its answer. `score`: the sum of the terms by the broker's weight, the lowest wins. `fullest`: the
    share gone of its fullest window, the queue before it counted in. `silent`: it owes an answer for longer than its
    answers ever take. `now`: it has a permit, is not limited and not silent.
    """

    name: str
    wait_s: float
    queue_s: float
    latency_s: float
    failure_s: float
    headroom_s: float
    answer_s: float
    score: float
    fullest: float
    silent: bool
    now: bool


class Scarcity(NamedTuple):
    """What the other brokers could not carry of the demand, as the price of a broker's last permit.

    `minute_s`, `hour_s`: seconds for each second of its window, for windows up to a minute and for longer ones.
    `priced_from`: the share gone from where a window has a price at all.
    """

    minute_s: float
    hour_s: float
    demand_per_s: float
    priced_from: float


_new: Final = tuple.__new__  # what a named tuple calls, without the call around it


def weigh(  # noqa: C901, PLR0912, PLR0915 - one pass, in one frame: a call for each broker or window would double it
    prices: Prices,
    candidates: Sequence[Candidate],
    known_of: Mapping[str, Known],
    scarce: Mapping[str, Scarcity],
    operation: str,
    now_ns: int,
    left_s: float,
    cold_s: Callable[[str], float],
    orders: bool,  # noqa: FBT001 - by place: keywords cost a tenth of the call
) -> tuple[list[Cost], bool]:
    """What one more `operation` costs at each; and whether nothing has to be sorted out: each can take it, has a permit
    now and would answer within `left_s`.

    `cold_s` tells what to expect of a broker that has never answered it.
    """
    costs: list[Cost] = []
    sound = True
    tail_share = prices.tail_share
    for name, wait_ns, queued, in_flight, rooms, limited, barred, weight, cost in candidates:
        known = known_of[name]
        load = known.load
        ewma = load.latency_of.get(operation)
        if ewma is None:
            expected_s = cold_s(operation) * (in_flight + 1)
        else:
            if now_ns >= ewma.look_ns:
                load.fade(ewma, now_ns)
            expected_s = ewma.alone_s + ewma.each_s * in_flight + tail_share * load.latency.tail_ns / 1e9
        failure_s = 0.0
        silent = False
        if load.silent_from_ns is not None:
            silent_ns = now_ns - load.silent_from_ns
            if silent_ns > 2e9 * expected_s:
                expected_s = silent_ns / 1e9  # nothing has come back for longer than it usually takes
            if silent_ns > SILENT_LEAST_NS:
                suspicion = load.suspicion(now_ns)
                if suspicion >= 1.0:
                    # Not late but silent: one more would probably be lost too. The longer, the surer.
                    silent = True
                    failure_s = (1.0 - 0.5 / suspicion) * (prices.lost_order_s if orders else prices.lost_read_s)
        if load.failures.level:
            failure_s += load.failures.at(now_ns) * (prices.failure_order_s if orders else prices.failure_read_s)
            failure_s += load.lost.at(now_ns) * (prices.lost_order_s if orders else prices.lost_read_s)
        breaker = known.breakers[orders]
        if now_ns < breaker.trusted_at_ns:
            # A slow start: the more is under way at a broker that has just recovered, the riskier is one more.
            doubt = 0.2 * (1.0 - breaker.slow_start_share(now_ns)) * in_flight
            failure_s += doubt * (prices.failure_order_s if orders else prices.failure_read_s)

        scarce_s, scarce_long_s, demand_per_s, priced_from = scarce.get(name, NO_SCARCITY)
        queue_s = headroom_s = fullest = 0.0
        for free, permits, window_ns in rooms:
            gone = 1.0 - (free - queued) / permits
            if gone > fullest:
                fullest = gone
            if gone > priced_from:
                window_s = window_ns / 1e9
                if gone > 1.0:
                    queue_s = max(queue_s, (gone - 1.0) * window_s)
                    gone = 1.0
                if window_s <= 60.0:
                    price_s = scarce_s * gone * gone * window_s
                else:
                    pace = demand_per_s * window_s / permits
                    price_s = scarce_long_s * gone * gone * min(window_s, prices.window_s_max)
                    if pace < 1.0:
                        price_s *= pace
                if gone > _SOFT_FROM:
                    price_s += prices.soft_s * (gone - _SOFT_FROM) * 5.0 * (window_s if window_s < 5.0 else 5.0)
                if price_s > headroom_s:
                    headroom_s = price_s

        if cost > 1:  # that many requests, one after the other
            expected_s *= cost
            headroom_s *= cost
        wait_s = wait_ns / 1e9
        answer_s = wait_s + queue_s + expected_s
        score = math.inf
        now = not (wait_ns or silent or limited)
        if weight > 0:
            score = (answer_s + failure_s + headroom_s) / weight
        else:
            sound = False
        if (
            not now
            or answer_s > left_s
            or barred
            or breaker.is_open
            or known.auth_failed
            or (load.unanswered >= known.stalled and load.oldest_ns(now_ns) >= STALL_LEAST_NS)
        ):
            sound = False
        costs.append(
            _new(
                Cost, (name, wait_s, queue_s, expected_s, failure_s, headroom_s, answer_s, score, fullest, silent, now)
            )
        )
    return costs, sound


def scarcities(prices: Prices, able: Sequence[Candidate], demand_per_s: float) -> dict[str, Scarcity]:
    """Per broker that may be chosen, what its permits are worth for what the others among them could not carry."""
    if demand_per_s <= 0.0:
        return {}
    minute = {candidate.name: _carries(candidate.rooms, MINUTE) for candidate in able}
    hour = {candidate.name: _carries(candidate.rooms, _HOUR_NS) for candidate in able}
    minutes, hours = sum(minute.values()), sum(hour.values())
    counted_on = prices.reserve / demand_per_s
    scarce: dict[str, Scarcity] = {}
    for name, carries in minute.items():
        minute_s = prices.headroom_s * max(0.0, 1.0 - counted_on * (minutes - carries))
        hour_s = prices.headroom_s * max(0.0, 1.0 - counted_on * (hours - hour[name]))
        scarce[name] = Scarcity(minute_s, hour_s, demand_per_s, 0.1 if minute_s or hour_s else _SOFT_FROM)
    return scarce


def _carries(rooms: Sequence[WindowRoom], span_ns: int) -> float:
    """Requests a second that a broker can take on average over the next `span_ns`; very many without windows."""
    least = 1.0
    for free, permits, window_ns in rooms:
        if window_ns <= span_ns:
            per_ns = permits / window_ns
        else:
            per_ns = (free + (permits - free) * span_ns / window_ns) / span_ns
        if per_ns < least:
            least = per_ns
    return least * SECOND


def next_minute(rooms: Sequence[WindowRoom]) -> float:
    """The requests that fit into the next minute; 0 for a broker without windows."""
    return _carries(rooms, MINUTE) * 60.0 if rooms else 0.0


NO_SCARCITY: Final = Scarcity(0.0, 0.0, 0.0, _SOFT_FROM)
