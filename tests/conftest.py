"""What every test may ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
from hypothesis import settings

from core.clock import VirtualClock, loop_factory

settings.register_profile("normal", max_examples=200, deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile("normal")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every async test runs on a loop that a VirtualClock can drive; without one it is an ordinary loop."""
    return {"virtual": loop_factory}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
