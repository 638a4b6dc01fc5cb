from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import VirtualClock
from core.store import TradeStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "headroom.db"


@pytest.fixture
async def store(path: Path, clock: VirtualClock) -> AsyncIterator[TradeStore]:
    async with TradeStore(path, clock=clock) as opened:
        yield opened
