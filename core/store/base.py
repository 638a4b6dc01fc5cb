"""What headroom asks of a trade store; the same tests run over every one."""

from __future__ import annotations

from typing import Protocol

from ..models import Trade

__all__ = ["TradeStoreProtocol"]


class TradeStoreProtocol(Protocol):
    """Orders as rows. A write that has returned is durable."""

    async def store_trade(self, trade: Trade) -> None:
        """Insert, or replace the row of the same `order_id`."""
        ...

    async def get_recent_trades(self, limit: int = 100) -> list[Trade]:
        """The newest rows, newest first."""
        ...

    async def update_trade_status(self, order_id: str, status: str) -> bool:
        """Set the status; False when no such row exists."""
        ...

    async def get_trade_by_order_id(self, order_id: str) -> Trade | None: ...
