"""Suggestions about brokers that fail, slow down, lock us out or stand alone, and about our own process."""

from __future__ import annotations

from collections.abc import Iterator

from ..clock import MILLISECOND, MINUTE, SECOND
from ..models import (
    BrokerSnapshot,
    DrainProvider,
    HealthStatus,
    ResumeProvider,
    SetHedging,
    Severity,
)
from .context import Context, Finding, Offer, percent, seconds

__all__ = [
    "blocked_for_day",
    "breaker_flapping",
    "broker_down",
    "clock_skew",
    "drain_degrading",
    "efficiency_low",
    "enable_hedging",
    "events_dropped",
    "latency_step",
    "log_in_again",
    "loop_lag",
    "no_redundancy",
    "queue_dominates",
    "token_expires",
    "unknown_orders",
]

_TOLD_ELSEWHERE = frozenset({HealthStatus.AUTH_FAILED, HealthStatus.BLOCKED_FOR_DAY, HealthStatus.UNHEALTHY})


def _drain(context: Context, broker: BrokerSnapshot) -> Offer:
    """To drain a broker, unless it would be the last one."""
    return context.offer(
        f"drain {broker.name}",
        DrainProvider(broker.name),
        ResumeProvider(broker.name),
        when=not broker.drained and bool(context.others(broker)),
    )


def _without(context: Context, broker: BrokerSnapshot) -> str:
    """What the others would do with the demand of a broker that is drained."""
    others = context.others(broker)
    if not others:
        return "no other broker is usable: nothing would be served"
    then = context.what_if(drained=[broker.name])
    busiest = max(others, key=lambda other: then.fullest[other.name])
    return (
        f"without {broker.name} the others serve {percent(then.served)} of {context.demand_per_s:.1f}/s; "
        f"{busiest.name} would be {percent(then.fullest[busiest.name])} full"
    )


def broker_down(context: Context) -> Iterator[Finding]:
    """A broker's breaker is open or half open: it fails or is silent, and traffic keeps away from it."""
    for broker in context.snapshot.brokers:
        if broker.health is not HealthStatus.UNHEALTHY or broker.drained:
            continue
        history = context.of(broker)
        failed, trips = history.gained("errors", MINUTE), history.trips(5 * MINUTE)
        yield Finding(
            kind="broker_down",
            severity=Severity.WARNING,
            provider=broker.name,
            title=f"{broker.name} is down: its breaker is {broker.breaker.value.replace('_', ' ')}",
            evidence=f"{broker.reason or 'no reason given'}; {failed} failed in the last minute, opened {trips} times "
            "in 5 min",
            effect=f"drained, not even a probe goes there until it is resumed; {_without(context, broker)}",
            offer=_drain(context, broker),
        )


def drain_degrading(context: Context) -> Iterator[Finding]:
    """A fifth of a broker's requests failed in the last 30 s, at least 8 of them asked."""
    settings = context.settings
    for broker in context.snapshot.brokers:
        if broker.drained or broker.health in _TOLD_ELSEWHERE:
            continue
        history = context.of(broker)
        asked = history.gained("requests", 30 * SECOND)
        if asked < settings.failure_minimum:
            continue
        failed = history.gained("errors", 30 * SECOND)
        share = failed / asked if asked else 0.0
        if not context.over("drain_degrading", share, settings.failure_share, broker.name):
            continue
        yield Finding(
            kind="drain_degrading",
            severity=Severity.CRITICAL if share >= 0.5 else Severity.WARNING,
            provider=broker.name,
            title=f"Drain {broker.name}: {percent(share)} of its requests fail",
            evidence=f"{failed} of {asked} failed in the last 30 s; breaker {broker.breaker.value}",
            effect=f"{failed * 2} failures a minute fewer; {_without(context, broker)}",
            offer=_drain(context, broker),
        )


def breaker_flapping(context: Context) -> Iterator[Finding]:
    """A breaker opened at least 3 times within 5 minutes: the broker comes and goes."""
    for broker in context.snapshot.brokers:
        trips = context.of(broker).trips(5 * MINUTE)
        if broker.drained or not context.over("breaker_flapping", trips, context.settings.trips, broker.name):
            continue
        failed = context.of(broker).gained("errors", 5 * MINUTE)
        yield Finding(
            kind="breaker_flapping",
            severity=Severity.WARNING,
            provider=broker.name,
            title=f"{broker.name} comes and goes",
            evidence=f"its breaker opened {trips} times in 5 min; {failed} requests failed",
            effect=f"drained, {failed / 5:.1f} failures a minute fewer; {_without(context, broker)}",
            offer=_drain(context, broker),
        )


