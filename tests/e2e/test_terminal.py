"""A terminal that goes away, and one that stops reading: the program sees to itself, the engine does not notice."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The app over sample snapshots, beside a second thread that notes how late it is: an engine, as far as the screen goes.
STALLED = """
import sys, threading, time
from tests.screen import samples
from tui.app import HeadroomApp

class Port(samples.SamplePort):
    step = 0
    def snapshot(self):
        self.step += 1
        return samples.many(step=self.step)

late, ended = [], threading.Event()
def engine():
    while not ended.wait(0.005):
        begun = time.perf_counter()
        time.sleep(0.01)
        late.append(time.perf_counter() - begun - 0.01)
thread = threading.Thread(target=engine)
thread.start()
HeadroomApp(Port(samples.many()), hz=10).run()
ended.set()
thread.join()
late.sort()
open(sys.argv[1], "w").write(f"{len(late)} {late[int(len(late) * 0.99)]}")
"""


# The real engine and its screen on one terminal: orders are placed on the engine's loop while nobody reads.
ENGINE = """
import sys, time
from pathlib import Path
import anyio
from core.brokers import published_limits
from core.config import simulated_settings
from core.models import Order, OrderType
from tui.app import HeadroomApp
from tui.live import open_live_port

took = []
async def place(router):
    for number in range(10_000):
        begun = time.monotonic()
        await router.place_order(Order(symbol="NSE:SBIN-EQ", quantity=1, client_order_id=f"o{number}"))
        took.append((begun, time.monotonic() - begun))
        await anyio.sleep(0.4)

settings = simulated_settings(published_limits, seed=1, store=Path(sys.argv[1]) / "headroom.db")
with open_live_port(settings, background=True) as port:
    placing = port._portal.start_task_soon(place, port._router)
    HeadroomApp(port, hz=10).run()
    placing.cancel()
Path(sys.argv[1], "took").write_text(chr(10).join(f"{begun} {s}" for begun, s in took))
"""


class Pty:
    """A program on a pseudo-terminal whose other end we hold."""

    def __init__(self, *command: str, ignore_hangup: bool = False) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

        def become_its_session() -> None:
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=become_its_session,  # noqa: PLW1509 - no thread runs when it forks
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        os.close(theirs)

    def read_until(self, word: bytes, patience_s: float = 20.0) -> None:
        seen = b""
        deadline = time.monotonic() + patience_s
        while word not in seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {word!r} within {patience_s} s"
            if select.select([self.ours], [], [], left)[0]:
                seen = (seen + os.read(self.ours, 65536))[-200_000:]

    def drain(self) -> None:
        """Read on in the background, so that it can say good-bye."""

        def read() -> None:
            try:
                while os.read(self.ours, 65536):
                    pass
            except OSError:
                return

        threading.Thread(target=read, daemon=True).start()


@pytest.fixture
def started() -> Iterator[list[Pty]]:
    running: list[Pty] = []
    yield running
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.mark.parametrize("ignore_hangup", [False, True])
def test_a_terminal_that_is_gone_ends_it_within_two_seconds(started: list[Pty], ignore_hangup: bool) -> None:
    code = "from tests.screen import samples; from tui.app import HeadroomApp; import sys\n"
    code += "app = HeadroomApp(samples.SamplePort(samples.normal())); app.run(); sys.exit(app.return_code)"
    terminal = Pty(sys.executable, "-c", code, ignore_hangup=ignore_hangup)
    started.append(terminal)
    terminal.read_until(b"RUNS OUT")
    os.close(terminal.ours)
    begun = time.monotonic()
    assert terminal.process.wait(10) == 129
    assert time.monotonic() - begun < 2


def test_a_terminal_that_stops_reading_delays_no_other_thread(started: list[Pty], tmp_path: Path) -> None:
    report = tmp_path / "late"
    terminal = Pty(sys.executable, "-c", STALLED, str(report))
    started.append(terminal)
    terminal.read_until(b"RUNS OUT")
    time.sleep(4)  # nobody reads: the screen's own loop stands still by now
    os.write(terminal.ours, b"q")
    terminal.drain()
    assert terminal.process.wait(20) == 0
    beats, late_p99_s = report.read_text("utf-8").split()
    assert int(beats) > 100
    assert float(late_p99_s) < 0.5  # the bench measures; here only that it does not wait for the terminal


def test_ten_seconds_of_a_terminal_that_nobody_reads_delay_no_order_by_more_than_50_ms(
    started: list[Pty], tmp_path: Path
) -> None:
    terminal = Pty(sys.executable, "-c", ENGINE, str(tmp_path))
    started.append(terminal)
    terminal.read_until(b"RUNS OUT")
    read_until = time.monotonic() + 10
    while time.monotonic() < read_until:  # the ordinary case first, to compare with
        if select.select([terminal.ours], [], [], 0.1)[0]:
            os.read(terminal.ours, 65536)
    stalled_at = time.monotonic()
    time.sleep(10)
    stalled_until = time.monotonic()
    os.write(terminal.ours, b"q")
    terminal.drain()
    assert terminal.process.wait(30) == 0
    rows = [tuple(map(float, row.split())) for row in (tmp_path / "took").read_text("utf-8").splitlines()]
    before = sorted(took_s for begun, took_s in rows if begun < stalled_at)
    during = sorted(took_s for begun, took_s in rows if stalled_at <= begun < stalled_until - 1)
    assert len(during) >= 10  # it went on placing orders all the while
    # The slowest order of each half is the machine's own; what the terminal does shows in all of them.
    added_s = during[len(during) * 9 // 10] - before[len(before) * 9 // 10]
    print(f"an order took {added_s * 1000:+.1f} ms more at the 90th percentile while nobody read")
    assert added_s < 0.05
