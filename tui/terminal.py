"""The terminal as an output that may go away."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["surviving_output"]


class _SurvivingOutput:
    """A text stream whose writes come to nothing, instead of failing, once nobody is there to read them.

    Textual writes from a thread that ends with its first failed write; the 30 places of its queue then fill, and the
    next write blocks the screen's loop, and with it the way out, for ever.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def surviving_output() -> Iterator[None]:
    """Inside the block the stream that Textual draws on outlives its terminal."""
    stream = sys.__stderr__
    if stream is None:  # no console at all: nothing will be drawn
        yield
        return
    sys.__stderr__ = _SurvivingOutput(stream)  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        sys.__stderr__ = stream  # type: ignore[misc]
