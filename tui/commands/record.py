"""`headroom record FILE`: a router without a screen, written down until it is stopped."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import dashboard

if TYPE_CHECKING:
    from core.config import Settings

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "record",
        help="run without a screen and write what it would show to a file",
        description="Run the router without a screen and write what the screen would show to a file; Ctrl+C ends it. "
        "`headroom replay FILE` shows it again.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="must not exist yet")
    parser.add_argument("--hz", type=_pictures, default=10.0, metavar="N", help="pictures a second (default: 10)")
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="stop after so long (default: when told to)")
    dashboard.add_router_arguments(parser)
    parser.set_defaults(run=run)


def _pictures(text: str) -> float:
    return _between(text, 0.1, 20)


def _seconds(text: str) -> float:
    return _between(text, 0.1, 7 * 86_400)


def _between(text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        message = f"{text!r} is not between {low:g} and {high:g}"
        raise argparse.ArgumentTypeError(message)
    return number


def run(arguments: argparse.Namespace) -> int:
    import anyio

    from core.replay import RecordingWriter

    settings = dashboard.settings_of(arguments)
    begun = time.monotonic()
    with RecordingWriter(arguments.file, simulated=settings.simulated) as writer:
        print(f"headroom: recording to {arguments.file}; Ctrl+C ends it", file=sys.stderr, flush=True)
        anyio.run(partial(_record, arguments, settings, writer))
    print(
        f"{arguments.file}: {writer.frames:,} pictures in {time.monotonic() - begun:.0f} s, "
        f"{writer.size_bytes / 1024:,.0f} KiB; look at it: headroom replay {arguments.file}"
    )
    return 0


async def _record(arguments: argparse.Namespace, settings: Settings, writer: Any) -> None:
    import anyio

    from core.clock import SECOND, SystemClock
    from core.replay import record
    from core.router import open_router
    from core.stress.background import play_background

    clock = SystemClock()
    async with open_router(settings, clock=clock) as router, anyio.create_task_group() as tasks:
        if settings.simulated and not arguments.quiet_market:
            tasks.start_soon(play_background, router, settings.seed)
        tasks.start_soon(partial(record, router, writer, clock=clock, interval_ns=round(SECOND / arguments.hz)))
        with anyio.move_on_after(arguments.seconds), anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as told:
            async for _ in told:
                break
        tasks.cancel_scope.cancel()
