"""How the parts of a router are made from its settings."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from functools import cache, partial
from typing import Any

import anyio.to_thread
from pydantic import TypeAdapter, ValidationError

from . import brokers
from .brokers.base import TradingAPI
from .clock import Clock
from .config import Instruments, Settings, token_dir
from .embedded import EmbeddedBrokers, in_a_process, in_memory, on_the_wire
from .errors import ConfigError
from .models import APIConfig

__all__ = ["checked_table", "connect", "embedded_brokers", "instruments_of"]


@asynccontextmanager
async def embedded_brokers(
    settings: Settings, clock: Clock, rng: random.Random
) -> AsyncIterator[EmbeddedBrokers | None]:
    """The simulated accounts that have no address of their own; None when there are none."""
    configs = {name: config for name, config in settings.brokers.items() if config.simulated and not config.base_url}
    if not configs:
        yield None
    elif settings.embedded == "wire":
        async with on_the_wire(configs, clock, settings.seed) as embedded:
            yield embedded
    elif settings.embedded == "process":
        async with in_a_process(configs, clock, settings.seed) as embedded:
            yield embedded
    else:
        async with in_memory(configs, clock, rng) as embedded:
            yield embedded


@asynccontextmanager
async def connect(
    name: str, config: APIConfig, clock: Clock, instruments: brokers.InstrumentTable | None
) -> AsyncIterator[TradingAPI]:
    """The adapter of one account behind an address, closed at the end of the block."""
    try:
        adapter = brokers.adapter_of(config.provider)
    except ConfigError as error:
        message = f"brokers.{name}: {error}"
        raise ConfigError(message) from None
    tokens = brokers.TokenStore(token_dir())
    async with adapter(name, config, clock=clock, instruments=instruments, tokens=tokens) as api:
        yield api


async def instruments_of(files: Instruments | None) -> brokers.InstrumentTable | None:
    """The symbols of the files named, read off the loop: the whole of them take seconds."""
    if files is None:
        return None
    return await anyio.to_thread.run_sync(partial(brokers.InstrumentTable.load, fyers=files.fyers, upstox=files.upstox))


def checked_table(values: Mapping[str, Any], kind: type[Any], name: str) -> Any:
    """A table of the settings as the frozen value it stands for. Raises ConfigError with the key."""
    if not values:
        return kind()  # as nearly always: no schema is built for it
    keys = [field.name for field in fields(kind)]
    unknown = values.keys() - set(keys)
    if unknown:
        message = f"{name}.{min(unknown)} is not known; known: {', '.join(keys)}"
        raise ConfigError(message)
    try:
        return _checker(kind).validate_python(values)  # type: ignore[arg-type]  # mypy doubts that a class is hashable
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigError(f"{where}: {first['msg']}") from None


@cache
def _checker(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # 3 ms, and the lab opens a router for each run
