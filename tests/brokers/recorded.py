"""A server that knows what it read: raw sockets, scripted answers, every request kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from core.brokers import published_limits
from core.models import APIConfig, APIProvider

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Seen:
    """One whole request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    payload: Any = None
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def wire(self) -> bytes:
        body = self.body if self.body is not None else json.dumps(self.payload).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Recorded:
    """Answers each `METHOD /path` from `answers`: one Answer for ever, or a list to be used up."""

    def __init__(self, answers: dict[str, Answer | list[Answer]] | None = None) -> None:
        self.answers = answers or {}
        self.seen: list[Seen] = []
        self.bytes_read = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.base_url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.serve(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (seen := await self.read(reader)) is not None:
            writer.write(self.answer(seen).wire())
            await writer.drain()

    async def read(self, reader: asyncio.StreamReader) -> Seen | None:
        """One whole request; None at the end of the stream."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as cut:
            self.bytes_read += len(cut.partial)
            return None
        self.bytes_read += len(head)
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.bytes_read += len(body)
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
        seen = Seen(method, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)
        self.seen.append(seen)
        return seen

    def answer(self, seen: Seen) -> Answer:
        found = self.answers.get(f"{seen.method} {seen.path}")
        if isinstance(found, list):
            return found.pop(0)
        return found or Answer(599, {"no": "answer scripted", "for": f"{seen.method} {seen.path}"})


class Faulty(Recorded):
    """Does `fault(reader, writer, self)` on every connection instead of answering."""

    def __init__(self, fault: Callable[[asyncio.StreamReader, asyncio.StreamWriter, Faulty], Awaitable[None]]) -> None:
        super().__init__()
        self.fault = fault

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.fault(reader, writer, self)


def config(provider: APIProvider, base_url: str, **changes: Any) -> APIConfig:
    fields: dict[str, Any] = {
        "provider": provider,
        "budgets": published_limits(provider),
        "client_id": "APP1234-100",
        "access_token": SecretStr("token-9f8e7d"),
        "base_url": base_url,
        "timeout_ms": 2_000,
    }
    return APIConfig(**(fields | changes))


def paths(seen: Iterable[Seen]) -> list[str]:
    return [f"{request.method} {request.path}" for request in seen]
