"""The cost of one request at each broker, every term in seconds.

What is worth knowing of the prices:

- The price of a permit is what its loss may cost later. As long as the other brokers could carry the whole demand when
  this one's window has run out, spending it costs nothing: the price is the share of the demand that they could not.
- It grows with the square of the share that is gone, and with the length of the window, up to `window_s_max`: an empty
  one-second window is back in a second, an empty day is gone. A long window that would outlast the whole demand of now
  has no price.
- From 80 % on a small price is added in any case: the last permits are kept for those who have no other broker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..clock import MINUTE, SECOND
from ..models import WindowHeadroom
from .breaker import CircuitBreaker
from .candidate import Candidate
from .load import BrokerLoad

__all__ = ["Costs", "Prices", "fill_in_prices", "next_minute"]

_HOUR_NS: Final = 60 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What things cost, in seconds. The defaults are those that the routing benchmark was run with.

    `failure_read_s`, `failure_order_s`: an answered failure, mostly the way to another broker. `lost_read_s`,
    `lost_order_s`: no answer at all; an order must then be looked up before anything else. `headroom_s`: the last
    permit of a one-second window that nobody else could replace; a longer window costs as many times more, up to
    `window_s_max`. `reserve`: the share of their room that the others are counted on for. `soft_s`: the last permit of
    a window past 80 %, in any case, times its length up to 5 s. `cold_latency_s`: an answer, while no
    broker has given one yet.
    """

    failure_read_s: float = 0.25
    failure_order_s: float = 0.5
    lost_read_s: float = 3.0
    lost_order_s: float = 20.0
    headroom_s: float = 0.02
    window_s_max: float = 600.0
    soft_s: float = 0.02
    reserve: float = 0.6
    cold_latency_s: float = 0.1


class Costs:
    """One candidate's terms while a choice is made. `fullest`: the share gone of its fullest window, with the queue."""

    __slots__ = ("failure_s", "fullest", "headroom_s", "latency_s", "queue_s", "wait_s")

    def __init__(
        self,
        prices: Prices,
        candidate: Candidate,
        load: BrokerLoad,
        breaker: CircuitBreaker,
        operation: str,
        cold_s: float,
        now_ns: int,
        *,
        orders: bool,
    ) -> None:
        in_flight = candidate.in_flight
        ewma = load.latency_of.get(operation)
        latency_s = cold_s * (in_flight + 1) if ewma is None else ewma.expected_s(in_flight)
        if load.sent_ns:
            oldest_s = (now_ns - load.sent_ns[0]) / 1e9
            if oldest_s > 2.0 * latency_s:
                latency_s = oldest_s  # nothing has come back for longer than it ever took
        self.latency_s = latency_s

        failure_s = 0.0
        if load.failures.level:
            failure_s = load.failures.at(now_ns) * (prices.failure_order_s if orders else prices.failure_read_s)
            failure_s += load.lost.at(now_ns) * (prices.lost_order_s if orders else prices.lost_read_s)
        if now_ns < breaker.trusted_at_ns:
            # A slow start: the more is under way at a broker that has just recovered, the riskier is one more.
            doubt = 1.0 - breaker.slow_start_share(now_ns)
            failure_s += 0.2 * doubt * in_flight * (prices.failure_order_s if orders else prices.failure_read_s)
        self.failure_s = failure_s

        queued = candidate.queued
        queue_s = fullest = 0.0
        for window in candidate.windows:
            permits = window.rate.permits
            free = window.free - queued
            gone = 1.0 - free / permits
            if gone > fullest:  # noqa: PLR1730 - a call of max costs more than all the rest of the line
                fullest = gone
            if free < 0:
                queue_s = max(queue_s, -free * window.rate.window_ns / permits / 1e9)
        self.queue_s = queue_s
        self.fullest = fullest
        self.wait_s = candidate.wait_ns / 1e9
        self.headroom_s = 0.0

    @property
    def total_s(self) -> float:
        return self.wait_s + self.queue_s + self.latency_s + self.failure_s + self.headroom_s


def fill_in_prices(
    prices: Prices, candidates: Sequence[Candidate], costs: Sequence[Costs], able: Sequence[int], demand_per_s: float
) -> None:
    """Set `headroom_s` of those that may be chosen: what a permit of theirs is worth, given what the others can do."""
    minute = [_carries(candidates[i].windows, MINUTE) for i in able]
    hour = [_carries(candidates[i].windows, _HOUR_NS) for i in able]
    minutes, hours = sum(minute), sum(hour)
    for place, i in enumerate(able):
        candidate = candidates[i]
        scarce = scarce_long = 0.0
        if demand_per_s > 0:
            scarce = max(0.0, 1.0 - prices.reserve * (minutes - minute[place]) / demand_per_s)
            scarce_long = max(0.0, 1.0 - prices.reserve * (hours - hour[place]) / demand_per_s)
        highest_s = 0.0
        for window in candidate.windows:
            rate = window.rate
            gone = min(1.0, 1.0 - (window.free - candidate.queued) / rate.permits)
            if gone <= 0.1:
                continue
            window_s = rate.window_ns / 1e9
            if rate.window_ns <= MINUTE:
                price_s = prices.headroom_s * scarce * gone * gone * window_s
            else:
                pace = min(1.0, demand_per_s * window_s / rate.permits)
                price_s = prices.headroom_s * scarce_long * pace * gone * gone * min(window_s, prices.window_s_max)
            if gone > 0.8:
                price_s += prices.soft_s * (gone - 0.8) * 5.0 * min(window_s, 5.0)
            if price_s > highest_s:  # noqa: PLR1730
                highest_s = price_s
        costs[i].headroom_s = highest_s


def _carries(windows: Sequence[WindowHeadroom], span_ns: int) -> float:
    """Requests a second that a broker can take on average over the next `span_ns`."""
    least = math.inf
    for window in windows:
        rate = window.rate
        if rate.window_ns <= span_ns:
            per_s = rate.permits / rate.window_ns
        else:
            per_s = (window.free + (rate.permits - window.free) * span_ns / rate.window_ns) / span_ns
        if per_s < least:  # noqa: PLR1730
            least = per_s
    return least * SECOND


def next_minute(windows: Sequence[WindowHeadroom]) -> float:
    """The requests that fit into the next minute; 0 for a broker without windows."""
    return _carries(windows, MINUTE) * 60.0 if windows else 0.0
