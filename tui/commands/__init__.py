"""One file per subcommand: `add_parser(subparsers)`, `run(arguments) -> exit code`. None imports Textual at its top."""

from __future__ import annotations

from . import check, config, init, journal, login, record, replay, simulate, stress

__all__ = ["SUBCOMMANDS"]

SUBCOMMANDS = (record, replay, stress, simulate, journal, login, check, config, init)
