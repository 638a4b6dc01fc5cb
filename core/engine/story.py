"""What the journal holds of one order, and what is being done about it while it is lost."""

from __future__ import annotations

from ..clock import Clock
from ..models import Doubt, OrderStatus, OrderStory
from ..store import JournaledOrder, JournalRow, steps_of
from .asker import Asker
from .orders import LiveOrder

__all__ = ["doubt_of", "story_of"]

_IN_DOUBT = frozenset({OrderStatus.UNKNOWN, OrderStatus.QUARANTINED})


def story_of(
    known: JournaledOrder, rows: tuple[JournalRow, ...], live: LiveOrder | None, asker: Asker, clock: Clock
) -> OrderStory:
    """The journal's word on the order; `live` adds the terms in force and what only this process knows."""
    return OrderStory(
        order_id=known.order_id,
        terms=known.order if live is None else live.terms,
        status=known.status,
        simulated=known.simulated,
        provider=known.provider,
        broker_order_id=known.broker_order_id,
        tag=known.tag,
        attempt=known.attempt,
        filled_quantity=known.filled_quantity,
        average_price=known.average_price,
        message=known.message,
        steps=steps_of(rows),
        doubt=None if live is None or live.status not in _IN_DOUBT else doubt_of(live, asker, clock.now_ns()),
    )


def doubt_of(live: LiveOrder, asker: Asker, now_ns: int) -> Doubt:
    """Who was asked, when next, and from when an empty answer proves that it was never placed."""
    silent_since_ns = asker.silent_since_ns(live.provider)
    return Doubt(
        lost_for_ns=now_ns - live.lost_ns,
        asked_ago_ns=None if live.asked_ns is None else now_ns - live.asked_ns,
        next_ask_in_ns=max(0, live.ask_next_ns - now_ns),
        proven_in_ns=max(0, live.absent_from_ns - now_ns),
        silent_for_ns=None if silent_since_ns is None else now_ns - silent_since_ns,
        silence=asker.fault(live.provider) if silent_since_ns is not None else "",
    )
