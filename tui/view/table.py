"""Rows as columns: which columns fit, what a row says, how rows are sorted and filtered."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .text import Line, Role, Span, column

__all__ = ["Column", "Filter", "Sort", "arrange", "header_line", "parse_filter", "row_line", "shown_columns"]

R = TypeVar("R")


def _plain_role(_row: object) -> Role:
    return Role.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[R]):
    """One column of a table over rows of `R`.

    `need` 0 is always shown, higher ones go first when room is short. A column with `grows` takes what is left.
    `raw` is what is sorted by, searched in and exported.
    """

    key: str
    title: str
    width: int
    text: Callable[[R], str]
    raw: Callable[[R], Any]
    role: Callable[[R], Role] = _plain_role
    right: bool = False
    grows: bool = False
    need: int = 0


@dataclass(frozen=True, slots=True)
class Sort:
    """By which column, and which way; an empty key leaves the order of arrival."""

    key: str = ""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Words that must all occur, words that must not, and fields that must have a value. `text` is what was typed."""

    text: str = ""
    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    fields: tuple[tuple[str, str, bool], ...] = ()


def parse_filter(text: str, columns: Sequence[Column[R]]) -> Filter:
    """Read `sbin !cancelled status=open "two words"`; a field that no column has is an ordinary word.

    `field=value` finds values that begin with it, `field!=value` all others. Case never matters.
    """
    try:
        parts = shlex.split(text)
    except ValueError:  # a quote still open while it is being typed
        parts = text.replace('"', " ").replace("'", " ").split()
    keys = {entry.key for entry in columns}
    words: list[str] = []
    without: list[str] = []
    fields: list[tuple[str, str, bool]] = []
    for part in parts:
        lowered = part.lower()
        name, equals, value = lowered.partition("=")
        wanted = not name.endswith("!")
        name = name.rstrip("!")
        if equals and name in keys:
            fields.append((name, value, wanted))
        elif lowered.startswith("!") and len(lowered) > 1:
            without.append(lowered[1:])
        else:
            words.append(lowered)
    return Filter(text, tuple(words), tuple(without), tuple(fields))


def arrange(rows: Sequence[R], columns: Sequence[Column[R]], sort: Sort, keep: Filter) -> Sequence[R]:
    """The rows that pass the filter, in the order asked for. Equal rows keep the order in which they came."""
    if keep.words or keep.without or keep.fields:
        rows = [row for row in rows if _passes(row, columns, keep)]
    for entry in columns:
        if entry.key == sort.key:
            return sorted(rows, key=entry.raw, reverse=sort.descending)
    return rows


def _passes(row: R, columns: Sequence[Column[R]], keep: Filter) -> bool:
    for name, value, wanted in keep.fields:
        found = next(str(entry.raw(row)).lower() for entry in columns if entry.key == name)
        if found.startswith(value) is not wanted:
            return False
    if not keep.words and not keep.without:
        return True
    hay = "\n".join(str(entry.raw(row)) for entry in columns).lower()
    return all(word in hay for word in keep.words) and not any(word in hay for word in keep.without)


def shown_columns(columns: Sequence[Column[R]], width: int) -> list[tuple[Column[R], int]]:
    """The columns that fit into `width` cells with their widths, in their order."""
    kept: set[str] = set()
    room = width
    for entry in sorted(columns, key=lambda entry: entry.need):
        if entry.width + 1 > room and entry.need:
            break
        kept.add(entry.key)
        room -= entry.width + 1
    growing = [entry.key for entry in columns if entry.key in kept and entry.grows]
    extra = max(0, room) // len(growing) if growing else 0
    return [(entry, entry.width + (extra if entry.grows else 0)) for entry in columns if entry.key in kept]


def header_line(columns: Sequence[tuple[Column[R], int]], sort: Sort) -> Line:
    """The titles, with an arrow at the one that is sorted by."""
    spans: list[Span] = []
    for entry, width in columns:
        chosen = entry.key == sort.key
        title = f"{entry.title} {'▾' if sort.descending else '▴'}" if chosen else entry.title
        spans.append(Span(column(title, width, right=entry.right) + " ", Role.STRONG if chosen else Role.DIM))
    return tuple(spans)


def row_line(columns: Sequence[tuple[Column[R], int]], row: R) -> Line:
    """One row in its columns."""
    return tuple(
        Span(column(entry.text(row), width, right=entry.right) + " ", entry.role(row)) for entry, width in columns
    )
