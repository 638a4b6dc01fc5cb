"""What is known after each fault of a network, against a server that knows what it read.

Two laws over every fault and every kind of order call: "never left" is never said of a request of which the server
read as much as one byte, and no request arrives twice.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.brokers.client import WORDS
from core.brokers.http import HTTPTransport
from core.brokers.upstox import UpstoxAPI
from core.clock import MILLISECOND, SECOND, SystemClock
from core.errors import BrokerError, OrderNotSent, OrderOutcomeUnknown, OrderRefused, RateLimited
from core.models import APIProvider, Order, OrderAck, OrderType
from tests.brokers.recorded import Answer, Recorded, config

TIMEOUT_MS = 300  # a busy machine may take half of it for a connection
ORDER = Order(symbol="NSE:SBIN-EQ", quantity=10, order_type=OrderType.LIMIT, price="652.55")
PLACED = Answer(payload={"status": "success", "data": {"order_ids": ["1"]}})
REFUSED = Answer(400, {"status": "error", "errors": [{"error_code": "UDAPI1052", "message": "quantity"}]})

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class RawServer:
    """Does `fault` on every connection and keeps each byte that it read."""

    def __init__(self, fault: Fault, tls: ssl.SSLContext | None = None) -> None:
        self.fault, self.tls = fault, tls
        self.read_bytes = b""
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls, limit=1 << 20)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self.fault(self, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def take(self, reader: Reader, count: int = 1 << 16) -> bytes:
        data = await reader.read(count)
        self.read_bytes += data
        return data

    async def whole(self, reader: Reader) -> None:
        """Read one request to its end."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = await self.take(reader)
            if not more:
                raise asyncio.IncompleteReadError(data, None)
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += await self.take(reader)

    @property
    def requests(self) -> int:
        return len(re.findall(rb"(?:POST|PUT|DELETE) \S+ HTTP/1\.1\r\n", self.read_bytes))


Fault = Callable[[RawServer, Reader, Writer], Awaitable[None]]


