"""What a router keeps second by second: throughput, latency and balance for the charts, incidents for the operator."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Final, cast

from .chronicle import Chronicle
from .clock import MINUTE
from .manager import MultiAPIManager
from .models import BrokerSnapshot, Incident, IncidentRow, RequestDone

__all__ = ["Seconds"]

HISTORY_S: Final = 240
RATE_WINDOW_S: Final = 10
INCIDENTS_KEPT: Final = 200
_ABOUT: Final = attrgetter("provider", "operation")
_WAIT_NS: Final = attrgetter("wait_ns")
_LATENCY_NS: Final = attrgetter("latency_ns")


class Seconds:
    """Drains the manager's bus once a second; `chronicle` has the same by broker."""

    def __init__(self, manager: MultiAPIManager) -> None:
        self._manager = manager
        self._clock = manager.clock
        self._done = manager.bus.subscribe(kinds=(RequestDone,))
        self._news = manager.bus.subscribe(kinds=(Incident,))
        self.chronicle = Chronicle()
        self._incidents: deque[IncidentRow] = deque(maxlen=INCIDENTS_KEPT)
        self.throughput: deque[float] = deque(maxlen=HISTORY_S)
        self.latency_ns: deque[int] = deque(maxlen=HISTORY_S)
        self.efficiency: deque[float] = deque(maxlen=HISTORY_S)
        self._requests_by_second: deque[dict[str, int]] = deque(maxlen=RATE_WINDOW_S)

    def close(self) -> None:
        """The second is over: count what came."""
        # The bus tells by the monotonic clock, people read the wall's.
        epoch_at_zero_ns = self._clock.epoch_ns() - self._clock.now_ns()
        for event in cast("tuple[Incident, ...]", self._news.drain()):
            self._note(event)
            if event.kind == "rate_limited":
                self.chronicle.refused(event, epoch_at_zero_ns + event.at_ns)
        counts: dict[str, int] = {}
        latency_ns = 0
        # Thousands may have come: what is done with each of them is done in C.
        done = sorted(cast("tuple[RequestDone, ...]", self._done.drain()), key=_ABOUT)
        for (name, operation), group in groupby(done, key=_ABOUT):
            events = list(group)
            counts[name] = counts.get(name, 0) + len(events)
            latency_ns += sum(map(_WAIT_NS, events)) + sum(map(_LATENCY_NS, events))
            self.chronicle.of(name).done(operation, events, epoch_at_zero_ns)
        requests = sum(counts.values())
        self._requests_by_second.append(counts)
        self.throughput.append(float(requests))
        self.latency_ns.append(latency_ns // requests if requests else 0)
        efficiency = self._manager.efficiency
        if efficiency is not None:
            self.efficiency.append(efficiency)

    def incidents(self, now_ns: int) -> tuple[IncidentRow, ...]:
        """Newest first."""
        return tuple(replace(row, age_ns=now_ns - row.at_ns) for row in reversed(self._incidents))

    def with_rates(self, rows: tuple[BrokerSnapshot, ...]) -> tuple[BrokerSnapshot, ...]:
        """The brokers with what each was asked a second, over the last ten."""
        seconds = len(self._requests_by_second)
        if not seconds:
            return rows
        return tuple(
            replace(row, rate_per_s=sum(second.get(row.name, 0) for second in self._requests_by_second) / seconds)
            for row in rows
        )

    def _note(self, event: Incident) -> None:
        """One row per kind and broker and minute, with a count: a storm stays readable."""
        last = self._incidents[-1] if self._incidents else None
        if (
            last is not None
            and (last.kind, last.provider, last.message) == (event.kind, event.provider, event.message)
            and event.at_ns - last.at_ns < MINUTE
        ):
            self._incidents[-1] = replace(last, count=last.count + 1)
            return
        self._incidents.append(
            IncidentRow(
                at_ns=event.at_ns,
                age_ns=0,
                kind=event.kind,
                provider=event.provider,
                message=event.message,
                evidence=event.evidence,
            )
        )
