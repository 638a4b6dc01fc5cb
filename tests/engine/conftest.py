"""Two mock brokers that outlive the processes, and processes on one real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core.brokers.mock import MockTradingAPI
from core.clock import MILLISECOND, SECOND, VirtualClock
from core.engine import EngineSettings, Guards, GuardSettings, TradingEngine
from core.manager import MultiAPIManager
from core.models import Event
from core.store import TradeStore
from tests.engine.bench import Bench, Opener, make_broker


@pytest.fixture
def brokers(clock: VirtualClock) -> dict[str, MockTradingAPI]:
    """Outlive the process, as brokers do."""
    return {name: make_broker(name, clock) for name in ("upstox", "fyers")}


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock, brokers: dict[str, MockTradingAPI]) -> Opener:
    """Open a process on the one store and the two brokers; more than one may live at a time."""

    @asynccontextmanager
    async def open_bench(
        *,
        guards: Guards | GuardSettings | None = None,
        settings: EngineSettings | None = None,
        watching: bool = True,
        store: TradeStore | None = None,
        **options: Any,
    ) -> AsyncIterator[Bench]:
        manager = MultiAPIManager({}, clock=clock, rng=Random("manager"))
        manager.apis = dict(brokers)
        async with store or TradeStore(tmp_path / "store.db", clock=clock) as opened_store:
            events: list[Event] = []
            engine = TradingEngine(
                manager,
                opened_store,
                rng=Random(f"tags {clock.now_ns()} {id(events)}"),
                guards=GuardSettings.off() if guards is None else guards,
                settings=settings or EngineSettings(deadline_ns=8 * SECOND, ask_first_ns=100 * MILLISECOND),
                on_event=events.append,
                **options,
            )
            bench = Bench(engine, manager, opened_store, clock, brokers, events)
            if watching:
                async with engine:
                    yield bench
            else:
                yield bench

    return open_bench
