"""A read at two brokers: the second is asked when the first takes longer than most, and the first answer wins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .brokers.base import TradingAPI
from .clock import Clock
from .errors import BrokerError
from .sending import Reservation

__all__ = ["first_answer"]

T = TypeVar("T")


async def first_answer(
    first: Reservation,
    second: Callable[[], Reservation | None],
    send: Callable[[TradingAPI], Awaitable[T]],
    *,
    clock: Clock,
    after_ns: int,
) -> T:
    """`send` at `first` and, unless that is answered within `after_ns`, at what `second` then gives too.

    The one that is not waited for any more is broken off: its permit stays taken for as long as it may still arrive.
    A failure waits for the other's answer. Raises what `first` raised once both have failed.
    """
    answers: list[T] = []
    errors: list[tuple[bool, BrokerError]] = []
    under_way = 1

    async def ask(place: Reservation, *, hedge: bool) -> None:
        nonlocal under_way
        try:
            answers.append(await place.call(send))
        except BrokerError as error:
            errors.append((hedge, error))
        under_way -= 1
        if answers or not under_way:
            tasks.cancel_scope.cancel()

    async def ask_second() -> None:
        nonlocal under_way
        await clock.sleep_until_ns(clock.now_ns() + after_ns)
        place = second()
        if place is not None:
            with place:
                under_way += 1
                await ask(place, hedge=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_second)
        await ask(first, hedge=False)
    if answers:
        return answers[0]
    raise min(errors, key=lambda pair: pair[0])[1]
