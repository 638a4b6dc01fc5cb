"""The kill switch: one for every process on a store, and it outlives them all."""

from __future__ import annotations

from typing import NoReturn

import anyio

from ..clock import Clock
from ..errors import EngineHalted, StoreError
from ..store import Halted, Journal, Lifted
from .recorder import Recorder

__all__ = ["KillSwitch"]


class KillSwitch:
    """`reason` says why trading is halted, as far as this process has heard; empty while it is not."""

    def __init__(self, journal: Journal, recorder: Recorder, *, clock: Clock) -> None:
        self._journal = journal
        self._recorder = recorder
        self._clock = clock
        self.reason = ""
        self._is_ours = False  # until the file has our own throw, nothing else that it says counts
        self._throws = 0

    def anywhere(self) -> str:
        """The reason, also when another process threw it a moment ago. Raises StoreError: who cannot know, waits."""
        return self.reason or self._journal.halted_now()

    def check(self) -> None:
        """Raise EngineHalted while it is on, as far as this process has heard."""
        if self.reason:
            _refuse(self.reason)

    def check_anywhere(self) -> None:
        """Raise EngineHalted while it is on, in whichever process it was thrown; StoreError when nobody can tell."""
        if reason := self.anywhere():
            _refuse(reason)

    def notice(self) -> bool:
        """Follow what another process did; True when it was thrown and this process had not heard."""
        reason = self._journal.halted_now()
        is_news = bool(reason) and not self.reason
        if not self._is_ours:
            self.reason = reason
        return is_news

    def throw(self, reason: str) -> None:
        """On, for this process and from this instant; `publish` tells the others."""
        self.reason = reason or "no reason given"
        self._is_ours = True
        self._throws += 1

    async def publish(self) -> StoreError | None:
        """Make it durable and so known to every process; the fault when that failed."""
        fault: StoreError | None = None
        with anyio.CancelScope(shield=True):
            try:
                await self._journal.append(Halted(self.reason, self._clock.epoch_ns()))
                self._is_ours = False
            except StoreError as error:
                fault = error
        self._recorder.tell("halted", "", f"halted: {self.reason}")
        return fault

    async def lift(self, name: str) -> None:
        """Off, for all. Raises ValueError without a name."""
        if not name.strip():
            message = "the kill switch is lifted by name: say who does it"
            raise ValueError(message)
        throws = self._throws
        await self._journal.append(Lifted(name, self._clock.epoch_ns()))
        if throws == self._throws:  # else it was thrown again while this was on its way to the file
            self.reason, self._is_ours = "", False
        self._recorder.tell("lifted", "", f"trading was resumed by {name}")


def _refuse(reason: str) -> NoReturn:
    message = f"trading is halted ({reason}); lift it by name"
    raise EngineHalted(message)
