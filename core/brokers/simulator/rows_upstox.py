"""Rows as Upstox sends them: every field that the SDK's models name (upstox-python-sdk 2.30.0, `models`)."""

from __future__ import annotations

from typing import Any, Final

from ...clock import MILLISECOND
from ...models import Product
from .accounts import Account, PositionBook, SimOrder, Stage
from .walk import Walk
from .wire import Call, ist, mean_rupees, rupees_float

__all__ = [
    "PRODUCT_LETTER",
    "full_row",
    "funds_v3",
    "history_rows",
    "holding_row",
    "ltp_row",
    "ohlc_row",
    "order_row",
    "position_row",
    "trade_rows",
]

PRODUCT_LETTER: Final = {Product.INTRADAY: "I", Product.DELIVERY: "D", Product.MARGIN: "D"}


def _stamp(epoch_ns: int, call: Call) -> str:
    return ist(epoch_ns + call.skew_ns).strftime("%Y-%m-%d %H:%M:%S")


def _status(order: SimOrder) -> str:
    if order.is_open and order.pending:
        return f"{order.pending} pending"
    return "open pending" if order.stage is Stage.TRANSIT else order.stage.value


def _base_row(order: SimOrder, call: Call) -> dict[str, Any]:
    listing = order.listing
    at_exchange = order.stage not in {Stage.TRANSIT, Stage.REJECTED}
    return {
        "exchange": "NSE" if listing.segment == "NSE_EQ" else "NFO",
        "product": PRODUCT_LETTER[order.product],
        "price": rupees_float(order.price_paise),
        "quantity": order.quantity,
        "status": _status(order),
        "tag": order.tag or None,
        "instrument_token": listing.upstox_key,
        "placed_by": "SIM001",
        "trading_symbol": listing.trading_symbol,
        "tradingsymbol": listing.trading_symbol,
        "order_type": order.order_type.value,
        "validity": order.validity.value,
        "trigger_price": rupees_float(order.trigger_paise),
        "disclosed_quantity": 0,
        "transaction_type": order.side.value,
        "average_price": mean_rupees(order.value_paise, order.filled),
        "filled_quantity": order.filled,
        "status_message": order.message or None,
        "exchange_order_id": order.exchange_order_id if at_exchange else None,
        "parent_order_id": None,
        "order_id": order.order_id,
        "variety": "SIMPLE",
        "order_timestamp": _stamp(order.epoch_ns, call),
        "exchange_timestamp": _stamp(order.updated_ns or order.epoch_ns, call) if at_exchange else None,
        "is_amo": False,
        "order_request_id": "1",
    }


def order_row(order: SimOrder, call: Call) -> dict[str, Any]:
    """A row of the order book or of details."""
    return {
        **_base_row(order, call),
        "guid": None,
        "pending_quantity": order.quantity - order.filled if order.is_open else 0,
        "status_message_raw": order.message or None,
        "order_ref_id": f"ref-{order.serial}",
    }


def history_rows(order: SimOrder, call: Call) -> list[dict[str, Any]]:
    """One row per stage, oldest first; fills show in the last one, as the exchange told them."""
    base = {**_base_row(order, call), "parent_order_id": "NA"}
    stages = [
        ("put order req received", order.epoch_ns),
        ("validation pending", order.epoch_ns),
        *order.history,
    ]
    rows = [
        {
            **base,
            "status": words,
            "order_timestamp": _stamp(epoch_ns, call),
            "filled_quantity": 0,
            "average_price": 0.0,
            "status_message": order.message or None if words in {"rejected", "cancelled"} else None,
        }
        for words, epoch_ns in stages
    ]
    rows[-1]["filled_quantity"], rows[-1]["average_price"] = base["filled_quantity"], base["average_price"]
    return rows


