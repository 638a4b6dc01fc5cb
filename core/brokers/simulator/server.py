"""Both brokers on local sockets: one aiohttp server, two wires, one exchange, a referee for each account.

A request goes through the same gates as at a real broker: the network and its faults, the token, the limits, the call.
`/_sim/referee`, `/_sim/books` and `/_sim/faults` are for whoever runs the test; they count nowhere.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from email.utils import formatdate
from random import Random
from types import MappingProxyType
from typing import Final

from aiohttp import web

from ...clock import HOUR, MILLISECOND, MINUTE, SECOND, Clock, SystemClock
from ...errors import ConfigError
from ...models import BrokerOrder, RefereeReport
from .books import rows_of
from .exchange import Exchange, ExchangeSettings
from .faults import ACCEPTED_KINDS, Fault, FaultKind, FaultPlan, Faults, Latency, read_plan
from .logins import Logins
from .referee import DayBlock, Referee
from .settings import SimulatorSettings
from .wire import Answer, Call, Route, Wire, answer_json, parse_json
from .wire_fyers import FyersWire
from .wire_upstox import UpstoxWire

__all__ = ["Simulator", "serve"]

_LINGER_0: Final = struct.pack("ii", 1, 0)  # close with a reset, not with a goodbye
_MISSED: Final = frozenset({FaultKind.DOWN, FaultKind.RESET_BEFORE_READ})
_NEVER_ANSWERED: Final = frozenset({FaultKind.RESET_AFTER_ACCEPT, FaultKind.LATE, FaultKind.HANG})


@asynccontextmanager
async def serve(settings: SimulatorSettings | None = None, *, clock: Clock | None = None) -> AsyncIterator[Simulator]:
    """Serve until the block ends; inside it `base_url` accepts connections.

    Raises OSError where the port cannot be had, ConfigError for faults that a server cannot show.
    """
    simulator = Simulator(settings or SimulatorSettings(), clock or SystemClock())
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.stop()


class Simulator:
    """The running server, made by `serve`. Everything here belongs to the loop it runs on."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.exchange = Exchange(clock, settings.exchange or ExchangeSettings(seed=settings.seed))
        self.latency = settings.latency
        self._latency_of: dict[str, Latency] = {}
        self.faults = Faults(Random(f"faults/{settings.seed}"), start_ns=clock.now_ns())
        self._rng = Random(f"server/{settings.seed}")
        self.upstox = UpstoxWire(
            self.exchange,
            Referee("upstox", settings.upstox_limits, count_refused=settings.count_refused),
            Logins(
                client_id=settings.upstox_client_id,
                secret=settings.upstox_secret,
                token=settings.upstox_token,
                rng=Random(f"upstox/{settings.seed}"),
                ends_at_ns=3 * HOUR + 30 * MINUTE,
                logout_revokes=settings.logout_revokes,
            ),
            algo_name=settings.upstox_algo_name,
        )
        self.fyers = FyersWire(
            self.exchange,
            Referee("fyers", settings.fyers_limits, count_refused=settings.count_refused),
            Logins(
                client_id=settings.fyers_client_id,
                secret=settings.fyers_secret,
                token=settings.fyers_token,
                rng=Random(f"fyers/{settings.seed}"),
                ends_at_ns=6 * HOUR,
                logout_revokes=settings.logout_revokes,
            ),
            DayBlock(strict=settings.strict_block),
            retry_after=settings.retry_after,
        )
        self.wires: tuple[Wire, ...] = (self.upstox, self.fyers)
        self._listeners = [_Listener(self, (), settings.port)]
        if settings.separate_ports:
            self._listeners += [_Listener(self, (wire.name,), 0) for wire in self.wires]
        self._changed = asyncio.Event()
        self._gatekeeper: asyncio.Task[None] | None = None

    # -- for whoever runs it -------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Serves both brokers' paths: Upstox /v2 and /v3, Fyers /api/v3 and /data."""
        return self._listeners[0].url

    @property
    def base_urls(self) -> Mapping[str, str]:
        """By broker: its own port where there are separate ones, the common one otherwise."""
        own = {name: listener.url for listener in self._listeners for name in listener.brokers}
        return MappingProxyType({wire.name: own.get(wire.name, self.base_url) for wire in self.wires})

    def referee_reports(self) -> dict[str, RefereeReport]:
        """What each broker counted so far."""
        return {wire.name: wire.referee.report() for wire in self.wires}

    def books(self) -> dict[str, tuple[BrokerOrder, ...]]:
        """Every order that each broker ever took, oldest first."""
        return {wire.name: rows_of(self.exchange.orders(wire.account)) for wire in self.wires}

    def archive(self, before_epoch_ns: int) -> dict[str, tuple[BrokerOrder, ...]]:
        """Forget the orders that ended before an epoch time, and return their rows."""
        gone = {wire.name: rows_of(wire.account.forget(before_epoch_ns)) for wire in self.wires}
        for wire in self.wires:
            wire.referee.forget_tags(row.tag for row in gone[wire.name])
        return gone

    def set_fault(
        self, kind: FaultKind | str, rate_or_count: float, *, broker: str = "", operations: Iterable[str] = ()
    ) -> None:
        """From now on: a float is the share of requests struck, an int how many, 0 ends the fault.

        `down` closes the port (or the broker's own) while it is set, whatever the figure.
        """
        self.faults.set(kind, rate_or_count, operations=operations, broker=broker)
        self._changed.set()

    def set_latency(self, broker: str, latency: Latency) -> None:
        """From now on one broker takes that long to answer."""
        self._latency_of[broker] = latency

    def set_plan(self, plan: FaultPlan) -> None:
        """Replace every fault and the latency; schedules count from now. Raises ConfigError."""
        self._check(plan.faults)
        self.faults.clear()
        self.faults.start_ns = self.clock.now_ns()
        for fault in plan.faults:
            self.faults.add(fault)
        self.latency = plan.latency
        self._latency_of.clear()
        self._changed.set()

    def _check(self, faults: Iterable[Fault]) -> None:
        operations = {name for wire in self.wires for name in wire.operations}
        for number, fault in enumerate(faults, 1):
            if unknown := sorted(fault.operations - operations):
                known = ", ".join(sorted(operations))
                message = f"fault {number}: unknown operation {unknown[0]!r}; known: {known}"
                raise ConfigError(message)
            if fault.kind is FaultKind.DOWN and (fault.count or fault.rate < 1.0 or fault.operations):
                message = "a port is closed or open: give down no rate, count or operations, but from_s and until_s"
                raise ConfigError(f"fault {number}: {message}")

    # -- start and stop ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self.set_plan(FaultPlan(faults=self.settings.faults, latency=self.settings.latency))
        try:
            for listener in self._listeners:
                await listener.open()
        except BaseException:
            await self._close()
            raise
        self._gatekeeper = asyncio.create_task(self._watch_doors(), name="simulator doors")

    async def stop(self) -> None:
        if self._gatekeeper is not None:
            self._gatekeeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._gatekeeper
        await self._close()

    async def _close(self) -> None:
        for listener in self._listeners:
            await listener.close()

    async def _watch_doors(self) -> None:
        """Close and open the ports as the `down` faults come and go."""
        while True:
            self._changed.clear()
            now_ns = self.clock.now_ns() - self.faults.start_ns
            down = [fault for fault in self.faults.active if fault.kind is FaultKind.DOWN]
            edges_ns = [edge for fault in down for edge in (fault.from_ns, fault.until_ns) if edge and edge > now_ns]
            try:
                for listener in self._listeners:
                    await listener.set_open(not any(listener.is_hit_by(fault, now_ns) for fault in down))
            except OSError:
                # While it was closed, somebody's outgoing connection got our port; it will be free again.
                edges_ns.append(now_ns + 50 * MILLISECOND)
            wait_s = (min(edges_ns) - now_ns) / SECOND if edges_ns else None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait_s)

    # -- one request ---------------------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest, brokers: tuple[str, ...]) -> web.StreamResponse:
        path = request.path
        if path.startswith("/_sim/"):
            return await self._control(request)
        for wire in self.wires:
            if (not brokers or wire.name in brokers) and (route := wire.route(request.method, path)) is not None:
                return await self._serve(request, wire, route)
        return _response(answer_json({"message": f"nothing is served at {path}"}, 404))

    async def _serve(self, request: web.BaseRequest, wire: Wire, route: Route) -> web.StreamResponse:
        body = await request.read() if request.body_exists else b""
        latency = self._latency_of.get(wire.name, self.latency)
        if latency.median_ms:
            latency_ns = latency.draw_ns(self._rng)
            await asyncio.sleep(latency_ns * 0.5 / SECOND)
        else:
            latency_ns = 0
        fault = self.faults.draw(route.operation, self.clock.now_ns(), broker=wire.name)
        if fault is None:
            response: web.StreamResponse = _response(await self._answer(request, wire, route, body, None))
        else:
            response = await self._serve_with(fault, request, wire, route, body)
        if latency_ns:
            await asyncio.sleep(latency_ns * 0.5 / SECOND)
        return response

    async def _serve_with(
        self, fault: Fault, request: web.BaseRequest, wire: Wire, route: Route, body: bytes
    ) -> web.StreamResponse:
        """A request that something happens to."""
        kind = fault.kind
        if kind in _MISSED:
            return _reset(request)
        if kind in {FaultKind.ERROR_BEFORE_ACCEPT, FaultKind.FIREWALL_429}:
            firewall = Answer(429, b"error code: 1015", "text/plain")
            return _response(firewall if kind is FaultKind.FIREWALL_429 else wire.server_error())
        if kind is FaultKind.LATE:
            await asyncio.sleep(fault.delay_ns / SECOND)  # held on the way, long after the client has turned away
        answer = await self._answer(request, wire, route, body, fault)
        if kind is FaultKind.HANG:
            await _until_gone(request)
        if kind in _NEVER_ANSWERED:
            return _reset(request)
        if kind is FaultKind.SLOW_BODY:
            return await _trickle(request, answer, fault.delay_ns)
        if kind is FaultKind.SLOW:
            await asyncio.sleep(fault.delay_ns / SECOND)
        response = _response(_spoiled(kind, answer, wire) if kind in ACCEPTED_KINDS else answer)
        if kind is FaultKind.CLOCK_SKEW:
            date_s = (self.clock.epoch_ns() + fault.delay_ns) // SECOND
            response.headers["Date"] = formatdate(date_s, usegmt=True)
        return response

    async def _answer(
        self, request: web.BaseRequest, wire: Wire, route: Route, body: bytes, fault: Fault | None
    ) -> Answer:
        """Token, limits, call: what the broker itself says. No await up to the call: arrivals are judged in turn."""
        kind = None if fault is None else fault.kind
        epoch_ns = self.clock.epoch_ns()
        skew_ns = fault.delay_ns if fault is not None and kind is FaultKind.CLOCK_SKEW else 0
        call = Call(request.method, request.path, request.query, request.headers, body, epoch_ns, skew_ns)
        if route.category is not None:
            refused = (wire.expired(call) if kind is FaultKind.TOKEN_EXPIRED else None) or wire.authorise(call)
            if refused is not None:
                return refused
            if kind in {FaultKind.STORM_429, FaultKind.SOFT_429}:
                return wire.too_many(None, status=429 if kind is FaultKind.STORM_429 else 200)
            refused = wire.judge(route, route.cost(call), self.clock.now_ns(), epoch_ns)
            if refused is not None:
                return refused
        if kind is FaultKind.MAINTENANCE:
            return wire.maintenance()
        if kind is FaultKind.WRONG_IP and route.category == "orders":
            return wire.wrong_ip()
        answer = route.do(call)
        return answer if isinstance(answer, Answer) else await answer

    # -- control -------------------------------------------------------------------------------------------------

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.method, request.path:
            case "GET", "/_sim/referee":
                reports = self.referee_reports()
                blocked_ns = self.fyers.day_block.blocked_for_ns(self.clock.epoch_ns())
                return _response(
                    answer_json(
                        {name: asdict(report) for name, report in reports.items()}
                        | {"fyers_day_block": {"breaches": self.fyers.day_block.breaches, "blocked_for_ns": blocked_ns}}
                    )
                )
            case "GET", "/_sim/books":
                books = {name: [_plain(order) for order in orders] for name, orders in self.books().items()}
                return _response(answer_json(books))
            case "GET", "/_sim/faults":
                struck = {kind.value: times for kind, times in self.faults.struck.items()}
                active = [fault.kind.value for fault in self.faults.active]
                return _response(answer_json({"active": active, "struck": struck}))
            case "POST", "/_sim/faults":
                try:
                    plan = read_plan(parse_json(await request.read()))
                    if any(fault.kind is FaultKind.DOWN and fault.until_ns is None for fault in plan.faults):
                        raise ConfigError("down needs until_s here: once the port is closed nobody could lift it")
                    self.set_plan(plan)
                except ValueError as error:  # a ConfigError is one
                    return _response(answer_json({"error": str(error)}, 400))
                return _response(answer_json({"active": [fault.kind.value for fault in self.faults.active]}))
            case _:
                return _response(answer_json({"error": "known: GET referee, GET books, GET and POST faults"}, 404))


