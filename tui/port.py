"""The one way between the screen and the engine: snapshots come out, commands go in."""

from __future__ import annotations

from typing import Protocol

from core.models import Command, RouterSnapshot

__all__ = ["RouterPort"]


class RouterPort(Protocol):
    """What the screen knows of a router, wherever that runs: in a thread, behind a socket, in a file, in a test."""

    def snapshot(self) -> RouterSnapshot:
        """How things stand. Cheap, never blocks, callable from any thread."""
        ...

    async def send(self, command: Command) -> str:
        """Do what is asked and return one line for the operator.

        Raises HeadroomError, with a one-line message, when it was refused or failed.
        """
        ...
