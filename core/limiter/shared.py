"""The same counts in one mapped file, for several processes of one host that trade on one account.

Layout, in int64 words: a header, four words for each budget, a table of leases, one ring for each budget. Every change
happens under a lock on the file, which the kernel drops when its holder dies. A holder that dies in the middle leaves
the dirty word set; the next one then counts the leases again and takes in what was written last. Writes are ordered so
that whatever is lost this way errs to more use, not less: an anchor is written before its lease is freed.

Each take leaves a lease: what it took, and until when it may still arrive. When the time has passed the take is
anchored there, whoever made it and whether it lives or not. So a crash keeps a place for as long as the lease and one
window, and no longer. `lease_ns` must exceed the time between taking a permit and the last instant at which its request
may arrive.

Monotonic time is one for all processes of a host. It starts anew when the host does: an anchor from before then is
counted as later than it was, never as earlier.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..clock import DAY, MILLISECOND, SECOND
from ..errors import ConfigError
from ..models import Budget
from .backend import Lane, Plan
from .window import NEVER, SlidingWindows

__all__ = ["SharedMemoryBackend"]

MAGIC: Final = 0x6865_6164_726F_6F31  # "headroo1"
FOREVER: Final = 1 << 62
WORD: Final = 8
HEADER: Final = 8
IS, LIMITS, DIRTY, SEEN, REAP, SERIAL = range(6)  # words of the header
PER_BUDGET: Final = 4
HEAD, IN_FLIGHT, OPENS = range(3)  # words of a budget
PER_LEASE: Final = 4
OWNED, UNTIL, COST, PLAN = range(4)  # words of a lease; OWNED is the serial of its take, 0 when free
RESTARTED_BY: Final = SECOND
RELOOK: Final = 50 * MILLISECOND


class SharedMemoryBackend:
    """Counts in the file `path`, which the first process makes and nobody deletes while any of them runs.

    Another process is not told when a permit is given back here, so those who wait there look again every 50 ms.
    `open` raises ConfigError when the file counts other limits, or cannot be made or mapped.
    """

    relook_ns = RELOOK

    def __init__(self, path: str | os.PathLike[str], *, lease_ns: int = 150 * SECOND) -> None:
        if lease_ns < 1:
            raise ValueError(f"lease_ns is {lease_ns}; give a whole number of at least 1")
        self._path = Path(path)
        self.lease_ns = lease_ns
        self.found = False
        self._file = -1
        self._map: mmap.mmap | None = None
        self.words: memoryview[int] = memoryview(b"").cast("q")
        self._table = range(0)  # the first word of each lease
        self._rings: list[memoryview[int]] = []
        self.windows: Plan = ()

    def open(self, budgets: Sequence[Budget], now_ns: int) -> None:
        largest = [max(rate.permits for rate in budget.rates) for budget in budgets]
        # Every permit in flight holds at least one place of the smallest limit of some budget.
        leases = sum(min(rate.permits for rate in budget.rates) for budget in budgets)
        first_lease = HEADER + PER_BUDGET * len(budgets)
        first_ring = first_lease + PER_LEASE * leases
        self._table = range(first_lease, first_ring, PER_LEASE)
        size = WORD * (first_ring + sum(largest))
        limits = zlib.crc32(
            repr([(budget.name, budget.rates, sorted(budget.categories)) for budget in budgets]).encode()
        )
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self.found = self._check(limits)
            if os.fstat(self._file).st_size < size:
                os.ftruncate(self._file, size)
            self._map = mmap.mmap(self._file, size)
            self.words = memoryview(self._map).cast("q")
            if not self.found:
                self._make(limits, first_ring, len(budgets))
            place = first_ring
            for budget, length in zip(budgets, largest, strict=True):
                self._rings.append(self.words[place : place + length])
                self.windows = (*self.windows, SlidingWindows(budget, self._rings[-1]))
                place += length
        except OSError as error:
            self.close()
            raise ConfigError(
                f"{self._path} cannot hold shared counts ({error.strerror}); name a file that can be written"
            ) from error
        except BaseException:
            self.close()
            raise
        fcntl.flock(self._file, fcntl.LOCK_UN)
        with self._changing():
            self._after_restart(now_ns)

    def close(self) -> None:
        for ring in self._rings:
            ring.release()
        self._rings.clear()
        self.windows = ()
        self.words.release()
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def lane(self, plan: Plan) -> Lane:
        lane = _SharedLane(self, plan)
        return Lane(lane.take, lane.settle, lane.give_back, lane.hold)

    def refresh(self, now_ns: int) -> bool:
        try:
            self.lock()
            self.reap(now_ns)
            self._load()
        finally:
            self.unlock()
        return False  # `take` looks at the file itself: to try once more would not help

    def next_change_ns(self) -> int | None:
        return self.words[REAP] if self.words[REAP] != FOREVER else None

    @contextmanager
    def editing(self, now_ns: int) -> Iterator[None]:
        with self._changing():
            self.reap(now_ns)
            yield

    def lock(self) -> None:
        """Keep every other process out until `unlock`, and find the counts in order."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        if self.words[DIRTY]:
            self._recover()

    def unlock(self) -> None:
        """Let the others in; also when `lock` did not come to its end."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """The windows as the file has them; whatever the block makes of them is written back."""
        try:
            self.lock()
            self._load()
            self.words[DIRTY] = 1
            yield
            self._store()
            self.words[DIRTY] = 0
        finally:
            self.unlock()

    def _check(self, limits: int) -> bool:
        """Whether the file holds counts; looked at before a byte of it is changed, for it may be somebody else's."""
        start = os.pread(self._file, 2 * WORD, 0)
        ours = limits.to_bytes(WORD, sys.byteorder)
        if start.rstrip(b"\0") in {b"", b"\0" * WORD + ours.rstrip(b"\0")}:
            return False  # never made, or its maker died before its last word
        if start[:WORD] != MAGIC.to_bytes(WORD, sys.byteorder):
            raise ConfigError(f"{self._path} is no file of shared counts; name another, it is made when it is missing")
        if start[WORD:] != ours:
            raise ConfigError(
                f"{self._path} counts other limits than these; stop whoever uses it and delete it, or name another file"
            )
        return True

    def _make(self, limits: int, first_ring: int, budgets: int) -> None:
        words = self.words
        words[first_ring:] = memoryview(SlidingWindows.empty_ring(len(words) - first_ring))
        for number in range(budgets):
            words[HEADER + PER_BUDGET * number + OPENS] = NEVER
        words[LIMITS] = limits
        words[REAP] = FOREVER
        words[SEEN] = NEVER
        words[IS] = MAGIC  # last: a maker that dies before it leaves a file that is made again

    def _load(self) -> None:
        words = self.words
        for base, windows in self.based(self.windows):
            windows.resume(words[base + HEAD], words[base + IN_FLIGHT], words[base + OPENS])

    def _store(self) -> None:
        words = self.words
        for base, windows in self.based(self.windows):
            words[base + HEAD] = windows.head
            words[base + IN_FLIGHT] = windows.in_flight
            words[base + OPENS] = windows.opens_ns

    def based(self, plan: Plan) -> list[tuple[int, SlidingWindows]]:
        """The windows of `plan`, each with the first of its words in the file."""
        return [(HEADER + PER_BUDGET * place, windows) for place, windows in enumerate(self.windows) if windows in plan]

    def lease(self, serial: int, until_ns: int, cost: int, mask: int) -> None:
        words, table = self.words, self._table
        for step in range(len(table)):
            lease = table[(serial + step) % len(table)]
            if not words[lease + OWNED]:
                words[lease + UNTIL] = until_ns
                words[lease + COST] = cost
                words[lease + PLAN] = mask
                words[lease + OWNED] = serial
                if until_ns < words[REAP]:  # noqa: PLR1730 - seldom: a word costs more to write than to look at
                    words[REAP] = until_ns
                return
        raise AssertionError("more leases than places: the counts and the table disagree")

    def find(self, ticket: int) -> int | None:
        words, table = self.words, self._table
        for step in range(len(table)):
            lease = table[(ticket + step) % len(table)]
            if words[lease + OWNED] == ticket:
                return lease
        return None

    def reap(self, now_ns: int) -> None:
        """Anchor every take whose lease has run out, in `windows` and in the file. Under the lock."""
        words = self.words
        if now_ns < words[REAP]:
            return
        self._load()
        dirty, words[DIRTY] = words[DIRTY], 1
        held = [lease for lease in self._table if words[lease + OWNED]]
        due = sorted((words[lease + UNTIL], lease) for lease in held if words[lease + UNTIL] <= now_ns)
        for until_ns, lease in due:
            for number, windows in enumerate(self.windows):
                if words[lease + PLAN] >> number & 1:
                    windows.settle(words[lease + COST], until_ns)
            self._store()
            words[lease + OWNED] = 0
        words[REAP] = min((words[lease + UNTIL] for lease in held if words[lease + OWNED]), default=FOREVER)
        words[DIRTY] = dirty

    def _recover(self) -> None:
        """Put right what a holder that died in the middle of a change has left."""
        words = self.words
        leases = [lease for lease in self._table if words[lease + OWNED]]
        for number, windows in enumerate(self.windows):
            base = HEADER + PER_BUDGET * number
            head = words[base + HEAD]
            for _ in range(windows.capacity):
                # Anchors that were written while the head still stood before them are younger than the last one.
                if windows.ring[head] == NEVER or windows.ring[head] < windows.ring[head - 1]:
                    break
                head = (head + 1) % windows.capacity
            words[base + HEAD] = head
            words[base + IN_FLIGHT] = sum(words[lease + COST] for lease in leases if words[lease + PLAN] >> number & 1)
        words[REAP] = min((words[lease + UNTIL] for lease in leases), default=FOREVER)
        words[DIRTY] = 0

    def _after_restart(self, now_ns: int) -> None:
        """When the host was started anew since the file was used: what seems to lie in the future counts as now."""
        words = self.words
        if words[SEEN] <= now_ns + RESTARTED_BY:
            return
        for windows in self.windows:
            windows.ring_not_after(now_ns)
            windows.resume(windows.head, windows.in_flight, min(windows.opens_ns, now_ns + DAY))
        for lease in self._table:
            words[lease + UNTIL] = min(words[lease + UNTIL], now_ns + self.lease_ns)
        words[REAP] = now_ns
        words[SEEN] = now_ns


