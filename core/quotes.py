"""Quotes: no permit for what is known already, and one request for what several callers want at once.

What a broker answered is kept by symbol and by broker, with the instant at which it was asked: the price is no older
than that. Where an age is allowed, a symbol of which some broker's answer (or a tick of the feed) is young enough is
not asked for; who wants one broker's quotes gets only that broker's.

For the rest, whoever asks first waits one turn of the loop, so that all who ask in that turn share his batch. A batch
takes in more symbols for as long as it waits for its permit, up to what the brokers carry for that permit; it is closed
when it is sent. A symbol that is on its way already is not asked for again. More symbols than one request carries go
out as several, each to the broker that is best for it; a batch that is given to a broker which carries fewer for one
permit sheds the rest, and that goes its own way.

Each caller keeps what is his own: his symbols in his order, his deadline, his error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
import anyio.abc

from .brokers.base import TradingAPI
from .clock import Clock
from .errors import HeadroomError, NoBrokerAvailable, OrderRefused, RateLimited
from .feed import MarketDataFeed
from .models import Quote
from .reads import ended_early

__all__ = ["QuoteBatch", "QuoteBatches"]

KEPT_MAX: Final = 4096
FEED: Final = "the feed"


@dataclass(slots=True, eq=False)
class QuoteBatch:
    """One request in the making, or on its way; of at most `most` symbols.

    `reserved`: how many its permit was asked for, 0 before that. One that is not `shared` is of one caller alone.
    `known`: how many symbols its first caller did not ask for, by whose answer was fresh. `tried`: the brokers that
    failed it. `rest`: the batches that it shed; whoever waits for it waits for them too.
    """

    only: str | None
    deadline_ns: int
    most: int
    shared: bool
    keep: bool
    known: Mapping[str, int] = field(default_factory=dict)
    symbols: dict[str, None] = field(default_factory=dict)  # in the order in which they came
    reserved: int = 0
    closed: bool = False
    callers: int = 0
    tried: set[str] = field(default_factory=set)
    rest: list[QuoteBatch] = field(default_factory=list)
    tasks: anyio.abc.TaskGroup | None = None
    done: anyio.Event = field(default_factory=anyio.Event)
    quotes: dict[str, Quote] | None = None
    error: HeadroomError | None = None

    @property
    def story(self) -> str:
        """What an operator wants to know of it beside the choice of its broker; empty for one plain symbol."""
        parts = [f"{len(self.symbols)} symbols"] if len(self.symbols) > 1 else []
        if self.rest:
            parts.append(f"{sum(len(batch.symbols) for batch in self.rest)} shed")
        if self.known:
            parts.append("fresh " + ", ".join(f"{count} from {name}" for name, count in sorted(self.known.items())))
        return "; ".join(parts)

    def speaks_for(self, deadline_ns: int, now_ns: int) -> bool:
        """Whether its error is that of a caller who may wait until `deadline_ns`, or only that of who asked."""
        if self.error is None or (self.deadline_ns < deadline_ns and ended_early(self.error, self.deadline_ns, now_ns)):
            return False
        return self.callers == 1 or not self.by_others

    @property
    def by_others(self) -> bool:
        """Whether it may have failed by what others asked for: a symbol of theirs was refused, or all was too much."""
        if isinstance(self.error, OrderRefused):
            return not isinstance(self.error, RateLimited)
        return isinstance(self.error, NoBrokerAvailable)


class Carried(Protocol):
    """How many symbols one permit carries: at `every` broker, or at each that may be asked now."""

    def __call__(self, only: str | None, *, every: bool) -> Sequence[int]: ...


class QuoteBatches:
    """`fetch` gets one batch answered, with `send`; `carried`: see `Carried`. What brokers answer goes into `feed` too.

    `saved` counts the requests that nobody had to make because another's carried his symbols.
    """

    def __init__(
        self,
        clock: Clock,
        fetch: Callable[[QuoteBatch], Awaitable[Sequence[Quote]]],
        carried: Carried,
        feed: MarketDataFeed | None = None,
    ) -> None:
        self._clock = clock
        self._fetch = fetch
        self._carried = carried
        self._feed = feed
        self._batches: list[QuoteBatch] = []
        self._kept: dict[str, dict[str, tuple[int, Quote]]] = {}
        self._kept_count = 0
        self.saved = 0

    async def get(
        self, symbols: Sequence[str], *, only: str | None, deadline_ns: int, max_age_ns: int = 0
    ) -> tuple[Quote, ...]:
        """The quotes of `symbols` in their order, without those that the broker does not know.

        Those that were asked for, or ticked, at most `max_age_ns` ago are not asked for. Raises what the request for
        the others raised.
        """
        fresh = self._fresh(symbols, only, max_age_ns)
        known = Counter(source for source, _ in fresh.values())
        found: dict[str, Quote | None] = {symbol: quote for symbol, (_, quote) in fresh.items()}
        shared, asked = True, False
        while missing := [symbol for symbol in dict.fromkeys(symbols) if symbol not in found]:
            joined, own = self._place(missing, only, deadline_ns, shared=shared, keep=bool(max_age_ns), known=known)
            asked = asked or bool(own)
            if len(own) == 1:
                await self._drive(own[0])
            elif own:
                async with anyio.create_task_group() as tasks:
                    for batch in own:
                        tasks.start_soon(self._drive, batch)
            batches = [*own, *joined]
            for batch in batches:  # grows on the way
                await batch.done.wait()
                batches += batch.rest
                if batch.quotes is not None:
                    found.update((symbol, batch.quotes.get(symbol)) for symbol in missing if symbol in batch.symbols)
                elif batch.error is not None and batch.speaks_for(deadline_ns, self._clock.now_ns()):
                    raise batch.error
                elif batch.by_others:
                    shared = False
        self.saved += not asked
        return tuple(quote for symbol in symbols if (quote := found[symbol]) is not None)

    async def send(self, batch: QuoteBatch, name: str, api: TradingAPI) -> tuple[Quote, ...]:
        """Ask `api`, the account `name`, for all of the batch; nothing joins from now on."""
        batch.closed = True
        asked_ns = self._clock.now_ns()
        quotes = await api.get_market_data(tuple(batch.symbols))
        if batch.keep:
            self._keep(name, asked_ns, quotes)
        if self._feed is not None:
            self._tick(self._feed, asked_ns, quotes)
        return quotes

    def shed(self, batch: QuoteBatch, count: int) -> None:
        """Leave the first `count` symbols in `batch`; the others become a batch of their own, seen through with it."""
        symbols = list(batch.symbols)
        rest = QuoteBatch(
            batch.only,
            batch.deadline_ns,
            batch.most,
            batch.shared,
            batch.keep,
            symbols=dict.fromkeys(symbols[count:]),
            callers=batch.callers,
            tried=set(batch.tried),
        )
        batch.symbols = dict.fromkeys(symbols[:count])
        batch.rest.append(rest)
        self._batches.append(rest)
        if batch.tasks is not None:
            batch.tasks.start_soon(self._drive, rest)

    def _fresh(self, symbols: Sequence[str], only: str | None, max_age_ns: int) -> dict[str, tuple[str, Quote]]:
        """The youngest quote of each symbol that is young enough, and whose it is."""
        if not max_age_ns:
            return {}
        now_ns = self._clock.now_ns()
        began_ns = self._clock.epoch_ns() - now_ns
        fresh: dict[str, tuple[str, Quote]] = {}
        for symbol in symbols:
            youngest_ns = now_ns - max_age_ns
            for name, (asked_ns, quote) in self._kept.get(symbol, {}).items():
                if asked_ns >= youngest_ns and only in {None, name}:
                    fresh[symbol], youngest_ns = (name, quote), asked_ns
            tick = self._feed.latest(symbol) if self._feed is not None and only is None else None
            # What a broker answered stands in the feed too: it is told by the broker's name.
            if tick is not None and tick.epoch_ns - began_ns >= youngest_ns + (symbol in fresh):
                fresh[symbol] = FEED, tick
        return fresh

    def _place(
        self,
        missing: Sequence[str],
        only: str | None,
        deadline_ns: int,
        *,
        shared: bool,
        keep: bool,
        known: Mapping[str, int],
    ) -> tuple[list[QuoteBatch], list[QuoteBatch]]:
        """Find each symbol a batch: others' that end before this caller's deadline, and new ones of his own."""
        others = [
            batch
            for batch in (self._batches if shared else ())
            if batch.shared and batch.only == only and batch.deadline_ns <= deadline_ns
        ]
        joined: list[QuoteBatch] = []
        own: list[QuoteBatch] = []
        for symbol in missing:
            batch = next((batch for batch in others if symbol in batch.symbols or self._has_room(batch)), None)
            if batch is None:
                most = max(self._carried(only, every=False), default=1)
                batch = QuoteBatch(only, deadline_ns, most, shared, keep, known)
                self._batches.append(batch)
                others.append(batch)
                own.append(batch)
            batch.symbols[symbol] = None
            if batch not in own and batch not in joined:
                joined.append(batch)
        for batch in (*joined, *own):
            batch.callers += 1
        return joined, own

    def _has_room(self, batch: QuoteBatch) -> bool:
        """Whether one more symbol costs no further permit: at the cheapest broker while none is chosen, then at any."""
        if batch.closed:
            return False
        count = len(batch.symbols)
        if not batch.reserved:
            return count < batch.most
        # Any broker: the request may still move to another, with a permit for as many symbols as this one.
        return all(count % most for most in self._carried(batch.only, every=True))

    async def _drive(self, batch: QuoteBatch) -> None:
        """See a batch of one's own through, with what it sheds."""
        if batch.most > min(self._carried(batch.only, every=True), default=1):
            async with anyio.create_task_group() as batch.tasks:
                await self._ask(batch)
            return
        await self._ask(batch)
        for rest in batch.rest:  # a broker that carries fewer came only now
            await self._drive(rest)

    async def _ask(self, batch: QuoteBatch) -> None:
        """Get it answered. What goes wrong is left in it; a cancelled one is left without a word."""
        try:
            await anyio.sleep(0)  # whoever asks in the same turn of the loop joins
            batch.reserved = len(batch.symbols)
            batch.quotes = {quote.symbol: quote for quote in await self._fetch(batch)}
        except HeadroomError as error:
            batch.error = error
        finally:
            batch.closed = True
            self._batches.remove(batch)
            batch.done.set()

    def _keep(self, name: str, asked_ns: int, quotes: Sequence[Quote]) -> None:
        if self._kept_count + len(quotes) > KEPT_MAX:
            self.forget()
        for quote in quotes:
            by_broker = self._kept.setdefault(quote.symbol, {})
            before = by_broker.get(name)
            if before is None or before[0] <= asked_ns:  # answers may overtake each other
                self._kept_count += before is None
                by_broker[name] = asked_ns, quote

    def _tick(self, feed: MarketDataFeed, asked_ns: int, quotes: Sequence[Quote]) -> None:
        now_ns = self._clock.epoch_ns()
        epoch_ns = now_ns - (self._clock.now_ns() - asked_ns)
        for quote in quotes:
            before = feed.latest(quote.symbol)
            if before is not None and epoch_ns < before.epoch_ns <= now_ns:
                continue  # it has ticked since; a tick from the future says nothing
            with suppress(ValueError):  # no price yet: an answer, but no tick
                feed.publish(symbol=quote.symbol, price=quote.price, volume=quote.volume, epoch_ns=epoch_ns)

    def forget(self) -> None:
        """Keep nothing of what was asked before."""
        self._kept.clear()
        self._kept_count = 0
