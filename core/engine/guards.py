"""What we refuse before anything is sent. Each rule can be set or switched off, each refusal names rule and numbers."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, NoReturn

from ..clock import MILLISECOND, SECOND
from ..errors import OrderDenied
from ..models import Order, Quote

__all__ = ["GuardSettings", "Guards", "MarketHours", "OnDuplicate"]

IST: Final = dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")


class OnDuplicate(StrEnum):
    """What to do with an order that looks like the one before it."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketHours:
    """When orders may be placed, in Indian time. Holidays are not known here: the exchange refuses those itself."""

    opens: dt.time = dt.time(9, 15)
    closes: dt.time = dt.time(15, 30)
    weekdays: frozenset[int] = frozenset(range(5))

    def __post_init__(self) -> None:
        if self.opens >= self.closes:
            message = f"market hours end at {self.closes} before they begin at {self.opens}"
            raise ValueError(message)

    def closed_because(self, epoch_ns: int) -> str:
        """Why the market is closed at this instant; empty while it is open."""
        now = dt.datetime.fromtimestamp(epoch_ns // SECOND, IST)
        if now.weekday() not in self.weekdays:
            return f"{now:%A} is no trading day"
        if not self.opens <= now.time() < self.closes:
            return f"it is {now:%H:%M:%S} IST, trading is from {self.opens:%H:%M} to {self.closes:%H:%M}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """The limits of our own; None switches a rule off.

    `orders_per_second` counts over all brokers together: above 10 a second SEBI asks for a registered algorithm
    (circular of 4 February 2025 on retail participation in algorithmic trading, and NSE's standards of 5 May 2025).
    `price_band` is the distance from the last quote, as a fraction of it. One older than `quote_age_ns_max` is none.
    `need_quote` denies what cannot be judged for want of a quote: a band, or the value of an order without a price.
    `duplicate_window_ns`: orders alike within it are what `on_duplicate` is about.
    """

    quantity_max: int | None = None
    value_max: Decimal | None = None
    price_band: Decimal | None = Decimal("0.2")
    need_quote: bool = False
    quote_age_ns_max: int = 60 * SECOND
    orders_per_second: int | None = 10
    open_orders_max: int | None = None
    symbols: frozenset[str] | None = None
    on_duplicate: OnDuplicate = OnDuplicate.WARN
    duplicate_window_ns: int = SECOND
    market_hours: MarketHours | None = None

    def __post_init__(self) -> None:
        for name in ("quantity_max", "value_max", "price_band", "orders_per_second", "open_orders_max"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or value <= 0):
                message = f"guards: {name} is {value!r}; give a number above 0, or none to switch the rule off"
                raise ValueError(message)

    @classmethod
    def off(cls) -> GuardSettings:
        """No rule at all: for a stress run against simulated brokers."""
        return cls(price_band=None, orders_per_second=None, on_duplicate=OnDuplicate.ALLOW)


class Guards:
    """Judges an order before it is journaled as wanted.

    `quotes` gives the last quote of a symbol, or None; `warn` hears of an order that looks like a duplicate.
    """

    def __init__(
        self,
        settings: GuardSettings | None = None,
        *,
        quotes: Callable[[str], Quote | None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings or GuardSettings()
        # False where every rule is switched off: an order need not be brought here at all.
        self.judges = type(self) is not Guards or self.settings != GuardSettings.off()
        self.quotes = quotes
        self.warn = warn
        self._admitted_ns: deque[int] = deque()  # of the last second
        self._alike: dict[
            tuple[object, ...], tuple[int, str]
        ] = {}  # of the last duplicate window: when, and under which id

    def admit(self, order: Order, *, now_ns: int, epoch_ns: int, open_orders: int) -> None:
        """Count the order in, or raise OrderDenied; a denied one counts for nothing. Sync: nobody can step between."""
        settings = self.settings
        self.check_terms(order, epoch_ns=epoch_ns)
        if settings.open_orders_max is not None and open_orders >= settings.open_orders_max:
            _deny("open_orders_max", f"{open_orders} orders are open, the most is {settings.open_orders_max}")
        if settings.market_hours is not None and (why := settings.market_hours.closed_because(epoch_ns)):
            _deny("market_hours", why)
        compares = settings.on_duplicate is not OnDuplicate.ALLOW
        if compares:
            self._check_duplicate(order, now_ns)
        if settings.orders_per_second is not None:
            self._count_in(now_ns, settings.orders_per_second)
        if compares:
            self._remember(order, now_ns)

    def check_terms(self, order: Order, *, epoch_ns: int) -> None:
        """The rules that a changed order must keep too: symbol, quantity, price, value. Raises OrderDenied."""
        settings = self.settings
        if settings.symbols is not None and order.symbol not in settings.symbols:
            _deny("symbols", f"{order.symbol} is not on the list of {len(settings.symbols)} allowed symbols")
        if settings.quantity_max is not None and order.quantity > settings.quantity_max:
            _deny("quantity_max", f"quantity {order.quantity} is above {settings.quantity_max}")
        if settings.price_band is None and settings.value_max is None:
            return
        last = self._last_price(order.symbol, epoch_ns)
        price = order.price or order.trigger_price
        if settings.price_band is not None and price is not None:
            self._check_band(order.symbol, price, last, settings.price_band)
        if settings.value_max is not None:
            self._check_value(order, price or last, settings.value_max)

    def _check_band(self, symbol: str, price: Decimal, last: Decimal | None, band: Decimal) -> None:
        if last is None:
            self._without_quote("price_band", symbol)
        elif abs(price - last) > band * last:
            _deny(
                "price_band",
                f"{price} is {abs(price - last) / last:.1%} from the last quote of {symbol}, {last}; "
                f"the most is {band:.1%}",
            )

    def _check_value(self, order: Order, price: Decimal | None, value_max: Decimal) -> None:
        if price is None:
            self._without_quote("value_max", order.symbol)
        elif (value := price * order.quantity) > value_max:
            _deny("value_max", f"{order.quantity} x {price} = {value} is above {value_max}")

    def _without_quote(self, rule: str, symbol: str) -> None:
        if self.settings.need_quote:
            _deny(rule, f"{symbol} has no quote of the last {self.settings.quote_age_ns_max // SECOND} s to judge by")

    def _last_price(self, symbol: str, epoch_ns: int) -> Decimal | None:
        quote = None if self.quotes is None else self.quotes(symbol)
        if quote is None or quote.price <= 0:
            return None
        if quote.epoch_ns and epoch_ns - quote.epoch_ns > self.settings.quote_age_ns_max:
            return None
        return quote.price

    def _check_duplicate(self, order: Order, now_ns: int) -> None:
        settings = self.settings
        while self._alike and next(iter(self._alike.values()))[0] <= now_ns - settings.duplicate_window_ns:
            del self._alike[next(iter(self._alike))]
        earlier = self._alike.get(_likeness(order))
        if earlier is None:
            return
        text = (
            f"{order.client_order_id} looks like {earlier[1]} of {(now_ns - earlier[0]) // MILLISECOND} ms before: "
            f"{order.side.value} {order.quantity} {order.symbol}"
        )
        if settings.on_duplicate is OnDuplicate.DENY:
            _deny("on_duplicate", text)
        if self.warn is not None:
            self.warn(text)

    def _remember(self, order: Order, now_ns: int) -> None:
        alike = _likeness(order)
        self._alike.pop(alike, None)  # to the end: the dict stays in the order of time
        self._alike[alike] = (now_ns, order.client_order_id)

    def _count_in(self, now_ns: int, most: int) -> None:
        """The last rule to be asked: whom it lets through has been admitted."""
        admitted_ns, before_ns = self._admitted_ns, now_ns - SECOND
        while admitted_ns and admitted_ns[0] <= before_ns:
            admitted_ns.popleft()
        if len(admitted_ns) >= most:
            free_in_ms = (admitted_ns[-most] + SECOND - now_ns) // MILLISECOND
            _deny(
                "orders_per_second",
                f"{len(admitted_ns)} orders within the last second, the most is {most} over all brokers; "
                f"the next may go in {free_in_ms} ms",
            )
        admitted_ns.append(now_ns)


def _likeness(order: Order) -> tuple[object, ...]:
    """What makes two orders look alike: all but the id and the day."""
    return (order.symbol, order.side, order.quantity, order.order_type, order.price, order.trigger_price, order.product)


def _deny(rule: str, why: str) -> NoReturn:
    message = f"{rule}: {why}"
    raise OrderDenied(message, rule=rule)
