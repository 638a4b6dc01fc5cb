"""One seeded world: two brokers, a file, and a process that trades, crashes and comes back.

Everything runs on the virtual clock in one loop. The core is the real one: engine, manager, limiter, balancer and
journal. The brokers are `MockTradingAPI` with its exchange, its referee and its faults. A crash ends every task of the
process at its present await, whatever it shields, and nothing that the dead process still tries reaches broker or file.

What is checked, from the brokers' own books and never from ours:
- at most one order per client order id is live, over all brokers together, at any time
- what a broker has accepted is known to us, with its state and its fills, once the last life has settled
- what a caller was told stands in the file, after every crash
- nothing leaves while the kill switch is on
- no tag is used twice; positions at the brokers are the sum of our fills

Every seed lays weight on a few kinds of trouble, so that over many seeds each kind comes up thousands of times, with
all the others around it. A fault is counted where it took effect, not where it was planned.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from core.brokers.mock import MockTradingAPI
from core.brokers.simulator.exchange import Exchange, ExchangeSettings
from core.brokers.simulator.faults import Fault, FaultKind
from core.clock import SECOND, VirtualClock
from core.errors import StoreError
from core.models import (
    APIConfig,
    APIProvider,
    BrokerOrder,
    Event,
    Incident,
    Order,
    OrderOutcome,
    OrderStatus,
    OrderType,
    Side,
)

from .disk import Disk
from .kinds import BROKER_KINDS, CRASH, HARDER, ORDERS_ONLY, RIVAL, TWICE_AT_ONCE, TWICE_ELSEWHERE, TWICE_LATER
from .life import LIFE, Life

SYMBOLS = ("NSE:SBIN-EQ", "NSE:RELIANCE-EQ")


@dataclass(slots=True)
class Report:
    """What one seed showed. `violations` is empty when every promise held."""

    seed: int
    violations: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    orders: int = 0
    live: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    incidents: Counter[str] = field(default_factory=Counter)
    digest: str = ""


class World:
    """What outlives the process. `fsync` off is one of the mutations, where the `first_only` violation says all."""

    def __init__(self, seed: int, *, fsync: bool = True, first_only: bool = False) -> None:
        self.seed = seed
        self._first_only = first_only
        self.rng = Random(f"{seed}/world")
        self.clock = VirtualClock()
        self.report = Report(seed)
        self.disk = Disk(fsync=fsync)
        self.lives = self.rng.randrange(40, 60)
        self.callers = self.rng.randrange(4, 9)
        self.acts = self.rng.randrange(4, 9)
        self.orders: dict[str, Order] = {}
        self._sent: dict[str, str] = {}  # client order id of every tag that reached a broker's door
        self._tags: dict[str, list[str]] = {}  # and the other way round
        self.error: BaseException | None = None
        self._told: list[OrderOutcome] = []
        self._trace = hashlib.blake2b(digest_size=16)
        self._lines: list[str] = []
        self.has_rivals = self.rng.random() < 0.8  # other processes on the same store and accounts
        self._alive: set[int] = set()
        self._submits: dict[str, list[tuple[int, bool]]] = {}  # per order the lives that submitted it: under way still?
        settings = ExchangeSettings(seed=seed)
        exchange = Exchange(self.clock, settings)
        self.brokers = {name: self._broker(name, exchange) for name in ("upstox", "fyers")}

    def _broker(self, name: str, exchange: Exchange) -> MockTradingAPI:
        config = APIConfig(
            provider=APIProvider.MOCK,
            rate_limits={"requests_per_second": 20, "requests_per_minute": 600},
            simulated=True,
            timeout_ms=1_000,
        )
        api = MockTradingAPI(
            name,
            config,
            response_time=self.rng.choice((0.005, 0.03, 0.1)),
            clock=self.clock,
            rng=Random(f"{self.seed}/broker/{name}"),
            exchange=exchange,
            absence_proven_after=2.0,
        )
        calm = self.rng.choice((0.0, 0.002, 0.01))
        kinds = self.rng.sample(BROKER_KINDS, len(BROKER_KINDS))  # the first that strikes keeps the others out
        worst = kinds[::3]
        for kind in kinds:
            rate = self.rng.uniform(0.04, 0.16) if kind in worst else calm * self.rng.random()
            rate *= HARDER.get(kind, 1.0)
            if rate:
                operations = ORDERS_ONLY if kind is FaultKind.WRONG_IP else frozenset[str]()
                delay_ns = self.rng.randrange(1, 3 * SECOND)
                api.faults.add(Fault(kind=kind, rate=rate, operations=operations, delay_ns=delay_ns))
        if self.rng.random() < 0.4:
            from_ns = self.rng.randrange(10 * SECOND)
            until_ns = from_ns + self.rng.randrange(1, 15 * SECOND)
            api.faults.add(Fault(kind=FaultKind.DOWN, rate=1.0, from_ns=from_ns, until_ns=until_ns))
        return api

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Live it all; the same seed gives the same report to the digit."""
        with closing(self.disk.connection):
            self.clock.run(self._main)
        report = self.report
        report.digest = self._trace.hexdigest()
        report.orders = len(self.orders)
        for api in self.brokers.values():
            report.faults.update({kind.value: count for kind, count in api.felt.items()})
        return report

    async def _main(self) -> None:
        asyncio.get_running_loop().set_task_factory(_make_task)
        rivals = [self._rival(number) for number in (100, 200)] if self.has_rivals else []
        done = [asyncio.create_task(rival) for rival in rivals]
        for number in range(self.lives - 1):
            await self._live(Life(self, number), self.rng)
            if self._first_only and self.report.violations:
                return
        if done:
            await asyncio.wait(done)
            for task in done:
                task.result()
        for api in self.brokers.values():
            api.faults.clear()
        await self._live(Life(self, self.lives - 1), self.rng)
        self._check_books()

    async def _rival(self, first: int) -> None:
        rng = Random(f"{self.seed}/rival/{first}")
        for number in range(first, first + rng.randrange(15, 30)):
            await self._live(Life(self, number), rng)

    async def _live(self, life: Life, rng: Random) -> None:
        """Let one life go to its end, or to its crash, and then some time pass."""
        self.report.faults[RIVAL] += bool(self._alive)
        self._alive.add(life.number)
        task = asyncio.create_task(life.run())
        life.tasks.append(task)
        longest_ns = 6 * SECOND if life.end == CRASH else 40 * SECOND
        timer = asyncio.ensure_future(self.clock.sleep_until_ns(self.clock.now_ns() + rng.randrange(1, longest_ns)))
        crashed = asyncio.create_task(life.crashed.wait())
        ends = [task, crashed] if life.is_last else [task, crashed, timer]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() or life.dead:
            self.report.crashes += 1
            self.report.faults[CRASH] += not life.dead
            self.note(f"crash of life {life.number}")
        elif (fault := task.exception()) is not None:
            if isinstance(fault, StoreError) and not life.is_last:
                self.note(f"life {life.number} ended: {fault}")  # it could not even start: the operator's turn
            else:
                self.violate(f"the engine raised {fault!r}")
                self.error = fault
        await life.kill()
        self._alive.discard(life.number)
        timer.cancel()
        crashed.cancel()
        self.disk.crash()
        self._check_told(f"after life {life.number}")
        self._check_doubles(f"after life {life.number}")
        await self.clock.sleep_until_ns(self.clock.now_ns() + rng.randrange(1, 4 * SECOND))

    # -- what is noted ----------------------------------------------------------------------------------------------

    def note(self, line: str) -> None:
        line = f"{self.clock.now_ns()} {line}"
        self._trace.update(line.encode())
        self._lines.append(line)

    @property
    def lines(self) -> list[str]:
        return self._lines

    def violate(self, what: str) -> None:
        self.note(f"VIOLATION {what}")
        self.report.violations.append(what)

    def hear(self, event: Event) -> None:
        if isinstance(event, Incident):
            self.report.incidents[event.kind] += 1
        self.note(repr(event))

    def new_order(self, rng: Random) -> Order:
        order_id = f"order{len(self.orders):04d}"
        symbol, side, quantity = rng.choice(SYMBOLS), rng.choice(list(Side)), rng.randrange(1, 50)
        if rng.random() < 0.6:
            order = Order(symbol=symbol, side=side, quantity=quantity, client_order_id=order_id)
        else:
            quote = next(iter(self.brokers.values())).exchange.quotes((symbol,))[0].price
            price = (quote * Decimal(rng.choice(("0.98", "1", "1.02")))).quantize(Decimal("0.1"))
            order = Order(
                symbol=symbol,
                side=side,
                quantity=quantity,
                order_type=OrderType.LIMIT,
                price=price,
                client_order_id=order_id,
            )
        self.orders[order_id] = order
        return order

    @contextmanager
    def submitting(self, life: Life, order: Order) -> Iterator[None]:
        """Count how often an order is handed in that was, or is being, handed in already."""
        faults, earlier = self.report.faults, self._submits.setdefault(order.client_order_id, [])
        if earlier:
            faults[TWICE_LATER] += not any(under_way for _, under_way in earlier)
            faults[TWICE_AT_ONCE] += any(under_way for _, under_way in earlier)
            faults[TWICE_ELSEWHERE] += any(number != life.number and number in self._alive for number, _ in earlier)
        place = len(earlier)
        earlier.append((life.number, True))
        try:
            yield
        finally:
            earlier[place] = (life.number, False)

    def sent(self, life: Life, order: Order, tag: str, broker: str) -> None:
        self.note(f"sent {order.client_order_id} as {tag} to {broker}")
        if tag in self._sent:
            self.violate(f"the tag {tag} was sent twice")
        self._sent[tag] = order.client_order_id
        self._tags.setdefault(order.client_order_id, []).append(tag)
        throwing, lifted = life.halts_at == self.disk.count("Halted"), life.lifts_at != self.disk.count("Lifted")
        if throwing or not lifted or self.disk.halted():
            self.violate(f"{order.client_order_id} left while trading was halted")
        if "SUBMITTING" not in self.disk.steps().get(order.client_order_id, ()):
            self.violate(f"{order.client_order_id} left before its intent was durable")

    def told(self, outcome: OrderOutcome) -> None:
        self.note(f"told {outcome.order_id} {outcome.status} {outcome.filled_quantity}")
        self.report.statuses[outcome.status.value] += 1
        self._told.append(outcome)
        self._check_durable(outcome, self.disk.steps().get(outcome.order_id, frozenset()), "at once")
        self._check_double(outcome.order_id, f"when it was told {outcome.status.value}")

    # -- what must hold ---------------------------------------------------------------------------------------------

    def _check_told(self, when: str) -> None:
        steps = self.disk.steps()
        for outcome in self._told:
            self._check_durable(outcome, steps.get(outcome.order_id, frozenset()), when)

    def _check_durable(self, outcome: OrderOutcome, steps: Collection[str], when: str) -> None:
        if outcome.status.value not in steps:
            self.violate(f"{outcome.order_id} was told to be {outcome.status.value}, which the file lacks {when}")

    def _placed(self) -> dict[str, list[BrokerOrder]]:
        """What the brokers took and did not reject, by client order id."""
        placed: dict[str, list[BrokerOrder]] = {}
        for api in self.brokers.values():
            for row in api.books():
                if row.status is not OrderStatus.REJECTED:
                    placed.setdefault(self._sent.get(row.tag, f"?{row.tag}"), []).append(row)
        return placed

    def _check_double(self, order_id: str, when: str) -> None:
        """One order only, by the tags it went out with: the whole books are read whenever a life has ended."""
        tags = self._tags.get(order_id, ())
        if len(tags) > 1:
            rows = [row for api in self.brokers.values() for row in api.books() if row.tag in tags]
            self._judge_double(order_id, [row for row in rows if row.status is not OrderStatus.REJECTED], when)

    def _check_doubles(self, when: str) -> None:
        for order_id, rows in self._placed().items():
            self._judge_double(order_id, rows, when)

    def _judge_double(self, order_id: str, rows: Sequence[BrokerOrder], when: str) -> None:
        if len(rows) > 1:
            where = ", ".join(f"{row.provider} {row.broker_order_id} {row.status.value}" for row in rows)
            self.violate(f"{order_id} is live twice {when}: {where}")

    def _check_books(self) -> None:
        self._check_doubles("at the end")
        placed = self._placed()
        self.report.live = len(placed)
        known = {
            row[0]: row[1:]
            for row in self.disk.connection.execute(
                "SELECT order_id, status, provider, broker_order_id, filled_quantity, symbol, side FROM trades"
            )
        }
        for order_id, rows in placed.items():
            row = rows[0]
            ours = known.get(order_id)
            theirs = (row.status.value, row.provider, row.broker_order_id, row.filled_quantity)
            if ours is None:
                self.violate(f"{order_id} was accepted by {row.provider} and is not known")
            elif ours[:4] != theirs:
                self.violate(f"{order_id} is {ours[:4]} here and {theirs} there")
        for order_id, ours in known.items():
            if order_id not in placed and (ours[3] or ours[0] in {"ACCEPTED", "PARTIALLY_FILLED", "FILLED"}):
                self.violate(f"{order_id} is {ours[:4]} here and nowhere there")
        for name, api in self.brokers.items():
            self._check_positions(name, api, known)
            if tags := api.referee_report().duplicate_tags:
                self.violate(f"{name} saw the tags {tags} twice")

    def _check_positions(self, name: str, api: MockTradingAPI, known: dict[str, tuple[Any, ...]]) -> None:
        ours: Counter[str] = Counter()
        for _, provider, _, filled, symbol, side in known.values():
            if provider == name:
                ours[symbol] += Side(side).sign * filled
        theirs: Counter[str] = Counter()
        for book in api.account.positions.values():
            theirs[book.listing.symbol] += book.quantity
        for symbol in SYMBOLS:
            if ours[symbol] != theirs[symbol]:
                self.violate(f"{name} holds {theirs[symbol]} of {symbol}, our fills make {ours[symbol]}")


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
    """Every task is known to its process, so that a crash ends it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **named)
    life = LIFE.get()
    if life is not None:
        life.tasks.append(task)
    return task
