"""The simulated brokers in a process of their own, for whoever must not share a core with them.

    python -m core.brokers.simulator.apart

The parent, `core/embedded.py`, writes one line of JSON (`Setup`); the answer is one line, the address of each broker.
After that each line asks one thing (`Ask`) and is answered by one. The end of the input is the end of the process, so
that none is left behind by a parent that is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

from ...collector import settle
from .asks import BOOKS, REFEREES, Ask, Setup
from .faults import Latency
from .server import Simulator, serve
from .settings import FYERS_LIMITS, UPSTOX_LIMITS, SimulatorSettings


def _answer(simulator: Simulator, ask: Ask) -> bytes:
    match ask.what:
        case "referees":
            return REFEREES.dump_json(simulator.referee_reports())
        case "books":
            return BOOKS.dump_json(simulator.books())
        case "archive":
            return BOOKS.dump_json(simulator.archive(ask.before_ns))
        case "fault":
            simulator.set_fault(ask.kind, ask.value, broker=ask.broker)
        case "latency":
            simulator.set_latency(ask.broker, Latency.around(ask.value))
    return b"null"


async def _serve(setup: Setup, lines: asyncio.Queue[bytes], say: Callable[[bytes], None]) -> None:
    settings = SimulatorSettings(
        seed=setup.seed,
        separate_ports=True,
        logout_revokes=False,
        upstox_limits=setup.limits.get("upstox", UPSTOX_LIMITS),
        fyers_limits=setup.limits.get("fyers", FYERS_LIMITS),
    )
    async with serve(settings) as simulator:
        settle()
        say(json.dumps(dict(simulator.base_urls)).encode())
        while line := await lines.get():
            say(_answer(simulator, Ask.model_validate_json(line)))


async def _main() -> None:
    lines: asyncio.Queue[bytes] = asyncio.Queue(1)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def read() -> None:
        while line := await reader.readline():
            await lines.put(line)
        await lines.put(b"")

    def say(line: bytes) -> None:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    reading = asyncio.create_task(read(), name="parent's words")
    await _serve(Setup.model_validate_json(await lines.get()), lines, say)
    await reading


if __name__ == "__main__":
    asyncio.run(_main())
