"""Plays one scenario: sends each arrival at its own instant, measures from that instant, judges at the end.

The schedule is absolute: arrival n is due at start + offset(n), whatever became of arrival n - 1. What the generator
itself adds (its lag) is measured apart, so that a run in which it fell behind says so.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

import anyio

from ..bus import Subscription
from ..clock import MILLISECOND, SECOND, Clock
from ..errors import HeadroomError, OrderRefused
from ..models import RequestDone, StressSnapshot, Threshold
from .actors import Actor, NotPlaced, Session
from .arrivals import ClosedUsers, Ramp
from .measure import Histogram, Timeline
from .scenarios import Scenario, Step

__all__ = ["Observation", "Run", "RunState", "Watch"]

# How often figures that need a pass over a histogram are made anew.
_TICK_NS: Final = 100 * MILLISECOND
_AT_ONCE: Final = 50
_SLICE_NS: Final = 100 * MILLISECOND
_STOP_GRACE_NS: Final = 2 * SECOND
_FELL_BEHIND_P99_NS: Final = 10 * MILLISECOND
_HISTORY_S: Final = 60


class RunState(StrEnum):
    """As a StressSnapshot names it."""

    IDLE = "idle"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    STOPPED = "stopped"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a watch sees of the thing under load, besides what comes back to the callers."""

    queued: int = 0
    violations: int = 0
    shares: tuple[tuple[str, float], ...] = ()
    disk_syncs: int = 0


Watch = Callable[[], Awaitable[Observation]]


