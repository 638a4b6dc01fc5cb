"""The simulated brokers of one router: in its own memory, or behind real sockets.

In memory they run on any clock, which is what tests and virtual stress runs need. Behind sockets the real adapters
speak the real wire to them, which is what a live account would see; the server has a loop and a thread of its own, so
that a busy engine does not slow its brokers down, or a process of its own, so that they do not even share a core.
"""

from __future__ import annotations

import asyncio
import json
import random
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import BaseModel, SecretStr

from . import brokers
from .brokers.base import TradingAPI
from .brokers.mock import MockTradingAPI
from .children import end_child, start_child
from .clock import Clock
from .errors import ConfigError
from .models import APIConfig, APIProvider, BrokerOrder, RefereeReport

__all__ = ["EmbeddedBrokers", "in_a_process", "in_memory", "on_the_wire"]

T = TypeVar("T")
_LONGEST_ANSWER: Final = 1 << 30  # the books of a long run, as one line
_GRACE_S: Final = 5.0


class EmbeddedBrokers(Protocol):
    """Simulated brokers, and what only they can tell or do. `addresses`: where each listens; none in memory."""

    apis: Mapping[str, TradingAPI]
    addresses: Mapping[str, str]

    async def referee_reports(self) -> tuple[RefereeReport, ...]: ...

    async def books(self) -> Mapping[str, tuple[BrokerOrder, ...]]: ...

    async def archive(self, before_epoch_ns: int) -> Mapping[str, tuple[BrokerOrder, ...]]:
        """Forget the orders that ended before an epoch time, and return their rows."""
        ...

    async def set_fault(self, broker: str, kind: str, value: float) -> None: ...

    async def set_latency(self, broker: str, typical_ms: float) -> None:
        """How long the broker takes to answer from now on: the mean in memory, the median behind sockets."""
        ...


class _InMemory:
    addresses: Mapping[str, str] = MappingProxyType({})

    def __init__(self, brokers: dict[str, MockTradingAPI]) -> None:
        self.apis: Mapping[str, TradingAPI] = brokers
        self._brokers = brokers

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        return tuple(broker.referee_report() for broker in self._brokers.values())

    async def books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        return {name: broker.books() for name, broker in self._brokers.items()}

    async def archive(self, before_epoch_ns: int) -> Mapping[str, tuple[BrokerOrder, ...]]:
        return {name: broker.archive(before_epoch_ns) for name, broker in self._brokers.items()}

    async def set_fault(self, broker: str, kind: str, value: float) -> None:
        if broker not in self._brokers:
            raise _unknown(broker, self._brokers)
        self._brokers[broker].set_fault(kind, value)

    async def set_latency(self, broker: str, typical_ms: float) -> None:
        self._brokers[broker].response_time = typical_ms / 1000


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
    def __init__(
        self, portal: BlockingPortal, simulator: Any, wires: Mapping[str, str], apis: Mapping[str, TradingAPI]
    ) -> None:
        self.apis = apis
        self.addresses: Mapping[str, str] = {name: simulator.base_urls[wire] for name, wire in wires.items()}
        self._wires = wires
        self._portal = portal
        self._simulator = simulator

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        return _named(self._wires, await self._there(self._simulator.referee_reports))

    async def books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        return _of_each(self._wires, await self._there(self._simulator.books))

    async def archive(self, before_epoch_ns: int) -> Mapping[str, tuple[BrokerOrder, ...]]:
        return _of_each(self._wires, await self._there(lambda: self._simulator.archive(before_epoch_ns)))

    async def set_fault(self, broker: str, kind: str, value: float) -> None:
        wire = _wire_of(broker, self._wires)
        await self._there(lambda: self._simulator.set_fault(kind, value, broker=wire))

    async def set_latency(self, broker: str, typical_ms: float) -> None:
        from .brokers.simulator.faults import Latency

        wire = _wire_of(broker, self._wires)
        await self._there(lambda: self._simulator.set_latency(wire, Latency.around(typical_ms)))

    async def _there(self, call: Callable[[], T]) -> T:
        """Call on the simulator's loop, without holding up ours."""
        return await asyncio.wrap_future(self._portal.start_task_soon(call))


@asynccontextmanager
async def on_the_wire(
    configs: Mapping[str, APIConfig], clock: Clock, seed: int, *, median_ms: float = 40.0
) -> AsyncIterator[EmbeddedBrokers]:
    """A simulator on loopback, and the real adapters against it; the brokers keep their published limits.

    Raises ConfigError for an account that the simulator does not serve.
    """
    # An HTTP client and server: 0.2 s of import that a router in memory does not owe.
    from .brokers.simulator.faults import Latency
    from .brokers.simulator.server import serve
    from .brokers.simulator.settings import SimulatorSettings

    wires = _wires(configs)
    settings = SimulatorSettings(
        seed=seed, separate_ports=True, logout_revokes=False, latency=Latency.around(median_ms)
    )
    async with AsyncExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal(name="headroom-simulator"))
        simulator = stack.enter_context(portal.wrap_async_context_manager(serve(settings)))
        apis = await _connect(stack, configs, wires, simulator.base_urls, clock)
        yield _OnTheWire(portal, simulator, wires, apis)


