"""Run by the interpreter that has the official SDKs: places orders with one of them, and says what each cost.

    python sdk_orders.py BROKER BASE_URL TOKEN COUNT

Each line on stdin places COUNT orders and prints [wall, CPU] seconds for each; ends with its stdin.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable

KEY = "NSE_EQ|INE062A01020"


def upstox(url: str, token: str) -> Callable[[str], object]:
    import upstox_client

    configuration = upstox_client.Configuration()
    configuration.host = configuration.order_host = url
    configuration.access_token = token
    orders = upstox_client.OrderApiV3(upstox_client.ApiClient(configuration))

    def place(tag: str) -> object:
        request = upstox_client.PlaceOrderV3Request(
            quantity=10, product="I", validity="DAY", price=0.0, tag=tag, instrument_token=KEY,
            order_type="MARKET", transaction_type="BUY", disclosed_quantity=0, trigger_price=0.0, is_amo=False,
            slice=False, market_protection=-1,
        )  # fmt: skip
        return orders.place_order(request).data.order_ids[0]

    return place


def fyers(url: str, token: str) -> Callable[[str], object]:
    from fyers_apiv3 import fyersModel

    fyersModel.Config.API, fyersModel.Config.DATA_API = f"{url}/api/v3", f"{url}/data"
    model = fyersModel.FyersModel(client_id="DEMO0001-100", token=token, is_async=False, log_path=tempfile.mkdtemp())

    def place(tag: str) -> object:
        order = {
            "symbol": "NSE:SBIN-EQ", "qty": 10, "type": 2, "side": 1, "productType": "INTRADAY", "limitPrice": 0,
            "stopPrice": 0, "disclosedQty": 0, "validity": "DAY", "offlineOrder": False, "stopLoss": 0,
            "takeProfit": 0, "orderTag": tag, "isSliceOrder": False,
        }  # fmt: skip
        return model.place_order(order)["id"]

    return place


def main(broker: str, url: str, token: str, count: int) -> None:
    place = {"upstox": upstox, "fyers": fyers}[broker](url, token)
    placed = 0
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            assert place(f"sdk{placed}")
            placed += 1
        print(json.dumps([(time.perf_counter() - wall) / count, (time.process_time() - cpu) / count]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
