"""Opens what a scenario loads, plays it, audits the end, and gives a Result; a suite is played part by part.

Only embedded brokers are ever loaded. The lab makes them itself from the scenario, which has no key for an address or
an account; it reads neither the operator's configuration nor the environment; and before the first request it asks
each adapter of the router what it is. See `refuse_anything_live`.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

import anyio

from ..brokers.mock import MockTradingAPI
from ..clock import MILLISECOND, SECOND, Clock, SystemClock, VirtualClock
from ..config import Settings
from ..errors import ConfigError
from ..feed import MarketDataFeed
from ..models import RefereeReport, RouterSnapshot, StressSnapshot, Threshold
from ..router import LocalRouter, open_router
from ..store import TradeStore
from .actors import Actor, FeedActor, RouterActor, StoreActor
from .bound import capacity_of, demand_of, limits_alone_ns
from .judge import ONLY_GROWS, Evidence, judge
from .ledger import Audit, Ledger
from .machine import Machine, MachineWatch
from .runner import Observation, Run, RunState
from .scenarios import FaultSpec, Scenario, load_scenario

__all__ = ["Lab", "Result", "refuse_anything_live"]

_SETTLE_NS: Final = 60 * SECOND
_VIRTUAL_TICK_NS: Final = SECOND
_REAL_TICK_NS: Final = 100 * MILLISECOND
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - TemporaryDirectory makes a folder of its own there, closed to others
# The operator's guards protect an account; here nothing but the brokers' limits is to hold the load back.
_NO_GUARDS: Final = {"price_band": None, "orders_per_second": None, "on_duplicate": "allow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run with its verdict. `machine` is None for a virtual run: it says nothing about one."""

    run: Run
    virtual: bool
    epoch_ns: int
    thresholds: tuple[Threshold, ...]
    audit: Audit
    referees: tuple[RefereeReport, ...] = ()
    final: RouterSnapshot | None = None
    bound_ns: int | None = None
    capacity_per_s: float | None = None
    units: int = 0
    news_dropped: int = 0
    machine: Machine | None = None

    @property
    def scenario(self) -> Scenario:
        return self.run.scenario

    @property
    def passed(self) -> bool:
        return self.run.state is RunState.PASSED

    @property
    def violations(self) -> int:
        """Requests that a broker refused for its limits, and places by which one of its windows was overfull."""
        return _violations(self.referees)


