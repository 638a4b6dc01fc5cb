"""A recording on disk.

    headroom recording 1\n                      the format and its version
    {"headroom": "0.1.0", "simulated": true, "fields": {"RouterSnapshot": ["sequence", ...], ...}}\n
    frame*

A frame is 21 bytes of head, big-endian, and its data:

    1  `K` opens a chunk, `D` goes on with it
    4  bytes of data
    8  time of the snapshot, in nanoseconds of the recorder's monotonic clock
    4  CRC-32 of the data
    4  CRC-32 of the 17 bytes before it

The data of the frames from a `K` up to the next one are one raw deflate stream, flushed after each frame; inflated,
each frame is a line of JSON as `frames` describes it. Every frame is one write that appends: a process that dies leaves
a file that plays up to its last whole frame. There is no secret in a file because there is none in a snapshot.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final

from ..errors import ConfigError
from .frames import Fields, Frame, field_names
from .track import Track

__all__ = ["RECORDING_VERSION", "Recording", "RecordingWriter", "open_recording"]

RECORDING_VERSION: Final = 1
_MAGIC: Final = b"headroom recording "
_HEAD: Final = struct.Struct(">cIqI")
_CHECK: Final = struct.Struct(">I")
_FRAME_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that was read. `cut_short` says in a few words where it ends too early; empty when it does not."""

    path: Path
    simulated: bool
    track: Track
    cut_short: str = ""


class RecordingWriter:
    """Writes frames to a file of its own, readable by its owner alone. The first frame must open a chunk.

    Raises ConfigError where the file exists or cannot be made, and from `write` when the disk takes no more.
    """

    def __init__(self, path: Path, *, simulated: bool) -> None:
        self.path = path
        self.size_bytes = 0
        self.frames = 0
        with self._told("cannot be made"):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        head = {"headroom": version("headroom"), "simulated": simulated, "fields": field_names()}
        self._append(_MAGIC + b"%d\n" % RECORDING_VERSION + json.dumps(head, separators=(",", ":")).encode() + b"\n")

    def write(self, *frames: Frame) -> None:
        """Append frames; each is in the file, or not at all."""
        for frame in frames:
            head = _HEAD.pack(b"K" if frame.opens else b"D", len(frame.data), frame.at_ns, zlib.crc32(frame.data))
            self._append(head + _CHECK.pack(zlib.crc32(head)) + frame.data)
            self.frames += 1

    def _append(self, data: bytes) -> None:
        with self._told("cannot be written"):
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
        self.size_bytes += len(data)

    def abandon(self) -> None:
        """Let go of the file as it is."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def close(self) -> None:
        """Have it on the disk, and let go of it."""
        if self._descriptor >= 0:
            try:
                with self._told("cannot be written"):
                    os.fsync(self._descriptor)
            finally:
                self.abandon()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            message = f"{self.path}: exists already; a recording never overwrites, so name another file"
            raise ConfigError(message) from None
        except OSError as error:
            message = f"{self.path}: {what}: {error.strerror}"
            raise ConfigError(message) from None

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_recording(path: Path) -> Recording:
    """Read a recording, all of it into memory, and check every frame.

    Raises ConfigError, in one line, for a file that cannot be read, is none of ours, is newer or is damaged. One that
    ends in the middle of a frame plays up to there.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError(message) from None
    simulated, names, start = _read_head(path, data)
    track = Track(names)
    end, cut_short = start, ""
    for after, frame in _read_frames(path, data, start):
        try:
            track.add(frame)
        except ConfigError as error:
            raise _damaged(path, end, len(track), str(error)) from None
        end = after
    if end < len(data):
        cut_short = f"it ends in the middle of a picture, {len(data) - end:,} bytes after number {len(track):,}"
    if not len(track):
        message = f"{path}: holds no picture; it was cut off before the first one"
        raise ConfigError(message)
    track.at(track.last_ns)  # what no encoder of ours wrote is found out now, not in the middle of the play
    return Recording(path, simulated, track, cut_short)


def _read_head(path: Path, data: bytes) -> tuple[bool, Fields, int]:
    """Whether only simulated accounts are in it, the names of its fields, and where its frames begin."""
    if not data.startswith(_MAGIC):
        message = f"{path}: not a recording of headroom; `headroom record FILE` makes one"
        raise ConfigError(message)
    first, _, rest = data.partition(b"\n")
    number = first.removeprefix(_MAGIC)
    if not number.isdigit():
        raise _damaged(path, 0, 0, "the version is no number")
    if int(number) > RECORDING_VERSION:
        message = (
            f"{path}: written by a newer headroom (recording version {int(number)}, this one reads "
            f"{RECORDING_VERSION}); use that one"
        )
        raise ConfigError(message)
    second, newline, _ = rest.partition(b"\n")
    if not newline:
        message = f"{path}: holds no picture; it was cut off before the first one"
        raise ConfigError(message)
    try:
        head = json.loads(second)
        names = {str(record): [str(name) for name in known] for record, known in head["fields"].items()}
        return head["simulated"] is True, names, len(first) + len(second) + 2
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _damaged(path, len(first) + 1, 0, "its second line is not what it should be") from None


def _read_frames(path: Path, data: bytes, at: int) -> Iterator[tuple[int, Frame]]:
    """Every whole frame and where it ends; stops where the file breaks off."""
    view = memoryview(data)
    number = 0
    while at + _HEAD.size + _CHECK.size <= len(data):
        head = view[at : at + _HEAD.size]
        kind, length, at_ns, check = _HEAD.unpack(head)
        (head_check,) = _CHECK.unpack_from(view, at + _HEAD.size)
        if head_check != zlib.crc32(head) or kind not in b"KD" or length > _FRAME_BYTES_MAX:
            if not any(view[at:]):
                return  # a power cut leaves zeros where data was to come
            raise _damaged(path, at, number, "no frame begins there")
        begin = at + _HEAD.size + _CHECK.size
        if begin + length > len(data):
            return
        payload = view[begin : begin + length]
        if zlib.crc32(payload) != check:
            raise _damaged(path, at, number, "its checksum does not fit")
        at = begin + length
        yield at, Frame(kind == b"K", at_ns, payload)
        number += 1


def _damaged(path: Path, at: int, whole: int, why: str) -> ConfigError:
    return ConfigError(
        f"{path}: damaged at byte {at:,}, after {whole:,} whole pictures: {why}; take another copy of it"
    )
