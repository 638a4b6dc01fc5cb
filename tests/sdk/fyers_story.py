"""Run by the interpreter that has fyers-apiv3: one day with the official SDK, told as JSON on stdout.

python fyers_story.py BASE_URL CLIENT_ID TOKEN SECRET
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from fyers_apiv3 import fyersModel

SYMBOL = "NSE:SBIN-EQ"


def main(url: str, client_id: str, token: str, secret: str) -> dict[str, Any]:
    fyersModel.Config.API, fyersModel.Config.DATA_API = f"{url}/api/v3", f"{url}/data"
    logs = tempfile.mkdtemp()

    def model(access_token: str) -> fyersModel.FyersModel:
        return fyersModel.FyersModel(client_id=client_id, token=access_token, is_async=False, log_path=logs)

    fyers = model(token)
    story: dict[str, Any] = {}

    def tell(step: str, answer: Any) -> Any:
        story[step] = copy.deepcopy(answer)  # the SDK gives out one shared object for all its errors
        return answer

    tell("profile", fyers.get_profile())
    tell("funds", fyers.funds())
    tell("positions", fyers.positions())
    tell("holdings", fyers.holdings())
    tell("quotes", fyers.quotes({"symbols": f"{SYMBOL},NSE:M&M-EQ"}))
    tell("depth", fyers.depth({"symbol": SYMBOL, "ohlcv_flag": "1"}))
    tell("market status", fyers.market_status())
    now = int(time.time())
    candles = {"symbol": SYMBOL, "resolution": "1", "date_format": "0", "range_from": str(now - 300),
               "range_to": str(now + 60), "cont_flag": "1"}  # fmt: skip
    tell("history", fyers.history(candles))
    order = {
        "symbol": SYMBOL, "qty": 10, "type": 1, "side": 1, "productType": "INTRADAY", "limitPrice": 800.0,
        "stopPrice": 0, "disclosedQty": 0, "validity": "DAY", "offlineOrder": False, "stopLoss": 0,
        "takeProfit": 0, "orderTag": "sdkstory1",
    }  # fmt: skip
    order_id = tell("place", fyers.place_order(order))["id"]
    time.sleep(1.1)
    tell("modify", fyers.modify_order({"id": order_id, "type": 1, "limitPrice": 801.0, "qty": 4}))
    time.sleep(0.1)
    tell("order book", fyers.orderbook())
    tell("order by id", fyers.orderbook({"id": order_id}))
    tell("cancel", fyers.cancel_order({"id": order_id}))
    time.sleep(0.1)
    tell("history by tag", fyers.orderbook({"order_tag": "1:sdkstory1"}))
    tell("unknown order", fyers.modify_order({"id": "26110100009999", "type": 1, "qty": 1}))
    tell("place market", fyers.place_order({**order, "type": 2, "limitPrice": 0, "orderTag": "sdkstory2"}))
    time.sleep(1.1)
    tell("trades", fyers.tradebook())
    tell("basket", fyers.place_basket_orders([{**order, "orderTag": "sdkstory3"}, {**order, "qty": 0}]))
    tell("exit", fyers.exit_positions())
    tell("wrong token", copy.deepcopy(model("not-the-token").get_profile()))
    tell("wrong token, data", copy.deepcopy(model("not-the-token").quotes({"symbols": SYMBOL})))
    time.sleep(1.1)
    tell("burst", [copy.deepcopy(fyers.get_profile()) for _ in range(14)])
    time.sleep(1.1)

    session = fyersModel.SessionModel(
        client_id=client_id, secret_key=secret, redirect_uri="http://127.0.0.1/back", response_type="code",
        grant_type="authorization_code", state="s",
    )  # fmt: skip
    page = requests.get(session.generate_authcode(), allow_redirects=False, timeout=5)
    code = parse_qs(urlsplit(page.headers["Location"]).query)["auth_code"][0]
    session.set_token(code)
    tell("log in", session.generate_token())
    tell("profile with the new token", model(story["log in"]["access_token"]).get_profile())
    return story


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), default=str))
