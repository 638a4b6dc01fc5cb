"""load_balance_efficiency: work done, divided by the most that the free headroom could have done on the same demand.

Time is cut into slices of about a second. In one slice

- demand is what was asked, and what still waited from before;
- work done is what left for a broker;
- room is, per healthy broker, what left for it plus what its windows still had free at the end of the slice;
- the most that could have been done is the water-filling of the demand into the rooms (`most`).

Efficiency is the sum of work done over the sum of the most, over the last minute. It is 1 when nothing could have been
placed better: when all demand was served, and also when every window was full. It falls only where a request waited
for one broker while another had headroom for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from ..clock import MINUTE, SECOND
from ..models import WindowRoom

__all__ = ["Counting", "EfficiencyMeter", "Room", "most", "room_of"]


class Counting(NamedTuple):
    """Which windows of a broker count each category, and which count all of them, by their place among its rooms."""

    of: Mapping[str, tuple[int, ...]]
    together: tuple[int, ...]


class Room(NamedTuple):
    """How many requests one broker can take: per category, and of all categories together."""

    of: Mapping[str, int]
    together: int


def room_of(rooms: Sequence[WindowRoom], counting: Counting) -> Room:
    """The room of one broker: what its windows have free.

    >>> a_budget_of_orders_within_one_of_all = Counting({"orders": (0, 1), "reads": (0,)}, (0,))
    >>> room_of([(8, 10, SECOND), (3, 10, SECOND)], a_budget_of_orders_within_one_of_all)
    Room(of={'orders': 3, 'reads': 8}, together=8)
    >>> room_of([(3, 10, SECOND), (5, 10, SECOND)], Counting({"orders": (0,), "reads": (1,)}, ()))
    Room(of={'orders': 3, 'reads': 5}, together=8)
    """
    of: dict[str, int] = {}
    together = 0
    for category, places in counting.of.items():
        least: int | None = None
        for place in places:  # min() over a comprehension costs three times as much
            free = rooms[place][0]
            if least is None or free < least:
                least = free
        of[category] = least or 0
        together += least or 0
    for place in counting.together:
        free = rooms[place][0]
        if free < together:  # noqa: PLR1730 - as above
            together = free
    return Room(of, together)


def most(demand: Mapping[str, int], rooms: Sequence[Room]) -> int:
    """The most requests of `demand` that fit into `rooms`: water-filling, as a smallest cut.

    Two brokers with 10 and 5 permits can do 12 of 12 and 15 of 20:

    >>> rooms = [Room({"reads": 10}, 10), Room({"reads": 5}, 5)]
    >>> most({"reads": 12}, rooms), most({"reads": 20}, rooms)
    (12, 15)

    One broker takes 8 of anything, but only 3 orders; the other takes only reads. Of 6 orders and 4 reads, 3 orders
    must be left:

    >>> most({"orders": 6, "reads": 4}, [Room({"orders": 3, "reads": 8}, 8), Room({"reads": 4}, 4)])
    7

    No demand and no room are no loss:

    >>> most({}, rooms), most({"reads": 3}, [])
    (0, 0)
    """
    categories = list(demand)
    best = sum(demand.values())
    # Each set of categories may be cut at the brokers instead of at the demand; two categories make four cuts.
    for size in range(1, len(categories) + 1):
        for cut in combinations(categories, size):
            held = sum(min(sum(room.of.get(category, 0) for category in cut), room.together) for room in rooms)
            best = min(best, held + sum(demand[category] for category in categories if category not in cut))
    return best


_NO_ROOM: Final = Room({}, 0)


class EfficiencyMeter:
    """Efficiency over the last `span_ns`, learned request by request.

    A request is told of twice at most: `asked` when it comes, then `routed` when it leaves for a broker or `gave_up`
    when it never will; or once, `routed_at_once`. `tick` closes a slice when one is due.

    >>> meter = EfficiencyMeter()
    >>> def reads(n):
    ...     return Room({"reads": n}, n)
    >>> meter.value is None
    True

    Twelve are asked. Ten leave for a, two wait there, although b has 5 permits free: 10 of 12.

    >>> for n in range(12):
    ...     meter.asked("reads")
    >>> for n in range(10):
    ...     meter.routed("reads", "a")
    >>> meter.tick(0, {})
    >>> meter.tick(SECOND, {"a": reads(0), "b": reads(5)})
    >>> round(meter.value, 3)
    0.833

    In the next second b has nothing free either. The two go on waiting: nothing could have been placed better.

    >>> meter.tick(2 * SECOND, {"a": reads(0), "b": reads(0)})
    >>> round(meter.value, 3)
    0.833
    """

    __slots__ = ("_done", "_most", "_slice_at_ns", "_slice_ns", "_slices", "_span_ns", "_waiting", "_work")

    def __init__(self, *, slice_ns: int = SECOND, span_ns: int = MINUTE) -> None:
        self._slice_ns = slice_ns
        self._span_ns = span_ns
        self._waiting: dict[str, int] = {}
        self._done: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._slices: deque[tuple[int, int, int]] = deque()
        self._slice_at_ns: int | None = None
        self._work = 0
        self._most = 0

    @property
    def value(self) -> float | None:
        """0..1; None until a slice with demand and room has passed, and when the last one is older than the span."""
        return min(1.0, self._work / self._most) if self._most else None

    def asked(self, category: str, cost: int = 1) -> None:
        """A request of `cost` permits wants to go somewhere."""
        self._waiting[category] = self._waiting.get(category, 0) + cost

    def routed(self, category: str, name: str, cost: int = 1) -> None:
        """It has left for the broker `name`."""
        self._waiting[category] = max(0, self._waiting.get(category, 0) - cost)
        self.routed_at_once(category, name, cost)

    def routed_at_once(self, category: str, name: str, cost: int = 1) -> None:
        """It came and has left for the broker `name` without a wait: it need not have been `asked`."""
        self._done[name][category] += cost

    def gave_up(self, category: str, cost: int = 1) -> None:
        """It will never leave: denied, cancelled or past its deadline."""
        self._waiting[category] = max(0, self._waiting.get(category, 0) - cost)

    def due(self, now_ns: int) -> bool:
        """Whether `tick` would close a slice now; the first look begins one."""
        if self._slice_at_ns is None:
            self._slice_at_ns = now_ns
        return now_ns - self._slice_at_ns >= self._slice_ns

    def tick(self, now_ns: int, rooms: Mapping[str, Room]) -> None:
        """Close the slice if it is due. `rooms`: what each healthy broker has free now."""
        if not self.due(now_ns):
            return
        demand = dict(self._waiting)
        for done in self._done.values():
            for category, cost in done.items():
                demand[category] = demand.get(category, 0) + cost
        # What left for a broker was room too, also for one that has fallen ill since.
        could_take = [room for name, room in rooms.items() if name not in self._done]
        for name, done in self._done.items():
            room = rooms.get(name, _NO_ROOM)
            of = {category: room.of.get(category, 0) + done.get(category, 0) for category in {*room.of, *done}}
            could_take.append(Room(of, room.together + sum(done.values())))
        work = sum(sum(done.values()) for done in self._done.values())
        could = max(work, most(demand, could_take))
        self._slices.append((now_ns, work, could))
        self._work += work
        self._most += could
        while self._slices and self._slices[0][0] <= now_ns - self._span_ns:
            _, work, could = self._slices.popleft()
            self._work -= work
            self._most -= could
        self._slice_at_ns = now_ns
        self._done.clear()
