"""Values to columns and back: exact money as whole numbers, text that SQLite takes, trades as rows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from ..models import Side, Trade, maker

__all__ = ["TRADE_COLUMNS", "TradeRow", "clean", "money", "trade_from_row", "trade_row", "units"]

# 1e-8 rupees: a thousandth of a thousandth of the finest tick (0.0025), and 92 billion rupees still fit 63 bits. Prices
# fit exactly; an average with more places is rounded half to even.
_PLACES: Final = 8
_SCALE: Final = Decimal(10) ** _PLACES
_EXACT: Final = Context(prec=60)
_LARGEST: Final = 2**63 - 1
_DIGITS_MAX: Final = 11  # of a price, before the point
_trade: Final = maker(Trade)

TRADE_COLUMNS: Final = (
    "order_id, symbol, side, quantity, price, status, provider, broker_order_id, tag, filled_quantity, simulated, "
    "message, epoch_ns, updated_ns"
)
TradeRow = tuple[str, str, str, int, int, str, str, str, str, int, int, str, int, int]


def units(price: Decimal) -> int:
    """`price` in units of 1e-8 rupees.

    Raises ValueError for a price that is not finite or does not fit 63 bits.
    """
    if not price:  # most steps have no price to tell
        return 0
    # By its exponent first: what a price of 1e999999 would be in units is a number of a million digits.
    if price.is_finite() and price.adjusted() < _DIGITS_MAX:
        scaled = round(price.scaleb(_PLACES, _EXACT))  # half to even
        if abs(scaled) <= _LARGEST:
            return scaled
    message = f"price is {price}; give a finite number below 92 billion"
    raise ValueError(message)


@lru_cache(maxsize=4096)
def money(count: int) -> Decimal:
    """The price that `units` made `count` of."""
    return _EXACT.divide(Decimal(count), _SCALE)


def clean(text: str) -> str:
    """`text` as SQLite can hold it: a lone surrogate, which JSON from a broker may carry, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def trade_row(trade: object, *, now_ns: int) -> TradeRow:
    """The columns of `trade`: a Trade, or anything with order_id, symbol, quantity and price.

    What is missing, or not of its type, gets the default of `Trade`; a time of 0 becomes `now_ns`. Raises ValueError
    for an order_id or symbol that is no text, a quantity that is no whole number, a price that is no number.
    """
    order_id, symbol = _text(trade, "order_id", None), _text(trade, "symbol", None)
    if not order_id:
        message = "a trade needs an order_id"
        raise ValueError(message)
    epoch_ns = _whole(trade, "epoch_ns", 0) or now_ns
    simulated = getattr(trade, "simulated", True)
    return (
        order_id,
        symbol,
        _text(trade, "side", Side.BUY.value),
        _whole(trade, "quantity", None),
        units(_decimal(getattr(trade, "price", None))),
        _text(trade, "status", "NEW"),
        _text(trade, "provider", ""),
        _text(trade, "broker_order_id", ""),
        _text(trade, "tag", ""),
        _whole(trade, "filled_quantity", 0),
        int(simulated) if isinstance(simulated, bool) else 1,
        _text(trade, "message", ""),
        epoch_ns,
        _whole(trade, "updated_ns", 0) or epoch_ns,
    )


def trade_from_row(row: Sequence[Any]) -> Trade:
    """The trade whose TRADE_COLUMNS `row` starts with."""
    return _trade(
        order_id=row[0],
        symbol=row[1],
        side=row[2],
        quantity=row[3],
        price=money(row[4]),
        status=row[5],
        provider=row[6],
        broker_order_id=row[7],
        tag=row[8],
        filled_quantity=row[9],
        simulated=bool(row[10]),
        message=row[11],
        epoch_ns=row[12],
        updated_ns=row[13],
    )


def _text(trade: object, name: str, default: str | None) -> str:
    value = getattr(trade, name, default)
    if type(value) is str and value.isascii():  # nearly always, and this runs seven times a row
        return value
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return clean(value)
    if default is None:
        message = f"{name} is {value!r}; give text"
        raise ValueError(message)
    return default


def _whole(trade: object, name: str, default: int | None) -> int:
    value = getattr(trade, name, default)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return value
    if default is None:
        message = f"{name} is {value!r}; give a whole number"
        raise ValueError(message)
    return default


def _decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except ArithmeticError:
            pass
    message = f"price is {value!r}; give a decimal number"
    raise ValueError(message)