class Run:
    """One play of one scenario. `play` once; `snapshot` at any moment; `stop`, `pause` and `set_rate` while it plays.

    Figures that need a look at all of the run are made every `tick_ns`.
    """

    def __init__(
        self,
        scenario: Scenario,
        actor: Actor,
        *,
        clock: Clock,
        seed: int,
        tick_ns: int = _TICK_NS,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.latency = Histogram()
        self.service = Histogram()
        self.queueing = Histogram()
        self.lag = Histogram()
        self.timeline = Timeline(clock.now_ns())
        self.failures: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.refusals = 0
        self.bugs = 0
        self.observed = Observation()
        self.knee_per_s: float | None = None
        self.recovered_ns: int | None = None
        self.state = RunState.IDLE
        self.message = ""
        self.started = self.finished = 0
        self.start_ns = self.end_ns = clock.now_ns()
        self._actor = actor
        self._clock = clock
        self._news: Subscription | None = None
        self._watch: Watch | None = None
        self._tick_ns = tick_ns
        self._journey_rng = Random(f"{seed} journey")
        self._timeout_ns = int(scenario.timeout_s * SECOND)
        self._warm_up_ns = scenario.warm_up_s * SECOND
        self._weights = [step.weight for step in scenario.journey]
        self._in_flight = 0
        self._schedule: Iterator[tuple[int, int]] = iter(())  # number and offset of the arrivals that no hand has taken
        self._taken_offset_ns = 0  # of the latest that one has
        self._ready = 0  # hands that wait for their arrival
        self._queue_ticks = 0
        self._stop_ns: int | None = None
        self._enough = False
        self._over = False
        # A schedule that can be stretched: `_origin_offset_ns` is due at `_origin_ns`, what follows at `_factor` speed.
        self._origin_ns = self._origin_offset_ns = 0
        self._factor = 1.0
        self._paused = False
        self._last_fault_end_ns = max((int(fault.until_s * SECOND) for fault in scenario.faults), default=None)

    def watch(self, news: Subscription | None, watch: Watch) -> None:
        """Look at the thing under load, too: `news` tells service and queueing apart, `watch` is asked every tick."""
        self._news = news
        self._watch = watch

    # -- controls ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin nothing new; what is in flight gets two seconds. `play` then returns as usual."""
        if self.state in {RunState.IDLE, RunState.RUNNING} and self._stop_ns is None:
            self._stop_ns = self._clock.now_ns()

    def pause(self) -> None:
        """Hold the schedule; the time of the pause is not held against it."""
        self._rebase()
        self._paused = True

    def resume(self) -> None:
        self._rebase()
        self._paused = False

    def set_rate(self, factor: float) -> None:
        """Play the schedule `factor` times as fast as it is written, from now on; users think that much shorter."""
        if not 0.001 <= factor <= 1000:
            message = f"rate factor {factor!r} is not between 0.001 and 1000"
            raise ValueError(message)
        self._rebase()
        self._factor = factor

    def _rebase(self) -> None:
        now_ns = self._clock.now_ns()
        if not self._paused:
            self._origin_offset_ns += int((now_ns - self._origin_ns) * self._factor)
        self._origin_ns = now_ns

    def _due_ns(self, offset_ns: int) -> int:
        return self._origin_ns + math.ceil((offset_ns - self._origin_offset_ns) / self._factor)

    # -- how it stands -------------------------------------------------------------------------------------------

    @property
    def elapsed_ns(self) -> int:
        """From the start to now, or to the end of the last request once the play is over."""
        if self.state is RunState.RUNNING and not self._over:
            return self._clock.now_ns() - self.start_ns
        return self.end_ns - self.start_ns

    @property
    def planned(self) -> int:
        """How many requests the scenario makes in all; for users who come again until a time, those of one session."""
        arrivals = self.scenario.arrivals
        assert arrivals is not None  # noqa: S101 - a scenario with a journey has arrivals
        steps = len(self.scenario.journey) if self.scenario.pick == "each" else 1
        if isinstance(arrivals, ClosedUsers):
            return arrivals.users * arrivals.sessions * steps
        return arrivals.planned * steps

    @property
    def scenario_s(self) -> float | None:
        """How long the arrivals of an open model last by themselves; None where that has no meaning."""
        arrivals = self.scenario.arrivals
        return None if arrivals is None or isinstance(arrivals, ClosedUsers) else getattr(arrivals, "duration_s", None)

    @property
    def offered_per_s(self) -> float | None:
        """What the arrivals of an open model offered on average, up to a stop; None where that has no meaning."""
        if self.scenario_s is None:
            return None
        if self.state is RunState.STOPPED:
            return self.started * SECOND / max(1, self.elapsed_ns)
        return self.planned / self.scenario_s

    @property
    def fell_behind(self) -> bool:
        """Whether the generator itself was late, so that its latencies say more of this machine than of any broker."""
        (p99_ns,) = self.lag.quantiles(0.99)
        return p99_ns > _FELL_BEHIND_P99_NS

    def snapshot(self, thresholds: tuple[Threshold, ...] = ()) -> StressSnapshot:
        """How the run stands now. Cheap enough for ten a second: 2 to 3 ms."""
        p50_ns, p99_ns = self.latency.quantiles(0.5, 0.99)
        (lag_ns,) = self.lag.quantiles(0.99)
        seconds = self.timeline.last(_HISTORY_S)
        latest = seconds[-1] if seconds else None
        return StressSnapshot(
            state=self.state.value,
            scenario=self.scenario.name,
            started=self.started,
            finished=self.finished,
            planned=self.planned,
            elapsed_ns=self.elapsed_ns,
            offered_per_s=float(latest.offered) if latest else 0.0,
            achieved_per_s=float(latest.finished) if latest else 0.0,
            p50_ns=p50_ns,
            p99_ns=p99_ns,
            max_ns=self.latency.max_ns,
            failures=self.failures.total(),
            refusals=self.refusals,
            violations=self.observed.violations,
            thresholds=thresholds,
            message=self.message,
            paused=self._paused,
            rate_factor=self._factor,
            disk_syncs=self.observed.disk_syncs,
            queued=self.observed.queued,
            lag_p99_ns=lag_ns,
            offered_history=tuple(second.offered for second in seconds),
            achieved_history=tuple(second.finished for second in seconds),
            p50_history_ns=tuple(second.p50_ns for second in seconds),
            p99_history_ns=tuple(second.p99_ns for second in seconds),
            failure_classes=tuple(self.failures.most_common()),
            shares=self.observed.shares,
            histogram=self.latency.bars(),
        )

    # -- the play ------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Play to the end, or until `stop`. Never raises for a failed request; those are what it counts."""
        self.state = RunState.RUNNING
        self.start_ns = self.end_ns = self._origin_ns = self._clock.now_ns()
        self.timeline = Timeline(self.start_ns)
        async with anyio.create_task_group() as watching:
            with anyio.CancelScope() as work:
                watching.start_soon(self._look, work)
                # asyncio's own group: a task of anyio's costs more than all else that an arrival takes here.
                async with asyncio.TaskGroup() as tasks:
                    await self._send_all(tasks)
            watching.cancel_scope.cancel()
        if not self.finished:
            self.end_ns = self._clock.now_ns()
        # What comes after, settling and the audit, is not held against what was played.
        self._over = True
        await self._observe()
        self.timeline.finish()
        if self._stop_ns is not None:
            self.state = RunState.STOPPED

    async def _send_all(self, tasks: asyncio.TaskGroup) -> None:
        arrivals = self.scenario.arrivals
        assert arrivals is not None  # noqa: S101 - a scenario with a journey has arrivals
        rng = Random(f"{self.seed} arrivals")
        if isinstance(arrivals, ClosedUsers):
            for number, offset_ns in enumerate(arrivals.starts_ns()):
                if await self._until_due(offset_ns) is None:
                    return
                tasks.create_task(self._user(number, arrivals, Random(f"{self.seed} user {number}")))
            return
        self._schedule = enumerate(arrivals.offsets_ns(rng))
        self._hand_out(tasks)

    def _hand_out(self, tasks: asyncio.TaskGroup) -> None:
        """Begin a hand for each arrival that is due now, and one that waits for the next."""
        now_ns = self._clock.now_ns()
        # Of many that are due at one instant the first must be on their way while the last are handed out.
        for _ in range(_AT_ONCE):
            arrival = next(self._schedule, None)
            if arrival is None:
                return
            tasks.create_task(self._hand(tasks, *arrival))
            self._ready += 1
            self._taken_offset_ns = arrival[1]
            if self._due_ns(arrival[1]) > now_ns:
                return

    async def _hand(self, tasks: asyncio.TaskGroup, number: int, offset_ns: int) -> None:
        """Wait for this arrival and play it, then for the next that nobody has taken, and so on.

        One hand is always ready for the arrival after, so none waits for the one before. A task for each arrival, and
        one beside them that starts them, would take the loop two passes more for each.
        """
        while (due_ns := await self._until_due(offset_ns)) is not None:
            self._ready -= 1
            if not self._ready:
                self._hand_out(tasks)
            await self._arrive(number, due_ns)
            ahead_ns = self._due_ns(self._taken_offset_ns) - self._clock.now_ns()
            if ahead_ns > _SLICE_NS:
                return  # the next is far off, and whoever waits for one wakes in every slice
            if ahead_ns <= 0:
                await asyncio.sleep(0)  # behind the schedule, with steps that may never wait: let others have the loop
            arrival = next(self._schedule, None)
            if arrival is None:
                return
            self._ready += 1
            number, offset_ns = arrival
            self._taken_offset_ns = offset_ns

    async def _until_due(self, offset_ns: int) -> int | None:
        """Wait for the instant of an arrival and return it; None when the run is to end instead."""
        clock = self._clock
        while not self._enough and self._stop_ns is None:
            now_ns, due_ns = clock.now_ns(), self._due_ns(offset_ns)
            if now_ns >= due_ns and not self._paused:
                return due_ns
            # In slices, so that a pause, a stop or another rate is heard of between two arrivals that are far apart.
            wake_ns = now_ns + _SLICE_NS
            await clock.sleep_until_ns(wake_ns if self._paused or wake_ns < due_ns else due_ns)
        return None

    async def _arrive(self, number: int, intended_ns: int) -> None:
        now_ns = self._clock.now_ns()
        self.timeline.offered(now_ns)
        if self._in_flight >= self.scenario.in_flight_max:
            # Dropped aloud: an arrival that nobody could take is a failure, not something that never was.
            self.started += 1
            self._ended(intended_ns, f"more than {self.scenario.in_flight_max} in flight", "")
            return
        session = Session(number)
        self._in_flight += 1
        try:
            for step in self._session_steps(self._journey_rng):
                if self._stop_ns is not None:
                    return
                intended_ns = now_ns = await self._step(step, session, intended_ns, now_ns)
        finally:
            self._in_flight -= 1

    async def _user(self, number: int, users: ClosedUsers, rng: Random) -> None:
        session = Session(number)
        for _ in range(users.sessions):
            if users.duration_s is not None and self._clock.now_ns() - self.start_ns >= users.duration_s * SECOND:
                return
            for step in self._session_steps(rng):
                if await self._until_due(0) is None:
                    return
                now_ns = self._clock.now_ns()
                self.timeline.offered(now_ns)
                await self._step(step, session, now_ns, now_ns)
                if think_ns := users.think_ns(rng):
                    await self._clock.sleep_until_ns(self._clock.now_ns() + int(think_ns / self._factor))
                elif self._clock.stands_still:
                    await asyncio.sleep(0)  # a step that never waited, at a store in place, lets the others have theirs

    def _session_steps(self, rng: Random) -> Sequence[Step]:
        journey = self.scenario.journey
        return journey if self.scenario.pick == "each" else rng.choices(journey, self._weights)

    async def _step(self, step: Step, session: Session, intended_ns: int, now_ns: int) -> int:
        """Do it, whatever comes of it; when it ended."""
        self.started += 1
        self.lag.record(now_ns - intended_ns)
        deadline_ns = intended_ns + self._timeout_ns
        failure = text = ""
        try:
            await self._actor.act(step, session, deadline_ns)
        except NotPlaced as error:
            failure, text = error.status.value, str(error)
        except HeadroomError as error:
            failure, text = type(error).__name__, str(error)
            self.refusals += isinstance(error, OrderRefused)
        except Exception as error:  # noqa: BLE001 - a bug is a finding of the run, and fails it, whatever its thresholds
            failure, text = type(error).__name__, str(error)
            self.bugs += 1
        session.steps_done += 1
        return self._ended(intended_ns, failure, text)

    def _ended(self, intended_ns: int, failure: str, text: str) -> int:
        now_ns = self._clock.now_ns()
        self.finished += 1
        self.end_ns = now_ns
        self.timeline.ended(now_ns, now_ns - intended_ns, failed=bool(failure))
        if failure:
            self.failures[failure] += 1
            self.examples.setdefault(failure, text[:300])
        if now_ns - self.start_ns >= self._warm_up_ns:
            self.latency.record(now_ns - intended_ns)
        return now_ns

    # -- the watch -----------------------------------------------------------------------------------------------

    async def _look(self, work: anyio.CancelScope) -> None:
        due_ns = self._clock.now_ns()
        while True:
            due_ns = max(due_ns + self._tick_ns, self._clock.now_ns())
            await self._clock.sleep_until_ns(due_ns)
            await self._observe()
            if self._stop_ns is not None and self._clock.now_ns() - self._stop_ns >= _STOP_GRACE_NS:
                work.cancel()

    async def _observe(self) -> None:
        now_ns = self._clock.now_ns()
        if self._news is not None:
            done = [event for event in self._news.drain() if isinstance(event, RequestDone)]
            self.service.record_all([event.latency_ns for event in done])
            self.queueing.record_all([event.wait_ns for event in done])
        if self._watch is not None:
            self.observed = await self._watch()
            self.timeline.queued = max(self.timeline.queued, self.observed.queued)
        before = len(self.timeline)
        self.timeline.close_until(now_ns)
        if len(self.timeline) > before:
            self.timeline.queued = self.observed.queued
        self._notice_knee(now_ns)
        self._notice_recovery(now_ns)

    def _notice_knee(self, now_ns: int) -> None:
        """The rate at which requests began to wait for permits, and went on waiting for half a second."""
        arrivals = self.scenario.arrivals
        if not isinstance(arrivals, Ramp) or self.knee_per_s is not None:
            return
        self._queue_ticks = self._queue_ticks + 1 if self.observed.queued else 0
        waited_ns = self._queue_ticks * self._tick_ns
        if waited_ns >= SECOND // 2:
            self.knee_per_s = arrivals.rate_at(max(0, now_ns - self.start_ns - waited_ns))
            if arrivals.stop_when_queueing:
                self._enough = True

    def _notice_recovery(self, now_ns: int) -> None:
        """When, after the last fault, a whole second first ended without a failure and with an empty queue."""
        if self._last_fault_end_ns is None or self.recovered_ns is not None:
            return
        since_ns = now_ns - self.start_ns - self._last_fault_end_ns
        if since_ns >= SECOND and (last := self.timeline.last(1)) and not last[0].failed and last[0].finished:
            self.recovered_ns = since_ns
