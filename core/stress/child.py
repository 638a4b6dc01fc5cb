"""A stress run in a process of its own, for a screen that must stay fast while 2000 orders a second are played.

The child is `headroom stress --stream`: it writes a StressSnapshot a line on its stdout, takes words on its stdin, and
ends when that is closed. So nothing is left behind, even when this process is killed before it can say goodbye.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from .. import wire
from ..children import end_child, start_child
from ..clock import Clock, SystemClock
from ..errors import ConfigError
from ..models import (
    PauseScenario,
    ResumeScenario,
    SetScenarioRate,
    StartScenario,
    StopScenario,
    StressCommand,
    StressSnapshot,
)
from .library import load_scenario, parse_scenario
from .runs import Runs

__all__ = ["ChildStress"]

_SWITCHES: Final = ("virtual", "http")
_FLAGS: Final = {"rate": "--rate", "duration": "--duration", "users": "--users", "seed": "--seed"}
_LONGEST_LINE: Final = 1 << 20
_STDERR_KEPT: Final = 4000


class ChildStress:
    """At most one run at a time. Every call must come from one event loop; `snapshot` may be read from any thread.

    `runs`: where the reports are kept; without it there are none. `grace_s`: how long a run that is told to stop may
    take for its last figures before it is killed: some seconds where ten thousand orders are under way.
    """

    def __init__(self, *, runs: Runs | None = None, clock: Clock | None = None, grace_s: float = 20.0) -> None:
        self._runs = runs
        self._clock = clock or SystemClock()
        self._grace_s = grace_s
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._edited: TemporaryDirectory[str] | None = None
        self._snapshot = StressSnapshot(report=str(runs.latest() or "") if runs else "")

    @property
    def snapshot(self) -> StressSnapshot:
        """The latest figures; after the run, the last ones."""
        return self._snapshot

    @property
    def running(self) -> bool:
        return self._reading is not None and not self._reading.done()

    async def send(self, command: StressCommand) -> str:
        """Do what the operator asks; the answer is one line for him. Raises ConfigError for what makes no sense."""
        match command:
            case StartScenario(name, overrides, toml):
                await self.start(name, overrides, toml=toml)
                return f"{name} is running on brokers of its own"
            case StopScenario():
                ran = self.running
                await self.stop()
                if ran and self._snapshot.state == "broken":
                    return f"it did not end within {self._grace_s:g} s and was killed; there is no report of it"
                return "stopped; what it measured is kept"
            case PauseScenario():
                await self.pause()
                return "paused; the schedule waits"
            case ResumeScenario():
                await self.resume()
                return "it goes on"
            case SetScenarioRate(factor):
                await self.set_rate(factor)
                return f"{factor:.4g} times the rate as written"

    async def start(
        self, name: str, overrides: Mapping[str, float | int | str | bool] | None = None, *, toml: str = ""
    ) -> None:
        """Start a built-in scenario, a file, or the one in `toml`; `overrides` are flags of `headroom stress` by name.

        Raises ConfigError for a scenario that cannot be read, for an unknown flag, and while another run is under way.
        """
        if self.running:
            message = f"{self._snapshot.scenario} is under way; stop it first"
            raise ConfigError(message)
        overrides = dict(overrides or {})
        switches = {switch: bool(overrides.pop(switch, False)) for switch in _SWITCHES}
        if unknown := sorted(overrides.keys() - _FLAGS.keys()):
            message = f"{unknown[0]} is no flag of a stress run; known: {', '.join((*_FLAGS, *_SWITCHES))}"
            raise ConfigError(message)
        # Here, so that a mistake is told to whoever made it and not found in a dead child.
        scenario = parse_scenario(toml, f"{name} as edited") if toml else load_scenario(name)
        await self.stop()
        flags = [f"{_FLAGS[flag]}={value}" for flag, value in overrides.items()]
        flags += [f"--{switch}" for switch, on in switches.items() if on]
        report = self._runs.path_for(scenario.name, self._clock.epoch_ns()) if self._runs else None
        if report is not None:
            flags.append(f"--json={report}")
        self._snapshot = StressSnapshot(state="running", scenario=scenario.name, virtual=switches["virtual"])
        self._process = await start_child(
            "tui", "stress", "--stream", *flags, "--", self._file_of(toml) if toml else name,
            limit=_LONGEST_LINE, stderr=PIPE,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process, report), name="stress child")

    def _file_of(self, toml: str) -> str:
        """The edited text in a file that only we can read, gone with the run."""
        self._edited = TemporaryDirectory(prefix="headroom-scenario-")
        path = Path(self._edited.name) / "edited.toml"
        path.write_text(toml, encoding="utf-8")
        return str(path)

    async def pause(self) -> None:
        """Hold the schedule."""
        await self._say("pause")

    async def resume(self) -> None:
        """Go on with it."""
        await self._say("resume")

    async def set_rate(self, factor: float) -> None:
        """Play the scenario `factor` times as fast as it is written."""
        if not 0.001 <= factor <= 1000:
            message = f"the rate's factor is {factor!r}; give 0.001 to 1000"
            raise ConfigError(message)
        await self._say(f"rate {float(factor)!r}")

    async def stop(self) -> None:
        """End the run and its process, kindly at first; returns when both are gone. Does nothing without a run."""
        process, reading = self._process, self._reading
        if process is None or reading is None:
            return
        try:
            await end_child(process, reading, grace_s=self._grace_s)
        finally:
            self._process = self._reading = None
            if self._edited is not None:
                self._edited.cleanup()
                self._edited = None

    async def _say(self, words: str) -> None:
        process = self._process
        if process is None or process.stdin is None or not self.running:
            message = "no scenario is running"
            raise ConfigError(message)
        with suppress(BrokenPipeError, ConnectionResetError):  # it has just ended; the reader tells how
            process.stdin.write(f"{words}\n".encode())
            await process.stdin.drain()

    async def _read(self, process: Process, report: Path | None) -> None:
        errors = asyncio.create_task(_tail(process))
        assert process.stdout is not None  # noqa: S101 - it was asked for
        trouble = ""
        try:
            async for line in process.stdout:
                value = wire.decode(line, source="stress child")
                if isinstance(value, StressSnapshot):
                    self._snapshot = value
        except (ConfigError, ValueError) as error:
            trouble = str(error)
            with suppress(ProcessLookupError):
                process.kill()
        code = await process.wait()
        said = await errors
        if self._snapshot.state == "running":
            last = said.strip().rpartition("\n")[2]
            message = trouble or last or f"the run ended with code {code} and no word"
            self._snapshot = replace(self._snapshot, state="broken", message=message)
        if report is not None and self._runs is not None and self._runs.latest() == report:
            self._snapshot = replace(self._snapshot, report=str(report))


async def _tail(process: Process) -> str:
    """The end of what the child wrote on stderr; read all the time, or a full pipe would stop it."""
    assert process.stderr is not None  # noqa: S101 - it was asked for
    kept = b""
    while chunk := await process.stderr.read(4096):
        kept = (kept + chunk)[-_STDERR_KEPT:]
    return kept.decode(errors="replace")
