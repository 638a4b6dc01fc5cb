"""The cost of one request at each broker, every term in seconds.

What is worth knowing of the prices:

- The price of a permit is what its loss may cost later. As long as the other brokers could carry the whole demand when
  this one's window has run out, spending it costs nothing: the price is the share of the demand that they could not.
- It grows with the square of the share that is gone, and with the length of the window, up to `window_s_max`: an empty
  one-second window is back in a second, an empty day is gone. A long window that would outlast the whole demand of now
  has no price.
- From 80 % on a small price is added in any case: the last permits are kept for those who have no other broker.

The functions here run once per broker and decision. Where they spell out what `max` and `min` would say, a call would
cost more than the rest of the line.
"""

# ruff: noqa: PLR1730 - see above

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..clock import MINUTE, SECOND
from ..models import CandidateTerms, WindowHeadroom
from .breaker import CircuitBreaker
from .candidate import Candidate
from .load import BrokerLoad

__all__ = ["NO_SCARCITY", "Cost", "Prices", "Scarcity", "next_minute", "scarcities", "weigh"]

_HOUR_NS: Final = 60 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What things cost, in seconds. The defaults are those that the routing benchmark was run with.

    `failure_read_s`, `failure_order_s`: an answered failure, mostly the way to another broker. `lost_read_s`,
    `lost_order_s`: no answer at all; an order must then be looked up before anything else. `headroom_s`: the last
    permit of a one-second window that nobody else could replace; a longer window costs as many times more, up to
    `window_s_max`. `reserve`: the share of their room that the others are counted on for. `soft_s`: the last permit of
    a window past 80 %, in any case, times its length up to 5 s. `cold_latency_s`: an answer, while no broker has given
    one yet.
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


class Cost(NamedTuple):
    """What one broker would cost. `fullest`: the share gone of its fullest window, the queue before it counted in."""

    terms: CandidateTerms
    total_s: float
    fullest: float


class Scarcity(NamedTuple):
    """What the other brokers could not carry of the demand, 0..1, within a minute and within an hour."""

    minute: float
    hour: float
    demand_per_s: float


# A frozen dataclass sets each field through object.__setattr__, by name. With one of these per broker and decision
# that was half of what a decision cost; by the slots it is a quarter of it.
_new: Final = object.__new__
_set_name, _set_wait_s, _set_queue_s, _set_latency_s, _set_failure_s, _set_headroom_s, _set_barred = (
    getattr(CandidateTerms, name).__set__
    for name in ("name", "wait_s", "queue_s", "latency_s", "failure_s", "headroom_s", "barred")
)
_cost: Final = tuple.__new__


def weigh(  # noqa: C901, PLR0912 - one pass, in one frame: a call a window would double it
    prices: Prices,
    candidate: Candidate,
    load: BrokerLoad,
    breaker: CircuitBreaker,
    scarcity: Scarcity,
    expected_s: float,
    now_ns: int,
    orders: bool,  # noqa: FBT001 - by place: keywords cost a tenth of the call
    barred: str,
) -> Cost:
    """What one more request costs at this broker; `expected_s` is the latency that its answers let expect."""
    if load.sent_ns:
        oldest_s = (now_ns - load.sent_ns[0]) / 1e9
        if oldest_s > 2.0 * expected_s:
            expected_s = oldest_s  # nothing has come back for longer than it ever took

    failure_s = 0.0
    if load.failures.level:
        failure_s = load.failures.at(now_ns) * (prices.failure_order_s if orders else prices.failure_read_s)
        failure_s += load.lost.at(now_ns) * (prices.lost_order_s if orders else prices.lost_read_s)
    if now_ns < breaker.trusted_at_ns:
        # A slow start: the more is under way at a broker that has just recovered, the riskier is one more.
        doubt = 0.2 * (1.0 - breaker.slow_start_share(now_ns)) * candidate.in_flight
        failure_s += doubt * (prices.failure_order_s if orders else prices.failure_read_s)

    queued = candidate.queued
    scarce, scarce_long, demand_per_s = scarcity
    priced_from = 0.1 if scarce or scarce_long else 0.8
    queue_s = headroom_s = fullest = 0.0
    for window in candidate.windows:
        rate = window.rate
        permits = rate.permits
        gone = 1.0 - (window.free - queued) / permits
        if gone > fullest:
            fullest = gone
        if gone > priced_from:
            window_s = rate.window_ns / 1e9
            if gone > 1.0:
                queue_s = max(queue_s, (gone - 1.0) * window_s)
                gone = 1.0
            if window_s <= 60.0:
                price_s = prices.headroom_s * scarce * gone * gone * window_s
            else:
                pace = demand_per_s * window_s / permits
                price_s = prices.headroom_s * scarce_long * gone * gone * min(window_s, prices.window_s_max)
                if pace < 1.0:
                    price_s *= pace
            if gone > 0.8:
                price_s += prices.soft_s * (gone - 0.8) * 5.0 * min(window_s, 5.0)
            if price_s > headroom_s:
                headroom_s = price_s

    wait_s = candidate.wait_ns / 1e9
    terms = _new(CandidateTerms)
    _set_name(terms, candidate.name)
    _set_wait_s(terms, wait_s)
    _set_queue_s(terms, queue_s)
    _set_latency_s(terms, expected_s)
    _set_failure_s(terms, failure_s)
    _set_headroom_s(terms, headroom_s)
    _set_barred(terms, barred)
    return _cost(Cost, (terms, wait_s + queue_s + expected_s + failure_s + headroom_s, fullest))


def scarcities(prices: Prices, able: Sequence[Candidate], demand_per_s: float) -> dict[str, Scarcity]:
    """Per broker that may be chosen, what the others among them could not carry without it."""
    if demand_per_s <= 0.0:
        return {}
    minute = {candidate.name: _carries(candidate.windows, MINUTE) for candidate in able}
    hour = {candidate.name: _carries(candidate.windows, _HOUR_NS) for candidate in able}
    minutes, hours = sum(minute.values()), sum(hour.values())
    counted_on = prices.reserve / demand_per_s
    return {
        name: Scarcity(
            max(0.0, 1.0 - counted_on * (minutes - minute[name])),
            max(0.0, 1.0 - counted_on * (hours - hour[name])),
            demand_per_s,
        )
        for name in minute
    }


def _carries(windows: Sequence[WindowHeadroom], span_ns: int) -> float:
    """Requests a second that a broker can take on average over the next `span_ns`; very many without windows."""
    least = 1.0
    for window in windows:
        rate = window.rate
        if rate.window_ns <= span_ns:
            per_ns = rate.permits / rate.window_ns
        else:
            per_ns = (window.free + (rate.permits - window.free) * span_ns / rate.window_ns) / span_ns
        if per_ns < least:
            least = per_ns
    return least * SECOND


def next_minute(windows: Sequence[WindowHeadroom]) -> float:
    """The requests that fit into the next minute; 0 for a broker without windows."""
    return _carries(windows, MINUTE) * 60.0 if windows else 0.0


NO_SCARCITY: Final = Scarcity(0.0, 0.0, 0.0)
