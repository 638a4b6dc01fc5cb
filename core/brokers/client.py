"""Requests over aiohttp's connections, and words for its errors. Loaded with the first transport.

aiohttp's connector makes the connections, secures them, keeps them and hands them out; its parser reads the answers.
Its session is left out: it walks through cookies, redirects, proxies, middlewares, traces and repeats that nobody here
wants, and makes a task for each body.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import (
    ClientConnectionResetError,
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientPayloadError,
    ClientRequest,
    ClientResponseError,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    StreamReader,
    TCPConnector,
)
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from multidict import CIMultiDictProxy

__all__ = ["WORDS", "Connections"]

# The first that fits: a class stands before those it is a kind of.
WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (ClientConnectorDNSError, "the broker's name has no address"),
    (ClientConnectorCertificateError, "the certificate is not the broker's"),
    (ClientSSLError, "the encrypted connection could not be set up"),
    (ClientConnectorError, "no connection could be made"),
    (ConnectionTimeoutError, "no connection in time"),
    (TimeoutError, "no answer within {timeout_ms} ms"),
    (ServerDisconnectedError, "the connection was closed before an answer"),
    (ClientPayloadError, "the answer broke off"),
    (ClientResponseError, "what came back is not HTTP"),
    (OSError, "the connection was reset"),
)

# Below the 60 s after which load balancers usually hang up: a connection found closed only at the send makes an order
# unknown for no good reason.
_KEPT_S: Final = 30.0
_HOST_STARTS_AT: Final = len("https://")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _Host(NamedTuple):
    """Where requests go: what the connector asks of it, and the lines that each of them bears.

    `free` are the connections that wait for the next request, each with the time since when, the latest last.
    """

    request: ClientRequest
    lines: str
    free: list[tuple[Connection, float]]


class _Patience:
    """Bounds requests by one time, as `asyncio.timeout` would each: TimeoutError where it is up.

    All are given as long, so whoever came first is due first: one timer serves them all. A timer for each, cancelled a
    moment later, is 8 us of a request.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[_Wait, None] = {}  # in the order in which they came
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> _Wait:
        wait = _Wait(self._waiting, self._loop.time() + self._timeout_s)
        if self._timer is None:
            self._timer = self._loop.call_at(wait.until_s, self._look)
        return wait

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        for wait in list(self._waiting):
            if wait.until_s > now_s:
                self._timer = self._loop.call_at(wait.until_s, self._look)
                return
            wait.give_up()


