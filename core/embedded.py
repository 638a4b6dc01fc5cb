"""The simulated brokers of one router: in its own memory, or behind real sockets.

In memory they run on any clock, which is what tests and virtual stress runs need. Behind sockets the real adapters
speak the real wire to them, which is what a live account would see; the server has a loop and a thread of its own, so
that a busy engine does not slow its brokers down.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import SecretStr

from . import brokers
from .brokers.base import TradingAPI
from .brokers.mock import MockTradingAPI
from .clock import Clock
from .errors import ConfigError
from .models import APIConfig, APIProvider, BrokerOrder, RefereeReport

__all__ = ["EmbeddedBrokers", "in_memory", "on_the_wire"]

T = TypeVar("T")


class EmbeddedBrokers(Protocol):
    """Simulated brokers, and what only they can tell or do."""

    apis: Mapping[str, TradingAPI]

    async def referee_reports(self) -> tuple[RefereeReport, ...]: ...

    async def books(self) -> Mapping[str, tuple[BrokerOrder, ...]]: ...

    async def set_fault(self, broker: str, kind: str, value: float) -> None: ...


class _InMemory:
    def __init__(self, brokers: dict[str, MockTradingAPI]) -> None:
        self.apis: Mapping[str, TradingAPI] = brokers
        self._brokers = brokers

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        return tuple(broker.referee_report() for broker in self._brokers.values())

    async def books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        return {name: broker.books() for name, broker in self._brokers.items()}

    async def set_fault(self, broker: str, kind: str, value: float) -> None:
        if broker not in self._brokers:
            raise _unknown(broker, self._brokers)
        self._brokers[broker].set_fault(kind, value)


@asynccontextmanager
async def in_memory(
    configs: Mapping[str, APIConfig], clock: Clock, rng: random.Random, *, response_time: float = 0.05
) -> AsyncIterator[EmbeddedBrokers]:
    """One MockTradingAPI per account, each with a seed of its own."""
    yield _InMemory(
        {
            name: MockTradingAPI(name, config, response_time, clock=clock, rng=random.Random(rng.random()))
            for name, config in configs.items()
        }
    )


class _OnTheWire:
    def __init__(self, portal: BlockingPortal, simulator: object, apis: Mapping[str, TradingAPI]) -> None:
        from .brokers.simulator.server import Simulator

        assert isinstance(simulator, Simulator)  # noqa: S101 - our own, two lines below
        self.apis = apis
        self._portal = portal
        self._simulator = simulator

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        reports = await self._there(self._simulator.referee_reports)
        return tuple(reports[name] for name in self.apis)

    async def books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        books = await self._there(self._simulator.books)
        return {name: books[name] for name in self.apis}

    async def set_fault(self, broker: str, kind: str, value: float) -> None:
        if broker not in self.apis:
            raise _unknown(broker, self.apis)
        await self._there(lambda: self._simulator.set_fault(kind, value, broker=broker))

    async def _there(self, call: Callable[[], T]) -> T:
        """Call on the simulator's loop, without holding up ours."""
        return await asyncio.wrap_future(self._portal.start_task_soon(call))


@asynccontextmanager
async def on_the_wire(
    configs: Mapping[str, APIConfig], clock: Clock, seed: int, *, median_ms: float = 40.0
) -> AsyncIterator[EmbeddedBrokers]:
    """A simulator on loopback, and the real adapters against it. Accounts bear their provider's name.

    Raises ConfigError for an account that the simulator does not serve.
    """
    # An HTTP client and server: 0.2 s of import that a router in memory does not owe.
    from .brokers.simulator.faults import Latency
    from .brokers.simulator.server import SimulatorSettings, serve

    served = {provider.value for provider in brokers.ADAPTERS}
    for name in configs:
        if name not in served:
            raise _unknown(name, served)
    settings = SimulatorSettings(
        seed=seed,
        separate_ports=True,
        logout_revokes=False,
        latency=Latency(floor_ms=median_ms / 2, median_ms=median_ms),
    )
    credentials = {
        APIProvider.FYERS.value: (settings.fyers_client_id, settings.fyers_token),
        APIProvider.UPSTOX.value: (settings.upstox_client_id, settings.upstox_token),
    }
    async with AsyncExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal(name="headroom-simulator"))
        simulator = stack.enter_context(portal.wrap_async_context_manager(serve(settings)))
        apis: dict[str, TradingAPI] = {}
        for name, config in configs.items():
            client_id, token = credentials[name]
            at_the_simulator = config.model_copy(
                update={
                    "base_url": simulator.base_urls[name],
                    "client_id": client_id,
                    "access_token": SecretStr(token),
                }
            )
            apis[name] = await stack.enter_async_context(
                brokers.adapter_of(config.provider)(name, at_the_simulator, clock=clock)
            )
        yield _OnTheWire(portal, simulator, apis)


def _unknown(name: str, known: Collection[str]) -> ConfigError:
    return ConfigError(f"no embedded broker is named {name!r}; there are {', '.join(sorted(known))}")
