"""The lab's own books: every order it gave out, told apart without trusting anybody's tag.

Each order is made unlike every other in symbol, side, quantity and price, so that a broker's book shows by itself which
order it holds, and how often. Tags, ids and the store belong to what is being tested; they are checked, not believed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import Final

from ..brokers.simulator.listings import LISTINGS, Listing
from ..models import BrokerOrder, Order, OrderOutcome, OrderStatus, OrderType, Side, maker

__all__ = ["Audit", "Ledger", "tradable"]

_NOT_LIVE: Final = frozenset({OrderStatus.DENIED, OrderStatus.REJECTED})
_UNSETTLED: Final = frozenset({OrderStatus.UNKNOWN, OrderStatus.QUARANTINED, OrderStatus.SUBMITTING, OrderStatus.NEW})
# Where, between the day's lowest and highest price, each kind of order stands, in hundredths of the last close: one
# that trades at once beyond the market, a resting one far before it, with room above it for one change of price.
_EXAMPLES: Final = 10
_BUY_NOW, _SELL_NOW, _REST, _RESTED_THEN_CHANGED, _WIDTH = 103, 95, 91, 93, 2
# By names of their own: a member is looked up in its class for ten times the price.
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL
_LIMIT: Final = OrderType.LIMIT


# 64 bits that stand for a broker's name and its own id of an order, good for this process.
_mark: Final = hash
_new_order: Final = maker(Order)


class Told(IntEnum):
    """What the caller was told of an order, as one byte each: a soak run gives out millions."""

    PENDING = 0
    LIVE = 1
    NOT_LIVE = 2
    UNSETTLED = 3


_PENDING: Final = Told.PENDING
_LIVE: Final = Told.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the brokers' books and the store say of the orders. All but `given_out`, `acknowledged` and `unsettled`: 0.

    `lost`: acknowledged, and not exactly once at a broker and in the store. `duplicates`: live more than once.
    `ghosts`: live at a broker although the caller was told that they are not. `unsettled`: the caller was told that
    nobody knows yet. `strangers`: rows at a broker that nobody gave out.
    """

    given_out: int = 0
    acknowledged: int = 0
    unsettled: int = 0
    lost: int = 0
    duplicates: int = 0
    ghosts: int = 0
    strangers: int = 0
    examples: tuple[str, ...] = ()


def tradable(symbol: str) -> bool:
    """Whether the simulated exchange trades single shares of it."""
    return any(listing.symbol == symbol and listing.tradable and listing.lot == 1 for listing in LISTINGS)


