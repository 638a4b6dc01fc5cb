"""Which moment the screen shows: now, one of the last ten minutes, or one of a recorded file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from core.errors import ConfigError, HeadroomError
from core.models import RouterSnapshot
from core.replay import RING_NS, Frame, Playback, RecordingWriter, ReplayRouter, Ring, Track

from .port import STARTING, RouterPort
from .view.timeline import RecordingFacts, TrackFacts

__all__ = ["Timeline"]

MARKS: Final = ("A", "B")


class Timeline:
    """The last ten minutes of a live port are always kept. A port that is a replay itself is only moved about in.

    `file` is the name of the recording behind such a port. `now_ns` is the clock that a replay plays by.
    """

    def __init__(self, port: RouterPort, *, now_ns: Callable[[], int], file: str = "") -> None:
        self._port = port
        self._now_ns = now_ns
        self._file = file
        self._replay: ReplayRouter | None = port if isinstance(port, ReplayRouter) else None
        self._ring = None if self._replay else Ring()
        self._playing = False
        self.past = self._replay is not None
        self.fault = ""
        self._writer: RecordingWriter | None = None
        self._written_since_ns = 0
        self.newest: RouterSnapshot | None = None
        self.marks: dict[str, RouterSnapshot] = {}

    @property
    def recorded(self) -> bool:
        """Whether there is nothing live behind the screen at all."""
        return self._ring is None

    @property
    def playback(self) -> Playback | None:
        """Where in the past the screen is; None for now."""
        return self._replay.playback if self.past and self._replay is not None else None

    def poll(self) -> bool:
        """Ask the port; whether it had news. Raises HeadroomError where the port does."""
        if self._ring is None:
            return False
        snapshot = self._port.snapshot()
        if self.newest is not None and snapshot.sequence == self.newest.sequence:
            return False
        self.newest = snapshot
        if snapshot.sequence != STARTING:
            self._write(self._ring.take(snapshot))
        return True

    def _write(self, frame: Frame) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            writer.write(frame)
        except HeadroomError as error:
            self._writer = None
            self.fault = f"the recording ended: {error}"
            writer.abandon()

    def shown(self) -> RouterSnapshot | None:
        """The snapshot of the moment that the screen shows; None while there is none.

        What plays and catches up with now stays there.
        """
        if self._replay is None or not self.past:
            return self.newest
        playback = self._replay.playback
        caught_up = self._playing and not playback.playing and not playback.behind_ns
        self._playing = playback.playing
        if caught_up and self._ring is not None:
            self.past = False
            return self.newest
        return self._replay.snapshot()

    # -- moving about -------------------------------------------------------------------------------------------------

    def enter(self, at_ns: int | None = None) -> ReplayRouter:
        """Go into the past, to `at_ns` or to the newest picture; where one is there already, stay.

        Raises ConfigError while nothing is kept.
        """
        if self._replay is not None and self.past:
            return self._replay
        ring = self._live_ring()
        start_ns = ring.last_ns if at_ns is None else at_ns
        simulated = self.newest is None or self.newest.simulated
        self._replay = ReplayRouter(ring, now_ns=self._now_ns, simulated=simulated, start_ns=start_ns)
        self.past = True
        return self._replay

    def play(self) -> None:
        """Play, or stand still when it plays."""
        replay = self.enter()
        if replay.playback.playing:
            replay.pause()
        else:
            replay.play()
        self._playing = replay.playback.playing

    def to_now(self) -> None:
        """Back to now; to the end, of a recording."""
        self._playing = False
        if self.recorded:
            replay = self.enter()
            replay.pause()
            replay.seek(replay.playback.last_ns)
        else:
            self.past = False

    # -- what there is ------------------------------------------------------------------------------------------------

    def facts(self) -> TrackFacts:
        """What is kept, and where in it the screen and the marks are."""
        if self._ring is not None:
            track: Track = self._ring
            last = self.newest
        else:
            track = self.enter().track
            last = track.at(track.last_ns)
        return TrackFacts(
            file=self._file,
            first_ns=track.first_ns,
            last_ns=track.last_ns,
            last_epoch_ns=0 if last is None else last.epoch_ns - last.at_ns + track.last_ns,
            pictures=len(track),
            size_bytes=track.size_bytes,
            keeps_ns=RING_NS if self._ring is not None else 0,
            playback=self.playback,
            marks=tuple((name, self.marks[name].at_ns) for name in MARKS if name in self.marks),
            recording=self.recording,
        )

    @property
    def recording(self) -> RecordingFacts | None:
        """The file that is being written; None when there is none."""
        writer = self._writer
        if writer is None or self._ring is None:
            return None
        return RecordingFacts(str(writer.path), self._ring.last_ns - self._written_since_ns, writer.size_bytes)

    # -- files --------------------------------------------------------------------------------------------------------

    def start_recording(self, path: Path) -> None:
        """Write everything from now on to a new file. Raises ConfigError where that cannot be."""
        ring = self._live_ring()
        self._writer = RecordingWriter(path, simulated=self.newest is not None and self.newest.simulated)
        self._written_since_ns = ring.last_ns
        ring.cut()

    async def stop_recording(self) -> str:
        """End the file; what it holds, in a few words. Raises ConfigError when the disk did not take it."""
        writer, self._writer = self._writer, None
        if writer is None:
            return "nothing is being recorded"
        await asyncio.to_thread(writer.close)
        return f"{writer.frames:,} pictures written to {writer.path}"

    async def keep(self, path: Path) -> str:
        """Write what the ring holds to a file of its own; how much that is. Raises ConfigError where that fails."""
        ring = self._live_ring()
        frames = list(ring.frames())
        simulated = self.newest is not None and self.newest.simulated

        def write() -> None:
            with RecordingWriter(path, simulated=simulated) as writer:
                writer.write(*frames)

        await asyncio.to_thread(write)
        return f"the last {len(frames):,} pictures written to {path}"

    def _live_ring(self) -> Ring:
        if self._ring is None:
            message = "this is a recording already"
            raise ConfigError(message)
        if not len(self._ring):
            message = "there is no picture yet"
            raise ConfigError(message)
        return self._ring

    def close(self) -> None:
        """Let go of the file that is being written; what is written stays."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
