"""The journal's entries about one order as a story to be told: when, how long after the one before, what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from ..models import StoryStep
from .entries import JournalRow

__all__ = ["steps_of"]

_SILENT: Final = frozenset({"order", "order_id", "epoch_ns", "fingerprint", "simulated"})


def steps_of(rows: Sequence[JournalRow]) -> tuple[StoryStep, ...]:
    """The entries in their order, each with what it says. Brokers wrote parts of it: it is never to be trusted."""
    steps: list[StoryStep] = []
    for row in rows:
        before_ns = steps[-1].epoch_ns if steps else row.epoch_ns
        text = " ".join(f"{name}={_short(value)}" for name, value in _said(row.entry))
        steps.append(
            StoryStep(
                serial=row.serial,
                epoch_ns=row.epoch_ns,
                since_ns=row.epoch_ns - before_ns,
                kind=type(row.entry).__name__,
                text=text,
            )
        )
    return tuple(steps)


def _said(entry: Any) -> Iterator[tuple[str, Any]]:
    """The fields of an entry that say something; the order stands on top already."""
    for field in fields(entry):
        value = getattr(entry, field.name)
        if field.name not in _SILENT and value not in {"", 0, None, Decimal(0)}:
            yield field.name, value


def _short(value: object) -> str:
    return repr(str(value)) if " " in str(value) else str(value)
