"""`headroom replay FILE`: a recording on the same screens; as text or JSON where there is no terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import dashboard

if TYPE_CHECKING:
    from core.replay import Recording, ReplayRouter

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="show a recording on the same screens",
        description="Show a recording, made with `headroom record FILE` or with R on the screen. P plays and pauses, "
        "the arrow keys step, J goes to a moment, ? shows the rest.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--at", metavar="MOMENT", help="begin there: 3m before the end, +2m from the start, 12:03:10, start or end"
    )
    parser.add_argument(
        "--speed", type=int, choices=(1, 2, 5, 10, 20, 60), help="play at once, so many times as fast as it happened"
    )
    parser.add_argument("--theme", metavar="NAME", help="colours of the screen")
    parser.add_argument("--json", action="store_true", help="print that moment as JSON and exit (default: the end)")
    parser.add_argument("--report", action="store_true", help="print that moment as text and exit (default: the end)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import time

    from core.replay import ReplayRouter, open_recording

    recording = open_recording(arguments.file)
    track = recording.track
    as_text = arguments.json or arguments.report or not (sys.stdout.isatty() and sys.stdin.isatty())
    router = ReplayRouter(track, now_ns=time.perf_counter_ns, simulated=recording.simulated, start_ns=track.first_ns)
    router.seek(_moment_ns(arguments.at or ("end" if as_text else "start"), recording))
    if recording.cut_short:
        print(f"headroom: {arguments.file}: {recording.cut_short}; it plays up to there", file=sys.stderr)
    if as_text:
        return dashboard.show(router.snapshot(), as_json=arguments.json)
    return _screen(arguments, router, recording)


def _moment_ns(text: str, recording: Recording) -> int:
    from core.errors import ConfigError
    from tui.view.moments import moment_ns

    track = recording.track
    try:
        return moment_ns(text, track.first_ns, track.last_ns, track.at(track.last_ns).epoch_ns)
    except ValueError as error:
        message = f"--at: {error}"
        raise ConfigError(message) from None


def _screen(arguments: argparse.Namespace, router: ReplayRouter, recording: Recording) -> int:
    from core.collector import settle
    from tui.app import HeadroomApp

    if arguments.speed is not None:
        router.play(arguments.speed)
    app = HeadroomApp(router, theme=arguments.theme, recording=str(recording.path), after_first_paint=settle)
    app.run()
    return app.return_code or 0