class _Wait:
    """One request under way."""

    __slots__ = ("_cancels", "_is_up", "_others", "_task", "until_s")

    def __init__(self, others: dict[_Wait, None], until_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - requests are made by tasks
        self._others, self._task, self._cancels = others, task, task.cancelling()
        self._is_up = False
        self.until_s = until_s

    def give_up(self) -> None:
        del self._others[self]
        self._is_up = True
        self._task.cancel()

    def __enter__(self) -> None:
        self._others[self] = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_up:
            del self._others[self]
        elif self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error  # nobody but us has cancelled it


class Connections:
    """aiohttp's connections to one broker. Nothing is repeated, redirected or remembered between requests.

    `timeout_s` bounds a request from the wait for a connection to the last byte of the answer, `connect_within_s` the
    wait for one of the `limit` connections and its making.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        connect_within_s: float,
        limit: int,
        open_socket: Callable[[tuple[int, int, int, str, object]], socket.socket],
    ) -> None:
        self._patience = _Patience(timeout_s)
        self._connecting = ClientTimeout(connect=connect_within_s, ceil_threshold=float("inf"))  # or 7 s may become 8
        self._connector = TCPConnector(
            limit=limit,
            ttl_dns_cache=60,
            keepalive_timeout=_KEPT_S,
            socket_factory=open_socket,
        )
        self._loop = asyncio.get_running_loop()
        self._hosts: dict[str, _Host] = {}
        self._headers: Mapping[str, str] = {}
        self._lines = ""
        self._asking = 0  # requests that wait for a connection of the connector

    async def close(self) -> None:
        self._patience.close()
        self._release_free()
        await self._connector.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        leaves: Callable[[], None],
        answer_bytes_max: int,
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        """Send once and read the whole answer: its status, headers and body. `url` is already encoded.

        `leaves` is called with a connection in hand, just before the first byte is written. Raises what `WORDS` tells
        of, and ValueError for headers that would be taken for others and for an answer above `answer_bytes_max`.
        """
        path_at = url.index("/", _HOST_STARTS_AT)
        host = self._host(url[:path_at])
        if headers is not self._headers:  # an adapter shows the same ones until it has another token
            self._headers, self._lines = headers, _lines(headers)
        message = _message(method, url[path_at:], host.lines + self._lines, body)
        with self._patience.begin():
            connection = self._kept(host) or await self._connected(host)
            try:
                answer = await self._exchange(connection, host, message, leaves, answer_bytes_max)
            except BaseException:
                connection.close()
                raise
            if self._asking:
                connection.release()
            else:
                host.free.append((connection, self._loop.time()))
        return answer

    def _kept(self, host: _Host) -> Connection | None:
        """A connection of an earlier request.

        They are kept here: to give each back to the connector and get it from there again is a tenth of a request.
        """
        while host.free:
            connection, since_s = host.free.pop()
            protocol = connection.protocol
            assert protocol is not None  # noqa: S101 - it was not given back
            if protocol.is_connected() and not protocol.should_close and self._loop.time() - since_s <= _KEPT_S:
                return connection
            connection.close()
        return None

    async def _connected(self, host: _Host) -> Connection:
        """A connection from the connector, which counts all of them and waits where there are too many."""
        self._release_free()
        self._asking += 1
        try:
            connection = await self._connector.connect(host.request, traces=[], timeout=self._connecting)
        except TimeoutError as error:
            waited = f"Connection timeout to host {host.request.url}"
            raise ConnectionTimeoutError(waited) from error
        finally:
            self._asking -= 1
        assert connection.protocol is not None  # noqa: S101 - a connection just handed out
        connection.protocol.set_response_params(read_until_eof=True)
        return connection

    def _release_free(self) -> None:
        for host in self._hosts.values():
            while host.free:
                host.free.pop()[0].release()

    async def _exchange(
        self, connection: Connection, host: _Host, message: bytes, leaves: Callable[[], None], answer_bytes_max: int
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        protocol = connection.protocol
        assert protocol is not None  # noqa: S101 - a connection just handed out
        leaves()
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        transport.write(message)
        status = 100
        while 100 <= status < 200 and status != 101:  # "continue", and others that say no more than that it is heard
            try:
                head, content = await protocol.read()
            except HttpProcessingError as error:
                raise ClientResponseError(
                    host.request.request_info, (), status=error.code, message=error.message
                ) from error
            status = head.code
        return status, head.headers, await _read_at_most(content, answer_bytes_max)

    def _host(self, origin: str) -> _Host:
        host = self._hosts.get(origin)
        if host is None:
            request = ClientRequest("GET", URL(origin, encoded=True), loop=self._loop)
            lines = "".join(f"{name}: {request.headers[name]}\r\n" for name in ("Host", "Accept-Encoding"))
            host = self._hosts[origin] = _Host(request, lines, [])
        return host


def _lines(headers: Mapping[str, str]) -> str:
    """Headers as they go over the wire."""
    _check("".join(headers.values()))
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def _message(method: str, path: str, lines: str, body: bytes | None) -> bytes:
    """The request as it goes over the wire."""
    _check(path)
    if body is None and method == "GET":
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()
    body = body or b""
    return f"{method} {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _check(text: str) -> None:
    """Raises ValueError for one that would break out of its line."""
    if _CONTROL.search(text):
        message = "a control character in an address or a header"
        raise ValueError(message)


async def _read_at_most(content: StreamReader, size_max: int) -> bytes:
    """The body. Raises ValueError as soon as it is longer than `size_max`: packed, it could grow without end."""
    chunks: list[bytes] = []
    size = 0
    while not content.at_eof():
        chunk = content.read_nowait() if content.is_eof() else await content.readany()  # most are there in one piece
        chunks.append(chunk)
        size += len(chunk)
        if size > size_max:
            message = f"the answer is longer than {size_max} bytes"
            raise ValueError(message)
    return b"".join(chunks)
