"""Frames in the order of their times: the last minutes of a live run, or a whole file."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from ..clock import MINUTE
from ..errors import ConfigError
from ..models import RouterSnapshot
from .frames import Fields, Frame, FrameDecoder, FrameEncoder, field_names

__all__ = ["RING_NS", "Ring", "Track"]

RING_NS: Final = 10 * MINUTE
RING_BYTES_MAX: Final = 16 * 1024 * 1024


class Track:
    """Chunks of frames. A place in it is a time: the snapshot there is the last one not after that time."""

    def __init__(self, names: Fields, frames: Iterable[Frame] = ()) -> None:
        self._names = names
        self._chunks: deque[list[Frame]] = deque()
        self._starts: deque[int] = deque()
        self._read: tuple[list[Frame], FrameDecoder, list[RouterSnapshot]] | None = None
        self.size_bytes = 0
        self._count = 0
        for frame in frames:
            self.add(frame)

    def __len__(self) -> int:
        return self._count

    @property
    def first_ns(self) -> int:
        """The time of the oldest frame; 0 without any."""
        return self._starts[0] if self._starts else 0

    @property
    def last_ns(self) -> int:
        """The time of the newest frame; 0 without any."""
        return self._chunks[-1][-1].at_ns if self._chunks else 0

    def add(self, frame: Frame) -> None:
        """Put a frame at the end. Raises ConfigError for one that goes before the last, or that nothing opens."""
        if self._chunks and frame.at_ns < self.last_ns:
            if not frame.opens:
                message = "a frame that is older than the one before it"
                raise ConfigError(message)
            self.clear()  # the clock began anew: what went before has no place on this line
        if frame.opens:
            self._chunks.append([])
            self._starts.append(frame.at_ns)
        elif not self._chunks:
            message = "the first frame does not open a chunk"
            raise ConfigError(message)
        self._chunks[-1].append(frame)
        self._count += 1
        self.size_bytes += len(frame.data)

    def clear(self) -> None:
        """Forget everything."""
        while self._chunks:
            self._forget_first()

    def keep(self, since_ns: int, bytes_max: int) -> None:
        """Forget chunks that end before `since_ns`, and the oldest ones above `bytes_max`; never the last one."""
        while len(self._chunks) > 1 and (self._starts[1] <= since_ns or self.size_bytes > bytes_max):
            self._forget_first()

    def _forget_first(self) -> None:
        gone = self._chunks.popleft()
        self._starts.popleft()
        self._count -= len(gone)
        self.size_bytes -= sum(len(frame.data) for frame in gone)

    def frames(self) -> Iterator[Frame]:
        """Every frame, oldest first."""
        for chunk in self._chunks:
            yield from chunk

    def at(self, at_ns: int) -> RouterSnapshot:
        """The last snapshot not after `at_ns`, or the first one. Raises ConfigError for a frame that cannot be read.

        The way back inside a chunk is free; another chunk is read from its start.
        """
        chunk_place, place = self._find(at_ns)
        chunk = self._chunks[chunk_place]
        if self._read is None or self._read[0] is not chunk:
            self._read = (chunk, FrameDecoder(self._names), [])
        _, decoder, decoded = self._read
        while len(decoded) <= place:
            decoded.append(decoder.decode(chunk[len(decoded)]))
        return decoded[place]

    def step(self, at_ns: int, by: int) -> int:
        """The time of the frame that is `by` frames after (before, when negative) the one at `at_ns`."""
        chunk_place, place = self._find(at_ns)
        place += by
        while place < 0 and chunk_place > 0:
            chunk_place -= 1
            place += len(self._chunks[chunk_place])
        while place >= len(self._chunks[chunk_place]) and chunk_place < len(self._chunks) - 1:
            place -= len(self._chunks[chunk_place])
            chunk_place += 1
        chunk = self._chunks[chunk_place]
        return chunk[max(0, min(len(chunk) - 1, place))].at_ns

    def _find(self, at_ns: int) -> tuple[int, int]:
        if not self._chunks:
            message = "there is no picture yet"
            raise ConfigError(message)
        chunk_place = max(0, bisect_right(self._starts, at_ns) - 1)
        place = bisect_right(self._chunks[chunk_place], at_ns, key=lambda frame: frame.at_ns) - 1
        return chunk_place, max(0, place)


class Ring(Track):
    """The last ten minutes of a live run, always on, in at most 16 MiB; two brokers at 10 Hz take two."""

    def __init__(self, *, span_ns: int = RING_NS, bytes_max: int = RING_BYTES_MAX) -> None:
        super().__init__(field_names())
        self._encoder = FrameEncoder()
        self._span_ns = span_ns
        self._bytes_max = bytes_max

    def take(self, snapshot: RouterSnapshot) -> Frame:
        """Keep this snapshot, forget what is too old; the frame is also what a recording writes down."""
        frame = self._encoder.encode(snapshot)
        self.add(frame)
        self.keep(snapshot.at_ns - self._span_ns, self._bytes_max)
        return frame

    def cut(self) -> None:
        """Let the next frame open a chunk, so that a recording can begin with it."""
        self._encoder.cut()
