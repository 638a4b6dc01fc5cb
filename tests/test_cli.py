"""The command line as a user meets it: real processes, exit codes, one line for a mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def headroom(*arguments: str | Path, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", [(), ("stress",), ("simulate",), ("journal",), ("init",), ("login",), ("check",)])
def test_every_help_is_complete(command: tuple[str, ...]) -> None:
    done = headroom(*command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: headroom{''.join(' ' + word for word in command)}")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--colour",), "unrecognized arguments: --colour"),
        (("dance",), "invalid choice: 'dance'"),
        (("--seed", "x"), "invalid int value: 'x'"),
        (("--config", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (("stress", "nowhere"), "nowhere"),
        (("stress", "users", "--rate", "-1"), "rate"),
        (("--store", "/proc/nowhere/headroom.db", "--report"), "/proc/nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], says: str) -> None:
    done = headroom(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_without_a_terminal_the_report_is_printed_once() -> None:
    done = headroom("--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    for word in ("fyers", "upstox", "100000/day", "2000/30min"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_the_report_as_json_has_the_same_content() -> None:
    done = headroom("--json")
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    snapshot = body.get("value", body)
    assert [broker["name"] for broker in snapshot["brokers"]] == ["fyers", "upstox"]
    assert snapshot["simulated"] is True


def test_init_writes_a_file_for_its_owner_alone_and_never_over_another(tmp_path: Path) -> None:
    done = headroom("init", "mine.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "mine.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    again = headroom("init", "mine.toml", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert path.read_bytes() == before


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.Popen(
        [sys.executable, "-m", "tui", "--report"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert done.stdout is not None
    done.stdout.close()
    _, stderr = done.communicate(timeout=60)
    assert stderr == ""
    assert done.returncode == 0