def trade_rows(order: SimOrder, call: Call) -> list[dict[str, Any]]:
    """Trades bear no tag: who wants it joins on the order id."""
    return [
        {
            "exchange": "NSE" if order.listing.segment == "NSE_EQ" else "NFO",
            "product": PRODUCT_LETTER[order.product],
            "trading_symbol": order.listing.trading_symbol,
            "tradingsymbol": order.listing.trading_symbol,
            "instrument_token": order.listing.upstox_key,
            "order_type": order.order_type.value,
            "transaction_type": order.side.value,
            "quantity": part.quantity,
            "exchange_order_id": order.exchange_order_id,
            "order_id": order.order_id,
            "exchange_timestamp": _stamp(part.epoch_ns, call),
            "average_price": rupees_float(part.price_paise),
            "trade_id": order.trade_id(part),
            "order_ref_id": f"ref-{order.serial}",
            "order_timestamp": _stamp(order.epoch_ns, call),
        }
        for part in order.executions
    ]


def ltp_row(walk: Walk, call: Call) -> dict[str, Any]:
    """The last price, v2 or v3."""
    row: dict[str, Any] = {
        "last_price": rupees_float(walk.price_paise),
        "instrument_token": walk.listing.upstox_key,
    }
    if call.path.startswith("/v3/"):
        row |= {"ltq": walk.listing.lot, "volume": walk.volume, "cp": rupees_float(walk.listing.close_paise)}
    return row


def _ohlc(walk: Walk) -> dict[str, float]:
    return {
        "open": rupees_float(walk.open_paise),
        "high": rupees_float(walk.high_paise),
        "low": rupees_float(walk.low_paise),
        "close": rupees_float(walk.price_paise),
    }


