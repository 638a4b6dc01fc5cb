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

ROOT = Path(__file__).parents[3]
SIZE = (50, 160)
FIRST_PICTURE_S = 4.0


@contextmanager
def live_dashboard(state: Path) -> Iterator[None]:
    """`headroom` with its background flow; it keeps what it keeps under `state`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(state)}
    environment = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "tui"], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    painted = 0

    def read() -> None:
        nonlocal painted
        with suppress(OSError):
            while chunk := os.read(ours, 1 << 20):
                painted += len(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        time.sleep(FIRST_PICTURE_S)
        before = painted
        yield
        assert process.poll() is None, "the dashboard has ended by itself"
        assert painted > before, "the dashboard painted nothing meanwhile"
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
