"""Start the dashboard in a pseudo-terminal, press keys, quit; fail unless it drew both brokers and left in order."""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

KEYS = ("2", "3", "4", "1", "p", "p", "q")
DEADLINE_S = 60.0


def main() -> int:
    """Run the app once; 0 when it was as it should be."""
    headroom = Path(sys.executable).with_name("headroom")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8")
        os.execv(headroom, [str(headroom), "--seed", "1"])  # noqa: S606 - our own program, no shell
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    started = time.monotonic()
    screen = _read(terminal, until=b"SIMULATED", patience_s=20)
    screen += _read(terminal, until=None, patience_s=3)
    for key in KEYS:
        os.write(terminal, key.encode())
        screen += _read(terminal, until=None, patience_s=0.5)
    while time.monotonic() - started < DEADLINE_S:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        screen += _read(terminal, until=None, patience_s=0.2)
    else:
        os.kill(pid, signal.SIGKILL)
        print("the app did not quit", file=sys.stderr)
        return 1
    code = os.waitstatus_to_exitcode(status)
    missing = [word for word in (b"SIMULATED", b"fyers", b"upstox") if word not in screen]
    print(f"exit code {code}, {len(screen)} bytes drawn, missing: {missing or 'nothing'}")
    return 1 if code or missing or b"Traceback" in screen else 0


def _read(terminal: int, *, until: bytes | None, patience_s: float) -> bytes:
    """What the app draws within `patience_s`, or until it has drawn `until`."""
    drawn = b""
    end = time.monotonic() + patience_s
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([terminal], [], [], left)
        if not ready:
            break
        try:
            drawn += os.read(terminal, 65536)
        except OSError:  # the app has closed its side
            break
        if until is not None and until in drawn:
            break
    return drawn


if __name__ == "__main__":
    sys.exit(main())
