"""A gentle flow of reads and orders through a simulated router, so that a new user sees it work.

About two reads a second and an order every two; every half minute a short burst, in which the windows visibly fill,
queue and drain again. Never played against a real account.
"""

from __future__ import annotations

import random
from typing import Final

import anyio

from ..clock import MILLISECOND, SECOND, Clock
from ..errors import ConfigError, HeadroomError
from ..models import Operation, Order, Side
from ..router import LocalRouter

__all__ = ["play_background"]

SYMBOLS: Final = ("NSE:SBIN-EQ", "NSE:RELIANCE-EQ", "NSE:INFY-EQ", "NSE:TCS-EQ", "NSE:HDFCBANK-EQ")
READS: Final = (Operation.GET_MARKET_DATA, Operation.GET_MARKET_DATA, Operation.GET_POSITIONS, Operation.GET_PORTFOLIO)
BURST_EVERY_NS: Final = 30 * SECOND
BURST: Final = 25


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
            tasks.start_soon(
                _one, router, _pick(rng), rng.choice(SYMBOLS), rng.randrange(1, 40), rng.choice(tuple(Side))
            )
            if clock.now_ns() >= next_burst_ns:
                next_burst_ns += BURST_EVERY_NS
                for _ in range(BURST):
                    tasks.start_soon(_one, router, rng.choice(READS), rng.choice(SYMBOLS), 1, Side.BUY)
            await clock.sleep_until_ns(clock.now_ns() + round(rng.expovariate(2.5) * SECOND) + 20 * MILLISECOND)


def _pick(rng: random.Random) -> Operation:
    return Operation.PLACE_ORDER if rng.random() < 0.25 else rng.choice(READS)


async def _one(router: LocalRouter, operation: Operation, symbol: str, quantity: int, side: Side) -> None:
    try:
        if operation is Operation.PLACE_ORDER:
            await router.place_order(Order(symbol=symbol, quantity=quantity, side=side))
        elif operation is Operation.GET_MARKET_DATA:
            await router.execute(operation, symbols=[symbol])
        else:
            await router.execute(operation)
    except HeadroomError:
        # It is in the counters and, where it matters, among the incidents: the show goes on.
        return