class _InAProcess:
    def __init__(
        self, child: _Child, wires: Mapping[str, str], addresses: Mapping[str, str], apis: Mapping[str, TradingAPI]
    ) -> None:
        self.apis = apis
        self.addresses: Mapping[str, str] = {name: addresses[wire] for name, wire in wires.items()}
        self._child = child
        self._wires = wires

    async def referee_reports(self) -> tuple[RefereeReport, ...]:
        from .brokers.simulator.asks import REFEREES, Ask

        return _named(self._wires, REFEREES.validate_json(await self._child.ask(Ask(what="referees"))))

    async def books(self) -> Mapping[str, tuple[BrokerOrder, ...]]:
        from .brokers.simulator.asks import BOOKS, Ask

        return _of_each(self._wires, BOOKS.validate_json(await self._child.ask(Ask(what="books"))))

    async def archive(self, before_epoch_ns: int) -> Mapping[str, tuple[BrokerOrder, ...]]:
        from .brokers.simulator.asks import BOOKS, Ask

        gone = await self._child.ask(Ask(what="archive", before_ns=before_epoch_ns))
        return _of_each(self._wires, BOOKS.validate_json(gone))

    async def set_fault(self, broker: str, kind: str, value: float) -> None:
        from .brokers.simulator.asks import Ask

        await self._child.ask(Ask(what="fault", broker=_wire_of(broker, self._wires), kind=kind, value=value))

    async def set_latency(self, broker: str, typical_ms: float) -> None:
        from .brokers.simulator.asks import Ask

        await self._child.ask(Ask(what="latency", broker=_wire_of(broker, self._wires), value=typical_ms))


class _Child:
    """The process of `core/brokers/simulator/apart.py`, which answers one line with one line."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def ask(self, question: BaseModel) -> bytes:
        """Its answer. Raises ConfigError when it has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - both were asked for
        assert stdout is not None  # noqa: S101
        async with self._turn:
            with suppress(BrokenPipeError, ConnectionResetError):  # then there is no answer either
                stdin.write(question.model_dump_json().encode() + b"\n")
                await stdin.drain()
            line = await stdout.readline()
        if not line:
            message = "the process of the simulated brokers has ended; its last words stand on stderr"
            raise ConfigError(message)
        return line

    async def end(self) -> None:
        """Returns when it is gone."""
        await end_child(self._process, asyncio.ensure_future(self._process.wait()), grace_s=_GRACE_S)


@asynccontextmanager
async def in_a_process(configs: Mapping[str, APIConfig], clock: Clock, seed: int) -> AsyncIterator[EmbeddedBrokers]:
    """The simulator in a process of its own, enforcing the accounts' limits, and the real adapters against it.

    Raises ConfigError for an account that the simulator does not serve.
    """
    from .brokers.simulator.asks import Setup

    wires = _wires(configs)
    async with AsyncExitStack() as stack:
        child = _Child(await start_child("core.brokers.simulator.apart", limit=_LONGEST_ANSWER))
        stack.push_async_callback(child.end)
        limits = {wires[name]: config.limits for name, config in configs.items()}
        addresses: dict[str, str] = json.loads(await child.ask(Setup(seed=seed, limits=limits)))
        apis = await _connect(stack, configs, wires, addresses, clock)
        yield _InAProcess(child, wires, addresses, apis)


async def _connect(
    stack: AsyncExitStack,
    configs: Mapping[str, APIConfig],
    wires: Mapping[str, str],
    addresses: Mapping[str, str],
    clock: Clock,
) -> dict[str, TradingAPI]:
    """The real adapter of each account, with the credentials that the simulator takes."""
    from .brokers.simulator.settings import SimulatorSettings

    known = SimulatorSettings()
    credentials = {
        APIProvider.FYERS.value: (known.fyers_client_id, known.fyers_token),
        APIProvider.UPSTOX.value: (known.upstox_client_id, known.upstox_token),
    }
    apis: dict[str, TradingAPI] = {}
    for name, config in configs.items():
        client_id, token = credentials[wires[name]]
        at_the_simulator = config.model_copy(
            update={"base_url": addresses[wires[name]], "client_id": client_id, "access_token": SecretStr(token)}
        )
        adapter = brokers.adapter_of(config.provider)
        apis[name] = await stack.enter_async_context(adapter(name, at_the_simulator, clock=clock))
    return apis


def _wires(configs: Mapping[str, APIConfig]) -> dict[str, str]:
    """Which of the simulator's two wires each account speaks. Raises ConfigError where it has none to itself."""
    served = {provider.value for provider in brokers.ADAPTERS}
    wires = {name: config.provider.value for name, config in configs.items()}
    for name, wire in wires.items():
        if wire not in served:
            raise _unknown(name, served)
        if list(wires.values()).count(wire) > 1:
            message = f"the simulator has one account at {wire}; {name} shares it with another"
            raise ConfigError(message)
    return wires


def _wire_of(broker: str, wires: Mapping[str, str]) -> str:
    if broker not in wires:
        raise _unknown(broker, wires)
    return wires[broker]


def _named(wires: Mapping[str, str], reports: Mapping[str, RefereeReport]) -> tuple[RefereeReport, ...]:
    """The reports by the accounts' own names."""
    return tuple(replace(reports[wire], name=name) for name, wire in wires.items())


def _of_each(wires: Mapping[str, str], books: Mapping[str, T]) -> Mapping[str, T]:
    """What belongs to each account, by the accounts' own names."""
    return {name: books[wire] for name, wire in wires.items()}


def _unknown(name: str, known: Collection[str]) -> ConfigError:
    return ConfigError(f"no embedded broker is named {name!r}; there are {', '.join(sorted(known))}")
