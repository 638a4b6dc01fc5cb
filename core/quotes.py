"""Quotes that several callers want at once go out as one request.

Whoever asks first waits one turn of the loop, so that all who ask in that turn share his batch. A batch takes in more
symbols for as long as it waits for its permit, up to what the brokers carry for that permit; it is closed when it is
sent. A symbol that is on its way already is not asked for again. More symbols than one request carries go out as
several, each to the broker that is best for it.

Each caller keeps what is his own: his symbols in his order, his deadline, his error.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio

from .brokers.base import TradingAPI
from .clock import Clock
from .errors import HeadroomError, NoBrokerAvailable, OrderRefused, RateLimited
from .models import Quote
from .reads import ended_early

__all__ = ["QuoteBatch", "QuoteBatches"]

KEPT_MAX: Final = 4096
SYMBOLS_MAX: Final = 1000


@dataclass(slots=True, eq=False)
class QuoteBatch:
    """One request in the making, or on its way; of at most `most` symbols.

    `reserved`: how many its permit was asked for, 0 before that. One that is not `shared` is of one caller alone.
    """

    only: str | None
    deadline_ns: int
    most: int
    shared: bool
    symbols: dict[str, None] = field(default_factory=dict)  # in the order in which they came
    reserved: int = 0
    closed: bool = False
    callers: int = 0
    done: anyio.Event = field(default_factory=anyio.Event)
    quotes: dict[str, Quote] | None = None
    error: HeadroomError | None = None

    async def send(self, api: TradingAPI) -> tuple[Quote, ...]:
        """Ask `api` for all of it; nothing joins from now on."""
        self.closed = True
        return await api.get_market_data(tuple(self.symbols))

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


class SymbolCosts(Protocol):
    """The permits that quotes of `count` symbols cost: at `every` broker, or at each that may be asked now."""

    def __call__(self, only: str | None, count: int, *, every: bool) -> Sequence[int]: ...


class QuoteBatches:
    """`fetch` gets one batch answered; `costs`: see `SymbolCosts`.

    `saved` counts the requests that nobody had to make because another's carried his symbols.
    """

    def __init__(
        self,
        clock: Clock,
        fetch: Callable[[QuoteBatch], Awaitable[Sequence[Quote]]],
        costs: SymbolCosts,
    ) -> None:
        self._clock = clock
        self._fetch = fetch
        self._costs = costs
        self._batches: list[QuoteBatch] = []
        self._kept: dict[tuple[str | None, str], tuple[int, Quote]] = {}
        self.saved = 0

    async def get(
        self, symbols: Sequence[str], *, only: str | None, deadline_ns: int, max_age_ns: int = 0
    ) -> tuple[Quote, ...]:
        """The quotes of `symbols` in their order, without those that the broker does not know.

        Kept ones that are not older than `max_age_ns` are not asked for. Raises what the request for them raised.
        """
        found: dict[str, Quote | None] = self._from_memory(symbols, only, max_age_ns)
        shared, asked = True, False
        while missing := [symbol for symbol in dict.fromkeys(symbols) if symbol not in found]:
            joined, own = self._place(missing, only, deadline_ns, shared=shared)
            asked = asked or bool(own)
            if len(own) == 1:
                await self._drive(own[0], keep=bool(max_age_ns))
            elif own:
                async with anyio.create_task_group() as tasks:
                    for batch in own:
                        tasks.start_soon(lambda batch=batch: self._drive(batch, keep=bool(max_age_ns)))  # type: ignore[misc]
            for batch in (*own, *joined):
                await batch.done.wait()
                if batch.quotes is not None:
                    found.update((symbol, batch.quotes.get(symbol)) for symbol in missing if symbol in batch.symbols)
                elif batch.error is not None and batch.speaks_for(deadline_ns, self._clock.now_ns()):
                    raise batch.error
                elif batch.by_others:
                    shared = False
        self.saved += not asked
        return tuple(quote for symbol in symbols if (quote := found[symbol]) is not None)

    def _from_memory(self, symbols: Sequence[str], only: str | None, max_age_ns: int) -> dict[str, Quote | None]:
        if not max_age_ns:
            return {}
        oldest_ns = self._clock.now_ns() - max_age_ns
        kept = {symbol: self._kept.get((only, symbol)) for symbol in symbols}
        return {symbol: entry[1] for symbol, entry in kept.items() if entry is not None and entry[0] >= oldest_ns}

    def _place(
        self, missing: Sequence[str], only: str | None, deadline_ns: int, *, shared: bool
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
                batch = QuoteBatch(only, deadline_ns, self._most(only), shared)
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
        wanted, paid = (self._costs(batch.only, symbols, every=True) for symbols in (count + 1, batch.reserved))
        return wanted == paid

    def _most(self, only: str | None) -> int:
        """The most symbols that one request of some broker carries."""
        return bisect_right(
            range(1, SYMBOLS_MAX + 1), 1, key=lambda count: min(self._costs(only, count, every=False), default=1)
        )

    async def _drive(self, batch: QuoteBatch, *, keep: bool) -> None:
        """See a batch of one's own through. What goes wrong is left in it; a cancelled one is left without a word."""
        try:
            await anyio.sleep(0)  # whoever asks in the same turn of the loop joins
            batch.reserved = len(batch.symbols)
            quotes = {quote.symbol: quote for quote in await self._fetch(batch)}
        except HeadroomError as error:
            batch.error = error
        else:
            batch.quotes = quotes
            if keep:
                self._keep(batch.only, quotes)
        finally:
            batch.closed = True
            self._batches.remove(batch)
            batch.done.set()

    def _keep(self, only: str | None, quotes: dict[str, Quote]) -> None:
        if len(self._kept) + len(quotes) > KEPT_MAX:
            self._kept.clear()
        now_ns = self._clock.now_ns()
        self._kept.update(((only, symbol), (now_ns, quote)) for symbol, quote in quotes.items())

    def forget(self) -> None:
        """Keep nothing of what was asked before."""
        self._kept.clear()
