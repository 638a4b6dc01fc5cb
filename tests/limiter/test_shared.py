"""Several processes on one account, each a real one, and killed for real."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.clock import MILLISECOND, SECOND, SystemClock, VirtualClock
from core.errors import ConfigError
from core.limiter import EnhancedRateLimiter, SharedMemoryBackend
from core.models import Budget, Category, Rate

LIMITS = (
    Budget("all", (Rate(40, 10 * SECOND),)),
    Budget("orders", (Rate(30, 10 * SECOND),), frozenset({Category.ORDERS})),
)
WORKER = """
import sys
from core.clock import SECOND
from core.limiter import EnhancedRateLimiter, SharedMemoryBackend
from core.models import Budget, Category, Rate

limits = (
    Budget("all", (Rate(40, 10 * SECOND),)),
    Budget("orders", (Rate(30, 10 * SECOND),), frozenset({Category.ORDERS})),
)
path, lease_ns, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
limiter = EnhancedRateLimiter(budgets=limits, backend=SharedMemoryBackend(path, lease_ns=lease_ns))
if what == "hold":
    kept = [limiter.try_acquire("orders") for _ in range(12)]
    print(sum(permit is not None for permit in kept), flush=True)
    sys.stdin.read()
elif what == "race":
    print("ready", flush=True)
    sys.stdin.readline()
    taken = 0
    for _ in range(200):
        permit = limiter.try_acquire("reads")
        if permit is not None:
            permit.sent()
            permit.done()
            taken += 1
    print(taken, flush=True)
else:
    print("ready", flush=True)
    while True:  # take, settle and give back without a pause, until killed
        for category in ("orders", "reads"):
            permit = limiter.try_acquire(category)
            if permit is not None:
                permit.sent()
                permit.done() if category == "orders" else permit.give_back()
"""


def start(path: Path, what: str, *, lease_ns: int = 60 * SECOND) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(lease_ns), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def ask(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def end(worker: subprocess.Popen[str]) -> None:
    worker.send_signal(signal.SIGKILL)
    worker.communicate()


def test_two_processes_together_take_the_limit_and_not_one_more(tmp_path: Path) -> None:
    workers = [start(tmp_path / "ring", "race") for _ in range(2)]
    for worker in workers:
        assert ask(worker) == "ready"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    taken = [int(ask(worker)) for worker in workers]
    for worker in workers:
        end(worker)
    assert sum(taken) == 40


def test_what_a_killed_process_held_counts_until_its_lease_and_one_window_and_no_longer(tmp_path: Path) -> None:
    lease_ns = 5 * SECOND
    worker = start(tmp_path / "ring", "hold", lease_ns=lease_ns)
    assert ask(worker) == "12"
    end(worker)
    clock = VirtualClock(start_ns=SystemClock().now_ns())
    limiter = EnhancedRateLimiter(budgets=LIMITS, clock=clock, backend=SharedMemoryBackend(tmp_path / "ring"))
    everything = limiter.headroom()[0]
    assert (everything.in_flight, everything.used) == (12, 0)
    clock._now_ns += lease_ns
    everything = limiter.headroom()[0]
    assert (everything.in_flight, everything.used) == (0, 12)
    clock._now_ns += 10 * SECOND + 2 * MILLISECOND
    assert all(window.free == window.rate.permits for window in limiter.headroom())
    limiter.close()


@pytest.mark.parametrize("after_ms", [3, 11, 17, 29, 41])
def test_a_process_killed_at_any_instant_leaves_counts_that_add_up(tmp_path: Path, after_ms: int) -> None:
    path = tmp_path / "ring"
    worker = start(path, "churn", lease_ns=SECOND)
    assert ask(worker) == "ready"
    time.sleep(after_ms / 1000)
    end(worker)
    clock = VirtualClock(start_ns=SystemClock().now_ns())
    limiter = EnhancedRateLimiter(budgets=LIMITS, clock=clock, backend=SharedMemoryBackend(path, lease_ns=SECOND))
    everything, orders = limiter.headroom()
    assert everything.in_flight <= 1
    assert everything.used >= orders.used
    for window in (everything, orders):
        assert window.used + window.in_flight + window.free == window.rate.permits
    for windows in limiter._backend.windows:
        in_order = [windows.ring[(windows.head + place) % windows.capacity] for place in range(windows.capacity)]
        assert in_order == sorted(in_order)
    clock._now_ns += 12 * SECOND
    assert all(window.free == window.rate.permits for window in limiter.headroom())
    assert sum(limiter.try_acquire("orders") is not None for _ in range(60)) == 30
    limiter.close()


DYING = """
import os, sys
from core.clock import SECOND
from core.limiter import EnhancedRateLimiter, SharedMemoryBackend
from core.models import Budget, Rate

class Dying:
    def __init__(self, words, stop_at): self.words, self.writes, self.stop_at = words, 0, stop_at
    def __getitem__(self, at): return self.words[at]
    def __len__(self): return len(self.words)
    def __setitem__(self, at, value):
        self.writes += 1
        if self.writes == self.stop_at: os.kill(os.getpid(), 9)
        self.words[at] = value

class Ring:
    def __init__(self, dying): self.dying = dying
    def __getitem__(self, at): return self.dying[len(self.dying) - 3 + at % 3]
    def __setitem__(self, at, value): self.dying[len(self.dying) - 3 + at % 3] = value

