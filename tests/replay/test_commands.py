"""`headroom record` and `headroom replay` as real processes: exit codes, files, one line for a mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import SECOND
from core.replay import FrameEncoder, RecordingWriter, open_recording
from tests.screen import samples

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def headroom(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", *map(str, arguments)], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=100, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes, a picture a second, from 09:30:00 in India."""
    path = tmp_path_factory.mktemp("day") / "day.hrec"
    encoder, base = FrameEncoder(), samples.normal()
    with RecordingWriter(path, simulated=True) as writer:
        for second in range(301):
            past_ns = second * SECOND
            counters = replace(base.counters, requests=second)
            writer.write(
                encoder.encode(
                    replace(base, sequence=second, at_ns=past_ns, epoch_ns=base.epoch_ns + past_ns, counters=counters)
                )
            )
    return path


def test_recording_ends_by_itself_and_says_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "run.hrec"
    done = headroom("record", path, "--seconds", "1", "--hz", "5")
    assert done.returncode == 0, done.stderr
    track = open_recording(path).track
    assert f"{path}: {len(track):,} pictures in" in done.stdout
    assert 3 <= len(track) <= 6
    assert track.at(track.last_ns).brokers[0].name == "fyers"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recording_that_is_told_to_end_is_whole(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "run.hrec"
    process = subprocess.Popen(
        [sys.executable, "-m", "tui", "record", str(path)], cwd=ROOT, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        while not path.exists() or path.stat().st_size < 8000:  # some pictures are in it
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        told, complained = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, complained
    assert "Traceback" not in complained
    assert "look at it: headroom replay" in told
    assert open_recording(path).cut_short == ""


def test_a_file_that_exists_is_left_alone(day: Path) -> None:
    before = day.read_bytes()
    done = headroom("record", day, "--seconds", "1")
    assert (done.returncode, day.read_bytes()) == (2, before)
    assert done.stderr == f"headroom: {day}: exists already; a recording never overwrites, so name another file\n"


@pytest.mark.parametrize(
    ("at", "second"),
    [
        ((), 300), (("--at", "2m"), 180), (("--at", "+90s"), 90), (("--at", "09:32:05"), 125), (("--at", "start"), 0),
        (("--at", "0.5m"), 270), (("--at", "end"), 300),
    ],
)  # fmt: skip
def test_a_moment_is_printed_where_there_is_no_terminal(day: Path, at: tuple[str, ...], second: int) -> None:
    done = headroom("replay", day, "--json", *at)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["value"]["counters"]["requests"] == second


def test_the_report_is_the_dashboards(day: Path) -> None:
    done = headroom("replay", day, "--at", "09:32:05")
    assert done.returncode == 0
    assert "RUNS OUT" in done.stdout
    assert "09:32:05 IST" in done.stdout


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("yesterday", "'yesterday' is no moment: write 3m or 90s before the end"),
        ("6m", "'6m' lies outside what is kept"),
        ("25:00", "'25:00' is no time of day"),
        ("08:00", "'08:00' lies outside what is kept"),
    ],
)
def test_a_moment_that_is_none_is_told_in_one_line(day: Path, at: str, says: str) -> None:
    done = headroom("replay", day, "--at", at)
    assert done.returncode == 2
    assert done.stderr.startswith(f"headroom: --at: {says}")
    assert done.stderr.count("\n") == 1


def test_a_file_that_breaks_off_plays_and_says_so(day: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.hrec"
    cut.write_bytes(day.read_bytes()[:-10])
    done = headroom("replay", cut, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["value"]["counters"]["requests"] == 299
    assert "it ends in the middle of a picture" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), (b"GIF89a", "not a recording of headroom")])
def test_a_file_that_is_none_is_told_in_one_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    done = headroom("replay", path)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("record", "x", "--hz", "0"), ("record", "x", "--seconds", "never"), ("replay",)]
)
def test_bad_usage_is_2_and_one_line(arguments: tuple[str, ...]) -> None:
    done = headroom(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
