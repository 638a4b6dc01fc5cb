"""Time, handed in: monotonic to wait by, epoch to record by. Whole nanoseconds.

Floats miss window edges: with float seconds a permit is sometimes refused at its own wake-up instant.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, copy_context
from typing import Any, Final, Protocol, TypeVar

__all__ = [
    "DAY",
    "HOUR",
    "MICROSECOND",
    "MILLISECOND",
    "MINUTE",
    "SECOND",
    "Cancellable",
    "Clock",
    "Passes",
    "SystemClock",
    "VirtualClock",
]

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

T = TypeVar("T")
_ASK_EVERY: Final = 64
_LEFT_MAX: Final = 64


class Clock(Protocol):
    """What core knows of time."""

    @property
    def stands_still(self) -> bool:
        """Whether no time passes while the loop works: what would hold others up may then be done in place."""
        ...

    def now_ns(self) -> int:
        """Monotonic nanoseconds from an arbitrary start. Never goes back, whatever is done to the wall clock."""
        ...

    def epoch_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC, for records only: it may jump."""
        ...

    def sleep_until_ns(self, deadline_ns: int) -> Awaitable[None]:
        """Over once `now_ns() >= deadline_ns`; at once, after one pass of the loop, when that is so already."""
        ...

    def call_at_ns(self, deadline_ns: int, callback: Callable[[], None]) -> Cancellable:
        """Call `callback` from the running loop once `now_ns()` is about `deadline_ns`; it may be a little early.

        For owners that keep one timer for many who wait. Raises RuntimeError when no loop runs.
        """
        ...

    def outside(self) -> AbstractContextManager[None]:
        """Mark a wait for something that time does not drive: a thread, a file, a socket.

        Virtual time stands still inside such a block; on the system clock the block does nothing.
        """
        ...


_NOTHING: Final = nullcontext()


class Cancellable(Protocol):
    """A call that is still to come."""

    def cancel(self) -> object: ...


class Passes(Protocol):
    """`passes`: how many a loop has made. What is done within one pass, nothing came between."""

    passes: int


class SystemClock:
    """The machine's own time."""

    # The calls themselves, not methods around them: the limiter reads the time twice for each request.
    now_ns = staticmethod(time.monotonic_ns)
    epoch_ns = staticmethod(time.time_ns)
    stands_still: Final = False

    def __init__(self) -> None:
        self._alarm: _Alarm | None = None  # of the loop that slept last: nearly always there is but one

    async def sleep_until_ns(self, deadline_ns: int) -> None:
        if deadline_ns <= time.monotonic_ns():
            await asyncio.sleep(0)
            return
        alarm, loop = self._alarm, asyncio.get_running_loop()
        if alarm is None or alarm.loop is not loop:
            alarm = self._alarm = _Alarm(loop)
        try:
            await alarm.sleeper(deadline_ns)
        except asyncio.CancelledError:
            alarm.one_left()
            raise

    def call_at_ns(self, deadline_ns: int, callback: Callable[[], None]) -> Cancellable:
        wait_ns = max(0, deadline_ns - time.monotonic_ns())
        return asyncio.get_running_loop().call_later(wait_ns / SECOND, callback)

    def outside(self) -> AbstractContextManager[None]:
        return _NOTHING


