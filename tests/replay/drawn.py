"""Snapshots drawn at random from the types themselves, so that no field is forgotten."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Any, Union, get_args, get_origin, get_type_hints

from core.models import Rate, RouterSnapshot

__all__ = ["drawn", "walk"]

WHOLE = (0, 1, -1, 7, 2**53, 2**63 - 1, 1_767_585_600_000_000_000)
PARTS = (0.0, 1.0, -0.5, 0.1, 1e-300, 1e300, float("inf"))
WORDS = ("", "fyers", "[red]x[/]", "漢字 \u202e", "\ud800", '"\\\n\x00', "a" * 300)
PRICES = (Decimal(0), Decimal("0.10"), Decimal("-1E+3"), Decimal("12345678901234567890.123456789"))


def drawn(hint: Any, rng: Random) -> Any:  # noqa: PLR0911 - a table, one row per shape of type
    """A value of this type."""
    if hint is Rate:
        return Rate(rng.randint(1, 9), rng.randint(1, 10**15))
    for type_, values in ((bool, (True, False)), (int, WHOLE), (float, PARTS), (str, WORDS), (Decimal, PRICES)):
        if hint is type_:
            return rng.choice(values)
    if get_origin(hint) in {types.UnionType, Union}:
        return drawn(rng.choice(get_args(hint)), rng)
    if hint is type(None):
        return None
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        return tuple(drawn(part, rng) for part in (parts[:1] * rng.randint(0, 4) if parts[-1] is Ellipsis else parts))
    if issubclass(hint, Enum):
        return rng.choice(list(hint))
    assert is_dataclass(hint), hint
    hints = get_type_hints(hint)
    return hint(**{entry.name: drawn(hints[entry.name], rng) for entry in fields(hint)})


def walk(rng: Random, length: int) -> list[RouterSnapshot]:
    """Snapshots that follow each other: each one differs from the last in a few places, and is a little later."""
    hints = get_type_hints(RouterSnapshot)
    now = replace(drawn(RouterSnapshot, rng), at_ns=0, epoch_ns=1_767_585_600_000_000_000)
    path = [now]
    while len(path) < length:
        past_ns = rng.choice((0, 1, 100_000_000, 3_000_000_000, 11_000_000_000))
        changes: dict[str, Any] = {"at_ns": now.at_ns + past_ns, "epoch_ns": now.epoch_ns + past_ns}
        for name in rng.sample([name for name in hints if name not in changes], 3):
            old = getattr(now, name)
            changes[name] = moved(old, hints[name], rng) if isinstance(old, tuple) else drawn(hints[name], rng)
        for name in ("orders", "incidents"):
            rows = changes.get(name, getattr(now, name))
            changes[name] = tuple(replace(row, age_ns=row.age_ns + past_ns) for row in rows)
        now = replace(now, **changes)
        path.append(now)
    return path


def moved(rows: tuple[Any, ...], hint: Any, rng: Random) -> tuple[Any, ...]:
    """The same rows after some were added at an end, dropped, changed or put elsewhere."""
    part = get_args(hint)[0]
    fresh = tuple(drawn(part, rng) for _ in range(rng.randint(1, 2)))
    match rng.randrange(6):
        case 0:
            return (*rows, *fresh)
        case 1:
            return (*fresh, *rows)
        case 2:
            return rows[1:]
        case 3:
            return (*rows[1:], *fresh)
        case 4:
            return tuple(rng.sample(rows, len(rows)))
        case _:
            return tuple(drawn(part, rng) if rng.random() < 0.3 else row for row in rows)
