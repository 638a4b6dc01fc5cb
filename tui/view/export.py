"""Any table as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

from core.models import BrokerSnapshot

from .table import Column

__all__ = ["Sheet", "sheet_of", "to_csv", "to_json", "windows_sheet"]

R = TypeVar("R")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table on its way out: raw values, not what the screen made of them."""

    name: str
    titles: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def sheet_of(name: str, columns: Sequence[Column[R]], rows: Sequence[R]) -> Sheet:
    """Every column, whether it fits the screen or not."""
    return Sheet(
        name,
        tuple(entry.key for entry in columns),
        tuple(tuple(entry.raw(row) for entry in columns) for row in rows),
    )


def windows_sheet(brokers: Sequence[BrokerSnapshot]) -> Sheet:
    """One row for each window of each broker; times in whole nanoseconds."""
    titles = (
        "broker", "health", "budget", "permits", "window_ns", "used", "in_flight", "free",
        "next_free_in_ns", "all_free_in_ns", "exhausted_in_ns", "rate_per_s",
    )  # fmt: skip
    return Sheet(
        "headroom",
        titles,
        tuple(
            (
                broker.name, broker.health.value, window.budget, window.rate.permits, window.rate.window_ns,
                window.used, window.in_flight, window.free, window.next_free_in_ns, window.all_free_in_ns,
                window.forecast.exhausted_in_ns, window.forecast.rate_per_s,
            )
            for broker in brokers
            for window in broker.windows
        ),
    )  # fmt: skip


def to_csv(sheet: Sheet) -> str:
    """RFC 4180 with a line of titles. Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(sheet.titles)
    for row in sheet.rows:
        writer.writerow([_harmless(value) for value in row])
    return out.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def to_json(sheet: Sheet) -> str:
    """A list of objects; prices as text, so that no digit is lost."""
    rows = [dict(zip(sheet.titles, row, strict=True)) for row in sheet.rows]
    return json.dumps(rows, indent=2, ensure_ascii=False, default=_exact) + "\n"


def _exact(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    message = f"{type(value).__name__} does not belong into an export"
    raise TypeError(message)
