"""Suggestions about permits: which windows run out, and how to spend fewer."""

from __future__ import annotations

from collections.abc import Iterator

from ..clock import MINUTE, SECOND
from ..models import (
    BrokerSnapshot,
    Category,
    DrainProvider,
    Operation,
    ResumeProvider,
    SetRateCap,
    SetReadCache,
    SetRouteWeight,
    Severity,
    WindowHeadroom,
)
from .context import Context, Finding, counting, percent, seconds
from .whatif import what_if

__all__ = [
    "batch_quotes",
    "cache_reads",
    "day_budget",
    "headroom_unused",
    "limit_above_broker",
    "limit_below_published",
    "one_carries_all",
    "orders_squeezed",
    "resume_drained",
    "stagger_users",
    "usage_spike",
    "window_exhausting",
]

_CACHEABLE = (Operation.GET_PORTFOLIO, Operation.GET_POSITIONS, Operation.GET_ORDERS)
_LONG_NS = 10 * MINUTE


def _tightest(broker: BrokerSnapshot, *, short: bool) -> WindowHeadroom | None:
    """The window that runs out first; `short` tells windows that pass while one watches from those of a session."""
    windows = [
        window
        for window in broker.windows
        if window.forecast.exhausted_in_ns is not None and (window.rate.window_ns < _LONG_NS) is short
    ]
    return min(windows, key=lambda window: window.forecast.exhausted_in_ns or 0, default=None)


def window_exhausting(context: Context) -> Iterator[Finding]:
    """A window of more than a second runs out within 60 s with a chance of at least one half, and another has room."""
    settings = context.settings
    for broker in context.usable:
        window = _tightest(broker, short=True)
        if window is None or window.rate.window_ns <= SECOND or not context.others(broker):
            continue
        forecast = window.forecast
        within = (forecast.exhausted_in_ns or 0) <= settings.exhausts_within_ns
        if not within or not context.over(
            "window_exhausting", forecast.probability_60s, settings.exhausts_chance, broker.name
        ):
            continue
        now, then = context.as_now(), context.what_if()
        takers = [other for other in context.others(broker) if then.fullest[other.name] < 0.9]
        if not takers:
            continue
        to = max(takers, key=lambda other: then.shares[other.name] - other.traffic_share)
        yield Finding(
            kind="window_exhausting",
            severity=Severity.WARNING,
            provider=broker.name,
            title=f"Move reads from {broker.name} to {to.name} before {window.rate} empties in "
            f"{seconds(forecast.exhausted_in_ns)}",
            evidence=f"{window.free} of {window.rate.permits} permits left at {forecast.rate_per_s:.1f}/s; runs out in "
            f"{seconds(forecast.earliest_in_ns)} to {seconds(forecast.latest_in_ns)}, "
            f"{percent(forecast.probability_60s)} within 60 s",
            effect=f"at {context.demand_per_s:.1f}/s, {broker.name} carrying {percent(then.shares[broker.name])} "
            f"instead of {percent(broker.traffic_share)}: a window is full {seconds(then.exhausted_in_ns[broker.name])}"
            f" instead of {seconds(now.exhausted_in_ns[broker.name])} from now; served {percent(then.served)} "
            f"instead of {percent(now.served)}",
            offer=context.lighter(broker, 0.5),
        )


def day_budget(context: Context) -> Iterator[Finding]:
    """A window of 10 minutes or longer runs out, at this pace, before its permits come back."""
    for broker in context.usable:
        window = _tightest(broker, short=False)
        if window is None or not context.over("day_budget", window.fraction, 0.1, broker.name):
            continue
        forecast = window.forecast
        sustained = window.rate.permits * SECOND / window.rate.window_ns
        critical = window.fraction >= 0.9
        yield Finding(
            kind="day_budget",
            severity=Severity.CRITICAL if critical else Severity.WARNING,
            provider=broker.name,
            title=f"{broker.name} spends its {window.rate} budget too fast",
            evidence=f"{percent(window.fraction)} gone; at {forecast.rate_per_s:.2f}/s it is empty in "
            f"{seconds(forecast.exhausted_in_ns)} ({seconds(forecast.earliest_in_ns)} to "
            f"{seconds(forecast.latest_in_ns)})",
            effect=f"it lasts at {sustained:.2f}/s: {forecast.rate_per_s - sustained:.2f}/s must go elsewhere or wait, "
            f"{max(0.0, (forecast.rate_per_s - sustained) * 60):.0f} requests a minute",
            offer=context.lighter(broker, 0.5),
        )


