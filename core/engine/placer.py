"""One order, from wanted to known.

Journal first, network second: after a crash, an intent without an outcome is looked up at the broker. The other way
round, an order could be live that we have never heard of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import anyio

from ..clock import Clock
from ..errors import (
    BrokerError,
    EngineHalted,
    LimiterError,
    NoBrokerAvailable,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRefused,
    RateLimited,
)
from ..manager import MultiAPIManager, Reservation
from ..models import Operation, OrderStatus
from .asker import Asker
from .orders import LOST, LiveOrder
from .recorder import Recorder
from .settings import EngineSettings
from .tags import TagMaker

__all__ = ["Placer"]

# By names of their own: a member is looked up in its class for ten times the price.
_NEW: Final = OrderStatus.NEW
_UNKNOWN: Final = OrderStatus.UNKNOWN
_ACCEPTED: Final = OrderStatus.ACCEPTED
_REJECTED: Final = OrderStatus.REJECTED
_PLACE_ORDER: Final = Operation.PLACE_ORDER
_S = OrderStatus
_FROM_NEW: Final = frozenset({_S.NEW})
_FROM_SUBMITTING: Final = frozenset({_S.SUBMITTING})


class Placer:
    """Sends orders. `halted` gives the reason while the kill switch is on, also when another process threw it."""

    def __init__(
        self,
        manager: MultiAPIManager,
        recorder: Recorder,
        asker: Asker,
        tags: TagMaker,
        *,
        clock: Clock,
        settings: EngineSettings,
        halted: Callable[[], str],
    ) -> None:
        self._manager = manager
        self._recorder = recorder
        self._asker = asker
        self._tags = tags
        self._clock = clock
        self._settings = settings
        self._halted = halted

    async def place(self, live: LiveOrder, *, deadline_ns: int, only: str | None) -> None:
        """Take a new order to where its state is known and durable, or to `deadline_ns`; at `only` where that is given.

        Leaves it UNKNOWN or QUARANTINED when no broker says by then what became of it. Cancelled while it waits, it is
        DENIED; cancelled in flight, it is UNKNOWN. Raises IdTaken or OrderConflict where its id was used before;
        StoreError when a step cannot be made durable.
        """
        tried: set[str] = set()  # brokers that could not take it
        for attempt in range(self._settings.attempts_max):
            if live.give_up_because:
                break
            try:
                with self._manager.choose(_PLACE_ORDER, deadline_ns=deadline_ns, only=only, exclude=tried) as place:
                    if place.permit is None and not await self._wait(live, place):
                        break
                    # From here to the journaled answer nobody breaks in; the broker's own timeout bounds the time.
                    with _scope_class()(shield=True):
                        await self._send(live, place, tried)
            except (LimiterError, NoBrokerAvailable) as error:
                if not tried:
                    live.fault = live.fault or f"nothing was sent: {error}"
                    break
                tried.clear()  # every one has been tried: begin anew, but not at once
                await self._pause(attempt, deadline_ns)
            if live.status is _UNKNOWN:
                await self._find(live, deadline_ns)
            if not live.stands(_NEW):
                return
            live.earlier_tags |= {live.tag}
            if self._clock.now_ns() >= deadline_ns:
                break
        await self.deny(live, live.give_up_because or live.fault or "nothing was sent: the deadline passed")

    async def deny(self, live: LiveOrder, why: str) -> None:
        """End an order of which nothing has left; any other stays as it is."""
        await self._recorder.move(live, _FROM_NEW, _S.DENIED, message=why)

    async def _wait(self, live: LiveOrder, place: Reservation) -> bool:
        """Wait for the permit; False when the order was given up meanwhile.

        Its id is taken first: who hands it in again while this one waits is told so at once, in every process.
        """
        with anyio.CancelScope(shield=True):
            await self._recorder.claim(live)
        if live.give_up_because:
            return False
        with anyio.CancelScope() as live.give_up:
            # The claim took a trip to the disk. All who chose in that time saw the same lines, without each other.
            await self._manager.wait(place, anew=True)
        live.give_up = None
        return place.permit is not None and not live.give_up_because

    async def _send(self, live: LiveOrder, place: Reservation, tried: set[str]) -> None:
        tag, account = self._tags.order_tag(), place.account
        simulated = account.api.config.simulated
        try:
            if not await self._recorder.intend(live, provider=account.name, tag=tag, simulated=simulated):
                return
        except EngineHalted as error:
            live.give_up_because = str(error)
            return
        if why := live.give_up_because or self._halted():
            await self._recorder.move_shielded(live, _FROM_SUBMITTING, _S.DENIED, message=f"nothing was sent: {why}")
            return
        try:
            ack = await place.call(lambda api: api.place_order(live.order, tag=tag))
        except OrderNotSent as error:
            tried.add(place.name)
            await self._not_live(live, error)
        except OrderRefused as error:
            await self._refused(live, error, tried)
        except OrderOutcomeUnknown as error:
            await self._lost(live, str(error), max(self._asker.horizon_ns(place.name), error.arrives_within_ns))
        except anyio.get_cancelled_exc_class():
            await self._lost(live, "cancelled in flight", self._asker.orphan_horizon_ns(place.name))
            raise
        except Exception as error:  # noqa: BLE001 - a bug of an adapter proves nothing about what left
            await self._recorder.incident("adapter", place.name, f"{type(error).__name__}: {error}", live=live)
            await self._lost(live, f"{type(error).__name__} in the adapter", self._asker.orphan_horizon_ns(place.name))
        else:
            # An answer tells neither prices nor fills: whatever it says of an end, the book has the numbers.
            after, told_id = _REJECTED if ack.status is _REJECTED else _ACCEPTED, ack.broker_order_id
            await self._recorder.move_shielded(live, LOST, after, message=ack.message, broker_order_id=told_id)

    async def _not_live(self, live: LiveOrder, error: BrokerError) -> None:
        """Back to NEW, so that it may go elsewhere: only from SUBMITTING, for what a book has shown is live."""
        live.fault = str(error)
        if not await self._recorder.move_shielded(live, _FROM_SUBMITTING, _NEW, message=str(error)):
            await self._recorder.incident(
                "contradiction", live.provider, f"said not to be live, but is {live.status.value}: {error}", live=live
            )

    async def _refused(self, live: LiveOrder, error: OrderRefused, tried: set[str]) -> None:
        if not error.elsewhere:
            await self._recorder.move_shielded(live, _FROM_SUBMITTING, _REJECTED, message=str(error))
            return
        if not isinstance(error, RateLimited):
            tried.add(live.provider)  # a limited broker is not tried out: the wait for its permit tells when it may
        await self._not_live(live, error)

    async def _lost(self, live: LiveOrder, why: str, horizon_ns: int) -> None:
        live.lost(self._clock.now_ns(), horizon_ns)
        await self._recorder.move(live, _FROM_SUBMITTING, _UNKNOWN, message=why)

    async def _find(self, live: LiveOrder, deadline_ns: int) -> None:
        """Ask until it is known or proven absent, or the deadline has come."""
        pause_ns = self._settings.ask_first_ns
        while live.stands(_UNKNOWN) and (now_ns := self._clock.now_ns()) < deadline_ns:
            await self._asker.ask_about(live, since_ns=now_ns, deadline_ns=deadline_ns)
            if not live.stands(_UNKNOWN):
                return
            now_ns = self._clock.now_ns()
            wake_ns = min(now_ns + pause_ns, deadline_ns)
            if now_ns < live.absent_from_ns:
                wake_ns = min(wake_ns, live.absent_from_ns)
            await self._clock.sleep_until_ns(wake_ns)
            pause_ns = min(2 * pause_ns, self._settings.ask_most_ns)
        if live.stands(_UNKNOWN) and live.asked_ns is None:
            await self._asker.quarantine(live)

    async def _pause(self, attempt: int, deadline_ns: int) -> None:
        pause_ns = self._settings.ask_first_ns << attempt
        await self._clock.sleep_until_ns(min(self._clock.now_ns() + pause_ns, deadline_ns))


@cache
def _scope_class() -> type[anyio.CancelScope]:
    """What `anyio.CancelScope` makes. Made through that, a scope first asks who runs and then begins twice over."""
    return type(anyio.CancelScope())