class Lab:
    """One scenario, or one suite, from start to verdict.

    `play` once. `snapshot`, `stop`, `pause`, `resume` and `set_rate` meanwhile, from the same thread. `on_tick` is
    called with a snapshot about ten times a second (once a virtual second). `store` keeps the journal and the trades of
    the run in that file; without it they lie in a temporary one.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        virtual: bool = False,
        store: Path | None = None,
        on_tick: Callable[[StressSnapshot], None] | None = None,
    ) -> None:
        if virtual and store is not None and store.exists():
            # Virtual time always starts at the same instant, so the order ids would be those of the run before.
            message = f"{store}: exists already; a virtual run needs a new file"
            raise ConfigError(message)
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        self.virtual = virtual
        self.results: list[Result] = []
        self.clock: Clock = VirtualClock() if virtual else SystemClock()
        self._store = store
        self._on_tick = on_tick
        self._run: Run | None = None
        self._stop_asked = False
        self._words: deque[str] = deque()

    # -- controls ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End early; what was measured is judged as far as it goes. Safe to call from a signal handler."""
        self._stop_asked = True

    def pause(self) -> None:
        if self._run is not None:
            self._run.pause()

    def resume(self) -> None:
        if self._run is not None:
            self._run.resume()

    def set_rate(self, factor: float) -> None:
        if self._run is not None:
            self._run.set_rate(factor)

    def ask(self, words: str) -> None:
        """Do what is said in words: `pause`, `resume`, `rate 1.5` or `stop`. Safe to call from another thread."""
        self._words.append(words)

    def _listen(self) -> None:
        while self._words:
            verb, _, rest = self._words.popleft().partition(" ")
            if verb == "stop":
                self.stop()
            elif verb == "pause":
                self.pause()
            elif verb == "resume":
                self.resume()
            elif verb == "rate":
                with suppress(ValueError):  # a rate that is none leaves the old one
                    self.set_rate(float(rest))

    def snapshot(self) -> StressSnapshot:
        """How the run under way stands, or the last one."""
        if self._run is None:
            return StressSnapshot(scenario=self.scenario.name, virtual=self.virtual)
        if self.results and self.results[-1].run is self._run:
            thresholds = self.results[-1].thresholds
        else:
            thresholds = self._thresholds_so_far(self._run)
        return replace(self._run.snapshot(thresholds), virtual=self.virtual)

    @property
    def stopped(self) -> bool:
        return self._stop_asked

    @property
    def passed(self) -> bool:
        return bool(self.results) and not self._stop_asked and all(result.passed for result in self.results)

    # -- the play ------------------------------------------------------------------------------------------------

    def play_to_end(self) -> None:
        """Play on a loop of its own: the machine's, or one that jumps over idle virtual time."""
        if isinstance(self.clock, VirtualClock):
            self.clock.run(self.play)
        else:
            anyio.run(self.play)

    async def play(self) -> None:
        """Play every part in order, each on brokers and a store of its own."""
        for part in _parts(self.scenario):
            if self._stop_asked:
                return
            try:
                self.results.append(await self._play_one(part))
            except Exception as error:
                if self._run is None or self._run.scenario is not part:
                    raise  # it has not even begun: the call was wrong, not the router
                self.results.append(self._broken(self._run, error))
            self._tell()

    def _broken(self, run: Run, error: BaseException) -> Result:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        run.state = RunState.BROKEN
        run.message = f"it broke: {type(error).__name__}: {error}"
        return Result(run=run, virtual=self.virtual, epoch_ns=self.clock.epoch_ns(), thresholds=(), audit=Audit())

    async def _play_one(self, scenario: Scenario) -> Result:
        play = {"router": self._play_router, "feed": self._play_feed, "store": self._play_store}[scenario.target]
        # In virtual time nothing is learned about the disk, so none is kept waiting for it.
        memory = _MEMORY if self.virtual and os.access(_MEMORY, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="headroom-stress-", dir=memory) as folder:
            return await play(scenario, self._store or Path(folder) / "lab.db")

    async def _play_router(self, scenario: Scenario, path: Path) -> Result:
        settings = Settings(
            brokers={spec.name: spec.config() for spec in scenario.brokers},
            guards=_NO_GUARDS,
            seed=self.seed,
            store=path,
        )
        async with open_router(settings, clock=self.clock) as router:
            brokers = refuse_anything_live(router)
            for spec in scenario.brokers:
                brokers[spec.name].response_time = spec.response_ms / 1000
                brokers[spec.name].failure_rate = spec.failure_share
            ledger = Ledger(scenario.symbols, self._prefix(scenario))
            resting = any(step.operation in {"modify_order", "cancel_order"} for step in scenario.journey)
            actor = RouterActor(router, ledger, scenario.symbols, Random(f"{self.seed} actor"), resting=resting)
            news = router.manager.bus.subscribe(1 << 16)

            async def watch() -> Observation:
                return await _observe_router(router)

            async with self._watched(scenario, actor) as (run, machine):
                run.watch(news, watch)
                async with anyio.create_task_group() as faults:
                    faults.start_soon(_play_faults, brokers, scenario.faults, self.clock)
                    await run.play()
                    faults.cancel_scope.cancel()
                await self._settle(router)
            referees = await router.referee_reports()
            books = await router.broker_books()
            final = router.snapshot()
        # Opened anew: what counts is what a later start would find, not what this process still remembers.
        async with TradeStore(path, clock=self.clock) as store:
            trades = await store.get_recent_trades(limit=max(1, len(ledger)))
        audit = ledger.audit(books, trades)
        limits = {spec.name: spec.config().limits for spec in scenario.brokers}
        demand = demand_of(scenario)
        return self._judged(
            Result(
                run=run,
                virtual=self.virtual,
                epoch_ns=machine.epoch_ns,
                thresholds=(),
                audit=audit,
                referees=referees,
                final=final,
                bound_ns=limits_alone_ns(limits, demand) if demand else None,
                capacity_per_s=capacity_of(scenario),
                units=run.finished,
                news_dropped=news.dropped,
                machine=machine.figures(),
            )
        )

    async def _play_feed(self, scenario: Scenario, _path: Path) -> Result:
        feed = MarketDataFeed(clock=self.clock)
        actor = FeedActor(feed, scenario.symbols)
        async with self._watched(scenario, actor) as (run, machine):
            await run.play()
        return self._judged(self._plain_result(run, machine, units=actor.published))

    async def _play_store(self, scenario: Scenario, path: Path) -> Result:
        async with TradeStore(path, clock=self.clock) as store:
            actor = StoreActor(store, scenario.symbols, self._prefix(scenario))
            async with self._watched(scenario, actor) as (run, machine):
                await run.play()
        return self._judged(self._plain_result(run, machine, units=run.finished))

    def _plain_result(self, run: Run, machine: MachineWatch, *, units: int) -> Result:
        return Result(
            run=run,
            virtual=self.virtual,
            epoch_ns=machine.epoch_ns,
            thresholds=(),
            audit=Audit(),
            units=units,
            machine=machine.figures(),
        )

    @asynccontextmanager
    async def _watched(self, scenario: Scenario, actor: Actor) -> AsyncIterator[tuple[Run, MachineWatch]]:
        """A run with everything that looks at it from outside."""
        tick_ns = _VIRTUAL_TICK_NS if self.virtual else _REAL_TICK_NS
        run = Run(scenario, actor, clock=self.clock, seed=self.seed, tick_ns=tick_ns)
        self._run = run
        machine = MachineWatch(self.clock, scenario.warm_up_s, real=not self.virtual)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick, run, machine, tick_ns)
            yield run, machine
            tasks.cancel_scope.cancel()

    async def _tick(self, run: Run, machine: MachineWatch, tick_ns: int) -> None:
        due_ns = self.clock.now_ns()
        while True:
            due_ns = max(due_ns + tick_ns, self.clock.now_ns())
            await self.clock.sleep_until_ns(due_ns)
            machine.look(self.clock.now_ns() - due_ns)
            self._listen()
            if self._stop_asked:
                run.stop()
            self._tell()

    def _tell(self) -> None:
        if self._on_tick is not None:
            self._on_tick(self.snapshot())

    async def _settle(self, router: LocalRouter) -> None:
        """Wait until every order's fate is known: a lost answer is looked up, and that takes its time."""
        until_ns = self.clock.now_ns() + _SETTLE_NS
        while router.snapshot().unknown_orders and self.clock.now_ns() < until_ns and not self._stop_asked:
            await self.clock.sleep_until_ns(self.clock.now_ns() + SECOND // 4)

    def _prefix(self, scenario: Scenario) -> str:
        """What makes the ids of this run unlike those of any run before it in the same store."""
        return f"{scenario.name[:12]}-{self.clock.epoch_ns() // MILLISECOND:x}"

    def _judged(self, result: Result) -> Result:
        run = result.run
        thresholds = judge(run.scenario.thresholds, _evidence(result))
        failed = [line for line in thresholds if line.passed is False]
        if run.state is not RunState.STOPPED:
            run.state = RunState.FAILED if failed else RunState.PASSED
        run.message = "; ".join(f"{line.name}: {line.value}, {line.limit}" for line in failed)
        if run.fell_behind:
            run.message = f"the generator itself fell behind, look at its lag first. {run.message}".rstrip()
        return replace(result, thresholds=thresholds)

    def _thresholds_so_far(self, run: Run) -> tuple[Threshold, ...]:
        """The lights while it plays: red for what can only get worse, else not judged yet."""
        so_far = Result(run=run, virtual=self.virtual, epoch_ns=0, thresholds=(), audit=Audit(), units=run.finished)
        lines = judge(run.scenario.thresholds, _evidence(so_far, violations=run.observed.violations))
        return tuple(
            line if line.passed is False and line.name in ONLY_GROWS else replace(line, passed=None) for line in lines
        )


def _evidence(result: Result, *, violations: int | None = None) -> Evidence:
    run, machine = result.run, result.machine
    elapsed_s = max(run.elapsed_ns, 1) / SECOND
    return Evidence(
        finished=run.finished,
        failures=run.failures.total(),
        bugs=run.bugs,
        violations=result.violations if violations is None else violations,
        latency=run.latency,
        service=run.service,
        audit=result.audit,
        offered_per_s=run.planned / run.scenario_s if run.scenario_s else 0.0,
        # The last arrival is due before the schedule's own end: time short of that is no speed.
        achieved_per_s=(run.finished - run.failures.total()) / max(elapsed_s, run.scenario_s or 0.0),
        units_per_s=result.units / elapsed_s,
        elapsed_ns=run.elapsed_ns,
        bound_ns=result.bound_ns,
        knee_per_s=run.knee_per_s,
        capacity_per_s=result.capacity_per_s,
        efficiency=result.final.efficiency if result.final else None,
        recovery_ns=run.recovered_ns,
        memory_growth_bytes=machine.rss_growth_bytes if machine else None,
        virtual=result.virtual,
    )


def refuse_anything_live(router: LocalRouter) -> dict[str, MockTradingAPI]:
    """The embedded brokers of a router. Raises ConfigError when a single one of its adapters is anything else.

    The adapters themselves are asked, by type: a flag that says "simulated" may be set on any account.
    """
    brokers: dict[str, MockTradingAPI] = {}
    for name, api in router.manager.apis.items():
        if type(api) is not MockTradingAPI:
            message = f"{name} is {type(api).__name__}, not an embedded broker; the stress lab loads nothing live"
            raise ConfigError(message)
        brokers[name] = api
    return brokers


def _parts(scenario: Scenario) -> Iterable[Scenario]:
    """The scenarios that are to be played, with what a suite changes in them."""
    if not scenario.parts:
        return [scenario]
    parts = [load_scenario(part.scenario) for part in scenario.parts]
    for part in parts:
        if part.parts:
            message = f"scenario {scenario.name}: part {part.name} is a suite itself"
            raise ConfigError(message)
    return [
        loaded.changed(rate=part.rate, duration_s=part.duration_s, users=part.users)
        for loaded, part in zip(parts, scenario.parts, strict=True)
    ]


async def _play_faults(brokers: dict[str, MockTradingAPI], faults: Iterable[FaultSpec], clock: Clock) -> None:
    """Break and mend on schedule."""
    start_ns = clock.now_ns()
    moments = [(fault.at_s, True, fault) for fault in faults] + [(fault.until_s, False, fault) for fault in faults]
    for at_s, begins, fault in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        await clock.sleep_until_ns(start_ns + int(at_s * SECOND))
        broker = brokers[fault.broker]
        if fault.kind == "latency":
            broker.response_time += (fault.value if begins else -fault.value) / 1000
        else:
            # A float is the share of requests that are struck; an int would be a count of them.
            broker.set_fault(fault.kind, float(fault.value) if begins else 0)


async def _observe_router(router: LocalRouter) -> Observation:
    brokers = router.manager.broker_snapshots()
    return Observation(
        queued=sum(broker.queued for broker in brokers),
        violations=_violations(await router.referee_reports()),
        shares=tuple((broker.name, broker.traffic_share) for broker in brokers),
    )


def _violations(referees: Iterable[RefereeReport]) -> int:
    """Requests that a broker refused for its limits, and places by which one of its windows was overfull."""
    return sum(report.refused + sum(max(0, most - limit) for _, most, limit in report.fullest) for report in referees)
