"""What a parent may ask of simulated brokers in a process of their own (apart.py), and the answers: lines of JSON."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from ...models import BrokerOrder, Budget, RefereeReport

__all__ = ["BOOKS", "REFEREES", "Ask", "Setup"]

REFEREES: Final = TypeAdapter(dict[str, RefereeReport])
BOOKS: Final = TypeAdapter(dict[str, tuple[BrokerOrder, ...]])


class Setup(BaseModel):
    """What to serve: the limits that each broker enforces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    limits: dict[str, tuple[Budget, ...]]


class Ask(BaseModel):
    """`fault` and `latency` change one broker; `archive` takes ended orders out of the books; the others read.

    `value`: as `Simulator` takes it, or milliseconds. `before_ns`: an epoch time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["referees", "books", "archive", "fault", "latency"]
    broker: str = ""
    kind: str = ""
    value: float = 0.0
    before_ns: int = 0
