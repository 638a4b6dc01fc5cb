"""The trade store for plain threads."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import StoreError
from ..models import Trade
from .sqlite import TradeStore
from .upkeep import StoreSize

__all__ = ["BlockingTradeStore"]


class BlockingTradeStore:
    """`TradeStore`, callable from many plain threads at once; a `with` block. `options` are those of `TradeStore`.

    The store lives on an event loop in a thread of its own. Writes of several threads share transactions.
    """

    def __init__(self, path: Path | str, **options: Any) -> None:
        self._store = TradeStore(path, **options)
        self._stack = ExitStack()
        self._entered: BlockingPortal | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio", name="headroom store"))
            stack.enter_context(portal.wrap_async_context_manager(self._store))
            self._entered = portal
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered = None
        self._stack.__exit__(exc_type, exc, traceback)

    @property
    def _portal(self) -> BlockingPortal:
        if self._entered is None:
            raise StoreError(f"{self._store.path}: the store is closed; use it inside its `with` block")
        return self._entered

    def store_trade(self, trade: Trade | object) -> None:
        """As `TradeStore.store_trade`."""
        self._store.asks.store_trade(trade).answer_for_thread()

    def update_trade_status(self, order_id: str, status: str) -> bool:
        """As `TradeStore.update_trade_status`."""
        return self._store.asks.update_trade_status(order_id, status).answer_for_thread()

    def get_recent_trades(self, limit: int = 100) -> list[Trade]:
        """As `TradeStore.get_recent_trades`."""
        return self._store.asks.get_recent_trades(limit).answer_for_thread()

    def get_trade_by_order_id(self, order_id: str) -> Trade | None:
        return self._store.asks.get_trade_by_order_id(order_id).answer_for_thread()

    def get_trades(
        self,
        *,
        symbol: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int | None = None,
    ) -> list[Trade]:
        """As `TradeStore.get_trades`."""
        return self._store.asks.get_trades(symbol, since_ns, until_ns, limit).answer_for_thread()

    def backup(self, target: Path | str) -> None:
        """As `TradeStore.backup`."""
        self._portal.call(self._store.backup, target)

    def integrity_check(self) -> tuple[str, ...]:
        """As `TradeStore.integrity_check`."""
        return self._portal.call(self._store.integrity_check)

    def size(self) -> StoreSize:
        """As `TradeStore.size`."""
        return self._portal.call(self._store.size)

    def retire(self, before_ns: int) -> int:
        """As `TradeStore.retire`."""
        return self._portal.call(self._store.retire, before_ns)

    def vacuum(self) -> None:
        """As `TradeStore.vacuum`."""
        self._portal.call(self._store.vacuum)
