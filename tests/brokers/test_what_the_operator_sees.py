"""Every kind of fault, struck at both simulated brokers while an order goes out: what stands on the screen then.

The whole way: real adapters over sockets, engine, router, its snapshot, the printed dashboard.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import anyio
import pytest

from core.brokers import published_limits
from core.brokers.simulator.faults import FaultKind
from core.clock import MILLISECOND, SECOND
from core.config import simulated_settings
from core.errors import HeadroomError
from core.models import Order, RouterSnapshot
from core.router import LocalRouter, open_router
from tui.report import report_text

BROKERS = ("fyers", "upstox")
IN_DOUBT = {"UNKNOWN", "QUARANTINED"}
NOT_PLACED = {"NEW", "DENIED"}
PLACED = {"ACCEPTED", "PARTIALLY_FILLED", "FILLED"}
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Sight:
    """The order's status and message, and the words beside the broker or among the incidents."""

    status: set[str]
    message: str
    words: str = ""


NO_ANSWER = Sight(IN_DOUBT, "the request left and no answer within 300 ms; look it up, never send it again")
RESET = Sight(IN_DOUBT, "the request left and the connection was reset")
FAILED = Sight(IN_DOUBT, "its server failed (500)")
UNREADABLE = Sight(IN_DOUBT, "an answer that says neither yes nor no (HTTP 200); the request arrived: look it up")
REFUSED = Sight(NOT_PLACED, "too many requests, refused", "limited")
SEEN: dict[FaultKind, Sight | dict[str, Sight]] = {
    FaultKind.DOWN: Sight(NOT_PLACED, "the request never left: no connection could be made", "requests failed"),
    FaultKind.SLOW: Sight(PLACED, "", "above 250 ms"),
    FaultKind.SLOW_BODY: Sight(PLACED, "", "above 250 ms"),
    FaultKind.RESET_BEFORE_READ: RESET,
    FaultKind.RESET_AFTER_ACCEPT: RESET,
    FaultKind.ERROR_BEFORE_ACCEPT: FAILED,
    FaultKind.ERROR_AFTER_ACCEPT: FAILED,
    FaultKind.HANG: NO_ANSWER,
    FaultKind.LATE: NO_ANSWER,
    FaultKind.BAD_JSON: UNREADABLE,
    FaultKind.WRONG_TYPE: UNREADABLE,
    FaultKind.UNACKNOWLEDGED: {
        "fyers": Sight(IN_DOUBT, "sent on, but the exchange side has not acknowledged it; look it up by its tag"),
        "upstox": UNREADABLE,
    },
    FaultKind.TOKEN_EXPIRED: Sight(
        NOT_PLACED, "the token is not accepted; log in again", "the broker refused the token"
    ),
    FaultKind.STORM_429: REFUSED,
    FaultKind.SOFT_429: REFUSED,
    FaultKind.FIREWALL_429: Sight(NOT_PLACED, "too many requests, refused by the firewall in front of it", "limited"),
    FaultKind.MAINTENANCE: {
        "fyers": Sight(IN_DOUBT, "its server failed (503): -99 'The service is under maintenance"),
        "upstox": Sight(NOT_PLACED, *2 * ("its order service is closed from 00:00 to 05:30 in India",)),
    },
    FaultKind.WRONG_IP: Sight(NOT_PLACED, *2 * ("orders are not taken from this IP address; register it",)),
    FaultKind.CLOCK_SKEW: Sight(PLACED, "", "its clock and ours differ by +90"),
}


async def strike(router: LocalRouter, kind: FaultKind) -> None:
    """The simulator is told as anyone would tell it. Look-ups meet the fault too: what is in doubt stays so."""
    fault: dict[str, object] = {"kind": kind.value}
    match kind:
        case FaultKind.DOWN:
            fault["until_s"] = 60
        case FaultKind.CLOCK_SKEW:
            fault["delay_ms"] = 90_000
        case FaultKind.SLOW | FaultKind.SLOW_BODY:
            fault["delay_ms"] = 250
    assert router.embedded is not None
    address = router.embedded.addresses["fyers"]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{address}/_sim/faults", json={"fault": [fault]}) as reply,
    ):
        assert reply.status == 200, await reply.text()
    await asyncio.sleep(0.02)  # the doors close on the simulator's own loop


def around(snapshot: RouterSnapshot, broker: str) -> str:
    """What is said of the broker: beside its name, its slowest answer, its incidents."""
    (row,) = (row for row in snapshot.brokers if row.name == broker)
    incidents = [incident.message for incident in snapshot.incidents if incident.provider == broker]
    slow = "above 250 ms" if row.latency.max_ns > 250 * MILLISECOND else ""
    return "; ".join([row.health.value, row.reason, slow, *incidents])


def told(snapshot: RouterSnapshot, broker: str, sight: Sight) -> str:
    """What is not yet as it should be; empty when all of it is there."""
    order = next((row for row in snapshot.orders if row.provider == broker), None)
    if order is None:
        return "no order"
    if order.status not in sight.status or sight.message not in order.message:
        return f"{order.status}: {order.message}"
    if sight.words not in around(snapshot, broker):
        return around(snapshot, broker)
    page = report_text(snapshot)
    row = next(line for line in page.splitlines() if order.order_id[:13] in line)
    doubt = sight.status is not IN_DOUBT or ("IN DOUBT  ✖" in page and "looked up by tag, never sent again" in page)
    return "" if order.status.lower() in row and "SIM" in row and doubt else page


def test_every_kind_of_fault_is_in_the_table():
    assert set(SEEN) == set(FaultKind)


@pytest.mark.parametrize("kind", FaultKind, ids=lambda kind: kind.value)
async def test_what_the_operator_sees(kind: FaultKind):
    expected = SEEN[kind]
    sights = expected if isinstance(expected, dict) else dict.fromkeys(BROKERS, expected)
    timeout_ms = 300 if NO_ANSWER in sights.values() else 5_000
    settings = simulated_settings(published_limits, seed=3, embedded="wire")
    accounts = {name: config.model_copy(update={"timeout_ms": timeout_ms}) for name, config in settings.brokers.items()}
    async with open_router(settings.model_copy(update={"brokers": accounts})) as router:
        await strike(router, kind)

        async def place(broker: str) -> None:
            order = Order(symbol="NSE:SBIN-EQ", quantity=1)
            with suppress(HeadroomError):
                await router.place_order(order, only=broker, deadline_ns=router.clock.now_ns() + 10 * SECOND)

        missing = dict.fromkeys(BROKERS, "nothing yet")
        async with anyio.create_task_group() as tasks:
            for broker in BROKERS:
                tasks.start_soon(place, broker)
            with anyio.move_on_after(PATIENCE_S):
                while missing:
                    await asyncio.sleep(0.02)
                    snapshot = router.snapshot()
                    for broker in tuple(missing):
                        missing[broker] = told(snapshot, broker, sights[broker])
                        if not missing[broker]:
                            del missing[broker]
            tasks.cancel_scope.cancel()
    assert not missing
