"""A recording on disk: readable after any end, honest about every fault, free of secrets."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import anyio
import pytest

from core.brokers import published_limits
from core.clock import SECOND, VirtualClock
from core.config import load_settings
from core.errors import ConfigError
from core.models import RouterSnapshot
from core.replay import FrameEncoder, Recording, RecordingWriter, open_recording, record
from core.router import open_router
from tests.replay.drawn import walk

ROOT = Path(__file__).parents[2]


def written(path: Path, count: int = 30) -> Path:
    encoder = FrameEncoder()
    with RecordingWriter(path, simulated=True) as writer:
        for snapshot in walk(Random(1), count):
            writer.write(encoder.encode(snapshot))
    return path


def shown(recording: Recording) -> list[object]:
    return [recording.track.at(frame.at_ns) for frame in recording.track.frames()]


def test_a_file_gives_back_what_was_written_and_is_its_owners_alone(tmp_path: Path) -> None:
    encoder = FrameEncoder()
    path = [replace(snapshot, at_ns=n * SECOND) for n, snapshot in enumerate(walk(Random(2), 30))]
    with RecordingWriter(tmp_path / "day.hrec", simulated=False) as writer:
        writer.write(*(encoder.encode(snapshot) for snapshot in path))
        assert writer.frames == 30
    assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600
    assert writer.size_bytes == writer.path.stat().st_size
    recording = open_recording(writer.path)
    assert (recording.simulated, recording.cut_short, shown(recording)) == (False, "", path)


def test_a_file_cut_off_anywhere_plays_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole").read_bytes()
    full = len(shown(open_recording(tmp_path / "whole")))
    # The first picture is whole from here on.
    head = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    begins = head + 21 + int.from_bytes(whole[head + 1 : head + 5], "big")
    cut_short = 0
    counts: list[int] = []
    for length in range(0, len(whole), 97):
        cut = tmp_path / "cut"
        cut.write_bytes(whole[:length])
        if length < begins:
            with pytest.raises(ConfigError, match=r"^[^\n]*(not a recording|holds no picture|version)[^\n]*$"):
                open_recording(cut)
            continue
        recording = open_recording(cut)
        counts.append(len(recording.track))
        cut_short += bool(recording.cut_short)
    assert cut_short
    assert counts == sorted(counts)
    assert full - 1 <= counts[-1] <= full


def test_a_tail_of_zeros_is_where_the_power_went_and_no_damage(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole + bytes(4096))
    recording = open_recording(tmp_path / "cut")
    assert "4,096 bytes after number 30" in recording.cut_short


def test_one_wrong_bit_anywhere_is_found_and_named(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", 12).read_bytes()
    start = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    rng = Random(5)
    for _ in range(150):
        at = rng.randrange(start, len(whole))
        wrong = bytearray(whole)
        wrong[at] ^= 1 << rng.randrange(8)
        (tmp_path / "wrong").write_bytes(wrong)
        with pytest.raises(ConfigError, match=r"wrong: damaged at byte [\d,]+, after \d+ whole pictures") as caught:
            open_recording(tmp_path / "wrong")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a recording of headroom"),
        (b"PK\x03\x04 something else", "not a recording of headroom"),
        (b"headroom recording 2\n{}\n", "written by a newer headroom (recording version 2, this one reads 1)"),
        (b"headroom recording one\n{}\n", "damaged at byte 0"),
        (b"headroom recording 1\n{}\n", "damaged at byte 21"),
        (b"headroom recording 1\nnull\n", "damaged at byte 21"),
        (b"headroom recording 1\n", "holds no picture"),
        (b'headroom recording 1\n{"simulated":true,"fields":{}}\n', "holds no picture"),
        (b'headroom recording 1\n{"simulated":true,"fields":{}}\n' + b"x" * 80, "damaged at byte 52"),
    ],
)
def test_a_file_that_is_none_or_newer_is_told_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        open_recording(path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened_made_or_overwritten_is_told_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            open_recording(path)
    with pytest.raises(ConfigError, match="cannot be made"):
        RecordingWriter(tmp_path / "no folder" / "file", simulated=True)
    written(tmp_path / "there")
    before = (tmp_path / "there").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        RecordingWriter(tmp_path / "there", simulated=True)
    assert (tmp_path / "there").read_bytes() == before


def test_a_full_disk_is_told_in_one_line() -> None:
    with pytest.raises(ConfigError, match="/dev/full: exists already"):
        RecordingWriter(Path("/dev/full"), simulated=True)


async def test_a_router_is_recorded_on_the_clock_it_runs_on(tmp_path: Path, clock: VirtualClock) -> None:
    with RecordingWriter(tmp_path / "run.hrec", simulated=True) as writer:
        async with open_router(clock=clock) as router, anyio.create_task_group() as tasks:
            taken: list[RouterSnapshot] = []

            class Noted:
                def snapshot(self) -> RouterSnapshot:
                    taken.append(router.snapshot())
                    return taken[-1]

            tasks.start_soon(lambda: record(Noted(), writer, clock=clock, interval_ns=SECOND // 2))
            await clock.advance_ns(20 * SECOND)
            tasks.cancel_scope.cancel()
    recording = open_recording(writer.path)
    written_down = [frame.at_ns for frame in recording.track.frames()]
    assert len(written_down) == 41
    assert {after - before for before, after in pairwise(written_down)} == {SECOND // 2}
    assert shown(recording) == taken


async def test_no_secret_of_the_settings_is_in_a_recording(tmp_path: Path, clock: VirtualClock) -> None:
    (tmp_path / "headroom.toml").write_text(
        "[brokers.fyers]\nsimulated = true\nclient_id = 'ID-hunter1'\n"
        "api_secret = 'hunter2'\naccess_token = 'hunter3'\n"
    )
    settings = load_settings(tmp_path / "headroom.toml", published_limits, {"HEADROOM_FYERS_API_KEY": "hunter4"})
    with RecordingWriter(tmp_path / "run.hrec", simulated=True) as writer:
        async with open_router(settings, clock=clock) as router:
            encoder = FrameEncoder()
            for _ in range(3):
                await clock.advance_ns(SECOND)
                writer.write(encoder.encode(router.snapshot()))
    head = writer.path.read_bytes().split(b"\n")[1]
    lines = [
        zlib.decompressobj(wbits=-15).decompress(f.data) for f in open_recording(writer.path).track.frames() if f.opens
    ]
    assert lines
    assert b"fyers" in lines[0]
    for text in (head, *lines):
        assert b"hunter" not in text


RECORDER = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
from random import Random
from core.replay import FrameEncoder, RecordingWriter
from tests.replay.drawn import walk
encoder, writer = FrameEncoder(), RecordingWriter(Path(sys.argv[1]), simulated=True)
path = walk(Random(1), 100)
for number in itertools.count():
    writer.write(encoder.encode(replace(path[number % 100], at_ns=number * 10**8)))
    if number == 200:
        print("on", flush=True)
"""


def test_a_recorder_that_is_killed_leaves_a_file_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "killed.hrec"
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDER, path], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    recording = open_recording(path)
    assert len(recording.track) > 200
    path = [replace(snapshot, at_ns=n * 10**8) for n, snapshot in enumerate(walk(Random(1), 100))]
    assert shown(recording)[:100] == path


def test_the_documented_format_can_be_read_with_nothing_of_ours(tmp_path: Path) -> None:
    data = written(tmp_path / "plain", 5).read_bytes()
    magic, head, rest = data.split(b"\n", 2)
    assert magic == b"headroom recording 1"
    assert json.loads(head)["fields"]["Quote"][0] == "symbol"
    assert rest[:1] == b"K"
    length = int.from_bytes(rest[1:5], "big")
    line = json.loads(zlib.decompressobj(wbits=-15).decompress(rest[21 : 21 + length]))
    assert line["sequence"] == walk(Random(1), 1)[0].sequence
