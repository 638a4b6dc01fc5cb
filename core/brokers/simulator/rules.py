"""What a broker and the exchange take, and why they refuse. No state, no time: values in, a refusal out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ...models import OrderType
from .accounts import Account, Refusal, RefusalReason, SimOrder
from .listings import Listing

__all__ = ["Change", "change_refusal", "check_input", "fitting_prices", "risk_refusal", "rupees"]

_PAISA: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Change:
    """What an order shall become."""

    quantity: int
    order_type: OrderType
    price_paise: int
    trigger_paise: int


def check_input(
    listings: Mapping[str, Listing], symbol: str, quantity: int, price: Decimal | None, trigger_price: Decimal | None
) -> tuple[Listing, int, int]:
    """The listing, and both prices in paise, 0 for none.

    Raises Refusal for what no broker's gateway takes: symbol, quantity, lot, tick.
    """
    listing = listings.get(symbol)
    if listing is None:
        raise Refusal(RefusalReason.UNKNOWN_SYMBOL, f"unknown symbol {symbol!r}")
    if not listing.tradable:
        raise Refusal(RefusalReason.NOT_TRADABLE, f"{symbol} cannot be traded")
    if quantity < 1:
        raise Refusal(RefusalReason.QUANTITY, f"quantity is {quantity}; give at least 1")
    if quantity % listing.lot:
        raise Refusal(RefusalReason.LOT, f"quantity {quantity} is no multiple of the lot of {listing.lot}")
    price_paise = 0 if price is None else _paise(listing, price)
    trigger_paise = 0 if trigger_price is None else _paise(listing, trigger_price)
    return listing, price_paise, trigger_paise


def _paise(listing: Listing, price: Decimal) -> int:
    paise = price * 100
    if paise % listing.tick_paise:
        tick = rupees(listing.tick_paise)
        raise Refusal(RefusalReason.TICK, f"price {price} is no multiple of the tick of {tick}")
    return int(paise)


def risk_refusal(account: Account, order: SimOrder, need_paise: int, *, is_open: bool) -> Refusal | None:
    """Why the broker's risk check refuses a new order that would bind so much, None when it does not."""
    if not is_open:
        return Refusal(RefusalReason.MARKET_CLOSED, "the market is closed")
    outside = _outside_band(order.listing, order.price_paise, order.trigger_paise)
    if outside is not None:
        return outside
    if order.delivers:
        free = account.deliverable(order.listing.symbol)
        if free < order.quantity:
            return Refusal(RefusalReason.HOLDINGS, f"{free} free in holdings, {order.quantity} wanted")
    available = account.available_paise
    if need_paise > available:
        text = f"Margin Shortfall:INR {(need_paise - available) / 100:.2f} Available:INR {available / 100:.2f}"
        return Refusal(RefusalReason.FUNDS, text)
    return None


def change_refusal(account: Account, order: SimOrder, change: Change, market_paise: int) -> Refusal | None:
    """Why a change cannot be made, None when it can: asked when it is sent and again when it arrives."""
    outside = _outside_band(order.listing, change.price_paise, change.trigger_paise)
    if outside is not None:
        return outside
    if change.quantity <= order.filled:
        return Refusal(RefusalReason.QUANTITY, f"{order.filled} of the order are filled; give a larger quantity")
    if order.delivers:
        free = account.deliverable(order.listing.symbol)
        if free < change.quantity - order.quantity:
            return Refusal(RefusalReason.HOLDINGS, f"{free} more free in holdings, {change.quantity} wanted in all")
    price_paise = change.price_paise or market_paise
    missing = account.missing_for_change(order, change.quantity, price_paise)
    if missing > 0:
        return Refusal(RefusalReason.FUNDS, f"Margin Shortfall:INR {missing / 100:.2f}")
    return None


def _outside_band(listing: Listing, price_paise: int, trigger_paise: int) -> Refusal | None:
    """The refusal of a price outside the day's band; 0 is no price."""
    low, high = listing.low_paise, listing.high_paise
    if price_paise and not low <= price_paise <= high:
        outside = price_paise
    elif trigger_paise and not low <= trigger_paise <= high:
        outside = trigger_paise
    else:
        return None
    band = f"{rupees(low)} to {rupees(high)}"
    return Refusal(RefusalReason.PRICE_BAND, f"price {rupees(outside)} is outside the day's band of {band}")


def fitting_prices(order_type: OrderType, price: int, trigger: int) -> tuple[int, int]:
    """The prices that an order of this type has; one it has no use for is dropped, one it lacks is refused."""
    if order_type in {OrderType.MARKET, OrderType.SL_M}:
        price = 0
    elif not price:
        raise Refusal(RefusalReason.PRICE, f"a {order_type.value} order needs a price")
    if order_type in {OrderType.MARKET, OrderType.LIMIT}:
        trigger = 0
    elif not trigger:
        raise Refusal(RefusalReason.PRICE, f"a {order_type.value} order needs a trigger price")
    return price, trigger


def rupees(paise: int) -> Decimal:
    """Paise as rupees with two places."""
    return paise * _PAISA