class _Alarm:
    """One timer of a loop for all who sleep there: a timer for each, and its end, take twice what the sleep does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = 0
        self._left = 0  # sleepers that were cancelled and are still in the list
        self._timer: asyncio.TimerHandle | None = None
        self._rings_ns = 0  # when the timer is due; without one, 0

    def sleeper(self, deadline_ns: int) -> asyncio.Future[None]:
        """Done once `time.monotonic_ns() >= deadline_ns`."""
        woken = self.loop.create_future()
        self._serial += 1  # sleepers of one instant wake in the order in which they fell asleep
        heapq.heappush(self._sleepers, (deadline_ns, self._serial, woken))
        if not self._rings_ns or deadline_ns < self._rings_ns:
            self._set(deadline_ns)
        return woken

    def one_left(self) -> None:
        """One was cancelled. Most of a list may not be of those who have gone: their time may be hours off."""
        self._left += 1
        if self._left > _LEFT_MAX and 2 * self._left > len(self._sleepers):
            self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
            heapq.heapify(self._sleepers)
            self._left = 0

    def _set(self, deadline_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_ns = deadline_ns
        self._timer = self.loop.call_later((deadline_ns - time.monotonic_ns()) / SECOND, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings_ns = None, 0
        sleepers, now_ns = self._sleepers, time.monotonic_ns()
        while sleepers:
            deadline_ns, _, woken = sleepers[0]
            if woken.done():
                self._left -= 1
            elif deadline_ns <= now_ns:
                woken.set_result(None)
            else:
                # Also where a loop's timer fires a little before its time: it comes back as often as it takes.
                self._set(deadline_ns)
                return
            heapq.heappop(sleepers)


class VirtualClock:
    """Time that moves only when it is told to, or, inside `run`, whenever nothing else is left to do.

    Everything that waits must wait on this clock. `start_ns` and `epoch_start_ns` set the first instant.

    By hand, in a test that runs on the loop of `loop_factory` (tests/conftest.py gives every test one):

        clock = VirtualClock()
        tasks.start_soon(sleeper, clock)
        await clock.advance_ns(2 * SECOND)   # two virtual seconds; each sleeper wakes at its own instant
    """

    def __init__(self, start_ns: int = 0, epoch_start_ns: int = 1_767_585_600_000_000_000) -> None:
        self._now_ns = start_ns
        self._epoch_offset_ns = epoch_start_ns - start_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = 0
        self._outside = 0
        self.stands_still = False  # by hand, others may live on the loop; inside `run` there is nobody to be held up
        self._selector: _IdleSelector | None = None  # of the loop inside `run`

    @property
    def loop(self) -> Passes:
        """The loop inside `run`."""
        assert self._selector is not None  # noqa: S101 - nobody asks elsewhere
        return self._selector

    def now_ns(self) -> int:
        return self._now_ns

    def epoch_ns(self) -> int:
        return self._now_ns + self._epoch_offset_ns

    def jump_epoch_ns(self, by_ns: int) -> None:
        """Move the wall clock alone, as an operator or NTP may do."""
        self._epoch_offset_ns += by_ns

    def sleep_until_ns(self, deadline_ns: int) -> Awaitable[None]:
        return asyncio.sleep(0) if deadline_ns <= self._now_ns else self._sleeper(deadline_ns)

    def call_at_ns(self, deadline_ns: int, callback: Callable[[], None]) -> Cancellable:
        woken = self._sleeper(deadline_ns)
        woken.add_done_callback(lambda future: None if future.cancelled() else callback())
        if deadline_ns <= self._now_ns:
            woken.set_result(None)
        return woken

    @contextmanager
    def outside(self) -> Iterator[None]:
        self._outside += 1
        try:
            yield
        finally:
            self._outside -= 1

    async def advance_ns(self, by_ns: int) -> None:
        """Move time on by `by_ns`, waking each sleeper at its own instant and letting the loop settle in between."""
        target_ns = self._now_ns + by_ns
        await self.settle()
        while self._drop_cancelled() and self._sleepers[0][0] <= target_ns:
            self._wake_next()
            await self.settle()
        self._now_ns = target_ns
        await self.settle()

    async def settle(self) -> None:
        """Return once every other task waits, for time or for nothing that this loop can hurry."""
        selector = getattr(asyncio.get_running_loop(), "idle_selector", None)
        if not isinstance(selector, _IdleSelector):
            message = "VirtualClock needs a loop made by core.clock.loop_factory"
            raise RuntimeError(message)
        while True:
            await selector.until_idle()
            if not self._outside:
                return
            await asyncio.sleep(0.0005)

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `main` on a loop of its own, jumping to the next sleeper whenever nothing else is left to do."""
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            selector = getattr(runner.get_loop(), "idle_selector", None)
            assert isinstance(selector, _IdleSelector)  # noqa: S101 - our own factory, one line above
            selector.when_idle = self._wake_next
            self._selector, self.stands_still = selector, True
            try:
                return runner.run(main())
            finally:
                self._selector, self.stands_still = None, False

    def _sleeper(self, deadline_ns: int) -> asyncio.Future[None]:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._serial += 1  # sleepers of one instant wake in the order in which they fell asleep
        heapq.heappush(self._sleepers, (deadline_ns, self._serial, woken))
        return woken

    def _drop_cancelled(self) -> bool:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return bool(self._sleepers)

    def _wake_next(self) -> bool:
        """Wake the sleeper that is due first; False when there is none, or when a thread may still bring something."""
        sleepers = self._sleepers
        while sleepers and not self._outside:
            deadline_ns, _, woken = heapq.heappop(sleepers)
            if not woken.done():
                if deadline_ns > self._now_ns:  # noqa: PLR1730 - for every wake-up; max() costs as much as a wake-up
                    self._now_ns = deadline_ns
                woken.set_result(None)
                return True
        return False


