"""Scenarios by name or file: the built-in ones, and those that somebody wrote."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from ..errors import ConfigError
from .places import first_fault, key_on_line, line_of
from .scenarios import Part, Scenario

__all__ = ["BUILT_IN", "BuiltIn", "load_scenario", "parse_scenario", "parts_of", "scenario_text"]

_NAMES: Final = (
    "users",
    "orders",
    "burst",
    "soak",
    "failover",
    "chaos",
    "market-data",
    "store",
    "limits",
    "gauntlet",
)
_LONGEST_FILE_BYTES: Final = 32 << 20


def scenario_text(name: str) -> str:
    """The TOML of a built-in scenario."""
    if name not in _NAMES:
        message = f"no scenario {name!r}; built in are: {', '.join(_NAMES)}; a file ends in .toml"
        raise ConfigError(message)
    return resources.files(__package__).joinpath("builtin", f"{name}.toml").read_text(encoding="utf-8")


def load_scenario(name_or_path: str) -> Scenario:
    """A built-in scenario by name, or the one in a `.toml` file.

    Raises ConfigError in one line that names file, line and key.
    """
    return parse_scenario(*_read(name_or_path))


def _read(name_or_path: str) -> tuple[str, str]:
    """The text, and what it is called in messages."""
    if name_or_path in _NAMES:
        return scenario_text(name_or_path), f"built-in {name_or_path}"
    if not name_or_path.endswith(".toml") and "/" not in name_or_path:
        scenario_text(name_or_path)  # raises, with the list of names
    path = Path(name_or_path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_FILE_BYTES + 1)
        if len(raw) > _LONGEST_FILE_BYTES:
            message = f"{path}: longer than {_LONGEST_FILE_BYTES >> 20} MiB; a scenario is small"
            raise ConfigError(message)
        text = raw.decode("utf-8")
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise ConfigError(message) from None
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 at byte {error.start}"
        raise ConfigError(message) from None
    return text, str(path)


def parse_scenario(text: str, source: str) -> Scenario:
    """The scenario in `text`; `source` names it in messages. Raises ConfigError with line and key."""
    scenario = _parse(text, source)
    for number, part in enumerate(scenario.parts):
        key = f"parts.{number}.scenario"
        try:
            _part(scenario, part)
        except ConfigError as error:
            message = f"{source}:{line_of(text, key)}: {key}: {error}"
            raise ConfigError(message) from None
    return scenario


def parts_of(scenario: Scenario) -> tuple[Scenario, ...]:
    """The scenarios of a suite in their order, each with what the suite changes in it; empty for any other."""
    return tuple(_part(scenario, part) for part in scenario.parts)


def _part(suite: Scenario, part: Part) -> Scenario:
    # Not by parse_scenario: a suite that names itself would be read for ever.
    loaded = _parse(*_read(part.scenario))
    if loaded.parts:
        message = f"{part.scenario!r} is a suite itself"
        raise ConfigError(message)
    return loaded.changed(
        rate=part.rate,
        duration_s=part.duration_s,
        users=part.users,
        http=suite.wire == "http" and bool(loaded.brokers),
    )


def _parse(text: str, source: str) -> Scenario:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column \d+\)|\(at end of document\)", str(error))
        line = int(match[1]) if match and match[1] else text.count("\n") + 1
        reason = re.sub(r"\s*\(at .*\)", "", str(error))
        message = f"{source}:{line}: {key_on_line(text, line)}{reason}"
        raise ConfigError(message) from None
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        key, reason = first_fault(error)
        message = f"{source}:{line_of(text, key)}: {key or 'scenario'}: {reason}"
        raise ConfigError(message) from None


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A scenario that comes with headroom."""

    name: str

    @property
    def description(self) -> str:
        """What it does, in one line."""
        return load_scenario(self.name).description


BUILT_IN: Final[Mapping[str, BuiltIn]] = MappingProxyType({name: BuiltIn(name) for name in _NAMES})
