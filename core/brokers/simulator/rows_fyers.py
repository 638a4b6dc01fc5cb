"""Rows as Fyers sends them: every field of its API v3 documentation, read January 2026.

Codes: exchange 10 NSE; segment 10 cash, 11 futures and options.
"""

from __future__ import annotations

from typing import Any, Final

from ...models import OrderType, Product
from .accounts import Account, Execution, PositionBook, SimOrder, Stage
from .walk import Walk
from .wire import Call, ist, mean_rupees, rupees_float

__all__ = [
    "PRODUCT_NAME",
    "PROFILE",
    "TYPE_NUMBER",
    "depth_row",
    "fund_rows",
    "fyers_id",
    "holding_row",
    "holdings_overall",
    "order_prices",
    "order_row",
    "position_row",
    "positions_overall",
    "quote_row",
    "stored_tag",
    "trade_row",
]

TYPE_NUMBER: Final = {OrderType.LIMIT: 1, OrderType.MARKET: 2, OrderType.SL_M: 3, OrderType.SL: 4}
PRODUCT_NAME: Final = {Product.INTRADAY: "INTRADAY", Product.DELIVERY: "CNC", Product.MARGIN: "MARGIN"}
_STATUS: Final = {
    Stage.CANCELLED: 1,
    Stage.COMPLETE: 2,
    Stage.TRANSIT: 4,
    Stage.REJECTED: 5,
    Stage.OPEN: 6,
    Stage.TRIGGER_PENDING: 6,
}
CLIENT_ID: Final = "XS00001"
PROFILE: Final[dict[str, Any]] = {
    "fy_id": CLIENT_ID,
    "name": "SIMULATED USER",
    "display_name": None,
    "image": None,
    "email_id": "*****@example.com",
    "PAN": "*****0000X",
    "pin_change_date": "01-01-2026 00:00:00",
    "pwd_change_date": None,
    "mobile_number": "*******000",
    "totp": True,
    "pwd_to_expire": 42,
    "ddpi_enabled": False,
    "mtf_enabled": False,
}


def stored_tag(tag: str) -> str:
    """A tag as the book has it: ours behind `1:`, the broker's own behind `2:`."""
    return f"1:{tag}" if tag else "2:Untagged"


def order_row(order: SimOrder, call: Call) -> dict[str, Any]:
    """A row of the order book, without its number and `order_prices`.

    Partly filled is still status 6, with `filledQty` above 0.
    """
    listing = order.listing
    status = _STATUS[order.stage]
    return {
        "clientId": CLIENT_ID,
        "id": order.order_id,
        "id_fyers": fyers_id(order),
        "exchOrdId": "" if order.stage in {Stage.TRANSIT, Stage.REJECTED} else order.exchange_order_id,
        "qty": order.quantity,
        "remainingQuantity": order.quantity - order.filled if order.is_open else 0,
        "filledQty": order.filled,
        "discloseQty": 0,
        "disclosedQty": 0,
        "dqQtyRem": 0,
        "limitPrice": rupees_float(order.price_paise),
        "stopPrice": rupees_float(order.trigger_paise),
        "tradedPrice": mean_rupees(order.value_paise, order.filled),
        "type": TYPE_NUMBER[order.order_type],
        "fyToken": listing.fy_token,
        "exchange": 10,
        "segment": _segment(listing.segment),
        "symbol": listing.symbol,
        "instrument": 0,
        "message": order.message,
        "offlineOrder": False,
        "orderDateTime": _stamp(order.epoch_ns, call),
        "orderValidity": order.validity.value,
        "pan": "",
        "productType": PRODUCT_NAME[order.product],
        "side": order.side.sign,
        "status": status,
        "source": "API",
        "ex_sym": listing.short_name,
        "description": listing.name,
        "orderNumStatus": f"{order.order_id}:{status}",
        "orderTag": stored_tag(order.tag),
        "takeProfit": 0,
        "stopLoss": 0,
    }


def order_prices(walk: Walk) -> dict[str, Any]:
    """What the market adds to a row of the order book."""
    change = walk.price_paise - walk.listing.close_paise
    return {
        "ch": rupees_float(change),
        "chp": round(100 * change / walk.listing.close_paise, 2),
        "lp": rupees_float(walk.price_paise),
    }


