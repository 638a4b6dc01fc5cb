"""Who publishes never waits; who listens slowly loses the oldest and can tell how many."""

from __future__ import annotations

from core.bus import EventBus
from core.models import Incident, OrderMoved, OrderStatus, RequestDone


def news(number: int) -> Incident:
    return Incident(at_ns=number, kind="test", provider="", message="")


def test_every_listener_gets_everything_in_order() -> None:
    bus = EventBus()
    first, second = bus.subscribe(), bus.subscribe()
    for number in range(3):
        bus.publish(news(number))
    assert [event.at_ns for event in first.drain()] == [0, 1, 2]
    assert [event.at_ns for event in second.drain()] == [0, 1, 2]
    assert first.drain() == ()


def test_a_slow_listener_loses_the_oldest_and_they_are_counted() -> None:
    bus = EventBus()
    slow = bus.subscribe(capacity=2)
    for number in range(5):
        bus.publish(news(number))
    assert [event.at_ns for event in slow.drain()] == [3, 4]
    assert slow.dropped == bus.dropped == 3


def test_who_has_left_hears_nothing() -> None:
    bus = EventBus()
    gone = bus.subscribe()
    bus.unsubscribe(gone)
    bus.publish(news(1))
    assert gone.drain() == ()


def test_who_names_kinds_hears_no_others() -> None:
    bus = EventBus()
    every, some = bus.subscribe(), bus.subscribe(kinds=(RequestDone, Incident))
    moved = OrderMoved(at_ns=1, order_id="a", before=OrderStatus.NEW, after=OrderStatus.DENIED)
    done = RequestDone(at_ns=2, provider="b", operation="login", outcome="ok", wait_ns=0, latency_ns=1)
    for event in (moved, done, news(3)):
        bus.publish(event)
    assert bus.hears(OrderMoved)
    assert every.drain() == (moved, done, news(3))
    assert some.drain() == (done, news(3))
    bus.unsubscribe(every)
    assert bus.hears(RequestDone)
    assert not bus.hears(OrderMoved)
    bus.unsubscribe(some)
    bus.publish(done)
    assert some.drain() == ()


def test_only_what_was_not_fetched_in_time_counts_as_dropped() -> None:
    bus = EventBus()
    slow = bus.subscribe(capacity=2)
    for number in range(7):
        bus.publish(news(number))
        if number == 3:
            slow.drain()
    assert [event.at_ns for event in slow.drain()] == [5, 6]
    assert slow.dropped == bus.dropped == 3
