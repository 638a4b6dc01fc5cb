"""Run by the interpreter that has upstox-python-sdk: one day with the official SDK, told as JSON on stdout.

python upstox_story.py BASE_URL TOKEN
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import upstox_client
from upstox_client.rest import ApiException

KEY = "NSE_EQ|INE062A01020"
VERSION = "2.0"


def told(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        answer = call()
    except ApiException as error:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        return {"http": error.status, "body": json.loads(error.body), "headers": headers}
    return {"http": 200, "body": answer.to_dict()}


def api_client(url: str, token: str) -> upstox_client.ApiClient:
    configuration = upstox_client.Configuration()
    configuration.host = configuration.order_host = url
    configuration.access_token = token
    return upstox_client.ApiClient(configuration)


def main(url: str, token: str) -> dict[str, dict[str, Any]]:
    client = api_client(url, token)
    users, portfolio = upstox_client.UserApi(client), upstox_client.PortfolioApi(client)
    orders, orders_v3 = upstox_client.OrderApi(client), upstox_client.OrderApiV3(client)
    quotes, quotes_v3 = upstox_client.MarketQuoteApi(client), upstox_client.MarketQuoteV3Api(client)
    status = upstox_client.MarketHolidaysAndTimingsApi(client)
    story: dict[str, dict[str, Any]] = {
        "profile": told(lambda: users.get_profile(VERSION)),
        "funds v2": told(lambda: users.get_user_fund_margin(VERSION)),
        "funds v3": told(users.get_user_fund_margin_v3),
        "positions": told(lambda: portfolio.get_positions(VERSION)),
        "holdings": told(lambda: portfolio.get_holdings(VERSION)),
        "ltp v2": told(lambda: quotes.ltp(KEY, VERSION)),
        "ltp v3": told(lambda: quotes_v3.get_ltp(instrument_key=f"{KEY},NSE_INDEX|Nifty 50")),
        "full quote": told(lambda: quotes.get_full_market_quote(KEY, VERSION)),
        "ohlc": told(lambda: quotes_v3.get_market_quote_ohlc("1d", instrument_key=KEY)),
        "market status": told(lambda: status.get_market_status("NSE")),
        "kill switch": told(users.get_kill_switch),
    }

    def place(**change: Any) -> dict[str, Any]:
        fields = {
            "quantity": 5, "product": "I", "validity": "DAY", "price": 800.0, "tag": "sdkstory1",
            "instrument_token": KEY, "order_type": "LIMIT", "transaction_type": "BUY", "disclosed_quantity": 0,
            "trigger_price": 0.0, "is_amo": False, "slice": False,
        }  # fmt: skip
        return told(lambda: orders_v3.place_order(upstox_client.PlaceOrderV3Request(**{**fields, **change})))

    story["place"] = place()
    order_id = story["place"]["body"]["data"]["order_ids"][0]
    time.sleep(0.1)
    story["details"] = told(lambda: orders.get_order_status(order_id=order_id))
    change = upstox_client.ModifyOrderRequest(
        order_id=order_id, validity="DAY", price=801.0, order_type="LIMIT", trigger_price=0.0, quantity=3
    )
    story["modify"] = told(lambda: orders_v3.modify_order(change))
    time.sleep(0.1)
    story["order book"] = told(lambda: orders.get_order_book(VERSION))
    story["cancel"] = told(lambda: orders_v3.cancel_order(order_id))
    time.sleep(0.1)
    story["history by tag"] = told(lambda: orders.get_order_details(VERSION, tag="sdkstory1"))
    story["cancel again"] = told(lambda: orders_v3.cancel_order(order_id))
    place(order_type="MARKET", price=0.0, tag="sdkstory2", market_protection=-1)
    time.sleep(0.5)
    story["trades"] = told(lambda: orders.get_trade_history(VERSION))
    story["unknown order"] = told(lambda: orders.get_order_status(order_id="261101000009999"))
    story["bad quantity"] = place(quantity=0)
    line = upstox_client.MultiOrderRequest(
        correlation_id="1", quantity=1, product="I", validity="DAY", price=800.0, tag="sdkstory3",
        instrument_token=KEY, order_type="LIMIT", transaction_type="BUY", disclosed_quantity=0, trigger_price=0.0,
        is_amo=False, slice=False,
    )  # fmt: skip
    time.sleep(1.1)
    story["multi place"] = told(lambda: orders.place_multi_order([line]))
    story["cancel all"] = told(lambda: orders.cancel_multi_order(tag="sdkstory3"))
    stranger = upstox_client.UserApi(api_client(url, "not-the-token"))
    story["wrong token"] = told(lambda: stranger.get_profile(VERSION))
    time.sleep(1.1)
    burst = [place(tag=f"burst{number}") for number in range(14)]
    story["burst"] = {"http": [one["http"] for one in burst], "last": burst[-1]}
    story["logout"] = told(lambda: upstox_client.LoginApi(client).logout(VERSION))
    story["after logout"] = told(lambda: users.get_profile(VERSION))
    return story


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), default=str))
