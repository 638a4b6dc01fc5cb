"""Plays a scenario, or a suite of them part by part, and gives a verdict on each. `targets.py` opens what is loaded."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio

from ..clock import MILLISECOND, SECOND, Clock, SystemClock, VirtualClock
from ..collector import settled
from ..errors import ConfigError
from ..models import StressSnapshot, Threshold
from .actors import Actor
from .judge import ONLY_GROWS, judge
from .ledger import Audit
from .library import parts_of
from .machine import MachineWatch
from .result import Result, evidence_of
from .runner import Run, RunState
from .scenarios import Scenario
from .targets import play_on

__all__ = ["Lab"]

_VIRTUAL_TICK_NS: Final = SECOND
_REAL_TICK_NS: Final = 100 * MILLISECOND
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - TemporaryDirectory makes a folder of its own there, closed to others


class Lab:
    """One scenario, or one suite, from start to verdict.

    `play` once. `snapshot`, `stop`, `pause`, `resume` and `set_rate` meanwhile, from the same thread. `on_tick` is
    called with a snapshot about ten times a second (once a virtual second). `store` keeps the journal and the trades of
    the run in that file; without it they lie in a temporary one.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        virtual: bool = False,
        store: Path | None = None,
        on_tick: Callable[[StressSnapshot], None] | None = None,
    ) -> None:
        if virtual and store is not None and store.exists():
            # Virtual time always starts at the same instant, so the order ids would be those of the run before.
            message = f"{store}: exists already; a virtual run needs a new file"
            raise ConfigError(message)
        if virtual and scenario.wire == "http":
            message = f"scenario {scenario.name}: sockets know no virtual time; play it in real time, or in memory"
            raise ConfigError(message)
        self.scenario = scenario
        self.seed = scenario.seed if seed is None else seed
        self.virtual = virtual
        self.results: list[Result] = []
        self.clock: Clock = VirtualClock() if virtual else SystemClock()
        self._store = store
        self._on_tick = on_tick
        self._run: Run | None = None
        self._stop_asked = False
        self._words: deque[str] = deque()

    # -- controls ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End early; what was measured is judged as far as it goes. Safe to call from a signal handler."""
        self._stop_asked = True

    def pause(self) -> None:
        if self._run is not None:
            self._run.pause()

    def resume(self) -> None:
        if self._run is not None:
            self._run.resume()

    def set_rate(self, factor: float) -> None:
        if self._run is not None:
            self._run.set_rate(factor)

    def ask(self, words: str) -> None:
        """Do what is said in words: `pause`, `resume`, `rate 1.5` or `stop`. Safe to call from another thread."""
        self._words.append(words)

    def _listen(self) -> None:
        while self._words:
            verb, _, rest = self._words.popleft().partition(" ")
            if verb == "stop":
                self.stop()
            elif verb == "pause":
                self.pause()
            elif verb == "resume":
                self.resume()
            elif verb == "rate":
                with suppress(ValueError):  # a rate that is none leaves the old one
                    self.set_rate(float(rest))

    def snapshot(self) -> StressSnapshot:
        """How the run under way stands, or the last one."""
        if self._run is None:
            return StressSnapshot(scenario=self.scenario.name, virtual=self.virtual)
        if self.results and self.results[-1].run is self._run:
            thresholds = self.results[-1].thresholds
        else:
            thresholds = self._thresholds_so_far(self._run)
        return replace(self._run.snapshot(thresholds), virtual=self.virtual)

    @property
    def stopped(self) -> bool:
        return self._stop_asked

    @property
    def passed(self) -> bool:
        return bool(self.results) and not self._stop_asked and all(result.passed for result in self.results)

    # -- the play ------------------------------------------------------------------------------------------------

    def play_to_end(self) -> None:
        """Play on a loop of its own: the machine's, or one that jumps over idle virtual time."""
        with settled():
            if isinstance(self.clock, VirtualClock):
                self.clock.run(self.play)
            else:
                anyio.run(self.play)

    async def play(self) -> None:
        """Play every part in order, each on brokers and a store of its own."""
        for part in parts_of(self.scenario) or (self.scenario,):
            if self._stop_asked:
                return
            try:
                self.results.append(await self._play_one(part))
            except Exception as error:
                if self._run is None or self._run.scenario is not part:
                    raise  # it has not even begun: the call was wrong, not the router
                self.results.append(self._broken(self._run, error))
            self._tell()

    def _broken(self, run: Run, error: BaseException) -> Result:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        run.state = RunState.BROKEN
        run.message = f"it broke: {type(error).__name__}: {error}"
        return Result(run=run, virtual=self.virtual, epoch_ns=self.clock.epoch_ns(), thresholds=(), audit=Audit())

    async def _play_one(self, scenario: Scenario) -> Result:
        # In virtual time nothing is learned about the disk, so none is kept waiting for it.
        memory = _MEMORY if self.virtual and os.access(_MEMORY, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="headroom-stress-", dir=memory) as folder:
            return self._judged(await play_on(self, scenario, self._store or Path(folder) / "lab.db"))

    @asynccontextmanager
    async def watched(self, scenario: Scenario, actor: Actor) -> AsyncIterator[tuple[Run, MachineWatch]]:
        """A run with everything that looks at it from outside."""
        tick_ns = _VIRTUAL_TICK_NS if self.virtual else _REAL_TICK_NS
        run = Run(scenario, actor, clock=self.clock, seed=self.seed, tick_ns=tick_ns)
        self._run = run
        machine = MachineWatch(self.clock, scenario.warm_up_s, real=not self.virtual)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick, run, machine, tick_ns)
            yield run, machine
            tasks.cancel_scope.cancel()

    async def _tick(self, run: Run, machine: MachineWatch, tick_ns: int) -> None:
        due_ns = self.clock.now_ns()
        while True:
            due_ns = max(due_ns + tick_ns, self.clock.now_ns())
            await self.clock.sleep_until_ns(due_ns)
            machine.look(self.clock.now_ns() - due_ns)
            self._listen()
            if self._stop_asked:
                run.stop()
            self._tell()

    def _tell(self) -> None:
        if self._on_tick is not None:
            self._on_tick(self.snapshot())

    def _judged(self, result: Result) -> Result:
        run = result.run
        thresholds = judge(run.scenario.thresholds, evidence_of(result))
        failed = [line for line in thresholds if line.passed is False]
        if run.state is not RunState.STOPPED:
            run.state = RunState.FAILED if failed else RunState.PASSED
        run.message = "; ".join(f"{line.name}: {line.value}, {line.limit}" for line in failed)
        if run.fell_behind:
            run.message = f"the generator itself fell behind, look at its lag first. {run.message}".rstrip()
        return replace(result, thresholds=thresholds)

    def _thresholds_so_far(self, run: Run) -> tuple[Threshold, ...]:
        """The lights while it plays: red for what can only get worse, else not judged yet."""
        so_far = Result(run=run, virtual=self.virtual, epoch_ns=0, thresholds=(), audit=Audit(), units=run.finished)
        lines = judge(run.scenario.thresholds, evidence_of(so_far, violations=run.observed.violations))
        return tuple(
            line if line.passed is False and line.name in ONLY_GROWS else replace(line, passed=None) for line in lines
        )
