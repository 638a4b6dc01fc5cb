"""`headroom simulate`: both brokers on a local port, for adapters, SDKs and curl to talk to."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError

if TYPE_CHECKING:
    from core.brokers.simulator.server import Simulator
    from core.brokers.simulator.settings import SimulatorSettings

__all__ = ["add_parser", "run"]

_EPILOG = """\
One address serves both brokers: Upstox at /v2 and /v3, Fyers at /api/v3 and /data. Nothing reaches a real account.

  GET  /_sim/referee   what each broker counted: accepted, refused, fullest windows, tags seen twice
  GET  /_sim/books     every order ever taken
  GET  /_sim/faults    the faults in force; POST replaces them (JSON of the same shape as the file)

A fault file:

  [latency]
  floor_ms = 5
  median_ms = 20

  [[fault]]
  kind = "reset_after_accept"
  broker = "upstox"             # both when left out
  operations = ["place_order"]  # all when left out
  rate = 0.01                   # or count = 3; neither: every request
  from_s = 10                   # after the start; until_s ends it
  delay_ms = 1000               # of slow, slow_body, late; of clock_skew: how far off the dates are

Kinds, by what happens to the request:
  never arrives   down (the port is closed from from_s until until_s), reset_before_read
  is taken        reset_after_accept, error_after_accept, hang, bad_json, wrong_type, unacknowledged
  is not taken    error_before_accept, storm_429, soft_429, firewall_429, token_expired, maintenance,
                  wrong_ip (orders only)
  is late         slow, slow_body, late (taken after the client has gone)
  is dated wrong  clock_skew
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "simulate",
        help="serve two simulated brokers on a local port",
        description="Serve two simulated brokers, Upstox and Fyers, over HTTP until interrupted.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=_port, default=8770, metavar="N", help="0 picks a free one (default: 8770)")
    parser.add_argument("--host", type=_host, default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1")
    parser.add_argument("--separate-ports", action="store_true", help="a further port for each broker")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="prices, fills and faults (default: 1)")
    parser.add_argument("--upstox-token", metavar="TOKEN", help="the access token that Upstox accepts")
    parser.add_argument("--fyers-client-id", metavar="APP", help="the app id that Fyers accepts")
    parser.add_argument("--fyers-token", metavar="TOKEN", help="the access token that Fyers accepts")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="TOML: latency and faults to play")
    parser.add_argument("--market-hours", action="store_true", help="trade on weekdays from 09:15 to 15:30 IST only")
    parser.add_argument(
        "--strict-block", action="store_true", help="Fyers: each call refused by the minute is a breach"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import anyio

    return anyio.run(_serve, _settings(arguments), arguments.faults)


def _settings(arguments: argparse.Namespace) -> SimulatorSettings:
    from core.brokers.simulator.exchange import ExchangeSettings
    from core.brokers.simulator.faults import FaultPlan, read_fault_file
    from core.brokers.simulator.settings import SimulatorSettings

    plan = FaultPlan() if arguments.faults is None else read_fault_file(arguments.faults)
    chosen = {
        name: value
        for name in ("upstox_token", "fyers_client_id", "fyers_token")
        if (value := getattr(arguments, name)) is not None
    }
    for name, value in chosen.items():
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise ConfigError(
                f"--{name.replace('_', '-')}: give printable ASCII without blanks, as it goes in a header"
            )
    return SimulatorSettings(
        host=arguments.host,
        port=arguments.port,
        separate_ports=arguments.separate_ports,
        seed=arguments.seed,
        faults=plan.faults,
        latency=plan.latency,
        strict_block=arguments.strict_block,
        exchange=ExchangeSettings(seed=arguments.seed, always_open=not arguments.market_hours),
        **chosen,
    )


async def _serve(settings: SimulatorSettings, faults: Path | None) -> int:
    import anyio

    from core.brokers.simulator.server import serve
    from core.collector import settled

    # From before the port opens on, so that a signal in between is not lost.
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        try:
            async with serve(settings) as simulator:
                _announce(simulator)
                with settled():
                    async for number in signals:
                        return 128 + number
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            raise ConfigError(f"cannot listen on {settings.host} port {settings.port}: {reason}") from error
        except ConfigError as error:  # what a server cannot show is only known to the server
            raise ConfigError(f"{faults}: {error}") from None
    return 0


def _announce(simulator: Simulator) -> None:
    settings = simulator.settings
    lines = [f"ready {simulator.base_url}"]
    if settings.separate_ports:
        lines += [f"{name} {url}" for name, url in simulator.base_urls.items()]
    lines += [
        f"upstox token {settings.upstox_token}",
        f"fyers client id {settings.fyers_client_id}",
        f"fyers token {settings.fyers_token}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535")
    return port


def _host(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the address is empty; 0.0.0.0 serves every network")
    return text
