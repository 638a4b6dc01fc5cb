"""Cancels and changes of orders that rest at a broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from ..brokers.base import TradingAPI
from ..clock import Clock
from ..errors import (
    IllegalStep,
    LimiterError,
    NoBrokerAvailable,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    StoreError,
)
from ..manager import MultiAPIManager, Reservation
from ..models import Operation, Order, OrderAck, OrderStatus, Priority
from ..store import CancelIntended, ModifyIntended
from .asker import check_place
from .orders import LiveOrder
from .recorder import Recorder

__all__ = ["Changer"]

_S = OrderStatus
_RESTING: Final = frozenset({_S.ACCEPTED, _S.PARTIALLY_FILLED})
_CANCELLABLE: Final = _RESTING | {_S.MODIFY_REQUESTED}


class Changer:
    """Sends cancels and changes: each once, until the book has shown that it did not arrive."""

    def __init__(self, manager: MultiAPIManager, recorder: Recorder, *, clock: Clock) -> None:
        self._manager = manager
        self._recorder = recorder
        self._clock = clock

    async def cancel(self, live: LiveOrder, *, deadline_ns: int) -> str:
        """Send a cancel if the order rests; empty, or why it could not be sent or was refused.

        Once sent, the order is CANCEL_REQUESTED until the book shows its end: a fill may cross the cancel on the way.
        """
        try:
            with await self._manager.reserve(
                Operation.CANCEL_ORDER, only=live.provider, deadline_ns=deadline_ns, priority=Priority.CANCEL
            ) as place:
                with anyio.CancelScope(shield=True):
                    fault = await self._cancel_at(place, live)
        except (LimiterError, NoBrokerAvailable) as error:
            fault = f"the cancel was not sent: {error}"
        return fault

    async def _cancel_at(self, place: Reservation, live: LiveOrder) -> str:
        if live.is_changing or live.status not in _CANCELLABLE:
            return ""
        check_place(place, live.provider)
        intended = CancelIntended(live.id, live.provider, live.broker_order_id, self._clock.epoch_ns())
        try:
            if not await self._recorder.move(live, _CANCELLABLE, _S.CANCEL_REQUESTED, first=intended):
                return ""
        except StoreError as error:
            # The other way round than for an order: a cancel without a record does no harm, an order left open may.
            self._recorder.tell("store", live.provider, f"{live.id}: the cancel is sent without a record: {error}")
        live.cancels_sent += 1
        _, fault = await self._send(live, place, lambda api: api.cancel_order(live.broker_order_id))
        return fault

    async def modify(self, live: LiveOrder, wanted: Order, *, deadline_ns: int) -> str:
        """Send a change of a resting order to the terms of `wanted`; empty, or why it was not made.

        A change without an answer leaves the order MODIFY_REQUESTED until the book shows which terms are in force.
        Raises IllegalStep when the order does not rest.
        """
        if live.status not in _RESTING:  # before it is at a broker there is none to ask for a permit
            raise _does_not_rest(live)
        try:
            with await self._manager.reserve(
                Operation.MODIFY_ORDER, only=live.provider, deadline_ns=deadline_ns
            ) as place:
                with anyio.CancelScope(shield=True):
                    fault = await self._modify_at(place, live, wanted)
        except (LimiterError, NoBrokerAvailable) as error:
            fault = f"the change was not sent: {error}"
        return fault

    async def _modify_at(self, place: Reservation, live: LiveOrder, wanted: Order) -> str:
        check_place(place, live.provider)
        terms = live.terms
        intended = ModifyIntended(
            live.id,
            live.provider,
            live.broker_order_id,
            quantity=wanted.quantity if wanted.quantity != terms.quantity else None,
            order_type=wanted.order_type if wanted.order_type is not terms.order_type else None,
            price=wanted.price if wanted.price != terms.price else None,
            trigger_price=wanted.trigger_price if wanted.trigger_price != terms.trigger_price else None,
            epoch_ns=self._clock.epoch_ns(),
        )
        if live.is_changing or not await self._recorder.move(live, _RESTING, _S.MODIFY_REQUESTED, first=intended):
            raise _does_not_rest(live)
        live.wanted = wanted
        answered, fault = await self._send(
            live,
            place,
            lambda api: api.modify_order(
                live.broker_order_id,
                quantity=intended.quantity,
                order_type=intended.order_type,
                price=intended.price,
                trigger_price=intended.trigger_price,
            ),
        )
        if answered and not fault:
            live.terms, live.wanted = wanted, None
            await self._recorder.move(live, {_S.MODIFY_REQUESTED}, live.resting_status)
        return fault

    async def _send(
        self, live: LiveOrder, place: Reservation, send: Callable[[TradingAPI], Awaitable[OrderAck]]
    ) -> tuple[bool, str]:
        """Send once: whether an answer came, and what stands against it."""
        asked = live.status
        live.is_changing = True
        try:
            await place.call(send)
        except (OrderNotSent, OrderRefused) as error:
            live.wanted = None
            await self._recorder.move(live, {asked}, live.resting_status, message=str(error))
            return True, str(error)
        except OrderOutcomeUnknown as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - a bug of an adapter proves nothing about what left
            await self._recorder.incident("adapter", place.name, f"{type(error).__name__}: {error}", live=live)
            return False, f"{type(error).__name__} in the adapter"
        finally:
            live.is_changing = False
            live.changed_ns = self._clock.now_ns()
        return True, ""


def _does_not_rest(live: LiveOrder) -> IllegalStep:
    return IllegalStep(f"{live.id} is {live.status.value}; only a resting order can be changed")
