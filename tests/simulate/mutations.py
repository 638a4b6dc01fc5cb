"""Deliberate faults, each of which the simulation must notice: proof that its silence means something.

Each is a block inside which the engine (or the disk) is wrong in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Final
from unittest.mock import patch

import anyio

from core.engine import news
from core.engine.engine import TradingEngine
from core.engine.news import Folded
from core.engine.orders import LOST, LiveOrder
from core.engine.placer import Placer
from core.engine.recorder import Recorder
from core.engine.recovery import Recovery
from core.engine.switch import KillSwitch
from core.errors import OrderNotSent
from core.models import BrokerOrder, OrderStatus
from core.store import Journal
from core.store.ledger import Ledger

__all__ = ["FSYNC_OFF", "MUTATIONS"]

FSYNC_OFF: Final = "fsync off"


def _journal_after_send() -> AbstractContextManager[Any]:
    """The order leaves first and is journaled when the answer is there."""
    intend = Recorder.intend

    async def send(self: Placer, live: LiveOrder, place: Any, tried: set[str]) -> None:
        tag = self._tags.order_tag()
        ack = None
        try:
            ack = await place.call(lambda api: api.place_order(live.order, tag=tag))
        except Exception:  # noqa: BLE001
            tried.add(place.name)
        if ack is not None and await intend(self._recorder, live, provider=place.name, tag=tag, simulated=True):
            await self._recorder.move_shielded(
                live, LOST, OrderStatus.ACCEPTED, message=ack.message, broker_order_id=ack.broker_order_id
            )

    return patch.object(Placer, "_send", send)


def _fall_back_on_timeout() -> AbstractContextManager[Any]:
    """No answer is taken for not sent, and the order goes to the next broker: what routers do today."""

    async def lost(self: Placer, live: LiveOrder, why: str, horizon_ns: int) -> None:
        await self._not_live(live, OrderNotSent(why))

    return patch.object(Placer, "_lost", lost)


def _tag_not_filtered() -> AbstractContextManager[Any]:
    """Whatever the broker answers is taken for the answer."""

    class Anything(dict[str, Sequence[BrokerOrder]]):
        def get(self, _tag: str, _default: Any = None) -> Any:
            return self[""]

    def rows_by_tag(rows: Sequence[BrokerOrder]) -> Mapping[str, Sequence[BrokerOrder]]:
        return Anything({"": list(rows)})

    return patch("core.engine.asker.rows_by_tag", rows_by_tag)


def _reconcile_once() -> AbstractContextManager[Any]:
    """The first look that does not find an order is taken for proof that it was never placed."""
    lost = LiveOrder.lost

    def at_once(self: LiveOrder, now_ns: int, _horizon_ns: int) -> None:
        lost(self, now_ns, 0)

    return patch.object(LiveOrder, "lost", at_once)


def _told_before_durable() -> AbstractContextManager[Any]:
    """A step is told of while its write is still under way."""
    end = Recorder._end

    async def eager(self: Recorder, live: LiveOrder, write: Any) -> bool:
        pending.append(asyncio.create_task(end(self, live, write)))
        return True

    pending: list[Any] = []  # a task that nobody holds may vanish
    return patch.object(Recorder, "_end", eager)


def _claim_ignored() -> AbstractContextManager[Any]:
    """Whoever had the id before does not matter, nor what the journal thinks of status and attempt."""
    claim = Journal.claim

    async def always_ours(self: Journal, order: Any, *entries: Any, simulated: bool = True) -> None:
        await claim(self, order, *entries, simulated=simulated)

    def blindly(self: Ledger, entries: Any, now_ns: int, *, held: bool = True) -> int:
        return move(self, entries, now_ns, held=False)

    move = Ledger.move
    stack = ExitStack()
    stack.enter_context(patch.object(Journal, "claim", always_ours))
    stack.enter_context(patch.object(Ledger, "_check", _nothing))
    stack.enter_context(patch.object(Ledger, "move", blindly))
    return stack


def _no_recovery() -> AbstractContextManager[Any]:
    """New orders are taken without a look at those of the last run."""

    async def nothing(self: Recovery, *, halted: bool) -> None:
        await anyio.lowlevel.checkpoint()

    return patch.object(Recovery, "run", nothing)


def _refusal_tried_again_in_flight() -> AbstractContextManager[Any]:
    """A cancelled caller's order is taken for not sent."""
    lost = Placer._lost

    async def forget(self: Placer, live: LiveOrder, why: str, horizon_ns: int) -> None:
        if why == "cancelled in flight":
            with anyio.CancelScope(shield=True):
                await self._recorder.move(live, {OrderStatus.SUBMITTING}, OrderStatus.DENIED, message=why)
        else:
            await lost(self, live, why, horizon_ns)

    return patch.object(Placer, "_lost", forget)


def _late_fills_dropped() -> AbstractContextManager[Any]:
    """A fill that crosses a cancel is not counted."""
    fold = news.fold

    def blind(status: OrderStatus, filled: int, average: Any, order: Any, row: BrokerOrder) -> Folded:
        heard = fold(status, filled, average, order, row)
        if status in {OrderStatus.CANCEL_REQUESTED, OrderStatus.CANCELLED}:
            return Folded(heard.status, filled, average)
        return heard

    return patch("core.engine.recorder.fold", blind)


def _halt_ignored() -> AbstractContextManager[Any]:
    """The kill switch cancels, but holds nothing back: neither here nor in the journal."""
    stack = ExitStack()
    stack.enter_context(patch.object(KillSwitch, "reason", property(_no_reason, _nothing), create=True))
    stack.enter_context(patch.object(KillSwitch, "anywhere", _no_reason))
    stack.enter_context(patch.object(TradingEngine, "_give_up_unsent", _nothing))
    stack.enter_context(patch.object(Ledger, "_check", _nothing))
    return stack


def _nothing(*_: object) -> None:
    """In the place of whatever should have been done."""


def _no_reason(*_: object) -> str:
    return ""


MUTATIONS: Final[Mapping[str, Callable[[], AbstractContextManager[Any]]]] = {
    "journal after send": _journal_after_send,
    "fall back on timeout": _fall_back_on_timeout,
    "tag not filtered": _tag_not_filtered,
    "reconcile once only": _reconcile_once,
    FSYNC_OFF: nullcontext,
    "told before durable": _told_before_durable,
    "claim ignored": _claim_ignored,
    "no recovery": _no_recovery,
    "cancelled in flight is not sent": _refusal_tried_again_in_flight,
    "late fills dropped": _late_fills_dropped,
    "halt ignored": _halt_ignored,
}
