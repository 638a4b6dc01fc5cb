"""The command `headroom`: arguments in, one subcommand run, exit code out. Nothing heavy is imported before its time.

Exit codes: 0 done, 1 a check or threshold failed, 2 usage, 128 + n ended by signal n.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from core.errors import HeadroomError

from .commands import SUBCOMMANDS, dashboard

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line, and where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Every subcommand and flag; `run` is the function to call with the parsed arguments."""
    parser = _Parser(
        prog="headroom",
        description="Monitor and order router for several retail broker APIs: keeps every limit, shows what is left.",
        epilog="Without a subcommand: the live dashboard; where stdout is no terminal, a report of the same content.",
    )
    parser.add_argument("--version", action="version", version=f"headroom {version('headroom')}")
    dashboard.add_arguments(parser)
    parser.set_defaults(run=dashboard.run)
    subparsers = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND")
    for module in SUBCOMMANDS:
        module.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except HeadroomError as error:
        print(f"headroom: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # `headroom | head`: the reader has what it wanted
        return 0
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
