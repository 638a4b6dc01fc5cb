"""Who may send now: exact windows, anchored at the response, so that a broker never sees more than it allows."""

from __future__ import annotations

from .backend import Backend
from .limiter import EnhancedRateLimiter
from .memory import MemoryBackend
from .permit import Permit
from .report import Look
from .shared import SharedMemoryBackend
from .state import LimiterState
from .window import DRIFT_PPM, NEVER, SlidingWindows, stretch

__all__ = [
    "DRIFT_PPM",
    "NEVER",
    "Backend",
    "EnhancedRateLimiter",
    "LimiterState",
    "Look",
    "MemoryBackend",
    "Permit",
    "SharedMemoryBackend",
    "SlidingWindows",
    "stretch",
]
