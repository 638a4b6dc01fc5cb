"""What may be asked of the stress lab beside a screen. No router takes these: a run has brokers of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PauseScenario", "ResumeScenario", "SetScenarioRate", "StartScenario", "StopScenario", "StressCommand"]


@dataclass(frozen=True, slots=True)
class StartScenario:
    """Run a scenario, built in or a file; `overrides` are the flags of `headroom stress` by name.

    `toml`: the scenario itself, as somebody edited it; `name` is then only what it is called.
    """

    name: str
    overrides: dict[str, float | int | str] = field(default_factory=dict)
    toml: str = ""


@dataclass(frozen=True, slots=True)
class StopScenario:
    """Stop the running scenario; what it measured so far is kept."""


@dataclass(frozen=True, slots=True)
class PauseScenario:
    """Hold the schedule of the running scenario; the pause is not held against it."""


@dataclass(frozen=True, slots=True)
class ResumeScenario:
    """Go on with a scenario that is held."""


@dataclass(frozen=True, slots=True)
class SetScenarioRate:
    """Play the running scenario `factor` times (0.001 to 1000) as fast as it is written."""

    factor: float


StressCommand = StartScenario | StopScenario | PauseScenario | ResumeScenario | SetScenarioRate
