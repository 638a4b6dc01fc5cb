"""A client that costs little: raw HTTP/1.1 over a few kept connections, run in a process of its own.

    python load_client.py PORT CONNECTIONS SECONDS BROKER

Prints requests, errors and seconds. It sends bytes made beforehand and reads answers by their Content-Length, so that
on a machine of two cores the server has one for itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

UPSTOX_BODY = json.dumps(
    {
        "quantity": 1, "product": "I", "validity": "DAY", "price": 0, "tag": "", "order_type": "MARKET",
        "instrument_token": "NSE_EQ|INE062A01020", "transaction_type": "BUY", "disclosed_quantity": 0,
        "trigger_price": 0.0, "is_amo": False, "slice": False,
    }
)  # fmt: skip
FYERS_BODY = json.dumps(
    {
        "symbol": "NSE:SBIN-EQ", "qty": 1, "type": 2, "side": -1, "productType": "INTRADAY", "limitPrice": 0,
        "stopPrice": 0, "disclosedQty": 0, "validity": "DAY", "offlineOrder": False, "stopLoss": 0, "takeProfit": 0,
    }
)  # fmt: skip


def request(method: str, path: str, authorization: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + "\r\n" + body).encode()


REQUESTS = {
    "upstox": [request("POST", "/v3/order/place", "Bearer demo-upstox-token", UPSTOX_BODY)],
    "fyers": [request("POST", "/api/v3/orders/sync", "DEMO0001-100:demo-fyers-token", FYERS_BODY)],
    "reads": [
        request("GET", "/v3/market-quote/ltp?instrument_key=NSE_EQ%7CINE062A01020", "Bearer demo-upstox-token"),
        request("GET", "/api/v3/positions", "DEMO0001-100:demo-fyers-token"),
    ],
}


async def connection(port: int, kinds: list[bytes], until: float) -> tuple[int, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = errors = 0
    while time.perf_counter() < until:
        writer.write(kinds[done % len(kinds)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        errors += b" 200 " not in head.split(b"\r\n", 1)[0]
        done += 1
    writer.close()
    return done, errors


async def main(port: int, connections: int, seconds: float, kind: str) -> None:
    start = time.perf_counter()
    tasks = [connection(port, REQUESTS[kind], start + seconds) for _ in range(connections)]
    results = await asyncio.gather(*tasks)
    took = time.perf_counter() - start
    print(json.dumps([sum(done for done, _ in results), sum(errors for _, errors in results), took]))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
