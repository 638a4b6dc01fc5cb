"""The book knows at any time where each order is, and which of them somebody has to look after."""

from __future__ import annotations

from random import Random

import pytest

from core.engine.orders import AT_BROKER, LiveOrder, OrderBook
from core.models import ALLOWED_STEPS, FINAL, Order, OrderStatus

BROKERS = ("alpha", "beta", "gamma")


class Shop:
    """A book, and what happens to its orders: what engine and recorder do with them, at random."""

    def __init__(self, seed: int) -> None:
        self.book = OrderBook(recent_max=10)
        self.orders: list[LiveOrder] = []
        self.begun = 0
        self.rng = Random(seed)

    def step(self) -> None:
        self.rng.choice((self.begin, self.send, self.move, self.move, self.placed, self.cancel, self.reload))()

    def begin(self) -> None:
        self.begun += 1
        order = Order(symbol="NSE:SBIN-EQ", quantity=1, client_order_id=f"o{self.begun}")
        live = LiveOrder(order, self.begun)
        live.is_placing = self.rng.random() < 0.8
        live.is_claimed = not live.is_placing
        self.orders.append(live)
        if live.is_placing:
            self.book.begin(live)
        else:
            self.book.add(live)

    def any(self) -> LiveOrder:
        if not self.orders:
            self.begin()
        return self.rng.choice(self.orders[-20:])

    def send(self) -> None:
        live = self.any()
        if live.status is OrderStatus.NEW and live.is_placing:
            live.is_claimed, live.status = True, OrderStatus.SUBMITTING
            live.provider, live.attempt = self.rng.choice(BROKERS), live.attempt + 1
            live.tag = f"{live.id}-{live.attempt}"
            self.book.tagged(live)

    def move(self) -> None:
        live = self.any()
        after = sorted(ALLOWED_STEPS[live.status] - {OrderStatus.SUBMITTING})
        if after and live.is_claimed and (live.is_placing or OrderStatus.NEW not in after):
            live.status = self.rng.choice(after)
            if live.status in FINAL:
                self.book.ended(live)

    def placed(self) -> None:
        live = self.any()
        if live.is_placing:
            self.book.placed(live)
            if not live.is_claimed:
                self.orders.remove(live)

    def cancel(self) -> None:
        self.book.want_cancel(self.any())

    def reload(self) -> None:
        live = self.any()
        if live.is_claimed:
            self.book.reindex(live)


@pytest.mark.parametrize("seed", range(20))
def test_every_open_order_is_where_it_was_sent_last_and_is_watched_when_it_has_to_be(seed: int) -> None:
    shop = Shop(seed)
    for _ in range(400):
        shop.step()
        live_orders = [live for live in shop.orders if live.is_open]
        assert set(shop.book.open()) == set(live_orders)
        for name in BROKERS:
            there = [live for live in live_orders if live.provider == name]
            assert set(shop.book.open_at(name)) == set(there)
            assert set(shop.book.resting_at(name)) == {live for live in there if live.status in AT_BROKER}
        assert set(shop.book.providers()) == {live.provider for live in live_orders if live.provider}
        assert shop.book.watched() == [
            live for live in live_orders if live.cancel_wanted or not (live.is_placing or live.status in AT_BROKER)
        ]