class _Prices:
    """The prices of one symbol, in paise on its tick: `count` of them for each kind of order."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._tick = tick = listing.tick_paise
        self.count = listing.close_paise * _WIDTH // 100 // tick
        self._first = {
            hundredths: listing.close_paise * hundredths // 100 // tick * tick
            for hundredths in (_REST, _RESTED_THEN_CHANGED, _SELL_NOW, _BUY_NOW)
        }
        self._firsts = tuple(self._first.values())
        self.buys_now_from = self._first[_BUY_NOW]

    def at(self, hundredths: int, place: int) -> int:
        return self._first[hundredths] + place * self._tick

    def place_of(self, price_paise: int) -> int | None:
        """The number that `at` was given, whichever kind of order it was; None for a price of no kind."""
        kind = bisect_right(self._firsts, price_paise) - 1
        place = (price_paise - self._firsts[kind]) // self._tick
        return place if 0 <= place < self.count else None


class Ledger:
    """Gives orders out and remembers what the caller was told of each. `prefix` makes the ids unique in the store."""

    def __init__(self, symbols: Iterable[str], prefix: str) -> None:
        by_symbol = {listing.symbol: listing for listing in LISTINGS}
        self._prices = [_Prices(by_symbol[symbol]) for symbol in symbols]
        self._lane_of = {prices.listing.symbol: lane for lane, prices in enumerate(self._prices)}
        self._places = min(prices.count for prices in self._prices)
        self._prefix = prefix
        self._told = bytearray()
        self._seen = _Seen()

    def __len__(self) -> int:
        return len(self._told)

    def next_order(self, *, resting: bool) -> Order:
        """An order unlike all before it; buys and sells alternate. A resting one is a buy far below the market."""
        number = len(self._told)
        self._told.append(_PENDING)
        lane, side, place, quantity = self._coordinates(number)
        prices = self._prices[lane]
        if resting:
            # Sides are part of what tells orders apart: a resting order takes its place by quantity instead.
            side_offset = 0 if side is _BUY else 1
            quantity, side, hundredths = 2 * quantity - 1 + side_offset, _BUY, _REST
        else:
            hundredths = _BUY_NOW if side is _BUY else _SELL_NOW
        price = Decimal(prices.at(hundredths, place)) / 100
        return _new_order(
            symbol=prices.listing.symbol,
            quantity=quantity,
            side=side,
            order_type=_LIMIT,
            price=price,
            client_order_id=self.order_id(number),
        )

    def changed_price(self, order: Order) -> Decimal:
        """The one other price that a resting order may take without looking like another."""
        assert order.price is not None  # noqa: S101 - every order of the ledger has one
        prices = self._prices[self._lane_of[order.symbol]]
        place = prices.place_of(int(order.price * 100))
        assert place is not None  # noqa: S101 - the ledger made it
        return Decimal(prices.at(_RESTED_THEN_CHANGED, place)) / 100

    def order_id(self, number: int) -> str:
        """The client order id of the order of that number."""
        return f"{self._prefix}-{number}"

    def _coordinates(self, number: int) -> tuple[int, Side, int, int]:
        number, lane = divmod(number, len(self._prices))
        number, side = divmod(number, 2)
        turn, place = divmod(number, self._places)
        return lane, _SELL if side else _BUY, place, turn + 1

    def _number_of(self, row: BrokerOrder) -> int | None:
        """Which order a row of a broker's book is; None for one that we did not give out."""
        lane = self._lane_of.get(row.symbol)
        if lane is None or row.price is None:
            return None
        prices = self._prices[lane]
        price_paise = int(row.price * 100)
        place = prices.place_of(price_paise)
        if place is None or place >= self._places:
            return None
        quantity, side = row.quantity, row.side
        if side is _BUY and price_paise < prices.buys_now_from:
            side = _BUY if quantity % 2 else _SELL
            quantity = (quantity + 1) // 2
        number = ((quantity - 1) * self._places + place) * 2 + (side is _SELL)
        number = number * len(self._prices) + lane
        return number if number < len(self._told) else None

    # -- what the caller was told --------------------------------------------------------------------------------

    def told(self, order_id: str, outcome: OrderOutcome) -> None:
        if outcome.status in _NOT_LIVE:
            verdict = Told.NOT_LIVE
        elif outcome.status in _UNSETTLED:
            verdict = Told.UNSETTLED
        else:
            verdict = _LIVE
        self._told[self._number(order_id)] = verdict

    def told_not_live(self, order_id: str) -> None:
        self._told[self._number(order_id)] = Told.NOT_LIVE

    def told_unsettled(self, order_id: str) -> None:
        self._told[self._number(order_id)] = Told.UNSETTLED

    def _number(self, order_id: str) -> int:
        return int(order_id.rpartition("-")[2])

    # -- the judgement -------------------------------------------------------------------------------------------

    def saw(self, books: Mapping[str, Iterable[BrokerOrder]]) -> None:
        """Take note of rows that are final and leave their broker's book; `audit` is not shown them again."""
        self._note(self._seen, books)

    def audit(self, books: Mapping[str, Iterable[BrokerOrder]], stored: Mapping[str, tuple[str, str]]) -> Audit:
        """Hold the brokers' books, as they stand now, and the store against what the callers were told.

        `stored`: broker and the broker's own id of each order that the store holds, by our id.
        """
        seen = self._seen.copy()
        self._note(seen, books)
        lost: list[str] = []
        ghosts: list[str] = []
        doubled: list[str] = []
        for number, (told, times, mark) in enumerate(zip(self._told, seen.times, seen.marks, strict=True)):
            order_id = self.order_id(number)
            if told == _LIVE:
                if not times:
                    lost.append(f"{order_id}: acknowledged, at no broker")
                elif _mark(stored.get(order_id, ("", ""))) != mark:
                    found = stored.get(order_id, "absent")
                    lost.append(f"{order_id}: at {seen.names[seen.places[number]]}, in the store {found}")
            elif told == Told.NOT_LIVE and times:
                ghosts.append(f"{order_id}: said not to be live, is at {seen.names[seen.places[number]]}")
            if times > 1:
                doubled.append(f"{order_id}: live {times} times")
        return Audit(
            given_out=len(self._told),
            acknowledged=self._told.count(Told.LIVE),
            unsettled=self._told.count(Told.UNSETTLED) + self._told.count(Told.PENDING),
            lost=len(lost),
            duplicates=len(doubled),
            ghosts=len(ghosts),
            strangers=seen.strangers,
            examples=tuple((lost + doubled + ghosts + seen.strange)[:_EXAMPLES]),
        )

    def _note(self, seen: _Seen, books: Mapping[str, Iterable[BrokerOrder]]) -> None:
        seen.grow(len(self._told))
        times, places, marks, rejected = seen.times, seen.places, seen.marks, OrderStatus.REJECTED
        for name, rows in books.items():
            place = seen.place_of(name)
            for row in rows:
                number = self._number_of(row)
                if number is None:
                    seen.strangers += 1
                    if len(seen.strange) < _EXAMPLES:
                        seen.strange.append(f"{name}: {row.side.value} {row.quantity} {row.symbol} is nobody's")
                elif row.status is not rejected:
                    if times[number] < 255:
                        times[number] += 1
                    places[number] = place
                    marks[number] = _mark((name, row.broker_order_id))


@dataclass(slots=True)
class _Seen:
    """What the brokers' books have shown of each order, in ten bytes each: a soak run gives out millions.

    `times` it was live, and where it was seen last: `places` counts in `names`, `marks` tells the broker's id apart.
    """

    times: bytearray = field(default_factory=bytearray)
    places: bytearray = field(default_factory=bytearray)
    marks: array[int] = field(default_factory=lambda: array("q"))
    names: list[str] = field(default_factory=list)
    strangers: int = 0
    strange: list[str] = field(default_factory=list)

    def copy(self) -> _Seen:
        return _Seen(
            self.times[:], self.places[:], self.marks[:], self.names.copy(), self.strangers, self.strange.copy()
        )

    def grow(self, count: int) -> None:
        more = count - len(self.times)
        self.times.extend(bytes(more))
        self.places.extend(bytes(more))
        self.marks.frombytes(bytes(8 * more))

    def place_of(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)