def reset(writer: Writer) -> None:
    """Close with a reset instead of an orderly end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def read_all_then(act: Callable[[Writer], None]) -> Fault:
    async def fault(server: RawServer, reader: Reader, writer: Writer) -> None:
        await server.whole(reader)
        act(writer)

    return fault


def answer_then(data: bytes, act: Callable[[Writer], None] | None = None) -> Fault:
    """Read the request, write `data`, then `act`; hold the connection open without one."""

    async def fault(server: RawServer, reader: Reader, writer: Writer) -> None:
        await server.whole(reader)
        writer.write(data)
        await writer.drain()
        if act is None:
            await asyncio.sleep(30)
        else:
            act(writer)

    return fault


def at_once(act: Callable[[Writer], None]) -> Fault:
    async def fault(_server: RawServer, _reader: Reader, writer: Writer) -> None:
        act(writer)

    return fault


def after_bytes(count: int, act: Callable[[Writer], None]) -> Fault:
    async def fault(server: RawServer, reader: Reader, writer: Writer) -> None:
        await server.take(reader, count)
        act(writer)

    return fault


async def never_read(_server: RawServer, _reader: Reader, _writer: Writer) -> None:
    await asyncio.sleep(30)


async def drip(server: RawServer, reader: Reader, writer: Writer) -> None:
    await server.whole(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        writer.write(b" ")
        await asyncio.sleep(0.02)


async def refuse_before_the_body(server: RawServer, reader: Reader, writer: Writer) -> None:
    await server.take(reader, 20)
    writer.write(REFUSED.wire())
    await writer.drain()
    await server.whole(reader)


def close(writer: Writer) -> None:
    writer.close()


def http(status: int, body: bytes = b"", kind: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


SENT_NO_ANSWER: dict[str, Fault] = {
    "ended before reading": at_once(close),
    "reset before reading": at_once(reset),
    "reset after one byte": after_bytes(1, reset),
    "ended after one byte": after_bytes(1, close),
    "reset inside the headers": after_bytes(60, reset),
    "never reads": never_read,
    "ended after reading": read_all_then(close),
    "reset after reading": read_all_then(reset),
    "never answers": answer_then(b""),
    "stops inside the status line": answer_then(b"HTTP/1.1 2"),
    "ends inside the status line": answer_then(b"HTTP/1.1 2", close),
    "ends inside the headers": answer_then(b"HTTP/1.1 200 OK\r\nContent-Le", close),
    "stops after the headers": answer_then(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"),
    "ends inside the body": answer_then(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"status"', close),
    "reset inside the body": answer_then(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"status"', reset),
    "body in drips": drip,
    "chunk size that is no number": answer_then(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", close
    ),
    "chunks without an end": answer_then(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", close),
    "not HTTP": answer_then(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", close),
    "a header without end": answer_then(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, close),
    "content length that is no number": answer_then(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}", close),
    "gzip that is none": answer_then(http(200, b"not gzip at all", extra="Content-Encoding: gzip\r\n"), close),
    "100 Continue for ever": answer_then(b"HTTP/1.1 100 Continue\r\n\r\n" * 3),
    "two answers in one": answer_then(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2, close),
}
ANSWER_WITHOUT_MEANING: dict[str, Fault] = {
    "500": answer_then(http(500, b'{"status":"error","errors":[{"error_code":"UDAPI100500","message":"x"}]}')),
    "500 with a refusal inside": answer_then(http(500, REFUSED.wire().partition(b"\r\n\r\n")[2])),
    "502 with a page": answer_then(http(502, b"<html>bad gateway</html>", "text/html")),
    "503 empty": answer_then(http(503)),
    "504 empty": answer_then(http(504)),
    "200 empty": answer_then(http(200)),
    "200 with a page": answer_then(http(200, b"<html>all good</html>", "text/html")),
    "200 with half a JSON": answer_then(http(200, b'{"status":"success","da')),
    "200 with a list": answer_then(http(200, b"[1,2]")),
    "200 without an order id": answer_then(http(200, b'{"status":"success","data":{}}')),
    "200 nested without end": answer_then(http(200, b"[" * 100_000)),
    "200 with NaN": answer_then(http(200, b'{"status":"success","data":NaN}')),
    "204": answer_then(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "301": answer_then(http(301, extra="Location: /v3/order/place\r\n")),
    "307 to itself": answer_then(http(307, extra="Location: /v3/order/place\r\n")),
    "308 to itself": answer_then(http(308, extra="Location: /v3/order/place\r\n")),
    "400 empty": answer_then(http(400)),
    "408 empty": answer_then(http(408)),
    "409 with a page": answer_then(http(409, b"<html></html>", "text/html")),
}
REFUSED_ANSWERS: dict[str, tuple[Fault, type[BrokerError]]] = {
    "400 with an envelope": (answer_then(REFUSED.wire()), OrderRefused),
    "400 before the body is read": (refuse_before_the_body, OrderRefused),
    "429 by the API": (answer_then(http(429, b'{"status":"error","errors":[]}')), RateLimited),
    "429 by the firewall": (answer_then(http(429, b"error code: 1015", "text/plain")), RateLimited),
    "403 by the firewall": (answer_then(http(403, b"error code: 1015", "text/plain")), RateLimited),
    "404 with a page": (answer_then(http(404, b"<html></html>", "text/html")), OrderRefused),
}


async def place(api: UpstoxAPI) -> OrderAck:
    return await api.place_order(ORDER, tag="tag1")


async def modify(api: UpstoxAPI) -> OrderAck:
    return await api.modify_order("1", order_type=OrderType.LIMIT, price=ORDER.price)


async def cancel(api: UpstoxAPI) -> OrderAck:
    return await api.cancel_order("1")


CALLS = [place, modify, cancel]
Call = Callable[[UpstoxAPI], Awaitable[OrderAck]]


@asynccontextmanager
async def account(address: str, scheme: str = "http", **changes: object) -> AsyncIterator[UpstoxAPI]:
    settings = config(APIProvider.UPSTOX, f"{scheme}://{address}", **({"timeout_ms": TIMEOUT_MS} | changes))
    async with UpstoxAPI("upstox", settings) as api:
        yield api


async def outcome(call: Call, api: UpstoxAPI) -> BrokerError:
    with pytest.raises(BrokerError) as raised:
        await call(api)
    return raised.value


def test_the_table_has_at_least_the_28_faults_that_were_promised():
    assert len(SENT_NO_ANSWER) + len(NEVER_LEFT) >= 28
    assert len(SENT_NO_ANSWER) + len(NEVER_LEFT) + len(ANSWER_WITHOUT_MEANING) + len(REFUSED_ANSWERS) >= 50


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", [*SENT_NO_ANSWER, *ANSWER_WITHOUT_MEANING])
async def test_a_request_that_may_have_arrived_is_unknown_and_is_not_repeated(name: str, call: Call):
    server = RawServer((SENT_NO_ANSWER | ANSWER_WITHOUT_MEANING)[name])
    async with server.serving() as address, account(address) as api:
        error = await outcome(call, api)
        assert type(error) is OrderOutcomeUnknown, error
        assert "look it up" in str(error)
    assert server.requests <= 1
    assert server.connections == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", REFUSED_ANSWERS)
async def test_a_request_that_was_refused_says_so(name: str, call: Call):
    fault, expected = REFUSED_ANSWERS[name]
    server = RawServer(fault)
    async with server.serving() as address, account(address) as api:
        assert type(await outcome(call, api)) is expected
    assert server.requests == 1


# --- what never leaves


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Unreachable:
    """An address where no order can get through, and the server behind it where there is one."""

    address: str
    scheme: str = "http"
    server: RawServer | None = None


@asynccontextmanager
async def no_such_name() -> AsyncIterator[Unreachable]:
    yield Unreachable("no-such-broker.invalid", "https")


@asynccontextmanager
async def closed_port() -> AsyncIterator[Unreachable]:
    yield Unreachable(f"127.0.0.1:{free_port()}")


@asynccontextmanager
async def closed_port_of_every_address() -> AsyncIterator[Unreachable]:
    yield Unreachable(f"localhost:{free_port()}")


@asynccontextmanager
async def full_backlog() -> AsyncIterator[Unreachable]:
    """A port whose queue is full: the first packet of a connection stays without an answer."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        await asyncio.sleep(0.05)
        yield Unreachable(f"127.0.0.1:{listener.getsockname()[1]}")