class _Listener:
    """One port. `brokers` are those it serves, all when empty."""

    def __init__(self, simulator: Simulator, brokers: tuple[str, ...], port: int) -> None:
        self.brokers = brokers
        self._host = simulator.settings.host
        self._port = port
        self._server = web.Server(lambda request: simulator.handle(request, brokers), access_log=None)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.2)
        self._site: web.SockSite | None = None

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def is_hit_by(self, fault: Fault, now_ns: int) -> bool:
        concerns = not fault.broker or (fault.broker,) == self.brokers
        return concerns and fault.from_ns <= now_ns and (fault.until_ns is None or now_ns < fault.until_ns)

    async def open(self) -> None:
        await self._runner.setup()
        await self.set_open(open_it=True)

    async def set_open(self, open_it: bool) -> None:  # noqa: FBT001 - the state it shall have
        if open_it and self._site is None:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listening = socket.create_server((self._host, self._port), family=family, backlog=1024)
            self._port = listening.getsockname()[1]
            self._site = web.SockSite(self._runner, listening)
            await self._site.start()
        elif not open_it and self._site is not None:
            await self._site.stop()
            self._site = None
            for connection in self._server.connections:
                if connection.transport is not None:
                    _abort(connection.transport)

    async def close(self) -> None:
        await self._runner.cleanup()


