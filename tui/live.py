"""The port to a router of this process, which lives on a loop and a thread of its own.

A terminal that stops reading blocks Textual's loop for seconds; an engine that sends orders must not notice. So the
screen holds only this: the last frozen snapshot, and a way to hand a command over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from core.config import stress_runs_dir
from core.errors import HeadroomError
from core.models import Command, Question, RouterSnapshot, StressCommand
from core.router import LocalRouter, open_router
from core.stress.background import play_background
from core.stress.child import ChildStress
from core.stress.runs import Runs

if TYPE_CHECKING:
    from core.config import Settings

__all__ = ["LivePort", "open_live_port"]

START_PATIENCE_S = 30.0
_log = logging.getLogger(__name__)

A = TypeVar("A")


class EngineStopped(HeadroomError):
    """The engine has ended; what it acknowledged is in the store, and the next start looks up what was open."""


class LivePort:
    """A RouterPort over a router that runs in another thread."""

    def __init__(self, portal: BlockingPortal, settings: Settings, *, background: bool) -> None:
        self._portal = portal
        self._settings = settings
        self._background = background
        self._ready = threading.Event()
        self._asked = False
        self._failure = ""
        self._stopping: anyio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._router: LocalRouter | None = None
        self._latest: RouterSnapshot | None = None
        self._stress = ChildStress(runs=Runs(stress_runs_dir()))
        self._running = portal.start_task_soon(self._run)

    # -- on the screen's thread ---------------------------------------------------------------------------------------

    def wait_until_ready(self) -> None:
        """Return once orders are recovered and the first snapshot is there. Raises what the start raised."""
        if not self._ready.wait(START_PATIENCE_S):
            message = f"the engine did not start within {START_PATIENCE_S:.0f} s"
            raise EngineStopped(message)
        if self._running.done():
            self._running.result()

    def snapshot(self) -> RouterSnapshot:
        """The last snapshot; asks for a fresh one, which the next call finds. Never waits for the engine."""
        assert self._latest is not None  # noqa: S101 - wait_until_ready comes first
        if self._failure:
            return replace(self._latest, failure=self._failure)
        if not self._asked and self._loop is not None:
            self._asked = True
            self._loop.call_soon_threadsafe(self._refresh)
        return self._latest

    async def send(self, command: Command | StressCommand) -> str:
        """Hand a command to the engine's loop and await its answer on the screen's."""
        if self._failure:
            raise EngineStopped(self._failure)
        return await asyncio.wrap_future(self._portal.start_task_soon(self._send, command))

    async def ask(self, question: Question[A]) -> A:
        """Ask on the engine's loop and await the answer on the screen's."""
        if self._failure:
            raise EngineStopped(self._failure)
        assert self._router is not None  # noqa: S101 - the port is ready
        answer: A = await asyncio.wrap_future(self._portal.start_task_soon(self._router.ask, question))
        return answer

    def close(self) -> None:
        """End the router in order: stress child, tasks, brokers, store. Raises nothing that the screen has shown."""
        if not self._running.done():
            self._portal.call(self._stop)
        failure = self._running.exception()
        if failure is not None and not self._failure:
            raise failure

    # -- on the engine's loop -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._stopping = anyio.Event()
        try:
            async with open_router(self._settings) as router, anyio.create_task_group() as tasks:
                self._loop = asyncio.get_running_loop()
                self._router = router
                self._refresh()
                if self._background and router.simulated:
                    tasks.start_soon(play_background, router, self._settings.seed)
                self._ready.set()
                _log.info("the engine is ready")
                await self._stopping.wait()
                await self._stress.stop()
                tasks.cancel_scope.cancel()
        except BaseException as error:
            if self._latest is not None:
                self._failure = f"the engine stopped: {_innermost(error)}"
                _log.exception("the engine stopped")
            raise
        finally:
            self._ready.set()

    async def _stop(self) -> None:
        assert self._stopping is not None  # noqa: S101 - set before the first await of _run
        self._stopping.set()

    def _refresh(self) -> None:
        self._asked = False
        if self._router is not None and not self._failure:
            self._latest = replace(self._router.snapshot(), stress=self._stress.snapshot)

    async def _send(self, command: Command | StressCommand) -> str:
        assert self._router is not None  # noqa: S101 - the port is ready
        if isinstance(command, StressCommand):
            return await self._stress.send(command)
        return await self._router.send(command)


@contextmanager
def open_live_port(settings: Settings, *, background: bool) -> Iterator[LivePort]:
    """Start the engine's thread, yield the port, end everything in order at the end of the block."""
    with start_blocking_portal(name="headroom-engine") as portal:
        port = LivePort(portal, settings, background=background)
        try:
            port.wait_until_ready()
            yield port
        finally:
            port.close()


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
