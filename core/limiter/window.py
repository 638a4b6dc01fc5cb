"""The arithmetic of the windows, anchored at the response: now, or when. No clock, no await, no allocation per request.

The scheme. A permit takes its place in every window when it is granted and keeps it until one stretched window after
its response (its *anchor*). Whoever asks counts what is in flight plus the anchors younger than the stretched window.

Proof that no broker sees more than its limit. Let request i be granted at g, sent at s, arrive at x, and its response
be read at r, all on our monotonic clock: g_i <= s_i <= x_i <= r_i. It holds its place during [g_i, r_i + W'), where W'
is the window W stretched by 200 ppm, so that W' is longer than W on any clock that drifts by less than that. Take any
arrival j and the arrivals i that the broker counts with it: those with x_j - W <= x_i <= x_j (both ends counted; it
does not matter whether the broker counts them). For each of them

    g_i <= x_i <= x_j                     so it had taken its place by x_j, and
    x_j <= x_i + W <= r_i + W < r_i + W'  so it had not yet given it up at x_j.

All of them, j included, hold places at the one instant x_j, and a place is given only while fewer than `limit` are
held. So there are at most `limit` of them, whatever the delays were and in whatever order requests and responses
overtook each other. A broker that counts in fixed windows is covered too: each of its windows is one of length W.

What the proof needs, and where it is kept: a permit that was never sent is given back and counts nowhere (no arrival);
one without an answer stays in flight until it can no longer arrive and is anchored there (x_i <= that instant); an
anchor is never moved to an earlier time than it was given (anchors are kept in order by moving late ones up).

Why one look is enough. Anchors stand in one ring in their order. A request of cost c fits a window exactly when at most
`limit - in_flight - c` anchors are younger than W', that is, when the anchor that stands `limit - in_flight - c + 1`
places back is not. The same anchor says when it will fit. One ring serves every window of a budget: a shorter window
looks at a nearer place.

Why even fewer looks do. An anchor that is older than a window stays older: a place that a window once had room for it
has room for until it is taken. So the shorter windows, which have room most of the time, are looked at several places
ahead, and not again before those are taken. The longest one may stay full for hours, with one place coming free at a
time, so it is looked at for each request: a full day costs no more than an empty one.

Why counting is seldom a search. An anchor that has left a window never comes back into it, and those that come later
leave later. So what a window has left changes with what is taken, and not with time until its oldest anchor leaves: a
subtraction tells it (`Tally`), and only then the ring is searched for the next oldest.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from ..models import Budget, Rate

__all__ = ["DRIFT_PPM", "NEVER", "SlidingWindows", "stretch"]

NEVER: Final = -(1 << 62)
"""The anchor of a place that was never taken: older than any window."""

DRIFT_PPM: Final = 200
"""By how much a broker's clock may be slow against ours. Crystals keep 100 ppm; both ends together 200."""


def stretch(window_ns: int) -> int:
    """The window as we keep it: longer by 200 ppm and by at least 1 ns, so that both its ends may count."""
    return window_ns + window_ns * DRIFT_PPM // 1_000_000 + 1


class Tally:
    """One window as it was last counted: `spare - taken` of its `limit` are free until its oldest anchor `leaves_ns`.

    The one that has no anchor is counted at each look: the next one may be any age.
    """

    __slots__ = ("leaves_ns", "limit", "span_ns", "spare", "window_ns")

    def __init__(self, limit: int, span_ns: int, window_ns: int, spare: int) -> None:
        self.limit = limit
        self.span_ns = span_ns
        self.window_ns = window_ns
        self.spare = spare
        self.leaves_ns = NEVER


