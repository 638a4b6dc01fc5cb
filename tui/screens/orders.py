"""The blotter: every order, newest first."""

from __future__ import annotations

from core.models import CancelAllOrders, CancelOrder, OrderRow

from ..keys import bindings
from ..view.export import Sheet, sheet_of
from ..view.frame import Frame
from ..view.orders import ORDER_COLUMNS, order_lines
from ..view.text import Line
from .dialogs import Ask, Confirm, typed
from .tabled import TabledScreen

__all__ = ["OrdersScreen"]


class OrdersScreen(TabledScreen[OrderRow]):
    """Orders, and what can still be done about them."""

    BINDINGS = bindings("orders")
    COLUMNS = ORDER_COLUMNS
    TABLE_TITLE = "orders"
    DETAIL_TITLE = "order"
    NOTHING = "no order yet"

    def key_of(self, row: OrderRow) -> str:
        return row.order_id

    def detail_lines(self, row: OrderRow, width: int) -> list[Line]:
        return order_lines(row, width)

    def rows_of(self, frame: Frame) -> tuple[OrderRow, ...]:
        return frame.snapshot.orders

    def sheet(self) -> Sheet:
        return sheet_of("orders", ORDER_COLUMNS, self.table.rows)

    def action_cancel(self) -> None:
        order = self.table.cursor_row
        if order is None:
            return

        def cancel(yes: bool | None) -> None:  # noqa: FBT001 - what a dialogue answers
            if yes:
                self.send(CancelOrder(order.order_id))

        self.app.push_screen(
            Confirm(
                f"Cancel {order.side} {order.quantity:,} {order.symbol}?",
                f"{order.order_id} at {order.provider or 'no broker yet'}: what is filled stays filled.",
            ),
            cancel,
        )

    def action_cancel_all(self) -> None:
        if self.frame is None:
            return
        snapshot = self.frame.snapshot
        question = f"Cancel all {snapshot.open_orders:,} open orders?"

        def cancel(answer: bool | str | None) -> None:  # noqa: FBT001 - what a dialogue answers
            if answer:
                self.send(CancelAllOrders())

        if snapshot.simulated:
            self.app.push_screen(Confirm(question, "It cannot be undone. What is filled stays filled."), cancel)
        else:
            self.app.push_screen(
                Ask(
                    question, "These are LIVE orders. Type CANCEL ALL.", accepts=typed("CANCEL ALL"), fault="CANCEL ALL"
                ),
                cancel,
            )