def ohlc_row(walk: Walk, call: Call) -> dict[str, Any]:
    """Open, high, low, close, v2 or v3."""
    row: dict[str, Any] = {"last_price": rupees_float(walk.price_paise), "instrument_token": walk.listing.upstox_key}
    if call.path.startswith("/v2/"):
        return {**row, "ohlc": _ohlc(walk)}
    bar = {**_ohlc(walk), "volume": walk.volume, "ts": (call.epoch_ns + call.skew_ns) // MILLISECOND}
    return {**row, "prev_ohlc": None, "live_ohlc": bar}


def full_row(walk: Walk, call: Call) -> dict[str, Any]:
    """The full quote."""
    listing, tick = walk.listing, walk.listing.tick_paise
    levels = {
        side: [
            {
                "quantity": 100 * level * listing.lot,
                "price": rupees_float(walk.price_paise + sign * level * tick),
                "orders": level,
            }
            for level in range(1, 6)
        ]
        for side, sign in (("buy", -1), ("sell", 1))
    }
    now_ns = call.epoch_ns + call.skew_ns
    return {
        "ohlc": _ohlc(walk),
        "depth": levels,
        "timestamp": ist(now_ns).strftime("%Y-%m-%dT%H:%M:%S.000+05:30"),
        "instrument_token": listing.upstox_key,
        "symbol": listing.short_name,
        "last_price": rupees_float(walk.price_paise),
        "volume": walk.volume,
        "average_price": rupees_float((walk.high_paise + walk.low_paise) // 2),
        "oi": 0.0,
        "net_change": rupees_float(walk.price_paise - listing.close_paise),
        "total_buy_quantity": 1500.0 * listing.lot,
        "total_sell_quantity": 1500.0 * listing.lot,
        "lower_circuit_limit": rupees_float(listing.low_paise),
        "upper_circuit_limit": rupees_float(listing.high_paise),
        "last_trade_time": str(now_ns // MILLISECOND),
        "oi_day_high": 0.0,
        "oi_day_low": 0.0,
    }


def holding_row(walk: Walk, quantity: int, average: int) -> dict[str, Any]:
    """A holding at its last price."""
    listing = walk.listing
    change = walk.price_paise - listing.close_paise
    return {
        "isin": listing.isin,
        "cnc_used_quantity": 0,
        "collateral_type": "WC",
        "company_name": listing.name,
        "haircut": 0.2,
        "product": "D",
        "quantity": quantity,
        "trading_symbol": listing.short_name,
        "tradingsymbol": listing.short_name,
        "last_price": rupees_float(walk.price_paise),
        "close_price": rupees_float(listing.close_paise),
        "pnl": rupees_float(quantity * (walk.price_paise - average)),
        "day_change": rupees_float(change),
        "day_change_percentage": round(100 * change / listing.close_paise, 4),
        "instrument_token": listing.upstox_key,
        "average_price": rupees_float(average),
        "collateral_quantity": 0,
        "collateral_update_quantity": 0,
        "t1_quantity": 0,
        "exchange": "NSE",
    }


def position_row(book: PositionBook, walk: Walk) -> dict[str, Any]:
    """A position of the day."""
    unrealised = book.quantity * walk.price_paise - book.cost_paise
    buy_price = mean_rupees(book.buy_paise, book.buy_quantity)
    sell_price = mean_rupees(book.sell_paise, book.sell_quantity)
    return {
        "exchange": "NSE",
        "multiplier": 1.0,
        "value": rupees_float(book.cost_paise),
        "pnl": rupees_float(book.realised_paise + unrealised),
        "product": PRODUCT_LETTER[book.product],
        "instrument_token": book.listing.upstox_key,
        "average_price": mean_rupees(abs(book.cost_paise), abs(book.quantity)),
        "buy_value": rupees_float(book.buy_paise),
        "overnight_quantity": 0,
        "day_buy_value": rupees_float(book.buy_paise),
        "day_buy_price": buy_price,
        "overnight_buy_amount": 0.0,
        "overnight_buy_quantity": 0,
        "day_buy_quantity": book.buy_quantity,
        "day_sell_value": rupees_float(book.sell_paise),
        "day_sell_price": sell_price,
        "overnight_sell_amount": 0.0,
        "overnight_sell_quantity": 0,
        "day_sell_quantity": book.sell_quantity,
        "quantity": book.quantity,
        "last_price": rupees_float(walk.price_paise),
        "unrealised": rupees_float(unrealised),
        "realised": rupees_float(book.realised_paise),
        "sell_value": rupees_float(book.sell_paise),
        "trading_symbol": book.listing.short_name,
        "tradingsymbol": book.listing.short_name,
        "close_price": rupees_float(book.listing.close_paise),
        "buy_price": buy_price,
        "sell_price": sell_price,
    }


def funds_v3(account: Account) -> dict[str, Any]:
    """Money, v3: cash only, nothing is pledged here."""
    free, used = rupees_float(account.available_paise), rupees_float(account.used_paise)
    unused = {
        "total": 0.0,
        "mtf": 0.0,
        "span_exposure": 0.0,
        "cash_margin_var_elm": 0.0,
        "premium_present": 0.0,
        "delivery_margin": {"total": 0.0, "equity": 0.0, "fo_settlement": 0.0},
    }
    realised = rupees_float(sum(position.realised_paise for position in account.positions.values()))
    return {
        "available_to_trade": {
            "total": free,
            "cash_available_to_trade": {
                "total": free,
                "cash": {
                    "opening_balance": rupees_float(account.opening_paise),
                    "added_today": 0.0,
                    "withdrawn_today": 0.0,
                    "amount_from_stock_sale": 0.0,
                    "unpaid_charges": rupees_float(account.fees_paise),
                },
                "margin_used": {
                    **unused,
                    "total": used,
                    "cash_margin_var_elm": used,
                    "loss": {"total": min(realised, 0.0), "realised": min(realised, 0.0), "unrealised": 0.0},
                },
            },
            "pledge_available_to_trade": {
                "margin_from_pledge": {"total": 0.0, "equity": 0.0, "mutual_funds": 0.0},
                "margin_used": unused,
            },
        },
        "unavailable_to_trade": {
            "cash_unavailable_to_trade": {
                "unsettled_profit": {"todays_profit": max(realised, 0.0), "previous_days": 0.0}
            },
            "pledge_unavailable_to_trade": {"equity": 0.0, "mutual_funds": 0.0},
        },
    }