_Brought = tuple[asyncio.Handle, Callable[..., object], tuple[Any, ...], Context]


class _IdleSelector(selectors.DefaultSelector):
    """A selector that knows when its loop has nothing left to do: the loop then asks to wait longer than 0 s."""

    def __init__(self) -> None:
        super().__init__()
        self.when_idle: Callable[[], bool] | None = None
        self.brought: deque[_Brought] = deque()  # by other threads, for an idle moment
        self.take_in: Callable[[], None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self.passes = 0  # of the loop
        self._ask_at = 0  # the pass in which the system is asked again
        self._watched = 0

    async def until_idle(self) -> None:
        self._idle = asyncio.get_running_loop().create_future()
        await self._idle

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        self._watched += 1
        self._ask_at = 0
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self._watched -= 1
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.passes += 1
        if self.passes >= self._ask_at:
            ready = super().select(0)
            if ready:
                return ready
            # Where only the loop's own pipe is watched, what it brings waits for an idle moment anyhow: most of the
            # time there is nothing to ask the system for, and asking costs as much as a pass.
            if self.when_idle is not None and self._watched <= 1:
                self._ask_at = self.passes + _ASK_EVERY
        if timeout is not None and timeout <= 0:
            return []
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
            return []
        if self.brought and self.take_in is not None:
            self.take_in()
            return []
        if self.when_idle is not None and self.when_idle():
            return []
        return super().select(timeout)


class _DrivenLoop(asyncio.SelectorEventLoop):
    """While a VirtualClock runs this loop, what other threads bring waits until the loop has nothing else to do.

    A thread ends when the machine likes. Taken in at once, its result would come before or after the loop's own work by
    luck, and two runs of one seed would differ.
    """

    def __init__(self, selector: _IdleSelector) -> None:
        super().__init__(selector)
        self.idle_selector = selector
        selector.take_in = self._take_in

    def call_soon_threadsafe(  # type: ignore[override]  # the stub's type variables say no more than this
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if self.idle_selector.when_idle is None:
            return super().call_soon_threadsafe(callback, *args, context=context)
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self.idle_selector.brought.append((handle, callback, args, context))
        super().call_soon_threadsafe(lambda: None)  # wakes the loop, and no more
        return handle

    def _take_in(self) -> None:
        brought = self.idle_selector.brought
        while brought:
            handle, callback, args, context = brought.popleft()
            if not handle.cancelled():
                self.call_soon(callback, *args, context=context)


def loop_factory() -> asyncio.AbstractEventLoop:
    """An event loop that a VirtualClock can drive; without one it is an ordinary loop."""
    return _DrivenLoop(_IdleSelector())
