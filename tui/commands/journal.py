"""`headroom journal`: check, show, export or replay the order journal of a store. Knows no screen."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import HeadroomError, StoreCorrupt, StoreError

if TYPE_CHECKING:
    from core.models import StoryStep
    from core.store import JournaledOrder, TradeStore

__all__ = ["add_parser", "run"]

_OK: Final = 0
_FAILED: Final = 1
_USAGE: Final = 2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `journal` and its four actions."""
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--store", type=Path, metavar="PATH", help="the store's file (default: the one headroom uses)")
    journal = subparsers.add_parser(
        "journal",
        help="check, show, export or replay the order journal",
        description="The order journal: what was about to be sent, and what came of it. Exit code 0: well; "
        "1: verify found a fault; 2: it could not be done.",
    )
    journal.set_defaults(run=run)
    actions = journal.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "verify",
        parents=[place],
        help="check every checksum, and the trade store against the journal",
        description="Check every page, every checksum, both ends of the journal, and that the trade store is what the "
        "journal makes of it. Changes nothing.",
    )
    actions.add_parser(
        "rebuild",
        parents=[place],
        help="make the trade store's journaled rows anew from the journal",
        description="Make the journaled rows of the trade store anew from the journal, in one transaction. Rows that "
        "were stored by hand stay as they are.",
    )
    show = actions.add_parser(
        "show",
        parents=[place],
        help="tell the story of one order",
        description="Tell how an order stands and all that was journaled about it.",
    )
    show.add_argument("order", metavar="ORDER", help="the client order id")
    export = actions.add_parser(
        "export",
        parents=[place],
        help="write every entry to a CSV file",
        description="Write every entry to a CSV file, oldest first.",
    )
    export.add_argument("--csv", type=Path, required=True, metavar="FILE", help="the file to write")


def run(args: argparse.Namespace) -> int:
    """Do what `args` say: 0 when all is well, 1 when verify failed, 2 when it could not be done."""
    import asyncio

    try:
        path = args.store or _default_path()
        if not path.is_file():
            raise StoreError(f"{path}: no store there; name one with --store PATH")
        return asyncio.run(_run(args, path))
    except StoreCorrupt as error:
        print(f"headroom journal: {_printable(str(error))}", file=sys.stderr)
        return _FAILED if args.action == "verify" else _USAGE
    except HeadroomError as error:
        print(f"headroom journal: {_printable(str(error))}", file=sys.stderr)
        return _USAGE


def _default_path() -> Path:
    from core.config import default_store_path

    return default_store_path()


async def _run(args: argparse.Namespace, path: Path) -> int:
    from core.store import TradeStore

    async with TradeStore(path) as store:
        if args.action == "verify":
            return await _verify(store)
        if args.action == "rebuild":
            count = await store.journal.rebuild()
            print(f"{path}: trade store rebuilt from {_count(count, 'entry', 'entries')}")
        elif args.action == "export":
            count = await store.journal.export_csv(args.csv)
            print(f"{args.csv}: {_count(count, 'entry', 'entries')} written")
        else:
            return await _show(store, args.order)
    return _OK


async def _verify(store: TradeStore) -> int:
    problems = list(await store.integrity_check())
    verdict = await store.journal.verify()
    problems += verdict.problems
    for problem in problems:
        print(f"{store.path}: {_printable(problem)}")
    if problems:
        return _FAILED
    entries, orders = _count(verdict.entries, "entry", "entries"), _count(verdict.orders, "order", "orders")
    print(f"{store.path}: sound; {entries}, {orders}")
    return _OK


async def _show(store: TradeStore, order_id: str) -> int:
    from core.store import steps_of

    order = await store.journal.order(order_id)
    if order is None:
        raise StoreError(f"{store.path}: no order {order_id}; headroom journal export lists all")
    steps = steps_of(await store.journal.story(order_id))
    print("\n".join((*_head(order), "", *(_line(step) for step in steps))))
    return _OK


def _head(order: JournaledOrder) -> tuple[str, ...]:
    wanted = order.order
    price = "" if wanted.price is None else f" at {wanted.price}"
    where = f" at {order.provider} as {order.broker_order_id or '?'} (tag {order.tag})" if order.provider else ""
    simulated = " SIMULATED" if order.simulated else ""
    filled = f"{order.filled_quantity} of {wanted.quantity} filled"
    average = f" at {order.average_price}" if order.filled_quantity else ""
    return tuple(
        _printable(line)
        for line in (
            f"{order.order_id}: {order.status.value}{simulated}",
            f"  {wanted.side.value} {wanted.quantity} {wanted.symbol} {wanted.order_type.value}{price}",
            f"  attempt {order.attempt}{where}; {filled}{average}",
        )
    )


def _line(step: StoryStep) -> str:
    seconds, rest_ns = divmod(step.epoch_ns, 1_000_000_000)
    when = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest_ns:09d}Z"
    return _printable(f"{step.serial:>8}  {when}  {step.kind:<14} {step.text}".rstrip())


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _printable(text: str) -> str:
    """`text` without anything that would move a terminal's cursor: brokers wrote parts of it."""
    return "".join(char if char.isprintable() else "?" for char in text)
