"""`headroom config`: every option as it is in force, and with --explain which source set it."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from . import dashboard

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "config",
        help="show every option in force, and which source set it",
        description="Shows every option as it is in force. With --explain also what set it: a default, the file, the "
        "environment or a flag. Secrets show as set or unset only.",
    )
    parser.add_argument("--explain", action="store_true", help="say for each option what set it")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    dashboard.add_router_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from core.explain import explain
    from tui.keys import check_keymap

    settings = dashboard.settings_of(arguments)
    check_keymap(settings.keys)
    flags = {"seed": arguments.seed, "store": arguments.store, "embedded": None}
    options = explain(settings, path=arguments.config, flags=flags, environ=os.environ)
    if arguments.json:
        rows = [{"option": row.name, "value": row.value, "source": row.source} for row in options]
        print(json.dumps(rows if arguments.explain else {row["option"]: row["value"] for row in rows}, indent=2))
        return 0
    wide = max(len(row.name) for row in options)
    value_wide = min(40, max(len(row.value) for row in options))
    for row in options:
        line = f"{row.name:<{wide}}  {row.value:<{value_wide}}"
        print(f"{line}  {row.source}" if arguments.explain else line.rstrip())
    return 0
