"""Long work beside others: it takes a small share while they are busy, and no longer than it must beside idle ones."""

from __future__ import annotations

import asyncio

import pytest

from core.clock import MILLISECOND, VirtualClock
from core.slices import Slices


class WorkedClock(VirtualClock):
    """Time that passes only while somebody works, as on a machine with one processor."""

    def work(self, by_ns: int) -> None:
        self._now_ns += by_ns

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        await asyncio.sleep(0)
        while self._now_ns < deadline_ns:  # noqa: ASYNC110 - it is the others' work that moves this clock
            await asyncio.sleep(0)


async def played(clock: WorkedClock, *, slices: int, slice_ns: int, others_ns: int) -> int:
    """How long `slices` slices took beside somebody who works `others_ns` in every pass of the loop."""

    async def others() -> None:
        while True:
            clock.work(others_ns)
            await asyncio.sleep(0)

    busy = asyncio.create_task(others())
    began_ns, piece = clock.now_ns(), Slices(clock)
    for _ in range(slices):
        clock.work(slice_ns)
        await piece.pause()
    busy.cancel()
    return clock.now_ns() - began_ns


@pytest.mark.parametrize(
    ("others_us", "slice_us", "pause_ms"),
    [
        (0, 1_000, (0, 0)),  # alone: on at once
        (100, 1_000, (0, 1)),  # others have next to nothing to do
        (500, 1_000, (8, 10)),  # others are busy: they get eight times as much
        (3_000, 1_000, (8, 15)),
        (3_000, 20_000, (30, 37)),  # a slice that took too long keeps nobody's work back for ever
        (3_000, 0, (0, 6)),  # no time passes in it: a pass is enough
    ],
)
async def test_the_pause_after_a_slice(others_us: int, slice_us: int, pause_ms: tuple[int, int]):
    took_ns = await played(WorkedClock(), slices=20, slice_ns=1_000 * slice_us, others_ns=1_000 * others_us)
    least_ms, most_ms = pause_ms
    assert least_ms <= (took_ns / 20 - 1_000 * slice_us) / MILLISECOND <= most_ms


async def test_where_time_stands_still_a_pause_takes_none():
    clock = VirtualClock()
    piece, turns = Slices(clock), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    busy = asyncio.create_task(others())
    for _ in range(5):
        await piece.pause()
    busy.cancel()
    assert turns == 5
    assert clock.now_ns() == 0