folder, change, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
for stop_at in range(1, rows + 1):
    if os.fork() == 0:
        backend = SharedMemoryBackend(f"{folder}/{stop_at}", lease_ns=SECOND)
        limiter = EnhancedRateLimiter(budgets=[Budget("all", (Rate(3, 10 * SECOND),))], backend=backend)
        permits = [limiter.try_acquire() for _ in range(2)]
        for permit in permits: permit.sent()
        permits[0].done()
        backend.words = dying = Dying(backend.words, stop_at)
        backend.windows[0].ring = Ring(dying)
        exec(change)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize(
    ("change", "writes", "counted"),  # what is done with one of two places of three, and what may count after a death
    [
        ("permits[1].done()", 6, {2, 3}),
        ("permits[1].give_back()", 5, {1, 2}),
        ("permits[1].unanswered(0)", 4, {2}),
        ("limiter.try_acquire()", 9, {2, 3}),
    ],
)
def test_a_death_between_any_two_writes_of_a_change_loses_no_count(
    tmp_path: Path, change: str, writes: int, counted: set[int]
) -> None:
    """Each child dies by its own hand right before one write to the file; the next process must put that right."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path), change, str(writes + 1)],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    # The last one has no write left to die before.
    assert done.stdout.split() == [*(["-9"] * writes), "0"]
    for stop_at in range(1, writes + 2):
        clock = VirtualClock(start_ns=SystemClock().now_ns())
        backend = SharedMemoryBackend(tmp_path / str(stop_at), lease_ns=SECOND)
        limiter = EnhancedRateLimiter(budgets=[Budget("all", (Rate(3, 10 * SECOND),))], clock=clock, backend=backend)
        window = limiter.headroom()[0]
        assert window.used + window.in_flight in counted
        clock._now_ns += 12 * SECOND
        assert limiter.headroom()[0].free == 3
        limiter.close()


def test_a_file_that_counts_other_limits_is_refused(tmp_path: Path) -> None:
    EnhancedRateLimiter(10, backend=SharedMemoryBackend(tmp_path / "ring")).close()
    with pytest.raises(ConfigError, match="counts other limits"):
        EnhancedRateLimiter(9, backend=SharedMemoryBackend(tmp_path / "ring"))
    with pytest.raises(ConfigError, match="counts other limits"):
        EnhancedRateLimiter(10, 200, backend=SharedMemoryBackend(tmp_path / "ring"))


@pytest.mark.parametrize("content", [b"[brokers.fyers]\n", b"x", b"\0" * 8 + b"SQLite format 3"])
def test_a_file_that_is_something_else_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "headroom.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="no file of shared counts"):
        EnhancedRateLimiter(10, backend=SharedMemoryBackend(path))
    assert path.read_bytes() == content


def test_a_place_that_cannot_hold_counts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot hold shared counts"):
        EnhancedRateLimiter(10, backend=SharedMemoryBackend(tmp_path))


def test_what_was_saved_is_not_added_to_counts_that_outlived_the_process(tmp_path: Path) -> None:
    clock = VirtualClock(start_ns=10 * SECOND)
    first = EnhancedRateLimiter(None, 10, clock=clock, backend=SharedMemoryBackend(tmp_path / "ring"))
    for _ in range(4):
        first.record_request()
    state = first.save_state(final=True)  # which closes the gate of a process that counts alone
    first.close()
    second = EnhancedRateLimiter(None, 10, clock=clock, backend=SharedMemoryBackend(tmp_path / "ring"))
    second.load_state(state, epoch_now_ns=clock.epoch_ns())
    assert second.headroom()[0].used == 4
    assert second.try_acquire() is not None
    second.close()
    lost = EnhancedRateLimiter(None, 10, clock=clock, backend=SharedMemoryBackend(tmp_path / "another"))
    lost.load_state(state, epoch_now_ns=clock.epoch_ns())
    assert lost.headroom()[0].used >= 4
    lost.close()


def test_counts_outlive_everyone_who_used_them(tmp_path: Path) -> None:
    clock = VirtualClock(start_ns=10 * SECOND)
    first = EnhancedRateLimiter(10, clock=clock, backend=SharedMemoryBackend(tmp_path / "ring"))
    for _ in range(4):
        first.record_request()
    first.close()
    second = EnhancedRateLimiter(10, clock=clock, backend=SharedMemoryBackend(tmp_path / "ring"))
    assert second.headroom()[0].used == 4
    second.close()


def test_after_a_restart_of_the_host_what_seems_to_lie_in_the_future_counts_as_now(tmp_path: Path) -> None:
    before = EnhancedRateLimiter(
        10, clock=VirtualClock(start_ns=10**15), backend=SharedMemoryBackend(tmp_path / "ring")
    )
    permits = [before.try_acquire() for _ in range(4)]
    assert permits[0] is not None
    permits[0].sent()
    permits[0].done()
    before.close()
    clock = VirtualClock(start_ns=5 * SECOND)
    after = EnhancedRateLimiter(10, clock=clock, backend=SharedMemoryBackend(tmp_path / "ring", lease_ns=2 * SECOND))
    window = after.headroom()[0]
    assert window.used + window.in_flight == 4
    assert window.all_free_in_ns <= 2 * SECOND
    clock._now_ns += 4 * SECOND
    assert after.headroom()[0].free == 10
    after.close()


def test_an_answer_that_comes_after_its_lease_counts_once_more(tmp_path: Path) -> None:
    clock = VirtualClock()
    backend = SharedMemoryBackend(tmp_path / "ring", lease_ns=SECOND)
    limiter = EnhancedRateLimiter(None, 10, clock=clock, backend=backend)
    permit = limiter.try_acquire()
    assert permit is not None
    permit.sent()
    clock._now_ns += 2 * SECOND
    assert limiter.headroom()[0].used == 1
    permit.done()
    assert limiter.headroom()[0].used == 2
    limiter.close()
