"""The blotter: every order, newest first."""

from __future__ import annotations

from textual import work

from core.errors import HeadroomError
from core.models import AskStory, CancelAllOrders, CancelOrder, OrderRow, OrderStory

from ..keys import bindings
from ..view.frame import Frame
from ..view.orders import ORDER_COLUMNS, order_lines
from ..view.text import Line
from ..view.ticket import Draft
from .dialogs import Ask, Confirm, typed
from .story import StoryScreen
from .tabled import TabledScreen
from .ticket import TicketScreen

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

    @property
    def _is_live(self) -> bool:
        return self.frame is None or not self.frame.snapshot.simulated

    @property
    def _brokers(self) -> tuple[str, ...]:
        return tuple(broker.name for broker in self.frame.snapshot.brokers) if self.frame else ()

    @property
    def _is_past(self) -> bool:
        """Whether what stands here is over: nothing can be ordered then, and the operator is told."""
        if self.headroom.timeline.past:
            self.headroom.say("this is the past: no order can be written; N goes back to now", failed=True)
        return self.headroom.timeline.past

    def action_ticket(self) -> None:
        if self._is_past:
            return
        self.app.push_screen(TicketScreen(Draft(), live=self._is_live, brokers=self._brokers))

    @work(exclusive=True, group="story")
    async def action_modify(self) -> None:
        story = None if self._is_past else await self._story_in_hand()
        if story is None:
            return
        if story.status not in {"ACCEPTED", "PARTIALLY_FILLED"}:
            self.headroom.say(f"it is {story.status.value}; only a resting order can be changed", failed=True)
            return
        draft = Draft.of(story.terms, story.provider)
        self.app.push_screen(TicketScreen(draft, terms=story.terms, live=not story.simulated, brokers=self._brokers))

    @work(exclusive=True, group="story")
    async def action_story(self) -> None:
        story = await self._story_in_hand()
        if story is not None:
            self.app.push_screen(StoryScreen(story))

    async def _story_in_hand(self) -> OrderStory | None:
        order = self.table.cursor_row
        if order is None:
            return None
        try:
            return await self.headroom.ask(AskStory(order.order_id))
        except HeadroomError as error:
            self.headroom.say(str(error), failed=True)
            return None

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
        question = f"Cancel all {self.frame.snapshot.open_orders:,} open orders?"

        def cancel(answer: bool | str | None) -> None:  # noqa: FBT001 - what a dialogue answers
            if answer:
                self.send(CancelAllOrders())

        if self._is_live:
            self.app.push_screen(
                Ask(
                    question, "These are LIVE orders. Type CANCEL ALL.", accepts=typed("CANCEL ALL"), fault="CANCEL ALL"
                ),
                cancel,
            )
        else:
            self.app.push_screen(Confirm(question, "It cannot be undone. What is filled stays filled."), cancel)
