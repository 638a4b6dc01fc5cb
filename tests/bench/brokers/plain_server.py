"""Answers every request with the same bytes as fast as asyncio can, in a process of its own. Prints its port."""

from __future__ import annotations

import asyncio
import re
import sys

BODY = sys.argv[1].encode() if len(sys.argv) > 1 else b"{}"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 05 Jan 2026 04:00:30 GMT\r\nContent-Length: "
    + str(len(BODY)).encode()
    + b"\r\n\r\n"
    + BODY
)


class Plain(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.held = b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)content-length: (\d+)", self.held[:end])
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.held) < whole:
                return
            self.held = self.held[whole:]
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until our parent goes


asyncio.run(main())
