"""Small things that the operator decided and that should outlive a restart, in one JSON file beside the store.

Nothing that orders depend on stands here: a file that is gone or cannot be read is an empty one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["load_notes", "save_notes"]


def load_notes(path: Path) -> dict[str, str]:
    """What was noted, by name."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(noted, dict):
        return {}
    return {name: value for name, value in noted.items() if isinstance(value, str)}


def save_notes(path: Path, notes: Mapping[str, str]) -> None:
    """Write them whole or not at all. Raises OSError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(dict(notes), indent=1) + "\n", encoding="utf-8")
    part.replace(path)
