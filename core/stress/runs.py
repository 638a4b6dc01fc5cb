"""The reports of earlier runs, in a folder: the newest fifty, by time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..clock import MILLISECOND
from ..errors import ConfigError

__all__ = ["Runs"]

_KEPT: Final = 50
_NAME: Final = re.compile(r"(\d+)-(.+)\.json")


@dataclass(frozen=True, slots=True)
class Runs:
    """Files are `<milliseconds since 1970>-<scenario>.json`; anything else in the folder is left alone."""

    folder: Path

    def path_for(self, scenario: str, epoch_ns: int) -> Path:
        """Where the report of a run that begins now shall lie; older ones make room. Raises ConfigError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self._all()[: -_KEPT + 1]:
                path.unlink(missing_ok=True)
        except OSError as error:
            message = f"{self.folder}: the report could not be kept there: {error.strerror or error}"
            raise ConfigError(message) from None
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", scenario)[:64] or "scenario"
        return self.folder / f"{epoch_ns // MILLISECOND:013d}-{slug}.json"

    def latest(self) -> Path | None:
        """The newest report; None when there is none."""
        return paths[-1] if (paths := self._all()) else None

    def before(self, path: Path) -> tuple[Path, ...]:
        """Earlier reports of the same scenario, the newest first."""
        scenario = _scenario(path)
        same = [each for each in self._all() if each.name < path.name and _scenario(each) == scenario]
        return tuple(reversed(same))

    def _all(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if _scenario(path))
        except OSError:  # no folder yet
            return []


def _scenario(path: Path) -> str:
    """The scenario in the name of a report; empty for a file that is none."""
    found = _NAME.fullmatch(path.name)
    return found[2] if found else ""