def limit_above_broker(context: Context) -> Iterator[Finding]:
    """The broker refused us for its limit at least twice in 5 minutes: our picture of its limit is too high."""
    for broker in context.snapshot.brokers:
        refusals = context.of(broker).gained("refusals", 5 * MINUTE)
        if not context.over("limit_above_broker", refusals, context.settings.refusals, broker.name):
            continue
        before = context.levers.caps.get(broker.name, 1.0)
        after = round(max(0.1, before * 0.9), 3)
        then = context.what_if(caps={broker.name: 0.9}) if context.usable else None
        yield Finding(
            kind="limit_above_broker",
            severity=Severity.WARNING,
            provider=broker.name,
            title=f"Lower the limit of {broker.name}: it refuses what we believe allowed",
            evidence=f"{refusals} refusals in the last 5 min, {broker.refusals} in all; cap {percent(before)}",
            effect=f"with {percent(after)} of each window the same demand is served {percent(then.served)}"
            if then
            else "no broker is usable until the refusals end",
            offer=context.offer(
                f"use at most {percent(after)} of {broker.name}'s windows",
                SetRateCap(broker.name, after),
                SetRateCap(broker.name, before),
                when=after < before,
            ),
        )


def limit_below_published(context: Context) -> Iterator[Finding]:
    """We use less than the broker publishes (by a cap or a lower limit), a window is 80 % full, nothing was refused."""
    for broker in context.usable:
        if context.of(broker).gained("refusals", 15 * MINUTE):
            continue
        least = context.least("limit_below_published", 0.8, broker.name)
        full = [window for window in broker.windows if window.fraction >= least]
        if not full:
            continue
        cap = context.levers.caps.get(broker.name, 1.0)
        published = {
            (budget.name, rate.window_ns): rate.permits
            for budget in context.levers.published.get(broker.name, ())
            for rate in budget.rates
        }
        for window in full:
            allowed = published.get((window.budget, window.rate.window_ns), window.rate.permits)
            if allowed <= window.rate.permits and cap >= 1.0:
                continue
            more = round(max(allowed, window.rate.permits / cap) - window.rate.permits)
            yield Finding(
                kind="limit_below_published",
                severity=Severity.INFO,
                provider=broker.name,
                title=f"Raise the limit of {broker.name}: it allows more than we use",
                evidence=f"{window.rate} in force, {allowed} published, cap {percent(cap)}; "
                f"{percent(window.fraction)} gone, no refusal in 15 min",
                effect=f"{more} more requests in each window of that length",
                offer=context.offer(
                    f"use {broker.name}'s windows in full",
                    SetRateCap(broker.name, 1.0),
                    SetRateCap(broker.name, cap),
                    when=cap < 1.0,
                ),
            )
            break


def cache_reads(context: Context) -> Iterator[Finding]:
    """Portfolio, positions or order book are asked for at least 24 times a minute, and no cache is set."""
    asked = context.asked_per_min
    hold_s = context.settings.cache_s
    for operation in _CACHEABLE:
        count = asked.get(operation, 0)
        before = context.levers.caches.get(operation, 0.0)
        if before or not context.over("cache_reads", count, context.settings.cacheable_per_min, operation.value):
            continue
        saved = max(0, count - round(60 / hold_s))
        if not saved:
            continue
        yield Finding(
            kind="cache_reads",
            severity=Severity.INFO,
            provider=operation.value,
            title=f"Cache {operation.value} for {hold_s:g} s: saves {saved} permits/min",
            evidence=f"asked {count} times in the last minute; it changes only when an order fills",
            effect=f"at most {60 / hold_s:.0f} of them would go out: {saved} permits a minute are free for others, "
            f"{percent(saved / max(1, sum(asked.values())))} of the traffic",
            offer=context.offer(
                f"answer {operation.value} from memory for {hold_s:g} s",
                SetReadCache(operation.value, hold_s),
                SetReadCache(operation.value, before),
            ),
        )


