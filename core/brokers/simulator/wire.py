"""What both brokers' wires are made of: a call comes in, an answer goes out, a route says what it counts as."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import urlencode

from .accounts import Account
from .exchange import IST, Exchange
from .logins import Logins
from .referee import Breach, Referee
from .walk import Walk

__all__ = [
    "Answer",
    "Call",
    "Do",
    "Route",
    "Wire",
    "answer_json",
    "answer_text",
    "ist",
    "json_text",
    "mean_rupees",
    "parse_json",
    "rupees_float",
    "sent_back",
]

JSON_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it was read. `skew_ns` is how far the dates of its answer are to be off."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    epoch_ns: int
    skew_ns: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, ready to be written."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


# An answer that takes a moment is awaited: others are served in it.
Do: TypeAlias = Callable[[Call], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """What a path does. `category` is None for the log-in calls, which need no token and count nowhere.

    `cost` tells how many requests the broker counts for a call.
    """

    operation: str
    category: str | None
    do: Do
    cost: Callable[[Call], int] = lambda _call: 1


class Wire(ABC):
    """One broker's side of the server, served from an account at the exchange. `routes`: by verb and path."""

    name: ClassVar[str]
    routes: Mapping[tuple[str, str], Route]

    def __init__(self, exchange: Exchange, referee: Referee, logins: Logins, *, serial_digits: int) -> None:
        self.exchange = exchange
        self.referee = referee
        self.logins = logins
        self.account: Account = exchange.open_account(self.name, serial_digits=serial_digits)

    @property
    def operations(self) -> frozenset[str]:
        """The names that faults may be tied to."""
        return frozenset(route.operation for route in self.routes.values())

    def market(self, symbol: str) -> Walk:
        """The market of a symbol that is known to be listed."""
        walk = self.exchange.walk(symbol)
        assert walk is not None  # noqa: S101 - callers have the listing in hand
        return walk

    @abstractmethod
    def route(self, method: str, path: str) -> Route | None:
        """The route of a path; None when the path is not this broker's at all."""

    @abstractmethod
    def authorise(self, call: Call) -> Answer | None:
        """None for a good token, the broker's 401 for another."""

    @abstractmethod
    def judge(self, route: Route, cost: int, now_ns: int, epoch_ns: int) -> Answer | None:
        """None within the limits, the broker's 429 above them."""

    @abstractmethod
    def too_many(self, breach: Breach | None, *, status: int = 429) -> Answer: ...

    @abstractmethod
    def expired(self, call: Call) -> Answer: ...

    @abstractmethod
    def maintenance(self) -> Answer: ...

    @abstractmethod
    def wrong_ip(self) -> Answer: ...

    @abstractmethod
    def server_error(self) -> Answer: ...

    @abstractmethod
    def unacknowledged(self, answer: Answer) -> Answer: ...


def sent_back(call: Call, back: dict[str, str]) -> Answer:
    """The consent page of a log-in: nobody has to click here, the browser goes back with `back` and its own state."""
    if "state" in call.query:
        back["state"] = call.query["state"]
    target = call.query.get("redirect_uri", "http://127.0.0.1/")
    return Answer(302, b"", headers={"Location": f"{target}{'&' if '?' in target else '?'}{urlencode(back)}"})


def answer_json(payload: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with `payload` as compact JSON."""
    return Answer(status, json_text(payload).encode(), JSON_TYPE, headers or {})


def answer_text(text: str) -> Answer:
    """An answer of 200 with JSON that is written already."""
    return Answer(200, text.encode())


def json_text(payload: object) -> str:
    """Compact JSON."""
    return _ENCODER.encode(payload)


def parse_json(body: bytes) -> Any:
    """JSON with its decimal numbers exact. Raises ValueError for anything else."""
    return _DECODER.decode(body.decode())


def _no_constant(name: str) -> Any:
    message = f"{name} is no JSON"
    raise ValueError(message)


# Made once: json.loads and json.dumps make a new one for every call that has options, 40 us a request.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)


def ist(epoch_ns: int) -> datetime:
    """The wall clock in India at that instant, without a zone."""
    return (datetime.fromtimestamp(epoch_ns // 1_000_000_000, UTC) + IST).replace(tzinfo=None)


def mean_rupees(value_paise: int, quantity: int) -> float:
    """The price of each of `quantity`, to four places, as the brokers give averages; 0 of none."""
    return round(value_paise / 100 / quantity, 4) if quantity else 0.0


def rupees_float(paise: int) -> float:
    """Paise as the JSON number that the brokers send."""
    return paise / 100
