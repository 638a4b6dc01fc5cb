"""Every rule of the limiter meets every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.clock import VirtualClock
from core.limiter import Backend, EnhancedRateLimiter, MemoryBackend, SharedMemoryBackend

MakeLimiter = Callable[..., EnhancedRateLimiter]


@pytest.fixture(params=["memory", "shared"])
def make_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    made = 0

    def make() -> Backend:
        nonlocal made
        made += 1
        return MemoryBackend() if request.param == "memory" else SharedMemoryBackend(tmp_path / f"{made}.ring")

    return make


@pytest.fixture
def make(make_backend: Callable[[], Backend], clock: VirtualClock) -> Iterator[MakeLimiter]:
    """Make limiters on the test's clock and on its backend; they are closed at its end."""
    made: list[EnhancedRateLimiter] = []

    def limiter(*limits: Any, **options: Any) -> EnhancedRateLimiter:
        made.append(EnhancedRateLimiter(*limits, **{"clock": clock, "backend": make_backend(), **options}))
        return made[-1]

    yield limiter
    for one in made:
        one.close()
