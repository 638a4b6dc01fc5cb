"""A real little exchange: prices walk, orders rest, cross and fill in parts, money adds up. Everything from one seed.

It is driven, not running: every call first lives through what happened since the last one (price steps, fills,
requests and cancels on their way), each at its own instant. No task, no thread; the same calls at the same times give
the same day.

Money is in whole paise, so that it adds up to the last one; `accounts.py` keeps the books.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, Final

from ...clock import DAY, MILLISECOND, SECOND, Clock
from ...models import Order, OrderType, Product, Quote, Validity
from .accounts import Account, Refusal, RefusalReason, SimOrder, Stage
from .listings import LISTINGS, Listing
from .referee import IST_OFFSET_NS
from .rules import Change, change_refusal, check_input, fitting_prices, risk_refusal, rupees
from .walk import Walk

__all__ = ["IST", "Exchange", "ExchangeSettings"]

IST: Final = timedelta(hours=5, minutes=30)
_OPENS, _CLOSES = time(9, 15), time(15, 30)
# By names of their own: a member is looked up in its class for ten times the price.
_OPEN: Final = Stage.OPEN
_DELIVERY: Final = Product.DELIVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """How the exchange behaves. Times in nanoseconds, money in rupees.

    `transit_ns` bounds the way from the broker to the exchange, `refill_ns` the pause between two parts of a fill.
    `whole_fill` is the probability that a part takes all that is left. `always_open` ignores the trading hours.
    """

    seed: int = 1
    listings: tuple[Listing, ...] = LISTINGS
    always_open: bool = True
    opening_cash: Decimal = Decimal(1_000_000_000)
    opening_holding: int = 100
    step_ns: int = 250 * MILLISECOND
    transit_ns: tuple[int, int] = (1 * MILLISECOND, 10 * MILLISECOND)
    refill_ns: tuple[int, int] = (5 * MILLISECOND, 200 * MILLISECOND)
    whole_fill: float = 0.6
    slippage_ticks: int = 2


class Exchange:
    """Accounts, orders and prices on `clock`. Not thread-safe: one loop owns it."""

    def __init__(self, clock: Clock, settings: ExchangeSettings | None = None) -> None:
        self.settings = settings = settings or ExchangeSettings()
        self.clock = clock
        self.listings = {listing.symbol: listing for listing in settings.listings}
        self.accounts: dict[str, Account] = {}
        self.street_paise = 0  # what the market at large has paid (-) or got (+): the other side of every trade
        self._rng = Random(f"exchange/{settings.seed}")
        self._start_ns = clock.now_ns()
        self._now_ns = self._start_ns
        self._epoch_ahead_ns = clock.epoch_ns() - self._start_ns
        self._walks: dict[str, Walk] = {}  # of the symbols that somebody has looked at
        self._resting: dict[str, dict[str, SimOrder]] = {}
        self._draw_transit_ns = _draws(self._rng, *settings.transit_ns)
        self._draw_refill_ns = _draws(self._rng, *settings.refill_ns)
        self._draw_slip = _draws(self._rng, 0, settings.slippage_ticks)
        self._due: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serials = count(1)
        self._orders = 0
        self._step_planned = False
        self._is_living = False
        self._day, self._day_text = -1, ""

    # -- accounts ------------------------------------------------------------------------------------------------

    def open_account(self, name: str, *, serial_digits: int = 8) -> Account:
        """The account of that name, opened with the settings' cash and a holding of each share if it is new.

        Its order ids are the date, YYMMDD, and a serial number of that many digits.
        """
        account = self.accounts.get(name)
        if account is None:
            settings = self.settings
            account = Account(name, opening_paise=int(settings.opening_cash * 100), serial_digits=serial_digits)
            if settings.opening_holding:
                for listing in settings.listings:
                    if listing.segment == "NSE_EQ":
                        account.holdings[listing.symbol] = (settings.opening_holding, listing.close_paise)
            self.accounts[name] = account
        return account

    def find(self, account: Account, order_id: str) -> SimOrder:
        """The order of that id. Raises Refusal(UNKNOWN_ORDER)."""
        self.advance()
        return self._find(account, order_id)

    def orders(self, account: Account) -> list[SimOrder]:
        """Every order ever accepted into the account's book, oldest first."""
        self.advance()
        return list(account.orders.values())

    # -- orders --------------------------------------------------------------------------------------------------

    def place(self, account: Account, order: Order, *, tag: str = "") -> SimOrder:
        """Take an order into the book; it goes on to the exchange by itself.

        Raises Refusal for an order that the broker's gateway does not take: unknown symbol, lot, tick, an instrument
        that does not trade, a shut segment. What the broker's risk check refuses (price band, market closed, funds,
        holdings) is in the book as REJECTED, with the reason in its message.
        """
        self.advance()
        listing, price_paise, trigger_paise = check_input(
            self.listings, order.symbol, order.quantity, order.price, order.trigger_price
        )
        if listing.segment in account.killed_segments:
            raise Refusal(RefusalReason.KILL_SWITCH, f"segment {listing.segment} is shut by the kill switch")
        epoch_ns = self.epoch_ns()
        self._orders += 1
        # By position: what a class is given by name is put into a dict and taken out again, a name at a time.
        placed = SimOrder(
            account,
            self._date(epoch_ns) + str(self._orders).zfill(account.serial_digits),
            self._orders,
            tag,
            epoch_ns,
            listing,
            order.side,
            order.quantity,
            order.order_type,
            price_paise,
            trigger_paise,
            order.product,
            order.validity,
            order.side.sign < 0 and order.product is _DELIVERY,
        )
        account.add(placed)
        binding_paise = price_paise or self._walk_to_now(listing.symbol).price_paise
        each_paise, need_paise = account.need_for(placed, placed.quantity, binding_paise)
        reason = risk_refusal(account, placed, need_paise, is_open=self.is_open)
        if reason is not None:
            placed.move(Stage.REJECTED, epoch_ns, str(reason))
            placed.reason = reason.reason
            return placed
        account.reserve(placed, each_paise, need_paise)
        self._send(placed, self._enter)
        return placed

    def modify(
        self,
        account: Account,
        order_id: str,
        *,
        quantity: int | None = None,
        order_type: OrderType | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
    ) -> SimOrder:
        """Ask for a change; it takes effect on arrival at the exchange, if the order has not come to its end by then.

        Raises Refusal: unknown or finished order, one with a cancel under way, lot, tick, band, funds, holdings, a
        quantity not above what is filled.
        """
        self.advance()
        order = self._find(account, order_id)
        self._check_open(order)
        wanted = order.quantity if quantity is None else quantity
        _, price_paise, trigger_paise = check_input(self.listings, order.listing.symbol, wanted, price, trigger_price)
        new_type = order.order_type if order_type is None else order_type
        new_price, new_trigger = fitting_prices(
            new_type,
            order.price_paise if price is None else price_paise,
            order.trigger_paise if trigger_price is None else trigger_paise,
        )
        change = Change(wanted, new_type, new_price, new_trigger)
        refusal = change_refusal(account, order, change, self._walk_to_now(order.listing.symbol).price_paise)
        if refusal is not None:
            raise refusal
        order.pending = "modify"
        order.note("modify pending", self.epoch_ns())
        self._send(order, partial(self._change, change))
        return order

    def cancel(self, account: Account, order_id: str) -> SimOrder:
        """Ask for the rest to be cancelled; a fill may still cross it on the way.

        Raises Refusal for an unknown or finished order, or one with a cancel under way.
        """
        self.advance()
        order = self._find(account, order_id)
        self._check_open(order)
        order.pending = "cancel"
        order.note("cancel pending", self.epoch_ns())
        self._send(order, self._cancel)
        return order

    # -- prices --------------------------------------------------------------------------------------------------

    def walk(self, symbol: str) -> Walk | None:
        """The market of a symbol as it is now, None for a symbol that is not listed."""
        self.advance()
        return self._walk_to_now(symbol) if symbol in self.listings else None

    def candles(self, symbol: str, bar_s: int) -> list[tuple[int, int, int, int, int, int]]:
        """(epoch seconds, open, high, low, close in paise, volume) of each bar since the exchange started.

        Raises Refusal for a symbol that is not listed.
        """
        walk = self.walk(symbol)
        if walk is None:
            raise Refusal(RefusalReason.UNKNOWN_SYMBOL, f"unknown symbol {symbol!r}")
        started_s = (self.epoch_ns() - (self._now_ns - self._start_ns)) // SECOND
        bars = walk.candles(max(1, bar_s * SECOND // self.settings.step_ns))
        return [(started_s + bar * bar_s, *rest) for bar, *rest in bars]  # type: ignore[misc]

    def quotes(self, symbols: Iterable[str]) -> tuple[Quote, ...]:
        """The last prices, in the order asked; symbols that are not listed are left out."""
        self.advance()
        epoch_ns = self.epoch_ns()
        walks = [self._walk_to_now(symbol) for symbol in symbols if symbol in self.listings]
        return tuple(
            Quote(symbol=w.listing.symbol, price=rupees(w.price_paise), volume=w.volume, epoch_ns=epoch_ns)
            for w in walks
        )

    @property
    def is_open(self) -> bool:
        """Whether the market trades now: Monday to Friday, 09:15 to 15:30 IST, or always."""
        if self.settings.always_open:
            return True
        now = _ist(self.epoch_ns())
        return now.weekday() < 5 and _OPENS <= now.time() < _CLOSES

    # -- time ----------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Live through everything that was due until now."""
        if self._is_living:
            return  # what is due may look, too: it sees its own instant, and nothing that comes after
        now_ns = self.clock.now_ns()
        self._epoch_ahead_ns = self.clock.epoch_ns() - now_ns
        due = self._due
        self._is_living = True
        try:
            while due and due[0][0] <= now_ns:
                self._now_ns, _, act, about = heappop(due)
                act(*about)
        finally:
            self._is_living = False
        self._now_ns = now_ns

    def at(self, at_ns: int, act: Callable[..., None], *about: object) -> None:
        """Let something happen now or at an instant to come: `advance` lives through it, and `act` may not raise.

        What is planned for one instant happens in the order in which it was planned.
        """
        heappush(self._due, (at_ns, next(self._serials), act, about))

    def epoch_ns(self) -> int:
        """The wall clock at the instant that is lived through, which may lie a little back."""
        return self._now_ns + self._epoch_ahead_ns

    def _send(self, order: SimOrder, act: Callable[[SimOrder], None]) -> None:
        """Let a message about the order get to the exchange; one line carries them all, so none overtakes another."""
        due_ns = self._now_ns + self._draw_transit_ns()
        if due_ns <= order.due_ns:
            due_ns = order.due_ns + 1
        order.due_ns = due_ns
        self.at(due_ns, act, order)

    def _date(self, epoch_ns: int) -> str:
        """YYMMDD in India; formatted once a day, because it stands in every order id."""
        day = (epoch_ns + IST_OFFSET_NS) // DAY
        if day != self._day:
            self._day, self._day_text = day, f"{_ist(epoch_ns):%y%m%d}"
        return self._day_text

    def _walk_to_now(self, symbol: str) -> Walk:
        walk = self._walks.get(symbol)
        if walk is None or self._now_ns >= walk.until_ns:
            walk = self._walks[symbol] = walk or Walk(self.listings[symbol], self.settings.seed)
            steps = (self._now_ns - self._start_ns) // self.settings.step_ns
            walk.step_to(steps)
            walk.until_ns = self._start_ns + (steps + 1) * self.settings.step_ns
        return walk

    def _plan_step(self) -> None:
        if not self._step_planned:
            self._step_planned = True
            step_ns = self.settings.step_ns
            self.at(self._start_ns + ((self._now_ns - self._start_ns) // step_ns + 1) * step_ns, self._step)

    def _step(self) -> None:
        """One price step of every symbol that has orders resting."""
        self._step_planned = False
        for symbol in list(self._resting):
            self._walk_to_now(symbol)
            for order in list(self._resting[symbol].values()):
                self._try(order, self.epoch_ns())
            if not self._resting[symbol]:
                del self._resting[symbol]
        if self._resting:
            self._plan_step()

    # -- matching ------------------------------------------------------------------------------------------------

    def _cancel(self, order: SimOrder) -> None:
        """A cancel gets to the exchange."""
        order.pending = ""
        if order.is_open:
            self._finish(order, Stage.CANCELLED, "")
        else:
            order.note("not cancelled", self.epoch_ns())

    def _change(self, change: Change, order: SimOrder) -> None:
        """A change gets to the exchange; what has happened since it was asked for may forbid it."""
        account = order.account
        if order.pending == "modify":
            order.pending = ""
        epoch_ns = self.epoch_ns()
        market_paise = self._walk_to_now(order.listing.symbol).price_paise
        if not order.is_open or change_refusal(account, order, change, market_paise) is not None:
            order.note("not modified", epoch_ns)
            return
        account.release(order)
        order.quantity, order.order_type = change.quantity, change.order_type
        order.price_paise, order.trigger_paise = change.price_paise, change.trigger_paise
        unfilled = order.quantity - order.filled
        account.reserve(order, *account.need_for(order, unfilled, order.price_paise or market_paise))
        order.note("modified", epoch_ns)
        if order.stage is not Stage.TRANSIT:
            self._unrest(order)
            self._enter(order)

    def _enter(self, order: SimOrder) -> None:
        """An order gets to the exchange, if it has not come to its end on the way."""
        if not order.is_open:
            return
        waits = bool(order.trigger_paise) and not order.triggered
        epoch_ns = self.epoch_ns()
        order.move(Stage.TRIGGER_PENDING if waits else _OPEN, epoch_ns)
        self._try(order, epoch_ns)
        if order.is_open and order.validity is Validity.IOC:
            self._finish(order, Stage.CANCELLED, "IOC: the rest found no counterparty")

    def _try(self, order: SimOrder, epoch_ns: int) -> None:
        """Trigger, fill a part, or rest."""
        market_paise = self._walk_to_now(order.listing.symbol).price_paise
        sign = order.side.sign
        if order.trigger_paise and not order.triggered:
            if sign * (market_paise - order.trigger_paise) < 0:
                self._rest(order)
                return
            order.triggered = True
            self._unrest(order)
            order.move(_OPEN, epoch_ns)
        if order.price_paise and sign * (order.price_paise - market_paise) < 0:
            self._rest(order)
            return
        if order.rests:
            self._unrest(order)
        self._fill(order, market_paise, epoch_ns)
        if order.is_open and order.validity is not Validity.IOC:
            self.at(self._now_ns + self._draw_refill_ns(), self._again, order)

    def _again(self, order: SimOrder) -> None:
        if order.is_open and not order.rests:
            self._try(order, self.epoch_ns())

    def _fill(self, order: SimOrder, market_paise: int, epoch_ns: int) -> None:
        listing, sign, limit_paise = order.listing, order.side.sign, order.price_paise
        lots = (order.quantity - order.filled) // listing.lot
        if lots > 1 and self._rng.random() >= self.settings.whole_fill:
            lots = self._rng.randint(1, lots - 1)
        price_paise = market_paise + sign * self._draw_slip() * listing.tick_paise
        if not limit_paise:
            price_paise = min(max(price_paise, listing.low_paise), listing.high_paise)
        elif sign * (limit_paise - price_paise) < 0:  # a limit, which is within the band, is kept: there or better
            price_paise = limit_paise
        quantity = lots * listing.lot
        order.account.settle(order, quantity, price_paise, epoch_ns)
        self.street_paise += sign * quantity * price_paise

    def _rest(self, order: SimOrder) -> None:
        order.rests = True
        self._resting.setdefault(order.listing.symbol, {})[order.order_id] = order
        self._plan_step()

    def _unrest(self, order: SimOrder) -> None:
        order.rests = False
        self._resting.get(order.listing.symbol, {}).pop(order.order_id, None)

    def _finish(self, order: SimOrder, stage: Stage, message: str) -> None:
        self._unrest(order)
        order.move(stage, self.epoch_ns(), message)
        order.account.release(order)

    # -- checks --------------------------------------------------------------------------------------------------

    def _find(self, account: Account, order_id: str) -> SimOrder:
        order = account.orders.get(order_id)
        if order is None:
            raise Refusal(RefusalReason.UNKNOWN_ORDER, f"no order {order_id!r} in the book of today")
        return order

    @staticmethod
    def _check_open(order: SimOrder) -> None:
        if not order.is_open:
            raise Refusal(RefusalReason.FINISHED, f"order {order.order_id} is {order.stage.value} already")
        if order.pending == "cancel":
            raise Refusal(RefusalReason.PENDING, f"order {order.order_id} has a cancel under way")


def _draws(rng: Random, least: int, most: int) -> Callable[[], int]:
    """What `rng.randint(least, most)` would draw, in a third of its time."""
    numbers, draw_bits = most - least + 1, rng.getrandbits
    bits = numbers.bit_length()

    def draw() -> int:
        drawn = draw_bits(bits)
        while drawn >= numbers:
            drawn = draw_bits(bits)
        return least + drawn

    return draw


def _ist(epoch_ns: int) -> datetime:
    return datetime.fromtimestamp(epoch_ns // 1_000_000_000, UTC) + IST
