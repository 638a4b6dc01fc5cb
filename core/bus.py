"""News inside one process: who publishes never waits, who listens slowly loses the oldest and can tell how many."""

from __future__ import annotations

from collections import deque

from .models import Event

__all__ = ["EventBus", "Subscription"]


class Subscription:
    """One listener's bounded queue. `dropped` counts what it was too slow for."""

    __slots__ = ("_events", "dropped")

    def __init__(self, capacity: int) -> None:
        self._events: deque[Event] = deque(maxlen=capacity)
        self.dropped = 0

    def put(self, event: Event) -> None:
        if len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(event)

    def drain(self) -> tuple[Event, ...]:
        """All events since the last call, oldest first."""
        events = tuple(self._events)
        self._events.clear()
        return events


class EventBus:
    """Hands every event to every subscription, at once and without an await."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []

    def subscribe(self, capacity: int = 4096) -> Subscription:
        subscription = Subscription(capacity)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)

    def publish(self, event: Event) -> None:
        for subscription in self._subscriptions:
            subscription.put(event)

    @property
    def dropped(self) -> int:
        """Events lost to slow listeners, all of them together."""
        return sum(subscription.dropped for subscription in self._subscriptions)
