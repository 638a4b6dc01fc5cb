"""A port whose engine comes after the first picture: loading and starting it takes longer than all of the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from core.errors import HeadroomError
from core.models import Command, RouterSnapshot, StressCommand

from .port import STARTING, RouterPort

if TYPE_CHECKING:
    from core.models import Question

__all__ = ["EngineNotThere", "StartingPort"]

A = TypeVar("A")


class EngineNotThere(HeadroomError):
    """The engine has not started yet, or could not."""


class StartingPort:
    """Shows that the engine is starting until it has, then what it shows.

    `open_port` loads it, starts it and ends it in order; it is entered and left on a thread of its own. `epoch_ns` is
    the time of the first picture.
    """

    def __init__(
        self, open_port: Callable[[], AbstractContextManager[RouterPort]], *, simulated: bool, epoch_ns: int
    ) -> None:
        self._open_port = open_port
        self._first = RouterSnapshot(sequence=STARTING, at_ns=0, epoch_ns=epoch_ns, simulated=simulated, brokers=())
        self._port: RouterPort | None = None
        self._fault: BaseException | None = None
        self._fault_told = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headroom-start")

    def start(self) -> None:
        """Begin to load and start the engine; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End the engine in order, once it has started. Raises what ended it, unless that was told already."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._fault is not None and not self._fault_told:
            raise self._fault

    def snapshot(self) -> RouterSnapshot:
        if self._port is not None:
            return self._port.snapshot()
        if self._fault is None:
            return self._first
        if isinstance(self._fault, HeadroomError):
            self._fault_told = True
            raise self._fault
        message = "the engine could not start"
        raise EngineNotThere(message) from self._fault

    async def send(self, command: Command | StressCommand) -> str:
        return await self._there().send(command)

    async def ask(self, question: Question[A]) -> A:
        return await self._there().ask(question)

    def _there(self) -> RouterPort:
        if self._port is None:
            message = "the engine is still starting: nothing was sent"
            raise EngineNotThere(message)
        return self._port

    def _run(self) -> None:
        try:
            with self._open_port() as port:
                self._port = port
                self._ending.wait()
        except BaseException as error:  # noqa: BLE001 - a thread has nobody to raise it to; close does
            self._fault = error
