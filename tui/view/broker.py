"""One broker in depth."""

from __future__ import annotations

from core.models import BrokerSnapshot

from .brokers import BrokerGrid, broker_lines, health_text
from .charts import chart_lines
from .text import MARK, Line, Role, Span, clean, column, count, duration, fit, line, percent, rate

__all__ = ["facts_lines", "latency_lines", "windows_lines"]


def windows_lines(broker: BrokerSnapshot, width: int, height: int | None = None) -> list[Line]:
    """The broker as on the overview, with all its windows."""
    return broker_lines(BrokerGrid((broker,)), width, height)


def facts_lines(broker: BrokerSnapshot, width: int, height: int | None = None) -> list[Line]:
    """State, breaker, token, traffic: one fact a line."""
    level, state = health_text(broker)
    retry = f", tries again in {duration(broker.breaker_retry_in_ns)}" if broker.breaker_retry_in_ns else ""
    token = (
        "no expiry known"
        if broker.token_expires_in_ns is None
        else f"expires in {duration(broker.token_expires_in_ns)}"
    )
    facts: tuple[tuple[str, str, Role], ...] = (
        ("state", f"{MARK[level]} {state}", level if level is not Role.OK else Role.TEXT),
        ("why", clean(broker.reason) or "-", Role.TEXT),
        ("breaker", f"{broker.breaker.value.replace('_', ' ')}{retry}", Role.TEXT),
        ("token", token, Role.TEXT),
        ("held back", f"for {duration(broker.limited_for_ns)}" if broker.limited_for_ns else "no", Role.TEXT),
        (
            "cap",
            "none" if broker.cap == 1 else f"{percent(broker.cap)} of its limits, by you",
            Role.TEXT if broker.cap == 1 else Role.WARN,
        ),
        ("account", f"{broker.provider.value}, {'simulated' if broker.simulated else 'LIVE'}", Role.TEXT),
        ("sent", f"{count(broker.requests)}, now {rate(broker.rate_per_s)}", Role.TEXT),
        ("errors", f"{count(broker.errors)}", Role.WARN if broker.errors else Role.TEXT),
        ("refusals", f"{count(broker.refusals)}", Role.WARN if broker.refusals else Role.TEXT),
        ("flying, queued", f"{count(broker.in_flight)}, {count(broker.queued)}", Role.TEXT),
        (
            "traffic",
            f"{percent(broker.traffic_share)} of all, {percent(broker.capacity_share)} would be fair",
            Role.TEXT,
        ),
    )
    lines = [fit(line(Span(f" {column(name, 16)}", Role.DIM), Span(text, role)), width) for name, text, role in facts]
    return lines[:height]


def latency_lines(broker: BrokerSnapshot, width: int, height: int | None = None) -> list[Line]:
    """Latency over time, and its spread."""
    latency = broker.latency
    rows = 8 if height is None else height
    spread = line(
        *(
            span
            for name, ns in (
                ("now", latency.ewma_ns),
                ("p50", latency.p50_ns),
                ("p99", latency.p99_ns),
                ("max", latency.max_ns),
            )
            for span in (
                Span(f" {name} ", Role.DIM),
                Span(column(duration(ns if latency.count else None), 8), Role.STRONG),
            )
        ),
        Span(f" of {count(latency.count)}", Role.DIM),
    )
    if rows <= 2:
        return [fit(spread, width)][:rows]
    chart = chart_lines("latency", latency.history_ns, width, rows - 1, lambda ns: duration(int(ns)))
    return [fit(spread, width), *(fit(entry, width) for entry in chart)]
