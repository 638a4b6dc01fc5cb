"""What a broker's answers teach: how long an operation takes there, how often it fails, what is still unanswered."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from itertools import islice

from ..clock import MILLISECOND, SECOND
from ..models import LatencySnapshot, Operation

__all__ = ["SILENT_LEAST_NS", "STALL_LEAST_NS", "BrokerLoad", "FailureRate", "LatencyMeter", "Peak", "PeakEwma"]

_TAU_NS = 10 * SECOND
_RECENT = 256
_HISTORY_S = 60
_GAP_NS = 10 * SECOND  # without an answer for so long, what the slowest took before says half as much of now
_NEWS_NS = 20 * SECOND  # how long the last answer tells how a broker is
_LOOK_EVERY_NS = SECOND
_PATIENCE_NS = 15 * SECOND
_PATIENCE_MOST_NS = 600 * SECOND
STALL_LEAST_NS = 250 * MILLISECOND
SILENT_LEAST_NS = 80 * MILLISECOND
SUSPECT_FROM = 6.4  # minus the logarithm of a chance of 1 in 600


class Peak:
    """Latency that rises at once and falls slowly, so that a broker which turns slow is left within a few answers.

    A plain mean needs dozens of answers to see a step; jumping to each peak lets one late answer of thousands push a
    good broker away for seconds. So a rise is taken by `rise` of the way at each answer, a fall over ten seconds.
    """

    __slots__ = ("count", "recent_ns", "updated_ns", "value_ns")

    rise = 0.3

    def __init__(self) -> None:
        self.value_ns = 0.0
        self.count = 0
        self.recent_ns: deque[int] = deque(maxlen=_RECENT)
        self.updated_ns = 0

    def learn(self, latency_ns: int, now_ns: int) -> None:
        """Learn one answer that took `latency_ns`."""
        self.recent_ns.append(latency_ns)
        value_ns = self.value_ns
        if not self.count:
            self.value_ns = float(latency_ns)
        elif latency_ns < value_ns:
            # Each answer counts, and so does the time since the last: many quick answers bring it down quickly.
            share = 0.1
            if now_ns - self.updated_ns > _TAU_NS // 10:  # sooner, the time since the last makes less than a tenth
                share = max(share, 1.0 - math.exp((self.updated_ns - now_ns) / _TAU_NS))
            self.value_ns = value_ns + share * (latency_ns - value_ns)
        else:
            self.value_ns = value_ns + self.rise * (latency_ns - value_ns)
        self.count += 1
        self.updated_ns = now_ns

    def quantile_ns(self, share: float, *, last: int = _RECENT) -> int:
        """The latency that `share` (0..1) of the recent answers stayed within, of the `last` ones; 0 before any."""
        recent = sorted(self.recent_ns if last >= len(self.recent_ns) else islice(reversed(self.recent_ns), last))
        return recent[min(len(recent) - 1, int(share * len(recent)))] if recent else 0


class PeakEwma(Peak):
    """The peak of one operation, and how it grows with what is under way.

    `expected_s` also asks how much is under way. Whether that matters is learned: the answers that came with more in
    flight than usual are kept apart from the others, and their ratio tells how latency grows with load. A fifth of that
    growth is assumed in any case: whoever turns silent next should not hold all that is under way.

    Only an answer moves it, so that a broker which is left for its peak would never be asked again. From `look_ns` on
    the peak may `fade`; each fade that proves wrong doubles the time until the next.
    """

    __slots__ = (
        "_busy",
        "_busy_load",
        "_calm",
        "_calm_load",
        "_faded_ns",
        "_patience_ns",
        "_slope",
        "alone_s",
        "each_s",
        "load",
        "look_ns",
        "paces_ns",
    )

    def __init__(self) -> None:
        super().__init__()
        self.alone_s = self.each_s = 0.0  # expected with none under way, and for each that is
        self.load = 1.0  # in flight, with the request itself, when the samples were taken
        self._calm = self._busy = 0.0
        self._calm_load = self._busy_load = 0.0
        self._slope = 0.5
        self.look_ns = 0
        self._patience_ns = _PATIENCE_NS
        self._faded_ns = 0.0
        self.paces_ns = (0.0, 0.0)  # what its broker took for anything and for a health check, when this came last

    def record(self, latency_ns: int, in_flight: int, now_ns: int) -> None:
        """Learn one answer that took `latency_ns` while `in_flight` others were under way."""
        load = in_flight + 1.0
        if not self.count:
            self._calm = self._busy = float(latency_ns)
            self.load = self._calm_load = self._busy_load = load
        else:
            if load > self.load:
                self._busy += 0.05 * (latency_ns - self._busy)
                self._busy_load += 0.05 * (load - self._busy_load)
            else:
                self._calm += 0.05 * (latency_ns - self._calm)
                self._calm_load += 0.05 * (load - self._calm_load)
            self.load += 0.1 * (load - self.load)
            grown = self._busy_load / self._calm_load - 1.0
            if grown > 0.2 and self.count > 20:
                slope = (self._busy / self._calm - 1.0) / grown if self._calm else 0.0
                # Spelt out: min() and max() would cost more than all the rest of it.
                bounded = 0.2 if slope < 0.2 else 1.0 if slope > 1.0 else slope  # noqa: FURB136 - as said
                self._slope += 0.05 * (bounded - self._slope)
        self.learn(latency_ns, now_ns)
        if self._faded_ns:
            wrong = latency_ns > 2.0 * self._faded_ns
            self._patience_ns = min(2 * self._patience_ns, _PATIENCE_MOST_NS) if wrong else _PATIENCE_NS
            self._faded_ns = 0.0
        self.look_ns = now_ns + self._patience_ns
        self._reckon()

    def _reckon(self) -> None:
        each_s = self.value_ns * self._slope / self.load / 1e9
        self.each_s = each_s
        self.alone_s = self.value_ns / 1e9 * (1.0 - self._slope) + each_s

    def fade(self, now_ns: float, then_ns: float) -> bool:
        """Fall with the broker, which answered something else in `then_ns` when it last answered this and in `now_ns`
        of late; and at least to what four of five recent answers took, but not below half of `now_ns`. False: it stays,
        for it is no peak.
        """
        fallen_ns = self.value_ns * min(1.0, now_ns / then_ns)
        to_ns = max(0.5 * now_ns, min(fallen_ns, self.quantile_ns(0.8)))
        if self.value_ns < 1.25 * to_ns:
            return False
        self.value_ns = self._faded_ns = to_ns
        self._reckon()
        return True

    def expected_s(self, in_flight: int) -> float:
        """Seconds that one more request would take with `in_flight` under way."""
        return self.alone_s + self.each_s * in_flight


class LatencyMeter:
    """The last 256 latencies, and one mean a second for a minute."""

    __slots__ = (
        "_history",
        "_max_ns",
        "_p50_ns",
        "_p99_ns",
        "_second",
        "_since",
        "_sorted_at",
        "_sum_ns",
        "_summed_from",
        "ewma",
        "tail_ns",
    )

    def __init__(self) -> None:
        self.ewma = Peak()
        self._max_ns = 0
        self._history: deque[int] = deque(maxlen=_HISTORY_S)
        self._second = -1
        self._sum_ns = 0
        self._summed_from = 0  # how many of the answers came before this second
        self._p50_ns = self._p99_ns = self._sorted_at = 0  # of the first so many answers
        self.tail_ns = 0  # the p99 of the recent answers, looked up anew after every sixteen
        self._since = 0  # how many of the answers came before the last gap

    @property
    def count(self) -> int:
        """The answers since the start."""
        return self.ewma.count

    def record(self, latency_ns: int, now_ns: int) -> None:
        """Learn one answer."""
        second = now_ns // SECOND
        if second != self._second:
            self._roll(second)
        ewma = self.ewma
        if now_ns - ewma.updated_ns > _GAP_NS:
            self._since, self.tail_ns = ewma.count, self.tail_ns // 2
        ewma.learn(latency_ns, now_ns)
        if latency_ns > self._max_ns:  # noqa: PLR1730 - for every answer; max() costs double
            self._max_ns = latency_ns
        self._sum_ns += latency_ns
        if not ewma.count % 16 and ewma.count - self._since >= 16:
            self.tail_ns = ewma.quantile_ns(0.99, last=ewma.count - self._since)

    def usual_ns(self) -> int:
        """The middle of the recent answers; 0 before the first."""
        if self._sorted_at != self.count:  # many looks come between two answers
            recent = sorted(self.ewma.recent_ns)
            self._p50_ns = recent[len(recent) // 2]
            self._p99_ns = recent[min(len(recent) - 1, int(0.99 * len(recent)))]
            self._sorted_at = self.count
        return self._p50_ns

    def snapshot(self, now_ns: int) -> LatencySnapshot:
        self._roll(now_ns // SECOND)
        self.usual_ns()
        return LatencySnapshot(
            count=self.count,
            ewma_ns=round(self.ewma.value_ns),
            p50_ns=self._p50_ns,
            p99_ns=self._p99_ns,
            max_ns=self._max_ns,
            history_ns=tuple(self._history),
        )

    def _roll(self, second: int) -> None:
        if second == self._second:
            return
        if self._second >= 0:
            summed = self.count - self._summed_from
            self._history.append(self._sum_ns // summed if summed else 0)
            if second > self._second + 1:
                self._history.extend([0] * min(second - self._second - 1, _HISTORY_S))
        self._second, self._sum_ns, self._summed_from = second, 0, self.count


class FailureRate:
    """The share of failures among recent requests, 0..1; idle time lets it fade.

    Each answer moves it a tenth of the way; after seven that worked in a row each further one halves it. So a broker
    that failed and works again is back within a dozen checks, and one that fails at random is not.
    """

    __slots__ = ("_in_a_row", "_updated_ns", "level")

    fade_ns = 15 * SECOND

    def __init__(self) -> None:
        self.level = 0.0
        self._in_a_row = 0
        self._updated_ns = 0

    def record(self, now_ns: int, *, failed: bool) -> None:
        if failed:
            self._in_a_row = 0
            level = self.at(now_ns)
            self.level = level + 0.1 * (1.0 - level)
        else:
            self._in_a_row += 1
            if self.level:
                self.level = self.at(now_ns) * (0.9 if self._in_a_row <= 7 else 0.5)
        self._updated_ns = now_ns

    def at(self, now_ns: int) -> float:
        if self.level < 1e-4:
            return 0.0  # below any effect; saves a healthy broker the exponential
        return self.level * math.exp((self._updated_ns - now_ns) / self.fade_ns)

    def forget(self) -> None:
        self.level = 0.0


class BrokerLoad:
    """All that is known of one broker from its answers; no clock of its own.

    `sent_ns`: when the unanswered reads left, and when the unanswered orders; `unanswered`: how many both are.
    `silent_from_ns`: when the oldest left that left after every answered one of its class; None when there is none. One
    answer that is lost among others is not silence.
    """

    __slots__ = (
        "_check",
        "_given_up_ns",
        "_heard_ns",
        "failures",
        "latency",
        "latency_of",
        "lost",
        "sent_ns",
        "silent_from_ns",
        "unanswered",
    )

    def __init__(self) -> None:
        self.latency = LatencyMeter()
        self.latency_of: dict[str, PeakEwma] = {}
        self._check: PeakEwma | None = None  # that of the health checks
        self.failures = FailureRate()
        self.lost = FailureRate()
        self.sent_ns: tuple[list[int], list[int]] = ([], [])
        self.silent_from_ns: int | None = None
        self.unanswered = 0
        self._heard_ns = [-1, -1]  # of the answered ones, when the last had left; reads and orders
        self._given_up_ns: list[int] = []

    @property
    def in_flight(self) -> int:
        return self.unanswered + len(self._given_up_ns)

    def started(self, now_ns: int, *, orders: bool) -> None:
        self.unanswered += 1
        self.sent_ns[orders].append(now_ns)
        if self.silent_from_ns is None and now_ns > self._heard_ns[orders]:
            self.silent_from_ns = now_ns

    def ended(self, latency_ns: int, now_ns: int, *, orders: bool, heard: bool) -> None:
        """Forget the unanswered request that left `latency_ns` ago, or the one that left nearest to then.

        `heard`: the broker answered it, whatever it said.
        """
        left_ns = now_ns - latency_ns
        if heard and left_ns > self._heard_ns[orders]:
            self._heard_ns[orders] = left_ns
        sent_ns = self.sent_ns[orders]
        if self._given_up_ns and (not sent_ns or left_ns < sent_ns[0]):
            sent_ns = self._given_up_ns
        elif sent_ns:
            self.unanswered -= 1
        else:
            return
        at = bisect_left(sent_ns, left_ns)
        if at and (at == len(sent_ns) or left_ns - sent_ns[at - 1] < sent_ns[at] - left_ns):
            at -= 1
        del sent_ns[at]
        self.silent_from_ns = self._oldest_unheard_ns() if self.unanswered else None

    def give_up(self) -> None:
        """Stop waiting for what is under way, so that it does not count against the broker once it has recovered."""
        for sent_ns in self.sent_ns:
            self._given_up_ns.extend(sent_ns)
            sent_ns.clear()
        self._given_up_ns.sort()
        self.unanswered = 0
        self.silent_from_ns = None

    def answered(self, operation: str, latency_ns: int, now_ns: int) -> None:
        """Learn the latency of an answer."""
        self.latency.record(latency_ns, now_ns)
        ewma = self.latency_of.get(operation)
        if ewma is None:
            ewma = self.latency_of[operation] = PeakEwma()
            if operation == Operation.HEALTH_CHECK:
                self._check = ewma
        ewma.record(latency_ns, self.unanswered, now_ns)
        ewma.paces_ns = self._paces_ns()

    def fade(self, ewma: PeakEwma, now_ns: int) -> None:
        """Let a peak go that no answer has confirmed for long, as far as the broker's other answers allow."""
        ewma.look_ns = now_ns + _LOOK_EVERY_NS
        fresh_ns = now_ns - _NEWS_NS
        if self.latency.ewma.updated_ns < fresh_ns:
            return
        then_ns, then_check_ns = ewma.paces_ns
        check = self._check
        if check is not None and check.updated_ns >= fresh_ns:
            # Like with like, where it was checked before: other requests take longer than a check does.
            faded = ewma.fade(check.value_ns, then_check_ns or then_ns)
        else:
            faded = ewma.fade(self.latency.ewma.value_ns, then_ns)
        if faded:
            ewma.paces_ns = self._paces_ns()

    def _paces_ns(self) -> tuple[float, float]:
        return self.latency.ewma.value_ns, 0.0 if self._check is None else self._check.value_ns

    def failed(self, now_ns: int, *, lost: bool) -> None:
        """Learn a failure; `lost` when no answer came at all."""
        self.failures.record(now_ns, failed=True)
        self.lost.record(now_ns, failed=lost)

    def worked(self, now_ns: int) -> None:
        """Learn that an answer was no failure; without a failure before it there is nothing to make good."""
        self.failures.record(now_ns, failed=False)
        self.lost.record(now_ns, failed=False)

    def recovered(self) -> None:
        """Forget the failures: the breaker has closed again, and a slow start takes care of the doubt."""
        self.failures.forget()
        self.lost.forget()

    def silent_ns(self, now_ns: int) -> int:
        """How long it has owed an answer; 0 when what left last was answered."""
        return 0 if self.silent_from_ns is None else now_ns - self.silent_from_ns

    def _oldest_unheard_ns(self) -> int | None:
        oldest_ns: int | None = None
        for orders in (False, True):  # with every answer: a zip() would cost more than the looks
            sent_ns = self.sent_ns[orders]
            if sent_ns and sent_ns[-1] > (heard_ns := self._heard_ns[orders]):
                first_ns = sent_ns[0]
                if first_ns <= heard_ns:
                    first_ns = sent_ns[bisect_right(sent_ns, heard_ns)]
                if oldest_ns is None or first_ns < oldest_ns:
                    oldest_ns = first_ns
        return oldest_ns

    def _unheard(self) -> list[list[int]]:
        """Of each class, when those left that left after every answered one; classes without any left out."""
        return [
            sent_ns if sent_ns[0] > heard_ns else sent_ns[bisect_right(sent_ns, heard_ns) :]
            for sent_ns, heard_ns in zip(self.sent_ns, self._heard_ns, strict=True)
            if sent_ns and sent_ns[-1] > heard_ns
        ]

    def suspicion(self, now_ns: int) -> float:
        """How little the silence looks like mere lateness: from 1 on it looks like a broker that has gone.

        What every unanswered one of a class waits beyond the usual adds up: that three are late at once is far less
        likely than that one is. A single one is suspect at about one and a half times the p99 of the answers.
        """
        if self.latency.count < 20:
            return self.silent_ns(now_ns) / self.stall_after_ns()
        usual_ns = self.latency.ewma.value_ns
        spread_ns = max(self.latency.tail_ns - usual_ns, 0.5 * usual_ns)
        most = 0.0
        for sent_ns in self._unheard():
            if now_ns - sent_ns[0] >= SILENT_LEAST_NS:
                late = 0.0
                for left_ns in sent_ns:
                    beyond_ns = now_ns - left_ns - usual_ns
                    if beyond_ns < 0:
                        break
                    late += 0.7 + 3.9 * beyond_ns / spread_ns  # minus the logarithm of the chance to be so late
                most = max(most, late)
        return most / SUSPECT_FROM

    def oldest_ns(self, now_ns: int) -> int:
        """How long the longest unanswered request has waited; 0 when nothing is under way."""
        oldest_ns = now_ns
        for sent_ns in self.sent_ns:
            if sent_ns and sent_ns[0] < oldest_ns:
                oldest_ns = sent_ns[0]
        return now_ns - oldest_ns

    def stall_after_ns(self) -> int:
        """When an unanswered request begins to look lost: far beyond what this broker's answers take."""
        if not self.latency.count:
            return 2 * SECOND
        return max(STALL_LEAST_NS, round(6 * self.latency.ewma.value_ns))

    def stalled(self, now_ns: int) -> int:
        """How many requests have been unanswered for so long that they look lost."""
        if not self.unanswered:
            return 0
        before_ns = now_ns - self.stall_after_ns() + 1
        return sum(bisect_left(sent_ns, before_ns) for sent_ns in self.sent_ns)