class SlidingWindows:
    """The windows of one budget over one ring of anchors, and what is in flight in all of them.

    `ring` holds int64 monotonic nanoseconds, oldest first from `head` on; it is made here (8 bytes for each permit of
    the largest limit) unless the counts live elsewhere and their owner hands it in. `newest_ns` is the latest of them,
    NEVER when there is none. `taken` counts on from `head`: the places between the two are in flight. `spans` are pairs
    (limit, stretched window) of what may be used now, `rates` the limits as values, `tallies` the counts, in the same
    order; empty until somebody wants to count. `opens_ns` is when the gate opens that a refusal has closed;
    `shut_until` sets it.
    """

    __slots__ = (
        "_capacity",
        "_known",
        "_longest",
        "_longest_ns",
        "_shorter",
        "budget",
        "head",
        "largest_cost",
        "newest_ns",
        "opens_ns",
        "rates",
        "ring",
        "share",
        "spans",
        "taken",
        "tallies",
    )

    def __init__(self, budget: Budget, ring: memoryview[int] | None = None) -> None:
        self.budget = budget
        self._capacity = max(rate.permits for rate in budget.rates)
        self.ring: array[int] | memoryview[int] = self.empty_ring(self._capacity) if ring is None else ring
        self.resume(0, 0, NEVER)
        self.set_share(1.0)

    @staticmethod
    def empty_ring(places: int) -> array[int]:
        """Places that were never taken."""
        return array("q", [NEVER]) * places

    @property
    def capacity(self) -> int:
        """Anchors that the ring holds: the largest limit."""
        return self._capacity

    def resume(self, head: int, in_flight: int, opens_ns: int) -> None:
        """Go on from where the ring was left, or changed, by somebody else."""
        self.head = head
        self.taken = head + in_flight
        self.newest_ns = self.ring[head - 1]
        self.opens_ns = opens_ns
        self._known = head
        self.tallies: tuple[Tally, ...] = ()

    @property
    def in_flight(self) -> int:
        """Places taken and not yet given an anchor."""
        return self.taken - self.head

    def shut_until(self, at_ns: int) -> None:
        """Let nothing through before `at_ns`; never opens a closed gate sooner."""
        self.opens_ns = max(self.opens_ns, at_ns)
        self._look_anew()

    def set_share(self, share: float) -> None:
        """Use only this share of every limit, and at least 1 permit of each."""
        self.share = share
        self.spans = tuple((self.limit(rate), stretch(rate.window_ns)) for rate in self.budget.rates)
        self.largest_cost = min(limit for limit, _ in self.spans)
        self.rates = tuple(Rate(self.limit(rate), rate.window_ns) for rate in self.budget.rates)
        *shorter, longest = sorted((span_ns, limit + 1) for limit, span_ns in self.spans)
        self._shorter = tuple(shorter)
        self._longest_ns, self._longest = longest
        self.tallies = ()
        self._look_anew()

    def limit(self, rate: Rate) -> int:
        """The permits of `rate` that may be used now."""
        return max(1, int(rate.permits * self.share))

    def take(self, cost: int, now_ns: int) -> int:
        """Take `cost` places: 0, or -1 when they are not all free at this instant. The hot path."""
        place = self.taken + cost
        if place > self._known and not self._look_ahead(place, now_ns):
            return -1
        # Never below -capacity: a negative index is the same place of the ring, counted from its other end.
        if self.ring[place - self._longest] > now_ns - self._longest_ns:
            return -1
        self.taken = place
        return 0

    def _look_ahead(self, place: int, now_ns: int) -> bool:
        """Whether the gate and all windows but the longest let `place` be taken; remembers how much further they do."""
        last = self.head + self.largest_cost  # beyond it everything hangs on what is in flight
        if place > last or now_ns < self.opens_ns:
            return False
        known = place + 3 * (last - place) // 4
        ring = self.ring
        for span_ns, limit_plus_1 in self._shorter:
            if ring[known - limit_plus_1] > now_ns - span_ns:
                if ring[place - limit_plus_1] > now_ns - span_ns:
                    return False
                # In heavy use: how far it lets them is counted, or every request would have to look.
                limit = limit_plus_1 - 1
                known = self.head + limit - self.younger(now_ns - span_ns, limit)
        self._known = known
        return True

    def _look_anew(self) -> None:
        self._known = self.head

    def give_back(self, cost: int, ticket: int = 0) -> None:  # noqa: ARG002 - a ticket matters where counts are shared
        """Undo a take."""
        self.taken -= cost

    def settle(self, cost: int, anchor_ns: int, ticket: int = 0) -> None:  # noqa: ARG002 - as above
        """End a take: its places are free one stretched window after `anchor_ns`."""
        if anchor_ns < self.newest_ns:
            anchor_ns = self.newest_ns
        else:
            self.newest_ns = anchor_ns
        head = self.head
        self.ring[head] = anchor_ns
        self.head = head = head + 1
        if head == self._capacity:
            self.head = 0
            self.taken -= head
            self._known -= head
            for tally in self.tallies:
                tally.spare -= head
        if cost > 1:  # a range of nothing would cost a tenth of the whole request
            for _ in range(cost - 1):
                self.settle(1, anchor_ns)

    def add(self, cost: int, anchor_ns: int) -> None:
        """Enter `cost` anchors that were never in flight, above the limit too. None is entered before the last one."""
        entered = min(cost, self._capacity)
        self.taken += entered
        for _ in range(entered):
            self.settle(1, anchor_ns)

    def free_at(self, cost: int, now_ns: int) -> int | None:
        """The instant from which `cost` fits if nothing more is taken; None while that hangs on something in flight."""
        instant_ns = max(now_ns, self.opens_ns)
        place = self.taken + cost - 1
        if place - self.head >= self.largest_cost:
            return None
        for limit, span_ns in self.spans:
            instant_ns = max(instant_ns, self.ring[place - limit] + span_ns)
        return instant_ns

    def fits(self, cost: int, now_ns: int) -> bool:
        """Whether `take` would succeed."""
        return self.free_at(cost, now_ns) == now_ns

    def earliest_ns(self, cost: int, now_ns: int) -> int:
        """No later than the instant at which the last of `cost` permits, taken one by one, can be had.

        What is in flight is reckoned as answered now. `cost` may be above the limits: every further `limit` permits
        take one more window.
        """
        instant_ns = now_ns
        for limit, span_ns in self.spans:
            rounds, rest = divmod(cost - 1, limit)
            behind = limit - self.in_flight - rest
            first_ns = self.ring[self.head - behind] + span_ns if behind >= 1 else now_ns + span_ns
            instant_ns = max(instant_ns, max(first_ns, now_ns, self.opens_ns) + rounds * span_ns)
        return instant_ns

    def younger(self, than_ns: int, most: int | None = None) -> int:
        """How many anchors of the ring are later than `than_ns`, counted up to `most` of the newest: one bisection.

        A short window of a large ring needs a few steps of it, not one for every doubling of the day's budget.
        """
        ring, head, capacity = self.ring, self.head, self._capacity
        if most is None:
            most = capacity
        if most <= head:
            return head - bisect_right(ring, than_ns, head - most, head)
        if head and ring[0] <= than_ns:
            return head - bisect_right(ring, than_ns, 0, head)
        if ring[capacity - 1] <= than_ns:  # until the ring has gone round once, nothing younger stands there
            return head
        return head + capacity - bisect_right(ring, than_ns, capacity - most + head, capacity)

    def begin_tallies(self) -> tuple[Tally, ...]:
        """The `tallies`, with nothing counted yet."""
        self.tallies = tuple(
            Tally(limit, span_ns, rate.window_ns, self.head - self._capacity + limit)
            for rate, (limit, span_ns) in zip(self.budget.rates, self.spans, strict=True)
        )
        return self.tallies

    def free(self, tally: Tally, now_ns: int) -> int:
        """What one of the `tallies` has left."""
        free = tally.spare - self.taken if now_ns < tally.leaves_ns else self.count(tally, now_ns)
        return free if free > 0 else 0  # noqa: FURB136 - of every window, ten times a second; max() costs as much as it

    def count(self, tally: Tally, now_ns: int) -> int:
        """What one of the `tallies` has left, below 0 when more is in flight than it allows; its count is renewed."""
        head, limit = self.head, tally.limit
        than_ns = now_ns - tally.span_ns
        used = 0
        if self.newest_ns > than_ns:
            most = head + limit - tally.spare
            used = self.younger(than_ns, most if most < self._capacity else self._capacity)  # noqa: FURB136 - as `free`
        tally.leaves_ns = self.ring[head - used] + tally.span_ns if used else NEVER
        tally.spare = spare = head + limit - used
        return spare - self.taken

    def fill(self, anchors: Iterable[tuple[int, int]]) -> None:
        """Enter pairs (anchor, count) among those that are there, each at its own place in the order."""
        merged: list[int] = [anchor for anchor in self.ring if anchor != NEVER]
        for anchor_ns, count in anchors:
            merged.extend([anchor_ns] * min(count, self._capacity))
        merged.sort()
        kept = merged[-self._capacity :]
        for place, anchor_ns in enumerate([NEVER] * (self._capacity - len(kept)) + kept):
            self.ring[place] = anchor_ns
        self.resume(0, self.in_flight, self.opens_ns)

    def ring_not_after(self, now_ns: int) -> None:
        """Move every anchor that is later than `now_ns` to it."""
        for place in range(self._capacity):
            self.ring[place] = min(self.ring[place], now_ns)
        self.resume(self.head, self.in_flight, self.opens_ns)
