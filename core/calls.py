"""What is asked of a manager, understood and checked before a permit is spent on it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .brokers.base import TradingAPI
from .errors import ConfigError
from .models import Operation, Order

__all__ = ["OF_ONE_BROKER", "SHARED_READS", "Call", "parse_call", "parse_operation", "symbols_of"]

# Reads of the account's own state or of the market: the same question at the same moment has the same answer.
SHARED_READS = frozenset(
    {Operation.GET_ORDERS, Operation.GET_POSITIONS, Operation.GET_PORTFOLIO, Operation.GET_MARKET_DATA}
)
OF_ONE_BROKER = frozenset({Operation.MODIFY_ORDER, Operation.CANCEL_ORDER, Operation.GET_ORDER})


@dataclass(frozen=True, slots=True)
class Call:
    """One operation with its arguments: how to send it, and what makes it identical.

    `symbols`: how many it is about; `about`: which, where it asks for quotes. `part` gives the same call for the first
    so many of them, and sends the rest its own way. `story`: what there is to tell of it beside the choice of a broker.
    """

    operation: Operation
    send: Callable[[TradingAPI], Awaitable[Any]]
    symbols: int = 1
    key: Hashable = None
    about: tuple[str, ...] = ()
    part: Callable[[int], Call] | None = None
    story: str = ""

    def telling(self, leaves: Callable[[], None]) -> Call:
        """The same call, that tells when it is sent."""

        def send(api: TradingAPI) -> Awaitable[Any]:
            leaves()
            return self.send(api)

        return replace(self, send=send)


def parse_call(operation: str, arguments: Mapping[str, Any], new_tag: Callable[[], str]) -> Call:
    """The call of that name. Raises ConfigError, in one line, for a name or an argument that makes no sense."""
    kind = parse_operation(operation)
    key = repr(sorted(arguments.items()))
    if kind is Operation.PLACE_ORDER:
        order, tag = _order_of(arguments, new_tag)
        return Call(kind, lambda api: api.place_order(order, tag=tag), key=key)
    if kind is Operation.GET_MARKET_DATA:
        symbols = symbols_of(arguments)
        return Call(kind, lambda api: api.get_market_data(symbols), len(symbols), key, symbols)
    _check_arguments(kind, arguments)
    return Call(kind, lambda api: getattr(api, kind.value)(**arguments), key=key)


def parse_operation(text: str) -> Operation:
    """The operation of that name; `login` is `authenticate`. Raises ConfigError."""
    try:
        return Operation.AUTHENTICATE if text == "login" else Operation(text)
    except ValueError:
        known = ", ".join(Operation)
        message = f"no operation is named {text!r}; known: {known}"
        raise ConfigError(message) from None


def _order_of(arguments: Mapping[str, Any], new_tag: Callable[[], str]) -> tuple[Order, str]:
    rest = dict(arguments)
    tag = rest.pop("tag", "") or new_tag()
    order = rest.pop("order", None)
    if isinstance(order, Order) and not rest:
        return order, tag
    try:
        return Order(**rest), tag
    except (TypeError, ValueError) as error:
        message = f"place_order: {error}"
        raise ConfigError(message) from None


def symbols_of(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The symbols that quotes are asked of. Raises ConfigError for none, or for what is no symbol."""
    rest = dict(arguments)
    symbols = rest.pop("symbols", None)
    symbol = rest.pop("symbol", None)
    if rest or (symbols is None) == (symbol is None):
        message = "get_market_data takes symbols=[...] or symbol=..."
        raise ConfigError(message)
    chosen = (symbol,) if symbols is None else tuple(symbols)
    if not chosen or not all(isinstance(one, str) and one for one in chosen):
        message = f"get_market_data: {chosen!r} is not a list of symbols such as NSE:SBIN-EQ"
        raise ConfigError(message)
    return chosen


def _check_arguments(operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Refuse wrong argument names before a permit is spent on them."""
    signature = inspect.signature(getattr(TradingAPI, operation.value))
    try:
        signature.bind(None, **arguments)
    except TypeError as error:
        message = f"{operation.value}: {error}"
        raise ConfigError(message) from None
