"""Under plain pytest the benchmarks run once and small, as smoke; with --benchmark-enable in full."""

from __future__ import annotations

import pytest


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--benchmark-enable"))