def _response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    if answer.body:
        response.headers["Content-Type"] = answer.content_type
    return response


def _spoiled(kind: FaultKind, answer: Answer, wire: Wire) -> Answer:
    """What is left of the answer to a request that was taken."""
    if kind is FaultKind.ERROR_AFTER_ACCEPT:
        return wire.server_error()
    if kind is FaultKind.UNACKNOWLEDGED:
        return wire.unacknowledged(answer)
    if kind is FaultKind.BAD_JSON:
        return Answer(answer.status, answer.body[: len(answer.body) // 2])
    page = b"<html><body><h1>Welcome</h1></body></html>"
    return Answer(answer.status, page, "text/html")


async def _trickle(request: web.BaseRequest, answer: Answer, over_ns: int) -> web.StreamResponse:
    """Headers at once, the body in ten pieces over `over_ns`."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.headers["Content-Type"] = answer.content_type
    response.content_length = len(answer.body)
    size = -(-len(answer.body) // 10) or 1
    with suppress(ConnectionError):  # who has seen enough may go
        await response.prepare(request)
        for start in range(0, len(answer.body), size):
            await asyncio.sleep(over_ns / 10 / SECOND)
            await response.write(answer.body[start : start + size])
        await response.write_eof()
    return response


def _reset(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        _abort(request.transport)
    return web.Response(status=500)  # goes nowhere: the connection is gone


def _abort(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    transport.abort()


async def _until_gone(request: web.BaseRequest) -> None:
    """Hold the answer back until the client hangs up."""
    while (transport := request.transport) is not None and not transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # aiohttp tells a handler of a lost connection only when it cancels it


def _plain(order: BrokerOrder) -> dict[str, object]:
    return {name: value if isinstance(value, int | None) else str(value) for name, value in asdict(order).items()}
