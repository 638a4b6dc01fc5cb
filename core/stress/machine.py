"""What a run takes of the machine that plays it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from ..clock import SECOND, Clock

__all__ = ["Machine", "MachineWatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the run took of this machine; CPU is in percent of one core, lag is that of the router's own loop.

    `disk_writes`: write calls of this process; None where the system does not count them.
    """

    cpu_percent: float
    rss_bytes: int
    rss_growth_bytes: int
    loop_lag_ns_max: int
    disk_writes: int | None


class MachineWatch:
    """Samples this process while a run plays."""

    def __init__(self, clock: Clock, warm_up_s: float, *, real: bool) -> None:
        self._clock = clock
        self._real = real
        self._warm_ns = clock.now_ns() + int(warm_up_s * SECOND)
        self._process = psutil.Process(os.getpid())
        self._cpu_start = self._process.cpu_times()
        self._writes_start = self._writes()
        self._start_ns = clock.now_ns()
        self._warm_rss: int | None = None
        self._lag_ns_max = 0
        self.epoch_ns = clock.epoch_ns()

    def look(self, lag_ns: int) -> None:
        self._lag_ns_max = max(self._lag_ns_max, lag_ns)
        if self._real and self._warm_rss is None and self._clock.now_ns() >= self._warm_ns:
            self._warm_rss = self._process.memory_info().rss

    def figures(self) -> Machine | None:
        if not self._real:
            return None
        cpu = self._process.cpu_times()
        used_s = cpu.user + cpu.system - self._cpu_start.user - self._cpu_start.system
        elapsed_s = max(1, self._clock.now_ns() - self._start_ns) / SECOND
        rss = self._process.memory_info().rss
        return Machine(
            cpu_percent=round(100 * used_s / elapsed_s, 1),
            rss_bytes=rss,
            rss_growth_bytes=rss - (self._warm_rss if self._warm_rss is not None else rss),
            loop_lag_ns_max=self._lag_ns_max,
            disk_writes=None if self._writes_start is None else (self._writes() or 0) - self._writes_start,
        )

    def _writes(self) -> int | None:
        if not hasattr(self._process, "io_counters"):  # macOS
            return None
        writes: int = self._process.io_counters().write_count
        return writes
