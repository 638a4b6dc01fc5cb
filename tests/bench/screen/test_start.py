"""How soon the screen is there: the real program on a pseudo-terminal, cold and warm. Each prints its figure.

    pytest tests/bench/screen/test_start.py --benchmark-enable -s

Processor time is read from the kernel at the moment when the picture has come through; a start from a cold page cache
cannot be had without root, so that cold here means the first start after the byte code was thrown away.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_S = 60.0


class Start:
    """`headroom` on a terminal of 160 x 50, and the moments at which words have appeared."""

    def __init__(self, *arguments: str, home: Path, **environ: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(home), **environ}
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui", *arguments], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._seen = b""

    def until(self, word: bytes) -> tuple[float, float]:
        """Seconds by the wall, and of the processor, until this word was painted."""
        while word not in self._seen:
            left = self.begun + PATIENCE_S - time.perf_counter()
            assert left > 0, f"no {word!r} within {PATIENCE_S:.0f} s: {self._seen[-400:]!r}"
            if select.select([self.ours], [], [], left)[0]:
                self._seen += os.read(self.ours, 1 << 16)
        wall = time.perf_counter() - self.begun
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return wall, (int(fields[11]) + int(fields[12])) * TICK_S

    def leave(self) -> int:
        os.write(self.ours, b"q")
        try:
            while os.read(self.ours, 1 << 16):
                pass
        except OSError:
            pass
        os.close(self.ours)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def enabled(request: pytest.FixtureRequest) -> bool:
    option = request.config.getoption
    return bool(option("benchmark_enable") or not option("benchmark_disable"))


def test_the_first_picture_of_headroom(tmp_path: Path, enabled: bool) -> None:
    first: list[tuple[float, float]] = []
    ready: list[tuple[float, float]] = []
    for _ in range(5 if enabled else 1):
        start = Start(home=tmp_path)
        first.append(start.until(b"connecting"))
        ready.append(start.until(b"traffic / fair"))
        assert start.leave() == 0
    wall, cpu = min(first)[0], min(cpu for _, cpu in first)
    print(
        f"\nfirst picture of `headroom`, 160x50: {wall:.2f} s by the wall, {cpu:.2f} s of the processor "
        f"(aims 0.9 and 0.6); brokers on it after {min(ready)[0]:.2f} s, {min(cpu for _, cpu in ready):.2f} s of the "
        "processor"
    )
    assert not enabled or cpu <= 0.6


def test_the_first_picture_without_byte_code(tmp_path: Path, enabled: bool) -> None:
    if not enabled:
        pytest.skip("compiles everything anew; --benchmark-enable")
    start = Start(home=tmp_path, PYTHONPYCACHEPREFIX=str(tmp_path / "byte code"))
    wall, cpu = start.until(b"connecting")
    start.until(b"traffic / fair")
    assert start.leave() == 0
    print(f"\nfirst picture before anything was ever compiled: {wall:.2f} s by the wall, {cpu:.2f} s of the processor")


def test_help_needs_no_screen(enabled: bool) -> None:
    command = [sys.executable, "-m", "tui", "--help"]
    told = subprocess.run([sys.executable, "-X", "importtime", *command[1:]], cwd=ROOT, capture_output=True, check=True)
    assert b"textual" not in told.stderr
    took = []
    for _ in range(5 if enabled else 1):
        begun = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        took.append(time.perf_counter() - begun)
    print(f"\n`headroom --help`: {min(took):.2f} s by the wall (aim 0.25), no Textual imported")
