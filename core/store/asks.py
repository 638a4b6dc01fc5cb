"""What the trade store can be asked, apart from who asks: a task that awaits, or a plain thread that blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ..clock import Clock
from ..models import Trade
from .lane import Lane
from .ledger import Ledger
from .reader import Query
from .rows import TRADE_COLUMNS, clean, trade_from_row, trade_row
from .writer import Work

__all__ = ["BY_ORDER", "BY_SYMBOL", "BY_TIME", "Ask", "Asks"]

T = TypeVar("T")

_RECENT: Final = f"SELECT {TRADE_COLUMNS} FROM trades ORDER BY id DESC LIMIT ?"
_PLACES: Final = "SELECT order_id, provider, broker_order_id FROM trades ORDER BY id DESC LIMIT ?"
BY_ORDER: Final = f"SELECT {TRADE_COLUMNS} FROM trades WHERE order_id = ?"
# The plus keeps SQLite from comparing as INTEGER, for which it would not use the index on an expression.
_IN_BLOCKS: Final = (
    f"SELECT {TRADE_COLUMNS} FROM blocks CROSS JOIN trades ON {{join}} "
    "WHERE last_ns >= ?1 AND first_ns < ?2 AND epoch_ns >= ?1 AND epoch_ns < ?2 {symbol}"
    "ORDER BY block DESC, id DESC LIMIT ?3"
)
BY_SYMBOL: Final = _IN_BLOCKS.format(join="trades.id >> 10 = +block", symbol="AND symbol = ?4 ")
BY_TIME: Final = _IN_BLOCKS.format(join="trades.id BETWEEN block << 10 AND (block << 10) + 1023", symbol="")
_EVER_NS: Final = -(2**63)
_FOREVER_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One thing asked: the lane that carries it, what is done there, and how the answer is read.

    What a lane answers may be shared with others who asked the same: `read` hands out what is the caller's own.
    """

    lane: Lane[Any]
    work: Any
    read: Callable[[Any], T]

    async def answer(self) -> T:
        return self.read(await self.lane.do(self.work))

    def answer_for_thread(self) -> T:
        """The same, for a thread other than the lane's loop's."""
        return self.read(self.lane.do_for_thread(self.work))


class Asks:
    """Each method checks its arguments at once and touches no file. What they mean stands at `TradeStore`."""

    def __init__(self, *, writes: Lane[Work], quick: Lane[Query], long: Lane[Query], clock: Clock) -> None:
        self._writes = writes
        self._quick = quick
        self._long = long
        self._clock = clock

    def store_trade(self, trade: Trade | object) -> Ask[None]:
        now_ns = self._clock.epoch_ns()
        return Ask(self._writes, (Ledger.put_trade, trade_row(trade, now_ns=now_ns), now_ns), _nothing)

    def update_trade_status(self, order_id: str, status: str) -> Ask[bool]:
        change = clean(order_id), clean(str(status))
        return Ask(self._writes, (Ledger.set_status, change, self._clock.epoch_ns()), bool)

    def get_recent_trades(self, limit: int) -> Ask[list[Trade]]:
        return Ask(self._quick, Query(_RECENT, (_at_most(limit),), _trades), list)

    def get_recent_places(self, limit: int) -> Ask[dict[str, tuple[str, str]]]:
        return Ask(self._quick, Query(_PLACES, (_at_most(limit),), _places), dict)

    def get_trade_by_order_id(self, order_id: str) -> Ask[Trade | None]:
        return Ask(self._quick, Query(BY_ORDER, (clean(order_id),), _trades), _first)

    def get_trades(
        self, symbol: str | None, since_ns: int | None, until_ns: int | None, limit: int | None
    ) -> Ask[list[Trade]]:
        values = (
            _EVER_NS if since_ns is None else since_ns,
            _FOREVER_NS if until_ns is None else until_ns,
            -1 if limit is None else _at_most(limit),
        )
        if symbol is None:
            return Ask(self._long, Query(BY_TIME, values, _trades), list)
        return Ask(self._long, Query(BY_SYMBOL, (*values, clean(symbol)), _trades), list)


def _trades(rows: list[Any]) -> tuple[Trade, ...]:
    return tuple(map(trade_from_row, rows))


def _places(rows: list[Any]) -> dict[str, tuple[str, str]]:
    return {order_id: (provider, broker_order_id) for order_id, provider, broker_order_id in rows}


def _first(trades: Sequence[Trade]) -> Trade | None:
    return trades[0] if trades else None


def _nothing(_: object) -> None:
    return None


def _at_most(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        message = f"limit is {limit!r}; give a whole number of at least 0"
        raise ValueError(message)
    return limit
