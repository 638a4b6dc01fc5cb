"""Where in time the screen is: what is kept, the moment shown, the marks, the file being written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.replay import Difference, Playback

from .table import Column
from .text import Line, Role, Span, clean, clock_time, column, duration, fit, line

__all__ = [
    "BAR_LINE",
    "DIFFERENCE_COLUMNS",
    "RecordingFacts",
    "TrackFacts",
    "bar_place_ns",
    "moment_text",
    "timeline_lines",
]

BAR_LINE: Final = 4  # the line of the picture that is a bar, and can be clicked
_LABEL: Final = 11


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    """A file that is being written."""

    file: str
    span_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFacts:
    """What is kept. `file` is empty for the last minutes of a live run, of which `keeps_ns` are kept.

    Times are those of the recorder's monotonic clock, `last_epoch_ns` is the wall clock at `last_ns`. `playback` is
    None while the screen shows now.
    """

    file: str
    first_ns: int
    last_ns: int
    last_epoch_ns: int
    pictures: int
    size_bytes: int
    keeps_ns: int
    playback: Playback | None
    marks: tuple[tuple[str, int], ...]
    recording: RecordingFacts | None

    def clock(self, at_ns: int) -> str:
        """The time of day at a moment."""
        return clock_time(self.last_epoch_ns - self.last_ns + at_ns)


def moment_text(facts: TrackFacts) -> str:
    """The moment that is shown, in words."""
    playback = facts.playback
    if playback is None:
        return f"now, {facts.clock(facts.last_ns)}"
    how = f"playing at {playback.speed}x" if playback.playing else "standing still"
    behind = f"{duration(playback.behind_ns)} before the end" if facts.file else f"{duration(playback.behind_ns)} ago"
    return f"{facts.clock(playback.at_ns)}, {behind}, {how}"


def timeline_lines(facts: TrackFacts, width: int, height: int | None = None) -> list[Line]:
    """What is kept, and where one is in it."""
    span_ns = facts.last_ns - facts.first_ns
    source = f"the recording {clean(facts.file)}" if facts.file else "this run, live"
    kept = (
        f"{facts.clock(facts.first_ns)} to {facts.clock(facts.last_ns)} IST, {duration(span_ns)}, "
        f"{facts.pictures:,} picture{'' if facts.pictures == 1 else 's'}, {facts.size_bytes / 1024:,.0f} KiB"
    )
    if facts.keeps_ns:
        kept += f"; the last {duration(facts.keeps_ns)} are kept"
    marks = ", ".join(f"{name} {facts.clock(at_ns)}" for name, at_ns in facts.marks) or "none: < sets A, > sets B"
    recording = facts.recording
    if recording is not None:
        written = f"● {clean(recording.file)}, {duration(recording.span_ns)}, {recording.size_bytes / 1024:,.0f} KiB"
    elif facts.file:
        written = "this is one"
    else:
        written = "off: R begins one, W keeps what is kept here"
    lines = [
        _fact("source", Span(source)),
        _fact("kept", Span(kept if facts.pictures else "nothing yet")),
        _fact("shown", Span(moment_text(facts), Role.STRONG if facts.playback is None else Role.WARN)),
        _fact("recording", Span(written, Role.TEXT if recording is None else Role.CRIT)),
        _bar(facts, width),
        _fact("marks", Span(marks)),
    ]
    return [fit(entry, width) for entry in lines][:height]


def _fact(label: str, text: Span) -> Line:
    return line(Span(f" {column(label, _LABEL)}", Role.DIM), text)


def _bar(facts: TrackFacts, width: int) -> Line:
    cells = width - 2
    if cells < 3 or not facts.pictures:
        return ()
    at = {_cell(facts, mark_ns, cells): name for name, mark_ns in facts.marks}
    here = _cell(facts, facts.last_ns if facts.playback is None else facts.playback.at_ns, cells)
    spans: list[Span] = [Span(" ")]
    for cell in range(cells):
        if cell == here:
            spans.append(Span("●", Role.KEY))
        elif cell in at:
            spans.append(Span(at[cell], Role.WARN))
        else:
            spans.append(Span("━" if cell < here else "─", Role.USED if cell < here else Role.FREE))
    return _merged(spans)


def _merged(spans: Sequence[Span]) -> Line:
    """Neighbours of one role in one span: a strip of two hundred segments would be slow to paint."""
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].role is span.role:
            merged[-1] = Span(merged[-1].text + span.text, span.role)
        else:
            merged.append(span)
    return tuple(merged)


def _cell(facts: TrackFacts, at_ns: int, cells: int) -> int:
    span_ns = max(1, facts.last_ns - facts.first_ns)
    return max(0, min(cells - 1, (at_ns - facts.first_ns) * (cells - 1) // span_ns))


def bar_place_ns(facts: TrackFacts, x: int, width: int) -> int:
    """The time that cell `x` of the bar stands for."""
    cells = max(2, width - 2)
    place = max(0, min(cells - 1, x - 1))
    return facts.first_ns + (facts.last_ns - facts.first_ns) * place // (cells - 1)


DIFFERENCE_COLUMNS: Final[tuple[Column[Difference], ...]] = (
    Column(key="place", title="  where", width=10, text=lambda row: f"  {row.place}", raw=lambda row: row.place),
    Column(
        key="name", title="which", width=14, role=lambda _: Role.STRONG,
        text=lambda row: clean(row.name) or "-", raw=lambda row: row.name,
    ),
    Column(
        key="what", title="what", width=22, grows=True,
        text=lambda row: clean(row.what).replace("_", " ") or "-", raw=lambda row: row.what,
    ),
    Column(
        key="before", title="before", width=12, right=True, need=2, role=lambda _: Role.DIM,
        text=lambda row: clean(row.before), raw=lambda row: row.before,
    ),
    Column(
        key="after", title="after", width=12, right=True, need=1,
        text=lambda row: clean(row.after), raw=lambda row: row.after,
    ),
    Column(
        key="change", title="change", width=9, right=True, need=3, role=lambda _: Role.STRONG,
        text=lambda row: "" if row.change is None else f"{row.change:+,}",
        raw=lambda row: 0 if row.change is None else row.change,
    ),
)  # fmt: skip
