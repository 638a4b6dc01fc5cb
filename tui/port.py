"""The one way between the screen and the engine: snapshots come out, commands go in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from core.models import Command, RouterSnapshot, StressCommand

if TYPE_CHECKING:
    from core.models import Question

__all__ = ["STARTING", "RouterPort"]

STARTING: Final = -1  # the sequence of what a port shows before its engine has started


A = TypeVar("A")


class RouterPort(Protocol):
    """What the screen knows of a router, wherever that runs: in a thread, behind a socket, in a file, in a test."""

    def snapshot(self) -> RouterSnapshot:
        """How things stand. Cheap, never blocks, callable from any thread.

        Raises HeadroomError when the engine could not start: there will never be anything to show.
        """
        ...

    async def send(self, command: Command | StressCommand) -> str:
        """Do what is asked and return one line for the operator.

        Raises HeadroomError, with a one-line message, when it was refused or failed.
        """
        ...

    async def ask(self, question: Question[A]) -> A:
        """What a snapshot has no room for. Raises HeadroomError, with a one-line message, when nobody can tell."""
        ...
