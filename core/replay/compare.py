"""What is different between two moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ..models import BrokerSnapshot, Counters, RouterSnapshot

__all__ = ["Difference", "differences"]

R = TypeVar("R")
_BROKER_FACTS = ("health", "breaker", "drained", "requests", "errors", "refusals", "in_flight", "queued")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was. `change` is the later number less the earlier one, None for what is no number.

    `place` is what kind of thing it is (`counter`, `broker`, `window`, `order`, `advice`, `incident`, `router`).
    """

    place: str
    name: str
    what: str
    before: str
    after: str
    change: float | None = None


def differences(before: RouterSnapshot, after: RouterSnapshot) -> tuple[Difference, ...]:
    """Everything that differs and stays worth a line a minute later; times relative to a snapshot are left out."""
    return (
        *_router(before, after),
        *(
            _numbers(
                "counter", "", entry.name, getattr(before.counters, entry.name), getattr(after.counters, entry.name)
            )
            for entry in fields(Counters)
            if getattr(before.counters, entry.name) != getattr(after.counters, entry.name)
        ),
        *_rows(before.brokers, after.brokers, lambda broker: broker.name, _broker),
        *_rows(before.orders, after.orders, lambda order: order.order_id, _order),
        *_rows(before.suggestions, after.suggestions, lambda entry: entry.id, _advice),
        *_incidents(before, after),
    )


def _router(before: RouterSnapshot, after: RouterSnapshot) -> Iterator[Difference]:
    for what in ("open_orders", "unknown_orders"):
        if getattr(before, what) != getattr(after, what):
            yield _numbers("router", "", what, getattr(before, what), getattr(after, what))
    for what in ("halted", "failure"):
        if getattr(before, what) != getattr(after, what):
            yield Difference("router", "", what, getattr(before, what) or "-", getattr(after, what) or "-")


def _numbers(place: str, name: str, what: str, before: float, after: float) -> Difference:
    return Difference(place, name, what, f"{before:,}", f"{after:,}", after - before)


def _rows(
    before: Sequence[R],
    after: Sequence[R],
    key: Callable[[R], str],
    compare: Callable[[R | None, R | None], Iterator[Difference]],
) -> Iterator[Difference]:
    was, now = {key(row): row for row in before}, {key(row): row for row in after}
    for name in (*now, *(name for name in was if name not in now)):
        if was.get(name) != now.get(name):
            yield from compare(was.get(name), now.get(name))


def _broker(before: BrokerSnapshot | None, after: BrokerSnapshot | None) -> Iterator[Difference]:
    if before is None or after is None:
        known = after or before
        assert known is not None  # noqa: S101 - one of the two is there
        yield Difference(
            "broker", known.name, "", "-" if before is None else "there", "-" if after is None else "there"
        )
        return
    for what in _BROKER_FACTS:
        was, now = getattr(before, what), getattr(after, what)
        if was == now:
            continue
        if isinstance(now, int) and not isinstance(now, bool):
            yield _numbers("broker", after.name, what, was, now)
        else:
            yield Difference("broker", after.name, what, _text(was), _text(now))
    windows = {(window.budget, window.rate): window for window in before.windows}
    for window in after.windows:
        earlier = windows.get((window.budget, window.rate))
        if earlier is not None and earlier.used != window.used:
            yield _numbers("window", after.name, f"{window.name} used", earlier.used, window.used)


def _order(before: Any, after: Any) -> Iterator[Difference]:
    row = after or before
    name = f"{row.side} {row.quantity} {row.symbol}"
    if before is None or after is None:
        # A row that is gone only left the list, which holds the newest ones.
        yield Difference("order", row.order_id, name, _status(before), _status(after))
        return
    if before.status != after.status:
        yield Difference("order", row.order_id, name, before.status, after.status)
    if before.filled_quantity != after.filled_quantity:
        yield _numbers("order", row.order_id, f"{name} filled", before.filled_quantity, after.filled_quantity)


def _status(order: Any) -> str:
    return "not listed" if order is None else str(order.status)


def _advice(before: Any, after: Any) -> Iterator[Difference]:
    was, now = _standing(before), _standing(after)
    if was != now:
        yield Difference("advice", (after or before).id, (after or before).title, was, now)


def _standing(entry: Any) -> str:
    return "-" if entry is None else "applied" if entry.applied else "proposed"


def _incidents(before: RouterSnapshot, after: RouterSnapshot) -> Iterator[Difference]:
    counted = {(row.at_ns, row.kind, row.provider): row.count for row in before.incidents}
    for row in after.incidents:
        was = counted.get((row.at_ns, row.kind, row.provider), 0)
        if row.count != was:
            yield _numbers("incident", row.provider, f"{row.kind}: {row.message}", was, row.count)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value.value).replace("_", " ")