def batch_quotes(context: Context) -> Iterator[Finding]:
    """Quotes are asked for at least 60 times a minute: several symbols fit into one request."""
    asked = context.asked_per_min
    count = asked.get(Operation.GET_MARKET_DATA, 0)
    if not context.over("batch_quotes", count, 60):
        return
    saved = count - 60
    before = context.levers.caches.get(Operation.GET_MARKET_DATA, 0.0)
    yield Finding(
        kind="batch_quotes",
        severity=Severity.INFO,
        title=f"Batch the quotes: saves up to {saved} permits/min",
        evidence=f"{count} quote requests in the last minute, {count / 60:.1f} a second",
        effect=f"one request a second for all symbols together: 60 instead of {count} a minute",
        offer=context.offer(
            "answer the same quote from memory for 1 s",
            SetReadCache(Operation.GET_MARKET_DATA.value, 1.0),
            SetReadCache(Operation.GET_MARKET_DATA.value, before),
            when=before < 1.0 and saved > 0,
        ),
    )


def stagger_users(context: Context) -> Iterator[Finding]:
    """A one-second window was full in a quarter of the last 30 seconds, while its mean use stays below one half."""
    for broker in context.usable:
        history = context.of(broker)
        seen = history.count(30 * SECOND)
        full = history.bursts(30 * SECOND) / seen if seen >= 15 else 0.0
        if not context.over("stagger_users", full, 0.25, broker.name):
            continue
        short = next((window for window in broker.windows if window.rate.window_ns == SECOND), None)
        mean = history.per_s(30 * SECOND)
        if short is None or mean >= short.rate.permits / 2:
            continue
        peak = history.peak_per_s(30 * SECOND)
        yield Finding(
            kind="stagger_users",
            severity=Severity.INFO,
            provider=broker.name,
            title=f"Stagger the callers of {broker.name}: they come in bursts",
            evidence=f"{short.rate} full in {percent(full)} of the last 30 s, busiest second {peak:.0f}, mean "
            f"{mean:.1f}/s",
            effect=f"spread evenly, {mean:.1f}/s fill {percent(mean / short.rate.permits)} of the window and nobody "
            "waits",
        )


def usage_spike(context: Context) -> Iterator[Finding]:
    """The demand of the last 10 seconds is three times that of the 5 minutes before, and above 2 a second."""
    histories = context.history.brokers.values()
    now = sum(history.per_s(10 * SECOND) for history in histories)
    settings = context.settings
    if now < settings.spike_floor_per_s:
        return
    usual = sum(history.per_s(5 * MINUTE, until_ns=20 * SECOND) for history in histories)
    known = any(history.count(5 * MINUTE, until_ns=20 * SECOND) >= 30 for history in histories)
    if not known or not context.over("usage_spike", now, settings.spike * usual):
        return
    windows = context.windows()
    then = what_if(windows, now)
    first = min((at for at in then.exhausted_in_ns.values() if at is not None), default=None)
    yield Finding(
        kind="usage_spike",
        severity=Severity.WARNING,
        title=f"Usage spike: {now:.1f} requests a second instead of {usual:.1f}",
        evidence=f"{now:.1f}/s over 10 s, {usual:.1f}/s over the 5 min before",
        effect=f"if it lasts 2 min, the first broker is full {seconds(first)} from now" + " and "
        f"{percent(then.served)} of it finds a permit",
    )


def one_carries_all(context: Context) -> Iterator[Finding]:
    """One broker had 90 % of the last minute's traffic and less than 60 % of the capacity, others being usable."""
    for broker in context.usable:
        busy = context.demand_per_s >= 0.5
        if not busy or not context.others(broker) or broker.capacity_share >= 0.6:
            continue
        if not context.over("one_carries_all", broker.traffic_share, context.settings.one_carries, broker.name):
            continue
        then = context.what_if()
        yield Finding(
            kind="one_carries_all",
            severity=Severity.INFO,
            provider=broker.name,
            title=f"{broker.name} carries everything",
            evidence=f"{percent(broker.traffic_share)} of the traffic with {percent(broker.capacity_share)} of the "
            "capacity",
            effect=f"levelled by headroom it would carry {percent(then.shares[broker.name])}, its fullest window "
            f"{percent(then.fullest[broker.name])} full",
            offer=context.lighter(broker, 0.5),
        )


