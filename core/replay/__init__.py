"""What was: the last ten minutes of a live run and recorded files, shown as if they were happening."""

from __future__ import annotations

from .compare import Difference, differences
from .file import RECORDING_VERSION, Recording, RecordingWriter, open_recording
from .frames import Frame, FrameEncoder
from .recorder import record
from .router import SPEEDS, Playback, ReplayRouter
from .track import RING_NS, Ring, Track

__all__ = [
    "RECORDING_VERSION",
    "RING_NS",
    "SPEEDS",
    "Difference",
    "Frame",
    "FrameEncoder",
    "Playback",
    "Recording",
    "RecordingWriter",
    "ReplayRouter",
    "Ring",
    "Track",
    "differences",
    "open_recording",
    "record",
]
