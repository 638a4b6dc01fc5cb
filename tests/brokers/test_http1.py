"""HTTP/1.1 by its bytes: what an answer says, whatever the pieces in which it comes, and what is none."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from http.client import HTTPResponse
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brokers.http1 import Answer, BrokenOff, HungUp, Incoming, NotHTTP, request_bytes

BODY_MAX = 1 << 16
HELLO = gzip.compress(b"hello")


def told(pieces: list[bytes]) -> Answer:
    """What has come when the last piece has, or when the connection has ended behind it."""
    incoming = Incoming(BODY_MAX)
    for piece in pieces[:-1]:
        assert incoming.take(piece) is None
    return incoming.take(pieces[-1]) or incoming.end()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    return [
        data[start:end]
        for start, end in pairwise([0, *sorted({place % len(data) for place in places} - {0}), len(data)])
    ]


def answer(*lines: str, body: bytes = b"", first: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


# The bytes; the status, the body, and whether the connection takes another request.
ANSWERS: dict[str, tuple[bytes, int, bytes, bool]] = {
    "by its length": (answer("Content-Length: 2", body=b"{}"), 200, b"{}", True),
    "no length at all": (answer(body=b"{}"), 200, b"{}", False),
    "nothing in it": (answer("Content-Length: 0"), 200, b"", True),
    "no reason": (answer("Content-Length: 0", first="HTTP/1.1 503"), 503, b"", True),
    "an empty reason": (answer("Content-Length: 0", first="HTTP/1.1 503 "), 503, b"", True),
    "blanks around a value": (answer("Content-Length:\t 2 ", body=b"{}"), 200, b"{}", True),
    "chunks": (
        answer("Transfer-Encoding: chunked", body=b"1\r\n{\r\nA;x=y\r\n         }\r\n0\r\n\r\n"),
        200, b"{" + b" " * 9 + b"}", True,
    ),
    "chunks, and a trailer": (
        answer("transfer-encoding: Chunked", body=b"2\r\n{}\r\n0\r\nX: y\r\n\r\n"), 200, b"{}", True,
    ),
    "gzip": (answer("Content-Encoding: gzip", f"Content-Length: {len(HELLO)}", body=HELLO), 200, b"hello", True),
    "gzip of nothing": (answer("Content-Encoding: gzip", "Content-Length: 0"), 200, b"", True),
    "gzip in chunks": (
        answer("Content-Encoding: x-gzip", "Transfer-Encoding: chunked",
               body=b"5\r\n" + HELLO[:5] + b"\r\n%x\r\n" % (len(HELLO) - 5) + HELLO[5:] + b"\r\n0\r\n\r\n"),
        200, b"hello", True,
    ),
    "a goodbye": (answer("Connection: x, Close", "Content-Length: 0"), 200, b"", False),
    "the older version": (answer("Content-Length: 0", first="HTTP/1.0 200 OK"), 200, b"", False),
    "the older version, kept": (
        answer("Content-Length: 0", "Connection: keep-alive", first="HTTP/1.0 200 OK"), 200, b"", True,
    ),
    "204": (answer(first="HTTP/1.1 204 No Content"), 204, b"", True),
    "304 with the length of what it spares": (answer("Content-Length: 9", first="HTTP/1.1 304 X"), 304, b"", True),
    "heard, then answered": (answer(first="HTTP/1.1 103 Hints") * 2 + answer("Content-Length: 0"), 200, b"", True),
    "another protocol": (answer("Upgrade: x", first="HTTP/1.1 101 X"), 101, b"", False),
    "more than was asked": (answer("Content-Length: 2", body=b"{}HTTP"), 200, b"{}", False),
}  # fmt: skip

NO_ANSWERS: dict[str, tuple[bytes, type[Exception]]] = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", NotHTTP),
    "another version": (answer("Content-Length: 0", first="HTTP/2.0 200 OK"), NotHTTP),
    "no status": (answer("Content-Length: 0", first="HTTP/1.1 OK"), NotHTTP),
    "a status of four digits": (answer("Content-Length: 0", first="HTTP/1.1 2000 OK"), NotHTTP),
    "a status below 100": (answer("Content-Length: 0", first="HTTP/1.1 020 OK"), NotHTTP),
    "a line without a name": (answer(": x", "Content-Length: 0"), NotHTTP),
    "a line without a colon": (answer("Content-Length 0"), NotHTTP),
    "a blank before the colon": (answer("Content-Length : 0"), NotHTTP),
    "a line that goes on": (answer("X: a", " b", "Content-Length: 0"), NotHTTP),
    "lines that end otherwise": (answer("X: a\nContent-Length: 0"), NotHTTP),
    "a zero byte": (answer("X: a\0", "Content-Length: 0"), NotHTTP),
    "a length that is no number": (answer("Content-Length: +2", body=b"{}"), NotHTTP),
    "a number that is none of ours": (answer("Content-Length: \xb2", body=b"{}"), NotHTTP),
    "two lengths": (answer("Content-Length: 2", "Content-Length: 3", body=b"{}"), NotHTTP),
    "a length, and chunks": (answer("Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), NotHTTP),
    "an unknown transfer": (answer("Transfer-Encoding: gzip", body=b"{}"), NotHTTP),
    "an unknown packing": (answer("Content-Encoding: br", "Content-Length: 2", body=b"{}"), NotHTTP),
    "a chunk without a size": (answer("Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n"), NotHTTP),
    "a size below nothing": (answer("Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n"), NotHTTP),
    "a chunk longer than it says": (answer("Transfer-Encoding: chunked", body=b"1\r\n{}\r\n0\r\n\r\n"), NotHTTP),
    "a head without an end": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, NotHTTP),
    "a long head": (answer("X: " + "a" * 70_000, "Content-Length: 0"), NotHTTP),
    "a chunk's size without an end": (answer("Transfer-Encoding: chunked", body=b"1;" + b"a" * 9000), NotHTTP),
    "no gzip": (answer("Content-Encoding: gzip", "Content-Length: 2", body=b"{}"), BrokenOff),
    "half of a gzip": (answer("Content-Encoding: gzip", body=HELLO[:-1]), BrokenOff),
    "more than a gzip": (answer("Content-Encoding: gzip", body=HELLO + b"x"), BrokenOff),
    "half of a head": (b"HTTP/1.1 200 OK\r\nContent-Le", BrokenOff),
    "half of a body": (answer("Content-Length: 9", body=b"{}"), BrokenOff),
    "half of a chunk": (answer("Transfer-Encoding: chunked", body=b"9\r\n{}"), BrokenOff),
    "chunks without the last": (answer("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n"), BrokenOff),
    "only that it was heard": (answer(first="HTTP/1.1 100 Continue"), BrokenOff),
    "too much": (answer("Content-Length: 65537", body=b" " * (BODY_MAX + 1)), ValueError),
    "too much without a length": (answer(body=b" " * (BODY_MAX + 1)), ValueError),
    "too much when unpacked": (answer("Content-Encoding: gzip", body=gzip.compress(b" " * 10_000_000)), ValueError),
}  # fmt: skip


PLACES = st.lists(st.integers(0, 1 << 17), max_size=4)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name: str):
    data, status, body, keeps = ANSWERS[name]
    got = told([data])
    assert (got.status, got.body, got.keeps) == (status, body, keeps)


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer(name: str):
    data, expected = NO_ANSWERS[name]
    with pytest.raises(expected) as raised:
        told([data])
    assert type(raised.value) is expected


@given(name=st.sampled_from([*ANSWERS, *NO_ANSWERS]), places=PLACES)
def test_it_makes_no_difference_in_what_pieces_it_comes(name: str, places: list[int]):
    if name == "more than was asked":
        return  # what comes later is found by the connection, not by the answer
    if name in ANSWERS:
        data, *expected = ANSWERS[name]
        got = told(cut(data, places))
        assert [got.status, got.body, got.keeps] == expected
    else:
        data, error = NO_ANSWERS[name]
        with pytest.raises(error) as raised:
            told(cut(data, places))
        assert type(raised.value) is error


def test_a_connection_that_ends_without_a_word_has_hung_up():
    with pytest.raises(HungUp):
        Incoming(BODY_MAX).end()


def test_headers_are_found_by_lower_case_names_and_one_that_stands_twice_keeps_both_values():
    got = told([answer("RETRY-After: 1", "X-Y:  a b\t", "x-y: \xe9", "Content-Length: 0")])
    assert got.headers == {"retry-after": "1", "x-y": "a b, \xe9", "content-length": "0"}


@given(data=st.binary(max_size=60), head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", ANSWERS["chunks"][0][:47]]))
def test_no_bytes_whatever_raise_anything_else(data: bytes, head: bytes):
    with suppress(HungUp, BrokenOff, NotHTTP):
        told([head + data])


class Wire:
    """In the place of a socket, for the reader of the standard library."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)


