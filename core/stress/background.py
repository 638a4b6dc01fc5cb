"""A gentle flow of reads and orders through a simulated router, so that a new user sees it work.

About two reads a second and an order every two; every half minute a short burst, in which the windows visibly fill,
queue and drain again. Never played against a real account.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Final

import anyio

from ..clock import MILLISECOND, SECOND, Clock
from ..errors import ConfigError, HeadroomError
from ..models import Operation, Order, Side
from ..router import LocalRouter

__all__ = ["play_background"]

SYMBOLS: Final = ("NSE:SBIN-EQ", "NSE:RELIANCE-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ", "NSE:HDFCBANK-EQ")
ORDER_SHARE: Final = 0.25
BURST_EVERY_NS: Final = 30 * SECOND
BURST: Final = 40


async def play_background(router: LocalRouter, seed: int) -> None:
    """Play until cancelled. Raises ConfigError for a router that could reach a real account."""
    if not router.simulated:
        message = "the background flow plays on simulated brokers only"
        raise ConfigError(message)
    rng = random.Random(f"background {seed}")
    clock: Clock = router.clock
    async with anyio.create_task_group() as tasks:
        next_burst_ns = clock.now_ns() + 5 * SECOND
        while True:
            tasks.start_soon(_order if rng.random() < ORDER_SHARE else _read, router, rng)
            if clock.now_ns() >= next_burst_ns:
                next_burst_ns += BURST_EVERY_NS
                for _ in range(BURST):
                    tasks.start_soon(_quotes, router, rng)
            await clock.sleep_until_ns(clock.now_ns() + round(rng.expovariate(2.5) * SECOND) + 20 * MILLISECOND)


async def _order(router: LocalRouter, rng: random.Random) -> None:
    order = Order(symbol=rng.choice(SYMBOLS), quantity=rng.randrange(1, 40), side=rng.choice(tuple(Side)))
    # What goes wrong is in the counters and, where it matters, among the incidents: the show goes on.
    with suppress(HeadroomError):
        await router.place_order(order)


async def _read(router: LocalRouter, rng: random.Random) -> None:
    if rng.random() < 0.5:
        await _quotes(router, rng)
        return
    with suppress(HeadroomError):
        await router.execute(rng.choice((Operation.GET_POSITIONS, Operation.GET_PORTFOLIO)))


async def _quotes(router: LocalRouter, rng: random.Random) -> None:
    """Quotes of a few symbols: seldom the same ones, so that a burst is not answered by one request."""
    with suppress(HeadroomError):
        await router.execute(Operation.GET_MARKET_DATA, symbols=rng.sample(SYMBOLS, rng.randrange(1, 4)))