def headroom_unused(context: Context) -> Iterator[Finding]:
    """A usable broker got less than 2 % of the traffic for 5 minutes while a window elsewhere passed 80 %."""
    short = [broker for broker in context.usable if True in [window.soft for window in broker.windows]]
    total = context.total_gained("requests", 5 * MINUTE) if short else 0
    for broker in context.usable if total >= 60 else ():
        history = context.of(broker)
        gained = history.gained("requests", 5 * MINUTE)
        tight = [other for other in short if other is not broker]
        if not tight or history.count(5 * MINUTE) < 120:
            continue
        if gained > context.settings.unused_share * total:
            continue
        then = context.what_if()
        weight = context.levers.weights.get((broker.name, Category.READS), 1.0)
        yield Finding(
            kind="headroom_unused",
            severity=Severity.INFO,
            provider=broker.name,
            title=f"{broker.name} is hardly used while {tight[0].name} runs short",
            evidence=f"{gained} of {total} requests in 5 min; {tight[0].name} is past 80 %",
            effect=f"levelled by headroom it would take {percent(then.shares[broker.name])} of the demand; look at the "
            "routing rules, or weigh it heavier",
            offer=context.offer(
                f"weigh {broker.name} {2 * weight:g} instead of {weight:g} for reads",
                SetRouteWeight(broker.name, Category.READS, 2 * weight),
                SetRouteWeight(broker.name, Category.READS, weight),
            ),
        )


def orders_squeezed(context: Context) -> Iterator[Finding]:
    """Reads fill more than 80 % of a window that orders need too, and make up most of the traffic."""
    asked = context.asked_per_min
    orders = sum(asked.get(op, 0) for op in (Operation.PLACE_ORDER, Operation.MODIFY_ORDER, Operation.CANCEL_ORDER))
    total = sum(asked.values())
    if not orders or total < 30 or orders > 0.2 * total:
        return
    for broker in context.usable:
        shared = [
            window
            for window in counting(broker, Category.ORDERS)
            if window.budget != Category.ORDERS and window.rate.window_ns > SECOND
        ]
        window = max(shared, key=lambda one: one.fraction, default=None)
        if window is None or not context.over("orders_squeezed", window.fraction, 0.8, broker.name):
            continue
        yield Finding(
            kind="orders_squeezed",
            severity=Severity.WARNING,
            provider=broker.name,
            title=f"Reads leave orders little room at {broker.name}",
            evidence=f"{window.rate} is {percent(window.fraction)} gone, {total - orders} of {total} requests a minute "
            "are reads",
            effect=f"without the reads the same orders would fill "
            f"{percent(window.fraction * orders / total)} of that window",
            offer=context.lighter(broker, 0.25),
        )


def resume_drained(context: Context) -> Iterator[Finding]:
    """A broker is drained although its breaker is closed, while the others' windows pass 80 % or requests wait."""
    for broker in context.snapshot.brokers:
        if not broker.drained or broker.breaker.value != "closed" or not context.usable:
            continue
        tight = [other for other in context.usable if other.queued or any(window.soft for window in other.windows)]
        if not tight:
            continue
        now = context.what_if()
        windows = {**context.windows(), broker.name: counting(broker, None)}
        then = what_if(windows, context.demand_per_s)
        yield Finding(
            kind="resume_drained",
            severity=Severity.INFO,
            provider=broker.name,
            title=f"Take {broker.name} back: the others run short",
            evidence=f"{tight[0].name} is past 80 % with {sum(other.queued for other in tight)} waiting; "
            f"{broker.name} is drained and sound",
            effect=f"it would carry {percent(then.shares[broker.name])}; served {percent(then.served)} instead of "
            f"{percent(now.served)}",
            offer=context.offer(
                f"resume {broker.name}",
                ResumeProvider(broker.name),
                DrainProvider(broker.name),
            ),
        )
