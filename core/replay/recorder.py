"""A router written down as it runs, with no screen beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ..clock import Clock
from .file import RecordingWriter
from .frames import FrameEncoder

if TYPE_CHECKING:
    from ..router import Router

__all__ = ["record"]


async def record(router: Router, writer: RecordingWriter, *, clock: Clock, interval_ns: int) -> NoReturn:
    """Write a snapshot every `interval_ns`, until it is cancelled. Raises ConfigError when the disk takes no more."""
    encoder = FrameEncoder()
    due_ns = clock.now_ns()
    while True:
        writer.write(encoder.encode(router.snapshot()))
        due_ns = max(due_ns + interval_ns, clock.now_ns())  # what was missed is not made up for
        await clock.sleep_until_ns(due_ns)