def tls_fault(fault: Fault) -> Callable[[], object]:
    @asynccontextmanager
    async def unreachable() -> AsyncIterator[Unreachable]:
        server = RawServer(fault)
        async with server.serving() as address:
            yield Unreachable(address, "https", server)

    return unreachable


async def hello_then_reset(server: RawServer, reader: Reader, writer: Writer) -> None:
    await server.take(reader)
    reset(writer)


async def hello_then_plain(server: RawServer, reader: Reader, writer: Writer) -> None:
    await server.take(reader)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


async def hello_then_silence(server: RawServer, reader: Reader, _writer: Writer) -> None:
    await server.take(reader)
    await asyncio.sleep(30)


async def hello_then_alert(server: RawServer, reader: Reader, writer: Writer) -> None:
    await server.take(reader)
    writer.write(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal, handshake_failure
    await writer.drain()
    writer.close()


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody vouches for, with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl cannot make a certificate here: {error}")
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return both


NEVER_LEFT = {
    "no such name": no_such_name,
    "connection refused": closed_port,
    "connection refused at every address": closed_port_of_every_address,
    "no connection in time": full_backlog,
    "TLS: reset": tls_fault(hello_then_reset),
    "TLS: answered in plain": tls_fault(hello_then_plain),
    "TLS: silence": tls_fault(hello_then_silence),
    "TLS: alert": tls_fault(hello_then_alert),
    "TLS: ended at once": tls_fault(at_once(close)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NEVER_LEFT)
async def test_a_request_without_a_connection_never_left(name: str, call: Call):
    async with NEVER_LEFT[name]() as unreachable, account(unreachable.address, unreachable.scheme) as api:
        error = await outcome(call, api)
        assert type(error) is OrderNotSent, error
        if unreachable.server is not None:  # it read a TLS hello at most, and no word of ours
            assert unreachable.server.requests == 0
            assert b"token-9f8e7d" not in unreachable.server.read_bytes


# By the words for it in core/brokers/client.py, one real fault for each row of that table.
TOLD = {
    "the broker's name has no address": "no such name",
    "the encrypted connection could not be set up": "TLS: alert",
    "no connection could be made": "connection refused",
    "no answer within {timeout_ms} ms": "never answers",
    "the connection was closed before an answer": "ended after reading",
    "the answer broke off": "ends inside the body",
    "what came back is not HTTP": "not HTTP",
    "the connection was reset": "reset after reading",
}
TOLD_BELOW = {"the certificate is not the broker's", "no connection in time"}


@pytest.mark.parametrize(("kind", "words"), WORDS, ids=[words for _, words in WORDS])
async def test_every_error_of_the_library_is_told_in_its_own_words(kind: type[Exception], words: str):
    assert (words in TOLD) is not (words in TOLD_BELOW)
    if words in TOLD_BELOW:
        return
    name = TOLD[words]
    if name in NEVER_LEFT:
        async with NEVER_LEFT[name]() as unreachable, account(unreachable.address, unreachable.scheme) as api:
            error = await outcome(place, api)
    else:
        async with RawServer(SENT_NO_ANSWER[name]).serving() as address, account(address) as api:
            error = await outcome(place, api)
    assert words.format(timeout_ms=TIMEOUT_MS) in str(error)
    assert isinstance(error.__cause__, kind)
    assert error.evidence == type(error.__cause__).__name__


async def test_a_certificate_that_nobody_vouches_for_stops_the_request_and_the_token(self_signed: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed)
    server = RawServer(answer_then(PLACED.wire()), tls=context)
    async with server.serving() as address, account(address, "https") as api:
        error = await outcome(place, api)
    assert type(error) is OrderNotSent
    assert "the certificate is not the broker's" in str(error)
    assert server.read_bytes == b""


async def test_waiting_in_vain_for_a_connection_of_the_pool_never_left():
    server = RawServer(never_read)
    clock = SystemClock()
    transport = HTTPTransport("x", timeout_ns=SECOND, clock=clock, connect_within_ns=50 * MILLISECOND, connections=1)
    async with server.serving() as address, transport:
        first = asyncio.create_task(transport.request("POST", f"http://{address}/1", headers={}, body=b"first"))
        await asyncio.sleep(0.02)
        with pytest.raises(OrderNotSent, match="no connection in time"):
            await transport.request("POST", f"http://{address}/2", headers={}, body=b"second")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert server.connections == 1


async def test_an_adapter_that_is_not_open_sends_nothing():
    api = UpstoxAPI("upstox", config(APIProvider.UPSTOX, "http://127.0.0.1:1"))
    error = await outcome(place, api)
    assert type(error) is OrderNotSent
    assert "async with" in str(error)


@pytest.mark.parametrize("headers", [{"Authorization": "a\r\nX-Other: b"}, {"Authorization": "a\nb"}])
async def test_a_header_that_would_break_out_of_its_line_never_leaves(headers: dict[str, str]):
    server = RawServer(answer_then(PLACED.wire()))
    transport = HTTPTransport("x", timeout_ns=SECOND, clock=SystemClock())
    async with server.serving() as address, transport:
        with pytest.raises(OrderNotSent, match="control character"):
            await transport.request("POST", f"http://{address}/1", headers=headers, body=b"{}")
    assert server.read_bytes == b""


async def test_a_request_of_which_nobody_notes_that_it_leaves_is_found_out_at_the_first_answer(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("core.brokers.http._Sending.leaves", lambda _sending: None)
    async with RawServer(answer_then(PLACED.wire())).serving() as address, account(address) as api:
        error = await outcome(place, api)
    assert type(error) is OrderOutcomeUnknown
    assert "cannot be relied on" in str(error)


# --- connections that are used again


def keep_alive(first: bytes, then: Fault) -> Fault:
    """Answer the first request of a connection, do `then` at the second."""

    async def fault(server: RawServer, reader: Reader, writer: Writer) -> None:
        await server.whole(reader)
        writer.write(first)
        await writer.drain()
        await then(server, reader, writer)

    return fault


CHANGED = Answer(payload={"status": "success", "data": {"order_id": "1"}}).wire()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("ending", [close, reset])
async def test_a_kept_connection_that_breaks_at_the_second_request_gets_it_once(call: Call, ending):
    """aiohttp's session would repeat PUT and DELETE here."""
    server = RawServer(keep_alive(CHANGED, read_all_then(ending)))
    async with server.serving() as address, account(address) as api:
        await cancel(api)
        assert type(await outcome(call, api)) is OrderOutcomeUnknown
    assert server.requests == 2  # the cancel and the call, once each
    assert server.connections == 1


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used_again():
    server = RawServer(answer_then(CHANGED, close))
    async with server.serving() as address, account(address) as api:
        for _ in range(5):
            await cancel(api)
            await asyncio.sleep(0.01)  # the end of the connection arrives
    assert server.requests == server.connections == 5


async def answers_all(server: RawServer, reader: Reader, writer: Writer) -> None:
    while True:
        await server.whole(reader)
        await asyncio.sleep(0.01)
        writer.write(CHANGED)


async def test_there_are_as_many_connections_as_allowed_and_whoever_waits_gets_the_first_that_is_free():
    server = RawServer(answers_all)
    transport = HTTPTransport("x", timeout_ns=5 * SECOND, clock=SystemClock(), connections=3)
    async with server.serving() as address, transport:
        asked = [transport.request("DELETE", f"http://{address}/{number}", headers={}) for number in range(10)]
        assert {reply.status for reply in await asyncio.gather(*asked)} == {200}
    assert server.requests == 10
    assert server.connections == 3


async def test_a_connection_kept_for_one_host_makes_nobody_wait_who_asks_another():
    server, other = RawServer(answers_all), RawServer(answers_all)
    transport = HTTPTransport("x", timeout_ns=5 * SECOND, clock=SystemClock(), connections=1)
    async with server.serving() as address, other.serving() as another, transport:
        for number in range(4):
            reply = await transport.request("DELETE", f"http://{another if number % 2 else address}/1", headers={})
            assert reply.status == 200
    assert (server.requests, other.requests) == (2, 2)


async def test_a_connection_that_has_long_been_idle_is_not_used_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.brokers.client._KEPT_S", 0.02)
    server = RawServer(keep_alive(CHANGED, answer_then(CHANGED)))
    async with server.serving() as address, account(address) as api:
        for pause_s in (0.0, 0.05):
            await asyncio.sleep(pause_s)
            await cancel(api)
    assert server.requests == server.connections == 2


async def test_each_request_bears_the_headers_that_were_given_with_it():
    server = RawServer(answers_all)
    transport = HTTPTransport("x", timeout_ns=5 * SECOND, clock=SystemClock())
    async with server.serving() as address, transport:
        for token in ("a", "b", "b", "c"):
            await transport.request("DELETE", f"http://{address}/1", headers={"Authorization": token})
    assert re.findall(rb"Authorization: (\S+)", server.read_bytes) == [b"a", b"b", b"b", b"c"]


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_ones():
    stray = Answer(payload={"status": "success", "data": {"order_id": "stray"}}).wire()
    server = RawServer(keep_alive(CHANGED + stray, answer_then(CHANGED)))
    async with server.serving() as address, account(address) as api:
        assert (await cancel(api)).broker_order_id == "1"
        await asyncio.sleep(0.01)
        assert (await cancel(api)).broker_order_id == "1"


# --- what the caller is told beside the class


async def test_a_lost_request_says_how_long_it_may_still_arrive():
    async with RawServer(never_read).serving() as address, account(address) as api:
        timed_out = await outcome(place, api)
    async with RawServer(at_once(reset)).serving() as address, account(address) as api:
        broken = await outcome(place, api)
    assert isinstance(timed_out, OrderOutcomeUnknown)
    assert isinstance(broken, OrderOutcomeUnknown)
    assert SECOND <= timed_out.arrives_within_ns <= broken.arrives_within_ns <= SECOND + TIMEOUT_MS * MILLISECOND


async def test_a_call_that_is_cancelled_in_flight_ends_at_once_and_arrives_once():
    server = RawServer(answer_then(b""))
    async with server.serving() as address, account(address, timeout_ms=60_000) as api:
        task = asyncio.create_task(place(api))
        while not server.requests:  # noqa: ASYNC110 - the server is no event source
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert server.requests == 1


async def test_each_request_has_its_whole_time_and_no_more_whoever_else_is_under_way():
    clock = SystemClock()
    transport = HTTPTransport("x", timeout_ns=200 * MILLISECOND, clock=clock)

    async def took_ms(after_ms: int) -> int:
        await asyncio.sleep(after_ms / 1000)
        begun_ns = clock.now_ns()
        with pytest.raises(OrderOutcomeUnknown, match="no answer within 200 ms"):
            await transport.request("POST", f"http://{address}/1", headers={}, body=b"{}")
        return (clock.now_ns() - begun_ns) // MILLISECOND

    async with RawServer(answer_then(b"")).serving() as address, transport:
        cancelled = asyncio.create_task(took_ms(0))
        waiting = [asyncio.create_task(took_ms(after_ms)) for after_ms in (0, 60, 120, 500)]  # the last one by itself
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert all(200 <= took < 400 for took in await asyncio.gather(*waiting))


async def test_an_answer_longer_than_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("core.brokers.http.BODY_BYTES_MAX", 1000)
    async with RawServer(answer_then(http(200, b" " * 2000))).serving() as address, account(address) as api:
        error = await outcome(place, api)
    assert type(error) is OrderOutcomeUnknown
    assert "longer than 1000 bytes" in str(error)


async def test_the_kernel_drops_a_request_when_we_give_it_up():
    async with Recorded({"POST /v3/order/place": PLACED}) as server:
        transport = HTTPTransport("x", timeout_ns=2 * SECOND, clock=SystemClock())
        opened = transport._open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)))
        with opened:
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
        async with UpstoxAPI("upstox", config(APIProvider.UPSTOX, server.base_url)) as api:
            assert (await place(api)).broker_order_id == "1"
