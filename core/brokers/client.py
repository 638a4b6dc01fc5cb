"""Connections to one broker, kept and used again, one request on each at a time; words for what can go wrong there.

Over asyncio's transports, without a library's session: that walks through cookies, redirects, proxies, middlewares and
repeats that nobody here wants. What goes over a connection is read and written by http1.py.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Final
from urllib.parse import urlsplit

from .http1 import Answer, BrokenOff, HungUp, Incoming, NotHTTP, request_bytes

__all__ = ["WORDS", "Connections"]


class NoConnection(OSError):
    """None could be made."""


class NoConnectionInTime(TimeoutError):
    """None was free, or could be made, within the time for it."""


# The first that fits: a class stands before those it is a kind of.
WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (socket.gaierror, "the broker's name has no address"),
    (ssl.SSLCertVerificationError, "the certificate is not the broker's"),
    (ssl.SSLError, "the encrypted connection could not be set up"),
    (NoConnection, "no connection could be made"),
    (NoConnectionInTime, "no connection in time"),
    (TimeoutError, "no answer within {timeout_ms} ms"),
    (HungUp, "the connection was closed before an answer"),
    (BrokenOff, "the answer broke off"),
    (NotHTTP, "what came back is not HTTP"),
    (OSError, "the connection was reset"),
)

# Below the 60 s after which load balancers usually hang up: a connection found closed only at the send makes an order
# unknown for no good reason.
_KEPT_S: Final = 30.0
_OTHER_ADDRESS_AFTER_S: Final = 0.25  # RFC 8305: where the first of several does not answer, the next is tried as well
_HOST_STARTS_AT: Final = len("https://")
_PORTS: Final = {"http": 80, "https": 443}


class _Patience:
    """How long answers are waited for: all as long, so whoever asked first is due first, and one timer serves them all.

    A timer for each, cancelled a moment later, is 8 us of a request.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._until_s: dict[asyncio.Future[Answer | None], float] = {}  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Future[Answer | None]:
        """Where an answer is to be put; None comes instead when the time is up. `end` follows in any case."""
        answer: asyncio.Future[Answer | None] = self._loop.create_future()
        self._until_s[answer] = until_s = self._loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = self._loop.call_at(until_s, self._look)
        return answer

    def end(self, answer: asyncio.Future[Answer | None]) -> None:
        del self._until_s[answer]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        for answer, until_s in self._until_s.items():
            if until_s > now_s:
                self._timer = self._loop.call_at(until_s, self._look)
                return
            if not answer.done():
                answer.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self.free_since_s = 0.0
        self.lost = asyncio.get_running_loop().create_future()
        self._answer: asyncio.Future[Answer | None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream in both directions
        self._transport = transport

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def ask(self, request: bytes, answer: asyncio.Future[Answer | None], body_bytes_max: int) -> None:
        """Write `request`; what comes of it goes into `answer`. Raises HungUp when the other side has closed it."""
        if not self.is_open:
            message = "closed before the request was written"
            raise HungUp(message)
        self._answer, self._incoming = answer, Incoming(body_bytes_max)
        self._transport.write(request)

    def drop(self) -> None:
        """Close it at once, without what may still wait to be written."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.drop()  # nobody has asked for anything
            return
        try:
            whole = self._incoming.take(data)
        except (ConnectionError, ValueError) as error:
            self._tell(error)
            return
        if whole is not None:
            self._tell(whole)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)
        if self._answer is None:
            return
        if isinstance(error, ssl.SSLError | TimeoutError):
            error = ConnectionResetError(*error.args)  # as such they tell of a connection that is not there yet
        if error is None:
            try:
                self._tell(self._incoming.end())
            except (ConnectionError, ValueError) as broken:
                self._tell(broken)
        else:
            self._tell(error)

    def _tell(self, outcome: Answer | Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return  # whoever asked has gone
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


class _Host:
    """One address, and the connections to it: at most `limit` at a time."""

    def __init__(
        self, origin: str, *, connect_within_s: float, limit: int, prepare: Callable[[socket.socket], None]
    ) -> None:
        parts = urlsplit(origin)
        self._name, usual = parts.hostname or "", _PORTS[parts.scheme]
        self._port = parts.port or usual
        self._tls = _trust() if parts.scheme == "https" else None
        self._connect_within_s = connect_within_s
        self._prepare = prepare
        self._turns = asyncio.Semaphore(limit)
        self._free: deque[_Connection] = deque()  # the one that was used last stands last
        self._open: set[_Connection] = set()
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        name = f"[{self._name}]" if ":" in self._name else self._name
        self.lines = f"Host: {name if self._port == usual else f'{name}:{self._port}'}\r\nAccept-Encoding: gzip\r\n"

    async def take(self) -> _Connection:
        """A connection, to be given back. Raises what `WORDS` tells of."""
        if not self._turns.locked() and (kept := self._kept()) is not None:
            await self._turns.acquire()  # at once
            return kept
        try:
            async with asyncio.timeout(self._connect_within_s):
                await self._turns.acquire()
                try:
                    return self._kept() or await self._connect()
                except BaseException:
                    self._turns.release()
                    raise
        except TimeoutError as error:
            message = f"no connection within {self._connect_within_s} s"
            raise NoConnectionInTime(message) from error

    def give_back(self, connection: _Connection, *, is_usable: bool) -> None:
        self._turns.release()
        if not is_usable or self._is_closed:
            connection.drop()
            return
        connection.free_since_s = now_s = self._loop.time()
        self._free.append(connection)
        while now_s - self._free[0].free_since_s > _KEPT_S:
            self._free.popleft().drop()

    async def close(self) -> None:
        self._is_closed = True
        for connection in self._open:
            connection.drop()
        if self._open:
            await asyncio.wait([connection.lost for connection in self._open])

    def _kept(self) -> _Connection | None:
        while self._free:
            connection = self._free.pop()
            if connection.is_open and self._loop.time() - connection.free_since_s <= _KEPT_S:
                return connection
            connection.drop()
        return None

    async def _connect(self) -> _Connection:
        try:
            transport, connection = await self._loop.create_connection(
                _Connection, self._name, self._port, ssl=self._tls, happy_eyeballs_delay=_OTHER_ADDRESS_AFTER_S
            )
        except (socket.gaierror, ssl.SSLError):
            raise
        except OSError as error:
            raise NoConnection(error.errno, error.strerror or str(error)) from error
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        self._prepare(transport.get_extra_info("socket"))
        if self._is_closed:
            connection.drop()
            message = "closed meanwhile"
            raise NoConnection(message)
        return connection


@cache
def _trust() -> ssl.SSLContext:
    """What this machine trusts; 20 ms to read."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connections:
    """The connections to one broker. Nothing is repeated, redirected or remembered between requests.

    `timeout_s` bounds a request from the wait for a connection to the last byte of the answer, `connect_within_s` the
    wait for one of the `limit` connections to a host and its making. `prepare` is shown each socket before its first
    request.
    """

    def __init__(
        self, *, timeout_s: float, connect_within_s: float, limit: int, prepare: Callable[[socket.socket], None]
    ) -> None:
        self._patience = _Patience(timeout_s)
        self._host = partial(_Host, connect_within_s=connect_within_s, limit=limit, prepare=prepare)
        self._hosts: dict[str, _Host] = {}

    async def close(self) -> None:
        self._patience.close()
        for host in self._hosts.values():
            await host.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        leaves: Callable[[], None],
        body_bytes_max: int,
    ) -> Answer:
        """Send once and read the whole answer. `url` is already encoded.

        `leaves` is called with a connection in hand, just before the first byte is written. Raises what `WORDS` tells
        of, and ValueError for headers that would be taken for others and for an answer above `body_bytes_max`.
        """
        path_at = url.index("/", _HOST_STARTS_AT)
        origin = url[:path_at]
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = self._host(origin)
        request = request_bytes(method, url[path_at:], host.lines, headers, body)
        coming = self._patience.begin()
        answer = None
        try:
            connection = await host.take()
            try:
                if not coming.done():
                    leaves()
                    connection.ask(request, coming, body_bytes_max)
                answer = await coming
            finally:
                host.give_back(connection, is_usable=answer is not None and answer.keeps)
        finally:
            self._patience.end(coming)
        if answer is None:
            raise TimeoutError
        return answer
