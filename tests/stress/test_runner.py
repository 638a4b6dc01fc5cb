"""The generator keeps its schedule, and measures from it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from core.clock import MILLISECOND, SECOND, Clock, SystemClock, VirtualClock
from core.errors import OrderNotSent, RateLimited
from core.stress.actors import Session
from core.stress.runner import Run, RunState
from core.stress.scenarios import Scenario, Step

STORE_STEP = {"operation": "store_trade"}


class Server:
    """Something to load: `act` is what it does with one request."""

    def __init__(self, act: Callable[[int], Awaitable[None]]) -> None:
        self._act = act
        self.calls: list[str] = []

    async def act(self, step: Step, session: Session, deadline_ns: int) -> None:  # noqa: ARG002 - what an Actor gets
        self.calls.append(step.operation)
        await self._act(len(self.calls) - 1)


def scenario(arrivals: dict[str, object], **more: object) -> Scenario:
    return Scenario.model_validate({"name": "test", "arrivals": arrivals, "journey": [STORE_STEP], **more})


def play(
    arrivals: dict[str, object], act: Callable[[Clock, int], Awaitable[None]], **more: object
) -> tuple[Run, Server]:
    clock = VirtualClock()
    server = Server(lambda number: act(clock, number))
    run = Run(scenario(arrivals, **more), server, clock=clock, seed=1)
    clock.run(run.play)
    return run, server


async def at_once(_clock: Clock, _number: int) -> None:
    return


def test_latency_counts_from_the_intended_start_also_behind_a_slow_request() -> None:
    turn = anyio.Semaphore(1)

    async def one_at_a_time(clock: Clock, _number: int) -> None:
        async with turn:
            await clock.sleep_until_ns(clock.now_ns() + 150 * MILLISECOND)

    run, _ = play({"kind": "constant", "rate": 10, "duration_s": 10}, one_at_a_time)
    # Request n is due at 100 n ms and done at 150 (n + 1) ms. Timed from its own start each would take 150 ms.
    assert run.latency.count == 100
    assert run.latency.max_ns == (150 + 99 * 50) * MILLISECOND
    (median,) = run.latency.quantiles(0.5)
    assert median == pytest.approx((150 + 49 * 50) * MILLISECOND, rel=0.001)
    assert run.lag.max_ns == 0


def test_no_arrival_waits_for_the_one_before() -> None:
    async def ever_slower(clock: Clock, number: int) -> None:
        await clock.sleep_until_ns(clock.now_ns() + (5 if number == 0 else 0) * SECOND)

    run, _ = play({"kind": "constant", "rate": 100, "duration_s": 1}, ever_slower)
    assert [row.offered for row in run.timeline.rows()] == [100, 0, 0, 0, 0, 0]
    assert run.elapsed_ns == 5 * SECOND


def test_users_wait_for_their_answers_and_think() -> None:
    async def second(clock: Clock, _number: int) -> None:
        await clock.sleep_until_ns(clock.now_ns() + SECOND)

    run, server = play({"kind": "users", "users": 3, "sessions": 4}, second)
    assert len(server.calls) == run.planned == 12
    assert run.elapsed_ns == 4 * SECOND
    thinking, _ = play({"kind": "users", "users": 1, "sessions": 10, "think_s": 2}, at_once)
    assert 10 * SECOND <= thinking.elapsed_ns <= 30 * SECOND


def test_users_with_a_duration_begin_no_session_after_it() -> None:
    async def second(clock: Clock, _number: int) -> None:
        await clock.sleep_until_ns(clock.now_ns() + SECOND)

    run, _ = play({"kind": "users", "users": 2, "sessions": 1000, "duration_s": 5}, second)
    assert run.finished == 10


def test_steps_are_drawn_by_weight_and_by_seed() -> None:
    journey = [{"operation": "store_trade", "weight": 3}, {"operation": "recent_trades", "weight": 1}]
    arrivals = {"kind": "constant", "rate": 1000, "duration_s": 2}
    _, first = play(arrivals, at_once, journey=journey, pick="one")
    _, second = play(arrivals, at_once, journey=journey, pick="one")
    assert first.calls == second.calls
    assert 0.7 < first.calls.count("store_trade") / 2000 < 0.8


def test_failures_are_counted_by_class_with_one_example_and_refusals_apart() -> None:
    async def fails(_clock: Clock, number: int) -> None:
        if number % 4 == 1:
            raise OrderNotSent("never left")
        if number % 4 == 2:
            raise RateLimited("above a limit")

    run, _ = play({"kind": "burst", "count": 40}, fails)
    assert run.failures == {"OrderNotSent": 10, "RateLimited": 10}
    assert run.examples["OrderNotSent"] == "never left"
    assert (run.finished, run.refusals, run.bugs) == (40, 10, 0)


def test_an_error_that_is_no_error_of_ours_is_a_bug_and_ends_nothing() -> None:
    async def breaks(_clock: Clock, number: int) -> None:
        if number == 3:
            raise KeyError("oops")

    run, _ = play({"kind": "burst", "count": 10}, breaks)
    assert (run.finished, run.bugs) == (10, 1)


def test_more_arrivals_than_may_be_in_flight_fail_aloud() -> None:
    async def hangs(clock: Clock, _number: int) -> None:
        await clock.sleep_until_ns(clock.now_ns() + 60 * SECOND)

    run, _ = play({"kind": "burst", "count": 10}, hangs, in_flight_max=6)
    assert run.failures == {"more than 6 in flight": 4}
    assert (run.started, run.finished) == (10, 10)


def test_the_warm_up_is_played_but_not_measured() -> None:
    run, _ = play({"kind": "constant", "rate": 10, "duration_s": 4}, at_once, warm_up_s=1)
    assert (run.finished, run.latency.count) == (40, 30)


async def driven(clock: VirtualClock, run: Run, script: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run.play)
        await clock.settle()
        await script()


async def test_a_stop_ends_the_run_with_what_it_has(clock: VirtualClock) -> None:
    run = Run(
        scenario({"kind": "constant", "rate": 10, "duration_s": 60}),
        Server(lambda n: at_once(clock, n)),
        clock=clock,
        seed=1,
    )

    async def script() -> None:
        await clock.advance_ns(3 * SECOND - 1)
        run.stop()
        await clock.advance_ns(SECOND)

    await driven(clock, run, script)
    assert run.state is RunState.STOPPED
    assert (run.finished, run.planned) == (30, 600)
    assert run.snapshot().state == "stopped"


async def test_a_pause_holds_the_schedule_and_is_not_held_against_it(clock: VirtualClock) -> None:
    run = Run(
        scenario({"kind": "constant", "rate": 10, "duration_s": 2}),
        Server(lambda n: at_once(clock, n)),
        clock=clock,
        seed=1,
    )

    async def script() -> None:
        await clock.advance_ns(SECOND - 1)
        assert run.started == 10
        run.pause()
        await clock.advance_ns(30 * SECOND)
        assert run.started == 10
        assert run.snapshot().paused
        run.resume()
        await clock.advance_ns(2 * SECOND)

    await driven(clock, run, script)
    assert run.finished == 20
    assert run.latency.max_ns <= 100 * MILLISECOND


async def test_a_pause_holds_users_before_their_next_step(clock: VirtualClock) -> None:
    run = Run(
        scenario({"kind": "users", "users": 2, "sessions": 4, "think_s": 1.0}),
        Server(lambda n: at_once(clock, n)),
        clock=clock,
        seed=1,
    )

    async def script() -> None:
        await clock.advance_ns(SECOND // 4)
        run.pause()
        await clock.advance_ns(30 * SECOND)
        assert run.started == 2
        run.resume()
        run.set_rate(1000)
        await clock.advance_ns(SECOND)

    await driven(clock, run, script)
    assert run.finished == 8


async def test_the_rate_may_be_changed_while_it_runs(clock: VirtualClock) -> None:
    run = Run(
        scenario({"kind": "constant", "rate": 10, "duration_s": 10}),
        Server(lambda n: at_once(clock, n)),
        clock=clock,
        seed=1,
    )

    async def script() -> None:
        await clock.advance_ns(SECOND - 1)
        run.set_rate(5)
        await clock.advance_ns(SECOND)
        assert run.started == 60
        await clock.advance_ns(SECOND)

    await driven(clock, run, script)
    assert run.finished == 100
    for factor in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="rate factor"):
            run.set_rate(factor)


def test_a_generator_that_falls_behind_says_so() -> None:
    async def hogs(_number: int) -> None:
        time.sleep(0.03)  # noqa: ASYNC251 - it is the hog that is wanted

    arrivals = {"kind": "constant", "rate": 50, "duration_s": 0.5}
    late = Run(scenario(arrivals), Server(hogs), clock=SystemClock(), seed=1)
    anyio.run(late.play)
    assert late.fell_behind
    in_time, _ = play(arrivals, at_once)
    assert not in_time.fell_behind


def test_what_comes_after_the_last_request_is_not_held_against_the_run() -> None:
    run, _ = play({"kind": "constant", "rate": 10, "duration_s": 1}, at_once)
    assert run.elapsed_ns == 900 * MILLISECOND
    run._clock._now_ns += 30 * SECOND  # type: ignore[attr-defined]  # orders settle, books are read
    assert run.state is RunState.RUNNING  # nobody has judged it yet
    assert run.elapsed_ns == 900 * MILLISECOND


def test_a_snapshot_may_be_taken_at_any_moment() -> None:
    snapshots = []
    clock = VirtualClock()
    run = Run(
        scenario({"kind": "constant", "rate": 10, "duration_s": 3}),
        Server(lambda n: at_once(clock, n)),
        clock=clock,
        seed=1,
    )
    snapshots.append(run.snapshot())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.play)
            for _ in range(4):
                await clock.sleep_until_ns(clock.now_ns() + SECOND // 2 + 1)
                snapshots.append(run.snapshot())

    clock.run(main)
    assert [snapshot.state for snapshot in snapshots] == ["idle"] + ["running"] * 4
    assert [snapshot.finished for snapshot in snapshots] == [0, 6, 11, 16, 21]
    assert snapshots[-1].achieved_history == (10, 10)
    assert sum(count for _, count in snapshots[-1].histogram) == 21
