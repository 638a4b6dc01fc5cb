"""Answers to what a screen asks besides the snapshot: one broker in depth, one order's story, one preview."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from core.brokers import published_limits
from core.clock import MILLISECOND, MINUTE, SECOND
from core.errors import ConfigError, UnknownOrder
from core.models import (
    APIProvider,
    AskBroker,
    AskPreview,
    AskStory,
    BreakerMove,
    BrokerDetail,
    CandidateTerms,
    Decision,
    Doubt,
    LimitSource,
    OperationRow,
    Order,
    OrderPreview,
    OrderRow,
    OrderStatus,
    OrderStory,
    OrderType,
    Question,
    RefusalRow,
    RouterSnapshot,
    StoryStep,
    WindowCourse,
)

LAST = Decimal("820.50")
TICK = Decimal("0.05")


def detail(name: str, snapshot: RouterSnapshot) -> BrokerDetail:
    """One broker of the snapshot in depth; every figure follows from its name."""
    broker = next((broker for broker in snapshot.brokers if broker.name == name), None)
    if broker is None:
        message = f"no broker is named {name!r}"
        raise ConfigError(message)
    published = published_limits(APIProvider.UPSTOX)
    return BrokerDetail(
        name=name,
        windows=tuple(
            WindowCourse(
                budget=window.budget,
                rate=window.rate,
                fractions=tuple(
                    min(1.0, (place * (n + 3)) % 97 / 97 * (0.4 + n / 6)) for place in range(1, 200)
                ),
            )
            for n, window in enumerate(broker.windows)
        ),
        histogram=tuple(
            (round(20 * 1.4641**n) * MILLISECOND, count) for n, count in enumerate((4, 90, 410, 380, 61, 9, 0, 2))
        ),
        operations=(
            OperationRow(
                operation="get_market_data", requests=140_200, failures=12, refusals=3, p50_ns=61 * MILLISECOND,
                p99_ns=190 * MILLISECOND, max_ns=2_100 * MILLISECOND, wait_mean_ns=3 * MILLISECOND,
                ended_epoch_ns=snapshot.epoch_ns - SECOND,
            ),
            OperationRow(
                operation="place_order", requests=812, failures=0, refusals=1, p50_ns=72 * MILLISECOND,
                p99_ns=240 * MILLISECOND, max_ns=402 * MILLISECOND, wait_mean_ns=0,
                ended_epoch_ns=snapshot.epoch_ns - 4 * SECOND,
            ),
        ),
        breaker=(
            BreakerMove(
                epoch_ns=snapshot.epoch_ns - 90 * SECOND, before="half_open", after="closed",
                reason="its probes were answered",
            ),
            BreakerMove(
                epoch_ns=snapshot.epoch_ns - 95 * SECOND, before="closed", after="open",
                reason="5 failures in a row: no answer",
            ),
        ),
        refusals=(
            RefusalRow(
                epoch_ns=snapshot.epoch_ns - 3 * SECOND,
                message="upstox: too many requests, refused (UDAPI10005); slow down; closed for 1000 ms",
                evidence='HTTP 429; retry-after: 1; x-ratelimit-remaining: 0; {"status":"error","code":"UDAPI10005"}',
            ),
        ),
        limits=tuple(
            LimitSource(budget=budget.name, rate=rate, source="published: developer documentation, Rate Limiting")
            for budget in published
            for rate in budget.rates
        ),
        published=published,
        token_source="the embedded broker's own; nothing real",  # noqa: S106 - where it is from, not what it is
        token_expires_epoch_ns=snapshot.epoch_ns + 300 * MINUTE,
    )  # fmt: skip


def story(row: OrderRow) -> OrderStory:
    """The story of one row of the blotter."""
    limit = bool(row.price)
    terms = Order(
        symbol=row.symbol,
        quantity=row.quantity,
        side=row.side,
        order_type=OrderType.LIMIT if limit else OrderType.MARKET,
        price=row.price if limit else None,
        client_order_id=row.order_id,
    )
    told = (
        ("Claimed", 0, ""),
        ("Intent", 2, f"tag={row.tag} provider={row.provider} attempt=1"),
        ("Step", 71, "before=SUBMITTING after=ACCEPTED broker_order_id=2601 message='put order req received'"),
        ("IncidentSeen", 900, "kind=contradiction message='[red]said one thing[/] and then another'"),
        ("Step", 420, f"before=ACCEPTED after={row.status} message={row.message!r}"),
    )
    steps, at_ns = [], row.epoch_ns
    for place, (kind, after_ms, text) in enumerate(told):
        at_ns += after_ms * MILLISECOND
        steps.append(
            StoryStep(serial=4000 + place, epoch_ns=at_ns, since_ns=after_ms * MILLISECOND, kind=kind, text=text)
        )
    status = OrderStatus(row.status)
    doubt = Doubt(
        lost_for_ns=4 * SECOND,
        asked_ago_ns=900 * MILLISECOND,
        next_ask_in_ns=1_100 * MILLISECOND,
        proven_in_ns=26 * SECOND,
        silent_for_ns=900 * MILLISECOND,
        silence="no answer to find_orders_by_tag within 7000 ms",
    )
    return OrderStory(
        order_id=row.order_id,
        terms=terms,
        status=status,
        simulated=row.simulated,
        provider=row.provider,
        broker_order_id=row.broker_order_id,
        tag=row.tag,
        attempt=1,
        filled_quantity=row.filled_quantity,
        average_price=row.price,
        message=row.message,
        steps=tuple(steps),
        doubt=doubt if status in {OrderStatus.UNKNOWN, OrderStatus.QUARANTINED} else None,
    )


def preview(asked: AskPreview, snapshot: RouterSnapshot) -> OrderPreview:
    """One symbol is known, in lots of 1; the rest of the judgement is the engine's, and tested there."""
    faults: list[tuple[str, str]] = []
    known = asked.symbol == "NSE:SBIN-EQ"
    if not known:
        told = f"no instrument {asked.symbol!r}; did you mean NSE:SBIN-EQ?" if asked.symbol else "such as NSE:SBIN-EQ"
        faults.append(("symbol", told))
    if asked.quantity is None:
        faults.append(("quantity", "a whole number of at least 1"))
    if asked.order_type in {OrderType.LIMIT, OrderType.SL} and asked.price is None:
        faults.append(("price", "a LIMIT order needs a price"))
    if asked.price is not None and asked.price % TICK:
        faults.append(("price", f"price {asked.price} is no multiple of the tick size {TICK}"))
    if snapshot.halted:
        faults.append(("order", f"trading is halted ({snapshot.halted}); K lifts it"))
    chosen = asked.provider or "upstox"
    price = asked.price or (LAST if known else None)
    return OrderPreview(
        faults=tuple(faults),
        tick=TICK if known else None,
        lot=1 if known else None,
        last=LAST if known else None,
        value=None if price is None or asked.quantity is None else price * asked.quantity,
        choice=Decision(
            serial=1,
            at_ns=0,
            operation="modify_order" if asked.changes else "place_order",
            chosen=chosen,
            reason="pinned" if asked.provider else "12 ms sooner than fyers",
            candidates=(
                CandidateTerms(name="upstox", latency_s=0.067, queue_s=0.004, headroom_s=0.002),
                CandidateTerms(name="fyers", latency_s=0.042, wait_s=0.043, headroom_s=0.001),
            ),
        ),
    )


def answer(question: Question[Any], snapshot: RouterSnapshot) -> Any:
    """What a router over this snapshot would say."""
    asked: object = question
    match asked:
        case AskBroker(name):
            return detail(name, snapshot)
        case AskStory(order_id):
            row = next((row for row in snapshot.orders if row.order_id == order_id), None)
            if row is None:
                message = f"no order is known here by the id {order_id!r}"
                raise UnknownOrder(message)
            return story(replace(row, provider=row.provider or "upstox"))
        case _:
            return preview(cast("AskPreview", asked), snapshot)