def trade_row(order: SimOrder, part: Execution, number: int, call: Call) -> dict[str, Any]:
    """A row of the trade book. At Fyers trades do bear the tag."""
    return {
        "clientId": CLIENT_ID,
        "orderDateTime": _stamp(part.epoch_ns, call),
        "orderNumber": order.order_id,
        "exchangeOrderNo": order.exchange_order_id,
        "exchange": 10,
        "side": order.side.sign,
        "segment": _segment(order.listing.segment),
        "orderType": TYPE_NUMBER[order.order_type],
        "fyToken": order.listing.fy_token,
        "productType": PRODUCT_NAME[order.product],
        "tradedQty": part.quantity,
        "tradePrice": rupees_float(part.price_paise),
        "tradeValue": rupees_float(part.price_paise * part.quantity),
        "tradeNumber": order.trade_id(part),
        "row": number,
        "symbol": order.listing.symbol,
        "orderTag": stored_tag(order.tag),
    }


def position_row(book: PositionBook, number: int, walk: Walk) -> dict[str, Any]:
    """A net position of the day."""
    unrealised = book.quantity * walk.price_paise - book.cost_paise
    average = mean_rupees(abs(book.cost_paise), abs(book.quantity))
    product = PRODUCT_NAME[book.product]
    return {
        "id": f"{book.listing.symbol}-{product}",
        "symbol": book.listing.symbol,
        "netQty": book.quantity,
        "qty": abs(book.quantity),
        "avgPrice": average,
        "netAvg": average,
        "side": (book.quantity > 0) - (book.quantity < 0),
        "productType": product,
        "realized_profit": rupees_float(book.realised_paise),
        "unrealized_profit": rupees_float(unrealised),
        "pl": rupees_float(book.realised_paise + unrealised),
        "ltp": rupees_float(walk.price_paise),
        "buyQty": book.buy_quantity,
        "buyAvg": mean_rupees(book.buy_paise, book.buy_quantity),
        "buyVal": rupees_float(book.buy_paise),
        "sellQty": book.sell_quantity,
        "sellAvg": mean_rupees(book.sell_paise, book.sell_quantity),
        "sellVal": rupees_float(book.sell_paise),
        "slNo": number,
        "fyToken": book.listing.fy_token,
        "crossCurrency": "N",
        "rbiRefRate": 1,
        "qtyMulti_com": 1,
        "segment": _segment(book.listing.segment),
        "exchange": 10,
        "cfBuyQty": 0,
        "cfSellQty": 0,
        "dayBuyQty": book.buy_quantity,
        "daySellQty": book.sell_quantity,
    }


def holding_row(number: int, walk: Walk, quantity: int, average_paise: int) -> dict[str, Any]:
    """A holding at its last price."""
    listing = walk.listing
    return {
        "holdingType": "HLD",
        "quantity": quantity,
        "remainingQuantity": quantity,
        "costPrice": rupees_float(average_paise),
        "marketVal": rupees_float(quantity * walk.price_paise),
        "pl": rupees_float(quantity * (walk.price_paise - average_paise)),
        "ltp": rupees_float(walk.price_paise),
        "id": number,
        "fyToken": listing.fy_token,
        "exchange": 10,
        "segment": 10,
        "symbol": listing.symbol,
        "isin": listing.isin,
        "qty_t1": 0,
        "remainingPledgeQuantity": 0,
        "collateralQuantity": 0,
    }


def holdings_overall(rows: list[dict[str, Any]], account: Account) -> dict[str, Any]:
    """What all holdings cost and are worth."""
    invested = sum(quantity * average for quantity, average in account.holdings.values())
    worth = sum(row["marketVal"] for row in rows)
    total_pl = worth - rupees_float(invested)
    return {
        "count_total": len(rows),
        "total_investment": rupees_float(invested),
        "total_current_value": round(worth, 2),
        "total_pl": round(total_pl, 2),
        "pnl_perc": round(100 * total_pl / rupees_float(invested), 4) if invested else 0.0,
    }


