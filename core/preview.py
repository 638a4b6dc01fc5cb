"""What would become of an order that is being typed: each fault beside its field, and the broker it would go to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .brokers import Instrument, InstrumentTable
from .engine import TradingEngine
from .errors import ConfigError, OrderDenied
from .manager import MultiAPIManager
from .models import AskPreview, Decision, Operation, Order, OrderPreview, OrderType

__all__ = ["preview_of"]

_FIELD_OF_RULE: Final = {"symbols": "symbol", "quantity_max": "quantity", "price_band": "price"}
_PRICED: Final = frozenset({OrderType.LIMIT, OrderType.SL})
_TRIGGERED: Final = frozenset({OrderType.SL, OrderType.SL_M})

Fault = tuple[str, str]


def preview_of(
    asked: AskPreview, *, manager: MultiAPIManager, engine: TradingEngine, instruments: InstrumentTable
) -> OrderPreview:
    """Judge as far as it has been typed; nothing is sent, and nothing counts for a limit or a guard."""
    guards, epoch_ns = engine.guards, manager.clock.epoch_ns()
    instrument = instruments.find(asked.symbol)
    last = None if guards.quotes is None or instrument is None else guards.quotes(asked.symbol)
    price = asked.price if asked.price is not None else asked.trigger_price
    price = last.price if price is None and last is not None else price
    faults = [
        *_instrument_faults(asked, instrument, instruments),
        *_order_faults(asked, engine, epoch_ns),
    ]
    operation = Operation.MODIFY_ORDER if asked.changes else Operation.PLACE_ORDER
    choice: Decision | None = None
    try:
        choice = manager.preview(operation, only=asked.provider or None)
    except ConfigError as error:
        faults.append(("provider", str(error)))
    if choice is not None and not choice.chosen:
        faults.append(("provider", f"no broker can take it now: {choice.reason}"))
    return OrderPreview(
        faults=tuple(faults),
        tick=None if instrument is None else instrument.tick,
        lot=None if instrument is None else instrument.lot,
        last=None if last is None else last.price,
        value=None if price is None or asked.quantity is None else price * asked.quantity,
        choice=choice,
    )


def _instrument_faults(
    asked: AskPreview, instrument: Instrument | None, instruments: InstrumentTable
) -> Iterator[Fault]:
    if instrument is None:
        yield "symbol", instruments.unknown(asked.symbol) if asked.symbol else "such as NSE:SBIN-EQ"
        return
    if fault := instrument.fault():
        yield "symbol", fault
    elif asked.quantity is not None and (fault := instrument.fault(quantity=asked.quantity)):
        yield "quantity", fault
    if asked.price is not None and (fault := instrument.fault(price=asked.price)):
        yield "price", fault
    if asked.trigger_price is not None and (fault := instrument.fault(trigger_price=asked.trigger_price)):
        yield "trigger_price", fault


def _order_faults(asked: AskPreview, engine: TradingEngine, epoch_ns: int) -> Iterator[Fault]:
    """What is wrong whatever the instrument: the order's own rules, our guards, the kill switch."""
    if engine.halted:
        yield "order", f"trading is halted ({engine.halted}); K lifts it"
    settings, open_orders = engine.guards.settings, engine.open_orders
    if settings.market_hours is not None and (why := settings.market_hours.closed_because(epoch_ns)):
        yield "order", f"market_hours: {why}"
    if not asked.changes and settings.open_orders_max is not None and open_orders >= settings.open_orders_max:
        yield "order", f"open_orders_max: {open_orders} orders are open, the most is {settings.open_orders_max}"
    if asked.quantity is None:
        yield "quantity", "a whole number of at least 1"
    if asked.order_type in _PRICED and asked.price is None:
        yield "price", f"a {asked.order_type.value} order needs a price"
    if asked.order_type in _TRIGGERED and asked.trigger_price is None:
        yield "trigger_price", f"a {asked.order_type.value} order needs a trigger"
    order = _order_of(asked)
    if order is None:
        return
    try:
        engine.guards.check_terms(order, epoch_ns=epoch_ns)
    except OrderDenied as error:
        field = _FIELD_OF_RULE.get(error.rule, "order")
        yield "trigger_price" if field == "price" and order.price is None else field, str(error)


def _order_of(asked: AskPreview) -> Order | None:
    """The order, once it is one."""
    try:
        return Order(
            symbol=asked.symbol,
            side=asked.side,
            quantity=asked.quantity or 0,
            order_type=asked.order_type,
            price=asked.price if asked.order_type in _PRICED else None,
            trigger_price=asked.trigger_price if asked.order_type in _TRIGGERED else None,
            product=asked.product,
            validity=asked.validity,
        )
    except ValueError:
        return None
