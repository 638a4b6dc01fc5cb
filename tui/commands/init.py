"""`headroom init`: a commented configuration to start from; an existing file is never overwritten."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

TEMPLATE = """\
# headroom. Every table and key but [brokers.NAME] is optional. Check it with: headroom check --config FILE
# This file may hold secrets: it was made readable by you alone. Better still, leave them out and set them in the
# environment, as HEADROOM_<ACCOUNT>_API_KEY, _API_SECRET or _ACCESS_TOKEN; there they win.

# store = "~/headroom.db"        # journal and trade store; default: in your state directory
# theme = "headroom-dark"
# layout = "balanced"            # or "limits", "activity"; l changes it on the screen

[brokers.fyers]                  # the name that the account is routed by
provider = "fyers"
client_id = ""                   # the app id with its suffix, such as ABCD1234EF-100
# api_secret = ""                # for `headroom login fyers`
# access_token = ""              # `headroom login fyers` fetches one each morning
# shared_counts = "~/fyers.ring" # programs of this machine that name one file keep the account's limits together

# [brokers.fyers.rate_limits]    # default: the published limits; a lower number leaves room for other programs
# requests_per_second = 8
# requests_per_minute = 180

[brokers.upstox]
provider = "upstox"
client_id = ""                   # the API key
# algo_name = ""                 # an algo registered at the exchange: 50 orders a second instead of 10
# api_secret = ""
# access_token = ""

# [instruments]                  # the brokers' own symbol files; without them only a few symbols are known
# fyers = ["NSE_CM.csv"]
# upstox = ["NSE.json.gz"]

# [keys]                         # other keys, by the id of the command; `headroom config` says when one cannot be
# "app.freeze" = "f9"

# [routing]
# fallback_chain = ["fyers", "upstox"]
# deadline_ms = 30000            # how long a request may wait for a permit

# [routing.routing_rules.get_market_data]
# prefer = ["upstox"]            # or: pin = "upstox", exclude = ["fyers"], weights = { upstox = 2.0 }

# [guards]                       # our own checks, before anything is sent
# quantity_max = 1000
# value_max = 500000             # rupees
# price_band = 0.05              # of the last quote
# symbols = ["NSE:SBIN-EQ"]
# orders_per_second = 10         # over all brokers together
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("init", help="write a commented configuration", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("headroom.toml"), help="default: headroom.toml")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from core.errors import ConfigError

    path: Path = arguments.file
    try:
        # Exclusive and 0600 from its first byte: it is about to hold secrets.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        message = f"{path} exists already; name another file, or move it away"
        raise ConfigError(message) from None
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror}"
        raise ConfigError(message) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(TEMPLATE)
    print(f"{path} written; fill in the accounts, then: headroom check --config {path}")
    return 0