class _SharedLane:
    """The four calls of one category, each under the lock of the file; they write no word that does not change."""

    def __init__(self, backend: SharedMemoryBackend, plan: Plan) -> None:
        self._backend = backend
        self._based = backend.based(plan)
        self._mask = sum(1 << place for place, windows in enumerate(backend.windows) if windows in plan)

    def take(self, cost: int, now_ns: int) -> int:
        backend = self._backend
        try:
            backend.lock()
            words = backend.words
            backend.reap(now_ns)
            for base, windows in self._based:
                windows.resume(words[base + HEAD], words[base + IN_FLIGHT], words[base + OPENS])
            for place, (_, windows) in enumerate(self._based):
                if windows.take(cost, now_ns) < 0:
                    for _, before in self._based[:place]:
                        before.give_back(cost)  # here; nothing is written yet
                    return -1
            words[DIRTY] = 1
            words[SERIAL] = ticket = words[SERIAL] + 1
            words[SEEN] = now_ns
            backend.lease(ticket, now_ns + backend.lease_ns, cost, self._mask)
            for base, windows in self._based:
                words[base + IN_FLIGHT] = windows.in_flight
            words[DIRTY] = 0
            return ticket
        finally:
            backend.unlock()

    def settle(self, cost: int, anchor_ns: int, ticket: int) -> None:
        self._end(cost, anchor_ns, ticket)

    def give_back(self, cost: int, ticket: int) -> None:
        self._end(cost, None, ticket)

    def _end(self, cost: int, anchor_ns: int | None, ticket: int) -> None:
        """End a take at `anchor_ns`, or as if it had never been."""
        backend = self._backend
        try:
            backend.lock()
            words = backend.words
            words[DIRTY] = 1
            lease = backend.find(ticket)
            for base, windows in self._based:
                windows.resume(words[base + HEAD], words[base + IN_FLIGHT], words[base + OPENS])
                if lease is None:
                    if anchor_ns is not None:
                        windows.add(cost, anchor_ns)  # the lease ran out first: the answer counts as well
                elif anchor_ns is None:
                    windows.give_back(cost)
                else:
                    windows.settle(cost, anchor_ns)
                words[base + HEAD] = windows.head
                words[base + IN_FLIGHT] = windows.in_flight
            if lease is not None:
                words[lease + OWNED] = 0
            words[DIRTY] = 0
        finally:
            backend.unlock()

    def hold(self, cost: int, until_ns: int, ticket: int) -> None:
        backend = self._backend
        try:
            backend.lock()
            words = backend.words
            lease = backend.find(ticket)
            if lease is not None:
                words[DIRTY] = 1
                words[lease + UNTIL] = until_ns
                words[REAP] = min(words[REAP], until_ns)
                words[DIRTY] = 0
        finally:
            backend.unlock()
        if lease is None:
            self._end(cost, until_ns, ticket)  # the lease ran out first
