"""An order is held by one task at a time, and by nobody for longer than that task lives."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import VirtualClock
from core.engine.orders import LiveOrder
from core.errors import StoreError
from core.models import OrderStatus
from tests.engine.bench import Opener, limit, story


class Stage:
    """Tasks that want one order, and who had it."""

    def __init__(self) -> None:
        self.live = LiveOrder(limit(client_order_id="one"), 0)
        self.had: list[str] = []
        self.inside = 0

    async def step(self, name: str, passes: int = 0) -> None:
        if self.live.is_held:
            await self.live.turn()
        self.live.is_held = True
        try:
            self.inside += 1
            assert self.inside == 1
            self.had.append(name)
            for _ in range(passes):
                await asyncio.sleep(0)
        finally:
            self.inside -= 1
            self.live.end_turn()

    def start(self, name: str, passes: int = 0) -> asyncio.Task[None]:
        return asyncio.create_task(self.step(name, passes))


async def test_turns_come_in_the_order_of_the_calls_and_nobody_comes_in_between() -> None:
    stage = Stage()
    await stage.live.turn()
    tasks = [stage.start(name, 2) for name in "ab"]
    await asyncio.sleep(0)
    stage.live.end_turn()
    assert stage.live.is_held  # by the first in line, who has not begun
    await asyncio.wait([*tasks, stage.start("late")])
    assert stage.had == ["a", "b", "late"]
    assert not stage.live.is_held


async def test_who_is_cancelled_in_the_line_is_passed_over() -> None:
    stage = Stage()
    tasks = {name: stage.start(name, 3) for name in "abc"}
    await asyncio.sleep(0)
    tasks["b"].cancel()
    await asyncio.wait(tasks.values())
    assert stage.had == ["a", "c"]
    assert not stage.live.is_held


async def test_who_is_cancelled_in_the_moment_he_is_called_calls_the_next() -> None:
    stage = Stage()
    await stage.live.turn()
    tasks = {name: stage.start(name) for name in "ab"}
    await asyncio.sleep(0)
    stage.live.end_turn()
    tasks["a"].cancel()
    await asyncio.wait(tasks.values())
    assert stage.had == ["b"]
    assert tasks["a"].cancelled()
    assert not stage.live.is_held


@given(st.integers(0, 2**32))
def test_whoever_is_cancelled_whenever_one_holds_it_at_a_time_and_nobody_at_the_end(seed: int) -> None:
    rng = Random(seed)

    async def main() -> None:
        stage = Stage()
        tasks = []
        for number in range(12):
            tasks.append(stage.start(str(number), rng.randrange(4)))
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            if rng.random() < 0.4:
                rng.choice(tasks).cancel()
        await asyncio.wait(tasks, timeout=5)
        assert all(task.done() for task in tasks)
        assert all(task.cancelled() or task.exception() is None for task in tasks)
        assert {str(number) for number, task in enumerate(tasks) if not task.cancelled()} <= set(stage.had)
        assert not stage.live.is_held

    asyncio.run(main())


@story
async def test_an_order_in_doubt_that_cannot_be_read_is_free_for_the_next_who_asks(
    clock: VirtualClock, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(watching=False) as bench:
        await bench.engine.place_order(limit(client_order_id="one"))
        live = bench.engine._book.get("one")
        assert live is not None
        live.in_doubt = True

        async def unreadable(_order_id: str) -> Any:
            message = "cannot be read"
            raise StoreError(message)

        move = bench.engine._recorder.move
        with monkeypatch.context() as patched:
            patched.setattr(bench.store.journal, "order", unreadable)
            with pytest.raises(StoreError, match="cannot be read"):
                await move(live, {OrderStatus.ACCEPTED}, OrderStatus.CANCEL_REQUESTED)
        assert live.in_doubt
        assert not live.is_held
        assert await move(live, {OrderStatus.ACCEPTED}, OrderStatus.CANCEL_REQUESTED)
        assert not live.in_doubt
