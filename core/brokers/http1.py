"""HTTP/1.1, as a request and its answer look on the wire: pure, bytes in and bytes out (RFC 9110 and 9112).

Written out, since a library makes a stream, a queue and a dozen objects more of an answer that is here in one piece:
most of what an order over HTTP cost. Where the RFC lets a reader guess, nothing is guessed: what is not plainly an
answer is none, and its order is looked up.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Answer", "BrokenOff", "HungUp", "Incoming", "NotHTTP", "request_bytes"]

_GZIP: Final = ("gzip", "x-gzip")
_GZIP_HEAD: Final = 16  # told to zlib: what it unpacks begins as a gzip file does
_PACKED_BADLY: Final = "what was packed cannot be unpacked"
_HEAD_BYTES_MAX: Final = 1 << 15
_LINE_BYTES_MAX: Final = 1 << 12  # of a chunk's size, of a trailer
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEAD: Final = re.compile(
    r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n\0]*)?((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*)*)"
)
_LENGTH: Final = re.compile(r"[0-9]{1,12}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n\0]*)?")
_SWITCHING: Final = 101
_BODILESS: Final = frozenset({_SWITCHING, 204, 304})


class HungUp(ConnectionError):
    """The connection ended before an answer began."""


class BrokenOff(ConnectionError):
    """An answer began, and its end will never be known."""


class NotHTTP(ValueError):
    """What came is no answer."""


class Answer(NamedTuple):
    """`headers` by names in lower case; the values of one that stands there twice with a comma between them.

    `keeps`: whether the connection takes another request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    keeps: bool


def request_bytes(method: str, path: str, lines: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """A request; `lines` are headers that are written already. Raises ValueError for text that would leave its line."""
    if _CONTROL.search(path) or _CONTROL.search("".join(headers.values())):
        message = "a control character in an address or a header"
        raise ValueError(message)
    told = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if body is None and method == "GET":
        return f"{method} {path} HTTP/1.1\r\n{lines}{told}\r\n".encode()
    body = body or b""
    return f"{method} {path} HTTP/1.1\r\n{lines}{told}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Incoming:
    """One answer while it comes in: `take` each piece, or `end`, until one of them returns it.

    Both raise HungUp, BrokenOff and NotHTTP, and ValueError for a body above `body_bytes_max`.
    """

    __slots__ = ("_at", "_body_bytes_max", "_held", "_is_over", "_parts")

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._held = b""
        self._at = 0  # what is held before it has been read
        self._is_over = False
        self._parts = self._read()

    def take(self, data: bytes) -> Answer | None:
        """The answer, if `data` completes it."""
        self._held = self._held[self._at :] + data
        self._at = 0
        return self._go_on()

    def end(self) -> Answer:
        """The answer, when it ends with its connection."""
        self._is_over = True
        answer = self._go_on()
        assert answer is not None  # noqa: S101 - nothing waits for more when no more will come
        return answer

    def _go_on(self) -> Answer | None:
        try:
            next(self._parts)
        except StopIteration as whole:
            answer: Answer = whole.value
            return answer
        return None

    def _read(self) -> Generator[None, None, Answer]:
        """The parts in the order in which they come; each `yield` waits for more."""
        if not self._held:
            message = "the connection ended before an answer"
            raise HungUp(message)
        status = 100
        while 100 <= status < 200 and status != _SWITCHING:  # "continue", and others that only say it was heard
            status, keeps, headers = _head((yield from self._until(b"\r\n\r\n", _HEAD_BYTES_MAX)))
        body = _Body(headers.get("content-encoding", "").lower(), self._body_bytes_max)
        length = headers.get("content-length")
        if status in _BODILESS:
            keeps = keeps and status != _SWITCHING
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked" or length is not None:
                message = "a body that may end in more than one place"
                raise NotHTTP(message)
            yield from self._chunks(body)
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                message = "a length that is no number"
                raise NotHTTP(message)
            yield from self._sized(int(length), body)
        else:
            keeps = False
            yield from self._all(body)
        # What stands behind an answer, nobody has asked for.
        return Answer(status, headers, body.whole(), keeps and self._at == len(self._held))

    def _until(self, mark: bytes, bytes_max: int) -> Generator[None, None, bytes]:
        """All before the next `mark`, which is read as well."""
        while (end := self._held.find(mark, self._at, self._at + bytes_max)) < 0:
            if len(self._held) - self._at >= bytes_max:
                message = "a line without an end"
                raise NotHTTP(message)
            yield from self._more()
        found, self._at = self._held[self._at : end], end + len(mark)
        return found

    def _sized(self, size: int, body: _Body) -> Generator[None, None, None]:
        while size:
            if self._at == len(self._held):
                yield from self._more()
            piece = self._held[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            body.add(piece)

    def _chunks(self, body: _Body) -> Generator[None, None, None]:
        while size := _chunk_size((yield from self._until(b"\r\n", _LINE_BYTES_MAX))):
            yield from self._sized(size, body)
            if (yield from self._until(b"\r\n", _LINE_BYTES_MAX)):
                message = "a chunk longer than it says"
                raise NotHTTP(message)
        while (yield from self._until(b"\r\n", _LINE_BYTES_MAX)):
            pass  # a trailer: nothing there that is looked at

    def _all(self, body: _Body) -> Generator[None, None, None]:
        while not self._is_over:
            body.add(self._held[self._at :])
            self._at = len(self._held)
            yield

    def _more(self) -> Generator[None, None, None]:
        if self._is_over:
            message = "the connection ended inside an answer"
            raise BrokenOff(message)
        yield


class _Body:
    """A body, unpacked as it comes. `add` raises ValueError above `bytes_max`: packed, it could grow without end."""

    __slots__ = ("_bytes_max", "_has_begun", "_unpacked", "_unpacker")

    def __init__(self, coding: str, bytes_max: int) -> None:
        if coding and coding not in _GZIP:
            message = f"a body packed as {coding}, which nobody asked for"
            raise NotHTTP(message)
        self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | _GZIP_HEAD) if coding else None
        self._unpacked = bytearray()
        self._has_begun = False
        self._bytes_max = bytes_max

    def add(self, piece: bytes) -> None:
        self._has_begun = True
        if self._unpacker is not None:
            try:
                piece = self._unpacker.decompress(piece, self._bytes_max + 1)
            except zlib.error:
                raise BrokenOff(_PACKED_BADLY) from None
        self._unpacked += piece
        if len(self._unpacked) > self._bytes_max:
            message = f"the answer is longer than {self._bytes_max} bytes"
            raise ValueError(message)

    def whole(self) -> bytes:
        unpacker = self._unpacker
        if unpacker is not None and self._has_begun and (not unpacker.eof or unpacker.unused_data):
            raise BrokenOff(_PACKED_BADLY)
        return bytes(self._unpacked)


@lru_cache(maxsize=16)  # a broker's answers of one second mostly have the same head, to the byte
def _head(text: bytes) -> tuple[int, bool, Mapping[str, str]]:
    """Status, whether the connection is kept, headers."""
    found = _HEAD.fullmatch(text.decode("latin-1"))
    if found is None:
        message = "no status line, or a header that is none"
        raise NotHTTP(message)
    minor, status, lines = found.groups()
    headers: dict[str, str] = {}
    for line in lines.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    wishes = headers.get("connection", "").lower()
    return int(status), "close" not in wishes and (minor == "1" or "keep-alive" in wishes), headers


def _chunk_size(line: bytes) -> int:
    found = _CHUNK_SIZE.fullmatch(line)
    if found is None:
        message = "a chunk without a size"
        raise NotHTTP(message)
    return int(found[1], 16)