def positions_overall(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What all positions gained."""
    return {
        "count_total": len(rows),
        "count_open": sum(1 for row in rows if row["netQty"]),
        "pl_total": round(sum(row["pl"] for row in rows), 2),
        "pl_realized": round(sum(row["realized_profit"] for row in rows), 2),
        "pl_unrealized": round(sum(row["unrealized_profit"] for row in rows), 2),
    }


def fund_rows(account: Account) -> list[dict[str, Any]]:
    """The ten amounts; 10 is what is free for new orders."""
    free, used = rupees_float(account.available_paise), rupees_float(account.used_paise)
    amounts = (
        (1, "Total Balance", free + used),
        (2, "Utilized Amount", used),
        (3, "Clear Balance", free + used),
        (4, "Realized Profit and Loss", rupees_float(sum(book.realised_paise for book in account.positions.values()))),
        (5, "Collaterals", 0.0),
        (6, "Fund Transfer", 0.0),
        (7, "Receivables", 0.0),
        (8, "Adhoc Limit", 0.0),
        (9, "Limit at start of the day", rupees_float(account.opening_paise)),
        (10, "Available Balance", free),
    )
    return [
        {"id": number, "title": title, "equityAmount": amount, "commodityAmount": 0.0}
        for number, title, amount in amounts
    ]


def quote_row(walk: Walk, call: Call) -> dict[str, Any]:
    """One entry of a quotes answer."""
    listing, change = walk.listing, walk.price_paise - walk.listing.close_paise
    return {
        "n": listing.symbol,
        "s": "ok",
        "v": {
            "ch": rupees_float(change),
            "chp": round(100 * change / listing.close_paise, 2),
            "lp": rupees_float(walk.price_paise),
            "spread": rupees_float(2 * listing.tick_paise),
            "ask": rupees_float(walk.price_paise + listing.tick_paise),
            "bid": rupees_float(walk.price_paise - listing.tick_paise),
            "open_price": rupees_float(walk.open_paise),
            "high_price": rupees_float(walk.high_paise),
            "low_price": rupees_float(walk.low_paise),
            "prev_close_price": rupees_float(listing.close_paise),
            "atp": rupees_float((walk.high_paise + walk.low_paise) // 2),
            "volume": walk.volume,
            "short_name": listing.trading_symbol,
            "exchange": "NSE",
            "description": listing.symbol,
            "original_name": listing.symbol,
            "symbol": listing.symbol,
            "fyToken": listing.fy_token,
            "tt": str((call.epoch_ns + call.skew_ns) // 1_000_000_000),
        },
    }


def depth_row(walk: Walk, call: Call) -> dict[str, Any]:
    """Five levels on each side."""
    listing, tick = walk.listing, walk.listing.tick_paise
    sides = {
        name: [
            {
                "price": rupees_float(walk.price_paise + sign * level * tick),
                "volume": 100 * level * listing.lot,
                "ord": level,
            }
            for level in range(1, 6)
        ]
        for name, sign in (("bids", -1), ("ask", 1))
    }
    change = walk.price_paise - listing.close_paise
    return {
        "totalbuyqty": 1500 * listing.lot,
        "totalsellqty": 1500 * listing.lot,
        **sides,
        "o": rupees_float(walk.open_paise),
        "h": rupees_float(walk.high_paise),
        "l": rupees_float(walk.low_paise),
        "c": rupees_float(listing.close_paise),
        "chp": round(100 * change / listing.close_paise, 2),
        "tick_Size": rupees_float(tick),
        "ch": rupees_float(change),
        "ltq": listing.lot,
        "ltt": (call.epoch_ns + call.skew_ns) // 1_000_000_000,
        "ltp": rupees_float(walk.price_paise),
        "v": walk.volume,
        "atp": rupees_float((walk.high_paise + walk.low_paise) // 2),
        "lower_ckt": rupees_float(listing.low_paise),
        "upper_ckt": rupees_float(listing.high_paise),
        "expiry": "",
        "oi": 0,
        "oiflag": False,
        "pdoi": 0,
        "oipercent": 0,
    }


def fyers_id(order: SimOrder) -> str:
    """Fyers' own second id, the only one that its queued calls answer with."""
    return f"7d0c{order.serial:028x}"


def _segment(segment: str) -> int:
    return 11 if segment == "NSE_FO" else 10


def _stamp(epoch_ns: int, call: Call) -> str:
    return ist(epoch_ns + call.skew_ns).strftime("%d-%b-%Y %H:%M:%S")