def latency_step(context: Context) -> Iterator[Finding]:
    """A broker answers 2.5 times slower than its own median of the last 5 minutes, and by more than 50 ms."""
    settings = context.settings
    for broker in context.usable:
        usual_ns = context.of(broker).usual_ewma_ns(5 * MINUTE, until_ns=15 * SECOND)
        now_ns = broker.latency.ewma_ns
        if usual_ns is None or now_ns - usual_ns < settings.latency_floor_ns:
            continue
        if not context.over("latency_step", now_ns / usual_ns, settings.latency_step, broker.name):
            continue
        spared_s = (now_ns - usual_ns) / SECOND * context.of(broker).per_s(MINUTE)
        yield Finding(
            kind="latency_step",
            severity=Severity.WARNING,
            provider=broker.name,
            title=f"{broker.name} answers {now_ns / usual_ns:.1f} times slower",
            evidence=f"{seconds(now_ns)} instead of {seconds(usual_ns)}, the median of the last 5 min; "
            f"p99 {seconds(broker.latency.p99_ns)}",
            effect=f"its requests wait {spared_s:.2f} s more in every second than before; {_without(context, broker)}",
            offer=context.lighter(broker, 0.5, when=bool(context.others(broker))),
        )


def enable_hedging(context: Context) -> Iterator[Finding]:
    """The slowest hundredth takes 5 times the middle, hedging is off, and every window is at most half full."""
    usable = context.usable
    if context.levers.hedging or len(usable) < 2:
        return
    worst = max(
        (broker for broker in usable if broker.latency.count >= 200 and broker.latency.p50_ns),
        key=lambda broker: broker.latency.p99_ns / broker.latency.p50_ns,
        default=None,
    )
    if worst is None or worst.latency.p99_ns < 100 * MILLISECOND:
        return
    if any(window.fraction > 0.5 for broker in usable for window in broker.windows):
        return
    tail = worst.latency.p99_ns / worst.latency.p50_ns
    if not context.over("enable_hedging", tail, context.settings.tail, worst.name):
        return
    other = min((one for one in usable if one.name != worst.name), key=lambda one: one.latency.p50_ns)
    yield Finding(
        kind="enable_hedging",
        severity=Severity.INFO,
        provider=worst.name,
        title="Hedge slow reads: the headroom allows it",
        evidence=f"p99 of {worst.name} is {seconds(worst.latency.p99_ns)}, {tail:.0f} times its p50; no window is more "
        "than half full",
        effect=f"about 1 read in 20 goes out twice; the slowest end near {seconds(3 * worst.latency.p50_ns)} + "
        f"{seconds(other.latency.p50_ns)} instead of {seconds(worst.latency.p99_ns)}",
        offer=context.offer(
            "send reads that take longer than the p95 to a second broker too",
            SetHedging(enabled=True),
            SetHedging(enabled=False),
        ),
    )


def queue_dominates(context: Context) -> Iterator[Finding]:
    """In most of the last minute's decisions the wait for a permit was longer than the broker's own time."""
    placed = context.history.placed
    if placed < 20:
        return
    share = context.history.held_up / placed
    if not context.over("queue_dominates", share, 0.5):
        return
    now = context.what_if()
    rooms = context.windows()
    twice = context.demand_per_s / (len(rooms) + 1) * len(rooms) if rooms else 0.0
    yield Finding(
        kind="queue_dominates",
        severity=Severity.WARNING,
        title="Waiting for permits takes longer than the brokers do: add a broker",
        evidence=f"{percent(share)} of {placed} decisions in the last minute; mean wait "
        f"{context.history.mean_wait_s:.2f} s, queued now "
        f"{sum(broker.queued for broker in context.snapshot.brokers)}",
        effect=f"one more of the same size leaves {twice:.1f}/s to these, of {context.demand_per_s:.1f}/s of which "
        f"they serve {percent(now.served)}",
    )


def token_expires(context: Context) -> Iterator[Finding]:
    """A log-in ends within the hour; critical within 10 minutes."""
    settings = context.settings
    for broker in context.snapshot.brokers:
        left_ns = broker.token_expires_in_ns
        if left_ns is None or left_ns > settings.token_warning_ns or broker.health is HealthStatus.AUTH_FAILED:
            continue
        yield Finding(
            kind="token_expires",
            severity=Severity.CRITICAL if left_ns <= settings.token_critical_ns else Severity.WARNING,
            provider=broker.name,
            title=f"Log in to {broker.name} again: its token ends in {seconds(max(0, left_ns))}",
            evidence=f"the broker's own time of expiry, {seconds(max(0, left_ns))} from now",
            effect=_without(context, broker),
        )


