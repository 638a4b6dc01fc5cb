"""A real dashboard on a pseudo-terminal that is read all the time: what a load has to share the machine with."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Dashboard", "live_dashboard"]

ROOT = Path(__file__).parents[3]
SIZE = (50, 160)
READY = "2/2 brokers healthy"  # stands there once the engine has started
PATIENCE_S = 20.0


class Dashboard:
    """The terminal of a running `headroom`, seen from outside: keys go in, what it paints comes out."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._painted = bytearray()
        self._news = threading.Condition()
        self._ended = False

    def read(self) -> None:
        """Take what is painted, until the program ends; on a thread of its own."""
        with suppress(OSError):
            while chunk := os.read(self._terminal, 1 << 20):
                with self._news:
                    self._painted += chunk
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def painted(self) -> int:
        """Bytes so far."""
        return len(self._painted)

    def press(self, keys: bytes, shows: str) -> float:
        """Seconds from the key to the picture that `shows` what only it can bring about."""
        since, pressed = self.painted, time.perf_counter()
        os.write(self._terminal, keys)
        self.wait(shows, since)
        return time.perf_counter() - pressed

    def wait(self, shows: str, since: int = 0) -> None:
        """Return once it `shows` that, in what was painted after the first `since` bytes."""
        wanted = shows.encode()
        with self._news:
            seen = self._news.wait_for(lambda: self._ended or self._painted.find(wanted, since) >= 0, PATIENCE_S)
            assert seen, f"{shows!r} was not painted within {PATIENCE_S:.0f} s"
            assert not self._ended, "the dashboard has ended by itself"


@contextmanager
def live_dashboard(state: Path) -> Iterator[Dashboard]:
    """`headroom` with its background flow; it keeps what it keeps under `state`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(state)}
    environment = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "tui"], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    dashboard = Dashboard(ours)
    reader = threading.Thread(target=dashboard.read)
    reader.start()
    try:
        dashboard.wait(READY)
        before = dashboard.painted
        yield dashboard
        assert process.poll() is None, "the dashboard has ended by itself"
        assert dashboard.painted > before, "the dashboard painted nothing meanwhile"
    finally:
        with suppress(OSError):
            os.write(ours, b"q")
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        reader.join()
        os.close(ours)
    assert code == 0
