"""A simulator in a process of its own, with limits that nothing reaches: its referee counts all and refuses nothing.

Run as a program it prints its address, then answers each line on stdin with [CPU seconds so far, accepted, refused],
and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from core.brokers.simulator.server import serve
from core.brokers.simulator.settings import SimulatorSettings
from core.clock import MINUTE, SECOND
from core.models import Budget, Rate

__all__ = ["PLENTY", "Serving", "Standing", "pin", "serving"]

PLENTY: Final = (
    Budget("all", (Rate(10**6, SECOND), Rate(10**7, MINUTE), Rate(10**7, 30 * MINUTE)), frozenset({"orders", "reads"})),
)


class Standing(NamedTuple):
    """What the simulator has used and judged since it started."""

    cpu_s: float
    accepted: int
    refused: int


class Serving:
    """The running process."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self._process = process

    async def standing(self) -> Standing:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return Standing(*json.loads(await self._process.stdout.readline()))


@asynccontextmanager
async def serving(*, core: int | None = None) -> AsyncIterator[Serving]:
    """Serve until the block ends, on processor `core` alone where the system can do that."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.simulator.serving",
        cwd=Path(__file__).parents[3], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        pin(process.pid, core)
        yield Serving(url, process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def pin(pid: int, core: int | None) -> None:
    """Keep the process on one processor; nothing where there is no choice."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, {core})


async def _main() -> None:
    async with serve(SimulatorSettings(upstox_limits=PLENTY, fyers_limits=PLENTY)) as simulator:
        print(simulator.base_url, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            reports = simulator.referee_reports().values()
            judged = sum(report.accepted for report in reports), sum(report.refused for report in reports)
            print(json.dumps([time.process_time(), *judged]), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
