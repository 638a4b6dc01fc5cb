"""Time moves only when it is told to."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import anyio
import pytest

from core.clock import HOUR, MILLISECOND, SECOND, SystemClock, VirtualClock


async def test_sleepers_wake_at_their_own_instant_in_the_order_they_fell_asleep(clock: VirtualClock) -> None:
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, until_ns: int) -> None:
        await clock.sleep_until_ns(until_ns)
        woken.append((name, clock.now_ns()))

    async with anyio.create_task_group() as tasks:
        for name, until_ns in (("late", 3 * SECOND), ("first", SECOND), ("second", SECOND)):
            tasks.start_soon(sleeper, name, until_ns)
        await clock.advance_ns(SECOND - 1)
        assert woken == []
        await clock.advance_ns(1)
        assert woken == [("first", SECOND), ("second", SECOND)]
        await clock.advance_ns(5 * SECOND)
    assert woken[-1] == ("late", 3 * SECOND)
    assert clock.now_ns() == 6 * SECOND


async def test_a_cancelled_sleeper_is_forgotten(clock: VirtualClock) -> None:
    async def sleeper() -> None:
        await clock.sleep_until_ns(SECOND)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        await clock.settle()
        tasks.cancel_scope.cancel()
    await clock.advance_ns(2 * SECOND)
    assert clock.now_ns() == 2 * SECOND


async def test_time_stands_still_while_a_thread_works(clock: VirtualClock) -> None:
    seen: list[int] = []

    async def worker() -> None:
        await clock.sleep_until_ns(SECOND)
        with clock.outside():
            await anyio.to_thread.run_sync(lambda: None)
        seen.append(clock.now_ns())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker)
        await clock.advance_ns(10 * SECOND)
    assert seen == [SECOND]


def test_run_jumps_over_idle_time_and_repeats_to_the_digit() -> None:
    def trace() -> list[tuple[int, int]]:
        clock = VirtualClock()
        log: list[tuple[int, int]] = []

        async def ticker(period_ns: int) -> None:
            for _ in range(1000):
                await clock.sleep_until_ns(clock.now_ns() + period_ns)
                log.append((clock.now_ns(), period_ns))

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ticker, 7 * SECOND)
                tasks.start_soon(ticker, 11 * SECOND)

        clock.run(main)
        assert clock.now_ns() == 11_000 * SECOND
        return log

    assert trace() == trace()


async def test_the_system_clock_never_wakes_early() -> None:
    clock = SystemClock()
    for wait_ns in (0, 1, MILLISECOND):
        deadline_ns = clock.now_ns() + wait_ns
        await clock.sleep_until_ns(deadline_ns)
        assert clock.now_ns() >= deadline_ns


async def test_many_sleep_on_the_system_clock_each_to_his_own_instant() -> None:
    clock, rng = SystemClock(), random.Random(1)
    woken: list[int] = []

    async def sleeper(wait_ns: int) -> None:
        deadline_ns = clock.now_ns() + wait_ns
        await clock.sleep_until_ns(deadline_ns)
        assert clock.now_ns() >= deadline_ns
        woken.append(deadline_ns)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(200):  # nobody is due before the last has fallen asleep
            tasks.create_task(sleeper(rng.randrange(20 * MILLISECOND, 40 * MILLISECOND)))
    assert len(woken) == 200
    assert woken == sorted(woken)


async def test_those_who_leave_the_system_clock_keep_nobody_waiting_and_leave_nothing() -> None:
    clock = SystemClock()
    for _ in range(50):  # whoever would be woken first leaves, and with him everybody who sleeps for an hour
        async with asyncio.TaskGroup() as tasks:
            leaving = [
                tasks.create_task(_sleep(clock, clock.now_ns() + wait_ns))
                for wait_ns in (MILLISECOND, *[HOUR + number for number in range(20)])
            ]
            staying = tasks.create_task(_sleep(clock, clock.now_ns() + 2 * MILLISECOND))
            await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
        assert await staying >= 0
    assert clock._alarm is not None
    assert len(clock._alarm._sleepers) < 200


def test_one_system_clock_serves_several_loops_at_a_time() -> None:
    clock, late_ns = SystemClock(), list[int]()

    async def sleep_often() -> None:
        for _ in range(20):
            late_ns.append(await _sleep(clock, clock.now_ns() + MILLISECOND))

    threads = [threading.Thread(target=asyncio.run, args=(sleep_often(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(late_ns) == 80
    assert min(late_ns) >= 0


async def _sleep(clock: SystemClock, deadline_ns: int) -> int:
    """How much later than asked for it was woken."""
    await clock.sleep_until_ns(deadline_ns)
    return clock.now_ns() - deadline_ns


async def test_a_jump_of_the_wall_clock_moves_no_monotonic_time(clock: VirtualClock) -> None:
    before = clock.now_ns()
    clock.jump_epoch_ns(3600 * SECOND)
    assert clock.now_ns() == before


@pytest.mark.parametrize("already_ns", [0, -1])
async def test_a_deadline_that_has_passed_returns_at_once(clock: VirtualClock, already_ns: int) -> None:
    await clock.sleep_until_ns(already_ns)
    assert clock.now_ns() == 0


async def test_a_call_comes_at_its_instant_unless_it_is_cancelled(clock: VirtualClock) -> None:
    called: list[tuple[str, int]] = []
    clock.call_at_ns(SECOND, lambda: called.append(("kept", clock.now_ns())))
    clock.call_at_ns(SECOND, lambda: called.append(("cancelled", clock.now_ns()))).cancel()
    clock.call_at_ns(-1, lambda: called.append(("overdue", clock.now_ns())))
    await clock.settle()
    assert called == [("overdue", 0)]
    await clock.advance_ns(2 * SECOND)
    assert called == [("overdue", 0), ("kept", SECOND)]


async def test_the_system_clock_calls_once() -> None:
    clock, called = SystemClock(), anyio.Event()
    clock.call_at_ns(clock.now_ns() + MILLISECOND, called.set)
    with anyio.fail_after(5):
        await called.wait()


@pytest.mark.parametrize("thread_s", [0.0, 0.05])
def test_in_a_run_what_a_thread_brings_comes_after_the_work_of_the_loop_however_fast_it_was(thread_s: float) -> None:
    clock = VirtualClock()
    log: list[str] = []

    async def thread_work() -> None:
        with clock.outside():
            await anyio.to_thread.run_sync(time.sleep, thread_s)
        log.append("thread")

    async def loop_work() -> None:
        for _ in range(20):
            time.sleep(0.001)  # noqa: ASYNC251 - the loop is busy, so that a fast thread ends meanwhile
            await anyio.sleep(0)
        log.append("loop")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(thread_work)
            tasks.start_soon(loop_work)

    clock.run(main)
    assert log == ["loop", "thread"]
    assert clock.now_ns() == 0
