"""Snapshots to look at: normal, warning, critical, frozen, empty, failed. The same figures every time."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

from core.clock import DAY, MILLISECOND, MINUTE, SECOND
from core.errors import HeadroomError
from core.models import (
    AlertRow,
    APIProvider,
    BreakerState,
    BrokerSnapshot,
    CandidateTerms,
    Command,
    CostSnapshot,
    Counters,
    Decision,
    HealthStatus,
    IncidentRow,
    LatencySnapshot,
    OrderRow,
    Question,
    Rate,
    RouterSnapshot,
    Severity,
    StressSnapshot,
    Suggestion,
    Threshold,
    WindowForecast,
    WindowHeadroom,
)
from tests.screen import answers

EPOCH_NS = 1_767_585_600_000_000_000
SCENARIOS = (
    ("users", "100 sessions: log in, portfolio, quotes, order, positions, log out"),
    ("orders", "1000 orders at 100 a second"),
    ("burst", "500 orders at one instant"),
    ("ramp", "from 10 to 400 a second until requests queue"),
    ("outage", "one broker answers 503 for ten seconds"),
)
SYMBOLS = ("NSE:SBIN-EQ", "NSE:INFY-EQ", "NSE:RELIANCE-EQ", "BSE:TCS-EQ", "NSE:NIFTY26JAN24000CE")


def window(
    budget: str,
    permits: int,
    window_ns: int,
    used: int,
    in_flight: int = 0,
    *,
    next_free_in_ns: int = 0,
    out_in_ns: int | None = None,
    rate_per_s: float = 0.0,
) -> WindowHeadroom:
    free = permits - used - in_flight
    forecast = WindowForecast(rate_per_s=rate_per_s)
    if out_in_ns is not None:
        forecast = WindowForecast(
            exhausted_in_ns=out_in_ns,
            earliest_in_ns=out_in_ns * 7 // 10,
            latest_in_ns=out_in_ns * 16 // 10,
            probability_60s=0.87 if out_in_ns < MINUTE else 0.12,
            rate_per_s=rate_per_s,
        )
    return WindowHeadroom(
        budget=budget,
        rate=Rate(permits, window_ns),
        used=used,
        in_flight=in_flight,
        free=free,
        next_free_in_ns=next_free_in_ns,
        all_free_in_ns=window_ns * 9 // 10 if used or in_flight else 0,
        soft=(used + in_flight) * 5 >= permits * 4,
        forecast=forecast,
    )


def wave(length: int, low: float, high: float, phase: float = 0.0) -> list[float]:
    middle, swing = (low + high) / 2, (high - low) / 2
    return [middle + swing * math.sin(n / 7 + phase) * math.cos(n / 23) for n in range(length)]


def latency(p50_ms: int, p99_ms: int, phase: float = 0.0) -> LatencySnapshot:
    return LatencySnapshot(
        count=4210,
        ewma_ns=p50_ms * 11 // 10 * MILLISECOND,
        p50_ns=p50_ms * MILLISECOND,
        p99_ns=p99_ms * MILLISECOND,
        max_ns=p99_ms * 2 * MILLISECOND,
        history_ns=tuple(int(value * MILLISECOND) for value in wave(120, p50_ms * 0.6, p50_ms * 1.6, phase)),
    )


def fyers(**changes: object) -> BrokerSnapshot:
    base = BrokerSnapshot(
        name="fyers",
        provider=APIProvider.FYERS,
        simulated=True,
        health=HealthStatus.HEALTHY,
        token_expires_in_ns=7 * 3600 * SECOND,
        windows=(
            window("all", 10, SECOND, 3, 1, rate_per_s=4.1),
            window("all", 200, MINUTE, 88, 1, rate_per_s=4.1),
            window("all", 100_000, DAY, 41_203, 1, rate_per_s=4.1, out_in_ns=14_300 * SECOND),
        ),
        latency=latency(42, 118),
        requests=41_204,
        errors=12,
        in_flight=1,
        traffic_share=0.18,
        capacity_share=0.17,
        rate_per_s=4.1,
    )
    return replace(base, **changes)


def upstox(**changes: object) -> BrokerSnapshot:
    base = BrokerSnapshot(
        name="upstox",
        provider=APIProvider.UPSTOX,
        simulated=True,
        health=HealthStatus.HEALTHY,
        token_expires_in_ns=5 * 3600 * SECOND,
        windows=(
            window("orders", 10, SECOND, 2, 2, rate_per_s=3.0),
            window("orders", 500, MINUTE, 122, 2, rate_per_s=3.0),
            window("orders", 2000, 30 * MINUTE, 610, 2, rate_per_s=3.0),
            window("reads", 50, SECOND, 11, 3, rate_per_s=14.2),
            window("reads", 500, MINUTE, 288, 3, rate_per_s=9.0),
            window("reads", 2000, 30 * MINUTE, 1204, 3, rate_per_s=9.0, out_in_ns=520 * SECOND),
        ),
        latency=latency(67, 210, 1.3),
        requests=188_940,
        errors=41,
        in_flight=5,
        traffic_share=0.82,
        capacity_share=0.83,
        rate_per_s=17.2,
    )
    return replace(base, **changes)


def order(number: int, status: str, **changes: object) -> OrderRow:
    symbol = SYMBOLS[number % len(SYMBOLS)]
    quantity = 10 + number * 7 % 90
    filled = {"FILLED": quantity, "PARTIALLY_FILLED": quantity // 2}.get(status, 0)
    base = OrderRow(
        order_id=f"ord-{number:06}",
        symbol=symbol,
        side="BUY" if number % 3 else "SELL",
        quantity=quantity,
        filled_quantity=filled,
        price=Decimal(0) if number % 4 == 0 else Decimal(61_250 + number * 35) / 100,
        status=status,
        provider="" if status in {"NEW", "DENIED"} else ("upstox" if number % 5 else "fyers"),
        broker_order_id="" if status in {"NEW", "DENIED", "UNKNOWN"} else f"2601{number:08}",
        tag=f"h{number:05}x1",
        simulated=True,
        epoch_ns=EPOCH_NS - number * 900 * MILLISECOND,
        age_ns=number * 900 * MILLISECOND + 40 * MILLISECOND,
        message={"REJECTED": "RMS: margin exceeds available funds", "DENIED": "max quantity 50, asked 73"}.get(
            status, ""
        ),
    )
    return replace(base, **changes)


def orders(number: int) -> tuple[OrderRow, ...]:
    rng = Random(7)
    states = ("FILLED",) * 6 + ("ACCEPTED",) * 2 + ("PARTIALLY_FILLED", "CANCELLED", "REJECTED", "SUBMITTING", "DENIED")
    return tuple(order(place, rng.choice(states)) for place in range(number))


def decisions(number: int) -> tuple[Decision, ...]:
    rng = Random(11)
    operations = ("place_order", "get_market_data", "get_positions", "cancel_order", "get_orders")
    made: list[Decision] = []
    for place in range(number):
        chosen, other = ("upstox", "fyers") if place % 5 else ("fyers", "upstox")
        cost = rng.randint(30, 90) / 1000
        made.append(
            Decision(
                serial=230_144 - place,
                at_ns=-place * 50 * MILLISECOND,
                operation=operations[place % len(operations)],
                chosen=chosen,
                reason=f"{chosen} finishes {rng.randint(3, 60)} ms sooner than {other}",
                outcome=("in flight", "ok", "ok", "ok", "refused", "ok", "unknown")[place % 7],
                candidates=(
                    CandidateTerms(name=chosen, latency_s=cost, queue_s=0.004, failure_s=0.001, headroom_s=0.002),
                    CandidateTerms(name=other, wait_s=0.05, latency_s=cost + 0.02, failure_s=0.002, headroom_s=0.011),
                    CandidateTerms(name="zerodha", barred="breaker open for 12 s"),
                ),
            )
        )
    return tuple(made)


def normal() -> RouterSnapshot:
    """An ordinary day."""
    return RouterSnapshot(
        sequence=1,
        at_ns=900 * SECOND,
        epoch_ns=EPOCH_NS,
        simulated=True,
        brokers=(fyers(), upstox()),
        efficiency=0.96,
        efficiency_history=tuple(wave(120, 0.93, 0.99)),
        throughput_history=tuple(wave(240, 12, 27, 0.4)),
        latency_history_ns=tuple(int(value * MILLISECOND) for value in wave(240, 38, 88, 2.1)),
        decisions=decisions(40),
        suggestions=(),
        orders=orders(60),
        open_orders=14,
        counters=Counters(requests=230_144, orders=61_020, reads=169_124, failures=53, waited=812),
        cost=CostSnapshot(cpu_percent=6.2, rss_bytes=58 * 1_048_576, loop_lag_ns=340_000),
    )


ADVICE = (
    Suggestion(
        id="spread-reads",
        kind="reads",
        severity=Severity.WARNING,
        title="send quotes to fyers while upstox reads are short",
        evidence="upstox reads 500/min is 92 % used, fyers all 200/min is 45 % used",
        effect="upstox reads then hold for 11 min more",
        action="weight reads: fyers 60 %",
        provider="upstox",
    ),
    Suggestion(
        id="cache-positions",
        kind="cache",
        severity=Severity.INFO,
        title="cache positions for 2 s",
        evidence="31 % of reads ask for what was read less than 2 s before",
        effect="2.9 reads a second less",
        action="cache get_positions 2 s",
    ),
    Suggestion(
        id="token",
        kind="token",
        severity=Severity.INFO,
        title="log in to upstox before 10:05",
        evidence="its token expires in 35 min",
        effect="no gap in the routing",
        provider="upstox",
    ),
)
INCIDENTS = (
    IncidentRow(
        at_ns=897 * SECOND, age_ns=3 * SECOND, kind="429", provider="upstox", message="Too Many Request Sent",
        evidence="HTTP 429, code UDAPI10005", count=3,
    ),
    IncidentRow(
        at_ns=600 * SECOND, age_ns=300 * SECOND, kind="foreign order", provider="fyers",
        message="an order that headroom did not send: BUY 5 NSE:ITC-EQ", evidence="order 26010500012345, no tag",
    ),
)  # fmt: skip


ALERTS = (
    AlertRow(
        id="window_exhausts:upstox reads 500/min", rule="window_exhausts", severity=Severity.WARNING,
        message="upstox reads 500/min is gone in 38 s at 8.2/s", provider="upstox",
        raised_epoch_ns=EPOCH_NS - 12 * SECOND,
    ),
    AlertRow(
        id="refused:upstox", rule="refused", severity=Severity.WARNING, message="upstox refused us: 3 so far",
        provider="upstox", raised_epoch_ns=EPOCH_NS - 90 * SECOND, acknowledged_epoch_ns=EPOCH_NS - 60 * SECOND,
    ),
    AlertRow(
        id="breaker_open:fyers", rule="breaker_open", severity=Severity.CRITICAL,
        message="fyers: breaker open: 5 failures in a row", provider="fyers", raised_epoch_ns=EPOCH_NS - 900 * SECOND,
        acknowledged_epoch_ns=EPOCH_NS - 880 * SECOND, cleared_epoch_ns=EPOCH_NS - 870 * SECOND,
    ),
)  # fmt: skip
CALLING = (
    AlertRow(
        id="order_in_doubt:ord-000003", rule="order_in_doubt", severity=Severity.CRITICAL,
        message="ord-000003 is UNKNOWN at upstox: SELL 31 BSE:TCS-EQ", provider="upstox",
        raised_epoch_ns=EPOCH_NS - 4 * SECOND,
    ),
    AlertRow(
        id="halted:", rule="halted", severity=Severity.CRITICAL, message="trading is halted: kill switch by operator",
        raised_epoch_ns=EPOCH_NS - 19 * SECOND,
    ),
    *ALERTS,
)  # fmt: skip


def warning() -> RouterSnapshot:
    """A window that will be gone within a minute, a slow broker, advice."""
    slow = upstox(
        health=HealthStatus.DEGRADED,
        reason="p99 of 1.9 s, usually 210 ms",
        latency=latency(310, 1900, 1.3),
        queued=4,
        refusals=3,
        windows=(
            window("orders", 10, SECOND, 7, 3, next_free_in_ns=210 * MILLISECOND, rate_per_s=9.7),
            window("orders", 500, MINUTE, 214, 3, rate_per_s=3.4),
            window("orders", 2000, 30 * MINUTE, 810, 3, rate_per_s=3.4),
            window("reads", 50, SECOND, 30, 6, rate_per_s=31.0),
            window("reads", 500, MINUTE, 455, 6, rate_per_s=8.2, out_in_ns=38 * SECOND),
            window("reads", 2000, 30 * MINUTE, 1704, 6, rate_per_s=8.2, out_in_ns=290 * SECOND),
        ),
    )
    return replace(
        normal(),
        sequence=2,
        brokers=(fyers(), slow),
        suggestions=ADVICE,
        alerts=ALERTS,
        incidents=INCIDENTS,
        efficiency=0.71,
    )


def critical() -> RouterSnapshot:
    """A breaker open, a full window, orders in doubt, the kill switch on."""
    down = fyers(
        health=HealthStatus.UNHEALTHY,
        reason="5 of 5 requests failed: connection reset",
        breaker=BreakerState.OPEN,
        breaker_retry_in_ns=12 * SECOND,
        errors=812,
    )
    full = upstox(
        health=HealthStatus.LIMITED,
        reason="429 on reads",
        limited_for_ns=21 * SECOND,
        refusals=17,
        queued=31,
        windows=(
            window("orders", 10, SECOND, 8, 2, next_free_in_ns=90 * MILLISECOND, rate_per_s=10.0),
            window("orders", 500, MINUTE, 498, 2, next_free_in_ns=21 * SECOND, rate_per_s=10.0),
            window("orders", 2000, 30 * MINUTE, 1702, 2, rate_per_s=10.0, out_in_ns=31 * SECOND),
            window("reads", 50, SECOND, 44, 6, next_free_in_ns=120 * MILLISECOND, rate_per_s=48.0),
            window("reads", 500, MINUTE, 340, 6, rate_per_s=9.0, out_in_ns=17 * SECOND),
            window("reads", 2000, 30 * MINUTE, 1204, 6, rate_per_s=9.0, out_in_ns=520 * SECOND),
        ),
    )
    doubtful = (
        order(3, "UNKNOWN", age_ns=4 * SECOND, message="no answer within 7000 ms; looked up twice"),
        order(4, "QUARANTINED", age_ns=190 * SECOND, message="two orders bear its tag"),
    )
    worst = replace(
        ADVICE[0],
        id="stop-new",
        severity=Severity.CRITICAL,
        title="slow down: every broker is down or full",
        evidence="fyers breaker open, upstox orders 500/min full for 21 s",
        effect="at 8 orders/s nothing queues",
        action="cap orders at 8/s",
    )
    return replace(
        normal(),
        sequence=3,
        brokers=(down, full),
        suggestions=(ADVICE[1], worst, ADVICE[0], ADVICE[2]),
        alerts=CALLING,
        incidents=INCIDENTS,
        orders=(*doubtful, *orders(30)),
        unknown_orders=2,
        efficiency=0.44,
        halted="kill switch by operator at 09:29:41",
    )


def empty() -> RouterSnapshot:
    """Just started: nothing routed, nothing known."""
    brokers = tuple(
        BrokerSnapshot(
            name=name,
            provider=provider,
            simulated=True,
            health=HealthStatus.UNKNOWN,
            windows=(window("all", 10, SECOND, 0), window("all", 200, MINUTE, 0)),
        )
        for name, provider in (("fyers", APIProvider.FYERS), ("upstox", APIProvider.UPSTOX))
    )
    return RouterSnapshot(sequence=0, at_ns=0, epoch_ns=EPOCH_NS, simulated=True, brokers=brokers)


def failed() -> RouterSnapshot:
    """The engine has died; these are its last figures."""
    return replace(warning(), sequence=4, failure="StoreFull: /var/lib/headroom/trades.db: the disk is full")


def live() -> RouterSnapshot:
    """Real accounts."""
    brokers = tuple(replace(broker, simulated=False) for broker in warning().brokers)
    return replace(warning(), sequence=5, simulated=False, brokers=brokers)


def many(number: int = 12, *, step: int = 0, rows: int = 200) -> RouterSnapshot:
    """Brokers of four windows each, every figure another at every step: what the benches paint."""
    brokers = tuple(
        fyers(
            name=f"broker{place:02}",
            windows=tuple(
                window(
                    budget, permits, window_ns, (place * 3 + step * (slot + 1)) % permits, step % 2,
                    rate_per_s=3.0 + step % 7,
                    out_in_ns=None if (place + slot + step) % 3 else (20 + step % 40) * SECOND,
                )
                for slot, (budget, permits, window_ns) in enumerate(
                    (("orders", 10, SECOND), ("orders", 200, MINUTE), ("reads", 50, SECOND), ("reads", 500, MINUTE))
                )
            ),
            latency=latency(40 + (place + step) % 30, 120 + step % 90, step / 10 + place),
            requests=10_000 + step,
        )
        for place in range(number)
    )  # fmt: skip
    base = normal()
    shift = step // 10 % 120  # the histories move once a second
    return replace(
        base,
        sequence=step,
        epoch_ns=EPOCH_NS + step * 100 * MILLISECOND,
        brokers=brokers,
        throughput_history=base.throughput_history[shift:] + base.throughput_history[:shift],
        latency_history_ns=base.latency_history_ns[shift:] + base.latency_history_ns[:shift],
        orders=tuple(replace(row, age_ns=row.age_ns + step * 100 * MILLISECOND) for row in orders(rows)),
        suggestions=ADVICE,
        incidents=INCIDENTS,
    )


def running() -> StressSnapshot:
    """A stress run under way."""
    return StressSnapshot(
        state="running",
        scenario="orders",
        started=640,
        finished=612,
        planned=1000,
        elapsed_ns=6_400 * MILLISECOND,
        offered_per_s=100.0,
        achieved_per_s=95.6,
        p50_ns=48 * MILLISECOND,
        p99_ns=231 * MILLISECOND,
        max_ns=402 * MILLISECOND,
        refusals=2,
        lag_p99_ns=1_800_000,
        achieved_history=tuple(int(value) for value in wave(60, 70, 104)),
        p50_history_ns=tuple(int(value * MILLISECOND) for value in wave(60, 40, 60, 1.0)),
        p99_history_ns=tuple(int(value * MILLISECOND) for value in wave(60, 90, 240, 2.0)),
        histogram=tuple((20 * MILLISECOND * 2**place, 3 * place * (9 - place) ** 2) for place in range(1, 9)),
        disk_syncs=1_840,
        shares=(("upstox", 0.83), ("fyers", 0.17)),
        thresholds=(
            Threshold(name="failures", limit="= 0", value="0", passed=True),
            Threshold(name="p99 latency", limit="<= 200 ms", value="231 ms", passed=False),
            Threshold(name="limits passed", limit="= 0", value="0", passed=None),
        ),
    )


def ended(state: str) -> StressSnapshot:
    """The same run at its end: passed, failed, stopped or broken."""
    good = state == "passed"
    return replace(
        running(),
        state=state,
        started=1000,
        finished=1000,
        p99_ns=(180 if good else 231) * MILLISECOND,
        failures=0 if good else 4,
        violations=0 if good else 1,
        thresholds=tuple(
            replace(threshold, passed=good or number == 0) for number, threshold in enumerate(running().thresholds)
        ),
        failure_classes=() if good else (("OrderOutcomeUnknown", 3), ("OrderNotSent", 1)),
        message="" if good else "4 orders failed: connection reset",
    )


STATES = {"normal": normal, "warning": warning, "critical": critical, "empty": empty, "failed": failed, "live": live}


class SamplePort:
    """A port over snapshots: hands out what it was given, keeps what was sent."""

    def __init__(self, snapshot: RouterSnapshot, *, refusal: HeadroomError | None = None) -> None:
        self.now = snapshot
        self.sent: list[Command] = []
        self.refusal = refusal
        self.silent: HeadroomError | None = None

    def snapshot(self) -> RouterSnapshot:
        return self.now

    async def send(self, command: Command) -> str:
        self.sent.append(command)
        if self.refusal is not None:
            raise self.refusal
        return f"done: {type(command).__name__}"

    async def ask(self, question: Question[Any]) -> Any:
        if self.silent is not None:
            raise self.silent
        return answers.answer(question, self.now)
