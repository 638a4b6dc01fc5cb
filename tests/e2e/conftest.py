"""The real program in a real terminal: tmux on a server of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 45.0


class Terminal:
    """One program in one tmux pane. Everything waits by looking, never by sleeping for a guess."""

    def __init__(self, home: Path) -> None:
        self._socket = f"headroom-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._home = home
        self._code = home / "exit-code"

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments],
            check=True, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        return done.stdout

    def start(self, *command: str, size: tuple[int, int] = (120, 40)) -> None:
        places = {name: str(self._home) for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        settings = {**places, "TERM": "tmux-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
        # Else the program under test believes the size of the terminal that pytest runs in.
        line = [
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            *(f"{name}={value}" for name, value in settings.items()),
            *command,
        ]
        width, height = size
        # A shell keeps the exit code: tmux 3.3 now and then misses the end of a pane's own process.
        script = f"{shlex.join(line)}; echo $? > {shlex.quote(str(self._code))}; exec sleep 600"
        self.tmux(
            "start-server", ";", "set-option", "-g", "default-size", f"{width}x{height}", ";",
            "set-option", "-g", "status", "off", ";", "set-option", "-g", "remain-on-exit", "on", ";",
            "set-option", "-s", "escape-time", "0", ";",
            "new-session", "-d", "-x", str(width), "-y", str(height), "-s", "t", "-c", str(ROOT), script,
        )  # fmt: skip

    def stop(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False, capture_output=True)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", "-t", "t", key)

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-t", "t", "-l", text)

    def click(self, x: int, y: int) -> None:
        for end in "Mm":
            report = f"\x1b[<0;{x + 1};{y + 1}{end}"
            self.tmux("send-keys", "-t", "t", "-H", *(f"{byte:02x}" for byte in report.encode()))

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-t", "t", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "t")

    def fact(self, name: str) -> str:
        return self.tmux("display-message", "-p", "-t", "t", f"#{{{name}}}").strip()

    @property
    def pid(self) -> int:
        shell = self.fact("pane_pid")
        [child] = Path(f"/proc/{shell}/task/{shell}/children").read_text("utf-8").split()
        return int(child)

    def wait_for(self, told: str | Callable[[], bool]) -> str:
        """Return the screen once it says so, or once the condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if told() if callable(told) else told in self.screen():
                return self.screen()
            time.sleep(0.05)
        pytest.fail(f"waited {PATIENCE_S:.0f} s for {told!r}; the screen says:\n{self.screen()}")

    def wait_for_exit(self) -> int:
        """The exit code."""
        self.wait_for(lambda: self._code.exists() and self._code.read_text("utf-8").endswith("\n"))
        return int(self._code.read_text("utf-8"))


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed; apt-get install tmux")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.stop()


@pytest.fixture
def headroom() -> tuple[str, ...]:
    return (sys.executable, "-m", "tui")
