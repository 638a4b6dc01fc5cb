"""`headroom` itself: the dashboard, or its content as text or JSON where there is no terminal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.config import Settings
    from core.models import RouterSnapshot
    from tui.port import RouterPort

__all__ = ["add_arguments", "add_router_arguments", "run", "settings_of", "show"]

SAMPLE_S = 2.2


def add_router_arguments(parser: argparse.ArgumentParser) -> None:
    """Which accounts, in which state: for every command that opens a router."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="accounts and settings (default: two embedded simulated brokers)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the embedded brokers (default: 0)")
    parser.add_argument(
        "--store",
        type=Path,
        metavar="FILE",
        help="journal and trade store (default: in memory of the run, gone with it)",
    )
    parser.add_argument("--quiet-market", action="store_true", help="no background flow of simulated reads and orders")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_router_arguments(parser)
    parser.add_argument("--read-only", action="store_true", help="show everything, change nothing")
    parser.add_argument("--json", action="store_true", help="print the report as JSON and exit")
    parser.add_argument("--report", action="store_true", help="print the report as text and exit, even on a terminal")


def run(arguments: argparse.Namespace) -> int:
    if arguments.json or arguments.report or not (sys.stdout.isatty() and sys.stdin.isatty()):
        import anyio

        settings = settings_of(arguments)
        snapshot = anyio.run(partial(_sample, settings, background=not arguments.quiet_market))
        return show(snapshot, as_json=arguments.json)
    return _screen(arguments)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that these arguments ask for."""
    from core import brokers
    from core.config import load_settings, simulated_settings

    if arguments.config is None:
        settings = simulated_settings(brokers.published_limits, embedded="wire")
    else:
        settings = load_settings(arguments.config, brokers.published_limits, os.environ)
    given = {name: getattr(arguments, name) for name in ("seed", "store") if getattr(arguments, name) is not None}
    return settings.model_copy(update=given)


async def _sample(settings: Settings, *, background: bool) -> RouterSnapshot:
    """A moment of routing, so that the report has something to say; a real account is only looked at."""
    import anyio

    from core.router import open_router
    from core.stress.background import play_background

    async with open_router(settings) as router:
        if background and settings.simulated:
            with anyio.move_on_after(SAMPLE_S):
                await play_background(router, settings.seed)
        return router.snapshot()


def show(snapshot: RouterSnapshot, *, as_json: bool) -> int:
    """Print a snapshot as a report or as JSON."""
    if as_json:
        from core.wire import to_json

        text = to_json(snapshot) + "\n"
    else:
        from tui.report import report_text

        text = report_text(snapshot)
    sys.stdout.write(text)
    return 0


def _screen(arguments: argparse.Namespace) -> int:
    """The first picture before anything else: what it takes to load and start the engine takes longer."""
    import time

    from tui.app import HeadroomApp
    from tui.starting import StartingPort

    # A file is read at once, for the colours and the keys, and so that a mistake in it is told on a clean terminal.
    known = None if arguments.config is None else settings_of(arguments)

    @contextmanager
    def engine() -> Iterator[RouterPort]:
        from core.collector import settle
        from core.stress.library import BUILT_IN
        from tui.live import open_live_port

        settings = known or settings_of(arguments)
        app.log_kept.hide(settings.secrets)
        app.scenarios = tuple((scenario.name, scenario.description) for scenario in BUILT_IN.values())
        with open_live_port(settings, background=not arguments.quiet_market) as port:
            # The first full collection stalls the loop for 42 ms; what lives as long as the app need not be looked at.
            settle()
            yield port

    port = StartingPort(engine, simulated=known is None or known.simulated, epoch_ns=time.time_ns())
    app = HeadroomApp(
        port,
        read_only=arguments.read_only,
        theme=(known.theme or None) if known else None,
        layout=(known.layout or None) if known else None,
        keymap=known.keys if known else None,
        bell=(known is None or bool(known.alerts.get("bell", True))) and not os.environ.get("NO_BELL"),
        after_first_paint=port.start,
    )
    try:
        app.run()
    finally:
        port.close()
    return app.return_code or 0