NAME = st.text("abcXYZ-1", min_size=1, max_size=6).map(lambda name: f"X{name}")
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc", "Zs"]), max_size=8)


@given(data=st.data())
def test_it_reads_what_the_standard_library_reads(data: st.DataObject):
    status = data.draw(st.sampled_from([200, 201, 204, 207, 304, 400, 429, 500, 599]))
    headers = data.draw(st.dictionaries(NAME.map(str.lower), VALUE, max_size=4))
    body = b"" if status in {204, 304} else data.draw(st.binary(max_size=80))
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if status in {204, 304}:
        wire = answer(*lines, first=f"HTTP/1.1 {status} X")
    elif data.draw(st.booleans()):
        sizes = data.draw(st.lists(st.integers(1, 30), max_size=4))
        pieces = [piece for piece in cut(body, sizes) if piece] if body else []
        chunked = b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        wire = answer(*lines, "Transfer-Encoding: chunked", first=f"HTTP/1.1 {status} X", body=chunked)
    else:
        wire = answer(*lines, f"Content-Length: {len(body)}", first=f"HTTP/1.1 {status} X", body=body)
    theirs = HTTPResponse(Wire(wire))  # type: ignore[arg-type]
    theirs.begin()
    ours = told(cut(wire, data.draw(st.lists(st.integers(0, 200), max_size=3))))
    assert (ours.status, ours.body) == (theirs.status, theirs.read()) == (status, body)
    assert all(ours.headers[name] == theirs.headers[name] for name in headers)
    assert ours.keeps


# --- requests


@pytest.mark.parametrize(
    ("method", "body", "wire"),
    [
        ("GET", None, b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n"),
        ("POST", b"{}", b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nA: b\r\nContent-Length: 2\r\n\r\n{}"),
        ("DELETE", None, b"DELETE /a?b=c HTTP/1.1\r\nHost: x\r\nA: b\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_a_request_on_the_wire(method: str, body: bytes | None, wire: bytes):
    assert request_bytes(method, "/a?b=c", "Host: x\r\n", {"A": "b"}, body) == wire


@given(path=st.text(max_size=8), value=st.text(max_size=8))
def test_nothing_in_a_request_breaks_out_of_its_line(path: str, value: str):
    try:
        wire = request_bytes("GET", f"/{path}", "Host: x\r\n", {"A": value}, None)
    except ValueError:
        return
    assert wire.count(b"\r\n") == 4
    assert wire.count(b"\r") == wire.count(b"\n") == 4
