"""News inside one process: who publishes never waits, who listens slowly loses the oldest and can tell how many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from .models import Event, Incident, OrderIntended, OrderMoved, RequestDone

__all__ = ["EventBus", "Subscription"]

_EVERY: Final[tuple[type[Event], ...]] = (OrderIntended, OrderMoved, RequestDone, Incident)


class Subscription:
    """One listener's bounded queue. `dropped` counts what it was too slow for."""

    __slots__ = ("_drained", "_events", "_heard")

    def __init__(self, capacity: int) -> None:
        self._events: deque[Event] = deque(maxlen=capacity)
        self._heard = 0
        self._drained = 0

    @property
    def dropped(self) -> int:
        return self._heard - self._drained - len(self._events)

    def drain(self) -> tuple[Event, ...]:
        """All events since the last call, oldest first."""
        events = tuple(self._events)
        self._events.clear()
        self._drained += len(events)
        return events


class EventBus:
    """Hands every event to whoever listens to its kind, at once and without an await."""

    def __init__(self) -> None:
        self._listeners: dict[type[Event], list[Subscription]] = {kind: [] for kind in _EVERY}
        self._subscriptions: list[Subscription] = []
        # Who listens to a kind, often nobody: what comes with every order need not be made then. The dict's own method,
        # because it is asked for every order too.
        self.hears: Callable[[type[Event]], Collection[Subscription]] = self._listeners.__getitem__

    def subscribe(self, capacity: int = 4096, *, kinds: Collection[type[Event]] = _EVERY) -> Subscription:
        """The events of these kinds, from now on."""
        subscription = Subscription(capacity)
        self._subscriptions.append(subscription)
        for kind in kinds:
            self._listeners[kind].append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)
        for listeners in self._listeners.values():
            if subscription in listeners:
                listeners.remove(subscription)

    def publish(self, event: Event) -> None:
        for subscription in self._listeners[type(event)]:
            # Counted here and in `drain`: several events come with every order, and a call for each costs more.
            subscription._events.append(event)
            subscription._heard += 1

    @property
    def dropped(self) -> int:
        """Events lost to slow listeners, all of them together."""
        return sum(subscription.dropped for subscription in self._subscriptions)
