"""What a run loads: a router, a feed or a store. Opened for it alone, played, closed, audited.

Only embedded brokers are ever loaded. They are made here from the scenario, which has no key for an address or an
account; neither the operator's configuration nor the environment is read; and before the first request each adapter of
the router is asked what it is. See `refuse_anything_live`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Final, Protocol
from urllib.parse import urlsplit

import anyio

from ..brokers.mock import MockTradingAPI
from ..clock import MILLISECOND, MINUTE, SECOND, Clock
from ..config import Settings
from ..engine import GuardSettings
from ..errors import ConfigError
from ..feed import MarketDataFeed
from ..models import APIConfig, APIProvider, RequestDone
from ..router import LocalRouter, open_router
from ..store import TradeStore
from .actors import Actor, FeedActor, RouterActor, StoreActor
from .bound import capacity_of, demand_of, limits_alone_ns
from .ledger import Audit, Ledger
from .machine import MachineWatch
from .result import Result, violations_of
from .runner import Observation, Run
from .scenarios import FaultSpec, Scenario

__all__ = ["Stage", "play_on", "refuse_anything_live"]

_SETTLE_NS: Final = 60 * SECOND
# Behind sockets the referees are asked through a pipe: often enough for a live figure, seldom enough to cost nothing.
_ASK_EVERY_NS: Final = SECOND

_FAILURE: Final = "error_before_accept"

# Simulated brokers show an order for that long after its end: every fate is known by then, and a run of days may not
# keep all that it ever sent in memory.
_ARCHIVE_AFTER_NS: Final = 3 * MINUTE
_ARCHIVE_EVERY_NS: Final = 10 * SECOND

Strike = Callable[[FaultSpec, bool], Awaitable[None]]


class Stage(Protocol):
    """What a target asks of the lab that plays on it."""

    clock: Clock
    seed: int
    virtual: bool

    @property
    def stopped(self) -> bool: ...

    def watched(self, scenario: Scenario, actor: Actor) -> AbstractAsyncContextManager[tuple[Run, MachineWatch]]:
        """A run, with everything that looks at it from outside."""
        ...


async def play_on(stage: Stage, scenario: Scenario, path: Path) -> Result:
    """Play one scenario, its store in `path`, on the target that its journey asks for. No verdict yet."""
    play = {"router": _play_router, "feed": _play_feed, "store": _play_store}[scenario.target]
    return await play(stage, scenario, path)


async def _play_router(stage: Stage, scenario: Scenario, path: Path) -> Result:
    configs = _configs(scenario)
    settings = Settings(
        brokers=configs,
        seed=stage.seed,
        store=path,
        embedded="process" if scenario.wire == "http" else "memory",
    )
    # The operator's guards protect an account; here nothing but the brokers' limits is to hold the load back.
    guards = GuardSettings.off()
    async with open_router(settings, clock=stage.clock, scratch=stage.virtual, guards=guards) as router:
        refuse_anything_live(router)
        for spec in scenario.brokers:
            await router.set_latency(spec.name, spec.response_ms)
            await router.set_fault(spec.name, _FAILURE, spec.failure_share)
        ledger = Ledger(scenario.symbols, _prefix(stage, scenario))
        resting = any(step.operation in {"modify_order", "cancel_order"} for step in scenario.journey)
        actor = RouterActor(router, ledger, scenario.symbols, Random(f"{stage.seed} actor"), resting=resting)
        news = router.manager.bus.subscribe(1 << 16, kinds=(RequestDone,))
        syncs_before = router.store.disk_syncs
        async with stage.watched(scenario, actor) as (run, machine):
            run.watch(news, _RouterWatch(router, ledger, syncs_before).observe)
            await _play(run, scenario.faults, _strike_router(router, scenario), stage.clock)
            await _settle(stage, router)
        syncs = router.store.disk_syncs - syncs_before
        referees = await router.referee_reports()
        books = await router.broker_books()
        final = router.manager.snapshot()  # what the report is made of; the latest orders are not
        taken = machine.figures()  # before the audit, which reads every order of the run at once
    # Opened anew: what counts is what a later start would find, not what this process still remembers.
    async with TradeStore(path, clock=stage.clock) as store:
        places = await store.get_recent_places(limit=len(ledger))
    demand = demand_of(scenario)
    return Result(
        run=run,
        virtual=stage.virtual,
        epoch_ns=machine.epoch_ns,
        thresholds=(),
        audit=ledger.audit(books, places),
        referees=referees,
        final=final,
        bound_ns=limits_alone_ns({name: config.limits for name, config in configs.items()}, demand) if demand else None,
        capacity_per_s=capacity_of(scenario),
        units=run.finished,
        news_dropped=news.dropped,
        disk_syncs=syncs,
        machine=taken,
    )


def _configs(scenario: Scenario) -> dict[str, APIConfig]:
    """The accounts. Over HTTP one in memory takes the next free one of the two wires that the simulator speaks."""
    configs = {spec.name: spec.config() for spec in scenario.brokers}
    if scenario.wire == "memory":
        return configs
    taken = {config.provider for config in configs.values()}
    free = [provider for provider in (APIProvider.FYERS, APIProvider.UPSTOX) if provider not in taken]
    for name, config in configs.items():
        if config.provider is APIProvider.MOCK:
            if not free:
                message = f"scenario {scenario.name}: over HTTP there are two brokers, and {name} would be one more"
                raise ConfigError(message)
            configs[name] = config.model_copy(update={"provider": free.pop(0)})
    return configs


async def _play_feed(stage: Stage, scenario: Scenario, _path: Path) -> Result:
    feed = MarketDataFeed(clock=stage.clock)
    actor = FeedActor(feed, scenario.symbols)
    async with stage.watched(scenario, actor) as (run, machine):
        await run.play()
    return _plain_result(stage, run, machine, units=actor.published)


async def _play_store(stage: Stage, scenario: Scenario, path: Path) -> Result:
    async with TradeStore(path, clock=stage.clock, scratch=stage.virtual) as store:
        actor = StoreActor(store, scenario.symbols, _prefix(stage, scenario))
        before = store.disk_syncs

        async def observe() -> Observation:
            return Observation(disk_syncs=store.disk_syncs - before)

        async def strike(fault: FaultSpec, begins: bool) -> None:  # noqa: FBT001 - see Strike
            store.slow_down(int(fault.value * MILLISECOND) if begins else 0)

        async with stage.watched(scenario, actor) as (run, machine):
            run.watch(None, observe)
            await _play(run, scenario.faults, strike, stage.clock)
        syncs = store.disk_syncs - before
    return _plain_result(stage, run, machine, units=run.finished, disk_syncs=syncs)


def _plain_result(
    stage: Stage, run: Run, machine: MachineWatch, *, units: int, disk_syncs: int | None = None
) -> Result:
    return Result(
        run=run,
        virtual=stage.virtual,
        epoch_ns=machine.epoch_ns,
        thresholds=(),
        audit=Audit(),
        units=units,
        disk_syncs=disk_syncs,
        machine=machine.figures(),
    )


async def _play(run: Run, faults: Sequence[FaultSpec], strike: Strike, clock: Clock) -> None:
    """The run, and what breaks and mends on schedule meanwhile. All is whole again when it returns."""
    struck: list[FaultSpec] = []

    async def schedule() -> None:
        start_ns = clock.now_ns()
        moments = [(fault.at_s, True, fault) for fault in faults] + [(fault.until_s, False, fault) for fault in faults]
        for at_s, begins, fault in sorted(moments, key=lambda moment: (moment[0], moment[1])):
            await clock.sleep_until_ns(start_ns + int(at_s * SECOND))
            struck.append(fault) if begins else struck.remove(fault)
            await strike(fault, begins)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schedule)
        await run.play()
        tasks.cancel_scope.cancel()
    for fault in struck:
        await strike(fault, False)  # noqa: FBT003 - it ends


def _strike_router(router: LocalRouter, scenario: Scenario) -> Strike:
    typical_ms = {spec.name: spec.response_ms for spec in scenario.brokers}
    standing = {(spec.name, _FAILURE): spec.failure_share for spec in scenario.brokers}

    async def strike(fault: FaultSpec, begins: bool) -> None:  # noqa: FBT001 - see Strike
        if fault.kind == "slow_disk":
            router.store.slow_down(int(fault.value * MILLISECOND) if begins else 0)
        elif fault.kind == "latency":
            typical_ms[fault.broker] += fault.value if begins else -fault.value
            await router.set_latency(fault.broker, typical_ms[fault.broker])
        else:
            # A float is the share of requests that are struck; an int would be a count of them.
            usual = standing.get((fault.broker, fault.kind), 0.0)
            await router.set_fault(fault.broker, fault.kind, float(fault.value) if begins else usual)

    return strike


async def _settle(stage: Stage, router: LocalRouter) -> None:
    """Wait until every order's fate is known: a lost answer is looked up, and that takes its time."""
    until_ns = stage.clock.now_ns() + _SETTLE_NS
    while router.engine.unknown_orders and stage.clock.now_ns() < until_ns and not stage.stopped:
        await stage.clock.sleep_until_ns(stage.clock.now_ns() + SECOND // 4)


def _prefix(stage: Stage, scenario: Scenario) -> str:
    """What makes the ids of this run unlike those of any run before it in the same store."""
    return f"{scenario.name[:12]}-{stage.clock.epoch_ns() // MILLISECOND:x}"


class _RouterWatch:
    """Looks at a router while it is under load."""

    def __init__(self, router: LocalRouter, ledger: Ledger, syncs_before: int) -> None:
        self._router = router
        self._ledger = ledger
        self._syncs_before = syncs_before
        self._archive_at_ns = 0
        self._violations = 0
        self._ask_at_ns = 0

    async def observe(self) -> Observation:
        router, now_ns = self._router, self._router.clock.now_ns()
        if now_ns >= self._ask_at_ns:
            self._ask_at_ns = now_ns + (_ASK_EVERY_NS if router.settings.embedded == "process" else 0)
            self._violations = violations_of(await router.referee_reports())
        if now_ns >= self._archive_at_ns and router.embedded is not None:
            self._archive_at_ns = now_ns + _ARCHIVE_EVERY_NS
            self._ledger.saw(await router.embedded.archive(router.clock.epoch_ns() - _ARCHIVE_AFTER_NS))
        brokers = router.manager.broker_snapshots()
        return Observation(
            queued=sum(broker.queued for broker in brokers),
            violations=self._violations,
            shares=tuple((broker.name, broker.traffic_share) for broker in brokers),
            disk_syncs=router.store.disk_syncs - self._syncs_before,
        )


def refuse_anything_live(router: LocalRouter) -> None:
    """Raises ConfigError when a single adapter of a router is anything but an embedded broker of that router.

    The adapters themselves are asked: a flag that says "simulated" may be set on any account. One in memory is known by
    its type; one that speaks HTTP must be the very object that was connected to the simulator which this router
    started, and must still bear that simulator's address on this machine.
    """
    embedded = router.embedded
    for name, api in router.manager.apis.items():
        if type(api) is MockTradingAPI:
            continue
        ours = embedded is not None and embedded.apis.get(name) is api
        address = embedded.addresses.get(name) if embedded is not None else None
        if not ours or address is None or api.config.base_url != address or urlsplit(address).hostname != "127.0.0.1":
            message = f"{name} is {type(api).__name__}, not an embedded broker; the stress lab loads nothing live"
            raise ConfigError(message)