def log_in_again(context: Context) -> Iterator[Finding]:
    """A broker refuses our token."""
    for broker in context.snapshot.brokers:
        if broker.health is HealthStatus.AUTH_FAILED:
            yield Finding(
                kind="log_in_again",
                severity=Severity.CRITICAL,
                provider=broker.name,
                title=f"Log in to {broker.name}: it refuses the token",
                evidence=f"{broker.errors} requests have failed there; nothing is sent until a log-in works",
                effect=_without(context, broker),
            )


def blocked_for_day(context: Context) -> Iterator[Finding]:
    """A broker takes nothing more from this account until its day ends."""
    for broker in context.snapshot.brokers:
        if broker.health is HealthStatus.BLOCKED_FOR_DAY:
            yield Finding(
                kind="blocked_for_day",
                severity=Severity.CRITICAL,
                provider=broker.name,
                title=f"{broker.name} has blocked this account for {seconds(broker.limited_for_ns)}",
                evidence=f"{broker.refusals} refusals before it did",
                effect=_without(context, broker),
            )


def no_redundancy(context: Context) -> Iterator[Finding]:
    """Of several brokers only one is usable."""
    if len(context.snapshot.brokers) < 2 or len(context.usable) != 1:
        return
    last = context.usable[0]
    out = [f"{broker.name} {broker.health.value}" for broker in context.snapshot.brokers if broker is not last]
    then = context.what_if()
    yield Finding(
        kind="no_redundancy",
        severity=Severity.CRITICAL,
        provider=last.name,
        title=f"Only {last.name} is left",
        evidence=", ".join(out),
        effect=f"it serves {percent(then.served)} of {context.demand_per_s:.1f}/s; should it fail, nothing is served",
    )


def clock_skew(context: Context) -> Iterator[Finding]:
    """An incident of the kind `clock_skew` in the last 5 minutes: our clock and a broker's disagree."""
    for row in context.snapshot.incidents:
        if row.kind == "clock_skew" and row.age_ns <= 5 * MINUTE:
            yield Finding(
                kind="clock_skew",
                severity=Severity.WARNING,
                provider=row.provider,
                title="Set this machine's clock: a broker's differs",
                evidence=f"{row.count} times, last {seconds(row.age_ns)} ago: {row.message}",
                effect="tokens and day budgets end at the broker's time, not at ours",
            )
            return


def unknown_orders(context: Context) -> Iterator[Finding]:
    """Orders left and no answer came; they are being looked up."""
    count = context.snapshot.unknown_orders
    if count:
        yield Finding(
            kind="unknown_orders",
            severity=Severity.CRITICAL,
            title=f"{count} order{'s' if count > 1 else ''} without a known outcome",
            evidence=f"{count} of {context.snapshot.open_orders} open orders were sent and not answered",
            effect="each is looked up by its tag and never sent again; do not place it by hand before it is found",
        )


def efficiency_low(context: Context) -> Iterator[Finding]:
    """Efficiency stayed below 0.8 for 30 s: requests waited for one broker while another had headroom."""
    recent = [value for at_ns, value in context.history.efficiency if at_ns >= context.snapshot.at_ns - 30 * SECOND]
    if len(recent) < 15:
        return
    worst = 1.0 - max(recent)
    if not context.over("efficiency_low", worst, 1.0 - context.settings.efficiency):
        return
    yield Finding(
        kind="efficiency_low",
        severity=Severity.INFO,
        title=f"Headroom lies idle while requests wait: efficiency {recent[-1]:.2f}",
        evidence=f"at most {max(recent):.2f} in the last 30 s",
        effect=f"levelled by headroom, {percent(context.what_if().served)} of the demand finds a permit; look for a "
        "pin, an exclusion or a cap that keeps requests from a free broker",
    )


def loop_lag(context: Context) -> Iterator[Finding]:
    """Our own event loop wakes more than 50 ms late: latencies shown contain our own delay."""
    lag_ns = context.snapshot.cost.loop_lag_ns
    if context.over("loop_lag", lag_ns, context.settings.lag_ns):
        yield Finding(
            kind="loop_lag",
            severity=Severity.WARNING,
            title=f"This process wakes {seconds(lag_ns)} late",
            evidence=f"loop lag {seconds(lag_ns)}, CPU {context.snapshot.cost.cpu_percent:.0f} %",
            effect=f"up to {seconds(lag_ns)} of every latency here is our own; leave the machine more room",
        )


def events_dropped(context: Context) -> Iterator[Finding]:
    """Whoever listens to the events is too slow: some were dropped."""
    dropped = context.snapshot.counters.events_dropped
    if dropped:
        yield Finding(
            kind="events_dropped",
            severity=Severity.INFO,
            title=f"{dropped} events were dropped",
            evidence=f"{dropped} of those of {context.snapshot.counters.requests} requests since the start",
            effect="orders and journal are complete; only listeners, such as logs, miss them",
        )
