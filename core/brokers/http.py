"""The one way out: it sends each request once over aiohttp's connections, and knows whether it left.

What aiohttp tells by its exceptions alone is not enough: a bare TimeoutError comes before a send as well as after it.
So each request notes when its first byte is about to be handed to the socket (client.py); over 28 real network
faults against a server that knows what it read (tests/brokers/test_http_faults.py) that note never said "not sent" of a
request that arrived. The note is asked first, and the exception only lends the words.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ..clock import MILLISECOND, SECOND, Clock
from ..errors import BrokerError, OrderNotSent, OrderOutcomeUnknown
from .reply import Reply, clean_text

if TYPE_CHECKING:
    from .client import Connections

__all__ = ["HTTPTransport"]

CONNECT_WITHIN_NS: Final = 3 * SECOND
CONNECTIONS: Final = 256
BODY_BYTES_MAX: Final = 32 * 1024 * 1024
# What a proxy on the way may still hold after our own kernel has given up: chosen, nobody publishes a figure.
ON_THE_WAY_NS: Final = SECOND
# Where the kernel cannot be told to give up with us, it repeats unacknowledged bytes for up to this long (chosen).
KERNEL_REPEATS_NS: Final = 30 * SECOND
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)


class _Sending:
    """One request on its way; `begun_ns` is None until the first byte was about to leave."""

    __slots__ = ("_clock", "begun_ns")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begun_ns: int | None = None

    def leaves(self) -> None:
        self.begun_ns = self._clock.now_ns()


class HTTPTransport:
    """The connections to one broker. Nothing is repeated, redirected or remembered between requests.

    `timeout_ns` bounds a request from the wait for a connection to the last byte of the answer, `connect_within_ns`
    the wait for one of the `connections` and its making.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout_ns: int,
        clock: Clock,
        connect_within_ns: int = CONNECT_WITHIN_NS,
        connections: int = CONNECTIONS,
    ) -> None:
        self._name = name
        self._timeout_ns = timeout_ns
        self._connect_within_ns = min(timeout_ns, connect_within_ns)
        self._limit = connections
        self._clock = clock
        self._connections: Connections | None = None

    async def __aenter__(self) -> Self:
        from .client import Connections  # noqa: PLC0415 - 150 ms that a router of mock brokers need not pay

        self._connections = Connections(
            timeout_s=self._timeout_ns / SECOND,
            connect_within_s=self._connect_within_ns / SECOND,
            limit=self._limit,
            open_socket=self._open_socket,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connections, self._connections = self._connections, None
        if connections is not None:
            with self._clock.outside():
                await connections.close()

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes | None = None) -> Reply:
        """Send once and read the whole answer. `url` is already encoded.

        Raises OrderNotSent when no byte left, OrderOutcomeUnknown when one may have.
        """
        if self._connections is None:
            message = f"{self._name}: the connection is not open; use the adapter as an `async with` block"
            raise OrderNotSent(message, provider=self._name)
        sending = _Sending(self._clock)
        with self._clock.outside():
            try:
                status, answer_headers, content = await self._connections.send(
                    method,
                    url,
                    headers=headers,
                    body=body,
                    leaves=sending.leaves,
                    answer_bytes_max=BODY_BYTES_MAX,
                )
            except Exception as error:
                raise self._sorted(error, sending) from error
        if sending.begun_ns is None:
            message = f"{self._name}: answered, but nobody told when the request left: it cannot be relied on"
            raise OrderOutcomeUnknown(message, provider=self._name)
        return Reply(status, content, answer_headers, sending.begun_ns, self._clock.now_ns())

    def _open_socket(self, address: tuple[int, int, int, str, object]) -> socket.socket:
        family, kind, protocol, _, _ = address
        opened = socket.socket(family, kind, protocol)
        if _USER_TIMEOUT is not None:
            # After this long without an acknowledgement the kernel drops what it holds: a request that we have given
            # up cannot arrive minutes later.
            opened.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, max(1, self._timeout_ns // MILLISECOND))
        return opened

    def _sorted(self, error: Exception, sending: _Sending) -> BrokerError:
        what = self._in_words(error)
        if sending.begun_ns is None:
            message = f"{self._name}: the request never left: {what}"
            return OrderNotSent(message, provider=self._name, evidence=type(error).__name__)
        since_ns = self._clock.now_ns() - sending.begun_ns
        holds_ns = self._timeout_ns if _USER_TIMEOUT is not None else KERNEL_REPEATS_NS
        return OrderOutcomeUnknown(
            f"{self._name}: the request left and {what}; look it up, never send it again",
            provider=self._name,
            evidence=type(error).__name__,
            arrives_within_ns=max(0, holds_ns - since_ns) + ON_THE_WAY_NS,
        )

    def _in_words(self, error: Exception) -> str:
        from .client import WORDS  # noqa: PLC0415 - loaded long ago, when the session was opened

        for kind, words in WORDS:
            if isinstance(error, kind):
                text = words.format(timeout_ms=self._timeout_ns // MILLISECOND)
                detail = clean_text(error.strerror or "", limit=80) if isinstance(error, OSError) else ""
                return f"{text} ({detail})" if detail else text
        return clean_text(f"{type(error).__name__}: {error}", limit=120)
